//! `dispatch` is killed at its hook tool calls, in whatever an operator does; Juju retries the hooks; everything must come
//! right by itself, and no acknowledged write is lost. Which calls: see `sim/kills.rs`.

use crate::sim::{Kind, Model, Writer};
use crate::{COMING, OLD, PRESENT, certificates, on_every_kind, restoring, upgrading};

on_every_kind!(killed_at_every_call_while_the_cluster_forms, killed_at_every_call_while_a_unit_joins);

/// What a client may notice while servers restart or go; a hook that dies again and again takes longer over it.
const GAP_MS: u64 = 8000;

fn killed_at_every_call_while_the_cluster_forms(kind: Kind) {
    let model = Model::with_quick_retries(kind);
    model.deploy_easyrsa();
    model.deploy_etcd(1);
    model.run(&["integrate", "etcd", "easyrsa"]);
    die_often(&model, "etcd/0", "certificates-relation-changed");
    model.settle(1);
    let members = model.etcdctl("etcd/0", "member list");
    assert_eq!(members.lines().count(), 1, "{members}");
}

fn killed_at_every_call_while_a_unit_joins(kind: Kind) {
    let model = Model::with_quick_retries(kind);
    model.deploy_easyrsa();
    model.deploy_etcd(1);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(1);
    model.etcdctl("etcd/0", "put kept yes");
    model.run(&["add-unit", "etcd", "-n", "1"]);
    die_often(&model, "etcd/1", "cluster-relation-changed");
    model.settle(2);
    assert_eq!(model.etcdctl("etcd/1", "get kept --print-value-only").trim(), "yes");
    let members = model.etcdctl("etcd/0", "member list -w json");
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
}

/// Kills the unit's hooks from the named one on: the first after its first tool call has taken effect, the next
/// three calls later, and so on, where a careless charm would believe that it had also finished.
fn die_often(model: &Model, unit: &str, hook: &str) {
    model.kill_hooks(unit, &["--hook", hook, "--call", "1", "--step", "3", "--after"]);
}

/// Where a part of all calls is wanted: one of so many, so that a scenario takes half a minute.
const STEP: u32 = 9;
/// Where hooks are long, as without a quorum.
const LONG_STEP: u32 = 27;

/// Does something to a cluster under a writer while every hook of all its units dies at one call after the other.
fn killed_while(kind: Kind, units: u32, step: u32, work: impl FnOnce(&Model)) {
    let model = Model::with_cluster(kind, units);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.kill_every_hook(&model.units("etcd"), step);
    work(&model);
    all_came_right(&model);
    writer.stop(GAP_MS);
}

/// Hooks live on from now.
fn all_came_right(model: &Model) {
    model.spare_hooks();
    model.assert_one_cluster();
    model.assert_only_killed_hooks_failed();
}

#[test]
fn killed_at_every_call_while_a_unit_is_removed() {
    killed_while(PRESENT, 3, STEP, |model| model.remove_units(&["etcd/1"], 2));
}

#[test]
fn killed_at_every_call_while_the_only_unit_is_replaced() {
    killed_while(COMING, 1, STEP, |model| {
        model.run(&["add-unit", "etcd"]);
        model.kill_every_hook(&["etcd/1"], STEP);
        model.run(&["remove-unit", "etcd/0", "--no-prompt"]);
        model.wait(&["etcd", "--units", "1", "--idle"]);
        model.settle(1);
        assert_eq!(model.units("etcd"), ["etcd/1"]);
    });
}

#[test]
fn killed_at_every_call_while_a_cluster_moves_up() {
    killed_while(OLD, 3, STEP, |model| {
        model.run(&["config", "etcd", "channel=3.5/stable"]);
        model.settle(3);
        for unit in model.units("etcd") {
            assert!(upgrading::version(model, &unit).starts_with("3.5."), "{unit}");
        }
    });
}

#[test]
fn killed_at_every_call_while_another_authority_takes_over() {
    killed_while(PRESENT, 3, STEP, |model| {
        let before = certificates::authorities(model);
        model.run(&["config", "etcd", "certificate_authority=internal"]);
        certificates::changed(model, &before);
        certificates::known_under_it(model);
    });
}

#[test]
fn killed_at_every_call_while_an_option_restarts_all_members() {
    killed_while(PRESENT, 3, STEP, |model| {
        model.run(&["config", "etcd", "heartbeat_interval=150"]);
        model.settle(3);
        for unit in model.units("etcd") {
            let runs = model.shell(&unit, "cat /var/snap/etcd/common/etcd.conf.yml; ls /var/lib/etcd-charm");
            assert!(
                runs.contains("heartbeat-interval: 150") && !runs.contains("restart-due"),
                "{unit}: {runs}"
            );
        }
    });
}

/// The action dies too; the operator runs it again.
#[test]
fn killed_at_every_call_while_a_snapshot_is_restored() {
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(PRESENT, 3);
    assert!(restoring::keys(&model, "etcd/0", "put", 500, "old-"));
    let snapshot = restoring::fetched_snapshot(&model, "etcd/0", &home, "v3");
    model.run(&["attach-resource", "etcd", &format!("snapshot={snapshot}")]);
    model.settle(3);
    assert!(restoring::keys(&model, "etcd/0", "put", 500, "new-"));
    let units = model.units("etcd");
    model.kill_every_hook(&units, STEP);
    model.insist("etcd/0", &["restore"], |_| false);
    model.settle(3);
    all_came_right(&model);
    for unit in &units {
        assert!(restoring::keys(&model, unit, "compare", 500, "old-"), "{unit}");
    }
    model.note_keys(500);
}

/// The action dies too, and so do the hooks of the members of before, which join the recovered one.
#[test]
fn killed_at_every_call_while_a_lost_quorum_is_rebuilt() {
    let model = Model::with_cluster(PRESENT, 3);
    assert!(restoring::keys(&model, "etcd/0", "put", 500, "kept-"));
    for lost in ["etcd/1", "etcd/2"] {
        model.run(&["lab", "kill-machine", lost]);
    }
    model.kill_every_hook(&model.units("etcd"), LONG_STEP);
    let finished_by_a_hook = |told: &str| told.starts_with("a quorum of the 1 member answers");
    model.insist("etcd/0", &["recover-quorum", "confirm=true"], finished_by_a_hook);
    for lost in ["etcd/1", "etcd/2"] {
        model.run(&["lab", "start-machine", lost]);
    }
    model.settle(3);
    all_came_right(&model);
    for unit in model.units("etcd") {
        assert!(restoring::keys(&model, &unit, "compare", 500, "kept-"), "{unit}");
    }
    model.note_keys(500);
}
