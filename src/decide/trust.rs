//! Another certificate authority under a running cluster, without a moment in which two that must talk do not trust
//! each other. Every unit follows three rules, and what all publish of themselves says when:
//!
//! 1. Trust what any unit needs. etcd reads its authorities at start only: a rolling restart.
//! 2. Take the new certificates once every member trusts their authority, in the order of the units' numbers. etcd reads
//!    them at the next handshake: no restart.
//! 3. Drop what no unit needs any more: a rolling restart again.
//!
//! Clients are given the same bundle as the members, before the first certificate changes.

use std::collections::BTreeSet;

use super::{Next, Waiting};
use crate::juju::{Status, UnitName};
use crate::relations::trust::UnitTrust;
use crate::step::Step;
use crate::tls::Bundle;
use crate::world::{Answered, Credentials, Data, Peer, Service, Standing, World};

/// Clients are told by a hook of their own, and nothing says when they have run it. So much time they get.
const CLIENTS_S: u64 = 10;

/// What this unit has to do for an authority: the next step, or whom it waits for.
enum Move {
    Nothing,
    Do(Step),
    Wait(Waiting),
    /// Whom, and for what.
    For(String),
}

pub(super) fn next(w: &World) -> Option<Next> {
    match movement(w) {
        Move::Do(step) if w.tried.in_vain(step.name()).is_none() => Some(Next::Do(step)),
        Move::Wait(waiting) => Some(Next::Wait(waiting)),
        Move::Do(_) | Move::For(_) | Move::Nothing => None,
    }
}

/// Whom a change of the authority waits for.
pub(super) fn why_it_waits(w: &World) -> Option<Status> {
    match movement(w) {
        Move::For(what) => Some(Status::waiting(format!("Changing the CA: {what}"))),
        Move::Do(_) | Move::Wait(_) | Move::Nothing => None,
    }
}

/// What this unit says of itself. A server that has not been restarted yet trusts what it did before.
pub(super) fn own(w: &World) -> UnitTrust {
    let Some(standing) = &w.host.standing else { return UnitTrust::default() };
    let is_loaded = w.host.restart_due.is_none();
    UnitTrust { trusted: is_loaded.then(|| standing.trusted.clone()), needed: Some(own_needs(w, standing)) }
}

/// Everything that some unit needs. In one order everywhere, so that all write the same file.
pub(super) fn needed(w: &World) -> Bundle {
    let own = w.host.standing.as_ref().map(|standing| own_needs(w, standing)).unwrap_or_default();
    let own = own.union(&offered(w).map(|(_, authorities)| authorities).unwrap_or_default());
    let others = peers(w).filter_map(|(_, peer)| peer.trust.needed.as_ref());
    others.fold(own, |all, more| all.union(more)).sorted()
}

fn own_needs(w: &World, standing: &Standing) -> Bundle {
    let wanted = offered(w).map(|(_, authorities)| authorities).unwrap_or_default();
    standing.issuers.union(&wanted).sorted()
}

/// The certificates that can be had, and the authorities they came with.
fn offered(w: &World) -> Option<(&Credentials, Bundle)> {
    let Answered::Usable(new) = &w.authority.answer else { return None };
    Some((new, Bundle::parse(&new.ca).ok()?))
}

/// Other units that exist: Juju 4 goes on listing those that are gone.
fn peers(w: &World) -> impl Iterator<Item = (&UnitName, &Peer)> {
    let exists = |unit: &UnitName| w.peers.expected.as_ref().is_none_or(|all| all.contains(unit));
    w.peers.units.iter().filter(move |(unit, _)| exists(unit))
}

fn movement(w: &World) -> Move {
    let (Some(old), Some(standing)) = (&w.host.credentials, &w.host.standing) else { return Move::Nothing };
    let offer = offered(w);
    let needed = needed(w);
    let all = standing.trusted.union(&needed).sorted();
    let differs = offer.as_ref().filter(|(new, _)| !same_leaves(old, new));
    let never_ran =
        w.host.data == Data::Empty && matches!(w.host.service, Service::Missing | Service::Stopped);
    if let Some((new, authorities)) = differs {
        let renewed =
            standing.trusted.contains_all(authorities) && authorities.contains_all(&standing.issuers);
        if renewed {
            return Move::Do(write(new, &standing.trusted));
        }
        if never_ran {
            return Move::Do(write(new, &needed));
        }
        if standing.not_after_s < w.now_s {
            // Nobody accepts its certificates any more: there is nothing to protect.
            return match w.host.service {
                Service::Missing | Service::Stopped => Move::Do(write(new, &all)),
                Service::Running | Service::Failing(_) => Move::Do(Step::StopService),
            };
        }
    }
    if !standing.trusted.contains_all(&needed) {
        return Move::Do(trust(w, &all));
    }
    if w.host.restart_due.is_some() {
        return Move::Nothing;
    }
    match (differs, &offer) {
        (Some((new, authorities)), _) => take(w, standing, new, authorities),
        (None, Some((_, authorities))) if standing.trusted != authorities.clone().sorted() => {
            drop_the_rest(w, authorities, &needed)
        }
        (None, _) => Move::Nothing,
    }
}

/// Whether no unit trusts or needs any of these any more, which is certain.
pub(super) fn is_dropped(w: &World, authorities: &Bundle) -> bool {
    let Some(standing) = &w.host.standing else { return false };
    let is_free = |all: &Bundle| !authorities.certificates().iter().any(|one| all.contains(one));
    let own = w.host.restart_due.is_none() && is_free(&standing.trusted) && is_free(&needed(w));
    own && who_does_not(w, |peer| peer.trust.trusted.as_ref().is_some_and(is_free)).is_none()
}

/// Rule 2.
fn take(w: &World, standing: &Standing, new: &Credentials, authorities: &Bundle) -> Move {
    if let Some(name) = who_does_not(w, |peer| {
        peer.trust.trusted.as_ref().is_some_and(|trusted| trusted.contains_all(authorities))
    }) {
        return Move::For(format!("waiting until {name} trusts the new one"));
    }
    let first = peers(w).find(|(unit, peer)| {
        unit.number() < w.unit.number() && says_something(peer) && !needs_only(peer, authorities)
    });
    if let Some((unit, _)) = first {
        return Move::For(waiting_for_use(&unit.member_name()));
    }
    // Those behind the first come later anyway.
    let is_first = !peers(w).any(|(unit, peer)| unit.number() < w.unit.number() && says_something(peer));
    let pause = if is_first { pause(w) } else { None };
    pause.unwrap_or_else(|| Move::Do(write(new, &standing.trusted)))
}

/// Rule 3.
fn drop_the_rest(w: &World, wanted: &Bundle, needed: &Bundle) -> Move {
    if let Some(name) = who_does_not(w, |peer| needs_only(peer, wanted)) {
        return Move::For(waiting_for_use(&name));
    }
    pause(w).unwrap_or_else(|| Move::Do(trust(w, needed)))
}

fn waiting_for_use(name: &str) -> String {
    format!("waiting until {name} uses the same one")
}

fn needs_only(peer: &Peer, authorities: &Bundle) -> bool {
    peer.trust.needed.as_ref().is_some_and(|needed| authorities.contains_all(needed))
}

/// It has certificates.
fn says_something(peer: &Peer) -> bool {
    peer.trust != UnitTrust::default()
}

/// The first member that is not known to do so. Without a quorum's word on who the members are, nobody is.
fn who_does_not(w: &World, does: impl Fn(&Peer) -> bool) -> Option<String> {
    let Some(members) = w.members() else { return Some("a quorum".to_owned()) };
    let own = w.member_name();
    let known: BTreeSet<String> =
        peers(w).filter(|(_, peer)| does(peer)).map(|(unit, _)| unit.member_name()).collect();
    let member = members.iter().find(|member| member.name != own && !known.contains(&member.name));
    if let Some(member) = member {
        return Some(if member.is_started() { member.name.clone() } else { "a joining member".to_owned() });
    }
    // On its way to become a member: it has its certificates already.
    peers(w).find(|(_, peer)| says_something(peer) && !does(peer)).map(|(unit, _)| unit.member_name())
}

fn pause(w: &World) -> Option<Move> {
    let waits = w.has_clients() && w.tried.lasted_s < CLIENTS_S;
    waits.then_some(Move::Wait(Waiting::Clients))
}

fn same_leaves(old: &Credentials, new: &Credentials) -> bool {
    Credentials { ca: new.ca.clone(), ..old.clone() } == *new
}

fn write(new: &Credentials, authorities: &Bundle) -> Step {
    Step::WriteCredentials(Credentials { ca: authorities.to_pem(), ..new.clone() })
}

fn trust(w: &World, authorities: &Bundle) -> Step {
    let restart = matches!(w.host.service, Service::Running | Service::Failing(_));
    Step::WriteTrusted { authorities: authorities.to_pem(), restart }
}

#[cfg(test)]
mod tests;
