//! Growing and shrinking under a client that writes all the time.

use std::collections::{BTreeMap, BTreeSet};

use crate::on_every_kind;
use crate::sim::{Kind, Model, Writer};

/// What a client may notice of any of this.
const GAP_MS: u64 = 2000;

on_every_kind!(
    three_to_five_to_three_to_one_to_three,
    the_raft_leaders_unit_is_removed,
    two_units_are_removed_at_once
);

pub fn three_to_five_to_three_to_one_to_three(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["add-unit", "etcd", "-n", "2"]);
    model.settle(5);
    for (unit, remaining) in [("etcd/0", 4), ("etcd/3", 3), ("etcd/1", 2), ("etcd/4", 1)] {
        model.remove_units(&[unit], remaining);
    }
    assert_eq!(model.units("etcd"), ["etcd/2"]);
    model.run(&["add-unit", "etcd", "-n", "2"]);
    model.settle(3);
    writer.stop(GAP_MS);
    nothing_contradictory_was_ever_told(&model);
    model.assert_no_hook_failed();
}

/// The consumer keeps a diary of every complete set that any unit has ever given it. Endpoints come and go, each
/// unit's in its own hook; everything else must have been the same from every unit at every moment. The client pair is the
/// one that all share until there is one of its own, the same from everywhere, and nobody goes back.
fn nothing_contradictory_was_ever_told(model: &Model) {
    let diary = model.shell("consumer/0", "cat /var/lib/consumer/seen.jsonl");
    let told: Vec<serde_json::Value> =
        diary.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.len() >= 9, "five joined, the others changed: {}", told.len());
    for set in &told {
        for key in ["client_ca", "version"] {
            assert_eq!(set[key], told[0][key], "{key} of {} at {}", set["unit"], set["time"]);
        }
        let endpoints: Vec<&str> = set["connection_string"].as_str().unwrap().split(',').collect();
        assert!(endpoints.is_sorted() && !endpoints.contains(&""), "{endpoints:?}");
    }
    let pair = |set: &serde_json::Value| format!("{}{}", set["client_cert"], set["client_key"]);
    let mut from_each: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for set in &told {
        from_each.entry(set["unit"].to_string()).or_default().push(pair(set));
    }
    for (unit, pairs) in &mut from_each {
        pairs.dedup();
        assert!(pairs.len() <= 2, "{unit} changed it more than once");
    }
    assert!(told.iter().map(pair).collect::<BTreeSet<_>>().len() <= 2, "units differ in what they give");
}

fn the_raft_leaders_unit_is_removed(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let leader = model.raft_leader(&model.units("etcd"));
    model.remove_units(&[&leader], 2);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

fn two_units_are_removed_at_once(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let units = model.units("etcd");
    let leader = model.raft_leader(&units);
    let other = units.iter().find(|unit| **unit != leader).unwrap();
    model.remove_units(&[&leader, other], 1);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}
