//! Machines that die without a word.

use crate::sim::{Kind, Model, Writer};
use crate::{PRESENT, on_every_kind};

on_every_kind!(a_dead_machine_is_healed_by_the_leader, a_power_cut_of_all_machines_loses_nothing);

/// An election is the price of a machine that vanishes; no key is.
const GAP_MS: u64 = 8000;
/// Every member takes a removed one out of its network while it applies the removal, and waits until its dials to a machine
/// that answers nothing have timed out: twice 5 s at most.
const REMOVAL_GAP_MS: u64 = GAP_MS + 10_000;

fn a_dead_machine_is_healed_by_the_leader(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["lab", "kill-machine", "etcd/1"]);
    model.run(&["remove-unit", "etcd/1", "--force", "--no-prompt"]);
    if kind.juju == "4.0" {
        // This generation of Juju does not tell the others that a peer is gone; the regular check finds out.
        model.run(&["lab", "update-status", "etcd"]);
    }
    model.settle(2);
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.settle(3);
    writer.stop(REMOVAL_GAP_MS);
    model.assert_no_hook_failed();
}

fn a_power_cut_of_all_machines_loses_nothing(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.etcdctl("etcd/0", "put before cut");
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        model.run(&["lab", "kill-machine", unit]);
    }
    for unit in ["etcd/2", "etcd/1", "etcd/0"] {
        model.run(&["lab", "start-machine", unit]);
    }
    model.settle(3);
    assert_eq!(model.etcdctl("etcd/2", "get before --print-value-only").trim(), "cut");
    model.note_keys(1);
    model.assert_no_hook_failed();
}

#[test]
fn one_machine_is_rebooted_and_one_loses_its_power() {
    let model = Model::with_cluster(PRESENT, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["lab", "reboot", "etcd/1"]);
    model.settle(3);
    let leader = model.raft_leader(&model.units("etcd"));
    model.run(&["lab", "kill-machine", &leader]);
    model.run(&["lab", "start-machine", &leader]);
    model.settle(3);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

#[test]
fn a_member_whose_disk_was_emptied_joins_again() {
    let model = Model::with_cluster(PRESENT, 3);
    model.etcdctl("etcd/0", "put kept yes");
    let id = |unit: &str| {
        let members = model.etcdctl(unit, "member list");
        let line = members.lines().find(|line| line.contains(", etcd1, ")).map(ToOwned::to_owned);
        line.unwrap_or(members).split(',').next().unwrap_or_default().to_owned()
    };
    let before = id("etcd/0");
    model.harm("etcd/1", "systemctl stop snap.etcd.etcd && rm -r /var/snap/etcd/current/member");
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    assert_ne!(id("etcd/0"), before, "it came back as the member that it had been");
    assert_eq!(model.etcdctl("etcd/1", "get kept --print-value-only").trim(), "yes");
    model.note_keys(1);
    model.assert_no_hook_failed();
}

/// What etcd finds at its next start; the server is started again as systemd would after a crash.
const OVERWRITTEN: &str = "systemctl stop snap.etcd.etcd && \
    dd if=/dev/zero of=/var/snap/etcd/current/member/snap/db bs=4096 count=2 conv=notrunc && \
    systemctl start snap.etcd.etcd";
const WITHOUT_LOG: &str = "systemctl stop snap.etcd.etcd && rm -r /var/snap/etcd/current/member/wal";

#[test]
fn a_member_with_damaged_data_joins_anew_and_once_a_day_only() {
    let model = Model::with_cluster(PRESENT, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.harm("etcd/1", OVERWRITTEN);
    model.run(&["lab", "update-status", "etcd/1"]);
    model.wait(&["etcd/1", "--status", "active", "--message", "its member replaced at", "--idle"]);
    model.settle(3);
    model.shell("etcd/1", "find / -xdev -name 'member.damaged-*' -type d | grep .");
    model.harm("etcd/2", WITHOUT_LOG);
    model.run(&["lab", "update-status", "etcd/2"]);
    model.settle(3);

    // The next copy is damaged too.
    model.harm("etcd/1", WITHOUT_LOG);
    model.run(&["lab", "update-status", "etcd/1"]);
    model.wait(&["etcd/1", "--status", "blocked", "--message", "remove this unit and add another", "--idle"]);
    assert!(model.etcdctl("etcd/0", "member list").contains(", etcd1, "), "it is still a member");
    model.remove_units(&["etcd/1"], 2);
    model.run(&["add-unit", "etcd"]);
    model.settle(3);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}
