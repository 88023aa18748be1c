//! `dispatch` is killed at each of its hook tool calls; Juju retries the hook; everything must come right by itself.

use crate::on_every_kind;
use crate::sim::{Kind, Model};

on_every_kind!(killed_at_every_call_while_the_cluster_forms, killed_at_every_call_while_a_unit_joins);

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
