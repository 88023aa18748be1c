//! A unit that is being removed takes its member out of the cluster and stops. It deletes nothing. Invariant: while a unit stays
//! and a confirmed quorum of those that stay does not do without this member, it serves on, and the hook that would end it fails:
//! Juju keeps the machine and tries again. What it cannot do here (its machine may vanish) the leader does later.

use std::collections::BTreeSet;

use super::{Next, Waiting, membership, ownership, quorum, storage};
use crate::etcd::{Member, MemberId};
use crate::event::Event;
use crate::juju::{Status, UnitName};
use crate::step::{Removal, Step};
use crate::world::{Data, Door, Health, Roster, Service, World};

/// Members that go together still take each other out, one after another, within this time in seconds.
const LAST_S: u64 = 20;

pub(super) fn next(w: &World) -> Next {
    leave_cluster(w)
        .or_else(|| storage::last_words(w))
        .or_else(|| stop(w))
        .or_else(|| storage::leave(w))
        .unwrap_or_else(|| Next::Done(Status::maintenance("Left the cluster")))
}

/// Why the hook must not succeed: Juju would take the machine, and its data with it.
pub(super) fn why_hook_fails(w: &World, status: &Status) -> Option<String> {
    (ends_membership(w) && !stayers(w).is_empty() && why_needed(w).is_some()).then(|| {
        format!(
            "cannot leave yet: {}; Juju tries again by itself; to let the unit go all the same: juju resolved --no-retry {}",
            status.message, w.unit
        )
    })
}

/// Other hooks of a unit that is being removed take nothing that the cluster needs.
fn ends_membership(w: &World) -> bool {
    let ends = ["cluster-relation-departed", "stop"];
    matches!(&w.event, Event::Leaving(hook) if ends.contains(&hook.as_str()))
}

/// A member that others still need neither goes nor stops: it waits for a moment when it may.
fn leave_cluster(w: &World) -> Option<Next> {
    if let Some(why) = why_needed(w) {
        // A hook that fails until this member may go leaves no other hook to do the leader's work.
        return membership::retire_members_without_unit(w).or_else(|| stay(w, &why));
    }
    let members = w.members()?;
    if let Some(note) = note(w) {
        return Some(Next::Do(note));
    }
    let own = own_member(w, members)?;
    if is_last_voter(own, members) {
        return None;
    }
    if let Some(refusal) = w.tried.in_vain("remove-member") {
        return Some(Next::Done(Waiting::Leave(refusal.to_owned()).status()));
    }
    let remove = Next::Do(Step::RemoveMember { member: own, reason: Removal::Leaving });
    Some(hand_off_leadership(w, own, members).unwrap_or(remove))
}

/// Once the server has ended and the relation is gone, nobody can be asked again whether this member is needed.
fn note(w: &World) -> Option<Step> {
    let listed = || w.members().and_then(|members| own_member(w, members));
    let member = w.host.identity.map(|it| it.member).or(w.own_record().member).or_else(listed);
    let member = member.filter(|_| !stayers(w).is_empty())?;
    let is_due = !is_dispensable(w) && w.tried.in_vain("note-dispensable").is_none();
    is_due.then_some(Step::NoteDispensable(member))
}

/// It was noted of this very member, as far as its log can be read.
fn is_dispensable(w: &World) -> bool {
    let is_it = |noted: MemberId| w.host.identity.is_none_or(|it| it.member == noted);
    w.host.dispensable.is_some_and(is_it)
}

/// Why the cluster, or the units that stay, cannot do without this unit's member.
fn why_needed(w: &World) -> Option<String> {
    let serves = matches!(w.etcd.door, Door::Open(_));
    if ownership::foreign(w).is_some() || (w.host.data == Data::Empty && !serves) {
        return None;
    }
    let members = match &w.etcd.roster {
        Roster::Confirmed(members) => members,
        Roster::Unconfirmed { cause, .. } => return may_be_needed(w).then(|| cause.clone()),
        Roster::NobodyToAsk => {
            let why = "its data may be the only copy: no other unit says that it is a member";
            return may_be_needed(w).then(|| why.to_owned());
        }
    };
    let own = own_member(w, members)?;
    if members.iter().any(|member| member.id == own && member.learner) {
        return None;
    }
    let staying = stayers(w);
    if staying.is_empty() && is_last_voter(own, members) {
        return None;
    }
    quorum::why_not_remove(own, members, &w.etcd.health)
        .or_else(|| why_too_few_stay(w, &staying, members))
        .or_else(|| why_it_still_counts(w, own, members))
}

/// A member that etcd did not let go, and that the others miss as long as they count it.
fn why_it_still_counts(w: &World, own: MemberId, members: &[Member]) -> Option<String> {
    let refusal = w.tried.in_vain("remove-member")?;
    quorum::why_not_stop(own, members, &w.etcd.health).map(|_| refusal.to_owned())
}

/// Without a quorum's word a member counts as needed, unless one has said before that the others do without it. Of an application
/// that goes as a whole only a server that may come back matters, and storage.
fn may_be_needed(w: &World) -> bool {
    if is_dispensable(w) && !matches!(w.etcd.door, Door::Open(_)) {
        return false;
    }
    if !stayers(w).is_empty() {
        return true;
    }
    match w.etcd.door {
        Door::Open(_) => true,
        Door::Mute(_) => storage::keeps(w),
        Door::Closed => false,
    }
}

/// Most of the units that stay have to vote and work before a voter goes: what only those know that leave would be lost.
fn why_too_few_stay(w: &World, staying: &BTreeSet<&UnitName>, members: &[Member]) -> Option<String> {
    let works = |unit: &&&UnitName| {
        let name = unit.member_name();
        let is_it = |one: &&Member| one.name == name && !one.learner;
        let member = members.iter().find(is_it);
        member.is_some_and(|one| w.etcd.health.get(&one.id) == Some(&Health::Healthy))
    };
    let (ready, needed) = (staying.iter().filter(works).count(), quorum::quorum(staying.len()));
    if staying.is_empty() || ready >= needed {
        return None;
    }
    let not_yet: Vec<String> = staying.iter().filter(|unit| !works(unit)).map(ToString::to_string).collect();
    Some(format!(
        "{ready} of the {} units that stay are members that work and {needed} are needed: see the status of {}",
        staying.len(),
        not_yet.join(", ")
    ))
}

/// The units that are not being removed. While Juju does not say which there are, those that can be seen.
fn stayers(w: &World) -> BTreeSet<&UnitName> {
    let all: BTreeSet<&UnitName> = match &w.peers.expected {
        Some(expected) => expected.iter().collect(),
        None => w.peers.units.keys().collect(),
    };
    all.into_iter().filter(|unit| **unit != w.unit && !w.peers.leaving.contains(*unit)).collect()
}

fn is_last_voter(own: MemberId, members: &[Member]) -> bool {
    !members.iter().any(|member| member.id != own && !member.learner)
}

/// Storage that nobody waits for any more is given back in the end: of an application that goes as a whole no member needs
/// another one.
fn stay(w: &World, why: &str) -> Option<Next> {
    if stayers(w).is_empty() && storage::keeps(w) && w.tried.lasted_s >= LAST_S {
        return None;
    }
    let waiting = Waiting::Leave(why.to_owned());
    let is_worth_it = stayers(w).is_empty() || ends_membership(w) || storage::keeps(w);
    Some(if is_worth_it { Next::Wait(waiting) } else { Next::Done(waiting.status()) })
}

/// By the running server's word; a unit whose server is down is found by what it recorded or by its name.
fn own_member(w: &World, members: &[Member]) -> Option<MemberId> {
    if w.host.data == Data::Empty && w.own_status().is_none() {
        return None;
    }
    let recorded = w.own_status().map(|status| status.member).or(w.own_record().member);
    let name = w.member_name();
    members.iter().find(|member| Some(member.id) == recorded || member.name == name).map(|member| member.id)
}

/// A raft leader that vanishes costs writers an election; one that hands over to a member that stays costs nothing.
fn hand_off_leadership(w: &World, own: MemberId, members: &[Member]) -> Option<Next> {
    let leads = w.own_status()?.raft_leader == Some(own);
    if !leads || w.tried.in_vain("move-leadership").is_some() {
        return None;
    }
    let able = |member: &&Member| {
        let stays = member.id != own && !is_leaving(w, member);
        stays && !member.learner && w.etcd.health.get(&member.id) == Some(&Health::Healthy)
    };
    members.iter().find(able).map(|member| Next::Do(Step::MoveLeadership { to: member.id }))
}

/// The unit of this member is on its way out.
pub(super) fn is_leaving(w: &World, member: &Member) -> bool {
    w.peers.leaving.iter().any(|unit| unit.member_name() == member.name)
}

pub(super) fn stop(w: &World) -> Option<Next> {
    match w.host.service {
        Service::Running | Service::Failing(_) if w.tried.in_vain("stop-service").is_none() => {
            Some(Next::Do(Step::StopService))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::worlds::*;
    use super::super::{next, why_hook_fails};
    use super::*;

    /// A unit that is being removed while others stay.
    fn leaver(members: &[Member], stay: &[&str]) -> World {
        let mut w = settled(0, members);
        w.event = Event::Leaving("stop".into());
        w.peers.leaving.insert(w.unit.clone());
        let units = stay.iter().map(|unit| unit.parse().unwrap());
        w.peers.expected = Some(units.chain([w.unit.clone()]).collect());
        w.host.dispensable = Some(MemberId(100));
        w
    }

    fn waits_for(w: &World) -> String {
        let Next::Wait(waiting) = next(w) else { panic!("{:?}", next(w)) };
        let why = why_hook_fails(w, &waiting.status()).expect("Juju would take the machine");
        assert!(why.ends_with("juju resolved --no-retry etcd/0"), "{why}");
        waiting.to_string()
    }

    #[test]
    fn the_last_voter_stays_until_those_that_come_vote() {
        let w = leaver(&[member(0, false)], &["etcd/1"]);
        assert_eq!(waits_for(&w), "Leaving: it is the last voter");
        let w = leaver(&[member(0, false), member(1, true)], &["etcd/1"]);
        assert_eq!(waits_for(&w), "Leaving: it is the last voter", "a learner has not caught up");
        let voters = [member(0, false), member(1, false)];
        let mut w = leaver(&voters, &["etcd/1", "etcd/2", "etcd/3"]);
        let why = "Leaving: 1 of the 3 units that stay are members that work and 2 are needed: see the status of etcd/2, etcd/3";
        assert_eq!(waits_for(&w), why);
        w.peers.expected = leaver(&voters, &["etcd/1"]).peers.expected;
        assert!(matches!(next(&w), Next::Do(_)), "all that stay vote");
    }

    #[test]
    fn silence_is_no_leave() {
        let mut w = leaver(&three(), &["etcd/1", "etcd/2"]);
        w.host.dispensable = None;
        w.etcd.door = Door::Mute("it waits for its quorum".into());
        w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
        assert_eq!(waits_for(&w), "Leaving: no quorum");
        w.etcd.roster = Roster::NobodyToAsk;
        assert!(waits_for(&w).contains("may be the only copy"));
        w.host.dispensable = Some(MemberId(100));
        assert_eq!(next(&w), Next::Do(Step::StopService), "a quorum has said so before");
        w.host.identity = Some(crate::etcd::Identity { member: MemberId(7), cluster: CLUSTER });
        assert!(waits_for(&w).contains("may be the only copy"), "of another member");
    }

    #[test]
    fn the_last_member_just_stops() {
        let mut w = settled(0, &[member(0, false)]);
        w.event = Event::Leaving("stop".into());
        assert_eq!(next(&w), Next::Do(Step::StopService));
    }

    #[test]
    fn an_application_that_goes_as_a_whole_keeps_no_machine() {
        let mut w = leaver(&[member(0, false)], &["etcd/1"]);
        w.peers.leaving = w.peers.expected.clone().unwrap();
        assert_eq!(next(&w), Next::Do(Step::StopService));
        assert_eq!(why_hook_fails(&w, &Status::maintenance("Left the cluster")), None);
    }

    #[test]
    fn a_member_that_etcd_does_not_let_go_still_counts() {
        let mut w = leaver(&[member(0, false), member(1, false)], &["etcd/1"]);
        w.tried.in_vain.insert("remove-member", "refused".into());
        assert_eq!(waits_for(&w), "Leaving: refused");
    }
}
