//! Unit agents: one task per unit that does, one after the other, what [`resolver::next`] says. Invariant: everything
//! that must outlive the task is in the model; a new task for the same unit goes on where the last one ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::machine::Machine;
use crate::model::{Life, MachineState, StatusEntry};

mod action;
pub mod commit;
pub mod context;
mod engine;
mod environment;
mod exec;
mod files;
mod hook;
mod process;
pub mod relations;
pub mod resolver;
mod run;
mod server;
pub mod state;

pub use engine::{Engine, RunCalls, UnitRuntime};
pub use exec::{ExecOutput, ExecRequest};
pub use process::kill_tree;
pub use server::bind;

use context::Settings;
use resolver::{Due, Operation};
use state::{Hook, HookKind};

/// Default of the model option `update-status-hook-interval`, ms.
const UPDATE_STATUS_MS: u64 = 300_000;

/// What others ask of an agent.
#[derive(Debug)]
pub enum AgentRequest {
    /// Run a program in a hook context.
    Exec(ExecRequest),
    /// Run update-status next, and tell when it is done (or why not).
    UpdateStatus(oneshot::Sender<Result<(), String>>),
}

/// The agent of one unit.
struct Agent {
    engine: Arc<Engine>,
    unit: String,
    runtime: Arc<UnitRuntime>,
    machine: Arc<dyn Machine>,
    requests: mpsc::UnboundedReceiver<AgentRequest>,
    changes: watch::Receiver<u64>,
    /// When a failed hook is tried again.
    retry_at: Option<Instant>,
    update_status_at: Instant,
    member_bags: BTreeMap<(u64, String), Settings>,
}

/// Runs the agent of a unit until the unit is gone. When it cannot go on it ends after `pause`, and may be run again.
pub async fn run(
    engine: Arc<Engine>,
    runtime: Arc<UnitRuntime>,
    requests: mpsc::UnboundedReceiver<AgentRequest>,
    pause: Duration,
) {
    let unit = runtime.unit.clone();
    if let Err(error) = run_to_end(Arc::clone(&engine), runtime, requests).await {
        log(&engine, &unit, "ERROR", "juju.worker.uniter", &format!("{error:#}"));
        // A unit without a working machine has no hooks to run when it is to go.
        let is_over = engine.store.read(|model| {
            model.units.get(&unit).is_some_and(|unit| unit.life == Life::Dying && !unit.agent.installed)
        });
        if is_over && let Some(machine) = engine.store.update(|model| model.drop_unit(&unit)) {
            // What remains of a machine that could not be made is taken away with the model.
            let _ = engine.destroy_machine(&machine).await;
        }
        tokio::time::sleep(pause).await;
    }
    engine.forget_runtime(&unit);
    engine.store.wake();
}

async fn run_to_end(
    engine: Arc<Engine>,
    runtime: Arc<UnitRuntime>,
    requests: mpsc::UnboundedReceiver<AgentRequest>,
) -> Result<()> {
    let unit = runtime.unit.clone();
    let changes = engine.store.watch();
    let Some(machine) = engine.machine_of(&unit).await? else { return Ok(()) };
    let now = Instant::now();
    let mut agent = Agent {
        engine,
        unit,
        runtime,
        machine,
        requests,
        changes,
        retry_at: None,
        update_status_at: now,
        member_bags: BTreeMap::new(),
    };
    agent.plan_update_status();
    agent.prepare().await?;
    let server = server::listen(Arc::clone(&agent.engine), Arc::clone(&agent.runtime), &agent.directory())?;
    agent.recover();
    let result = agent.turn_until_gone().await;
    server.abort();
    result
}

impl Agent {
    async fn turn_until_gone(&mut self) -> Result<()> {
        loop {
            self.changes.borrow_and_update();
            let Some(is_up) = self.engine.store.read(|model| {
                let unit = model.units.get(&self.unit)?;
                Some(
                    model
                        .machines
                        .get(&unit.machine)
                        .is_some_and(|machine| machine.state == MachineState::Started),
                )
            }) else {
                return Ok(());
            };
            if !is_up {
                self.show("lost", "agent is not communicating with the server");
                self.wait(None).await;
                continue;
            }
            let unit = self.unit.clone();
            self.engine.store.settle(|model| commit::settle(model, &unit));
            if let Ok(request) = self.requests.try_recv() {
                self.answer(request).await;
                continue;
            }
            let due = self.due();
            let next = self
                .engine
                .store
                .read(|model| model.units.get(&self.unit).and_then(|unit| resolver::next(model, unit, due)));
            match next {
                Some(Operation::Finish) => return self.finish().await,
                Some(operation) => self.perform(operation).await,
                None => {
                    self.show("idle", "");
                    self.wait(self.next_due(due)).await;
                }
            }
        }
    }

    fn due(&self) -> Due {
        let now = Instant::now();
        let retries = self.engine.store.read(|model| model.is_enabled("automatically-retry-hooks"));
        Due {
            retry: retries && self.retry_at.is_some_and(|at| at <= now),
            update_status: self.update_status_at <= now,
        }
    }

    /// When time makes something else due than what was due already. What became due since lies in the past.
    fn next_due(&self, due: Due) -> Option<Instant> {
        let retries = self.engine.store.read(|model| {
            let is_failed =
                model.units.get(&self.unit).is_some_and(|unit| unit.agent.failed_hook().is_some());
            is_failed && model.is_enabled("automatically-retry-hooks")
        });
        let retry_at = self.retry_at.filter(|_| retries && !due.retry);
        let update_status_at = Some(self.update_status_at).filter(|_| !due.update_status);
        retry_at.into_iter().chain(update_status_at).min()
    }

    /// Waits for a change of the model, a request, or the time `deadline`.
    async fn wait(&mut self, deadline: Option<Instant>) {
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender lives in the engine, which this agent holds.
            _ = self.changes.changed() => {}
            Some(request) = self.requests.recv() => self.answer(request).await,
            () = sleep => {}
        }
    }

    async fn answer(&mut self, request: AgentRequest) {
        match request {
            AgentRequest::Exec(request) => self.exec(request).await,
            AgentRequest::UpdateStatus(reply) => {
                let can_run = self.engine.store.read(|model| {
                    model.units.get(&self.unit).is_some_and(|unit| {
                        let is_up = model
                            .machines
                            .get(&unit.machine)
                            .is_some_and(|m| m.state == MachineState::Started);
                        is_up
                            && unit.agent.started
                            && unit.agent.pending.is_none()
                            && unit.life == Life::Alive
                    })
                });
                let outcome = if can_run {
                    self.run_hook(Hook::plain(HookKind::UpdateStatus)).await
                } else {
                    Err("cannot run update-status: the unit is not started, or a hook failed or waits"
                        .to_owned())
                };
                // Who asked may have gone away.
                let _ = reply.send(outcome);
            }
        }
    }

    async fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Hook(hook) => {
                // A failure is shown in the unit's status.
                let _ = self.run_hook(hook).await;
            }
            Operation::Repeat => {
                let unit = self.unit.clone();
                let pending = self.engine.store.read(|model| model.units.get(&unit)?.agent.pending.clone());
                if let Some(pending) = pending {
                    let _ = self.run_hook(pending.hook).await;
                }
            }
            Operation::Skip => self.engine.store.update(|model| {
                let pending = model.units.get(&self.unit).and_then(|unit| unit.agent.pending.clone());
                if let Some(pending) = pending {
                    commit::finish(model, &self.unit, &pending.hook);
                }
            }),
            Operation::Upgrade => self.upgrade().await,
            Operation::ReplaceFiles => self.replace_files_under_hook(),
            Operation::Action(task) => self.run_action(task).await,
            Operation::Provision(storage) => self.provision(&storage).await,
            Operation::Finish => {}
        }
    }

    /// Shows what the agent does.
    fn show(&self, current: &str, message: &str) {
        self.engine.store.settle(|model| {
            let now = model.now_ms();
            let Some(unit) = model.units.get_mut(&self.unit) else { return false };
            let is_same = unit.agent_status.current == current && unit.agent_status.message == message;
            if !is_same {
                unit.agent_status = StatusEntry::new(current, message, now);
            }
            !is_same
        });
    }

    /// Sets the time of the next update-status: the interval of the model, up to a fifth longer or shorter.
    fn plan_update_status(&mut self) {
        let interval = self
            .engine
            .store
            .read(|model| model.duration_setting("update-status-hook-interval"))
            .unwrap_or(UPDATE_STATUS_MS);
        self.update_status_at = Instant::now() + Duration::from_millis(with_jitter(interval));
    }

    /// The last turn: the unit leaves the model, and its machine goes when nobody else is on it.
    async fn finish(&mut self) -> Result<()> {
        self.detach_all().await;
        let machine = self.engine.store.update(|model| model.drop_unit(&self.unit));
        if let Some(machine) = machine {
            self.engine.destroy_machine(&machine).await?;
        }
        Ok(())
    }
}

/// A duration, up to a fifth longer or shorter.
fn with_jitter(ms: u64) -> u64 {
    let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    ms * 4 / 5 + ms * 2 / 5 * random / 255
}

/// Logs in the name of a unit's agent.
fn log(engine: &Engine, unit: &str, level: &str, module: &str, message: &str) {
    engine.log.write(&crate::model::unit_tag(unit), level, module, message);
}
