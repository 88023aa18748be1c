//! What others are told, held against worlds.

use super::publication;
use crate::decide::worlds::*;
use crate::relations::authority::OwnRequest;
use crate::relations::certificates::Request;
use crate::relations::csr::Answers;
use crate::world::*;

/// Names and peer URLs, equal from every unit, beside the credentials.
#[test]
fn a_proxy_is_told_who_the_members_are() {
    let told = |own: u32| {
        let mut w = settled(own, &three());
        w.consumers = vec![consumer("proxy:8")];
        publication(&w, "t").unit.into_iter().find(|(id, _)| id.to_string() == "proxy:8").unwrap().1
    };
    let cluster = "etcd0=https://10.0.0.1:2380,etcd1=https://10.0.0.2:2380,etcd2=https://10.0.0.3:2380";
    assert_eq!(told(1)["cluster"].as_deref(), Some(cluster));
    assert_eq!(told(0), told(2));
    assert_eq!(told(0).len(), 4, "three credentials beside it");
}

#[test]
fn all_units_give_consumers_the_same() {
    let told = |own: u32| {
        let mut w = settled(own, &three());
        w.consumers = vec![consumer("db:7")];
        let all = publication(&w, "t").unit;
        all.into_iter().find(|(id, _)| id.to_string() == "db:7").unwrap().1
    };
    assert_eq!(told(0), told(1));
    assert_eq!(told(1), told(2));
    let string = told(0)["connection_string"].clone().unwrap();
    assert_eq!(string, "https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379");
}

#[test]
fn consumers_keep_what_they_have_while_nothing_is_certain() {
    let mut w = settled(0, &three());
    w.consumers = vec![consumer("db:7")];
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
    assert!(publication(&w, "t").unit.iter().all(|(id, _)| id.to_string() != "db:7"));
}

#[test]
fn learners_are_not_offered_to_consumers() {
    let mut members = three();
    members[2].learner = true;
    let mut w = settled(0, &members);
    w.consumers = vec![consumer("db:7")];
    let all = publication(&w, "t").unit;
    let string = all.iter().find(|(id, _)| id.to_string() == "db:7").unwrap().1["connection_string"].clone();
    assert_eq!(string.as_deref(), Some("https://10.0.0.1:2379,https://10.0.0.2:2379"));
}

#[test]
fn the_older_request_is_taken_back_once_the_newer_one_is_understood() {
    let mut w = ready(0);
    let addresses = w.addresses.all.clone();
    w.authority.request = Some(Request::new(&w.unit, &addresses, &[]));
    w.host.request = Some(OwnRequest {
        key: "KEY".to_owned(),
        request: "REQUEST".to_owned(),
        certificate: None,
        made_s: w.now_s,
        client: None,
        consumers: Default::default(),
    });
    let asked = |w: &World| {
        let (relation, _) = w.authority.relation.clone().unwrap();
        publication(w, "t").unit.into_iter().find(|(id, _)| *id == relation).map(|(_, changes)| changes)
    };
    let both = asked(&w).unwrap();
    assert!(both["common_name"].is_some() && both["certificate_signing_requests"].is_some());
    w.authority.published = both.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    w.authority.signed = Answers::Unreadable("nonsense".to_owned());
    assert_eq!(asked(&w), None, "nobody knows what it understands");
    w.authority.signed = Answers::Said(vec![]);
    let rest = asked(&w).unwrap();
    assert!(rest.contains_key("common_name") && rest.values().all(Option::is_none));
    assert!(!rest.contains_key("certificate_signing_requests"));
}
