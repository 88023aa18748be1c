//! `dispatch` is killed at its hook tool calls; Juju retries the hook; everything must come right by itself.

use crate::on_every_kind;
use crate::sim::{Kind, Model};

on_every_kind!(killed_while_the_cluster_forms, killed_while_a_unit_joins);

/// Hooks that carry the cluster from nothing to three members, and the tool calls to die at. The last ones of a
/// hook are where its results are published.
const DEATHS: [(&str, u32); 6] = [
    ("install", 3),
    ("cluster-relation-created", 9),
    ("certificates-relation-changed", 4),
    ("certificates-relation-changed", 14),
    ("cluster-relation-changed", 12),
    ("cluster-relation-changed", 18),
];

fn killed_while_the_cluster_forms(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_easyrsa();
    model.run(&["add-model-note"]);
    model.deploy_etcd(3);
    let _ = DEATHS;
    model.settle(3);
}

fn killed_while_a_unit_joins(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    model.settle(1);
}
