//! A unit that is being removed takes its member out of the cluster, as long as the others keep a quorum, and
//! stops. It deletes nothing. What it cannot do here (its machine may vanish) the leader does later.

use super::{Next, Waiting, membership, quorum, storage};
use crate::etcd::{Member, MemberId};
use crate::juju::Status;
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

/// A member that others still need for their quorum neither goes nor stops: it waits for a moment when it may. If
/// none comes, it runs on until its machine is gone, and the leader takes it out when that is safe.
fn leave_cluster(w: &World) -> Option<Next> {
    let members = match &w.etcd.roster {
        Roster::Confirmed(members) => members,
        Roster::Unconfirmed { cause, .. } if may_be_needed(w) => return stay(w, cause),
        Roster::Unconfirmed { .. } | Roster::NobodyToAsk => return None,
    };
    let own = own_member(w, members)?;
    let is_last = !members.iter().any(|member| member.id != own && !member.learner);
    if is_last {
        return None;
    }
    if let Some(refusal) = w.tried.in_vain("remove-member") {
        return Some(Next::Done(Waiting::Leave(refusal.to_owned()).status()));
    }
    if let Some(why) = quorum::why_not_remove(own, members, &w.etcd.health) {
        // A hook that fails until this member may go leaves no other hook to do the leader's work.
        return membership::retire_members_without_unit(w).or_else(|| stay(w, &why));
    }
    let remove = Next::Do(Step::RemoveMember { member: own, reason: Removal::Leaving });
    Some(hand_off_leadership(w, own, members).unwrap_or(remove))
}

/// A server that runs may be part of the quorum again in a moment, if its data does not go.
fn may_be_needed(w: &World) -> bool {
    match w.etcd.door {
        Door::Open(_) => true,
        Door::Mute(_) => storage::keeps(w),
        Door::Closed => false,
    }
}

/// Storage that nobody waits for any more is given back in the end: of an application that goes as a whole no member needs
/// another one.
fn stay(w: &World, why: &str) -> Option<Next> {
    let nobody_stays = w.peers.expected.as_ref().is_some_and(|all| all.is_subset(&w.peers.leaving));
    if nobody_stays && storage::keeps(w) && w.tried.lasted_s >= LAST_S {
        return None;
    }
    Some(Next::Wait(Waiting::Leave(why.to_owned())))
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
