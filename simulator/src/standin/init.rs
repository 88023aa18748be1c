//! First process of a light machine: takes over the prepared root, buries orphans, manages services, shuts down in order.
//! Invariant: it says that it is ready only when programs can be run and services be asked for.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use super::journal::{self, Journal};
use super::service::manager::Manager;
use super::service::protocol::SOCKET;
use super::service::spawn::Reaper;
use super::service::unit::Host;
use super::units::files::UnitFiles;
use crate::machine::local::{light, mounts};

/// `machine-init ROOT`: never returns while the machine is on.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let new_root = arguments.first().context("cannot start without a root")?;
    // While the host's own /proc is still seen: this process's number there.
    let pid = std::fs::read_link("/proc/self").context("cannot find the own process")?;
    light::mount_proc(Path::new(new_root))?;
    mounts::enter_root(Path::new(new_root))?;
    // What is mounted later is seen by the services that have a view of their own (strict snaps).
    mounts::share()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(&pid.display().to_string()))
}

async fn run(pid: &str) -> Result<ExitCode> {
    let mut child_ended = signal(SignalKind::child()).context("cannot watch processes")?;
    let mut end = signal(SignalKind::terminate()).context("cannot watch for the end")?;
    let listener = UnixListener::bind(SOCKET).with_context(|| format!("cannot listen on {SOCKET}"))?;
    // Every user may ask how services are; who may change them is the manager's decision.
    std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o666))
        .with_context(|| format!("cannot open {SOCKET} to all users"))?;
    let host = Rc::new(Host {
        files: UnitFiles::system(),
        reaper: Reaper::default(),
        journal: RefCell::new(Journal::open(Path::new(journal::PATH))),
        units: RefCell::default(),
        started: Instant::now(),
        notify: "/run/systemd/notify".into(),
        jobs: Cell::default(),
    });
    let manager = Manager { host: host.clone() };
    tokio::task::spawn_local(async move {
        while child_ended.recv().await.is_some() {
            host.reaper.reap();
        }
    });
    if let Some(place) = manager.mount_all().await {
        // A real machine stops in emergency mode here, without network: for a charm it never comes back.
        say(&format!("emergency mode: {place} of /etc/fstab cannot be mounted"))?;
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("ready {pid}"))?;
    manager.start_enabled();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let manager = manager.clone();
                // A client that goes away early takes only its own answer with it.
                tokio::task::spawn_local(async move { drop(manager.serve(stream).await) });
            },
            _ = end.recv() => {
                manager.stop_everything().await;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Tell whoever boots this machine.
fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot report the boot")
}
