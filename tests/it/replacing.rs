//! Units that go while others come: how people replace machines.

use std::time::Duration;

use crate::sim::{Kind, Model, Writer, wait_until};
use crate::{COMING, OLD, PRESENT};

/// Members hand over before they go; clients learn of the new ones one after the other.
const GAP_MS: u64 = 8000;

/// A cluster under a writer, in which a hook that must not succeed yet is tried again soon.
fn cluster(kind: Kind, units: u32) -> Model {
    let model = Model::with_quick_retries(kind);
    model.make_cluster(units);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    model
}

/// All old units are removed while no new one has even started.
fn all_are_replaced_at_once(kind: Kind, units: u32) {
    let model = cluster(kind, units);
    let writer = Writer::start(&model, "consumer/0");
    let old = model.units("etcd");
    model.run(&["add-unit", "etcd", "-n", &units.to_string()]);
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    model.remove_units(&old, units as usize);
    assert!(model.units("etcd").iter().all(|unit| !old.contains(&unit.as_str())));
    writer.stop(GAP_MS);
}

#[test]
fn the_only_unit_is_replaced_juju_2_9() {
    all_are_replaced_at_once(OLD, 1);
}

#[test]
fn the_only_unit_is_replaced_juju_3_6() {
    all_are_replaced_at_once(PRESENT, 1);
}

#[test]
fn three_units_are_replaced_at_once_juju_3_6() {
    all_are_replaced_at_once(PRESENT, 3);
}

#[test]
fn three_units_are_replaced_at_once_juju_4_0() {
    all_are_replaced_at_once(COMING, 3);
}

#[test]
fn a_member_that_the_others_need_serves_on_until_they_do_not() {
    let model = cluster(PRESENT, 3);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["lab", "kill-machine", "etcd/2"]);
    model.run(&["remove-unit", "etcd/1", "--no-prompt"]);
    wait_until("a hook that refuses to end", Duration::from_secs(120), || {
        model
            .run(&["debug-log", "--replay"])
            .contains("cannot leave yet: Leaving: only 1 of the other 2 voters")
    });
    assert!(model.etcdctl("etcd/1", "member list").contains(", started, etcd1, "));
    model.run(&["lab", "start-machine", "etcd/2"]);
    model.wait(&["etcd", "--units", "2", "--idle"]);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(2);
    assert_eq!(model.units("etcd"), ["etcd/0", "etcd/2"]);
    writer.stop(GAP_MS);
}

/// `remove-unit` without `--force` of a machine that is lost: its own hooks will never run.
#[test]
fn the_member_of_a_lost_machine_goes_though_its_unit_does_not() {
    let model = cluster(PRESENT, 3);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["lab", "kill-machine", "etcd/2"]);
    model.run(&["remove-unit", "etcd/2", "--no-prompt"]);
    wait_until("two healthy members", Duration::from_secs(120), || {
        ["etcd/0", "etcd/1"].iter().all(|unit| model.shown(unit) == "active Healthy with 2 known peers")
    });
    assert!(!model.etcdctl("etcd/0", "member list").contains("etcd2"));
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
    model.run(&["remove-unit", "etcd/2", "--force", "--no-prompt"]);
    model.settle(2);
}
