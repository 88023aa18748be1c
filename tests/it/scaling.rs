//! Growing and shrinking under a client that writes all the time.

use crate::on_every_kind;
use crate::sim::{Kind, Model, Writer};

/// What a client may notice of any of this.
const GAP_MS: u64 = 2000;

on_every_kind!(three_to_five_to_three_to_one_to_three, the_raft_leaders_unit_is_removed);

fn three_to_five_to_three_to_one_to_three(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["add-unit", "etcd", "-n", "2"]);
    model.settle(5);
    model.run(&["remove-unit", "etcd/0", "etcd/3", "--no-prompt"]);
    model.settle(3);
    model.run(&["remove-unit", "etcd/1", "etcd/4", "--no-prompt"]);
    model.settle(1);
    assert_eq!(model.units("etcd"), ["etcd/2"]);
    model.run(&["add-unit", "etcd", "-n", "2"]);
    model.settle(3);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

fn the_raft_leaders_unit_is_removed(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let leader = model.raft_leader(&model.units("etcd"));
    model.run(&["remove-unit", &leader, "--no-prompt"]);
    model.settle(2);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}
