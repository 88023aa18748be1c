//! A majority of the machines is lost for good; one survivor becomes the cluster again.

use serde_json::Value;

use crate::sim::{ETCDCTL, Kind, Model};
use crate::{PRESENT, on_both_etcds};

on_both_etcds!(a_lost_quorum_is_rebuilt_from_a_survivor);

const CONFIRMED: [&str; 2] = ["recover-quorum", "confirm=true"];
const KEYS: usize = 60;

fn refused(model: &Model, unit: &str, words: &[&str]) -> (Value, String) {
    let (results, failure) = model.action(unit, words);
    let failure = failure.unwrap_or_else(|| panic!("{words:?} succeeded: {results}"));
    (results, failure)
}

fn write_keys(model: &Model) {
    let put =
        format!("for n in $(seq {KEYS}); do patiently etcdctl put key$n value$n >/dev/null || exit 1; done");
    model.shell("etcd/0", &format!("{ETCDCTL}\n{put}"));
}

fn all_keys_are_there(model: &Model, unit: &str) {
    let found = model.etcdctl(unit, "get key --prefix");
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2 * KEYS, "{found}");
    assert!(lines.chunks(2).all(|pair| pair[0].replace("key", "value") == pair[1]), "{found}");
}

fn nothing_forces_a_new_cluster(model: &Model, unit: &str) {
    let config = model.shell(unit, "cat /var/snap/etcd/common/etcd.conf.yml");
    assert!(!config.contains("force-new-cluster"), "{config}");
}

fn a_lost_quorum_is_rebuilt_from_a_survivor(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    write_keys(&model);
    let (_, failure) = refused(&model, "etcd/0", &CONFIRMED);
    assert!(failure.starts_with("a quorum of the 3 members answers"), "{failure}");

    model.run(&["lab", "kill-machine", "etcd/1"]);
    model.run(&["lab", "kill-machine", "etcd/2"]);
    model.run(&["lab", "update-status", "etcd/0"]);
    let told = model.shown("etcd/0");
    assert!(told.contains(" UnHealthy with 3 known peers: no quorum; "), "{told}");
    assert!(told.contains(") unreachable"), "{told}");
    assert!(told.ends_with("run the action recover-quorum on the best survivor"), "{told}");

    let (results, failure) = refused(&model, "etcd/0", &["recover-quorum"]);
    assert!(failure.ends_with("run it on etcd/0 again with confirm=true"), "{failure}");
    assert!(results["members"]["etcd0"]["raft-index"].as_str().unwrap().parse::<u64>().is_ok(), "{results}");
    assert!(
        results["members"]["etcd2"]["raft-index"].as_str().unwrap().starts_with("no answer"),
        "{results}"
    );

    killed_while_etcd_runs_alone(&model);
    // Any hook goes on with it.
    model.run(&["lab", "update-status", "etcd/0"]);
    nothing_forces_a_new_cluster(&model, "etcd/0");
    all_keys_are_there(&model, "etcd/0");
    let (results, failure) = model.action("etcd/0", &CONFIRMED);
    let failure = failure.unwrap_or_else(|| panic!("it was recovered twice: {results}"));
    assert!(failure.starts_with("a quorum of the 1 member answers"), "{failure}");
    let told = model.shown("etcd/0");
    assert!(told.contains(" Healthy with "), "{told}");
    let kept = model.shell("etcd/0", "ls -d /var/lib/etcd-charm/kept/member.before-recovery-*/wal");
    assert!(!kept.is_empty());
    all_keys_are_there(&model, "etcd/0");

    model.run(&["remove-unit", "etcd/1", "--force", "--no-prompt"]);
    model.run(&["add-unit", "etcd", "-n", "2"]);
    // One of the old majority comes back with its old data.
    model.run(&["lab", "start-machine", "etcd/2"]);
    model.settle(4);
    for unit in ["etcd/2", "etcd/3", "etcd/4"] {
        all_keys_are_there(&model, unit);
    }
    let aside = model.shell("etcd/2", "ls -d /var/lib/etcd-charm/kept/member.*");
    assert!(!aside.is_empty(), "its old data was kept");
    model.note_keys(KEYS);
    model.assert_no_hook_failed();
}

/// The worst moment: the configuration still says that everybody else is thrown out.
fn killed_while_etcd_runs_alone(model: &Model) {
    let config = "/var/snap/etcd/common/etcd.conf.yml";
    // Watched on the unit itself: the moment is a second or two long.
    let seen = format!("timeout 60 sh -c 'until grep -q ^force-new-cluster {config}; do sleep 0.02; done'");
    let mut watch = model.start(&["ssh", "etcd/0", &seen]);
    let mut action = model.start(&["run", "etcd/0", "recover-quorum", "confirm=true"]);
    assert!(watch.wait().unwrap().success(), "etcd was never started alone");
    model.run(&["lab", "kill-running", "etcd/0"]);
    assert!(!action.wait().unwrap().success(), "it was killed");
    let listens = model.shell("etcd/0", &format!("grep ^listen- {config}"));
    assert_eq!(listens.matches("https://127.0.0.1:").count(), 2, "nobody else gets in: {listens}");
}

#[test]
fn a_survivor_that_was_restarted_is_recovered_too() {
    let model = Model::with_cluster(PRESENT, 2);
    write_keys(&model);
    model.run(&["lab", "kill-machine", "etcd/1"]);
    model.shell("etcd/0", "kill -KILL $(systemctl show -p MainPID --value snap.etcd.etcd)");
    let (results, failure) = refused(&model, "etcd/0", &["recover-quorum"]);
    assert!(failure.ends_with("run it on etcd/0 again with confirm=true"), "{failure}");
    assert!(
        results["members"]["etcd0"]["raft-index"].as_str().unwrap().starts_with("not known"),
        "{results}"
    );

    // The attempt fails: the database is not one. What was there before is there again.
    let damage =
        "cd /var/snap/etcd/current/member/snap && cp db /root/db && truncate -s 5000 db && sha256sum db";
    let sum = model.shell("etcd/0", damage);
    let (_, failure) = refused(&model, "etcd/0", &CONFIRMED);
    assert!(failure.starts_with("the data of before was put back: etcd does not start"), "{failure}");
    let after = model.shell("etcd/0", "cd /var/snap/etcd/current/member/snap && sha256sum db");
    assert_eq!(sum, after);
    nothing_forces_a_new_cluster(&model, "etcd/0");
    // What the attempt has made of the data is kept, for somebody might have written to it.
    model.shell("etcd/0", "ls -d /var/snap/etcd/current/member.recovery-failed-*/wal");
    let left = model.shell("etcd/0", "cat /var/lib/etcd-charm/recovery.json || true");
    assert_eq!(left.trim(), "", "it is over");
    model.shell("etcd/0", "cp /root/db /var/snap/etcd/current/member/snap/db");

    let (results, failure) = model.action("etcd/0", &CONFIRMED);
    assert_eq!(failure, None, "{results}");
    all_keys_are_there(&model, "etcd/0");
    // Nor is the lost member anywhere in the database, where a later version would find it.
    model.etcdctl("etcd/0", "defrag");
    let known = "grep -aoE '\"peerURLs\":\\[[^]]*' /var/snap/etcd/current/member/snap/db | sort -u | wc -l";
    assert_eq!(model.shell("etcd/0", known).trim(), "1");
    model.run(&["remove-unit", "etcd/1", "--force", "--no-prompt"]);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(1);
    model.note_keys(KEYS);
}

/// The recovered unit goes down, and both that were taken for lost come back: they would be a quorum of their own.
#[test]
fn a_majority_of_before_does_not_serve_while_the_recovered_unit_is_down() {
    let model = Model::with_cluster(PRESENT, 3);
    write_keys(&model);
    let back = ["etcd/1", "etcd/2"];
    for unit in back {
        model.run(&["lab", "kill-machine", unit]);
    }
    let (results, failure) = model.action("etcd/0", &CONFIRMED);
    assert_eq!(failure, None, "{results}");
    model.etcdctl("etcd/0", "put after recovery");
    model.wait(&["etcd/0", "--idle"]);

    model.run(&["lab", "kill-machine", "etcd/0"]);
    for unit in back {
        model.run(&["lab", "start-machine", unit]);
    }
    for unit in back {
        model.run(&["lab", "update-status", unit]);
    }
    for unit in back {
        let told = model.shown(unit);
        assert!(told.contains("of before the quorum was recovered on etcd/0"), "{told}");
        let runs = model.shell(unit, "systemctl is-active snap.etcd.etcd || true");
        assert_ne!(runs.trim(), "active", "{unit}");
        let (_, failure) = refused(&model, unit, &CONFIRMED);
        assert!(failure.contains("the quorum was recovered on etcd/0 already"), "{failure}");
    }

    model.run(&["lab", "start-machine", "etcd/0"]);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    for unit in back {
        all_keys_are_there(&model, unit);
        assert_eq!(model.etcdctl(unit, "get after --print-value-only").trim(), "recovery");
    }
    model.note_keys(KEYS + 1);
    model.assert_no_hook_failed();
}

/// Term and index where a survivor's log ends, as the action tells them.
pub fn log_end(results: &Value, member: &str) -> (u64, u64) {
    let end = |key: &str| {
        let told = results["members"][member][key].as_str();
        told.and_then(|told| told.parse().ok()).unwrap_or_else(|| panic!("{member}: {results}"))
    };
    (end("log-term"), end("log-index"))
}

/// After a power cut the servers of all survivors are mute: their logs alone tell who knows most.
#[test]
fn survivors_that_answer_nothing_are_compared_by_their_logs() {
    let model = Model::with_cluster(PRESENT, 5);
    write_keys(&model);
    for lost in ["etcd/2", "etcd/3", "etcd/4"] {
        model.run(&["lab", "kill-machine", lost]);
    }
    for mute in ["etcd/0", "etcd/1"] {
        model.shell(mute, "kill -KILL $(systemctl show -p MainPID --value snap.etcd.etcd)");
    }
    let (results, failure) = refused(&model, "etcd/0", &CONFIRMED);
    assert!(failure.starts_with("nothing was changed: the log of etcd/1 cannot be compared"), "{failure}");
    assert!(failure.ends_with("confirm=true without=etcd/1"), "{failure}");
    let own = log_end(&results, "etcd0");
    let (results, failure) = refused(&model, "etcd/1", &["recover-quorum"]);
    assert_eq!(log_end(&results, "etcd0"), own, "the other one has said so");
    let best = if log_end(&results, "etcd1") > own { "etcd/1" } else { "etcd/0" };
    let other = if best == "etcd/0" { "etcd/1" } else { "etcd/0" };
    assert!(failure.contains(best), "{failure}");
    let (_, failure) = refused(&model, other, &CONFIRMED);
    assert!(failure.contains(&format!("run recover-quorum on {best} instead")), "{failure}");
    let (results, failure) = model.action(best, &CONFIRMED);
    assert_eq!(failure, None, "{results}");
    model.run(&["lab", "update-status", other]);
    model.wait(&[best, other, "--status", "active", "--message", "Healthy with 2 known peers", "--idle"]);
    all_keys_are_there(&model, best);
    all_keys_are_there(&model, other);
    model.note_keys(KEYS);
}
