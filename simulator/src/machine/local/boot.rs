//! Power on: from a record to a running first process. Runs in the holder's namespaces, as its own short-lived process.
//! Invariant: the first process is started last, when everything it is to see is mounted.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::network::{self, Wire};
use super::process::{self, ProcessId};
use super::{disk, full, light, mounts};

/// The system that a machine boots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum System {
    /// The host's own files, and juju-sim as first process.
    Host,
    /// An image with systemd.
    Image {
        /// Its root.
        root: PathBuf,
        /// Its own files are changed, with no disk over them: the image is being made.
        in_place: bool,
        /// The machine's name in each hierarchy of control groups.
        cgroup: PathBuf,
    },
}

/// What a machine is booted from. Paths are the host's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootSpec {
    /// What runs in it.
    pub system: System,
    /// Host name.
    pub hostname: String,
    /// Address and length of the network part in bits.
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// Name of the interface at the switch, and whether it is plugged in.
    pub port: String,
    pub connected: bool,
    /// Number that the hardware address is made from.
    pub card: u32,
    /// Mount point of the disk, in the holder's mount namespace.
    pub disk: PathBuf,
    /// Becomes `/var/lib/juju`.
    pub juju: PathBuf,
    /// Directory of the juju-sim program.
    pub bin: PathBuf,
    /// The snap store, and where unpacked snaps are kept.
    pub store: PathBuf,
    pub cache: PathBuf,
    /// Directories of the host that stay empty inside.
    pub hide: Vec<PathBuf>,
    /// Loop devices that the machine has.
    pub blocks: Vec<PathBuf>,
    /// File for what the first process has to say when it fails.
    pub log: PathBuf,
}

/// Boot a machine below `holder`; returns the process that it lives and ends with.
///
/// # Errors
/// What could not be made. An emergency (a file system of `/etc/fstab` that cannot be mounted) is one.
pub(crate) async fn boot(program: &Path, holder: &ProcessId, spec: &BootSpec) -> Result<ProcessId> {
    let output = tokio::process::Command::new("nsenter")
        .args(["-t", &holder.pid.to_string(), "-m", "-n", "-p", "--"])
        .arg(program)
        .arg("machine-boot")
        .arg(serde_json::to_string(spec)?)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run nsenter: install util-linux")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(pid) if output.status.success() => ProcessId::of(pid),
        _ => bail!("cannot boot {}: {}", spec.hostname, process::complaint(&output.stderr)),
    }
}

/// `machine-boot SPEC`: prints the id of the process that the machine lives and ends with, as the host sees it.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let spec = spec(arguments)?;
    let layers = disk::prepare(&spec)?;
    network::enter_new_network(Wire {
        port: &spec.port,
        card: spec.card,
        address: spec.address,
        prefix: spec.prefix,
        connected: spec.connected,
    })?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .context("cannot make namespaces")?;
    mounts::cut_from_host(false)?;
    // Services run as on a machine of their own, whatever else this host does. Where that right is missing, they do
    // not, and nothing else changes.
    let _ = rustix::process::nice(-10);
    let pid = match &spec.system {
        System::Host => {
            let root = light::build(&spec, &layers)?;
            nix::unistd::sethostname(&spec.hostname).context("cannot set the host name")?;
            unshare(CloneFlags::CLONE_NEWPID).context("cannot make a process namespace")?;
            start(&spec, &["machine-init", &root.display().to_string()])?
        }
        System::Image { .. } => {
            full::build(&spec, &layers)?;
            start(&spec, &["machine-supervise", &serde_json::to_string(&spec)?])?
        }
    };
    writeln!(std::io::stdout().lock(), "{pid}")?;
    Ok(ExitCode::SUCCESS)
}

/// The description of a machine, from the only argument.
pub(super) fn spec(arguments: &[String]) -> Result<BootSpec> {
    let text = arguments.first().context("cannot boot without a description")?;
    serde_json::from_str(text).context("cannot read the description of the machine")
}

/// Start the process that the machine lives with, and wait until it says `ready` and its number on the host.
fn start(spec: &BootSpec, words: &[&str]) -> Result<u32> {
    let log = OpenOptions::new().create(true).append(true).open(&spec.log);
    let log = log.with_context(|| format!("cannot write {}", spec.log.display()))?;
    let mut child = Command::new(spec.bin.join("juju-sim"))
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the first process")?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).context("cannot hear of the first process")?;
    }
    match line.trim().strip_prefix("ready ").map(str::parse) {
        Some(Ok(pid)) => Ok(pid),
        _ => {
            child.wait().context("cannot wait for the first process")?;
            bail!("its first process ended: {} (see {})", line.trim(), spec.log.display())
        }
    }
}
