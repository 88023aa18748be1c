//! `juju exec`: a command line in a hook context without a hook.

use std::time::Duration;

use tokio::sync::oneshot;

use super::context::Context;
use super::run::Ending;
use super::{Agent, commit, kill_tree};

/// What a command wrote and how it ended.
#[derive(Debug, Clone, Default)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; negative when a signal ended it.
    pub code: i32,
}

/// A command to run.
#[derive(Debug)]
pub struct ExecRequest {
    /// Its words; a first word without a slash is searched in the `PATH` of hooks.
    pub command: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<ExecOutput, String>>,
}

impl Agent {
    pub(super) async fn exec(&mut self, request: ExecRequest) {
        let machine =
            self.engine.store.read(|model| model.units.get(&self.unit).map(|unit| unit.machine.clone()));
        let lock = self.engine.machine_lock(&machine.unwrap_or_default());
        let held = lock.lock().await;
        let context = self.engine.store.read(|model| Context::new(model, &self.unit, "run-commands"));
        let context = Context { member_bags: std::mem::take(&mut self.member_bags), ..context };
        let (program, arguments) = match request.command.split_first() {
            Some((program, arguments)) if program.contains('/') => (program.as_str(), arguments),
            _ => ("/usr/bin/env", request.command.as_slice()),
        };
        let runtime = std::sync::Arc::clone(&self.runtime);
        let timeout = request.timeout;
        let watchdog = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(context) = runtime.context.lock().await.as_mut() {
                context.was_killed = true;
                context.pid.into_iter().for_each(kill_tree);
            }
        });
        let mut ended = self.execute(context, program, arguments, None).await;
        self.member_bags = std::mem::take(&mut ended.context.member_bags);
        watchdog.abort();
        drop(held);
        self.engine.store.update(|model| {
            if let Some(unit) = model.units.get_mut(&self.unit) {
                unit.agent.context = None;
            }
        });
        let mut output = ExecOutput {
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
            code: 0,
        };
        let answer = match ended.ending {
            _ if ended.context.was_killed => Err(format!("timed out after {timeout:?}")),
            Ending::NotStarted(error) => Err(format!("cannot start the command: {error}")),
            Ending::Code(code) => {
                output.code = code;
                let flushed = if code == 0 {
                    self.engine.store.try_update(|model| commit::flush(model, &ended.context))
                } else {
                    Ok(())
                };
                flushed.map(|()| output)
            }
            Ending::Signal(signal) => Ok(ExecOutput { code: -signal, ..output }),
        };
        // Who asked may have gone away.
        let _ = request.reply.send(answer);
    }
}
