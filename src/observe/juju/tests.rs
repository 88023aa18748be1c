//! What is read from Juju, and what comes of what it refuses.

use super::*;
use crate::juju::FakeTools;

fn context() -> Context {
    let vars = |name: &str| match name {
        "JUJU_UNIT_NAME" => Some("etcd/0".to_owned()),
        "JUJU_VERSION" => Some("3.6.0".to_owned()),
        "JUJU_CHARM_DIR" => Some("/charm".to_owned()),
        _ => None,
    };
    Context::parse(vars, "hooks/update-status").unwrap()
}

/// Tools of a unit that Juju tells of one relation of each endpoint; it answers for `db:2` and for no other.
fn tools_that_read_one() -> FakeTools {
    FakeTools::new()
        .tool(
            "relation-ids",
            r#"case "$*" in *db) echo '["db:2","db:7"]';; *certificates) echo '["certificates:1"]';; *prometheus) echo '["prometheus:9"]';; *) echo '[]';; esac"#,
        )
        .tool("relation-list", r#"case "$*" in *--app*) echo '"client"';; *) echo '[]';; esac"#)
        .tool(
            "relation-get",
            r#"case "$*" in *db:2*) echo '{"version":"3.5.16"}';; *) echo 'ERROR permission denied' >&2; exit 1;; esac"#,
        )
}

#[tokio::test]
async fn what_one_relation_does_not_tell_is_not_known_of_that_one_alone() {
    let fake = tools_that_read_one();
    let (consumers, unread) = consumers(&context(), &fake.tools()).await.unwrap();
    assert_eq!(consumers.len(), 1);
    assert_eq!(consumers[0].published["version"], "3.5.16");
    let named: Vec<String> = unread.iter().map(|one| format!("{} {}", one.relation, one.why)).collect();
    assert_eq!(named, ["db:7 permission denied", "prometheus:9 permission denied"]);

    let authority = authority(&context(), &fake.tools()).await.unwrap();
    assert_eq!(authority.relation.unwrap().0.to_string(), "certificates:1", "it is there");
    assert!(matches!(authority.signed, Answers::Unreadable(_)));
    assert_eq!(authority.unread.unwrap().why, "permission denied");
}
