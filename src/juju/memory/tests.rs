//! Which hook asks what anew, and what is left for the next one.

use super::super::tools::fake::FakeTools;
use super::super::{Status, Tools};
use super::*;

/// A hook of etcd/0; `relation`: its id and remote unit.
fn context(hook: &str, relation: Option<(&str, &str)>) -> Context {
    let path = format!("hooks/{hook}");
    let vars = |name: &str| match name {
        "JUJU_UNIT_NAME" => Some("etcd/0".to_owned()),
        "JUJU_VERSION" => Some("3.6.0".to_owned()),
        "JUJU_CHARM_DIR" => Some("/charm".to_owned()),
        "JUJU_DISPATCH_PATH" => Some(path.clone()),
        "JUJU_RELATION_ID" => relation.map(|(id, _)| id.to_owned()),
        "JUJU_REMOTE_UNIT" => relation.map(|(_, unit)| unit.to_owned()),
        _ => None,
    };
    Context::parse(vars, "dispatch").unwrap()
}

fn id(text: &str) -> RelationId {
    text.parse().unwrap()
}

fn unit(text: &str) -> UnitName {
    text.parse().unwrap()
}

fn juju() -> FakeTools {
    FakeTools::new()
        .tool("config-get", "echo '{\"port\":2379}'")
        .tool("network-get", "echo '{\"ingress-addresses\":[\"10.0.0.1\"]}'")
        .tool("relation-ids", r#"case "$*" in *cluster) echo '["cluster:0"]';; *db) echo '["db:2"]';; *) echo '[]';; esac"#)
        .tool("relation-list", r#"case "$*" in *--app*) echo '"client"';; *cluster*) echo '["etcd/1","etcd/2"]';; *) echo '[]';; esac"#)
        .tool("relation-get", "echo '{\"a\":\"1\",\"ingress-address\":\"10.0.0.1\"}'")
        .tool("storage-list", "echo '[]'")
        .tool("opened-ports", "echo '[\"2379/tcp\"]'")
        .tool("is-leader", "echo true")
        .tool("goal-state", "echo '{}'")
        .tool("leader-get", "echo '{}'")
        .tool("relation-set", "cat >/dev/null")
        .tool("open-port", "exit 0")
        .tool("status-set", "exit 0")
        .tool("application-version-set", "exit 0")
}

/// What every hook asks.
async fn ask_all(tools: &Tools) {
    let (cluster, db) = (id("cluster:0"), id("db:2"));
    tools.is_leader().await.unwrap();
    tools.goal_state().await.unwrap();
    tools.leader_get().await.unwrap();
    tools.config().await.unwrap();
    tools.network("cluster", None).await.unwrap();
    tools.network("db", Some(&db)).await.unwrap();
    tools.relation_ids("cluster").await.unwrap();
    tools.relation_ids("db").await.unwrap();
    tools.relation_units(&cluster).await.unwrap();
    tools.relation_app(&db).await.unwrap();
    tools.relation_get_own(&cluster, &unit("etcd/0")).await.unwrap();
    for peer in ["etcd/1", "etcd/2", "etcd/7"] {
        tools.relation_get(&cluster, &unit(peer)).await.unwrap();
    }
    tools.relation_get_app(&cluster, "etcd").await.unwrap();
    tools.relation_get_app(&db, "client").await.unwrap();
    tools.storage_ids("data").await.unwrap();
    tools.opened_ports().await.unwrap();
}

/// The calls of a hook that asks everything and knows what one before it has left.
async fn calls(before: &Context, hook: &Context) -> Vec<String> {
    let first = juju();
    let tools = first.tools().remembering(Memory::new(before, Answers::default(), false));
    ask_all(&tools).await;
    let second = juju();
    let tools = second.tools().remembering(Memory::new(hook, tools.answers().0, false));
    ask_all(&tools).await;
    second.calls().into_iter().map(|call| call.replace("|--format=json", "").replace('|', " ")).collect()
}

/// Asked whatever the hook is: who leads, who there is, what is agreed on, and the databag of a unit that is not listed.
const ALWAYS: [&str; 5] = [
    "is-leader",
    "goal-state",
    "leader-get",
    "relation-get -r cluster:0 - etcd/7",
    "relation-get -r cluster:0 --app - etcd",
];

async fn assert_asks(hook: &str, relation: Option<(&str, &str)>, more: &[&str]) {
    let mut calls = calls(&context("start", None), &context(hook, relation)).await;
    calls.sort_unstable();
    let mut expected = [&ALWAYS, more].concat();
    expected.sort_unstable();
    assert_eq!(calls, expected, "{hook} {relation:?}");
}

#[tokio::test]
async fn a_hook_asks_what_it_may_be_the_news_of() {
    assert_asks("start", None, &[]).await;
    assert_asks("leader-elected", None, &[]).await;
    let networks = ["network-get cluster", "network-get -r db:2 db"];
    assert_asks("config-changed", None, &[&networks[..], &["config-get"]].concat()).await;
    assert_asks("update-status", None, &["network-get cluster", "opened-ports"]).await;
    assert_asks("data-storage-attached", None, &["storage-list data"]).await;
    let one = ["relation-get -r cluster:0 - etcd/1"];
    assert_asks("cluster-relation-changed", Some(("cluster:0", "etcd/1")), &one).await;
    let members = [&one[..], &["relation-list -r cluster:0"]].concat();
    assert_asks("cluster-relation-joined", Some(("cluster:0", "etcd/1")), &members).await;
    let relations = [&members[..], &["relation-ids cluster"]].concat();
    assert_asks("cluster-relation-departed", Some(("cluster:0", "etcd/1")), &relations).await;
    let all = [&one[..], &["relation-get -r cluster:0 - etcd/2"]].concat();
    assert_asks("cluster-relation-changed", Some(("cluster:0", "")), &all).await;
    let consumer = ["network-get -r db:2 db", "relation-get -r db:2 --app - client"];
    assert_asks("db-relation-changed", Some(("db:2", "client/0")), &consumer).await;
    assert_asks("cluster-relation-changed", Some(("cluster:0", "etcd/5")), &["relation-list -r cluster:0"])
        .await;
    assert_asks("db-relation-changed", Some(("db:8", "")), &["relation-ids db"]).await;
    assert_asks("db-relation-created", Some(("db:9", "")), &["relation-ids db"]).await;
}

#[tokio::test]
async fn another_charm_and_a_unit_that_goes_ask_everything() {
    for hook in ["install", "upgrade-charm", "stop", "data-storage-detaching"] {
        assert_eq!(calls(&context("start", None), &context(hook, None)).await.len(), 18, "{hook}");
    }
}

#[tokio::test]
async fn what_a_hook_cannot_know_for_the_next_one_is_not_kept() {
    let next = context("start", None);
    let asked = |before: Context, question: &'static str| {
        let next = next.clone();
        async move { calls(&before, &next).await.iter().any(|call| call == question) }
    };
    assert!(asked(context("install", None), "relation-ids db").await, "there is none yet");
    assert!(asked(context("data-storage-attached", None), "relation-ids db").await, "nor here");
    assert!(asked(context("data-storage-detaching", None), "storage-list data").await);
    for hook in ["db-relation-departed", "db-relation-broken"] {
        assert!(asked(context(hook, Some(("db:2", "client/0"))), "relation-ids db").await, "{hook}");
    }
    let relation = || context("db-relation-changed", Some(("db:2", "client/0")));
    assert!(asked(relation(), "network-get cluster").await, "it was that relation's answer");
    assert!(!asked(relation(), "config-get").await);
}

#[tokio::test]
async fn what_a_hook_has_written_is_read_again() {
    let first = juju();
    let tools = first.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    ask_all(&tools).await;
    tools.relation_set(&id("cluster:0"), &[("a".to_owned(), None)].into()).await.unwrap();
    tools.open_port(2379).await.unwrap();
    let second = juju();
    let tools = second.tools().remembering(Memory::new(&context("start", None), tools.answers().0, false));
    ask_all(&tools).await;
    let calls = second.calls();
    assert!(calls.contains(&"relation-get|--format=json|-r|cluster:0|-|etcd/0".to_owned()), "{calls:?}");
    assert!(calls.contains(&"opened-ports|--format=json".to_owned()), "{calls:?}");
    assert_eq!(calls.len(), ALWAYS.len() + 2);
}

#[tokio::test]
async fn storage_that_is_attached_is_looked_for_each_time() {
    let with = || FakeTools::new().tool("storage-list", "echo '[\"data/0\"]'");
    let first = with();
    let tools = first.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    tools.storage_ids("data").await.unwrap();
    let second = with();
    let tools = second.tools().remembering(Memory::new(&context("start", None), tools.answers().0, false));
    assert_eq!(tools.storage_ids("data").await.unwrap(), ["data/0"]);
    assert_eq!(second.calls().len(), 1);
}

async fn show(tools: &Tools, status: &Status) {
    tools.status_set(status).await.unwrap();
    tools.application_status_set(status).await.unwrap();
    tools.workload_version_set("3.5.16").await.unwrap();
}

#[tokio::test]
async fn juju_is_told_what_is_news() {
    let first = juju();
    let tools = first.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    show(&tools, &Status::active("well")).await;
    show(&tools, &Status::active("well")).await;
    assert_eq!(first.calls().len(), 3);
    let left = tools.answers().0;

    let second = juju();
    let tools =
        second.tools().remembering(Memory::new(&context("config-changed", None), left.clone(), false));
    show(&tools, &Status::active("well")).await;
    assert!(second.calls().is_empty());
    tools.status_set(&Status::waiting("a moment")).await.unwrap();
    tools.status_set(&Status::active("well")).await.unwrap();
    assert_eq!(second.calls(), ["status-set|--|waiting|a moment", "status-set|--|active|well"]);

    // Juju shows its own words around these, and another leader may have spoken for the application.
    let anew =
        [("install", 3), ("stop", 3), ("upgrade-charm", 3), ("leader-elected", 2), ("update-status", 2)];
    for (hook, count) in anew {
        let fake = juju();
        let tools = fake.tools().remembering(Memory::new(&context(hook, None), left.clone(), false));
        show(&tools, &Status::active("well")).await;
        assert_eq!(fake.calls().len(), count, "{hook}");
    }
    // A hook without leadership says nothing for the application, so nothing is left of that.
    let fake = juju();
    let tools = fake.tools().remembering(Memory::new(&context("start", None), left, false));
    tools.status_set(&Status::active("well")).await.unwrap();
    let tools = fake.tools().remembering(Memory::new(&context("start", None), tools.answers().0, false));
    tools.application_status_set(&Status::active("well")).await.unwrap();
    assert_eq!(fake.calls(), ["status-set|--application|--|active|well"]);
}

#[tokio::test]
async fn what_juju_has_not_taken_was_not_told() {
    let fake = FakeTools::new().tool("status-set", "exit 1");
    let tools = fake.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    assert!(tools.status_set(&Status::active("well")).await.is_err());
    assert_eq!(tools.answers().0, Answers::default());
}

#[tokio::test]
async fn a_wrong_answer_is_found_when_it_is_verified() {
    let first = juju();
    let tools = first.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    ask_all(&tools).await;
    let left = tools.answers().0;
    let same = juju();
    let tools = same.tools().remembering(Memory::new(&context("start", None), left.clone(), true));
    ask_all(&tools).await;
    assert_eq!(same.calls().len(), 18, "everything is asked");
    assert!(tools.answers().1.is_empty());

    let other = juju().tool(
        "relation-get",
        r#"case "$*" in *etcd/0*) echo '{"a":"1","ingress-address":"10.0.0.9"}';; *) echo '{"a":"2"}';; esac"#,
    );
    let tools = other.tools().remembering(Memory::new(&context("start", None), left, true));
    ask_all(&tools).await;
    let wrong = tools.answers().1;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("relation-get -r cluster:0 - etcd/1"), "{wrong:?}");
}

#[tokio::test]
async fn a_databag_is_confirmed_before_it_is_written_to() {
    let (cluster, own) = (id("cluster:0"), unit("etcd/0"));
    let first = juju();
    let tools = first.tools().remembering(Memory::new(&context("start", None), Answers::default(), false));
    ask_all(&tools).await;
    let left = tools.answers().0;
    let asked = first.calls().len();
    assert!(
        tools.confirms(&cluster, &own).await && first.calls().len() == asked,
        "it was asked in this hook"
    );

    let moved = juju().tool("relation-get", "echo '{\"a\":\"1\",\"ingress-address\":\"10.0.0.9\"}'");
    let other = juju().tool("relation-get", "echo '{\"a\":\"2\"}'");
    let gone = juju().tool("relation-get", "exit 1");
    for (fake, holds) in [(moved, true), (other, false), (gone, false)] {
        let tools = fake.tools().remembering(Memory::new(&context("start", None), left.clone(), false));
        tools.relation_get_own(&cluster, &own).await.unwrap();
        assert_eq!((tools.confirms(&cluster, &own).await, fake.calls().len()), (holds, 1));
        tools.forget_answers();
        let again = tools.relation_get_own(&cluster, &own).await;
        assert!(fake.calls().len() == 2 && tools.confirms(&cluster, &own).await, "{again:?}");
    }
}
