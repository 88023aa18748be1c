//! What others are told, held against worlds.

use super::publication;
use crate::decide::worlds::*;
use crate::relations::Changes;
use crate::relations::authority::OwnRequest;
use crate::relations::certificates::Request;
use crate::relations::csr::Answers;
use crate::tls::{self, Authority, Validity};
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

/// Unit `own` of three with a certificate for this address of its own, related across models by `db:7`.
fn seen_from_elsewhere(own: u32, named: bool) -> World {
    let mut w = settled(own, &three());
    let address = format!("192.0.2.{}", own + 1);
    let validity = Validity { not_before_s: 2_000_000_000 - 60, not_after_s: 2_000_000_000 + 9_000_000 };
    let authority = Authority::create("etcd", validity).unwrap();
    let sans = if named { vec![address.clone()] } else { vec!["10.0.0.1".to_owned()] };
    let asked = tls::Request::new("etcd", &sans).unwrap();
    let credentials = w.host.credentials.as_mut().unwrap();
    credentials.server_certificate = authority.sign_member(&asked.csr_pem, "etcd", &sans, validity).unwrap();
    (credentials.server_key, credentials.ca) = (asked.key_pem, authority.certificate_pem);
    w.consumers = vec![Consumer { ingress: Reading::Known(Some(address)), ..consumer("db:7") }];
    w
}

fn told(w: &World, relation: &str) -> Changes {
    publication(w, "t").unit.into_iter().find(|(id, _)| id.to_string() == relation).unwrap().1
}

#[test]
fn a_consumer_of_another_model_gets_the_addresses_that_it_reaches() {
    let mut w = seen_from_elsewhere(0, true);
    let own = told(&w, "cluster:0");
    assert_eq!(own["client-address-db-7"].as_deref(), Some("192.0.2.1"));
    assert_eq!(
        own["client-url"].as_deref(),
        Some("https://10.0.0.1:2379"),
        "for members and the model's own"
    );
    // One unit has said so, the other not yet.
    let peer = w.peers.units.get_mut(&"etcd/1".parse().unwrap()).unwrap();
    peer.record.reached_at.insert("db-7".to_owned(), "192.0.2.2".to_owned());
    let string = told(&w, "db:7")["connection_string"].clone().unwrap();
    assert_eq!(string, "https://10.0.0.3:2379,https://192.0.2.1:2379,https://192.0.2.2:2379");
    w.consumers.push(consumer("db:8"));
    let string = told(&w, "db:8")["connection_string"].clone().unwrap();
    assert_eq!(string, "https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379");
}

#[test]
fn an_address_is_given_out_only_when_the_certificate_names_it_and_stays_while_it_is_not_known() {
    let mut w = seen_from_elsewhere(0, false);
    assert_eq!(told(&w, "cluster:0").get("client-address-db-7"), None);
    assert!(told(&w, "db:7")["connection_string"].as_ref().unwrap().starts_with("https://10.0.0.1:2379,"));
    w.peers.own.insert("client-address-db-7".to_owned(), "192.0.2.1".to_owned());
    assert_eq!(told(&w, "cluster:0")["client-address-db-7"], None, "it is taken back");
    w.consumers[0].ingress = Reading::Unknown("relation 7 not found".to_owned());
    assert_eq!(told(&w, "cluster:0").get("client-address-db-7"), None, "it stays");
}

/// A unit that sees no quorum tells how far its log goes; one that sees one says so, for the other may only be cut off.
#[test]
fn units_tell_what_a_choice_among_survivors_needs() {
    let mut w = settled(0, &three());
    let told = |w: &World, key: &str| {
        let (_, changes) = publication(w, "t").unit.into_iter().next().unwrap();
        changes.get(key).cloned().flatten()
    };
    assert_eq!((told(&w, "raft-log"), told(&w, "sees-quorum")), (None, None));
    let end = crate::etcd::LogEnd { term: 3, index: 47 };
    w.peers.units.values_mut().next().unwrap().record.log = Some(end);
    assert_eq!(told(&w, "sees-quorum"), Some("yes".to_owned()));
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
    w.host.log_end = Reading::Known(end);
    assert_eq!((told(&w, "raft-log"), told(&w, "sees-quorum")), (Some("3 47".to_owned()), None));
}
