//! The machines of this host, each in namespaces of its own. A *light* one is an overlay over the host's root, booted in
//! milliseconds, without any other system than the host's own programs and the stand-ins of [`crate::standin`]; a *full* one
//! boots an image with systemd and snapd. Network, disk, faults and end are the same for both.
//!
//! Invariant: everything of a model lives in the namespaces of its *holder* process or below them, so ending that one
//! process ends every machine, mount and interface of the model, whoever else has died before.

mod block;
pub mod boot;
mod disk;
pub mod enter;
pub mod full;
pub mod holder;
mod inside;
pub(crate) mod light;
mod machine;
pub(crate) mod mounts;
mod network;
mod process;
mod record;
mod subnet;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

pub use machine::LocalMachine;
pub use subnet::Subnet;

use super::{Machine, MachineKind, MachineSpec, Machines};
use full::image::Image;
use process::ProcessId;
use record::Record;

/// What the machines of one model are made with.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Directory of the host that stands for the snap store: `<name>/<track>/<risk>.snap`.
    pub snap_store: PathBuf,
    /// Network of the model; [`Subnet::default`] is `10.213.0.0/24`. Models may share one: each has its own wire.
    pub subnet: Subnet,
    /// The juju-sim program that runs inside as first process and as stand-in.
    pub program: PathBuf,
    /// Where unpacked snaps are kept for all models, by the hash of the file.
    pub snap_cache: PathBuf,
    /// What full machines boot from.
    pub image: Image,
}

impl LocalOptions {
    /// The running program, the default network, and a snap cache in `<home>/cache/snaps`.
    pub fn new(home: &Path, snap_store: &Path, image: &Path) -> Result<Self> {
        Ok(Self {
            snap_store: snap_store.to_owned(),
            subnet: Subnet::default(),
            program: std::env::current_exe().context("cannot find the running program")?,
            snap_cache: home.join("cache/snaps"),
            image: Image::new(image),
        })
    }
}

/// What every machine of a model shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: LocalOptions,
    /// Held while the holder is looked for or started.
    holder: Mutex<()>,
}

impl Shared {
    /// The juju-sim program of this model: it stays the same while the model lives, even when the installed one changes.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("bin/juju-sim")
    }

    /// The holder that runs now, if any.
    pub(crate) fn running_holder(&self) -> Option<ProcessId> {
        record::read::<ProcessId>(&holder_file(&self.dir)).ok().flatten().filter(ProcessId::is_alive)
    }

    /// The holder; started when there is none.
    pub(crate) async fn holder(&self) -> Result<ProcessId> {
        let _guard = self.holder.lock().await;
        if let Some(holder) = self.running_holder() {
            return Ok(holder);
        }
        self.install_program()?;
        let line = holder::start(&self.program(), &self.dir).await?;
        record::write(&holder_file(&self.dir), &line)?;
        Ok(line)
    }

    fn install_program(&self) -> Result<()> {
        let target = self.program();
        if target.exists() {
            return Ok(());
        }
        let parent = self.dir.join("bin");
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let source = &self.options.program;
        // A second name for the file costs nothing; across file systems only a copy will do.
        std::fs::hard_link(source, &target)
            .or_else(|_| std::fs::copy(source, &target).map(drop))
            .with_context(|| format!("cannot place {} at {}", source.display(), target.display()))
    }

    pub(crate) fn machine_dir(&self, id: &str) -> PathBuf {
        self.dir.join("machines").join(id)
    }
}

/// The name of the model in this directory in each hierarchy of control groups.
fn cgroup_of(dir: &Path) -> PathBuf {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!("juju-sim-{name}"))
}

fn holder_file(dir: &Path) -> PathBuf {
    dir.join(holder::RECORD)
}

/// The machines of one model.
#[derive(Debug, Clone)]
pub struct LocalMachines {
    shared: Arc<Shared>,
}

impl LocalMachines {
    /// Machines whose files are under `model_dir`. Nothing is started yet.
    ///
    /// # Errors
    /// One sentence that says which right or program is missing on this host, and what to do about it.
    pub fn new(model_dir: &Path, options: LocalOptions) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "cannot make machines: this needs root (namespaces, mounts and a network of their own); run it with sudo"
            );
        }
        let check = std::process::Command::new(&options.program)
            .args(["network-holder", "check"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", options.program.display()))?;
        if !check.status.success() {
            bail!("{}", process::complaint(&check.stderr));
        }
        std::fs::create_dir_all(model_dir).with_context(|| format!("cannot make {}", model_dir.display()))?;
        let dir = model_dir.canonicalize().with_context(|| format!("cannot find {}", model_dir.display()))?;
        Ok(Self { shared: Arc::new(Shared { dir, options, holder: Mutex::new(()) }) })
    }

    /// The network of the model.
    pub fn subnet(&self) -> Subnet {
        self.shared.options.subnet
    }
}

#[async_trait]
impl Machines for LocalMachines {
    fn check(&self, kind: MachineKind) -> Result<()> {
        match kind {
            // That was found out when these machines were set up.
            MachineKind::Light => Ok(()),
            MachineKind::Full => full::check().and_then(|()| self.shared.options.image.check()),
        }
    }

    async fn create(&self, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        self.check(spec.kind)?;
        let machine = LocalMachine::create(self.shared.clone(), spec)?;
        machine.start().await?;
        Ok(Box::new(machine))
    }

    async fn adopt(&self, spec: MachineSpec) -> Result<Box<dyn Machine>> {
        Ok(Box::new(LocalMachine::adopt(self.shared.clone(), spec)?))
    }

    async fn destroy_all(&self) -> Result<()> {
        let dir = &self.shared.dir;
        let machines = dir.join("machines");
        let mut processes: Vec<ProcessId> = self.shared.running_holder().into_iter().collect();
        let mut made_inside = Vec::new();
        for directory in record::subdirectories(&machines)? {
            let record = record::read::<Record>(&directory.join("machine.json"))?;
            let Some(record) = record else { continue };
            let Some(keeper) = record.keeper.filter(ProcessId::is_alive) else { continue };
            let first = match record.kind {
                MachineKind::Light => Some(keeper.pid),
                MachineKind::Full => full::first_process(&keeper),
            };
            made_inside.extend(block::made_inside(first).await?);
            processes.push(keeper);
            processes.extend(first.map(ProcessId::of).and_then(Result::ok));
        }
        for process in &processes {
            process.kill()?;
        }
        // The holder, which is first, stays until the machines below it have ended.
        for process in processes.iter().rev() {
            process.wait_gone(process::DEATH_LIMIT).await?;
        }
        full::remove_cgroups(&cgroup_of(dir))?;
        block::detach_each(made_inside).await?;
        block::detach_all_under(dir).await?;
        for name in ["machines", "blocks", "bin"] {
            record::remove_tree(&dir.join(name))?;
        }
        for name in [holder::RECORD, "holder.log"] {
            record::remove_file(&dir.join(name))?;
        }
        Ok(())
    }
}
