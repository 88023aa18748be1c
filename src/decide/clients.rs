//! Which client certificate a related application gets: one of its own, so that etcd can tell who asks. The leader signs it,
//! or asks the related authority for it, and shares it in the record. Until there is one that every member trusts, it gets the
//! one that all share: nobody waits for an authority that gives out no others.

use std::collections::{BTreeMap, BTreeSet};

use super::{authority, csr, requests, trust};
use crate::relations::Endpoint;
use crate::relations::authority::{AuthorityRecord, Client, is_due};
use crate::relations::certificates::{Pair, clients_asked_for};
use crate::relations::csr::Answers;
use crate::tls::{self, Bundle, Certificate};
use crate::world::{Answered, Consumer, Leadership, World};

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

/// A unit that has not come up yet may not see every relation.
pub(super) fn sees_everyone(w: &World) -> bool {
    w.own_status().is_some_and(|own| !own.learner)
}

/// What to give to this one. Its own pair, if it is of the authority that this unit's certificates are of, for then every
/// member trusts it. While the authority changes, what it was given stays as long as that holds for it.
pub(super) fn pair(w: &World, one: &Consumer) -> Option<Pair> {
    let shared = w.host.credentials.as_ref()?;
    let record = &w.peers.authority;
    let own = record.consumers.get(&one.relation.tag()).filter(|pair| serves(w, pair)).cloned();
    let before = published(w, one);
    let own = own.or_else(|| before.clone().filter(|pair| is_own(pair, one) && serves(w, pair)));
    if own.is_some() {
        return own;
    }
    // The leader signs without asking anyone.
    if authority::is_internal(w) && record.is_issuer_of(&shared.client_certificate) {
        return before;
    }
    Some(Pair { certificate: shared.client_certificate.clone(), key: shared.client_key.clone() })
}

fn published(w: &World, one: &Consumer) -> Option<Pair> {
    if one.endpoint == Endpoint::Prometheus {
        return requests::handed(w, one);
    }
    let (certificate, key) = (one.published.get("client_cert")?, one.published.get("client_key")?);
    Some(Pair { certificate: certificate.clone(), key: key.clone() })
}

fn is_own(pair: &Pair, one: &Consumer) -> bool {
    let leaf = Certificate::parse_chain(&pair.certificate).ok().and_then(|chain| chain.into_iter().next());
    leaf.is_some_and(|leaf| leaf.common_name == Some(common_name(one)))
}

/// Whether a client can use it now. Certificates are changed only when every member trusts the new ones' authority: what
/// this unit's own are of is trusted everywhere.
fn serves(w: &World, pair: &Pair) -> bool {
    let (Some(own), Some(standing)) = (&w.host.credentials, &w.host.standing) else { return false };
    let authorities = tls::issuers(&own.client_certificate, &standing.trusted);
    is_usable(w, pair, &authorities.to_pem())
}

fn is_usable(w: &World, pair: &Pair, ca: &str) -> bool {
    tls::why_not_usable(&pair.certificate, &pair.key, ca, &[], w.now_s).is_none()
}

/// What the application's databag is to hold under a related authority; the leader writes it.
pub fn to_share(w: &World) -> Option<AuthorityRecord> {
    let speaks = w.leadership == Leadership::Leader && w.peers.relation.is_some() && !w.event.is_leaving();
    if authority::is_internal(w) || !speaks {
        return None;
    }
    let old = &w.peers.authority;
    let mut record = if is_left(w) { old.without_authority() } else { old.clone() };
    let names = names(w);
    if sees_everyone(w) {
        record.consumers.retain(|tag, _| names.contains_key(tag));
    }
    if w.authority.relation.is_some() {
        record.client = csr::to_share(w, &Client::Shared).or(record.client);
        for (tag, name) in names {
            match own(w, &tag, &name) {
                Some(pair) => drop(record.consumers.insert(tag, pair)),
                None => drop(record.consumers.remove(&tag)),
            }
        }
    }
    Some(record)
}

/// Nobody trusts the application's own authority any more, which was left for a related one.
fn is_left(w: &World) -> bool {
    let left = w.peers.authority.certificate.as_ref().and_then(|pem| Bundle::parse(pem).ok());
    left.is_some_and(|left| trust::is_dropped(w, &left))
}

/// The application's own authority with its key is to be removed, and nothing has been made in its place.
pub fn forgets_authority(w: &World, record: &AuthorityRecord) -> bool {
    w.peers.authority.certificate.is_some() && record.certificate.is_none()
}

/// The pair of this one that is to be shared.
fn own(w: &World, tag: &str, name: &str) -> Option<Pair> {
    let shared = w.peers.authority.consumers.get(tag);
    let Answered::Usable(offered) = &w.authority.answer else { return shared.cloned() };
    let fits = |pair: &&Pair| is_usable(w, pair, &offered.ca);
    let new = match w.authority.signed {
        Answers::Said(_) => csr::to_share(w, &Client::Relation(tag.to_owned())),
        Answers::Silent => {
            let made = made(w, name).filter(fits);
            made.filter(|pair| is_fresh(w, pair) || !shared.is_some_and(|pair| is_good(w, pair))).cloned()
        }
        Answers::Unreadable(_) => None,
    };
    new.or_else(|| shared.filter(|pair| fits(pair) || serves(w, pair)).cloned())
}

/// What an authority of the older protocol has made for a request that still stands.
fn made<'a>(w: &'a World, name: &str) -> Option<&'a Pair> {
    w.authority.clients.get(name).filter(|_| clients_asked_for(&w.authority.published).contains(name))
}

fn is_fresh(w: &World, pair: &Pair) -> bool {
    !is_due(&pair.certificate, w.now_s)
}

/// A pair that needs no successor, as far as this can be told now.
fn is_good(w: &World, pair: &Pair) -> bool {
    match &w.authority.answer {
        Answered::Usable(offered) => is_usable(w, pair, &offered.ca) && is_fresh(w, pair),
        Answered::Incomplete(_) | Answered::Refused(_) => true,
    }
}

/// The common names that this unit asks an authority of the older protocol for. The leader asks for what is not shared yet;
/// whoever has asked goes on as long as its answer is.
pub(super) fn asks_for(w: &World) -> BTreeSet<String> {
    let asked = clients_asked_for(&w.authority.published);
    let leads = w.leadership == Leadership::Leader;
    let wants = |tag: &str, name: &str| {
        let shared = w.peers.authority.consumers.get(tag);
        let is_used = shared.is_some_and(|pair| made(w, name).is_some_and(|made| made.key == pair.key));
        if asked.contains(name) {
            return leads || is_used;
        }
        leads && w.peers.relation.is_some() && !shared.is_some_and(|pair| is_good(w, pair))
    };
    names(w).into_iter().filter(|(tag, name)| wants(tag, name)).map(|(_, name)| name).collect()
}

/// When the leader has to look at the shared pairs again, Unix time in seconds: the first of them is due then. Nobody else
/// renews them.
pub fn look_again_s(w: &World) -> Option<u64> {
    let renews = authority::is_internal(w) || matches!(w.authority.signed, Answers::Said(_));
    if w.leadership != Leadership::Leader || !renews {
        return None;
    }
    let record = &w.peers.authority;
    let pairs = record.client.iter().chain(record.consumers.values());
    let leaves =
        pairs.filter_map(|pair| Certificate::parse_chain(&pair.certificate).ok()?.into_iter().next());
    leaves.map(|leaf| u64::try_from(leaf.due_s()).unwrap_or(0)).min()
}

#[cfg(test)]
mod tests;
