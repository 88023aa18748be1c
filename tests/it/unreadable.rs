//! Relations that Juju lists and no longer answers for, as after `juju remove-saas --force`: everything else goes on.

use crate::sim::{Kind, Model, Writer};
use crate::{COMING, PRESENT};

#[test]
fn a_relation_that_cannot_be_read_holds_nothing_else_up_juju_3_6() {
    a_relation_that_cannot_be_read_holds_nothing_else_up(PRESENT, "permission denied");
}

#[test]
fn a_relation_that_cannot_be_read_holds_nothing_else_up_juju_4_0() {
    a_relation_that_cannot_be_read_holds_nothing_else_up(COMING, "relation not found");
}

fn a_relation_that_cannot_be_read_holds_nothing_else_up(kind: Kind, words: &str) {
    let model = Model::with_cluster(kind, 1);
    model.deploy_consumer("consumer");
    model.deploy_consumer("lost");
    model.settle(1);
    model.assert_known_by_their_own(&["consumer", "lost"]);
    let identity = model.identity("lost/0");
    let writer = Writer::start(&model, "consumer/0");
    let lost = relation(&model, "db", "lost");
    let authority = relation(&model, "certificates", "easyrsa");

    model.run(&["lab", "hide-relation", &lost]);
    model.run(&["lab", "hide-relation", &authority]);
    // Options are followed, and the rest of the clients goes on being told.
    model.run(&["config", "etcd", "port=3379"]);
    model.wait(&["etcd", "--status", "active", "--message", "cannot be read", "--idle"]);
    assert!(model.told("consumer/0", "db")[0]["connection_string"].ends_with(":3379"));
    let told = model.shown("etcd/0");
    assert!(told.starts_with("active Healthy with 1 known peer ("), "{told}");
    for (relation, number) in [&lost, &authority].map(|one| (one, one.rsplit(':').next().unwrap())) {
        let named = format!(
            "relation {relation} cannot be read: {words}; if its other side is gone: juju remove-relation {number} --force"
        );
        assert!(told.contains(&named), "{told}");
    }
    let (_, failure) = model.action("etcd/0", &["recover-quorum"]);
    assert!(failure.unwrap().starts_with("a quorum of the 1 member answers"), "it can be used");
    model.assert_no_hook_failed();

    model.run(&["lab", "reveal-relation", &lost]);
    model.run(&["lab", "reveal-relation", &authority]);
    model.run(&["lab", "update-status", "etcd"]);
    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    assert!(!model.shown("etcd/0").contains("cannot be read"));
    model.assert_known_by_their_own(&["consumer", "lost"]);
    assert_eq!(model.identity("lost/0"), identity);
    writer.stop(10_000);
    model.assert_no_hook_failed();
}

/// The id of the relation between `etcd` and this application.
fn relation(model: &Model, endpoint: &str, application: &str) -> String {
    let list = format!(
        "for id in $(relation-ids {endpoint}); do [ \"$(relation-list -r $id --app)\" = {application} ] && echo $id; done; true"
    );
    model.run(&["exec", "--unit", "etcd/0", "--", &list]).trim().to_owned()
}
