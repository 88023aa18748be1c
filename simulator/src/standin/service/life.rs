//! The life of a service from the start that was asked for until it is at rest: activations, one after the other, as far as
//! `Restart=` and the start limit go. Invariant: a stop that was asked for ends it, whatever `Restart=` says.

use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::limits::{Exit, Outcome, restarts};
use super::protocol::ProblemKind;
use super::state::Activity;
use super::unit::{Control, Host, Unit};
use crate::standin::units::spec::{Kind, ServiceSpec, UnitSpec, What};

/// `SubState=` between two activations.
const AUTO_RESTART: &str = "auto-restart";

/// A service that is not at rest.
#[derive(Debug)]
pub struct Life {
    pub host: Rc<Host>,
    pub unit: Rc<Unit>,
    control: mpsc::UnboundedReceiver<Control>,
    stopping: Vec<oneshot::Sender<()>>,
}

/// What came before a wait was over.
#[derive(Debug)]
pub enum Event {
    Exited(Exit),
    TimedOut,
    StopWanted,
}

impl Life {
    /// Begin the life of a service; it goes on in a task of its own.
    pub fn begin(host: &Rc<Host>, unit: &Rc<Unit>) {
        let (sender, control) = mpsc::unbounded_channel();
        *unit.control.borrow_mut() = Some(sender);
        let life = Self { host: host.clone(), unit: unit.clone(), control, stopping: Vec::new() };
        tokio::task::spawn_local(life.run());
    }

    async fn run(mut self) {
        while let Some((unit, service)) = self.spec() {
            if !self.activation(&unit, &service).await {
                break;
            }
        }
        // From here on the unit is at rest: a start that comes now begins a new life.
        self.unit.control.borrow_mut().take();
        self.unit.start_ended(&Some(ProblemKind::Canceled));
        while let Ok(late) = self.control.try_recv() {
            match late {
                Control::Stop(waiting) => self.stopping.push(waiting),
                Control::Reload(waiting) => drop(waiting.send(Some(ProblemKind::NotReloadable))),
                Control::StartNow => {}
            }
        }
        for waiting in self.stopping.drain(..) {
            waiting.send(()).ok();
        }
    }

    /// The unit's files as they were loaded last: a restart takes over what a daemon-reload brought.
    fn spec(&self) -> Option<(UnitSpec, ServiceSpec)> {
        let unit = self.unit.spec()?;
        let What::Service(service) = &unit.what else { return None };
        let service = (**service).clone();
        Some((unit, service))
    }

    /// One activation; whether another is to follow.
    async fn activation(&mut self, unit: &UnitSpec, service: &ServiceSpec) -> bool {
        let allowed =
            self.unit.limit.borrow_mut().allows(self.host.uptime(), unit.limit_interval, unit.limit_burst);
        self.unit.state.borrow_mut().got_up = false;
        if !allowed {
            self.log("Start request repeated too quickly.");
            self.set_outcome(Outcome::StartLimitHit);
            self.rest(&self.unit.label_by(unit));
            return false;
        }
        {
            let mut state = self.unit.state.borrow_mut();
            state.outcome = Outcome::Success;
            if state.sub != AUTO_RESTART {
                state.restarts = 0;
            }
        }
        if service.kind != Kind::Simple || !service.start_pre.is_empty() {
            self.host.log(&self.unit.name, format!("Starting {}...", self.unit.label_by(unit)));
        }
        let exit = self.activate(service).await;
        let outcome = self.outcome();
        if !self.stop_wanted() && restarts(service, outcome, exit) {
            self.announce_end(&self.unit.label_by(unit));
            return self.wait_for_restart(unit, service).await;
        }
        self.rest(&self.unit.label_by(unit));
        false
    }

    /// Come to rest, well or failed.
    fn rest(&mut self, label: &str) {
        let outcome = self.outcome();
        self.announce_end(label);
        if outcome == Outcome::Success {
            self.unit.state.borrow_mut().set(Activity::Inactive, "dead");
        } else {
            self.unit.state.borrow_mut().set(Activity::Failed, "failed");
        }
        if self.stop_wanted() {
            self.host.log(&self.unit.name, format!("Stopped {label}."));
        }
    }

    /// Say how the activation ended, to the journal and to whoever waits for the start.
    fn announce_end(&self, label: &str) {
        let outcome = self.outcome();
        if outcome == Outcome::Success {
            self.log("Deactivated successfully.");
            self.unit.start_ended(&None);
        } else {
            self.log(format!("Failed with result '{}'.", outcome.text()));
            if !self.unit.state.borrow().got_up && !self.stop_wanted() {
                self.host.log(&self.unit.name, format!("Failed to start {label}."));
            }
            self.unit.start_ended(&Some(ProblemKind::Job(outcome.text().to_owned())));
        }
    }

    async fn wait_for_restart(&mut self, unit: &UnitSpec, service: &ServiceSpec) -> bool {
        self.unit.state.borrow_mut().set(Activity::Activating, AUTO_RESTART);
        let delay = service.restart_delay;
        let control = &mut self.control;
        let told = async {
            loop {
                match control.recv().await {
                    Some(Control::Reload(waiting)) => drop(waiting.send(Some(ProblemKind::NotReloadable))),
                    Some(Control::Stop(waiting)) => break Some(waiting),
                    // Who asks for a start meanwhile waits with it.
                    Some(Control::StartNow) => {}
                    None => break None,
                }
            }
        };
        tokio::select! {
            () = sleep(delay) => {}
            stop = told => if let Some(waiting) = stop {
                self.stopping.push(waiting);
                self.unit.state.borrow_mut().set(Activity::Inactive, "dead");
                return false;
            }
        }
        self.unit.state.borrow_mut().restarts += 1;
        let count = self.unit.state.borrow().restarts;
        self.log(format!("Scheduled restart job, restart counter is at {count}."));
        self.host.log(&self.unit.name, format!("Stopped {}.", self.unit.label_by(unit)));
        let Some(failed) = unit.failed_condition() else { return true };
        self.unit.state.borrow_mut().set(Activity::Inactive, "dead");
        let refused = self.host.refuse(&self.unit, &self.unit.label_by(unit), failed);
        self.unit.start_ended(&refused);
        false
    }

    /// Wait for the end of a process, at most `limit`, while listening to what is asked of the unit.
    pub async fn wait(
        &mut self,
        exit: &mut oneshot::Receiver<Exit>,
        limit: std::time::Duration,
        service: &ServiceSpec,
    ) -> Event {
        let mut reload = None;
        loop {
            let waited = timeout(limit, async {
                tokio::select! {
                    ended = &mut *exit => Event::Exited(ended.unwrap_or(Exit::Code(255))),
                    asked = self.control.recv() => match asked {
                        Some(Control::Stop(waiting)) => {
                            self.stopping.push(waiting);
                            Event::StopWanted
                        }
                        Some(Control::Reload(waiting)) => {
                            reload = Some(waiting);
                            Event::TimedOut
                        }
                        Some(Control::StartNow) | None => Event::TimedOut,
                    }
                }
            });
            match (waited.await, reload.take()) {
                (Ok(Event::TimedOut), Some(waiting)) => {
                    let result = self.reload(service).await;
                    drop(waiting.send(result));
                }
                // A start that was asked for twice is one start.
                (Ok(Event::TimedOut), None) => {}
                (Ok(event), _) => return event,
                (Err(_), _) => return Event::TimedOut,
            }
        }
    }

    /// Wait until a stop is asked for.
    pub async fn wait_for_stop(&mut self) {
        while let Some(asked) = self.control.recv().await {
            match asked {
                Control::Stop(waiting) => {
                    self.stopping.push(waiting);
                    return;
                }
                Control::Reload(waiting) => drop(waiting.send(Some(ProblemKind::NotReloadable))),
                Control::StartNow => {}
            }
        }
    }

    /// Whether a stop was asked for.
    pub fn stop_wanted(&self) -> bool {
        !self.stopping.is_empty()
    }

    /// How the activation stands.
    pub fn outcome(&self) -> Outcome {
        self.unit.state.borrow().outcome
    }

    /// Note a bad outcome; the first one stays.
    pub fn set_outcome(&self, outcome: Outcome) {
        let mut state = self.unit.state.borrow_mut();
        if state.outcome == Outcome::Success {
            state.outcome = outcome;
        }
    }

    /// A journal line that begins with the unit's name.
    pub fn log(&self, text: impl AsRef<str>) {
        self.host.log(&self.unit.name, format!("{}: {}", self.unit.name, text.as_ref()));
    }
}
