//! Which client certificate a related application gets: one of its own, so that etcd can tell who asks. The leader signs it,
//! or asks the related authority for it, and shares it in the record. Until there is one that every member trusts, it gets the
//! one that all share: nobody waits for an authority that gives out no others.

use std::collections::{BTreeMap, BTreeSet};

use super::{authority, csr, healing, requests, trust};
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

/// The tags of everyone who has a pair or may have one: of a relation that cannot be read nothing is taken back.
pub(super) fn may_exist(w: &World, tag: &str) -> bool {
    names(w).contains_key(tag) || w.unread.iter().any(|one| one.relation.tag() == tag)
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

fn leaf(pem: &str) -> Option<Certificate> {
    Certificate::parse_chain(pem).ok()?.into_iter().next()
}

fn is_own(pair: &Pair, one: &Consumer) -> bool {
    leaf(&pair.certificate).is_some_and(|leaf| leaf.common_name == Some(common_name(one)))
}

/// Whether a client can use it now. Certificates are changed only when every member trusts the new ones' authority: what
/// this unit's own are of is trusted everywhere. One that nobody has renewed ends before its time, if the shared one does not.
fn serves(w: &World, pair: &Pair) -> bool {
    let (Some(own), Some(standing)) = (&w.host.credentials, &w.host.standing) else { return false };
    let authorities = tls::issuers(&own.client_certificate, &standing.trusted);
    let ends_s = |pem: &str| leaf(pem).map_or(i64::MIN, |leaf| leaf.not_after_s);
    let is_late = late_s(pair).is_none_or(|late_s| late_s <= w.now_s);
    let is_outlived = is_late && ends_s(&own.client_certificate) > ends_s(&pair.certificate);
    !is_outlived && is_usable(w, pair, &authorities.to_pem())
}

/// What is renewed never comes so far, Unix time in seconds: half of the last third of its life.
fn late_s(pair: &Pair) -> Option<u64> {
    let leaf = leaf(&pair.certificate)?;
    u64::try_from(leaf.due_s().midpoint(leaf.not_after_s)).ok()
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
        record.consumers.retain(|tag, _| may_exist(w, tag));
    }
    if w.authority.relation.is_some() {
        record.client = match w.authority.signed {
            // It is no answer of this authority's, which hands the one that all share to every unit.
            Answers::Silent => record.client.filter(|pair| is_in_use(w, pair)),
            Answers::Said(_) | Answers::Unreadable(_) => csr::to_share(w, &Client::Shared).or(record.client),
        };
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
    let new = match w.authority.signed {
        Answers::Said(_) => csr::to_share(w, &of(tag)),
        Answers::Silent => {
            let made = made(w, name).filter(|pair| is_usable(w, pair, &offered.ca));
            made.filter(|pair| is_fresh(w, pair) || !shared.is_some_and(|pair| is_good(w, pair))).cloned()
        }
        Answers::Unreadable(_) => None,
    };
    new.or_else(|| shared.filter(|pair| is_in_use(w, pair)).cloned())
}

/// It is of the authority that answers, or of the one that is used still. While nothing is certain everything is.
fn is_in_use(w: &World, pair: &Pair) -> bool {
    let Answered::Usable(offered) = &w.authority.answer else { return true };
    is_usable(w, pair, &offered.ca) || serves(w, pair)
}

fn of(tag: &str) -> Client {
    Client::Relation(tag.to_owned())
}

/// Whose pair the authority has given so that it cannot be used, and why: for the operator. That one goes on with another.
pub(super) fn refused(w: &World) -> Option<String> {
    let Answered::Usable(offered) = &w.authority.answer else { return None };
    if authority::is_internal(w) || w.leadership == Leadership::Follower {
        return None;
    }
    let answered = |tag: &str, name: &str| match w.authority.signed {
        Answers::Said(_) => csr::answered(w, &of(tag)),
        Answers::Silent => made(w, name).cloned(),
        Answers::Unreadable(_) => None,
    };
    names(w).into_iter().find_map(|(tag, name)| {
        let shared = w.peers.authority.consumers.get(&tag);
        let new = answered(&tag, &name).filter(|_| !shared.is_some_and(|pair| is_good(w, pair)))?;
        let why = tls::why_not_usable(&new.certificate, &new.key, &offered.ca, &[], w.now_s)?;
        Some(format!("client certificate for {name} cannot be used: {why}"))
    })
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
        Answered::Nothing | Answered::Incomplete(_) | Answered::Refused(_) => true,
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

/// When this unit has to look at the client pairs again, Unix time in seconds. The leader renews them when they are due; what
/// nobody has renewed is replaced by every unit before it ends.
pub fn look_again_s(w: &World) -> Option<u64> {
    let record = &w.peers.authority;
    let renews = authority::is_internal(w) || matches!(w.authority.signed, Answers::Said(_));
    let is_renewed_here = w.leadership == Leadership::Leader && renews;
    let all = record.client.iter().chain(record.consumers.values()).filter(|_| is_renewed_here);
    let due = all.filter_map(|pair| u64::try_from(leaf(&pair.certificate)?.due_s()).ok());
    let own = w.consumers.iter().filter_map(|one| record.consumers.get(&one.relation.tag()));
    let late = own.filter(|pair| serves(w, pair)).filter_map(late_s);
    due.chain(late).chain(healing::note_ends_s(w)).min()
}

#[cfg(test)]
mod tests;
