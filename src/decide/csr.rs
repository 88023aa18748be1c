//! Certificates from a related authority that signs requests. Every unit makes its key and asks; the leader asks for the
//! client pairs too: the one that all share and, once the authority has shown that it understands requests, one for each
//! related application. An authority of the older protocol makes keys itself: then the requests stand there unanswered and
//! cost nothing.
//!
//! A request stays as it is until its certificate has to be renewed or the unit's names change.

use std::collections::{BTreeMap, BTreeSet};

use super::{Next, authority, clients};
use crate::relations::authority::{Client, OwnRequest, SHARED_NAME};
use crate::relations::certificates::Pair;
use crate::relations::csr::{Answers, write};
use crate::relations::shared_client::SharedClient;
use crate::step::Step;
use crate::world::{Leadership, World};

/// This unit's keys and requests. What cannot be made is left: the authority may speak the older protocol.
pub(super) fn next(w: &World) -> Option<Next> {
    step(w).filter(|step| w.tried.in_vain(step.name()).is_none()).map(Next::Do)
}

fn step(w: &World) -> Option<Step> {
    // Without the peer relation nobody can know whether there is a client pair already.
    if authority::is_internal(w) || w.authority.relation.is_none() || w.peers.relation.is_none() {
        return None;
    }
    // Nor what the authority has signed already.
    if matches!(w.authority.signed, Answers::Unreadable(_)) {
        return None;
    }
    let signed =
        |own: &OwnRequest| w.authority.signed.to(&own.request).map(|signed| signed.certificate.clone());
    if let Some(make) = authority::make_request(w, |own| signed(own)) {
        return Some(make);
    }
    w.authority.request.as_ref()?;
    let mut make = wanted(w);
    make.retain(|whose, _| client(w, whose).wants_request());
    let forget = gone(w);
    (!make.is_empty() || !forget.is_empty()).then_some(Step::RenewClientRequests { make, forget })
}

/// Common names of all client pairs that are asked for.
fn wanted(w: &World) -> BTreeMap<Client, String> {
    let consumers = match w.authority.signed {
        Answers::Said(_) => clients::names(w),
        // It may never answer: nobody waits for it.
        Answers::Silent | Answers::Unreadable(_) => BTreeMap::new(),
    };
    let own = consumers.into_iter().map(|(tag, name)| (Client::Relation(tag), name));
    own.chain([(Client::Shared, SHARED_NAME.to_owned())]).collect()
}

/// Relations that have ended, for which this unit once asked.
fn gone(w: &World) -> BTreeSet<String> {
    if !clients::sees_everyone(w) {
        return BTreeSet::new();
    }
    let asked = w.host.request.iter().flat_map(|own| own.consumers.keys());
    asked.filter(|tag| !clients::may_exist(w, tag)).cloned().collect()
}

/// A client pair, and this unit's part in it.
fn client<'a>(w: &'a World, whose: &Client) -> SharedClient<'a> {
    let leads = w.leadership == Leadership::Leader;
    let own = w.host.request.as_ref();
    SharedClient::new(whose, &w.peers.authority, own, &w.authority.signed, leads, w.now_s)
}

/// What this unit's databag is to hold for the related authority, as key and value.
pub(super) fn shown(w: &World) -> (String, Option<String>) {
    write(requests(w))
}

/// PEM.
fn requests(w: &World) -> Vec<&str> {
    let own = w.host.request.as_ref().map(|own| own.request.as_str());
    let clients = wanted(w).into_keys().filter_map(|whose| client(w, &whose).request());
    own.into_iter().chain(clients).collect()
}

/// The client pair that the leader has to share with the other units, if another one is shared.
pub(super) fn to_share(w: &World, whose: &Client) -> Option<Pair> {
    client(w, whose).to_share()
}

/// What the authority has answered to this unit, unchecked.
pub(super) fn answered(w: &World, whose: &Client) -> Option<Pair> {
    client(w, whose).answered()
}

/// What is in use here though the authority, which answers others, has taken its answer back: whose.
pub(super) fn withdrawn(w: &World) -> Option<String> {
    let Answers::Said(_) = w.authority.signed else { return None };
    let (own, files) = (w.host.request.as_ref()?, w.host.credentials.as_ref()?);
    let is_server =
        own.key.trim() == files.server_key.trim() && w.authority.signed.to(&own.request).is_none();
    if is_server {
        return Some("the server".to_owned());
    }
    let clients = wanted(w).into_iter().find(|(whose, _)| client(w, whose).is_withdrawn());
    clients.map(|(_, name)| format!("the client {name:?}"))
}

/// What of this unit's the authority does not sign, and why.
pub(super) fn refused(w: &World) -> Option<String> {
    let own = w.host.request.as_ref()?;
    if let Some(why) = w.authority.refusals.of(&own.request) {
        return Some(format!("the certificate request of {}: {why}", w.unit));
    }
    let unsigned = w.authority.signed.to(&own.request).is_none();
    if w.authority.refusals.no_addresses && unsigned {
        return Some(format!("IP addresses in certificates, and {} needs them", w.unit));
    }
    wanted(w).into_iter().find_map(|(whose, name)| {
        let why = w.authority.refusals.of(client(w, &whose).request()?)?;
        Some(format!("the certificate request of the client {name:?}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::worlds::{consumer, ready, settled, three};
    use super::*;
    use crate::juju::Databag;
    use crate::relations::authority::ClientRequest;
    use crate::tls::{Authority, Request, Validity};

    const LIFE_S: i64 = 9000;

    /// A unit that knows its names and has made nothing yet.
    fn fresh(leadership: Leadership) -> World {
        let mut w = ready(0);
        w.leadership = leadership;
        let addresses = w.addresses.all.clone();
        w.authority.request =
            Some(crate::relations::certificates::Request::new(&w.unit, &addresses, &["machine".to_owned()]));
        w
    }

    fn perform(w: &mut World, step: &Step) {
        let own = match step {
            Step::MakeRequest { common_name, sans } => {
                let made = Request::new(common_name, sans).unwrap();
                OwnRequest {
                    key: made.key_pem,
                    request: made.csr_pem,
                    certificate: None,
                    made_s: w.now_s,
                    consumers: w.host.request.as_ref().map(|own| own.consumers.clone()).unwrap_or_default(),
                    client: w.host.request.as_ref().and_then(|own| own.client.clone()),
                }
            }
            Step::RenewClientRequests { make, forget } => {
                let mut own = w.host.request.clone().unwrap();
                own.consumers.retain(|tag, _| !forget.contains(tag));
                for (whose, name) in make {
                    let made = Request::new(name, &[]).unwrap();
                    let request = ClientRequest { key: made.key_pem, request: made.csr_pem, made_s: w.now_s };
                    own.set_client(whose, request);
                }
                own
            }
            other => panic!("{other}"),
        };
        w.host.request = Some(own);
    }

    /// Makes all that has to be made; the names of the steps.
    fn settle(w: &mut World) -> Vec<&'static str> {
        let mut names = Vec::new();
        while let Some(Next::Do(step)) = next(w) {
            names.push(step.name());
            perform(w, &step);
        }
        names
    }

    /// The authority answers all that this unit shows.
    fn answer(w: &mut World, authority: &Authority) {
        let begin_s = i64::try_from(w.now_s).unwrap();
        let validity = Validity { not_before_s: begin_s - 60, not_after_s: begin_s + LIFE_S };
        let sign = |request: &str| {
            let certificate = authority.sign_member(request, "any", &[], validity).unwrap();
            json!({"ca": authority.certificate_pem, "certificate_signing_request": request,
                   "certificate": certificate, "chain": []})
        };
        let all: Vec<_> = requests(w).into_iter().map(sign).collect();
        w.authority.signed =
            Answers::read(&Databag::from([("certificates".to_owned(), json!(all).to_string())]));
    }

    fn shared(w: &World) -> Option<Pair> {
        to_share(w, &Client::Shared)
    }

    fn authority() -> Authority {
        let validity = Validity { not_before_s: 1_900_000_000, not_after_s: 2_100_000_000 };
        Authority::create("csr", validity).unwrap()
    }

    #[test]
    fn every_unit_asks_once_and_the_leader_for_the_clients_too() {
        let mut follower = fresh(Leadership::Follower);
        assert_eq!(settle(&mut follower), ["make-request"]);
        assert_eq!(requests(&follower).len(), 1);
        let mut leader = fresh(Leadership::Leader);
        assert_eq!(settle(&mut leader), ["make-request", "renew-client-requests"]);
        let shown: Vec<String> = requests(&leader).into_iter().map(str::to_owned).collect();
        assert_eq!(shown.len(), 2);
        leader.now_s += 10 * 365 * 86_400;
        assert!(settle(&mut leader).is_empty(), "an authority of the older protocol never answers");
        assert_eq!(requests(&leader), shown);
        leader.authority.request.as_mut().unwrap().sans.insert("etcd.example.com".to_owned());
        assert_eq!(settle(&mut leader), ["make-request"], "another name is another request");
    }

    #[test]
    fn two_thirds_later_everything_is_asked_for_again_and_once() {
        let (mut w, authority) = (fresh(Leadership::Leader), authority());
        settle(&mut w);
        answer(&mut w, &authority);
        w.peers.authority.client = shared(&w);
        assert!(w.peers.authority.client.is_some() && shared(&w).is_none());
        w.now_s += LIFE_S.unsigned_abs() / 3 * 2 - 1;
        assert!(settle(&mut w).is_empty());
        w.now_s += 1;
        let old: Vec<String> = requests(&w).into_iter().map(str::to_owned).collect();
        assert_eq!(settle(&mut w), ["make-request", "renew-client-requests"]);
        assert!(requests(&w).iter().all(|request| !old.contains(&(*request).to_owned())) && old.len() == 2);
        let before = w.peers.authority.client.clone();
        assert_eq!(shared(&w), None, "not answered yet");
        answer(&mut w, &authority);
        w.peers.authority.client = shared(&w);
        assert!(w.peers.authority.client.is_some() && w.peers.authority.client != before);
        assert!(settle(&mut w).is_empty());
    }

    #[test]
    fn nothing_is_made_where_nobody_would_sign() {
        let mut w = fresh(Leadership::Leader);
        w.authority.relation = None;
        assert_eq!(next(&w), None);
        let mut w = fresh(Leadership::Leader);
        w.peers.relation = None;
        assert_eq!(next(&w), None);
        let mut w = fresh(Leadership::Leader);
        w.authority.signed = Answers::Unreadable("nonsense".to_owned());
        assert_eq!(next(&w), None, "it may have signed already");
        let mut w = fresh(Leadership::Leader);
        w.tried.in_vain.insert("make-request", "cannot make a signing request".to_owned());
        assert_eq!(next(&w), None, "the older protocol may still do");
    }

    #[test]
    fn a_certificate_that_is_over_when_it_comes_is_not_asked_for_again() {
        let (mut w, authority) = (fresh(Leadership::Leader), authority());
        settle(&mut w);
        w.now_s -= LIFE_S.unsigned_abs() + 1;
        answer(&mut w, &authority);
        w.now_s += LIFE_S.unsigned_abs() + 1;
        assert!(settle(&mut w).is_empty());
    }

    #[test]
    fn each_related_application_is_asked_for_once_requests_are_understood() {
        let (mut w, authority) = (fresh(Leadership::Leader), authority());
        let member = settled(0, &three());
        (w.etcd, w.consumers) = (member.etcd, vec![consumer("db:7"), consumer("db:8")]);
        assert_eq!(settle(&mut w), ["make-request", "renew-client-requests"]);
        assert_eq!(requests(&w).len(), 2, "it may speak the older protocol alone");
        answer(&mut w, &authority);
        assert_eq!(settle(&mut w), ["renew-client-requests"]);
        assert_eq!(requests(&w).len(), 4);
        let db_7 = Client::Relation("db-7".to_owned());
        assert_eq!(to_share(&w, &db_7), None, "not answered yet");
        answer(&mut w, &authority);
        let pair = to_share(&w, &db_7).unwrap();
        w.peers.authority.client = shared(&w);
        w.peers.authority.consumers.insert("db-7".to_owned(), pair.clone());
        w.consumers.pop();
        assert_eq!(settle(&mut w), ["renew-client-requests"], "one is gone");
        assert_eq!((requests(&w).len(), w.host.request.as_ref().unwrap().consumers.len()), (3, 1));
        // The next leader keeps what is good and asks for nothing; this one goes on asking.
        w.leadership = Leadership::Follower;
        assert_eq!(requests(&w).len(), 3);
        let mut next = World { leadership: Leadership::Leader, ..fresh(Leadership::Leader) };
        (next.peers, next.authority.signed) = (w.peers.clone(), w.authority.signed.clone());
        next.consumers = w.consumers.clone();
        assert_eq!(settle(&mut next), ["make-request"]);
        w.peers.authority.consumers.clear();
        assert_eq!(requests(&w).len(), 2, "another pair is in use");
    }

    #[test]
    fn what_the_authority_takes_back_is_named() {
        let (mut w, authority) = (fresh(Leadership::Leader), authority());
        settle(&mut w);
        answer(&mut w, &authority);
        w.peers.authority.client = shared(&w);
        w.host.credentials.as_mut().unwrap().server_key = w.host.request.clone().unwrap().key;
        assert_eq!(withdrawn(&w), None);
        let all = w.authority.signed.clone();
        w.authority.signed = Answers::Said(vec![]);
        assert_eq!(withdrawn(&w).as_deref(), Some("the server"));
        w.host.credentials.as_mut().unwrap().server_key = "of another authority".to_owned();
        assert_eq!(withdrawn(&w).as_deref(), Some("the client \"client\""));
        w.authority.signed = Answers::Silent;
        assert_eq!(withdrawn(&w), None, "another authority, which has not answered anyone yet");
        w.authority.signed = all;
        assert_eq!(withdrawn(&w), None);
    }

    #[test]
    fn what_the_authority_refuses_is_told_in_its_words() {
        let refuse = |w: &mut World, bag: serde_json::Value| {
            let text = |(key, value): (&String, &serde_json::Value)| (key.clone(), value.to_string());
            let bag = bag.as_object().unwrap().iter().map(text).collect::<Databag>();
            w.authority.refusals = crate::relations::csr::Refusals::read(&bag);
            w.authority.signed = Answers::read(&bag);
        };
        let mut w = fresh(Leadership::Follower);
        w.host.credentials = None;
        w.authority.answer = crate::world::Answered::Nothing;
        while let Some(Next::Do(step)) = next(&w) {
            perform(&mut w, &step);
        }
        let own = w.host.request.as_ref().unwrap().request.clone();
        let error = json!({"code": 102, "name": "DOMAIN_NOT_ALLOWED", "message": "not that one"});
        refuse(&mut w, json!({"request_errors": [{"csr": own, "error": error}]}));
        let told = super::super::worlds::done(super::super::next(&w)).to_string();
        assert!(
            told.starts_with("blocked easyrsa refuses the certificate request of etcd/0: DOMAIN_NOT_ALLOWED (102): not that one; "),
            "{told}"
        );
        refuse(&mut w, json!({"capabilities": {"supports_ip_sans": false}}));
        let told = super::super::worlds::done(super::super::next(&w)).to_string();
        assert!(told.starts_with("blocked easyrsa refuses IP addresses in certificates, "), "{told}");
        refuse(&mut w, json!({"capabilities": {}}));
        assert_eq!(refused(&w), None);
    }
}
