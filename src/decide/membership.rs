//! Who is part of the cluster. The safety rules of the whole charm are here:
//!
//! - One unit, named in the application's databag before, starts the cluster; once; leadership alone never does.
//! - Everyone else joins as a learner, one at a time, and becomes a voter when it has caught up.
//! - Data of a removed member is moved aside, never deleted, and only when a quorum says that it was removed.
//! - A member is removed for a unit that is gone only when the remaining voters keep a working quorum.

use super::status::AGAIN;
use super::{
    Next, Waiting, addresses, healing, loss, minors, ports, quorum, restoring, service, starting, status,
};
use crate::etcd::{Member, MemberId, Permission};
use crate::juju::{Status, UnitName};
use crate::step::{Removal, Step};
use crate::world::{Data, Door, Health, Leadership, Moved, Peer, Roster, Service, World};

/// A member of a leaving unit that has been silent for as long as this, in seconds, will not take itself out.
const OUT_OF_REACH_S: u64 = 15;

pub(super) fn next(w: &World) -> Option<Next> {
    match (&w.host.data, &w.etcd.door) {
        (Data::Present, _) | (_, Door::Open(_)) => member(w),
        (Data::Empty, _) => Some(newcomer(w)),
        (Data::Partial(_), _) if w.own_record().member.is_some() && was_removed(w) => {
            Some(make_way_for_a_new_member(w))
        }
        // etcd makes its database before its log: a first start that did not get far is no loss.
        (Data::Partial(_), _) if is_first_start(w) || (is_new(w) && healing::started_member(w).is_none()) => {
            Some(newcomer(w))
        }
        (Data::Unreadable(why), _) => Some(Next::Done(Status::blocked(format!(
            "Data directory cannot be read: {why}: etcd is not started; see to its disk"
        )))),
        (Data::Partial(_), _) => healing::next(w),
    }
}

/// A member has run here before.
fn member(w: &World) -> Option<Next> {
    match &w.etcd.door {
        Door::Open(status) if status.learner => Some(promote(w, status.member)),
        Door::Open(status) => restoring::leave_old_cluster(w, status.cluster),
        Door::Closed | Door::Mute(_) if was_removed(w) => Some(make_way_for_a_new_member(w)),
        Door::Mute(says) => healing::next(w).or_else(|| Some(await_answer(w, says))),
        Door::Closed => healing::next(w).or_else(|| Some(service::start(w))),
    }
}

/// A member that nobody believes at its new address waits for a certificate, which no wait in this hook brings.
fn await_answer(w: &World, says: &str) -> Next {
    if let Some(status) = addresses::why_it_waits(w) {
        return Next::Done(status);
    }
    Next::Wait(match status::mute_without_quorum(w, says) {
        Some(status) => Waiting::Quorum(status),
        None => return starting::wait(w, says),
    })
}

/// What is half there is just being made: none is started on half a directory, so a server that runs is on its first
/// start, even where its quorum has heard of it by now, for the directory was read a moment before. Otherwise its quorum
/// says whether the member of this unit has ever started.
fn is_first_start(w: &World) -> bool {
    let is_awaited = |members| own_entry(w, members).is_some_and(|own| !own.is_started());
    w.host.service == Service::Running || w.members().is_some_and(is_awaited)
}

/// As far as Juju knows, no member of this unit has ever voted.
fn is_new(w: &World) -> bool {
    w.own_record().member.is_none()
}

/// Its quorum says that no member is left that could be this unit's, by id, peer URL or name.
fn was_removed(w: &World) -> bool {
    let Some(members) = w.members().filter(|_| w.host.restore.is_none()) else { return false };
    own_entry(w, members).is_none()
}

/// This unit's member. One that has not started has no name yet and is known by its address, whatever the port: another one
/// may have been wanted when it was added. An address alone makes no started member this unit's: it may have changed hands.
pub(super) fn own_entry<'a>(w: &World, members: &'a [Member]) -> Option<&'a Member> {
    let recorded = w.own_status().map(|status| status.member).or(w.own_record().member);
    let name = w.member_name();
    members.iter().find(|member| {
        recorded == Some(member.id) || member.name == name || (!member.is_started() && is_here(w, member))
    })
}

/// The cluster knows this member by this unit's address.
fn is_here(w: &World, member: &Member) -> bool {
    w.addresses.peer.as_deref().is_some_and(|address| is_at(member, address))
}

fn make_way_for_a_new_member(w: &World) -> Next {
    match w.host.service {
        Service::Missing | Service::Stopped => {
            let is_of_old_cluster = restoring::is_of_old_cluster(w);
            let why = if is_of_old_cluster { Moved::ClusterRestored } else { Moved::MemberRemoved };
            Next::Do(Step::MoveDataAside { why, place: w.host.place.clone() })
        }
        Service::Running | Service::Failing(_) => Next::Do(Step::StopService),
    }
}

/// etcd itself refuses the promotion until the learner has caught up, and the step is tried again then.
fn promote(w: &World, member: MemberId) -> Next {
    match w.tried.in_vain("promote") {
        Some(refusal) => Next::Done(Status::waiting(format!("Joining: {refusal}"))),
        None => Next::Do(Step::Promote(member)),
    }
}

/// No member has run here.
fn newcomer(w: &World) -> Next {
    if matches!(w.host.service, Service::Running) {
        let says = match &w.etcd.door {
            Door::Mute(says) => says.clone(),
            Door::Open(_) | Door::Closed => "it has no data yet".to_owned(),
        };
        return starting::wait(w, &says);
    }
    if let Some(status) = starting::in_vain(w) {
        return Next::Done(status);
    }
    if let Err(errors) = &w.options {
        return Next::Done(super::status::wrong_options(errors));
    }
    if w.was_started() { join(w) } else { bootstrap(w) }
}

/// No cluster was ever started.
pub(super) fn bootstrap(w: &World) -> Next {
    let cluster = &w.peers.cluster;
    match (&cluster.bootstrap_unit, &cluster.token) {
        (Some(unit), Some(token)) if *unit == w.unit => service::start_new_cluster(w, token),
        (Some(unit), _) => Next::Done(Status::waiting(format!("Waiting for {unit} to start the cluster"))),
        (None, _) if w.leadership == Leadership::Leader => {
            Next::Done(Status::waiting("Preparing to start the cluster"))
        }
        (None, _) => Next::Done(Status::waiting("Waiting for the leader to say who starts the cluster")),
    }
}

fn join(w: &World) -> Next {
    if let Some(status) = loss::status(w) {
        return Next::Done(status);
    }
    let members = match &w.etcd.roster {
        Roster::Confirmed(members) => members,
        Roster::NobodyToAsk => {
            return Next::Done(Status::waiting("Joining: no member has published its address yet"));
        }
        Roster::Unconfirmed { cause, .. } => return Next::Wait(Waiting::Cluster(cause.clone())),
    };
    let Some(peer_url) = ports::peer_url(w) else {
        return Next::Done(Status::waiting("Joining: this unit has no address yet"));
    };
    match own_entry(w, members) {
        Some(own) if !own.is_started() => service::start_as_joiner(w, members),
        Some(own) => replace_lost_member(w, own),
        None => apply(w, members, peer_url),
    }
}

/// etcd takes one learner at a time, and no two members at one address.
fn apply(w: &World, members: &[Member], peer_url: String) -> Next {
    if let Some(other) = members.iter().find(|member| is_here(w, member)) {
        return Next::Wait(Waiting::Cluster(format!(
            "the cluster knows {} at this unit's address: move that unit to its own, or remove it",
            called(w, other)
        )));
    }
    if let Some(other) = members.iter().find(|member| member.learner) {
        return Next::Wait(Waiting::Turn(called(w, other)));
    }
    match minors::why_not_join(w) {
        Some(status) => Next::Done(status),
        None => Next::Do(Step::AddLearner { peer_url }),
    }
}

/// The cluster counts on a member whose data is not here any more: it must go before a new one comes, since it
/// cannot be started on an empty directory.
fn replace_lost_member(w: &World, own: &Member) -> Next {
    match healing::why_not_give_up(w, own) {
        Some(why) => Next::Done(Status::blocked(format!(
            "Data of member {} is lost and it cannot be replaced: {why}; {AGAIN}",
            own.id
        ))),
        None => Next::Do(Step::RemoveMember { member: own.id, reason: Removal::DataLost }),
    }
}

/// The leader takes members out whose unit Juju no longer knows, whatever its own server does. It must be sure of both lists: the
/// members from a quorum and the units from Juju's goal state.
pub(super) fn retire_members_without_unit(w: &World) -> Option<Next> {
    if w.tried.in_vain("remove-member").is_some() {
        return None;
    }
    let gone = w.members()?.iter().find(|member| may_retire(w, member.id))?;
    Some(Next::Do(Step::RemoveMember { member: gone.id, reason: Removal::UnitGone }))
}

/// Whether the leader may take this member out for a unit that is gone. The status tells of unhealthy members that forbid it.
pub fn may_retire(w: &World, member: MemberId) -> bool {
    let may_act = w.leadership == Leadership::Leader
        && w.host.restore.is_none()
        && w.etcd.permission == Permission::Granted;
    let members = w.members().unwrap_or_default();
    let found = members.iter().find(|one| one.id == member);
    may_act
        && found.is_some_and(|one| is_orphan(w, one))
        && quorum::why_not_remove(member, members, &w.etcd.health).is_none()
}

/// A started member belongs to the unit of its name. One that never started has no name: it is an orphan only
/// if every unit that Juju expects is visible and none of them has its address.
fn is_orphan(w: &World, member: &Member) -> bool {
    let Some(expected) = &w.peers.expected else { return false };
    let is_own = own_entry(w, std::slice::from_ref(member)).is_some();
    if is_own || !expected.contains(&w.unit) {
        return false;
    }
    if member.is_started() {
        let unit = expected.iter().find(|unit| unit.member_name() == member.name);
        return unit.is_none_or(|unit| w.peers.leaving.contains(unit) && is_out_of_reach(w, member));
    }
    // One that is being removed joins no more.
    let joins = |unit: &&UnitName| **unit != w.unit && !w.peers.leaving.contains(*unit);
    let all_visible = expected.iter().filter(joins).all(|unit| w.peers.units.contains_key(unit));
    let has_address = |address: &Option<String>| address.as_deref().is_some_and(|at| is_at(member, at));
    let wanted_by_a_unit = has_address(&w.addresses.peer)
        || w.peers.units.values().any(|peer| has_address(&peer.ingress) || has_address(&peer.record.address));
    all_visible && !wanted_by_a_unit
}

/// The member of a unit that is being removed, whose machine will not take it out.
fn is_out_of_reach(w: &World, member: &Member) -> bool {
    matches!(w.etcd.health.get(&member.id), Some(Health::Unhealthy(_))) && w.tried.lasted_s >= OUT_OF_REACH_S
}

fn is_at(member: &Member, address: &str) -> bool {
    member.peer_urls.iter().any(|url| service::host_of(url) == address)
}

/// `etcd2`; of one that has not started, the unit at its address.
fn called(w: &World, member: &Member) -> String {
    if member.is_started() {
        return member.name.clone();
    }
    let is_it =
        |peer: &Peer| [&peer.ingress, &peer.record.address].into_iter().flatten().any(|at| is_at(member, at));
    let unit = w.peers.units.iter().find(|(_, peer)| is_it(peer)).map(|(unit, _)| unit.to_string());
    let at = member.peer_urls.first().map_or("", |url| service::host_of(url));
    format!("{} ({at})", unit.unwrap_or_else(|| format!("member {}", member.id)))
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{CLUSTER, member, ready, settled, three, unstarted};
    use super::*;

    /// The leader's world, in which the unit of the third member is gone.
    fn without_the_third() -> World {
        let mut w = settled(0, &three());
        w.leadership = Leadership::Leader;
        w.peers.expected = Some(["etcd/0", "etcd/1"].map(|unit| unit.parse().unwrap()).into());
        w
    }

    fn retires(w: &World) -> bool {
        next(w) == Next::Do(Step::RemoveMember { member: MemberId(102), reason: Removal::UnitGone })
    }

    #[test]
    fn a_leader_whose_own_server_is_of_no_use_retires_members_all_the_same() {
        let mut w = without_the_third();
        assert!(retires(&w));
        w.etcd.door = Door::Closed;
        w.host.service = Service::Stopped;
        w.host.snap = crate::world::Reading::Unknown("snapd does not answer".into());
        assert!(retires(&w));
        w.leadership = Leadership::Follower;
        assert!(!retires(&w));
    }

    #[test]
    fn a_leaving_unit_takes_its_member_out_itself_unless_it_is_out_of_reach() {
        let mut w = without_the_third();
        let third = "etcd/2".parse().unwrap();
        w.peers.expected.as_mut().unwrap().insert("etcd/2".parse().unwrap());
        w.peers.leaving.insert(third);
        w.etcd.health.insert(MemberId(102), Health::Unhealthy("unreachable".into()));
        let told = "etcd2 (10.0.0.3) unreachable and being removed: if its machine is lost: juju remove-unit --force etcd/2";
        assert_eq!(next(&w), Next::Wait(Waiting::Departure(Status::blocked(told))), "it may be restarting");
        w.tried.lasted_s = OUT_OF_REACH_S;
        assert!(retires(&w));
        w.etcd.health.insert(MemberId(102), Health::Healthy);
        assert!(!retires(&w));
    }

    #[test]
    fn an_address_that_has_changed_hands_replaces_nobody() {
        let mut w = ready(3);
        let mut members = three().to_vec();
        members[1].peer_urls = vec!["https://10.0.0.4:2380".into()];
        w.etcd.roster = Roster::Confirmed(members);
        w.peers.cluster.cluster = Some(CLUSTER);
        let told = "Joining: the cluster knows etcd1 at this unit's address: move that unit to its own, or remove it";
        let Next::Wait(waiting) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(waiting.to_string(), told);
    }

    #[test]
    fn who_is_waited_for_is_named_before_it_has_a_name() {
        let mut w = ready(3);
        w.etcd.roster = Roster::Confirmed(vec![member(0, false), unstarted(1)]);
        w.peers.cluster.cluster = Some(CLUSTER);
        let unit: UnitName = "etcd/1".parse().unwrap();
        w.peers.units.insert(unit.clone(), Peer { ingress: Some("10.0.0.2".into()), ..Peer::default() });
        assert_eq!(next(&w), Next::Wait(Waiting::Turn("etcd/1 (10.0.0.2)".into())));
        w.peers.units.remove(&unit);
        assert_eq!(next(&w), Next::Wait(Waiting::Turn("member 65 (10.0.0.2)".into())));
    }
}
