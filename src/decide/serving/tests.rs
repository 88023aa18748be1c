//! What others are told, held against worlds.

use super::publication;
use crate::decide::worlds::*;
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
