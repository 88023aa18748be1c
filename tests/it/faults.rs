//! What networks, machines and disks do to a cluster that a client writes to all the time. `long` has what takes minutes:
//! `make faults` alone runs it.

use std::time::Duration;

use crate::PRESENT;
use crate::sim::{Model, Writer, wait_until};

mod long;

/// An election, and the time that clients take to turn to another member.
const GAP_MS: u64 = 8000;

/// Longer than an election takes by far.
const CUT: Duration = Duration::from_secs(8);

/// A cluster and a client's unit that has its credentials.
fn cluster(units: u32) -> Model {
    let model = Model::with_cluster(PRESENT, units);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    model
}

/// The raft leader's unit loses its network in the given way, and gets it back.
fn the_raft_leader_is_cut_off(how: &[&str], meanwhile: impl FnOnce(&Model, &str)) {
    let model = cluster(3);
    let leader = model.raft_leader(&model.units("etcd"));
    let writer = Writer::start(&model, "consumer/0");
    model.run(&[&["lab", "cut", &leader], how].concat());
    std::thread::sleep(CUT);
    meanwhile(&model, &leader);
    model.run(&["lab", "heal", &leader]);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    writer.stop(GAP_MS);
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

#[test]
fn the_raft_leader_is_cut_off_for_longer_than_an_election() {
    the_raft_leader_is_cut_off(&[], |_, _| ());
}

/// It hears the others, and none of them hears it.
#[test]
fn the_raft_leader_is_heard_by_nobody() {
    the_raft_leader_is_cut_off(&["--one-way"], |_, _| ());
}

#[test]
fn all_machines_lose_their_power_under_a_writer() {
    let model = cluster(3);
    let units = model.units("etcd");
    let writer = Writer::start(&model, "consumer/0");
    for unit in &units {
        model.run(&["lab", "kill-machine", unit]);
    }
    for unit in &units {
        model.run(&["lab", "start-machine", unit]);
    }
    model.settle(3);
    writer.pause().verify();
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

#[test]
fn the_raft_leaders_machine_dies_during_a_rolling_restart() {
    let model = cluster(3);
    let units = model.units("etcd");
    let pid = |unit: &str| model.shell(unit, "systemctl show -p MainPID --value snap.etcd.etcd");
    let before: Vec<String> = units.iter().map(|unit| pid(unit)).collect();
    let leader = model.raft_leader(&units);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["config", "etcd", "heartbeat_interval=150"]);
    wait_until("the first restart", Duration::from_secs(60), || {
        units.iter().zip(&before).any(|(unit, before)| pid(unit) != *before)
    });
    model.run(&["lab", "kill-machine", &leader]);
    std::thread::sleep(Duration::from_secs(5));
    model.run(&["lab", "start-machine", &leader]);
    model.settle(3);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    for unit in &units {
        let left =
            model.shell(unit, "ls /var/lib/etcd-charm; grep ^heartbeat /var/snap/etcd/common/etcd.conf.yml");
        assert!(left.contains("heartbeat-interval: 150") && !left.contains("restart-due"), "{unit}: {left}");
    }
    writer.stop(GAP_MS);
    model.assert_one_cluster();
}

/// Full disks of these units; each is told of, and nothing is lost once there is space again.
fn disks_are_full(model: &Model, full: &[String]) {
    for unit in full {
        model.run(&["lab", "fill-disk", unit]);
    }
    std::thread::sleep(CUT);
    for unit in full {
        model.run(&["lab", "free-disk", unit]);
    }
    // systemd brings the servers up by itself; the next regular check tells.
    wait_until("all members", Duration::from_secs(60), || {
        model.run(&["lab", "update-status", "etcd"]);
        model.units("etcd").iter().all(|unit| model.shown(unit) == "active Healthy with 3 known peers")
    });
    model.settle(3);
}

#[test]
fn the_disk_of_one_member_is_full_for_a_while() {
    let model = cluster(3);
    let leader = model.raft_leader(&model.units("etcd"));
    let writer = Writer::start(&model, "consumer/0");
    disks_are_full(&model, &[leader]);
    writer.stop(GAP_MS);
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

#[test]
fn the_disks_of_all_members_are_full_for_a_while() {
    let model = cluster(3);
    let writer = Writer::start(&model, "consumer/0");
    disks_are_full(&model, &model.units("etcd"));
    writer.pause().verify();
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

/// What only the leader may do waits until it can, and holds nobody up.
#[test]
fn a_unit_becomes_jujus_leader_before_it_has_joined() {
    let model = cluster(1);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["add-unit", "etcd", "-n", "2"]);
    model.run(&["lab", "leader", "etcd/2"]);
    model.settle(3);
    assert_eq!(model.status()["applications"]["etcd"]["units"]["etcd/2"]["leader"], true);
    writer.stop(GAP_MS);
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

const QUOTA: &str = "quota_backend_bytes=16777216";
/// Writes one big value again and again until the database takes no more.
const FILL: &str = ". /etc/profile.d/etcd.sh; head -c 700000 /dev/zero | tr '\\0' x > /tmp/value; n=0; \
    until etcdctl put big < /tmp/value 2>&1 | grep -q 'database space exceeded'; do \
        n=$((n+1)); [ $n -lt 200 ] || exit 1; \
    done";

#[test]
fn a_database_that_is_full_everywhere_is_maintained_under_a_writer() {
    let model = cluster(3);
    model.run(&["config", "etcd", QUOTA]);
    model.settle(3);
    let writer = Writer::start(&model, "consumer/0");
    model.harm("etcd/0", FILL);
    model.run(&["lab", "update-status", "etcd"]);
    for unit in model.units("etcd") {
        let told = model.shown(&unit);
        assert!(told.starts_with("blocked NOSPACE alarm: the database is full "), "{unit}: {told}");
    }
    let (results, failure) = model.action("etcd/1", &["maintain"]);
    assert_eq!(failure, None, "{results}");
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    writer.pause().verify();
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}
