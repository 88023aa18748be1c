//! Certificates from a related authority that signs requests. Every unit makes its key and asks; the leader asks for the
//! client pair too, which all share. An authority of the older protocol makes keys itself: then the requests stand there
//! unanswered and cost nothing.
//!
//! A request stays as it is until its certificate has to be renewed or the unit's names change.

use super::{Next, authority};
use crate::relations::authority::OwnRequest;
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
    (w.authority.request.is_some() && client(w).wants_request()).then_some(Step::MakeClientRequest)
}

/// The client pair, and this unit's part in it.
fn client(w: &World) -> SharedClient<'_> {
    let shared = w.peers.authority.client.as_ref();
    let leads = w.leadership == Leadership::Leader;
    SharedClient::new(shared, w.host.request.as_ref(), &w.authority.signed, leads, w.now_s)
}

/// What this unit's databag is to hold for the related authority, as key and value.
pub(super) fn shown(w: &World) -> (String, Option<String>) {
    write(requests(w))
}

/// PEM.
fn requests(w: &World) -> Vec<&str> {
    let own = w.host.request.as_ref().map(|own| own.request.as_str());
    own.into_iter().chain(client(w).request()).collect()
}

/// The client pair that the leader has to share with the other units.
pub(super) fn client_to_share(w: &World) -> Option<Pair> {
    if authority::is_internal(w) || w.authority.relation.is_none() {
        return None;
    }
    client(w).to_share()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::worlds::ready;
    use super::*;
    use crate::juju::Databag;
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
                    client: w.host.request.as_ref().and_then(|own| own.client.clone()),
                }
            }
            Step::MakeClientRequest => {
                let made = Request::new("client", &[]).unwrap();
                let client = crate::relations::authority::ClientRequest {
                    key: made.key_pem,
                    request: made.csr_pem,
                    made_s: w.now_s,
                };
                OwnRequest { client: Some(client), ..w.host.request.clone().unwrap() }
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
        assert_eq!(settle(&mut leader), ["make-request", "make-client-request"]);
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
        w.peers.authority.client = client_to_share(&w);
        assert!(w.peers.authority.client.is_some() && client_to_share(&w).is_none());
        w.now_s += LIFE_S.unsigned_abs() / 3 * 2 - 1;
        assert!(settle(&mut w).is_empty());
        w.now_s += 1;
        let old: Vec<String> = requests(&w).into_iter().map(str::to_owned).collect();
        assert_eq!(settle(&mut w), ["make-request", "make-client-request"]);
        assert!(requests(&w).iter().all(|request| !old.contains(&(*request).to_owned())) && old.len() == 2);
        let before = w.peers.authority.client.clone();
        assert_eq!(client_to_share(&w), None, "not answered yet");
        answer(&mut w, &authority);
        w.peers.authority.client = client_to_share(&w);
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
}
