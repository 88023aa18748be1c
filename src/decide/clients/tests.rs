//! Which pair a related application gets, under each kind of authority and while one takes the place of another.

use super::super::next;
use super::super::serving::publication;
use super::super::worlds::{consumer, done, settled, three};
use super::*;
use crate::juju::Databag;
use crate::options::CertificateAuthority;
use crate::relations::certificates::ask_for_clients;
use crate::tls::{Authority, Request, Validity};
use crate::world::{Credentials, Standing, Unread};

const VALIDITY: Validity =
    Validity { not_before_s: 2_000_000_000 - 60, not_after_s: 2_000_000_000 + 9 * 86_400 };

fn authority() -> Authority {
    Authority::create("etcd", VALIDITY).unwrap()
}

fn pair_of(authority: &Authority, name: &str) -> Pair {
    let asked = Request::new(name, &[]).unwrap();
    let certificate = authority.sign_client(&asked.csr_pem, name, VALIDITY).unwrap();
    Pair { certificate, key: asked.key_pem }
}

/// What a unit has that uses this authority.
fn credentials_of(authority: &Authority, client: Pair) -> Credentials {
    Credentials {
        ca: authority.certificate_pem.clone(),
        server_certificate: client.certificate.clone(),
        server_key: client.key.clone(),
        client_certificate: client.certificate,
        client_key: client.key,
    }
}

/// This unit's files are of this authority from now on.
fn use_it(w: &mut World, authority: &Authority) -> Pair {
    let shared = pair_of(authority, "client");
    let files = credentials_of(authority, shared.clone());
    w.host.standing = Standing::read(&files.ca, &[&files.client_certificate]);
    w.host.credentials = Some(files);
    shared
}

/// `etcd/0`, which leads, with one consumer and files of this authority, which signs for others as the kind says.
fn world(kind: CertificateAuthority, authority: &Authority) -> (World, Pair) {
    let mut w = settled(0, &three());
    w.leadership = Leadership::Leader;
    w.authority.kind = kind;
    w.consumers = vec![consumer("db:7")];
    let shared = use_it(&mut w, authority);
    w.authority.answer = Answered::Usable(w.host.credentials.clone().unwrap());
    (w, shared)
}

fn record(w: &mut World, pair: &Pair) {
    w.peers.authority.consumers.insert("db-7".to_owned(), pair.clone());
}

fn publish(w: &mut World, pair: &Pair) {
    for (key, text) in [("client_cert", &pair.certificate), ("client_key", &pair.key)] {
        w.consumers[0].published.insert(key.to_owned(), text.clone());
    }
}

fn given(w: &World) -> Option<Pair> {
    pair(w, &w.consumers[0])
}

#[test]
fn under_the_applications_own_authority_each_waits_for_its_own() {
    let internal = authority();
    let (mut w, _) = world(CertificateAuthority::Internal, &internal);
    w.peers.authority.certificate = Some(internal.certificate_pem.clone());
    assert_eq!(given(&w), None, "the leader has not signed yet");
    let own = pair_of(&internal, "client-db-7");
    record(&mut w, &own);
    assert_eq!(given(&w), Some(own));
}

#[test]
fn a_related_authority_need_not_know_of_clients() {
    let (mut w, shared) = world(CertificateAuthority::Relation, &authority());
    assert_eq!(given(&w), Some(shared.clone()), "at once");
    publish(&mut w, &shared);
    let renewed = use_it(&mut w, &authority());
    assert_eq!(given(&w), Some(renewed.clone()), "what is shared moves with the files");
    for wrong in [
        Pair { certificate: "nonsense".to_owned(), key: "KEY".to_owned() },
        pair_of(&authority(), "client-db-7"),
        Pair { key: shared.key.clone(), ..renewed.clone() },
    ] {
        record(&mut w, &wrong);
        assert_eq!(given(&w), Some(renewed.clone()), "not every member would take it");
    }
}

#[test]
fn while_the_authority_changes_everyone_has_what_is_trusted() {
    let (old, new) = (authority(), authority());
    for kind in [CertificateAuthority::Relation, CertificateAuthority::Internal] {
        let (mut w, shared) = world(kind, &old);
        let own = pair_of(&old, "client-db-7");
        publish(&mut w, &own);
        let next = pair_of(&new, "client-db-7");
        record(&mut w, &next);
        w.peers.authority.certificate = Some(new.certificate_pem.clone());
        assert_eq!(given(&w), Some(own.clone()), "members may not trust the new one yet");
        w.consumers[0].published.clear();
        assert_eq!(given(&w), Some(shared), "who comes now does not wait for the end");
        publish(&mut w, &own);
        use_it(&mut w, &new);
        assert_eq!(given(&w), Some(next));
    }
}

#[test]
fn prometheus_keeps_its_pair_and_hears_of_the_new_bundle() {
    let (old, new) = (authority(), authority());
    let (mut w, _) = world(CertificateAuthority::Internal, &old);
    w.consumers = vec![consumer("prometheus:7")];
    let own = pair_of(&old, "client-prometheus-7");
    let asked = |w: &World| {
        let all = publication(w, "t").unit.into_iter().find(|(id, _)| id.to_string() == "prometheus:7");
        all.map(|(_, changes)| changes).unwrap_or_default()
    };
    w.peers.authority.certificate = Some(old.certificate_pem.clone());
    assert!(asked(&w).is_empty(), "none is ready for it");
    w.peers.authority.consumers.insert("prometheus-7".to_owned(), own.clone());
    w.consumers[0].published = asked(&w).into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
    w.peers.authority.consumers.insert("prometheus-7".to_owned(), pair_of(&new, "client-prometheus-7"));
    w.peers.authority.certificate = Some(new.certificate_pem.clone());
    assert_eq!(given(&w), Some(own));
    assert!(asked(&w).is_empty());
    w.host.credentials.as_mut().unwrap().ca.push_str(&new.certificate_pem);
    let again = asked(&w).into_values().next().unwrap().unwrap();
    assert!(again.contains("ca_cert") && again.matches("BEGIN CERTIFICATE").count() >= 3, "{again}");
}

/// An authority of the older protocol says so, to whoever has asked.
fn says(w: &mut World, pair: &Pair) {
    let (key, asked) = ask_for_clients(&asks_for(w));
    w.authority.published = asked.map(|asked| Databag::from([(key, asked)])).unwrap_or_default();
    w.authority.clients.insert("client-db-7".to_owned(), pair.clone());
}

fn shared_by(w: &World) -> Option<Pair> {
    to_share(w).unwrap().consumers.remove("db-7")
}

#[test]
fn the_leader_asks_once_and_the_next_one_keeps_what_is_good() {
    let related = authority();
    let (mut w, _) = world(CertificateAuthority::Relation, &related);
    assert_eq!(asks_for(&w), BTreeSet::from(["client-db-7".to_owned()]));
    let (one, two) = (pair_of(&related, "client-db-7"), pair_of(&related, "client-db-7"));
    w.authority.clients.insert("client-db-7".to_owned(), one.clone());
    assert_eq!(shared_by(&w), None, "it was not asked for by this unit");
    says(&mut w, &one);
    assert_eq!(shared_by(&w), Some(one.clone()));
    record(&mut w, &one);
    assert_eq!(asks_for(&w).len(), 1, "whoever asked goes on");
    says(&mut w, &two);
    assert_eq!(shared_by(&w), Some(two.clone()), "it was made anew");
    w.leadership = Leadership::Follower;
    assert!(to_share(&w).is_none() && asks_for(&w).is_empty(), "its answer is not in use");
    let (mut next, _) = world(CertificateAuthority::Relation, &related);
    next.authority.answer = w.authority.answer.clone();
    record(&mut next, &one);
    assert!(asks_for(&next).is_empty());
    assert_eq!(shared_by(&next), Some(one));
    next.now_s += 7 * 86_400;
    assert_eq!(asks_for(&next).len(), 1, "two thirds of its life are over");
}

#[test]
fn a_pair_goes_with_its_relation_or_when_nobody_trusts_it_and_stays_when_nothing_is_known() {
    let (old, new) = (authority(), authority());
    let (mut w, _) = world(CertificateAuthority::Relation, &old);
    let own = pair_of(&old, "client-db-7");
    record(&mut w, &own);
    w.authority.answer = Answered::Refused("nonsense".to_owned());
    assert_eq!(shared_by(&w), Some(own.clone()));
    let offered = credentials_of(&new, pair_of(&new, "client"));
    w.authority.answer = Answered::Usable(offered);
    assert_eq!(shared_by(&w), Some(own.clone()), "it is in use");
    assert_eq!(asks_for(&w).len(), 1);
    let next = pair_of(&new, "client-db-7");
    says(&mut w, &next);
    assert_eq!(shared_by(&w), Some(next));
    w.authority.clients.clear();
    use_it(&mut w, &new);
    assert_eq!(shared_by(&w), None, "no member trusts it");
    w.peers.authority.client = Some(own.clone());
    assert_eq!(to_share(&w).unwrap().client, None, "nor this one, which another authority signed for all");
    w.authority.answer = Answered::Incomplete("the CA certificate");
    assert!(to_share(&w).unwrap().client.is_some());
    w.authority.relation = None;
    assert_eq!(shared_by(&w), Some(own));
    w.consumers.clear();
    assert_eq!(shared_by(&w), None);
    assert!(asks_for(&w).is_empty());
}

#[test]
fn the_applications_own_authority_is_forgotten_when_no_unit_trusts_it() {
    let (internal, related) = (authority(), authority());
    let (mut w, _) = world(CertificateAuthority::Relation, &related);
    w.peers.authority.certificate = Some(internal.certificate_pem.clone());
    w.peers.authority.issued.insert("etcd_0".to_owned(), "PEM".to_owned());
    let left = Bundle::parse(&internal.certificate_pem).unwrap();
    let units: Vec<_> = w.peers.units.keys().cloned().collect();
    let is_kept = |w: &World| {
        let record = to_share(w).unwrap();
        assert_eq!(forgets_authority(w, &record), record.certificate.is_none());
        record.certificate.is_some() && !record.issued.is_empty()
    };
    assert!(!is_kept(&w));
    for part in [0, 1] {
        let mut w = w.clone();
        let trust = &mut w.peers.units.get_mut(&units[1]).unwrap().trust;
        *[&mut trust.trusted, &mut trust.needed][part] = Some(left.clone());
        assert!(is_kept(&w), "one unit is behind");
        w.peers.units.get_mut(&units[1]).unwrap().trust = Default::default();
        assert!(is_kept(&w), "one unit says nothing");
    }
    w.host.restart_due = Some("trust".to_owned());
    assert!(is_kept(&w), "this unit's server has read the older file");
}

#[test]
fn the_leader_looks_again_when_the_first_pair_is_due() {
    let related = authority();
    let (mut w, _) = world(CertificateAuthority::Relation, &related);
    record(&mut w, &pair_of(&related, "client-db-7"));
    let late_s = 1_999_999_940 + (9 * 86_400 + 60) / 6 * 5;
    assert_eq!(look_again_s(&w), Some(late_s), "the authority renews by itself, or nobody does");
    w.authority.signed = Answers::Said(vec![]);
    assert_eq!(look_again_s(&w), Some(1_999_999_940 + (9 * 86_400 + 60) / 3 * 2));
    w.leadership = Leadership::Follower;
    assert_eq!(look_again_s(&w), Some(late_s));
}

#[test]
fn what_nobody_renews_is_replaced_before_it_ends() {
    let related = authority();
    let (mut w, shared) = world(CertificateAuthority::Relation, &related);
    let own = pair_of(&related, "client-db-7");
    record(&mut w, &own);
    w.now_s += 8 * 86_400;
    assert_eq!(given(&w), Some(own.clone()), "the shared one ends at the same time");
    let asked = Request::new("client-db-7", &[]).unwrap();
    let shorter = Validity { not_after_s: VALIDITY.not_after_s - 60, ..VALIDITY };
    let certificate = related.sign_client(&asked.csr_pem, "client-db-7", shorter).unwrap();
    record(&mut w, &Pair { certificate, key: asked.key_pem });
    assert_eq!(given(&w), Some(shared));
    assert_eq!(look_again_s(&w), None, "that is done");
}

#[test]
fn a_pair_that_cannot_be_used_is_named_to_the_operator() {
    let related = authority();
    let (mut w, shared) = world(CertificateAuthority::Relation, &related);
    assert_eq!(refused(&w), None);
    says(&mut w, &Pair { key: shared.key, ..pair_of(&related, "client-db-7") });
    let why = "client certificate for client-db-7 cannot be used: its key belongs to another certificate";
    assert_eq!(refused(&w).as_deref(), Some(why));
    record(&mut w, &pair_of(&related, "client-db-7"));
    assert_eq!(refused(&w), None, "a good one is in use");
}

#[test]
fn common_names_say_who_and_have_room() {
    let mut w = settled(0, &three());
    let long = Consumer { application: "a".repeat(90), ..consumer("proxy:12") };
    let unknown = Consumer { application: String::new(), ..consumer("db:8") };
    w.consumers = vec![consumer("db:7"), long, unknown, consumer("nrpe-external-master:9")];
    let names = names(&w);
    assert_eq!(names["db-7"], "client-db-7");
    assert_eq!(names["db-8"], "db-8");
    assert_eq!(names["proxy-12"].len(), 64);
    assert_eq!(names.len(), 3, "an agent does not connect");
}

#[test]
fn nothing_is_taken_back_from_a_relation_that_cannot_be_read_and_the_status_names_it() {
    let internal = authority();
    for kind in [CertificateAuthority::Internal, CertificateAuthority::Relation] {
        let (mut w, _) = world(kind, &internal);
        w.peers.authority.certificate = Some(internal.certificate_pem.clone());
        record(&mut w, &pair_of(&internal, "client-db-7"));
        let shares = |w: &World| match kind {
            CertificateAuthority::Internal => authority::to_issue(w).map(|issue| issue.record),
            CertificateAuthority::Relation => to_share(w),
        };
        w.consumers.clear();
        assert!(!shares(&w).unwrap().consumers.contains_key("db-7"), "{kind:?}: the relation has ended");
        assert!(!w.has_clients());
        w.unread = vec![Unread { relation: "db:7".parse().unwrap(), why: "permission denied".to_owned() }];
        assert!(shares(&w).unwrap().consumers.contains_key("db-7"), "{kind:?}");
        assert!(w.has_clients());
    }
    let mut w = settled(0, &three());
    w.unread = vec![Unread { relation: "db:7".parse().unwrap(), why: "permission denied".to_owned() }];
    assert_eq!(
        done(next(&w)).to_string(),
        "active Healthy with 3 known peers (relation db:7 cannot be read: permission denied; \
         if its other side is gone: juju remove-relation 7 --force)"
    );
}
