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

fn goal(answer: &str) -> FakeTools {
    let echo = format!("echo '{answer}'");
    let bag = r#"case "$*" in *etcd/3*) echo '{"member-id":"64"}';; *) echo '{}';; esac"#;
    FakeTools::new().tool("goal-state", &echo).tool("relation-get", bag).tool("is-leader", "echo true")
}

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_goal_state_without_this_unit_is_no_word_on_who_there_is() {
    let own = unit("etcd/0");
    for answer in ["{}", "null", r#"{"units":{"etcd/1":{"status":"active"}}}"#] {
        let said = goal(answer).tools().goal_state().await;
        assert!(usable_goal(said, &own).is_none(), "{answer}");
    }
    let said = goal(r#"{"units":{"etcd/0":{"status":"active"}}}"#).tools().goal_state().await;
    assert!(usable_goal(said, &own).is_some());
}

#[tokio::test]
async fn who_is_listed_after_its_end_is_dropped_and_who_is_not_listed_before_it_is_read() {
    let answer = r#"{"units":{"etcd/0":{"status":"active"},"etcd/2":{"status":"active"},"etcd/3":{"status":"dying"}}}"#;
    let fake = goal(answer);
    let own = unit("etcd/0");
    let said = usable_goal(fake.tools().goal_state().await, &own).unwrap();
    let mut peers = Peers { relation: "cluster:0".parse().ok(), ..Peers::default() };
    for name in ["etcd/1", "etcd/2"] {
        peers.units.insert(unit(name), Peer::default());
    }
    compare(&mut peers, &said, &own, &fake.tools()).await;
    assert_eq!(peers.units.keys().map(ToString::to_string).collect::<Vec<_>>(), ["etcd/2"]);
    let departing: Vec<_> = peers.departing.iter().collect();
    assert_eq!(departing.len(), 1);
    assert_eq!((departing[0].0.to_string(), departing[0].1.record.member.is_some()), ("etcd/3".into(), true));
}

#[tokio::test]
async fn what_may_have_changed_in_a_long_run_is_asked_again() {
    let mut w = crate::decide::worlds::settled(0, &crate::decide::worlds::three());
    w.peers.expected = Some([unit("etcd/0")].into());
    let fake = goal(r#"{"units":{"etcd/0":{"status":"active"},"etcd/1":{"status":"dying"}}}"#);
    let now = asked_again(&w, &fake.tools()).await.unwrap();
    assert_eq!(now.peers.expected.unwrap(), [unit("etcd/0"), unit("etcd/1")].into());
    assert_eq!((now.peers.leaving, now.leadership), ([unit("etcd/1")].into(), Leadership::Leader));
}
