//! Machines: what a unit runs on. The agent knows them only through [`Machines`] and [`Machine`].
//!
//! Invariant: whatever happens inside a machine, nothing of it is left on the host once it was destroyed.

pub mod local;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use async_trait::async_trait;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// What stands behind a machine's `systemctl` and `snap`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MachineKind {
    /// Namespaces over this host's files, with stand-ins for systemd and snapd: up in milliseconds
    #[default]
    Light,
    /// A booted systemd-nspawn machine with its own systemd and snapd: up in seconds
    Full,
}

/// What a new machine is to be like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineSpec {
    /// `0`, `1`, … unique in the model.
    pub id: String,
    /// Host name inside.
    pub hostname: String,
    /// Its address on the model's network.
    pub address: Ipv4Addr,
    /// What it is.
    #[serde(default)]
    pub kind: MachineKind,
}

/// What becomes of the packets that a machine sends; all arrive at once unless something is said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// None arrives; the machine goes on hearing the others.
    pub is_lost: bool,
    /// How much later each arrives.
    pub delay_ms: u64,
    /// How many of a hundred are lost.
    pub loss_percent: u8,
}

/// All machines of one model, and the network between them.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Whether machines of this kind can be made here.
    ///
    /// # Errors
    /// One sentence that says what is missing, and what to do about it.
    fn check(&self, kind: MachineKind) -> Result<()>;
    /// Make and boot a machine. When this returns, programs can be run in it.
    async fn create(&self, spec: MachineSpec) -> Result<Box<dyn Machine>>;
    /// Find a machine again that an earlier controller process made; its processes may be running or gone.
    async fn adopt(&self, spec: MachineSpec) -> Result<Box<dyn Machine>>;
    /// End every machine of the model and remove every trace: processes, mounts, namespaces, files. Also
    /// works when the controller that made them was killed. Bounded in time; safe to repeat.
    async fn destroy_all(&self) -> Result<()>;
}

/// One machine.
#[async_trait]
pub trait Machine: Send + Sync {
    /// What it was made from (its address may have been changed since).
    fn spec(&self) -> MachineSpec;
    /// Whether it is powered on.
    fn is_running(&self) -> bool;
    /// Process id, seen from the host, of the machine's first process.
    fn init_pid(&self) -> Option<u32>;
    /// The directory of the host that is `/var/lib/juju` inside. It outlives power cuts and reboots.
    fn juju_dir(&self) -> PathBuf;
    /// A command that will run `program` (a path inside) in the machine, as root, with an empty environment
    /// but for what the caller adds, in `cwd` (a path inside), as leader of its own session.
    ///
    /// The process that the host sees started is a small parent which waits for the program and ends as it did;
    /// the program is its only child (`/proc/<id>/task/<id>/children`). Killing the parent kills the program, but
    /// not what the program started: those share its session id. Spawning fails while the machine is off.
    fn command(&self, program: &Path, cwd: &Path) -> Command;
    /// Where a path inside is found from the host while the machine runs.
    fn host_path(&self, inside: &Path) -> Result<PathBuf>;
    /// A power cut: every process is gone, the disk stays.
    async fn kill(&self) -> Result<()>;
    /// Orderly shutdown: services are stopped, the disk stays.
    async fn shut_down(&self) -> Result<()>;
    /// Power on after [`Machine::kill`]. Enabled services start, as at a boot.
    async fn start(&self) -> Result<()>;
    /// Orderly shutdown (services are stopped), then power on.
    async fn reboot(&self) -> Result<()>;
    /// Cut it off the model's network, or plug it in again.
    async fn set_connected(&self, connected: bool) -> Result<()>;
    /// Lose or delay what it sends.
    ///
    /// # Errors
    /// Also where this kernel cannot delay packets.
    async fn set_sending(&self, sending: Sending) -> Result<()>;
    /// Change its address.
    async fn set_address(&self, address: Ipv4Addr) -> Result<()>;
    /// Leave only `free_kib` KiB free on its disk; `None` gives all space back.
    async fn limit_disk(&self, free_kib: Option<u64>) -> Result<()>;
    /// Make a block device of `size_mib` MiB, or find the one made before under this `name`, visible inside;
    /// returns its path inside (a loop device over a sparse file kept with the model).
    async fn attach_block(&self, name: &str, size_mib: u64) -> Result<PathBuf>;
    /// Take a block device away from the machine; its content stays with the model.
    async fn detach_block(&self, name: &str) -> Result<()>;
    /// End it and remove what it left behind.
    async fn destroy(&self) -> Result<()>;
}
