//! Worlds from a few choices each, so that a generator reaches all of them and a failing one shrinks to what matters.
//! What cannot be is not made: a server answers only if it runs, and whoever votes can be asked.

mod cluster;
mod machine;
mod volume;

use proptest::prelude::*;

use self::cluster::{Juju, Other};
use self::machine::Machine;
use super::worlds::ready;
use super::{next, seems_of_before};
use crate::event::Event;
use crate::recovering::Recovery;
use crate::world::World;

/// One world.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// The unit's number.
    pub own: u32,
    pub juju: Juju,
    pub others: Vec<Other>,
    pub machine: Machine,
    /// Steps that this run has tried: the name, and whether it was refused for the moment only.
    pub tried: Vec<(&'static str, bool)>,
    pub lasted_s: u64,
}

impl Scene {
    /// The unit `own` of a settled cluster with these others.
    pub fn calm(own: u32, others: &[u32]) -> Scene {
        Scene {
            own,
            juju: Juju::calm(),
            others: others.iter().map(|number| Other::calm(*number)).collect(),
            machine: Machine::calm(),
            tried: vec![],
            lasted_s: 0,
        }
    }

    /// On data that may not count in the end, or of before a recovery of the quorum, the own server is not asked.
    fn is_believed(&self, w: &World) -> bool {
        let host = self.machine.host(w);
        !host.recovery.as_ref().is_some_and(Recovery::is_half_done) && !seems_of_before(&w.peers, &host)
    }

    pub fn world(&self) -> World {
        let mut w = ready(self.own);
        self.juju.tell(&mut w, &self.others);
        cluster::gather(&mut w, self);
        self.machine.stand(&mut w, self);
        for (step, is_refused) in &self.tried {
            w.tried.in_vain.insert(step, "it failed: see the log".into());
            if *is_refused {
                w.tried.not_yet.insert(step);
            }
        }
        w.tried.lasted_s = self.lasted_s;
        w
    }
}

/// Names of steps whose failure some rule asks about.
const STEPS: [&str; 18] = [
    "remove-member",
    "start-service",
    "stop-service",
    "restart-service",
    "undo-restore",
    "finish-recovery",
    "undo-recovery",
    "move-data",
    "release-storage",
    "format-storage",
    "mount-storage",
    "promote",
    "add-learner",
    "move-leadership",
    "finish-move",
    "install-snap",
    "write-config",
    "move-peer-url",
];

pub(super) fn scenes() -> impl Strategy<Value = Scene> {
    let tried = (prop::sample::select(&STEPS[..]), any::<bool>());
    let few = prop::collection::vec(tried, 0..3);
    let others = prop::collection::vec(cluster::other(), 0..5);
    let lasted_s = prop::sample::select(vec![0, 3, 25, 55, 600]);
    (0..5u32, cluster::juju(), others, machine::machine(), few, lasted_s).prop_map(
        |(own, juju, mut others, machine, tried, lasted_s)| {
            others.retain(|other| other.number != own);
            others.sort_by_key(|other| other.number);
            others.dedup_by_key(|other| other.number);
            Scene { own, juju, others, machine, tried, lasted_s }
        },
    )
}

proptest! {
    #![proptest_config(super::sequences::config(2500))]

    /// Each decision is held against the invariants where it is made.
    #[test]
    fn no_decision_breaks_an_invariant_in_any_world(scene in scenes()) {
        let w = scene.world();
        prop_assert_eq!(next(&w), next(&w), "the same world, another answer");
    }
}

#[test]
fn a_calm_scene_is_a_settled_cluster() {
    for (own, others) in [(0, vec![]), (0, vec![1, 2]), (2, vec![0, 1, 3, 4])] {
        let mut w = Scene::calm(own, &others).world();
        super::worlds::converge_files(&mut w);
        let status = super::worlds::done(next(&w));
        assert_eq!(status.message, super::healthy_with(others.len() + 1));
    }
}

/// The events that make a difference.
pub(super) const EVENTS: [fn() -> Event; 6] = [
    || Event::Look("config-changed".into()),
    || Event::UpdateStatus,
    || Event::Upgraded,
    || Event::Leaving("cluster-relation-departed".into()),
    || Event::Leaving("stop".into()),
    || Event::Detaching("data-storage-detaching".into()),
];
