//! What must hold in every world, also in those nobody would think of.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::serving::publication;
use super::worlds::{consumer, member, ready, settled, status, unstarted};
use super::*;
use crate::etcd::{ClusterState, Member, MemberId};
use crate::event::Event;
use crate::juju::UnitName;
use crate::step::Removal;
use crate::world::*;

/// One member of a generated cluster: number, learner, started, answers, its unit still exists.
type Generated = (u32, bool, bool, bool, bool);

fn worlds() -> impl Strategy<Value = World> {
    let member = (
        0..7u32,
        any::<bool>(),
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.8),
    );
    let members = prop::collection::vec(member, 0..6);
    let situation = (0..4u8, 0..3u8, 0..3u8, any::<bool>(), any::<bool>(), any::<bool>(), 0..4u8, 0..4u8);
    (0..7u32, members, situation).prop_map(|(own, members, situation)| world(own, members, situation))
}

type Situation = (u8, u8, u8, bool, bool, bool, u8, u8);

fn world(own: u32, mut generated: Vec<Generated>, situation: Situation) -> World {
    let (door, data, roster, leader, leaving, named, service, tried) = situation;
    generated.sort_unstable();
    generated.dedup_by_key(|one| one.0);
    let members: Vec<Member> = generated
        .iter()
        .map(
            |(number, learner, started, ..)| {
                if *started { member(*number, *learner) } else { unstarted(*number) }
            },
        )
        .collect();
    let mut w = ready(own);
    w.leadership = if leader { Leadership::Leader } else { Leadership::Follower };
    w.event = if leaving { Event::Leaving("stop".into()) } else { Event::Look("config-changed".into()) };
    w.host.data =
        [Data::Empty, Data::Present, Data::Partial("the log (member/wal)")][usize::from(data)].clone();
    w.host.service = [Service::Missing, Service::Stopped, Service::Running, Service::Failing("words".into())]
        [usize::from(service)]
    .clone();
    let unit = |number: u32| -> UnitName { format!("etcd/{number}").parse().unwrap() };
    let units: BTreeSet<UnitName> =
        generated.iter().filter(|one| one.4).map(|one| unit(one.0)).chain([w.unit.clone()]).collect();
    w.peers.units =
        units.iter().filter(|one| **one != w.unit).map(|one| (one.clone(), Peer::default())).collect();
    w.peers.expected = (tried != 3).then_some(units);
    w.peers.cluster.bootstrap_unit = named.then(|| unit(own));
    w.peers.cluster.token = Some("token".into());
    let health =
        |answers: bool| if answers { Health::Healthy } else { Health::Unhealthy("unreachable".into()) };
    w.etcd.health = generated.iter().map(|one| (member(one.0, false).id, health(one.3))).collect();
    w.etcd.roster = match roster {
        0 => Roster::NobodyToAsk,
        1 => Roster::Unconfirmed { cause: "no quorum".into(), remembered: members.clone() },
        _ => Roster::Confirmed(members.clone()),
    };
    w.etcd.door = match (door, members.iter().find(|one| one.name == w.member_name())) {
        (0, _) | (_, None) => Door::Closed,
        (1, _) => Door::Mute("says nothing".into()),
        (_, Some(me)) => Door::Open(Box::new(status(me))),
    };
    if tried == 1 {
        w.tried.in_vain.insert("remove-member", "refused".into());
    }
    w
}

/// Counted anew, without the rule's own arithmetic.
fn keeps_quorum(w: &World, removed: MemberId) -> bool {
    let Roster::Confirmed(members) = &w.etcd.roster else { return false };
    let rest: Vec<_> = members.iter().filter(|member| !member.learner && member.id != removed).collect();
    let alive = rest.iter().filter(|member| w.etcd.health.get(&member.id) == Some(&Health::Healthy)).count();
    !rest.is_empty() && alive * 2 > rest.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_same_world_always_gives_the_same_answer(w in worlds()) {
        prop_assert_eq!(next(&w), next(&w));
        prop_assert_eq!(publication(&w, "t"), publication(&w, "t"));
    }

    #[test]
    fn no_removal_ever_costs_quorum(w in worlds()) {
        if let Next::Do(Step::RemoveMember { member, reason }) = next(&w) {
            let learner = w.members().is_some_and(|all| all.iter().any(|one| one.id == member && one.learner));
            prop_assert!(learner || keeps_quorum(&w, member), "{reason} of {member}");
            let own = w.members().unwrap().iter().find(|one| one.id == member).unwrap();
            match reason {
                Removal::UnitGone => {
                    prop_assert_eq!(w.leadership, Leadership::Leader);
                    prop_assert!(w.peers.expected.is_some(), "Juju was not asked");
                    prop_assert!(w.own_status().is_none_or(|status| status.member != member));
                }
                Removal::Leaving | Removal::DataLost => {
                    prop_assert!(own.name == w.member_name() || !own.is_started());
                }
            }
        }
    }

    #[test]
    fn a_new_history_begins_only_where_it_was_announced(w in worlds()) {
        if let Next::Do(Step::WriteConfig { settings, .. }) = next(&w)
            && settings.initial_cluster_state == ClusterState::New
        {
            prop_assert_eq!(w.peers.cluster.bootstrap_unit.as_ref(), Some(&w.unit));
            prop_assert!(!w.was_started());
            prop_assert!(w.host.data != Data::Present);
        }
    }

    #[test]
    fn data_moves_only_on_the_word_of_a_quorum(w in worlds()) {
        if let Next::Do(Step::MoveDataAside { .. }) = next(&w) {
            let listed = |members: &[Member]| members.iter().any(|one| one.name == w.member_name());
            prop_assert!(w.members().is_some_and(|members| !listed(members)));
            prop_assert!(matches!(w.host.service, Service::Stopped | Service::Missing));
        }
    }

    #[test]
    fn a_unit_that_leaves_neither_joins_nor_starts_anything(mut w in worlds()) {
        w.event = Event::Leaving("stop".into());
        let forbidden = matches!(next(&w), Next::Do(
            Step::InstallSnap(_) | Step::AddLearner { .. } | Step::StartService | Step::RestartService
            | Step::Promote(_) | Step::WriteConfig { .. } | Step::MoveDataAside { .. }
        ));
        prop_assert!(!forbidden, "{:?}", next(&w));
        prop_assert_eq!(publication(&w, "t"), serving::Publication::default());
    }

    #[test]
    fn learners_and_strangers_are_never_offered_to_consumers(mut w in worlds()) {
        w.consumers = vec![consumer("db:7")];
        let offered = publication(&w, "t").unit.into_iter().find(|(id, _)| id.to_string() == "db:7");
        if let Some((_, bag)) = offered {
            let members = w.members().unwrap();
            for url in bag["connection_string"].as_deref().unwrap().split(',') {
                let owner = members.iter().find(|one| one.client_urls.iter().any(|own| own == url)).unwrap();
                prop_assert!(!owner.learner && owner.is_started());
            }
        }
    }

    #[test]
    fn a_settled_unit_stays_settled_whatever_it_is_told(own in 0..3u32, leader in any::<bool>(), hook in "[a-z-]{1,20}") {
        let mut w = settled(own, &[member(0, false), member(1, false), member(2, false)]);
        w.leadership = if leader { Leadership::Leader } else { Leadership::Follower };
        w.event = Event::Look(hook);
        prop_assert!(matches!(next(&w), Next::Done(status) if status.message == "Healthy with 3 known peers"));
    }
}
