//! The application goes as a whole.

use crate::PRESENT;
use crate::sim::{Model, Writer};

#[test]
fn an_application_is_removed_under_a_writer() {
    let model = Model::with_cluster(PRESENT, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    writer.stop(1000);
    model.run(&["remove-application", "etcd", "--no-prompt"]);
    model.wait(&["etcd", "--units", "0"]);
    model.wait(&["--idle"]);
    assert_eq!(model.status()["applications"].get("etcd"), None);
    model.assert_no_hook_failed();
}
