//! One process of a hook, an action or `exec`: started, listened to, waited for.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;

use super::context::Context;
use super::{Agent, Engine, RunCalls, environment, log};

/// How long output is still read after the process has ended; a background child may hold the pipe for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);

/// How a process ended.
#[derive(Debug)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It was never started.
    NotStarted(io::Error),
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote.
    pub stderr: Vec<u8>,
    /// The run that it was, with the wishes of its tools.
    pub context: Context,
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Code(1),
        }
    }
}

impl Agent {
    /// Runs a program of the machine as the process of `context`, and waits for its end.
    pub(super) async fn execute(
        &mut self,
        mut context: Context,
        program: &str,
        arguments: &[String],
        dispatch_path: Option<&str>,
    ) -> Ended {
        let run_name = context.run_name();
        self.arm(&mut context, &run_name);
        let variables = self.engine.store.read(|model| environment::build(model, &context, dispatch_path));
        let charm_directory = environment::charm_directory(&self.unit);
        self.engine.store.update(|model| {
            if let Some(unit) = model.units.get_mut(&self.unit) {
                unit.agent.context = Some(context.id.clone());
            }
        });
        let mut command = self.machine.command(Path::new(program), Path::new(&charm_directory));
        command.args(arguments).envs(variables);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let runtime = Arc::clone(&self.runtime);
        // Held over the start, so that no tool is served before the process id is known.
        let mut current = runtime.context.lock().await;
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                return Ended {
                    ending: Ending::NotStarted(error),
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                    context,
                };
            }
        };
        context.pid = child.id();
        *current = Some(context);
        drop(current);
        let module = format!("unit.{}.{run_name}", self.unit);
        let stdout = Output::read(&self.engine, &self.unit, "DEBUG", &module, child.stdout.take());
        let stderr = Output::read(&self.engine, &self.unit, "WARNING", &module, child.stderr.take());
        let mut changes = self.engine.store.watch();
        let ending = loop {
            tokio::select! {
                ended = child.wait() => break ended.map_or_else(Ending::NotStarted, Ending::from),
                Ok(()) = changes.changed() => self.provision_meanwhile().await,
            }
        };
        let mut context = runtime.context.lock().await.take().unwrap_or_default();
        let calls = std::mem::take(&mut context.called);
        runtime.note_run(RunCalls { run: run_name.clone(), calls });
        if context.kill.is_some() && !context.was_killed {
            self.note_survival(&run_name);
        }
        Ended { ending, stdout: stdout.end().await, stderr: stderr.end().await, context }
    }

    /// Takes up a planned kill that is meant for this run.
    fn arm(&self, context: &mut Context, run_name: &str) {
        let mut plan = self.runtime.kill_plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(planned) = plan.take() {
            (context.kill, *plan) = planned.take(run_name);
        }
    }

    /// A run has come through that a kill was planned for.
    fn note_survival(&self, run_name: &str) {
        let mut plan = self.runtime.kill_plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plan.as_mut() {
            plan.note_survival(run_name);
        }
    }
}

/// A stream of output that is logged line by line, and kept.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Output {
    fn read<R>(engine: &Arc<Engine>, unit: &str, level: &'static str, module: &str, stream: Option<R>) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let (engine, unit, module) = (Arc::clone(engine), unit.to_owned(), module.to_owned());
        let task = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut buffer = vec![0; 16_384];
            let mut line = Vec::new();
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let chunk = &buffer[..count];
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk);
                for byte in chunk {
                    if *byte == b'\n' {
                        log(&engine, &unit, level, &module, &String::from_utf8_lossy(&line));
                        line.clear();
                    } else {
                        line.push(*byte);
                    }
                }
            }
            if !line.is_empty() {
                log(&engine, &unit, level, &module, &String::from_utf8_lossy(&line));
            }
        });
        Self { bytes, task }
    }

    /// What was written until the process ended, and shortly after.
    async fn end(mut self) -> Vec<u8> {
        if tokio::time::timeout(OUTPUT_GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
