//! The controller of one model: a daemon that keeps the model, runs its agents and answers the command line.
//!
//! Invariant: everything that matters is in the model's directory. When the daemon is killed, the next one loads the
//! state, finds the machines (they live on), ends what is left of running hooks and counts these as failed.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::agent::{self, Engine};
use crate::machine::Machines;
use crate::model::log::Log;
use crate::model::{JujuVersion, Model, Network, Store};

mod applications;
mod configuration;
mod connection;
mod lab;
mod report;
mod requests;
mod resources;
mod show;
mod storage;
mod tasks;
mod units;
mod wait;

/// Name of the socket in the model's directory.
pub const SOCKET_NAME: &str = "controller.sock";

/// How long an agent that cannot go on waits before it tries again.
const AGENT_PAUSE: Duration = Duration::from_secs(3);

/// What a controller is started with.
pub struct Options {
    /// The Juju that a new model imitates; a model that exists keeps its own.
    pub juju_version: JujuVersion,
    /// The network of a new model.
    pub network: Network,
    /// What makes machines.
    pub machines: Arc<dyn Machines>,
    /// The program that hook tools are links to: juju-sim itself.
    pub tool_program: PathBuf,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Options").field("juju_version", &self.juju_version).finish_non_exhaustive()
    }
}

/// The directory of a model.
pub fn model_directory(home: &Path, model: &str) -> PathBuf {
    home.join("models").join(model)
}

/// Makes a directory that nobody but its owner enters: keys and secrets of the model are in its files.
///
/// # Errors
/// It cannot be made.
pub fn make_private(directory: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// Serves a model until it is destroyed.
///
/// # Errors
/// Another controller serves it already, its state cannot be read, or its directory cannot be written.
pub async fn serve(home: &Path, name: &str, options: Options) -> Result<()> {
    let directory = model_directory(home, name);
    make_private(&directory)?;
    let lock =
        fs::File::create(directory.join("controller.lock")).context("cannot make the controller's lock")?;
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        bail!("cannot serve model {name:?}: another controller does");
    };
    let state = directory.join("state.json");
    let model =
        Store::load(&state)?.unwrap_or_else(|| Model::new(name, options.juju_version, options.network));
    let store = Store::new(model, state)?;
    let log = Log::open(directory.join("log.jsonl"))?;
    let engine = Arc::new(Engine::new(store, log, directory.clone(), options.tool_program, options.machines));
    write_pid(&directory)?;
    let listener = agent::bind(&directory, SOCKET_NAME)?;
    engine.log.write("controller", "INFO", "juju.controller", "started");
    let agents = tokio::spawn(supervise(Arc::clone(&engine)));
    let leases = tokio::spawn(keep_time(Arc::clone(&engine)));
    let (end, mut ends) = mpsc::unbounded_channel();
    let mut connections = JoinSet::new();
    let reply = loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection::serve(Arc::clone(&engine), stream, end.clone()));
            },
            Some(reply) = ends.recv() => break reply,
            Some(_) = connections.join_next() => {}
        }
    };
    agents.abort();
    leases.abort();
    let outcome = destroy(&engine, &directory).await;
    let text = outcome.as_ref().map_err(|error| format!("{error:#}")).copied();
    // The asker may have gone away; the model is gone all the same.
    let _ = reply.send(text);
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    outcome
}

/// A request to end the model, and where the answer goes.
type End = oneshot::Sender<Result<(), String>>;

async fn destroy(engine: &Engine, directory: &Path) -> Result<()> {
    engine.destroy_all().await.context("cannot end all machines")?;
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Writes `PID START-TIME`, so that nobody takes another process of the same number for this one.
fn write_pid(directory: &Path) -> Result<()> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let start_time = fields.split_whitespace().nth(19).unwrap_or("0");
    let text = format!("{} {start_time}\n", std::process::id());
    fs::write(directory.join("controller.pid"), text).context("cannot write the controller's process id")
}

/// Keeps one agent running for every unit.
async fn supervise(engine: Arc<Engine>) {
    let mut changes = engine.store.watch();
    let mut agents = JoinSet::new();
    loop {
        changes.borrow_and_update();
        let units: Vec<String> = engine.store.read(|model| model.units.keys().cloned().collect());
        for unit in units {
            if let Some((runtime, requests)) = engine.add_runtime(&unit) {
                agents.spawn(agent::run(Arc::clone(&engine), runtime, requests, AGENT_PAUSE));
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            Some(_) = agents.join_next() => {}
        }
    }
}

/// Ends leases and wakes agents when time makes a lease or a secret due.
async fn keep_time(engine: Arc<Engine>) {
    let mut changes = engine.store.watch();
    loop {
        engine.store.settle(Model::settle_leases);
        changes.borrow_and_update();
        let (now, due) = engine.store.read(|model| {
            let dues = model.next_lease_end_ms().into_iter().chain(model.next_secret_due_ms());
            (model.now_ms(), dues.min())
        });
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep(Duration::from_millis(due.saturating_sub(now).max(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep => engine.store.wake(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its own, though somebody had made it before.
    #[tokio::test]
    async fn a_models_directory_and_its_sockets_are_their_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = model_directory(home.path(), "m");
        make_private(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&directory).unwrap();
        let _listener = agent::bind(&directory, SOCKET_NAME).unwrap();
        assert_eq!((mode(&directory), mode(&directory.join(SOCKET_NAME))), (0o700, 0o600));
    }
}
