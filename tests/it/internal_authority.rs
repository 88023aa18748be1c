//! The application's own certificate authority: no relation, and no unit that holds it alone.

use crate::on_every_kind;
use crate::sim::{Kind, Model, Writer};

on_every_kind!(certificates_come_from_the_application_itself);

const COMMON: &str = "/var/snap/etcd/common";

fn certificates_come_from_the_application_itself(kind: Kind) {
    let model = Model::with_quick_retries(kind);
    model.deploy_etcd_with(1, &["--config", "certificate_authority=internal"]);
    // It dies again and again while it makes the authority and gives it to Juju: there must be one all the same.
    let often = ["--hook", "cluster-relation-created", "--call", "14", "--step", "7", "--after"];
    model.kill_hooks("etcd/0", &often);
    model.settle(1);
    let authority = || model.shell("etcd/1", &format!("cat {COMMON}/ca.crt"));
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.deploy_consumer("consumer");
    model.settle(2);
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let first = authority();
    let shown = model.run(&["show-unit", "etcd/0"]);
    assert_eq!(shown.contains("authority-key"), kind.juju == "2.9", "later ones have secrets");

    // The unit that made it goes, and with it nothing: the next leader signs for a newcomer.
    let writer = Writer::start(&model, "consumer/0");
    model.remove_units(&["etcd/0"], 1);
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.settle(2);
    assert_eq!(authority(), first);
    let mut keys = Vec::new();
    for unit in model.units("etcd") {
        assert_eq!(model.shell(&unit, &format!("cat {COMMON}/ca.crt")), first, "{unit}");
        let files = model.shell(&unit, &format!("stat -c '%a %n' {COMMON}/*.key /var/lib/etcd-charm/*.json"));
        assert!(files.lines().all(|line| line.starts_with("600 ")), "{files}");
        assert!(!files.contains("authority.json"), "Juju has it: {files}");
        keys.push(model.shell(&unit, &format!("sha256sum < {COMMON}/server.key")));
    }
    assert_ne!(keys[0], keys[1], "every unit has its own key");
    writer.stop(2500);
    each_application_is_known_by_a_certificate_of_its_own(&model);
    model.assert_no_hook_failed();
}

/// One for each relation, the same from every unit, and gone with it.
fn each_application_is_known_by_a_certificate_of_its_own(model: &Model) {
    model.deploy_consumer("other");
    model.wait(&["other", "--status", "active", "--idle"]);
    model.assert_known_by_their_own(&["consumer", "other"]);
    assert_eq!(model.agreed().matches("consumer-db-").count(), 2);
    model.run(&["remove-relation", "other", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!(model.agreed().matches("consumer-db-").count(), 1);
}
