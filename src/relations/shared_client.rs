//! A client pair that all units give to consumers, where the related authority signs requests: the leader asks for it
//! with a key and request of its own and shares the pair in the application's peer databag. There is one that everyone
//! shares, and one for each related application; the rules are the same for all.
//!
//! Whoever asked goes on asking as long as its pair is shared, leader or not: authorities drop and revoke what nobody
//! asks for. A pair that is good stays, whoever leads.

use super::authority::{AuthorityRecord, Client, ClientRequest, OwnRequest, is_due, wants_successor};
use super::certificates::Pair;
use super::csr::{Answers, Signed};
use crate::tls::{self, Bundle};

/// The shared pair, and this unit's part in it.
#[derive(Debug, Clone, Copy)]
pub struct SharedClient<'a> {
    shared: Option<&'a Pair>,
    own: Option<&'a ClientRequest>,
    signed: Option<&'a Signed>,
    ca: Option<&'a str>,
    leads: bool,
    now_s: u64,
}

impl<'a> SharedClient<'a> {
    /// `record`: the application's databag; `own`: this unit's requests; `now_s`: Unix time in seconds.
    pub fn new(
        whose: &Client,
        record: &'a AuthorityRecord,
        own: Option<&'a OwnRequest>,
        answers: &'a Answers,
        leads: bool,
        now_s: u64,
    ) -> SharedClient<'a> {
        let client = own.and_then(|own| own.client(whose));
        SharedClient {
            shared: record.client(whose),
            own: client,
            signed: client.and_then(|client| answers.to(&client.request)),
            ca: answers.ca(own.map(|own| own.request.as_str())),
            leads,
            now_s,
        }
    }

    /// The pair to use, unchecked.
    pub fn pair(&self) -> Option<Pair> {
        let is_wanted = self.leads && (self.is_owner() || !self.is_good());
        let answered = self.answered().filter(|_| is_wanted);
        let shared = self.shared.filter(|pair| self.is_issued(pair));
        if answered.as_ref().is_some_and(|pair| self.is_usable(pair)) || !self.is_good() {
            return answered.or(shared.cloned());
        }
        shared.cloned()
    }

    /// The pair that the leader has to share, if another one is.
    pub fn to_share(&self) -> Option<Pair> {
        let pair = self.pair().filter(|pair| self.leads && self.is_usable(pair))?;
        (self.shared != Some(&pair)).then_some(pair)
    }

    /// Whether this unit has to ask for a new one.
    pub fn wants_request(&self) -> bool {
        if !self.leads || self.is_good() {
            return false;
        }
        let Some(own) = self.own else { return true };
        let is_over = |certificate: &str| wants_successor(certificate, own.made_s, self.now_s);
        self.signed.is_some_and(|signed| is_over(&signed.certificate))
            || (self.is_owner() && self.shared.is_some_and(|pair| is_over(&pair.certificate)))
    }

    /// The shared pair answers a request of this unit that the authority does not answer any more.
    pub fn is_withdrawn(&self) -> bool {
        self.is_owner() && self.signed.is_none()
    }

    /// This unit's request (PEM), as long as something depends on it.
    pub fn request(&self) -> Option<&'a str> {
        let is_needed = self.is_owner() || (self.leads && !self.is_good());
        self.own.filter(|_| is_needed).map(|own| own.request.as_str())
    }

    /// What the authority has answered to this unit's request, unchecked.
    pub fn answered(&self) -> Option<Pair> {
        let (own, signed) = self.own.zip(self.signed)?;
        Some(Pair { certificate: signed.certificate.clone(), key: own.key.clone() })
    }

    fn is_owner(&self) -> bool {
        self.own.zip(self.shared).is_some_and(|(own, pair)| own.key == pair.key)
    }

    /// The shared pair serves, and need not be renewed yet.
    fn is_good(&self) -> bool {
        let is_due = |pair: &Pair| match self.own {
            Some(own) if self.is_owner() => wants_successor(&pair.certificate, own.made_s, self.now_s),
            _ => is_due(&pair.certificate, self.now_s),
        };
        self.shared.is_some_and(|pair| self.is_usable(pair) && !is_due(pair))
    }

    fn is_usable(&self, pair: &Pair) -> bool {
        let Some(ca) = self.ca else { return false };
        tls::why_not_usable(&pair.certificate, &pair.key, ca, &[], self.now_s).is_none()
    }

    /// It comes from the authority that answers now, whether or not its time is over.
    fn is_issued(&self, pair: &Pair) -> bool {
        let authorities = self.ca.and_then(|ca| Bundle::parse(ca).ok()).unwrap_or_default();
        !tls::issuers(&pair.certificate, &authorities).certificates().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::juju::Databag;
    use crate::tls::{Authority, Request, Validity};

    const BEGIN_S: u64 = 2_000_000_000;
    const LIFE_S: u64 = 90;

    fn validity() -> Validity {
        let begin_s = i64::try_from(BEGIN_S).unwrap();
        Validity { not_before_s: begin_s, not_after_s: begin_s + 90 }
    }

    fn authority() -> Authority {
        let long = Validity { not_after_s: validity().not_before_s + 1_000_000, ..validity() };
        Authority::create("csr", long).unwrap()
    }

    fn own() -> OwnRequest {
        let (server, client) = (Request::new("etcd-0", &[]).unwrap(), Request::new("client", &[]).unwrap());
        OwnRequest {
            key: server.key_pem,
            request: server.csr_pem,
            certificate: None,
            made_s: BEGIN_S,
            client: Some(ClientRequest { key: client.key_pem, request: client.csr_pem, made_s: BEGIN_S }),
            consumers: BTreeMap::new(),
        }
    }

    fn signed(authority: &Authority, own: &OwnRequest) -> String {
        let request = &own.client.as_ref().unwrap().request;
        authority.sign_client(request, "client", validity()).unwrap()
    }

    fn answers(authority: &Authority, own: &OwnRequest) -> Answers {
        let one = |request: &str, certificate: String| {
            json!({"ca": authority.certificate_pem, "certificate_signing_request": request,
                   "certificate": certificate})
        };
        let server = authority.sign_member(&own.request, "etcd-0", &[], validity()).unwrap();
        let client = own.client.as_ref().map(|client| one(&client.request, signed(authority, own)));
        let all: Vec<_> = client.into_iter().chain([one(&own.request, server)]).collect();
        Answers::read(&Databag::from([("certificates".to_owned(), json!(all).to_string())]))
    }

    fn pair(authority: &Authority, own: &OwnRequest) -> Pair {
        Pair { certificate: signed(authority, own), key: own.client.as_ref().unwrap().key.clone() }
    }

    const LEADS: bool = true;

    fn record(shared: Option<&Pair>) -> AuthorityRecord {
        AuthorityRecord { client: shared.cloned(), ..AuthorityRecord::default() }
    }

    #[test]
    fn the_leader_asks_and_shares_and_the_others_take_what_is_shared() {
        let (authority, own, nothing) = (authority(), own(), Answers::Silent);
        let without = OwnRequest { client: None, ..own.clone() };
        let none = record(None);
        let new = |record, own, answers, leads| {
            SharedClient::new(&Client::Shared, record, Some(own), answers, leads, BEGIN_S + 1)
        };
        assert!(new(&none, &without, &nothing, LEADS).wants_request());
        assert!(!new(&none, &without, &nothing, !LEADS).wants_request());
        let asked = new(&none, &own, &nothing, LEADS);
        assert!(!asked.wants_request() && asked.request().is_some() && asked.pair().is_none());
        assert_eq!(new(&none, &own, &nothing, !LEADS).request(), None, "it leads no longer");
        let answers = answers(&authority, &own);
        let pair = new(&none, &own, &answers, LEADS).to_share().unwrap();
        let taken = record(Some(&pair));
        assert_eq!(pair.key, own.client.as_ref().unwrap().key);
        let owner = new(&taken, &own, &answers, !LEADS);
        assert!(owner.request().is_some(), "its pair is in use");
        assert_eq!((owner.pair(), owner.to_share()), (Some(pair.clone()), None));
        let others = Answers::Said(vec![]);
        assert!(!owner.is_withdrawn() && new(&taken, &own, &others, !LEADS).is_withdrawn());
        let next_leader = new(&taken, &without, &answers, LEADS);
        assert!(!next_leader.wants_request(), "what is good stays");
        assert_eq!((next_leader.pair(), next_leader.to_share()), (Some(pair.clone()), None));
    }

    #[test]
    fn two_thirds_later_the_leader_asks_again_and_nobody_else() {
        let (authority, own) = (authority(), own());
        let (answers, pair) = (answers(&authority, &own), pair(&authority, &own));
        let shared = record(Some(&pair));
        let at = |own, leads, now_s| {
            SharedClient::new(&Client::Shared, &shared, Some(own), &answers, leads, now_s)
        };
        assert!(!at(&own, LEADS, BEGIN_S + 59).wants_request());
        assert!(at(&own, LEADS, BEGIN_S + 60).wants_request());
        assert!(!at(&own, !LEADS, BEGIN_S + 60).wants_request());
        let renewed = OwnRequest { client: self::own().client, ..own.clone() };
        let renewing = at(&renewed, LEADS, BEGIN_S + 60);
        assert!(!renewing.wants_request() && renewing.request().is_some());
        assert_eq!(renewing.pair(), Some(pair.clone()), "it is good for a while");
        let long_gone = at(&own, LEADS, BEGIN_S + LIFE_S + 1);
        assert!(long_gone.wants_request() && long_gone.to_share().is_none());
    }

    #[test]
    fn another_authority_makes_another_pair() {
        let (old, new, own) = (authority(), authority(), own());
        let pair_of_old = pair(&old, &own);
        let answers = answers(&new, &own);
        let shared = record(Some(&pair_of_old));
        let at =
            |own, leads| SharedClient::new(&Client::Shared, &shared, Some(own), &answers, leads, BEGIN_S + 1);
        let shared = at(&own, LEADS).to_share().unwrap();
        assert_eq!(shared.key, pair_of_old.key, "the same request was signed again");
        assert_ne!(shared.certificate, pair_of_old.certificate);
        assert_eq!(at(&own, !LEADS).pair(), None, "not before it is shared");
        let without = OwnRequest { client: None, ..own.clone() };
        assert!(at(&without, LEADS).wants_request());
    }
}
