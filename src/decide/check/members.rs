//! Members that join, vote, stop and leave. Counts the voters itself.

use super::super::why_hook_fails;
use super::{Verdict, confirmed, data, demand};
use crate::etcd::{Member, MemberId};
use crate::event::Event;
use crate::juju::{Status, UnitName};
use crate::relations::cluster::UnitRecord;
use crate::step::Removal;
use crate::world::{Data, Door, Health, Leadership, World};

pub(super) fn check_join(w: &World) -> Verdict {
    let members = confirmed(w)?;
    demand(!w.event.is_leaving(), "a leaving unit must not join")?;
    demand(members.iter().all(|member| !member.learner), "another learner is joining")?;
    demand(members.iter().all(|member| !is_own(w, member)), "this unit already is a member")?;
    demand(w.host.data != Data::Present, "this unit has a member's data")
}

pub(super) fn check_promotion(w: &World, member: MemberId) -> Verdict {
    let Door::Open(own) = &w.etcd.door else { return Err("this unit's server does not answer".into()) };
    demand(own.member == member && own.learner, "a unit promotes only its own learner")
}

pub(super) fn check_peer_url(w: &World, member: MemberId) -> Verdict {
    let members = confirmed(w)?;
    let voter = members.iter().any(|other| other.id == member && !other.learner);
    demand(voter, "etcd cannot promote a learner whose peer URL was changed")?;
    demand(w.own_status().is_some_and(|own| own.member == member), "this is another unit's member")
}

pub(super) fn check_new_leader(w: &World, to: MemberId) -> Verdict {
    let able = confirmed(w)?.iter().any(|member| member.id == to && !member.learner);
    demand(able && is_healthy(w, to), "only a healthy voter may lead")
}

pub(super) fn check_removal(w: &World, id: MemberId, reason: Removal) -> Verdict {
    let members = confirmed(w)?;
    let Some(member) = members.iter().find(|member| member.id == id) else {
        return Err("there is no such member".into());
    };
    demand(member.learner || works_without(w, members, id), "the remaining voters are no working quorum")?;
    demand(w.host.restore.is_none(), "a restore is under way")?;
    match reason {
        Removal::UnitGone => check_unit_is_gone(w, member),
        Removal::Leaving => {
            demand(w.event.is_leaving(), "this unit is not leaving")?;
            demand(is_own(w, member), "this is another unit's member")?;
            demand(member.learner || enough_stay(w, members), "the staying units need this member")
        }
        Removal::DataLost => {
            demand(is_own(w, member), "this is another unit's member")?;
            demand(w.host.data != Data::Present, "the member's data is not lost")
        }
    }
}

/// A damaged member is removed and joins anew only while the others have a working quorum.
pub(super) fn check_given_up(w: &World, id: MemberId) -> Verdict {
    let members = confirmed(w)?;
    let own = members.iter().find(|member| member.id == id).ok_or("there is no such member")?;
    demand(is_own(w, own), "this is another unit's member")?;
    demand(own.learner || works_without(w, members, id), "the remaining voters are no working quorum")?;
    demand(!matches!(w.etcd.door, Door::Open(_)), "the member serves")
}

/// The leader asked Juju, and the answer makes sense.
fn check_unit_is_gone(w: &World, member: &Member) -> Verdict {
    demand(w.leadership == Leadership::Leader, "only the leader retires members")?;
    let Some(units) = &w.peers.expected else { return Err("the goal state is unknown".into()) };
    demand(units.contains(&w.unit), "the goal state does not name this very unit")?;
    demand(!is_own(w, member), "this is the leader's own member")?;
    if member.is_started() {
        let unit = units.iter().find(|unit| unit.member_name() == member.name);
        let stays = unit.is_some_and(|unit| !w.peers.leaving.contains(unit));
        demand(!stays, "the member's unit exists")?;
        return demand(
            unit.is_none() || !is_healthy(w, member.id),
            "the member's unit can take it out itself",
        );
    }
    let is_seen = |unit: &UnitName| *unit == w.unit || w.peers.units.contains_key(unit);
    let all_seen = units.iter().all(|unit| is_seen(unit) || w.peers.leaving.contains(unit));
    demand(all_seen, "a unit that has not entered the relation may be joining")?;
    let is_of = |unit: &&UnitName| {
        let Some(peer) = w.peers.units.get(*unit) else { return false };
        [&peer.ingress, &peer.record.address].into_iter().flatten().any(|address| is_at(member, address))
    };
    demand(!units.iter().any(|unit| is_of(&unit)), "a unit at that address is joining")
}

pub(super) fn check_stop(w: &World) -> Verdict {
    if w.event.is_leaving() {
        return demand(!is_needed(w), "the staying units need this member");
    }
    if matches!(w.event, Event::Detaching(_)) {
        // A unit that never ran etcd found another unit's data there.
        let is_foreign = w.host.config.is_none();
        return demand(is_foreign || !is_needed(w), "the other units need this member");
    }
    let has_expired = w.host.standing.as_ref().is_some_and(|standing| standing.not_after_s < w.now_s);
    if has_expired {
        return Ok(());
    }
    // The quorum was recovered elsewhere, by a later number than this unit's.
    let number = |record: &UnitRecord| record.generation.as_ref().map_or(0, |one| one.number);
    let agreed = w.peers.cluster.generation.as_ref().map_or(0, |one| one.number);
    let others = w.peers.units.values().map(|peer| number(&peer.record));
    let is_later = others.chain([agreed]).any(|other| other > number(&w.own_record()));
    let recorded = w.own_record().member;
    if is_later && confirmed(w).map_or(true, |all| all.iter().all(|one| Some(one.id) != recorded)) {
        return Ok(());
    }
    let members = confirmed(w)?;
    if super::data::check_owner(w).is_err() && !matches!(w.etcd.door, Door::Open(_)) {
        return Ok(());
    }
    let replaced =
        w.own_status().is_some_and(|own| w.peers.cluster.cluster.is_some_and(|it| it != own.cluster));
    demand(replaced || members.iter().all(|member| !is_own(w, member)), "this unit still is a member")
}

/// Juju releases the machine when `stop` succeeds. While the staying units need this member, that hook has to fail.
pub(super) fn check_end_of_hook(w: &World, status: &Status) -> Verdict {
    let is_lost = matches!(&w.event, Event::Leaving(hook) if hook == "stop") && is_needed(w);
    demand(
        !is_lost || why_hook_fails(w, status).is_some(),
        "the hook succeeds and the machine goes, though the staying units need its member",
    )
}

/// Without a confirmed quorum every member with data counts as needed, if none has said otherwise before.
fn is_needed(w: &World) -> bool {
    let serves = matches!(w.etcd.door, Door::Open(_));
    let has_member = w.host.data == Data::Present || serves;
    let is_strange = data::check_owner(w).is_err();
    if !has_member || is_strange || (w.event.is_leaving() && stayers(w).is_empty()) {
        return false;
    }
    let Ok(members) = confirmed(w) else {
        let is_it = |noted| w.host.identity.is_none_or(|it| it.member == noted);
        let was_dispensable = w.host.dispensable.is_some_and(is_it);
        return serves || !(w.event.is_leaving() && was_dispensable);
    };
    let own = members.iter().find(|member| is_own(w, member) && !member.learner);
    own.is_some_and(|own| {
        !works_while_down(w, members, own.id) || (w.event.is_leaving() && !enough_stay(w, members))
    })
}

/// Most of the units that stay are voters that work, if any stays.
fn enough_stay(w: &World, members: &[Member]) -> bool {
    let all = stayers(w);
    let votes = |unit: &&&UnitName| {
        let mut voters = members.iter().filter(|one| !one.learner && is_healthy(w, one.id));
        voters.any(|one| one.name == unit.member_name())
    };
    all.is_empty() || all.iter().filter(votes).count() * 2 > all.len()
}

/// The other units that stay; those that can be seen, if the goal state is unknown.
fn stayers(w: &World) -> Vec<&UnitName> {
    let seen = || w.peers.units.keys().collect();
    let units: Vec<&UnitName> = w.peers.expected.as_ref().map_or_else(seen, |all| all.iter().collect());
    units.into_iter().filter(|unit| **unit != w.unit && !w.peers.leaving.contains(*unit)).collect()
}

/// Identified by its own server, by its published id, by name, or by address while it has no name yet.
pub(super) fn is_own(w: &World, member: &Member) -> bool {
    let recorded = w.own_status().map(|own| own.member).or(w.own_record().member);
    let is_here = w.addresses.peer.as_ref().is_some_and(|address| is_at(member, address));
    recorded == Some(member.id) || member.name == w.member_name() || (!member.is_started() && is_here)
}

fn is_at(member: &Member, address: &str) -> bool {
    member.peer_urls.iter().any(|url| url.starts_with(&format!("https://{address}:")))
}

fn is_healthy(w: &World, member: MemberId) -> bool {
    w.etcd.health.get(&member) == Some(&Health::Healthy)
}

fn working(w: &World, members: &[Member], without: MemberId) -> (usize, usize) {
    let others: Vec<_> = members.iter().filter(|one| !one.learner && one.id != without).collect();
    (others.iter().filter(|one| is_healthy(w, one.id)).count(), others.len())
}

/// Whether the voters that remain after its removal have a working quorum.
fn works_without(w: &World, members: &[Member], gone: MemberId) -> bool {
    let (healthy, others) = working(w, members, gone);
    others > 0 && healthy * 2 > others
}

/// Whether the other voters have a working quorum while it is down.
fn works_while_down(w: &World, members: &[Member], down: MemberId) -> bool {
    let (healthy, others) = working(w, members, down);
    healthy * 2 > others + 1
}
