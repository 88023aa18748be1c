//! Members of before a recovery of the quorum, and those of after it. etcd cannot tell them apart: cluster and members keep their
//! ids. So each recovery has a number, one higher than all before, which its unit and all that join it publish.
//!
//! Invariants: what the members of before agree on among themselves counts for nothing, and they do not serve; two units that
//! were recovered each without the other are told of, and nobody joins either.

use std::collections::BTreeSet;

use crate::etcd::MemberId;
use crate::juju::{Status, UnitName};
use crate::recovering::Generation;
use crate::relations::cluster::UnitRecord;
use crate::world::{Data, Host, Peers, Roster, World};

/// Whose word counts, by what the units have published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// No quorum was ever recovered.
    Anybody,
    /// Those of this recovery.
    Of(Generation),
    /// Nobody: there are several recoveries, and this unit is of none of them.
    Nobody,
}

impl Followed {
    /// Whether this unit's word counts.
    pub fn counts(&self, record: &UnitRecord) -> bool {
        match self {
            Followed::Anybody => true,
            Followed::Of(generation) => record.generation.as_ref() == Some(generation),
            Followed::Nobody => false,
        }
    }
}

/// Whom this unit follows.
pub fn followed(peers: &Peers, host: &Host) -> Followed {
    let newest = newest(peers, host);
    let own = own(peers, host).filter(|own| newest.contains(own));
    match own.or_else(|| only(&newest)) {
        Some(generation) => Followed::Of(generation),
        None if newest.is_empty() => Followed::Anybody,
        None => Followed::Nobody,
    }
}

/// The one that a recovery on this unit begins.
pub fn next_generation(w: &World) -> Generation {
    let earlier = newest(&w.peers, &w.host);
    let number = earlier.first().map_or(1, |generation| generation.number.saturating_add(1));
    let remembered = match &w.etcd.roster {
        Roster::Confirmed(members) | Roster::Unconfirmed { remembered: members, .. } => members.as_slice(),
        Roster::NobodyToAsk => &[],
    };
    let told = w.peers.all().filter_map(|peer| peer.record.member);
    let known = told.chain(remembered.iter().map(|member| member.id));
    let known = known.chain(earlier.into_iter().flat_map(|generation| generation.replaces));
    let own = [member_id(&w.peers, &w.host), w.own_status().map(|own| own.member)];
    let replaces = known.filter(|id| !own.contains(&Some(*id))).collect();
    Generation { number, unit: w.unit.clone(), replaces }
}

/// All recoveries of the highest number. What the application has agreed on counts where no unit of it is left.
fn newest(peers: &Peers, host: &Host) -> BTreeSet<Generation> {
    let exists = |unit: &UnitName| peers.expected.as_ref().is_none_or(|all| all.contains(unit));
    let others = peers.units.iter().filter(|(unit, _)| exists(unit));
    let others = others.filter_map(|(_, peer)| peer.record.generation.clone());
    let told: BTreeSet<Generation> = others.chain(own(peers, host)).collect();
    let highest = told.iter().map(|one| one.number).max().unwrap_or(0);
    match &peers.cluster.generation {
        Some(agreed) if agreed.number > highest => [agreed.clone()].into(),
        _ => told.into_iter().filter(|one| one.number == highest).collect(),
    }
}

fn only(all: &BTreeSet<Generation>) -> Option<Generation> {
    all.first().filter(|_| all.len() == 1).cloned()
}

/// What this unit's member is of: what was recovered here, or what was published for it.
fn own(peers: &Peers, host: &Host) -> Option<Generation> {
    recovered(host).or_else(|| UnitRecord::read(&peers.own).generation)
}

/// What was recovered here, as long as its mark stands.
fn recovered(host: &Host) -> Option<Generation> {
    let recovery = host.recovery.as_ref().filter(|recovery| !recovery.is_half_done())?;
    Some(recovery.generation.clone())
}

/// A later recovery has replaced this unit's member, as far as its data and databag tell which one that is.
pub fn seems_of_before(peers: &Peers, host: &Host) -> bool {
    let number = own(peers, host).map_or(0, |own| own.number);
    let member = member_id(peers, host);
    // An address alone is what the earlier charm's units have published.
    let has_voted = UnitRecord::read(&peers.own).address.is_some();
    let replaces = |later: &Generation| member.map_or(has_voted, |id| later.replaces.contains(&id));
    host.data != Data::Empty && newest(peers, host).iter().any(|one| one.number > number && replaces(one))
}

fn member_id(peers: &Peers, host: &Host) -> Option<MemberId> {
    host.identity.map(|identity| identity.member).or(UnitRecord::read(&peers.own).member)
}

/// The same where nobody of the recovered cluster says that it is a member.
pub(super) fn is_of_before(w: &World) -> bool {
    seems_of_before(&w.peers, &w.host) && !is_listed(w)
}

fn is_listed(w: &World) -> bool {
    let own = w.own_status().map(|own| own.member).or(member_id(&w.peers, &w.host));
    w.members().is_some_and(|members| members.iter().any(|member| Some(member.id) == own))
}

/// What a unit publishes that votes: whoever a quorum of the newest lists has joined since.
pub(super) fn of_voter(w: &World) -> Option<Generation> {
    let joined = is_listed(w).then(|| only(&newest(&w.peers, &w.host))).flatten();
    own_recovery(w).or(joined).or_else(|| own(&w.peers, &w.host))
}

/// What was recovered on this unit and is not published yet.
pub(super) fn own_recovery(w: &World) -> Option<Generation> {
    recovered(&w.host)
}

/// What the leader keeps for the time when no unit of it is left.
pub(super) fn agreed(w: &World) -> Option<Generation> {
    only(&newest(&w.peers, &w.host)).or_else(|| w.peers.cluster.generation.clone())
}

/// A unit that is of a later recovery than this one: by its own word, or by what the application has agreed on.
pub fn later_unit(w: &World) -> Option<(&UnitName, Generation)> {
    let number = own(&w.peers, &w.host).map_or(0, |own| own.number);
    let exists = |unit: &UnitName| w.peers.expected.as_ref().is_none_or(|all| all.contains(unit));
    let said = w.peers.units.iter().filter_map(|(unit, peer)| Some((unit, peer.record.generation.clone()?)));
    let agreed = w.peers.cluster.generation.iter().map(|agreed| (&agreed.unit, agreed.clone()));
    let later = said.chain(agreed).filter(|(unit, generation)| exists(unit) && generation.number > number);
    later.max_by_key(|(_, one)| one.number)
}

/// Units that serve as the whole cluster, each without the others: by what they say of their recoveries, or because they were
/// found so.
pub fn rivals(w: &World) -> Option<Status> {
    let recovered = newest(&w.peers, &w.host);
    let of_recoveries = recovered.iter().map(|one| one.unit.clone()).filter(|_| recovered.len() > 1);
    let found = w.etcd.rivals.iter().cloned();
    let found = found.chain([w.unit.clone()].into_iter().filter(|_| !w.etcd.rivals.is_empty()));
    let all: BTreeSet<UnitName> = of_recoveries.chain(found).collect();
    let (first, rest) = (all.first()?, all.iter().skip(1).map(UnitName::to_string).collect::<Vec<_>>());
    let (others, last) = (rest.join(", "), all.last()?);
    Some(Status::blocked(format!(
        "{first} and {others} each serve as the whole cluster, without the other, and what is written to one the other never gets: stop the clients, run the action snapshot on each, keep one, and remove the other, for example juju remove-unit {last} --force"
    )))
}

/// Why a member of before a recovery stays down.
pub(super) fn why_down(w: &World) -> Status {
    if let Some(status) = rivals(w) {
        return status;
    }
    let what = "This unit's data is of before the quorum was recovered";
    match later_unit(w) {
        Some((unit, generation)) => {
            let on = &generation.unit;
            Status::blocked(format!(
                "{what} on {on}, and no quorum of the recovered cluster answers: bring {unit} back, and this unit joins it by itself; if it is lost for good, juju remove-unit {unit} --force, then run the action recover-quorum here"
            ))
        }
        None => Status::blocked(format!(
            "{what} elsewhere, on units that are gone: with a newer snapshot run the action restore, otherwise run the action recover-quorum here"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::serving::publication;
    use super::super::worlds::*;
    use super::super::{Next, next};
    use super::*;
    use crate::etcd::{Identity, Member};
    use crate::juju::StatusKind;
    use crate::step::Step;
    use crate::world::{Door, Leadership, Roster, Service};

    fn generation(text: &str) -> Option<Generation> {
        text.parse().ok()
    }

    fn publish(w: &mut World, record: &UnitRecord) {
        let written = record.write(&UnitRecord::default()).into_iter();
        w.peers.own = written.filter_map(|(key, value)| Some((key, value?))).collect();
    }

    /// etcd/1 is back with its data; meanwhile the quorum was recovered on etcd/0.
    fn back_again() -> World {
        let mut w = settled(1, &three());
        let own = peer_of(&w.unit).record;
        publish(&mut w, &own);
        w.host.identity = Some(Identity { member: MemberId(101), cluster: CLUSTER });
        w.peers.units.get_mut(&"etcd/0".parse().unwrap()).unwrap().record.generation =
            generation("1 etcd/0 65,66");
        w.etcd.door = Door::Mute("it was not asked".into());
        w.etcd.roster = Roster::Unconfirmed { cause: "no answer".into(), remembered: vec![] };
        w
    }

    #[test]
    fn a_member_of_before_does_not_serve_and_joins_when_the_recovered_cluster_answers() {
        let mut w = back_again();
        assert_eq!(followed(&w.peers, &w.host), Followed::Of("1 etcd/0 65,66".parse().unwrap()));
        assert_eq!(next(&w), Next::Do(Step::StopService), "the other one of before may be back too");
        (w.host.service, w.etcd.door) = (Service::Stopped, Door::Closed);
        let told = done(next(&w));
        assert_eq!(told.kind, StatusKind::Blocked);
        assert!(told.message.contains("recovered on etcd/0") && told.message.contains("bring etcd/0 back"));
        w.etcd.roster = Roster::Confirmed(three()[..1].to_vec());
        assert!(matches!(next(&w), Next::Do(Step::MoveDataAside { .. })));
        // Its next member has another id than the published one.
        w.host.identity = Some(Identity { member: MemberId(7), cluster: CLUSTER });
        assert!(!seems_of_before(&w.peers, &w.host));
        let mut joined = status(&member(1, false));
        joined.member = MemberId(7);
        w.etcd.door = Door::Open(Box::new(joined));
        w.etcd.roster =
            Roster::Confirmed(vec![member(0, false), Member { id: MemberId(7), ..member(1, false) }]);
        assert_eq!(of_voter(&w), generation("1 etcd/0 65,66"));
        // It has told of its new member before it heard of the recovery.
        let told = UnitRecord { member: Some(MemberId(7)), ..peer_of(&w.unit).record };
        publish(&mut w, &told);
        w.etcd.roster = Roster::Unconfirmed { cause: "no answer".into(), remembered: vec![] };
        assert!(
            !seems_of_before(&w.peers, &w.host),
            "no moment without an answer takes it for one of before"
        );
        w.host.identity = None;
        assert!(!seems_of_before(&w.peers, &w.host));
    }

    #[test]
    fn a_member_that_the_recovered_cluster_lists_is_of_it_whatever_was_published() {
        let mut w = back_again();
        w.etcd.roster = Roster::Confirmed(three());
        assert!(seems_of_before(&w.peers, &w.host) && !is_of_before(&w));
        w.etcd.door = Door::Open(Box::new(status(&member(1, false))));
        let told = publication(&w, "t").unit.remove(0).1;
        assert_eq!(told["recovery"], Some("1 etcd/0 65,66".to_owned()));
    }

    #[test]
    fn without_a_recovery_nothing_is_of_before_and_everybody_counts() {
        let w = settled(1, &three());
        assert_eq!(followed(&w.peers, &w.host), Followed::Anybody);
        assert!(!seems_of_before(&w.peers, &w.host));
        assert_eq!(of_voter(&w), None);
        let first = next_generation(&w);
        assert_eq!(first.to_string(), "1 etcd/1 64,66", "all that are known but its own");
    }

    #[test]
    fn the_application_remembers_a_recovery_that_no_unit_is_left_of() {
        let mut w = settled(0, &three());
        w.leadership = Leadership::Leader;
        w.peers.units.get_mut(&"etcd/2".parse().unwrap()).unwrap().record.generation = generation("2 etcd/2");
        assert_eq!(agreed(&w), generation("2 etcd/2"));
        w = back_again();
        let gone: UnitName = "etcd/0".parse().unwrap();
        w.peers.units.remove(&gone);
        w.peers.cluster.generation = generation("1 etcd/0 65,66");
        w.host.service = Service::Stopped;
        assert!(is_of_before(&w));
        assert!(why_down(&w).message.contains("bring etcd/0 back"), "Juju still knows it");
        w.peers.expected.as_mut().unwrap().remove(&gone);
        assert!(why_down(&w).message.ends_with("otherwise run the action recover-quorum here"));
        let second = next_generation(&w);
        assert_eq!(
            second.to_string(),
            "2 etcd/1 66",
            "whoever was replaced once stays so, but for the one that is recovered"
        );
    }

    #[test]
    fn two_that_serve_each_without_the_other_are_told_on_both_and_nobody_joins_either() {
        for own in 0..2 {
            let mut w = settled(own, &three()[own as usize..][..1]);
            let (unit, other) = (w.unit.clone(), format!("etcd/{}", 1 - own).parse::<UnitName>().unwrap());
            w.peers.expected.as_mut().unwrap().insert(other.clone());
            w.etcd.rivals.insert(other.clone());
            let told = done(next(&w));
            assert!(told.message.starts_with("etcd/0 and etcd/1 each serve as the whole cluster"), "{told}");
            assert_eq!(told.kind, StatusKind::Blocked);
            // Their marks alone tell it too.
            w.etcd.rivals.clear();
            let record = UnitRecord { generation: generation(&format!("1 {unit}")), ..peer_of(&unit).record };
            publish(&mut w, &record);
            let mut peer = peer_of(&other);
            peer.record.generation = generation(&format!("1 {other}"));
            w.peers.units.insert(other, peer);
            assert_eq!(done(next(&w)), told);
            assert_eq!(followed(&w.peers, &w.host), Followed::Of(format!("1 {unit}").parse().unwrap()));
        }
        let mut w = back_again();
        w.peers.units.get_mut(&"etcd/2".parse().unwrap()).unwrap().record.generation = generation("1 etcd/2");
        assert_eq!(followed(&w.peers, &w.host), Followed::Nobody);
        w.host.service = Service::Stopped;
        assert!(done(next(&w)).message.starts_with("etcd/0 and etcd/2 each serve"));
    }
}
