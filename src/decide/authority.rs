//! The application's own certificate authority. Every unit makes its key and asks; the leader makes the authority and
//! signs. What the leader needs for itself it signs itself: no hook would tell it of its own answer.

use std::collections::BTreeMap;

use super::{Next, clients};
use crate::options::CertificateAuthority;
use crate::relations::authority::{AuthorityRecord, OwnRequest, is_due, wants_successor};
use crate::relations::certificates::Pair;
use crate::step::Step;
use crate::world::{Leadership, World};

/// What the leader has to sign, and the record as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What the application's databag is to hold, without what is still to be signed.
    pub record: AuthorityRecord,
    /// Requests (PEM) to sign, by the unit's tag.
    pub units: BTreeMap<String, String>,
    /// A new client pair is needed.
    pub client: bool,
    /// Client pairs to make for related applications: common names by the relation's tag.
    pub consumers: BTreeMap<String, String>,
    /// The authority's key has to be given to Juju.
    pub keep: bool,
}

/// Whether this application signs for itself.
pub(super) fn is_internal(w: &World) -> bool {
    w.authority.kind == CertificateAuthority::Internal
}

/// This unit's key and request, and for the leader the authority and its own certificate.
pub(super) fn next(w: &World) -> Option<Next> {
    let leads = w.leadership == Leadership::Leader;
    let record = &w.peers.authority;
    if let Some(draft) = &w.host.draft
        && !(is_internal(w) && leads && record.is_replaced_by(draft, w.now_s))
        && w.peers.relation.is_some()
    {
        return Some(Next::Do(Step::ForgetDraft));
    }
    // Without the peer relation nobody can know whether there is an authority already.
    if !is_internal(w) || w.peers.relation.is_none() {
        return None;
    }
    let tag = &w.authority.request.as_ref()?.tag;
    let current = record.with(w.host.draft.as_ref().filter(|_| leads), w.now_s);
    let certificate = |own: &OwnRequest| {
        let signed_here = own.certificate.as_ref().filter(|pem| current.has_signed(pem, &own.request));
        signed_here.or_else(|| current.certificate_for(tag, &own.request)).cloned()
    };
    if let Some(make) = make_request(w, certificate) {
        return Some(Next::Do(make));
    }
    let certificate = w.host.request.as_ref().and_then(certificate);
    if leads && current.wants_authority(w.now_s) {
        return Some(Next::Do(Step::MakeAuthority));
    }
    (leads && certificate.is_none()).then_some(Next::Do(Step::SignOwn))
}

/// This unit's key and request, whoever signs: when there is none for its names, or when the `certificate` that was
/// signed for it has to be renewed. `None` while this unit does not know its names.
pub(super) fn make_request(w: &World, certificate: impl Fn(&OwnRequest) -> Option<String>) -> Option<Step> {
    let wanted = w.authority.request.as_ref()?;
    let sans: Vec<String> = wanted.sans.iter().cloned().collect();
    let is_current = w.host.request.as_ref().is_some_and(|own| {
        let is_over = |pem: String| wants_successor(&pem, own.made_s, w.now_s);
        own.as_request().asks_for(&wanted.common_name, &sans) && !certificate(own).is_some_and(is_over)
    });
    (!is_current).then(|| Step::MakeRequest { common_name: wanted.common_name.clone(), sans })
}

/// What a leader has to sign or to write down at the end of its run.
pub fn to_issue(w: &World) -> Option<Issue> {
    if !is_internal(w) || w.leadership != Leadership::Leader || w.event.is_leaving() {
        return None;
    }
    w.peers.relation.as_ref()?;
    let old = &w.peers.authority;
    let mut record = old.with(w.host.draft.as_ref(), w.now_s);
    record.certificate.as_ref()?;
    let is_new = record.certificate != old.certificate;
    let has_unit = |tag: &String| {
        let tags = w.peers.expected.as_ref().map(|units| units.iter().any(|unit| unit.tag() == *tag));
        tags.unwrap_or(true)
    };
    let asked = w.peers.units.iter().filter_map(|(unit, peer)| Some((unit.tag(), peer.request.clone()?)));
    let units: BTreeMap<String, String> = asked
        // Juju 4 goes on listing a unit that is gone.
        .filter(|(tag, _)| has_unit(tag))
        .filter(|(tag, request)| record.certificate_for(tag, request).is_none())
        .filter(|(_, request)| crate::tls::asked(request).is_some())
        .collect();
    record.issued.retain(|tag, _| has_unit(tag));
    let mut consumers = clients::names(w);
    // A unit that has not come up yet may not see every relation.
    if w.own_status().is_some_and(|own| !own.learner) {
        record.consumers.retain(|tag, _| clients::may_exist(w, tag));
    }
    let is_wanting = |pair: Option<&Pair>| {
        pair.is_none_or(|pair| !record.is_issuer_of(&pair.certificate) || is_due(&pair.certificate, w.now_s))
    };
    let client = is_wanting(record.client.as_ref());
    consumers.retain(|tag, _| is_wanting(record.consumers.get(tag)));
    let is_kept_in_the_open =
        w.juju.has_secrets() && w.peers.application.contains_key(crate::relations::authority::KEY);
    Some(Issue { units, client, consumers, keep: is_new || is_kept_in_the_open, record })
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{first_hook, ready};
    use super::*;
    use crate::relations::authority::Draft;
    use crate::relations::certificates::Pair;
    use crate::tls::{Authority, Request, Validity};
    use crate::world::Peer;

    const VALIDITY: Validity =
        Validity { not_before_s: 2_000_000_000 - 60, not_after_s: 2_000_000_000 + 86_400 };

    fn draft() -> Draft {
        let made = Authority::create("etcd", VALIDITY).unwrap();
        let asked = Request::new("client", &[]).unwrap();
        let certificate = made.sign_client(&asked.csr_pem, "client", VALIDITY).unwrap();
        let client = Pair { certificate, key: asked.key_pem };
        Draft { certificate: made.certificate_pem, key: made.key_pem, client }
    }

    fn internal(leadership: Leadership) -> World {
        let mut w = ready(0);
        w.leadership = leadership;
        w.host.credentials = None;
        w.authority.kind = CertificateAuthority::Internal;
        w.authority.relation = None;
        w.authority.request = Some(crate::relations::certificates::Request::new(
            &w.unit,
            &w.addresses.all.clone(),
            &["machine".to_owned()],
        ));
        w
    }

    fn own(w: &World) -> OwnRequest {
        let wanted = w.authority.request.as_ref().unwrap();
        let sans: Vec<String> = wanted.sans.iter().cloned().collect();
        let made = Request::new(&wanted.common_name, &sans).unwrap();
        OwnRequest {
            key: made.key_pem,
            request: made.csr_pem,
            certificate: None,
            made_s: w.now_s,
            client: None,
            consumers: BTreeMap::new(),
        }
    }

    #[test]
    fn a_follower_asks_and_waits_and_a_leader_makes_and_signs() {
        let mut w = internal(Leadership::Follower);
        assert!(matches!(next(&w), Some(Next::Do(Step::MakeRequest { .. }))));
        w.host.request = Some(own(&w));
        assert_eq!(next(&w), None);
        w.leadership = Leadership::Leader;
        assert_eq!(next(&w), Some(Next::Do(Step::MakeAuthority)));
        w.host.draft = Some(draft());
        assert_eq!(next(&w), Some(Next::Do(Step::SignOwn)));
        assert!(to_issue(&w).unwrap().keep, "Juju has not got the key yet");
        w.peers.authority = w.peers.authority.with(w.host.draft.as_ref(), w.now_s);
        assert_eq!(next(&w), Some(Next::Do(Step::ForgetDraft)));
        assert!(!to_issue(&w).unwrap().keep);
    }

    #[test]
    fn nothing_is_made_where_the_record_cannot_be_seen() {
        let mut w = internal(Leadership::Leader);
        w.peers.relation = None;
        assert_eq!((next(&w), to_issue(&w)), (None, None));
        let w = first_hook(0);
        assert_eq!(next(&w), None, "the related authority makes the keys");
    }

    #[test]
    fn a_leader_signs_for_those_who_asked_and_drops_units_that_are_gone() {
        let mut w = internal(Leadership::Leader);
        w.peers.authority = w.peers.authority.with(Some(&draft()), w.now_s);
        w.peers.authority.issued.insert("etcd_9".to_owned(), "of a unit that is gone".to_owned());
        let request = own(&w).request;
        w.peers
            .units
            .insert("etcd/1".parse().unwrap(), Peer { request: Some(request.clone()), ..Peer::default() });
        w.peers
            .units
            .insert("etcd/2".parse().unwrap(), Peer { request: Some("nonsense".into()), ..Peer::default() });
        assert!(to_issue(&w).unwrap().units.is_empty(), "Juju lists units that are gone");
        w.peers.expected.as_mut().unwrap().extend(w.peers.units.keys().cloned());
        let issue = to_issue(&w).unwrap();
        assert_eq!(issue.units, BTreeMap::from([("etcd_1".to_owned(), request)]));
        assert!(issue.record.issued.is_empty() && !issue.client);
        w.peers.expected = None;
        assert!(to_issue(&w).unwrap().record.issued.contains_key("etcd_9"), "Juju could not be asked");
    }
}
