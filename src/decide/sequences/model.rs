//! Juju as a charm sees it: units that come and go, who leads, what was published, which hook runs. A hook is a run of
//! decisions, each in the world as it is at that moment; what Juju said is read once, when it begins.

use std::collections::{BTreeMap, BTreeSet};

use super::super::serving::publication;
use super::super::worlds::{HEARTBEAT_MS, ready};
use super::super::{Next, next, why_hook_fails};
use super::acting::{Trouble, perform};
use super::observing::world;
use super::raft::{Entry, Machine, Servers};
use crate::event::Event;
use crate::juju::{Databag, Status, UnitName};
use crate::relations::Changes;
use crate::step::Step;
use crate::world::{Host, Leadership, Peers, Tried, World};

/// More steps than these in one hook undo each other.
const STEPS_MAX: usize = 40;
/// All waiting of one hook together, in seconds.
const WAITING_MAX_S: u64 = 75;

/// Where a unit is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Stays,
    /// It is told that it departs from its peers.
    Departs,
    /// Its relations are gone; when this hook has succeeded, so is its machine.
    Stops,
}

/// A unit and its machine.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub number: Machine,
    pub address: String,
    pub life: Life,
    /// The machine is lost: no hook of this unit will ever run again.
    pub is_lost: bool,
    /// It has run a hook to its end, so that the others see it.
    pub has_entered: bool,
    pub host: Host,
    pub bag: Databag,
    pub run: Option<Run>,
    pub told: Option<Status>,
}

/// A hook that is under way.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub event: Event,
    pub leadership: Leadership,
    pub peers: Peers,
    pub tried: Tried,
    pub begun_s: u64,
    steps: usize,
    waited_s: u64,
    waiting: Option<(u64, String)>,
}

/// What a look and the decision after it have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Goes,
    Waits,
    Over,
}

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub units: BTreeMap<Machine, Unit>,
    pub servers: Servers,
    pub leader: Option<Machine>,
    pub application: Databag,
    pub settings: Databag,
    pub heartbeat_ms: u64,
    pub now_s: u64,
    pub acknowledged: Vec<u32>,
    added: Machine,
    writes: u32,
}

impl Model {
    pub fn new() -> Model {
        Model { heartbeat_ms: HEARTBEAT_MS, now_s: 2_000_000_000, ..Model::default() }
    }

    /// `juju add-unit`.
    pub fn add_unit(&mut self) {
        let number = self.added;
        self.added += 1;
        let host = ready(number).host;
        let address = format!("10.0.0.{}", number + 1);
        let unit = Unit {
            number,
            address,
            life: Life::Stays,
            is_lost: false,
            has_entered: false,
            host,
            bag: Databag::new(),
            run: None,
            told: None,
        };
        self.units.insert(number, unit);
        self.leader = self.leader.or(Some(number));
    }

    /// `juju remove-unit`. One that has not come as far as its first relation goes at once; one that leads resigns.
    pub fn remove_unit(&mut self, number: Machine) {
        let is_seen = |unit: &Unit| unit.has_entered && unit.life == Life::Stays && unit.number != number;
        let is_alone = !self.units.values().any(is_seen);
        let Some(unit) = self.units.get_mut(&number).filter(|unit| unit.life == Life::Stays) else { return };
        // Who is alone departs from nobody.
        unit.life = if is_alone { Life::Stops } else { Life::Departs };
        if !unit.has_entered && unit.run.is_none() && !self.servers.all.contains_key(&number) {
            self.forget(number);
        }
        if self.leader == Some(number) {
            let next = self.units.values().find(|unit| !unit.is_lost && unit.life == Life::Stays);
            self.leader = next.map(|unit| unit.number).or(self.leader);
        }
    }

    /// `juju remove-unit --force` of a machine that is lost.
    pub fn forget(&mut self, number: Machine) {
        self.units.remove(&number);
        self.servers.all.remove(&number);
        if self.leader == Some(number) {
            let next = self.units.values().find(|unit| !unit.is_lost && unit.life == Life::Stays);
            self.leader = next.map(|unit| unit.number);
        }
    }

    /// A machine that will never come back. Never one whose loss the others could not bear.
    pub fn lose(&mut self, number: Machine) {
        let mut without = self.servers.clone();
        without.stop(number);
        let clusters = self.servers.all.values().filter_map(|server| Some(server.disk.as_ref()?.cluster));
        let is_bearable =
            clusters.collect::<BTreeSet<_>>().into_iter().all(|one| without.quorum(one).is_some());
        let Some(unit) = self.units.get_mut(&number).filter(|_| is_bearable) else { return };
        (unit.is_lost, unit.run) = (true, None);
        self.servers.all.remove(&number);
    }

    /// The power is cut for a moment; the server comes back by itself where it was to run.
    pub fn reboot(&mut self, number: Machine) {
        let Some(unit) = self.units.get_mut(&number).filter(|unit| !unit.is_lost) else { return };
        unit.run = None;
        if self.servers.all.get(&number).is_some_and(|server| server.runs) {
            self.servers.stop(number);
            self.servers.start(number);
        }
    }

    /// Some client writes; it counts as acknowledged if a quorum took it.
    pub fn write(&mut self) {
        let serving = self.servers.all.keys().copied().find(|at| self.servers.quorum_of(*at).is_some());
        let Some(machine) = serving else { return };
        self.writes += 1;
        if self.servers.append(machine, Entry::Put(self.writes)).is_ok() {
            self.acknowledged.push(self.writes);
        }
    }

    /// Juju gives the leadership to another unit, never to one that is being removed.
    pub fn lead(&mut self, number: Machine) {
        if self.units.get(&number).is_some_and(|unit| !unit.is_lost && unit.life == Life::Stays) {
            self.leader = Some(number);
        }
    }

    /// `dispatch` is killed; Juju tries the hook again.
    pub fn kill(&mut self, number: Machine) {
        if let Some(unit) = self.units.get_mut(&number) {
            unit.run = None;
        }
    }

    fn begin(&self, number: Machine) -> Option<Run> {
        let unit = self.units.get(&number).filter(|unit| !unit.is_lost)?;
        Some(Run {
            event: match unit.life {
                Life::Stays => Event::Look("config-changed".into()),
                Life::Departs => Event::Leaving("cluster-relation-departed".into()),
                Life::Stops => Event::Leaving("stop".into()),
            },
            leadership: self.leadership(number),
            peers: super::observing::peers(self, unit),
            tried: Tried::default(),
            begun_s: self.now_s,
            steps: 0,
            waited_s: 0,
            waiting: None,
        })
    }

    pub fn leadership(&self, number: Machine) -> Leadership {
        if self.leader == Some(number) { Leadership::Leader } else { Leadership::Follower }
    }

    /// One look, one decision, one step of the hook that is under way on this unit, or of the next one.
    pub fn advance(&mut self, number: Machine) -> Pace {
        let Some(mut run) =
            self.units.get(&number).and_then(|unit| unit.run.clone()).or_else(|| self.begin(number))
        else {
            return Pace::Over;
        };
        self.now_s += 1;
        run.tried.lasted_s = self.now_s - run.begun_s;
        let w = world(self, number, &run);
        let pace = match next(&w) {
            Next::Done(status) => self.end(&w, status),
            Next::Wait(waiting)
                if run.has_waited(self.now_s, &waiting.to_string(), waiting.patience_ms() / 1000) =>
            {
                self.end(&w, waiting.status())
            }
            Next::Wait(_) => Pace::Waits,
            Next::Do(step) => match run.tried.in_vain(step.name()) {
                Some(error) => self.end(&w, Status::waiting(format!("{step}: {error}"))),
                None => self.carry_out(number, &mut run, &step, &w),
            },
        };
        if let Some(unit) = self.units.get_mut(&number) {
            unit.run = (pace != Pace::Over).then_some(run);
        }
        pace
    }

    fn carry_out(&mut self, number: Machine, run: &mut Run, step: &Step, w: &World) -> Pace {
        run.steps += 1;
        assert!(run.steps < STEPS_MAX, "the steps of {} come to no end: {step}", w.unit);
        match perform(self, number, step, w) {
            Ok(()) => {
                run.tried.done.insert(step.name());
                run.waiting = None;
                Pace::Goes
            }
            Err(Trouble::NotYet(why)) => {
                run.tried.not_yet.insert(step.name());
                if run.has_waited(self.now_s, &why, 45) {
                    run.give_up(step.name(), why);
                }
                Pace::Waits
            }
            Err(Trouble::Failed(why)) => {
                run.tried.not_yet.remove(step.name());
                run.give_up(step.name(), why);
                Pace::Goes
            }
        }
    }

    /// A whole hook, while nobody else does anything.
    pub fn hook(&mut self, number: Machine) {
        loop {
            match self.advance(number) {
                Pace::Over => return,
                Pace::Waits => self.now_s += 5,
                Pace::Goes => {}
            }
        }
    }

    /// The hook's end: what it wrote counts if it succeeds.
    fn end(&mut self, w: &World, status: Status) -> Pace {
        let fails = why_hook_fails(w, &status).is_some();
        let number = w.unit.number();
        let told = publication(w, &format!("token-{}", self.now_s));
        // What a leader of before writes is refused, and so is its hook.
        let is_refused = told.application.is_some() && self.leader != Some(number);
        if let Some(unit) = self.units.get_mut(&number) {
            (unit.run, unit.told) = (None, Some(status));
        }
        if fails || is_refused {
            return Pace::Over;
        }
        if let Some((_, changes)) = told.application {
            apply(&mut self.application, changes);
        }
        if self.leader == Some(number) {
            apply(&mut self.settings, told.settings);
        }
        let Some(unit) = self.units.get_mut(&number) else { return Pace::Over };
        for (_, changes) in told.unit.into_iter().filter(|(relation, _)| relation.endpoint() == "cluster") {
            apply(&mut unit.bag, changes);
        }
        unit.has_entered = true;
        // A hook that began while the unit still stayed is none of its end.
        match unit.life {
            Life::Departs if w.event.is_leaving() => unit.life = Life::Stops,
            Life::Stops if w.event.is_leaving() => self.forget(number),
            Life::Stays | Life::Departs | Life::Stops => {}
        }
        Pace::Over
    }
}

impl Run {
    /// Whether the wait for this has lasted long enough.
    fn has_waited(&mut self, now_s: u64, why: &str, patience_s: u64) -> bool {
        let since = match &self.waiting {
            Some((since, same)) if same == why => *since,
            _ => now_s,
        };
        self.waited_s += 1;
        self.waiting = Some((since, why.to_owned()));
        now_s - since >= patience_s || now_s - self.begun_s > WAITING_MAX_S || self.waited_s > WAITING_MAX_S
    }

    fn give_up(&mut self, step: &'static str, why: String) {
        self.tried.in_vain.insert(step, why);
        self.waiting = None;
    }
}

fn apply(bag: &mut Databag, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => bag.insert(key, value),
            None => bag.remove(&key),
        };
    }
}

pub(super) fn name(number: Machine) -> UnitName {
    format!("etcd/{number}").parse().expect("a unit's name")
}
