//! What takes minutes, or needs of the kernel what not every computer's has: `scripts/test` leaves this module out of its
//! list, `scripts/faults` runs it.

use super::{GAP_MS, cluster, the_raft_leader_is_cut_off};
use crate::quorum::log_end;
use crate::sim::{Model, Writer};

/// 100 ms each way and 5 % loss, longer than anything waits: many restarts under it.
#[test]
fn all_links_are_slow_and_lossy() {
    let model = cluster(3);
    let units = model.units("etcd");
    let writer = Writer::start(&model, "consumer/0");
    for unit in &units {
        model.run(&["lab", "slow", unit, "--delay", "100ms", "--loss", "5"]);
    }
    // The advice of etcd's own documentation for such links.
    model.run(&["config", "etcd", "heartbeat_interval=300", "election_timeout=3000"]);
    model.settle(3);
    model.run(&["add-unit", "etcd"]);
    model.settle(4);
    for unit in &units {
        model.run(&["lab", "heal", unit]);
    }
    model.settle(4);
    writer.pause().verify();
    model.assert_one_cluster();
    model.assert_no_hook_failed();
}

/// Hooks that look at servers which do not answer take their time.
fn both_sides_tell(model: &Model, leader: &str) {
    model.run(&["lab", "update-status", "etcd"]);
    for unit in model.units("etcd") {
        let told = model.shown(&unit);
        if unit == leader {
            assert!(told.starts_with("blocked ") && told.contains("no quorum"), "{unit}: {told}");
        } else {
            let is_told = told.contains("UnHealthy with 3 known peers") && told.contains("unreachable");
            assert!(is_told, "{unit}: {told}");
        }
    }
}

#[test]
fn a_cut_is_told_of_on_both_sides() {
    the_raft_leader_is_cut_off(&[], both_sides_tell);
}

#[test]
fn a_one_way_cut_is_told_of_on_both_sides() {
    the_raft_leader_is_cut_off(&["--one-way"], both_sides_tell);
}

const RECOVER: [&str; 2] = ["recover-quorum", "confirm=true"];

/// The survivor whose log ends last becomes the cluster; the other one is refused before that and after it.
fn the_best_survivor_recovers(model: &Model, survivors: [&str; 2]) {
    // Each says where its log ends; the second one knows of both.
    let [_, (results, failure)] = survivors.map(|unit| model.action(unit, &["recover-quorum"]));
    assert!(failure.is_some(), "{results}");
    let [first, second] = survivors.map(|unit| log_end(&results, &unit.replace('/', "")));
    let (best, other) =
        if second > first { (survivors[1], survivors[0]) } else { (survivors[0], survivors[1]) };
    let told = model.action(other, &RECOVER).1.expect("the wrong one was recovered");
    assert!(
        told.contains(&format!("run recover-quorum on {best} instead")),
        "{other} of {survivors:?}: {told}"
    );
    let (results, failure) = model.action(best, &RECOVER);
    assert_eq!(failure, None, "{results}");
    // Impatience, and then the other one once more.
    for unit in [best, other] {
        let (results, failure) = model.action(unit, &RECOVER);
        assert!(failure.is_some(), "{unit} was recovered beside the other: {results}");
    }
}

fn kill_machines(model: &Model, units: &[&str]) {
    for unit in units {
        model.run(&["lab", "kill-machine", unit]);
    }
}

fn start_machines(model: &Model, units: &[&str]) {
    for unit in units {
        model.run(&["lab", "start-machine", unit]);
    }
}

/// Three of five are lost, the quorum is rebuilt, the lost ones come back with their data of before; then the same with others.
#[test]
fn three_of_five_are_lost_and_come_back_twice() {
    let model = cluster(5);
    for (lost, survivors) in [
        (["etcd/2", "etcd/3", "etcd/4"], ["etcd/0", "etcd/1"]),
        (["etcd/0", "etcd/1", "etcd/2"], ["etcd/3", "etcd/4"]),
    ] {
        let written = Writer::start(&model, "consumer/0").pause();
        kill_machines(&model, &lost);
        the_best_survivor_recovers(&model, survivors);
        for unit in survivors {
            model.run(&["lab", "update-status", unit]);
        }
        written.verify();
        start_machines(&model, &lost);
        model.settle(5);
        written.verify();
        model.assert_one_cluster();
    }
    model.assert_no_hook_failed();
}

/// The lost ones come back while the recovered unit is down, then it comes back too.
#[test]
fn two_of_three_are_lost_and_come_back_while_the_recovered_unit_is_down() {
    let model = cluster(3);
    let lost = ["etcd/1", "etcd/2"];
    for _ in 0..2 {
        let written = Writer::start(&model, "consumer/0").pause();
        kill_machines(&model, &lost);
        let (results, failure) = model.action("etcd/0", &RECOVER);
        assert_eq!(failure, None, "{results}");
        kill_machines(&model, &["etcd/0"]);
        start_machines(&model, &lost);
        for unit in lost {
            model.run(&["lab", "update-status", unit]);
            let told = model.shown(unit);
            let is_told = told.contains("of before the quorum was recovered on etcd/0");
            assert!(is_told, "{unit}: {told}\n{}\n{}", model.run(&["show-unit", unit]), model.story());
        }
        start_machines(&model, &["etcd/0"]);
        // A hook that died with its machine runs again first.
        model.wait(&["etcd", "--idle"]);
        model.run(&["lab", "update-status", "etcd"]);
        model.settle(3);
        written.verify();
        model.assert_one_cluster();
    }
    model.assert_no_hook_failed();
}

/// One member after the other is cut off, killed and full for minutes, each before the last has been quiet for long.
#[test]
fn one_fault_follows_another_for_minutes() {
    let model = cluster(3);
    let writer = Writer::start(&model, "consumer/0");
    for round in 0..4 {
        let unit = format!("etcd/{}", round % 3);
        for (begin, end) in [("cut", "heal"), ("kill-machine", "start-machine"), ("fill-disk", "free-disk")] {
            model.run(&["lab", begin, &unit]);
            std::thread::sleep(super::CUT);
            model.run(&["lab", end, &unit]);
            model.run(&["lab", "update-status", "etcd"]);
            model.settle(3);
        }
    }
    writer.stop(GAP_MS);
    model.assert_one_cluster();
}
