//! Who asks the monitoring charms for what, held against worlds.

use serde_json::Value;

use super::*;
use crate::decide;
use crate::decide::serving::publication;
use crate::decide::worlds::{consumer, done, settled, three};
use crate::juju::Databag;
use crate::world::{Roster, Unread};

/// Unit `own` of three, with Prometheus and Grafana.
fn watched(own: u32, leadership: Leadership) -> World {
    let mut w = settled(own, &three());
    w.leadership = leadership;
    w.consumers = vec![consumer("grafana:4"), consumer("prometheus:9"), consumer("prometheus:7")];
    w
}

/// What is written to a relation.
fn told(w: &World, relation: &str) -> Changes {
    let all = publication(w, "t").unit.into_iter();
    all.filter(|(id, _)| id.to_string() == relation).map(|(_, changes)| changes).next().unwrap_or_default()
}

/// The only key that is written, and its value.
fn request(w: &World, relation: &str) -> (String, Value) {
    let told = told(w, relation);
    assert_eq!(told.len(), 1, "{told:?}");
    let (key, text) = told.into_iter().next().unwrap();
    (key, serde_json::from_str(&text.unwrap()).unwrap())
}

fn publish(w: &mut World) {
    for (relation, changes) in publication(w, "t").unit {
        let Some(one) = w.consumers.iter_mut().find(|one| one.relation == relation) else { continue };
        for (key, value) in changes {
            match value {
                Some(value) => one.published.insert(key, value),
                None => one.published.remove(&key),
            };
        }
    }
}

#[test]
fn whoever_leads_asks_for_the_same() {
    for relation in ["prometheus:7", "prometheus:9", "grafana:4"] {
        let asked = |own| request(&watched(own, Leadership::Leader), relation);
        assert_eq!(asked(0), asked(2));
        assert_eq!(told(&watched(1, Leadership::Follower), relation), Changes::new());
    }
    let (key, job) = request(&watched(0, Leadership::Leader), "prometheus:7");
    assert_eq!(key, format!("request_{}", job["request_id"].as_str().unwrap()));
    assert_eq!(job["job_data"]["static_configs"][0]["targets"].as_array().unwrap().len(), 3);
    let (other, _) = request(&watched(0, Leadership::Leader), "prometheus:9");
    assert_ne!(key, other, "two relations, two requests");
}

/// For the charms that look there.
#[test]
fn a_job_stands_in_the_applications_databag_too() {
    let mut w = watched(1, Leadership::Leader);
    assert_eq!(publication(&w, "t").shared, vec![], "it cannot be read");
    w.consumers[2].shared = Some(Databag::new());
    let told = publication(&w, "t").shared;
    assert_eq!((told.len(), told[0].0.to_string().as_str()), (1, "prometheus:7"));
    let text = told[0].1["job_etcd"].clone().unwrap();
    let (mut job, (_, asked)): (Value, _) =
        (serde_json::from_str(&text).unwrap(), request(&w, "prometheus:7"));
    job["request_id"] = asked["request_id"].clone();
    assert_eq!(job, asked);
    w.consumers[2].shared = Some(Databag::from([("job_etcd".to_owned(), text)]));
    assert_eq!(publication(&w, "t").shared, vec![], "once is enough");
    w.consumers[2].shared = Some(Databag::new());
    w.leadership = Leadership::Follower;
    assert_eq!(publication(&w, "t").shared, vec![]);
}

#[test]
fn what_was_asked_before_is_taken_back_with_the_next_or_with_the_lead() {
    let mut w = watched(0, Leadership::Leader);
    w.consumers[2].published = Databag::from([("request_of-old".to_owned(), "{}".to_owned())]);
    let roster = w.etcd.roster.clone();
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
    assert_eq!(told(&w, "prometheus:7"), Changes::new(), "an older one beats none");
    w.etcd.roster = roster;
    assert_eq!(told(&w, "prometheus:7")["request_of-old"], None);
    publish(&mut w);
    assert_eq!(w.consumers[2].published.len(), 1);
    assert_eq!(told(&w, "prometheus:7"), Changes::new(), "once is enough");
    w.leadership = Leadership::Follower;
    publish(&mut w);
    assert!(w.consumers.iter().all(|one| one.published.is_empty()), "{:?}", w.consumers);
}

#[test]
fn the_dashboard_is_for_the_first_prometheus_and_goes_with_it() {
    let mut w = watched(0, Leadership::Leader);
    w.consumers[2].application = "first".into();
    let (_, asked) = request(&w, "grafana:4");
    let text = asked["dashboard"].to_string();
    let (_, job) = request(&w, "prometheus:7");
    assert!(text.contains("first - Juju generated source") && !text.contains("client - "), "{text}");
    assert!(text.contains("juju_model_uuid=\\\"m\\\""), "{text}");
    assert_eq!(job["job_data"]["static_configs"][0]["labels"]["juju_model_uuid"], "m");
    publish(&mut w);
    w.consumers[2].application.clear();
    assert_eq!(told(&w, "grafana:4"), Changes::new(), "who it is cannot be told: what is there stays");
    w.consumers.truncate(1);
    assert_eq!(told(&w, "grafana:4").into_values().collect::<Vec<_>>(), [None]);
}

#[test]
fn a_refusal_is_told_to_the_operator_by_the_leader() {
    let mut w = watched(0, Leadership::Leader);
    let response = format!("response_{}", id(&w, &w.consumers[1]));
    let refusal = r#"{"success": false, "reason": "no\nroom"}"#.to_owned();
    w.consumers[1].said = vec![Databag::from([(response, refusal)])];
    let message = done(decide::next(&w)).message;
    assert_eq!(message, "Healthy with 3 known peers (client refuses what prometheus asks: no room)");
    w.leadership = Leadership::Follower;
    assert_eq!(done(decide::next(&w)).message, "Healthy with 3 known peers");
}

#[test]
fn the_dashboard_stays_while_prometheus_cannot_be_read() {
    let mut w = watched(0, Leadership::Leader);
    publish(&mut w);
    let watchers = w.consumers.split_off(1).into_iter();
    assert!(told(&w, "grafana:4").values().any(Option::is_none), "Prometheus has gone: it is taken back");
    let unread = |one: Consumer| Unread { relation: one.relation, why: "permission denied".to_owned() };
    w.unread = watchers.map(unread).collect();
    assert_eq!(told(&w, "grafana:4"), Changes::new());
}
