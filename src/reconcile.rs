//! The one way through the charm: observe, decide, act, until nothing is left to do; then publish.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::act::{self, Trouble};
use crate::checkup;
use crate::decide::{self, Next};
use crate::event::Event;
use crate::juju::{Context, Status, Tools};
use crate::observe::{self, Facts};
use crate::publish::{self, Published};
use crate::remembered;
use crate::state;
use crate::step::Step;
use crate::world::{Tried, World};

/// The longest path of rules is far shorter; more steps than this mean that two rules undo each other.
const STEPS_MAX: usize = 40;
/// A step that was done this often in a row and is decided again has changed nothing.
const SAME_MAX: u32 = 2;
/// What a step has changed may show a moment later: a member hears of its own promotion by its log.
const EFFECT_MAX: Duration = Duration::from_secs(5);
/// All waiting of one hook together: Juju shows nothing of a unit while its hook runs.
const WAITING_MAX: Duration = Duration::from_secs(75);
/// A refused step is tried again for this long.
const REFUSED_MAX: Duration = Duration::from_secs(45);
/// An operator who looks on wants to know what takes so long.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Looks at the world, brings it closer to what it should be, and tells Juju.
///
/// # Errors
/// When a hook tool or this machine fails in a way that only a retry of the whole hook can mend.
pub async fn run(context: &Context, event: Event, tools: &Tools) -> Result<()> {
    state::move_in()?;
    if event == Event::UpdateStatus && checkup::all_is_well(context, tools).await {
        return Ok(());
    }
    let hook = remembered::begin(context, tools)?;
    let tools = &hook.tools;
    let (world, status) = loop {
        let facts = observe::facts(context, event.clone(), tools).await?;
        let (world, status) = Run::new(&facts, tools).settle().await?;
        let status = decide::alarm_first(&world, status);
        match publish::publish(world, status, tools).await? {
            Published::Told(world, status) => break (world, status),
            // Once: from now on nothing is remembered that could be in doubt.
            Published::Doubtful(relation) => {
                tracing::info!(%relation, "what was remembered of Juju does not hold; all of it is asked anew");
                tools.forget_answers();
            }
        }
    };
    checkup::remember(&world, &status);
    match decide::why_hook_fails(&world, &status) {
        Some(why) => Err(anyhow::Error::msg(why)),
        None => hook.keep(),
    }
}

/// Time that went by between one wait and the next, looking included: at a server that does not answer, that takes
/// longer than the pauses. What steps take is not waiting.
#[derive(Debug, Default)]
struct Waited {
    total: Duration,
    since: Option<Instant>,
}

impl Waited {
    fn add_until(&mut self, now: Instant) -> Duration {
        if let Some(since) = self.since.replace(now) {
            self.total += now.saturating_duration_since(since);
        }
        self.total
    }

    fn pause(&mut self) {
        self.since = None;
    }
}

/// The steps that were done.
#[derive(Debug, Default)]
struct Steps {
    count: usize,
    /// The last one, and how often it was done in a row.
    last: Option<(Step, u32)>,
}

impl Steps {
    fn add(&mut self, step: &Step) {
        self.count += 1;
        let times = match &self.last {
            Some((last, times)) if last == step => times + 1,
            _ => 1,
        };
        self.last = Some((step.clone(), times));
    }

    fn is_without_effect(&self, step: &Step) -> bool {
        self.last.as_ref().is_some_and(|(last, times)| last == step && *times >= SAME_MAX)
    }
}

/// One run's progress through the loop.
struct Run<'a> {
    facts: &'a Facts,
    tools: &'a Tools,
    tried: Tried,
    steps: Steps,
    since: Instant,
    waited: Waited,
    /// Since when, and for what, the run is waiting without a break.
    waiting: Option<(Instant, &'static str)>,
    told: bool,
}

impl<'a> Run<'a> {
    fn new(facts: &'a Facts, tools: &'a Tools) -> Run<'a> {
        Run {
            facts,
            tools,
            tried: Tried::default(),
            steps: Steps::default(),
            since: Instant::now(),
            waited: Waited::default(),
            waiting: None,
            told: false,
        }
    }

    /// Ends with the world as it was last seen and the status to show.
    async fn settle(mut self) -> Result<(World, Status)> {
        loop {
            self.tried.lasted_s = self.since.elapsed().as_secs();
            let world = observe::world(self.facts, self.tools, &self.tried).await?;
            match decide::next(&world) {
                Next::Done(status) => return Ok((world, status)),
                Next::Wait(reason) => {
                    let patience = Duration::from_millis(reason.patience_ms());
                    if !self.wait(reason.name(), &reason.to_string(), patience).await {
                        return Ok((world, reason.status()));
                    }
                }
                Next::Do(step) => {
                    if let Some(error) = self.tried.in_vain(step.name()) {
                        return Ok((world, Status::waiting(format!("{step}: {error}"))));
                    }
                    if self.steps.is_without_effect(&step) {
                        self.await_effect(&step).await;
                        continue;
                    }
                    if self.steps.count >= STEPS_MAX {
                        anyhow::bail!("cannot settle after {STEPS_MAX} steps; the next one would be: {step}");
                    }
                    self.perform(&step, &world).await;
                }
            }
        }
    }

    /// It is not done a third time. For etcd its own words tell why.
    async fn await_effect(&mut self, step: &Step) {
        let reason = format!("{step}: waiting for its effect");
        if self.wait("effect", &reason, EFFECT_MAX).await {
            return;
        }
        let why = match step {
            Step::StartService | Step::RestartService => observe::last_words().await,
            _ => format!("done {SAME_MAX} times, and nothing has changed"),
        };
        self.tried.not_yet.remove(step.name());
        self.give_up(step, why);
    }

    async fn perform(&mut self, step: &Step, world: &World) {
        match act::perform(step, world, self.tools).await {
            Ok(()) => {
                self.steps.add(step);
                self.tried.done.insert(step.name());
                self.waiting = None;
                self.waited.pause();
                tracing::info!("{step}");
            }
            Err(Trouble::NotYet(reason)) => {
                self.tried.not_yet.insert(step.name());
                if !self.wait(step.name(), &reason, REFUSED_MAX).await {
                    self.give_up(step, reason);
                }
            }
            Err(Trouble::Failed(message)) => {
                self.tried.not_yet.remove(step.name());
                self.give_up(step, message);
            }
        }
    }

    fn give_up(&mut self, step: &Step, message: String) {
        tracing::warn!(error = %message, "{step}: not done");
        self.tried.in_vain.insert(step.name(), message);
        self.waiting = None;
    }

    /// Sleeps a moment; false when waiting for this (`name`) has lasted for `patience`, or the run has waited enough. `reason`
    /// tells the operator of it, and may change.
    async fn wait(&mut self, name: &'static str, reason: &str, patience: Duration) -> bool {
        let since = match &self.waiting {
            Some((since, same)) if *same == name => *since,
            _ => Instant::now(),
        };
        self.waiting = Some((since, name));
        if self.waited.add_until(Instant::now()) > WAITING_MAX || since.elapsed() > patience {
            return false;
        }
        self.tell(since, reason).await;
        // Units of one application start together; their numbers keep them from asking together for ever.
        let pause = Duration::from_millis(200 + u64::from(self.facts.unit.number() % 8) * 15);
        tokio::time::sleep(pause).await;
        true
    }

    async fn tell(&mut self, since: Instant, reason: &str) {
        if self.told || since.elapsed() < TELL_AFTER {
            return;
        }
        self.told = true;
        let status = Status::waiting(reason.to_owned());
        if let Err(error) = self.tools.status_set(&status).await {
            tracing::debug!(error = %error, "the status could not be shown");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_decided_a_third_time_in_a_row_has_no_effect() {
        let (start, stop) = (Step::StartService, Step::StopService);
        let mut steps = Steps::default();
        steps.add(&start);
        assert!(!steps.is_without_effect(&start), "it may be needed twice");
        steps.add(&start);
        assert!(steps.is_without_effect(&start) && !steps.is_without_effect(&stop));
        steps.add(&stop);
        assert!(!steps.is_without_effect(&start), "something else was done since");
        assert_eq!(steps.count, 3);
    }

    #[test]
    fn looking_counts_as_waiting_and_work_does_not() {
        let begun = Instant::now();
        let at = |second: u64| begun + Duration::from_secs(second);
        let mut waited = Waited::default();
        assert_eq!(waited.add_until(at(5)), Duration::ZERO);
        assert_eq!(waited.add_until(at(8)), Duration::from_secs(3));
        waited.pause();
        assert_eq!(waited.add_until(at(60)), Duration::from_secs(3));
        assert_eq!(waited.add_until(at(61)), Duration::from_secs(4));
    }
}
