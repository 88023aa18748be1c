//! Certificates in the databags of the peer relation. Whatever the authority, the client pairs stand in the application's
//! databag: the one that all units share, and one for each related application.
//!
//! With the application's own authority (`certificate_authority=internal`) everything else that a unit needs stands there
//! too, whoever leads: the authority's certificate and one for each unit. The authority's key stands there on Juju 2.9 only;
//! later ones keep it as a secret of the application.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Changes;
use super::certificates::Pair;
use crate::juju::Databag;
use crate::tls::{Authority, Bundle, Certificate, Request, issuers};

/// Key of the authority's private key in the application's databag (Juju 2.9).
pub const KEY: &str = "authority-key";
/// Key of a unit's request in its own databag.
pub const REQUEST: &str = "certificate-request";
const CERTIFICATE: &str = "authority-certificate";
const CLIENT_CERTIFICATE: &str = "client-certificate";
const CLIENT_KEY: &str = "client-key";
const ISSUED: &str = "certificate-";
const CONSUMER: &str = "consumer-";
/// Common name of the client certificate that everyone shares.
pub const SHARED_NAME: &str = "client";

/// Whose client pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// The one that all units share, and everyone who has none of its own.
    Shared,
    /// A related application's, by the relation's tag (`db-7`).
    Relation(String),
}

/// This unit's own key and its request, in one file, so that the two always belong together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRequest {
    /// PKCS#8 PEM; it never leaves the machine.
    pub key: String,
    /// PKCS#10 PEM.
    pub request: String,
    /// What the leader signed for itself: its own write to the application's databag brings it no hook.
    pub certificate: Option<String>,
    /// When the request was made, Unix time in seconds; 0 in a file that does not say.
    #[serde(default)]
    pub made_s: u64,
    /// For the client certificate that all units share, on a unit that has asked the related authority for one.
    #[serde(default)]
    pub client: Option<ClientRequest>,
    /// The same for related applications, by the relation's tag (`db-7`).
    #[serde(default)]
    pub consumers: BTreeMap<String, ClientRequest>,
}

/// A key and request for a client certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRequest {
    /// PKCS#8 PEM; the leader shares it with its certificate.
    pub key: String,
    /// PKCS#10 PEM.
    pub request: String,
    /// When it was made, Unix time in seconds.
    pub made_s: u64,
}

impl fmt::Debug for ClientRequest {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest").field("request", &self.request).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnRequest {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnRequest").field("request", &self.request).finish_non_exhaustive()
    }
}

impl OwnRequest {
    /// As it is asked about.
    pub fn as_request(&self) -> Request {
        Request { key_pem: self.key.clone(), csr_pem: self.request.clone() }
    }

    /// This unit's request for a client certificate.
    pub fn client(&self, whose: &Client) -> Option<&ClientRequest> {
        match whose {
            Client::Shared => self.client.as_ref(),
            Client::Relation(tag) => self.consumers.get(tag),
        }
    }

    /// Puts a new request in the place of an earlier one.
    pub fn set_client(&mut self, whose: &Client, request: ClientRequest) {
        match whose {
            Client::Shared => self.client = Some(request),
            Client::Relation(tag) => drop(self.consumers.insert(tag.clone(), request)),
        }
    }
}

/// An authority that this unit has made and that Juju has not taken yet. It is on disk before anything is signed
/// with it, so that a leader that dies goes on with the same one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// PEM.
    pub certificate: String,
    /// PKCS#8 PEM.
    pub key: String,
    /// The client pair it signed.
    pub client: Pair,
}

impl fmt::Debug for Draft {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Draft {
    /// What signs.
    pub fn authority(&self) -> Authority {
        Authority { certificate_pem: self.certificate.clone(), key_pem: self.key.clone() }
    }
}

/// The application's databag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// Certificate of the application's own authority, PEM. Absent: there is none.
    pub certificate: Option<String>,
    /// The client pair that all units share.
    pub client: Option<Pair>,
    /// The client pairs of related applications by the relation's tag (`db-7`).
    pub consumers: BTreeMap<String, Pair>,
    /// Signed certificates by the unit's tag (`etcd_0`), PEM.
    pub issued: BTreeMap<String, String>,
}

impl AuthorityRecord {
    /// From the application's databag.
    pub fn read(bag: &Databag) -> AuthorityRecord {
        let text = |key: &str| bag.get(key).filter(|value| !value.is_empty()).cloned();
        let named =
            |prefix| bag.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)));
        // What cannot be read is signed anew.
        let pair = |(tag, text): (&str, &String)| Some((tag.to_owned(), serde_json::from_str(text).ok()?));
        AuthorityRecord {
            certificate: text(CERTIFICATE),
            client: text(CLIENT_CERTIFICATE)
                .zip(text(CLIENT_KEY))
                .map(|(certificate, key)| Pair { certificate, key }),
            consumers: named(CONSUMER).filter_map(pair).collect(),
            issued: named(ISSUED).map(|(tag, value)| (tag.to_owned(), value.clone())).collect(),
        }
    }

    /// To the application's databag; `bag` is what stands there, of which certificates for others may go. A pair of texts
    /// cannot fail to be written as JSON.
    pub fn write(&self, bag: &Databag) -> Changes {
        let client = |part: fn(&Pair) -> &String| self.client.as_ref().map(|pair| part(pair).clone());
        let is_for_others = |key: &&String| key.starts_with(ISSUED) || key.starts_with(CONSUMER);
        let known = bag.keys().filter(is_for_others).map(|key| (key.clone(), None));
        let issued = self.issued.iter().map(|(tag, pem)| (format!("{ISSUED}{tag}"), Some(pem.clone())));
        let consumers = self
            .consumers
            .iter()
            .map(|(tag, pair)| (format!("{CONSUMER}{tag}"), Some(serde_json::json!(pair).to_string())));
        let own = [
            (CERTIFICATE.to_owned(), self.certificate.clone()),
            (CLIENT_CERTIFICATE.to_owned(), client(|pair| &pair.certificate)),
            (CLIENT_KEY.to_owned(), client(|pair| &pair.key)),
        ];
        known.chain(issued).chain(consumers).chain(own).collect()
    }

    /// A client pair.
    pub fn client(&self, whose: &Client) -> Option<&Pair> {
        match whose {
            Client::Shared => self.client.as_ref(),
            Client::Relation(tag) => self.consumers.get(tag),
        }
    }

    /// The record without the application's own authority, which nobody trusts any more.
    #[must_use]
    pub fn without_authority(&self) -> AuthorityRecord {
        let of_another = |pair: &Pair| !self.is_issuer_of(&pair.certificate);
        let consumers = self.consumers.iter().filter(|(_, pair)| of_another(pair));
        AuthorityRecord {
            certificate: None,
            client: self.client.clone().filter(of_another),
            consumers: consumers.map(|(tag, pair)| (tag.clone(), pair.clone())).collect(),
            issued: BTreeMap::new(),
        }
    }

    /// Whether a new authority has to be made: there is none, or its time comes.
    pub fn wants_authority(&self, now_s: u64) -> bool {
        self.certificate.as_ref().is_none_or(|pem| is_due(pem, now_s))
    }

    /// The record as it will be once Juju has taken the leader's draft, if that is to replace what stands in it.
    pub fn with(&self, draft: Option<&Draft>, now_s: u64) -> AuthorityRecord {
        match draft {
            Some(draft) if self.is_replaced_by(draft, now_s) => AuthorityRecord {
                certificate: Some(draft.certificate.clone()),
                client: Some(draft.client.clone()),
                ..AuthorityRecord::default()
            },
            _ => self.clone(),
        }
    }

    /// A draft counts only where an authority is wanted, and no longer once the record holds it.
    pub fn is_replaced_by(&self, draft: &Draft, now_s: u64) -> bool {
        self.wants_authority(now_s) && self.certificate.as_deref() != Some(&draft.certificate)
    }

    /// The certificate of the unit `tag` for the public key in `request`, if this authority has signed one.
    pub fn certificate_for(&self, tag: &str, request: &str) -> Option<&String> {
        self.issued.get(tag).filter(|certificate| self.has_signed(certificate, request))
    }

    /// Whether this authority signed `certificate`.
    pub fn is_issuer_of(&self, certificate: &str) -> bool {
        let own = self.certificate.as_ref().and_then(|pem| Bundle::parse(pem).ok()).unwrap_or_default();
        !issuers(certificate, &own).certificates().is_empty()
    }

    /// Whether this authority signed `certificate` for the public key in `request`.
    pub fn has_signed(&self, certificate: &str, request: &str) -> bool {
        let Some(leaf) = first(certificate) else { return false };
        self.is_issuer_of(certificate)
            && crate::tls::asked(request).is_some_and(|asked| asked.public_key == leaf.public_key)
    }
}

/// Whether a certificate, asked for at `asked_s` and answered, has to be asked for again: two thirds of the time that it
/// was good for since then are over. One that was of no use when it came is not: asking again would bring another one.
pub fn wants_successor(pem: &str, asked_s: u64, now_s: u64) -> bool {
    let seconds = |time_s: u64| i64::try_from(time_s).unwrap_or(i64::MAX);
    let Some(certificate) = first(pem) else { return false };
    // A clock that was wrong when it was asked for says nothing.
    let asked_s = if asked_s <= now_s { seconds(asked_s) } else { i64::MIN };
    let begin_s = certificate.not_before_s.max(asked_s);
    let life_s = certificate.not_after_s.saturating_sub(begin_s);
    life_s > 0 && seconds(now_s) >= begin_s.saturating_add(life_s / 3 * 2)
}

/// Whether two thirds of a certificate's life are over. One that cannot be read is due.
pub fn is_due(pem: &str, now_s: u64) -> bool {
    first(pem).is_none_or(|certificate| certificate.is_due(i64::try_from(now_s).unwrap_or(i64::MAX)))
}

fn first(pem: &str) -> Option<Certificate> {
    Certificate::parse_chain(pem).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Validity;

    const DAY: i64 = 86_400;
    const VALIDITY: Validity = Validity { not_before_s: 2_000_000_000, not_after_s: 2_000_000_000 + 9 * DAY };
    const NOW_S: u64 = 2_000_000_100;

    fn draft() -> Draft {
        let made = Authority::create("etcd", VALIDITY).unwrap();
        let client = Request::new("client", &[]).unwrap();
        let certificate = made.sign_client(&client.csr_pem, "client", VALIDITY).unwrap();
        let client = Pair { certificate, key: client.key_pem };
        Draft { certificate: made.certificate_pem, key: made.key_pem, client }
    }

    #[test]
    fn the_record_survives_the_databag_and_drops_units_that_are_gone() {
        let record = AuthorityRecord {
            issued: BTreeMap::from([("etcd_0".to_owned(), "PEM".to_owned())]),
            consumers: BTreeMap::from([("db-7".to_owned(), draft().client)]),
            ..AuthorityRecord::default().with(Some(&draft()), NOW_S)
        };
        let bag: Databag =
            record.write(&Databag::new()).into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        assert_eq!(AuthorityRecord::read(&bag), record);
        let without = AuthorityRecord { issued: BTreeMap::new(), consumers: BTreeMap::new(), ..record };
        assert_eq!(without.write(&bag)["certificate-etcd_0"], None);
        assert_eq!(without.write(&bag)["consumer-db-7"], None);
    }

    #[test]
    fn an_authority_that_is_left_leaves_what_another_one_signed() {
        let (own, other) = (draft(), draft());
        let record = AuthorityRecord {
            issued: BTreeMap::from([("etcd_0".to_owned(), "PEM".to_owned())]),
            consumers: BTreeMap::from([
                ("db-7".to_owned(), own.client.clone()),
                ("db-8".to_owned(), other.client.clone()),
            ]),
            ..AuthorityRecord::default().with(Some(&own), NOW_S)
        };
        let rest = AuthorityRecord {
            consumers: BTreeMap::from([("db-8".to_owned(), other.client.clone())]),
            ..AuthorityRecord::default()
        };
        assert_eq!(record.without_authority(), rest);
        let of_other = AuthorityRecord { client: Some(other.client), ..record };
        assert!(of_other.without_authority().client.is_some());
    }

    #[test]
    fn a_draft_counts_until_the_record_holds_an_authority() {
        let (one, other) = (draft(), draft());
        let none = AuthorityRecord::default();
        let with = none.with(Some(&one), NOW_S);
        assert_eq!(with.certificate.as_deref(), Some(one.certificate.as_str()));
        assert!(!with.is_replaced_by(&one, NOW_S) && !with.is_replaced_by(&other, NOW_S));
        let old = NOW_S + 7 * 86_400;
        assert!(with.is_replaced_by(&other, old), "two thirds of its life are over");
        assert!(!with.is_replaced_by(&one, old), "it is the same one");
    }

    #[test]
    fn a_certificate_counts_for_the_key_it_was_asked_with() {
        let authority = draft().authority();
        let asked = Request::new("etcd-0", &[]).unwrap();
        let signed = authority.sign_member(&asked.csr_pem, "etcd-0", &[], VALIDITY).unwrap();
        let record = AuthorityRecord {
            certificate: Some(authority.certificate_pem),
            issued: BTreeMap::from([("etcd_0".to_owned(), signed.clone())]),
            ..AuthorityRecord::default()
        };
        assert_eq!(record.certificate_for("etcd_0", &asked.csr_pem), Some(&signed));
        let renewed = Request::new("etcd-0", &[]).unwrap();
        assert_eq!(record.certificate_for("etcd_0", &renewed.csr_pem), None);
        assert_eq!(record.certificate_for("etcd_1", &asked.csr_pem), None);
        let of_another = AuthorityRecord { certificate: Some(draft().certificate), ..record };
        assert_eq!(of_another.certificate_for("etcd_0", &asked.csr_pem), None);
    }
}
