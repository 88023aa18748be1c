//! Data that an operator, or an earlier charm, has put elsewhere than where this charm keeps it.

use crate::sim::{Model, Writer, wait_until};
use crate::{OLD, PRESENT, taking_over};
use std::time::Duration;

const HOME: &str = "/var/snap/etcd/current";
const FILE: &str = "/var/snap/etcd/common/etcd.conf.yml";
/// A move is a restart for the cluster, and copying a small database takes no time.
const GAP_MS: u64 = 6000;

/// Stops etcd, puts a copy of its data there, and starts it on that; the old copy stays, as after a disk that was full.
fn moves_data(model: &Model, unit: &str) {
    model.shell(
        unit,
        &format!(
            "systemctl stop snap.etcd.etcd && mkdir -m 700 /srv/etcd && cp -a {HOME}/member /srv/etcd/ && \
             sed -i 's,^data-dir:.*,data-dir: /srv/etcd,' {FILE} && systemctl start snap.etcd.etcd"
        ),
    );
}

/// The same with the log alone.
fn moves_log(model: &Model, unit: &str) {
    model.shell(
        unit,
        &format!(
            "systemctl stop snap.etcd.etcd && mkdir -m 700 /srv/log && cp -a {HOME}/member/wal/. /srv/log/ && \
             echo 'wal-dir: /srv/log' >> {FILE} && systemctl start snap.etcd.etcd"
        ),
    );
}

fn places(model: &Model, unit: &str) -> String {
    model.shell(unit, &format!("grep -E '^(data|wal)-dir' {FILE}")).trim().to_owned()
}

fn get(model: &Model, unit: &str, key: &str) -> String {
    model.etcdctl(unit, &format!("get {key} --print-value-only")).trim().to_owned()
}

/// etcd answers again after an operator has started it.
fn answers(model: &Model, unit: &str) {
    wait_until("etcd to answer", Duration::from_secs(60), || {
        let line = ". /etc/profile.d/etcd.sh; etcdctl endpoint health";
        model.attempt(&["ssh", unit, line]).status.success()
    });
}

#[test]
fn data_that_was_moved_is_served_where_it_is_and_comes_home() {
    let model = Model::with_cluster(PRESENT, 1);
    moves_data(&model, "etcd/0");
    answers(&model, "etcd/0");
    model.etcdctl("etcd/0", "put after move");
    model.run(&["config", "etcd", "snapshot_count=20000"]);
    model.settle(1);
    assert_eq!(get(&model, "etcd/0", "after"), "move");
    assert_eq!(places(&model, "etcd/0"), format!("data-dir: {HOME}"));
    assert!(model.shell("etcd/0", "ls /srv/etcd").starts_with("member.moved-"));
    old_copies_are_told_and_removed(&model);

    // The log alone; its stale copy is beside the database.
    moves_log(&model, "etcd/0");
    answers(&model, "etcd/0");
    model.etcdctl("etcd/0", "put after log");
    model.run(&["config", "etcd", "snapshot_count=30000"]);
    model.settle(1);
    assert_eq!(get(&model, "etcd/0", "after"), "log");
    assert_eq!(places(&model, "etcd/0"), format!("data-dir: {HOME}"));

    // A disk that is not there after a reboot is not taken for a disk without data.
    moves_data_again(&model, "etcd/0");
    model.shell("etcd/0", "systemctl stop snap.etcd.etcd && mv /srv/etcd /srv/gone");
    model.run(&["lab", "update-status", "etcd/0"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "has etcd's data in /srv/etcd", "--idle"]);
    assert_eq!(model.shell("etcd/0", "ls -d /srv/etcd 2>/dev/null; pgrep -x etcd || true"), "");
    model.shell("etcd/0", "mv /srv/gone /srv/etcd");
    model.run(&["lab", "update-status", "etcd/0"]);
    model.settle(1);
    assert_eq!(get(&model, "etcd/0", "after"), "again");
    assert_eq!(places(&model, "etcd/0"), format!("data-dir: {HOME}"));
    model.assert_no_hook_failed();
}

/// The copy that stayed behind is out of what snapd copies.
fn old_copies_are_told_and_removed(model: &Model) {
    let kept = model.shell("etcd/0", "ls -d /var/lib/etcd-charm/kept/member.*");
    assert_eq!(model.shell("etcd/0", &format!("ls {HOME}")).trim(), "member");
    let (results, failure) = model.action("etcd/0", &["health"]);
    assert_eq!((results["old-data"]["copies"].as_str(), failure), (Some(kept.trim()), None), "{results}");
    let (results, failure) = model.action("etcd/0", &["remove-old-data"]);
    assert!(failure.unwrap().starts_with("nothing was removed"), "{results}");
    let (results, failure) = model.action("etcd/0", &["remove-old-data", "confirm=true"]);
    assert_eq!((results["copies"].as_str(), failure), (Some(kept.trim()), None), "{results}");
    assert_eq!(model.shell("etcd/0", "ls /var/lib/etcd-charm/kept"), "");
}

fn moves_data_again(model: &Model, unit: &str) {
    model.shell(unit, "mv /srv/etcd /srv/before");
    moves_data(model, unit);
    answers(model, unit);
    model.etcdctl(unit, "put after again");
}

/// etcd's log alone has 64 MiB, which takes longer than a look.
const DIES_WHILE_IT_COPIES: &str = "timeout 200 sh -c 'until test -d /var/snap/etcd/current/.member.partial; do sleep 0.02; done; pkill -9 -x dispatch'";

#[test]
fn a_cluster_comes_home_one_member_at_a_time_though_its_hooks_are_killed() {
    let model = Model::with_quick_retries(PRESENT);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let units = model.units("etcd");
    for unit in &units {
        moves_data(&model, unit);
        answers(&model, unit);
    }
    let writer = Writer::start(&model, "consumer/0");
    let mut copying = model.start(&["ssh", "etcd/1", DIES_WHILE_IT_COPIES]);
    model.run(&["config", "etcd", "snapshot_count=20000"]);
    assert!(copying.wait().unwrap().success(), "etcd/1 was not killed while it copied");
    model.settle(3);
    for unit in &units {
        assert_eq!(places(&model, unit), format!("data-dir: {HOME}"), "{unit}");
        assert!(model.shell(unit, "ls /srv/etcd").starts_with("member.moved-"), "{unit}");
    }
    writer.stop(GAP_MS);
}

/// The Python charm keeps the data of clusters that were begun with etcd 2 where that had it.
#[test]
fn data_of_the_python_charm_that_is_in_a_directory_of_its_own_comes_home() {
    let model = taking_over::with_earlier_charm(OLD, 1);
    model.shell(
        "etcd/0",
        &format!(
            "systemctl stop cdk-service-kicker snap.etcd.etcd && mkdir -m 700 {HOME}/etcd0.etcd && \
             mv {HOME}/member {HOME}/etcd0.etcd/ && \
             sed -i 's,^data-dir:.*,data-dir: {HOME}/etcd0.etcd,' {FILE} && systemctl start snap.etcd.etcd"
        ),
    );
    let put = format!(
        "ETCDCTL_API=3 etcd.etcdctl --endpoints https://$(hostname -I | cut -d' ' -f1):2379 --cacert {COMMON}/ca.crt \
         --cert {COMMON}/client.crt --key {COMMON}/client.key put kept yes",
        COMMON = "/var/snap/etcd/common"
    );
    wait_until("etcd to answer", Duration::from_secs(60), || {
        model.attempt(&["ssh", "etcd/0", &put]).status.success()
    });
    taking_over::take_over(&model);
    model.settle(1);
    assert_eq!(get(&model, "etcd/0", "kept"), "yes");
    assert_eq!(places(&model, "etcd/0"), format!("data-dir: {HOME}"));
    model.assert_no_hook_failed();
}
