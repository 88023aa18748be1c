//! Which client certificate a related application gets: one of its own from the application's own authority, so that etcd can
//! tell who asks and one can be taken away alone; from a related authority the one that all share.

use std::collections::BTreeMap;

use super::{authority, requests};
use crate::relations::Endpoint;
use crate::relations::certificates::Pair;
use crate::world::{Consumer, World};

/// X.520 allows a common name so many characters.
const COMMON_NAME_CHARACTERS: usize = 64;

/// Common names of everyone who connects, by the relation's tag: `my-app-db-7`.
pub(super) fn names(w: &World) -> BTreeMap<String, String> {
    let clients = w.consumers.iter().filter(|one| one.endpoint.takes_credentials());
    clients.map(|one| (one.relation.tag(), common_name(one))).collect()
}

fn common_name(one: &Consumer) -> String {
    let tag = one.relation.tag();
    let room = COMMON_NAME_CHARACTERS.saturating_sub(tag.len() + 1);
    let application: String = one.application.chars().take(room).collect();
    if application.is_empty() { tag } else { format!("{application}-{tag}") }
}

/// What to give to this one. Its own pair once this unit's certificates are of the same authority, for then every member
/// trusts it; until then it keeps what it has, or waits for the leader to sign.
pub(super) fn pair(w: &World, one: &Consumer) -> Option<Pair> {
    let shared = w.host.credentials.as_ref()?;
    let record = &w.peers.authority;
    let is_in_use = record.is_issuer_of(&shared.client_certificate);
    match record.consumers.get(&one.relation.tag()) {
        Some(own) if is_in_use => Some(own.clone()),
        _ if authority::is_internal(w) => published(w, one),
        _ => Some(Pair { certificate: shared.client_certificate.clone(), key: shared.client_key.clone() }),
    }
}

fn published(w: &World, one: &Consumer) -> Option<Pair> {
    if one.endpoint == Endpoint::Prometheus {
        return requests::handed(w, one);
    }
    let (certificate, key) = (one.published.get("client_cert")?, one.published.get("client_key")?);
    Some(Pair { certificate: certificate.clone(), key: key.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{consumer, settled, three};
    use super::*;
    use crate::options::CertificateAuthority;
    use crate::tls::{Authority, Request, Validity};

    fn made(text: &str) -> Pair {
        Pair { certificate: text.to_owned(), key: "KEY".to_owned() }
    }

    /// `etcd/0` under the application's own authority, in use or not yet.
    fn internal(in_use: bool) -> World {
        let validity = Validity { not_before_s: 2_000_000_000, not_after_s: 2_000_086_400 };
        let authority = Authority::create("etcd", validity).unwrap();
        let asked = Request::new("client", &[]).unwrap();
        let mut w = settled(0, &three());
        w.authority.kind = CertificateAuthority::Internal;
        w.consumers = vec![consumer("db:7")];
        w.peers.authority.consumers.insert("db-7".to_owned(), made("OWN"));
        if in_use {
            let certificate = authority.sign_client(&asked.csr_pem, "client", validity).unwrap();
            w.host.credentials.as_mut().unwrap().client_certificate = certificate;
        }
        w.peers.authority.certificate = Some(authority.certificate_pem);
        w
    }

    #[test]
    fn each_application_gets_its_own_once_the_authority_is_in_use() {
        let mut w = internal(true);
        assert_eq!(pair(&w, &w.consumers[0]), Some(made("OWN")));
        assert_eq!(pair(&w, &consumer("db:8")), None, "the leader has not signed yet");
        w = internal(false);
        assert_eq!(pair(&w, &w.consumers[0]), None, "members may not trust it yet");
        for (key, text) in [("client_cert", "OLD"), ("client_key", "KEY")] {
            w.consumers[0].published.insert(key.to_owned(), text.to_owned());
        }
        assert_eq!(pair(&w, &w.consumers[0]), Some(made("OLD")));
    }

    #[test]
    fn a_related_authority_has_one_pair_for_all() {
        let mut w = internal(false);
        w.authority.kind = CertificateAuthority::Relation;
        let shared = |w: &World| w.host.credentials.clone().unwrap().client_certificate;
        assert_eq!(pair(&w, &w.consumers[0]).unwrap().certificate, shared(&w));
        w = internal(true);
        w.authority.kind = CertificateAuthority::Relation;
        assert_eq!(pair(&w, &w.consumers[0]), Some(made("OWN")), "it is used until the other one is");
        assert_eq!(pair(&w, &consumer("db:8")).unwrap().certificate, shared(&w), "nobody signs any more");
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
}
