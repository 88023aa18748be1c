//! The relation to the certificate authority comes and goes; etcd serves on.

use crate::on_every_kind;
use crate::sim::{Kind, Model, Writer};

on_every_kind!(the_authority_is_taken_away_and_given_back);

fn the_authority_is_taken_away_and_given_back(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let pids = pids(&model);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["remove-relation", "etcd", "easyrsa"]);
    model.wait(&[
        "etcd",
        "--status",
        "blocked",
        "--message",
        "Missing relation to certificate authority.",
        "--idle",
    ]);
    // The authority's side must have ended too before the two can be related again.
    model.wait(&["--idle"]);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(3);
    writer.stop(1000);
    assert_eq!(pids, self::pids(&model), "leaf certificates never need a restart");
    let host_trusts = model.shell("etcd/0", "openssl verify /var/snap/etcd/common/server.crt");
    assert!(host_trusts.contains(": OK"), "{host_trusts}");
    model.assert_no_hook_failed();
}

fn pids(model: &Model) -> Vec<String> {
    let show = "systemctl show -p MainPID --value snap.etcd.etcd";
    model.units("etcd").iter().map(|unit| model.shell(unit, show)).collect()
}
