//! Prometheus can really scrape what it is told, Grafana shows it, and both follow the cluster under the same request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::sim::{Kind, Model};
use crate::{COMING, OLD};

#[test]
fn prometheus_and_grafana_follow_etcd_3_4() {
    prometheus_and_grafana_follow_the_cluster(OLD);
}

/// On this Juju no hook at all tells a unit that it leads no more.
#[test]
fn prometheus_and_grafana_follow_etcd_3_5_on_juju_4_0() {
    prometheus_and_grafana_follow_the_cluster(COMING);
}

/// etcd takes these from probes that it looks at every 30 s, so a fresh member has none.
const ROUND_TRIPS: &str = "etcd_network_peer_round_trip_time_seconds_bucket";

/// Related before there is an etcd; then a unit more, another leader, another Prometheus, a refusal, a unit less,
/// another port, and the end.
pub fn prometheus_and_grafana_follow_the_cluster(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_etcd(1);
    model.deploy_charm("prometheus", "first");
    model.deploy_charm("grafana", "grafana");
    model.run(&["integrate", "first", "etcd"]);
    model.run(&["integrate", "grafana", "etcd"]);
    model.deploy_easyrsa();
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(1);
    model.wait(&["--idle"]);
    let id = only_request(&model, "first/0", &["etcd/0"]);
    assert_eq!(scraped(&model, "first/0").len(), 1);

    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    model.wait(&["--idle"]);
    let targets = scraped(&model, "first/0");
    assert_eq!(targets.len(), 2);
    the_dashboard_shows_what_there_is(&model, &targets);

    model.run(&["lab", "leader", "etcd/1"]);
    model.run(&["lab", "update-status", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!(only_request(&model, "first/0", &["etcd/1"]), id, "another leader asks for the same");
    assert_eq!(only_request(&model, "grafana/0", &["etcd/1"]).len(), id.len());
    assert_eq!(scraped(&model, "first/0"), targets);

    model.deploy_charm("prometheus", "second");
    model.run(&["integrate", "second", "etcd"]);
    model.wait(&["--idle"]);
    assert_ne!(only_request(&model, "second/0", &["etcd/1"]), id, "two relations, two requests");
    assert_eq!(scraped(&model, "second/0"), targets);
    a_refusal_is_seen(&model);

    model.remove_units(&["etcd/1"], 1);
    model.wait(&["--idle"]);
    assert_eq!(only_request(&model, "first/0", &["etcd/0"]), id);
    let left = scraped(&model, "first/0");
    assert!(left.len() == 1 && left.is_subset(&targets), "{left:?}");
    model.run(&["config", "etcd", "port=3379"]);
    model.settle(1);
    model.wait(&["--idle"]);
    assert_eq!(only_request(&model, "first/0", &["etcd/0"]), id);
    let moved: BTreeSet<String> = left.iter().map(|target| target.replace(":2379", ":3379")).collect();
    assert_eq!(scraped(&model, "first/0"), moved);

    model.run(&["remove-relation", "second", "etcd"]);
    model.run(&["remove-relation", "first", "etcd"]);
    model.settle(1);
    model.wait(&["--idle"]);
    assert!(scraped(&model, "first/0").is_empty() && scraped(&model, "second/0").is_empty());
    assert_eq!(model.shell("grafana/0", "ls /var/lib/grafana"), "", "its numbers come from nowhere");
    let diary = model.shell("first/0", "cat /var/lib/prometheus/seen.jsonl");
    let seen: BTreeSet<&str> = diary.split('"').filter(|word| word.len() == id.len()).collect();
    assert_eq!(seen, BTreeSet::from([id.as_str()]), "there was never another one: {diary}");
    model.assert_no_hook_failed();
}

/// The id of the only request on the only relation of a unit, which must come from `askers`, one in a databag.
fn only_request(model: &Model, unit: &str, askers: &[&str]) -> String {
    let shown: Value = serde_json::from_str(&model.run(&["show-unit", unit, "--format", "json"])).unwrap();
    let relations = shown[unit]["relation-info"].as_array().unwrap();
    let units = relations[0]["related-units"].as_object().unwrap();
    let mut found = BTreeMap::new();
    for (asker, databag) in units {
        let keys = databag["data"].as_object().unwrap().keys();
        found.extend(keys.filter_map(|key| Some((asker.as_str(), key.strip_prefix("request_")?.to_owned()))));
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), askers, "{shown}");
    found.into_values().next().unwrap()
}

/// The targets, each of which has just answered that it knows a leader.
fn scraped(model: &Model, prometheus: &str) -> BTreeSet<String> {
    let lines = model.shell(prometheus, "scrape");
    let answered = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (job, target, said) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        assert!(job.starts_with("etcd-") && said == "etcd_server_has_leader 1", "{lines}");
        target.to_owned()
    };
    lines.lines().map(answered).collect()
}

/// Every metric that the dashboard asks for is one that a member of such a cluster has.
fn the_dashboard_shows_what_there_is(model: &Model, targets: &BTreeSet<String>) {
    let dashboard: Value =
        serde_json::from_str(&model.shell("grafana/0", "cat /var/lib/grafana/etcd.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut metrics = BTreeSet::new();
    for query in queries {
        let text = query["expr"].as_str().unwrap();
        // A name stands before each brace.
        let before =
            text.split('{').map(|part| part.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next());
        let count = text.matches('{').count();
        metrics.extend(before.take(count).map(|name| name.unwrap().to_owned()));
    }
    // Prometheus' own word, and one that members have later.
    assert!(metrics.remove("up") && metrics.remove(ROUND_TRIPS) && metrics.len() > 20, "{metrics:?}");
    for target in targets {
        let text = model.shell("first/0", &format!("cat '/var/lib/prometheus/scraped-{target}'"));
        let has = |metric: &str| text.lines().any(|line| line.split(['{', ' ']).next() == Some(metric));
        let missing: Vec<&String> = metrics.iter().filter(|metric| !has(metric)).collect();
        assert!(missing.is_empty(), "{target} has no {missing:?}");
    }
}

fn a_refusal_is_seen(model: &Model) {
    model.run(&["config", "second", "refusal=no room"]);
    let refused = "Healthy with 2 known peers (second refuses what prometheus asks: no room)";
    model.wait(&["etcd/1", "--message", refused, "--idle"]);
    model.run(&["config", "second", "refusal="]);
    model.wait(&["--idle"]);
    assert!(!model.run(&["status"]).contains("refuses"), "it accepts again");
}
