//! Machines with data that is not the unit's: another application's, or one's of before.

use crate::PRESENT;
use crate::sim::{Model, given};

const FILES: &str = "/var/snap/etcd/current/member /var/snap/etcd/common";

/// What an application of before has left on a machine, in an archive on this host.
fn left_by(model: &Model, unit: &str, home: &std::path::Path) -> String {
    model.etcdctl(unit, "put kept yes");
    let pack = format!(
        "systemctl stop snap.etcd.etcd && tar -czhf /home/ubuntu/left.tgz {FILES} && systemctl start snap.etcd.etcd"
    );
    model.shell(unit, &pack);
    let archive = home.join("left.tgz").display().to_string();
    model.run(&["scp", &format!("{unit}:/home/ubuntu/left.tgz"), &archive]);
    archive
}

/// A new application whose machine has all that, in the state in which it asks for its authority.
fn deploy_there(model: &Model, archive: &str) {
    let charm = given("ETCD_CHARM").display().to_string();
    model.run(&["deploy", &charm, "second", "--config", &format!("channel={}", PRESENT.channel)]);
    model.wait(&["second", "--status", "blocked", "--message", "Missing relation", "--idle"]);
    model.run(&["scp", archive, "second/0:/home/ubuntu/left.tgz"]);
    model.shell("second/0", "tar -xzf /home/ubuntu/left.tgz -C / && ls /var/snap/etcd/current/member/wal");
}

fn digest(model: &Model) -> String {
    model.shell("second/0", "cd /var/snap/etcd/current && find member -type f | sort | xargs sha256sum")
}

#[test]
fn data_of_another_application_is_neither_started_nor_touched() {
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(PRESENT, 1);
    let archive = left_by(&model, "etcd/0", home.path());
    deploy_there(&model, &archive);
    let before = digest(&model);
    model.run(&["integrate", "second", "easyrsa"]);
    let told = ["second", "--status", "blocked", "--message", "holds data of a member of cluster", "--idle"];
    model.wait(&told);
    assert_eq!(model.shell("second/0", "pgrep -x etcd || true"), "");
    assert_eq!(digest(&model), before);

    // A server that somebody runs on it is left alone, and nothing is published of it.
    model.shell("second/0", "systemctl start snap.etcd.etcd");
    let server = model.shell("second/0", "pgrep -x etcd");
    model.run(&["lab", "update-status", "second/0"]);
    model.wait(&["second", "--status", "blocked", "--message", "it is not touched", "--idle"]);
    assert_eq!(model.shell("second/0", "pgrep -x etcd"), server);
    let published = model.run(&["show-unit", "second/0"]);
    assert!(!published.contains("member-id"), "{published}");
    let (results, failure) = model.action("second/0", &["snapshot"]);
    assert!(failure.is_some(), "{results}");

    // What the status says to do.
    let status = model.status();
    let message = &status["applications"]["second"]["units"]["second/0"]["workload-status"]["message"];
    let (_, command) = message.as_str().unwrap().split_once("juju exec --unit second/0 '").unwrap();
    model.run(&["exec", "--unit", "second/0", "--", command.trim_end_matches('\'')]);
    model.run(&["lab", "update-status", "second/0"]);
    model.wait(&["second", "--status", "active", "--message", "Healthy with 1 known peer", "--idle"]);
    assert_eq!(model.etcdctl("second/0", "get kept --print-value-only").trim(), "");
    assert_eq!(model.etcdctl("etcd/0", "get kept --print-value-only").trim(), "yes");
    model.assert_no_hook_failed();
}

/// As after a refresh from a revision that kept no record of it.
#[test]
fn data_of_this_unit_is_known_without_a_record() {
    let model = Model::with_cluster(PRESENT, 3);
    for unit in model.units("etcd") {
        model.shell(&unit, "rm /var/lib/etcd-charm/owner && systemctl stop snap.etcd.etcd");
    }
    model.run(&["config", "etcd", "snapshot_count=20000"]);
    model.settle(3);
    for unit in model.units("etcd") {
        model.shell(&unit, &format!("grep unit={unit} /var/lib/etcd-charm/owner"));
    }
    model.assert_no_hook_failed();
}
