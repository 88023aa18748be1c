//! One hook: begun, run, and then committed, failed, or put back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{MachineState, Model};

use super::context::{Context, Reboot};
use super::run::{Ended, Ending};
use super::state::{Hook, HookKind, Pending, Stage};
use super::{Agent, commit, environment, log, with_jitter};

/// First pause before a failed hook is tried again, ms; it doubles up to [`RETRY_MAX_MS`].
const RETRY_FIRST_MS: u64 = 5_000;
const RETRY_MAX_MS: u64 = 300_000;

/// Which program serves a hook or action.
pub(super) enum Program {
    /// This one, a path inside of the machine.
    At(String),
    /// None; the charm does not care.
    Missing,
    /// One that cannot be run.
    Unusable(String),
}

/// How a hook ended.
enum Outcome {
    Success,
    Failure(String),
    /// It is to be run again as if it had never begun.
    Again,
}

impl Agent {
    /// Runs a hook to whatever end. The error is for those who asked for this hook.
    pub(super) async fn run_hook(&mut self, hook: Hook) -> Result<(), String> {
        let name = hook.name();
        self.begin(&hook);
        let machine =
            self.engine.store.read(|model| model.units.get(&self.unit).map(|unit| unit.machine.clone()));
        let lock = self.engine.machine_lock(&machine.clone().unwrap_or_default());
        let held = lock.lock().await;
        let dispatch_path = format!("hooks/{name}");
        let (outcome, reboot) = match self.program(&dispatch_path) {
            Program::Missing => (self.commit(&hook, None), Reboot::None),
            Program::Unusable(why) => (Outcome::Failure(why), Reboot::None),
            Program::At(program) => {
                let bags = std::mem::take(&mut self.member_bags);
                let context =
                    self.engine.store.read(|model| Context::for_hook(model, &self.unit, hook.clone(), bags));
                let mut ended = self.execute(context, &program, &[], Some(&dispatch_path)).await;
                self.member_bags = std::mem::take(&mut ended.context.member_bags);
                let reboot = ended.context.reboot;
                (self.judge(&hook, ended), reboot)
            }
        };
        if hook.kind == HookKind::StorageDetaching && matches!(outcome, Outcome::Success) {
            self.detach(hook.storage.as_deref().unwrap_or_default()).await;
        }
        drop(held);
        if hook.kind == HookKind::UpdateStatus {
            self.plan_update_status();
        }
        let result = self.end(&hook, &name, outcome);
        let reboots = reboot == Reboot::Now || (reboot == Reboot::After && result.is_ok());
        if let Some(machine) = machine.filter(|_| reboots)
            && let Err(error) = self.engine.reboot(&machine, self.machine.as_ref()).await
        {
            log(&self.engine, &self.unit, "ERROR", "juju.worker.reboot", &format!("{error:#}"));
        }
        result
    }

    /// Notes that the hook has begun, and what the agent says of it.
    fn begin(&mut self, hook: &Hook) {
        self.retry_at = None;
        self.engine.store.update(|model| {
            let now = model.now_ms();
            let Some(unit) = model.units.get_mut(&self.unit) else { return };
            let failures = unit.agent.pending.as_ref().map_or(0, |pending| pending.failures);
            unit.agent.pending =
                Some(Pending { hook: hook.clone(), stage: Stage::Running, failures, failed_ms: now });
            unit.resolution = None;
            unit.agent_status =
                crate::model::StatusEntry::new("executing", &format!("running {} hook", hook.name()), now);
            match hook.kind {
                HookKind::Install if !unit.workload_was_set => {
                    unit.announce("maintenance", "installing charm software", now)
                }
                HookKind::Stop => unit.announce("maintenance", "stopping charm software", now),
                HookKind::Remove => unit.announce("maintenance", "cleaning up prior to charm deletion", now),
                HookKind::Start => unit.agent.rebooted = false,
                HookKind::LeaderElected => unit.agent.leads = true,
                _ => {}
            }
        });
    }

    /// Finds what to run: `dispatch` for everything, else a program of the hook's or action's own.
    pub(super) fn program(&self, dispatch_path: &str) -> Program {
        let on_host = self.directory().join("charm");
        let inside = environment::charm_directory(&self.unit);
        if !on_host.join("metadata.yaml").exists() {
            return Program::Unusable("charm missing from disk".to_owned());
        }
        for candidate in ["dispatch", dispatch_path] {
            let Ok(metadata) = on_host.join(candidate).metadata() else { continue };
            if metadata.is_dir() || metadata.permissions().mode() & 0o111 == 0 {
                return Program::Unusable(format!("fork/exec {inside}/{candidate}: permission denied"));
            }
            return Program::At(format!("{inside}/{candidate}"));
        }
        Program::Missing
    }

    fn judge(&self, hook: &Hook, ended: Ended) -> Outcome {
        let context = &ended.context;
        if context.was_killed {
            return Outcome::Failure("signal: killed".to_owned());
        }
        if context.reboot == Reboot::Now {
            return Outcome::Again;
        }
        match ended.ending {
            Ending::Code(0) => self.commit(hook, Some(context)),
            // The agent went down with the machine: when it is back, the hook counts as failed.
            _ if self.machine_is(&MachineState::Down) => Outcome::Failure("the machine went down".to_owned()),
            _ if self.machine_is(&MachineState::Restarting) => Outcome::Again,
            Ending::Signal(9 | 15) => Outcome::Again,
            Ending::Code(code) => Outcome::Failure(format!("exit status {code}")),
            Ending::Signal(signal) => Outcome::Failure(format!("signal: {signal}")),
            Ending::NotStarted(error) => Outcome::Failure(format!("cannot start: {error}")),
        }
    }

    fn machine_is(&self, state: &MachineState) -> bool {
        self.engine.store.read(|model| {
            let machine = model.units.get(&self.unit).and_then(|unit| model.machines.get(&unit.machine));
            machine.is_some_and(|machine| machine.state == *state)
        })
    }

    fn commit(&self, hook: &Hook, context: Option<&Context>) -> Outcome {
        let flushed = self.engine.store.try_update(|model: &mut Model| {
            if let Some(context) = context {
                commit::flush(model, context)?;
            }
            commit::finish(model, &self.unit, hook);
            Ok::<(), String>(())
        });
        match flushed {
            Ok(()) => Outcome::Success,
            Err(error) => Outcome::Failure(format!("cannot apply changes: {error}")),
        }
    }

    fn end(&mut self, hook: &Hook, name: &str, outcome: Outcome) -> Result<(), String> {
        let unit = self.unit.clone();
        match outcome {
            Outcome::Success => {
                log(
                    &self.engine,
                    &unit,
                    "INFO",
                    "juju.worker.uniter.operation",
                    &format!("ran {name:?} hook"),
                );
                Ok(())
            }
            Outcome::Again => {
                self.leave(hook, Stage::Queued);
                log(
                    &self.engine,
                    &unit,
                    "INFO",
                    "juju.worker.uniter.operation",
                    &format!("hook {name:?} will run again"),
                );
                Err(format!("hook {name:?} will run again"))
            }
            Outcome::Failure(why) => {
                let failures = self.leave(hook, Stage::Failed);
                self.plan_retry(failures);
                let message = format!("hook {name:?} failed: {why}");
                log(&self.engine, &unit, "ERROR", "juju.worker.uniter.operation", &message);
                Err(message)
            }
        }
    }

    /// Leaves the hook as not done, and returns how often it has failed in a row.
    fn leave(&self, hook: &Hook, stage: Stage) -> u32 {
        self.engine.store.update(|model| {
            let now = model.now_ms();
            let Some(unit) = model.units.get_mut(&self.unit) else { return 0 };
            let before = unit.agent.pending.as_ref().map_or(0, |pending| pending.failures);
            let failures = if stage == Stage::Failed { before + 1 } else { before };
            unit.agent.pending = Some(Pending { hook: hook.clone(), stage, failures, failed_ms: now });
            unit.agent.context = None;
            failures
        })
    }

    /// Plans the next try of a hook that has failed so many times.
    pub(super) fn plan_retry(&mut self, failures: u32) {
        let set = |name| self.engine.store.read(|model| model.duration_setting(name));
        let first = set("hook-retry-initial").unwrap_or(RETRY_FIRST_MS);
        let longest = set("hook-retry-max").unwrap_or(RETRY_MAX_MS);
        let factor = 2u64.saturating_pow(failures.saturating_sub(1));
        let pause = first.saturating_mul(factor).min(longest);
        self.retry_at = Some(Instant::now() + Duration::from_millis(with_jitter(pause)));
    }
}
