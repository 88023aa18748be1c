//! The image of full machines: the packages of this host's distribution with systemd and snapd, made once by
//! `juju-sim image`. Invariant: an image is named after its recipe and only gets that name when it is complete.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::super::{LocalMachines, LocalOptions, record};
use crate::machine::{Machine, MachineKind, MachineSpec, Machines};

/// Makes the file system, on the host.
const BASE: &str = include_str!("../../../../image/base");
/// Installs the snaps that every other needs, inside.
const SNAPS: &str = include_str!("../../../../image/snaps");

/// The programs that make an image, and the packages they are in.
const PROGRAMS: [(&str, &str); 2] = [("debootstrap", "debootstrap"), ("mksquashfs", "squashfs-tools")];

/// An image of full machines, made or not.
#[derive(Debug, Clone)]
pub struct Image {
    directory: PathBuf,
    /// Set while the first boot changes the image itself.
    unfinished: Option<PathBuf>,
}

impl Image {
    /// The image that is kept in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), unfinished: None }
    }

    /// Its root.
    pub fn root(&self) -> PathBuf {
        self.unfinished.clone().unwrap_or_else(|| self.place()).join("root")
    }

    /// Whether machines change the image itself: the one that makes it does.
    pub fn is_being_made(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Whether machines can boot from it.
    ///
    /// # Errors
    /// It was not made, or by another recipe: says what to do.
    pub fn check(&self) -> Result<()> {
        if self.root().is_dir() {
            return Ok(());
        }
        let others = record::subdirectories(&self.directory)?.iter().any(|path| is_complete(path));
        let why = if others { "comes from an older recipe" } else { "has not been made yet" };
        bail!(
            "cannot make full machines: their image in {} {why}: run juju-sim image (about 4 minutes, once)",
            self.directory.display()
        )
    }

    fn place(&self) -> PathBuf {
        self.directory.join(recipe())
    }

    /// Make it, unless it is there. The scripts tell their progress on the standard output.
    ///
    /// # Errors
    /// What is missing on this host, or which step failed.
    pub async fn make(&self, options: &LocalOptions) -> Result<()> {
        super::check()?;
        for (program, package) in PROGRAMS {
            if !super::is_on_path(program) {
                bail!("cannot make the image: {program} is missing (apt-get install {package})");
            }
        }
        let shown = self.directory.display();
        fs::create_dir_all(&self.directory).with_context(|| format!("cannot make {shown}"))?;
        let lock =
            File::create(self.directory.join("lock")).with_context(|| format!("cannot write {shown}"))?;
        let _lock = match Flock::lock(lock, FlockArg::LockExclusive) {
            Ok(lock) => lock,
            Err((_, error)) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        };
        // Another process may have made it while this one waited.
        if self.root().is_dir() {
            return Ok(());
        }
        let unfinished = self.directory.join("unfinished");
        record::remove_tree(&unfinished)?;
        fs::create_dir(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
        run_base(&unfinished.join("root")).await?;
        self.install_snaps(&unfinished, options).await?;
        for old in record::subdirectories(&self.directory)?.iter().filter(|path| is_complete(path)) {
            record::remove_tree(old)?;
        }
        fs::rename(&unfinished, self.place()).with_context(|| format!("cannot finish {shown}"))
    }

    /// Boot the unfinished image once and let snapd change it.
    async fn install_snaps(&self, unfinished: &Path, options: &LocalOptions) -> Result<()> {
        let image = Self { unfinished: Some(unfinished.to_owned()), ..self.clone() };
        let model = unfinished.join("model");
        let options = LocalOptions { image, ..options.clone() };
        let subnet = options.subnet;
        let machines = LocalMachines::new(&model, options)?;
        let address = subnet.machine_address(0).context("cannot find an address")?;
        let kind = MachineKind::Full;
        let spec = MachineSpec { id: "image".to_owned(), hostname: "image".to_owned(), address, kind };
        let made = async {
            let machine = machines.create(spec).await?;
            run_inside(machine.as_ref()).await?;
            machine.shut_down().await
        };
        let outcome = made.await;
        machines.destroy_all().await?;
        outcome.context("cannot make the image")?;
        record::remove_tree(&model)
    }
}

/// Whether a directory of images holds a finished one.
fn is_complete(path: &Path) -> bool {
    path.join("root").is_dir() && path.file_name().is_some_and(|name| name != "unfinished")
}

/// Names what an image is made by: the scripts, and the release of this host whose packages it gets.
fn recipe() -> String {
    let release = match fs::read("/etc/os-release") {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => error.to_string().into_bytes(),
    };
    let release = String::from_utf8_lossy(&release).into_owned();
    let codename = release.lines().find(|line| line.starts_with("VERSION_CODENAME=")).unwrap_or_default();
    let digest = Sha256::new().chain_update(BASE).chain_update(SNAPS).chain_update(codename).finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

async fn run_base(root: &Path) -> Result<()> {
    let mut command = Command::new("bash");
    command.args(["-s", "--"]).arg(root).stdin(Stdio::piped());
    run_script(command, BASE).await.context("cannot make the image")
}

async fn run_inside(machine: &dyn Machine) -> Result<()> {
    let mut command = machine.command(Path::new("/bin/sh"), Path::new("/"));
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    command.arg("-s").env("PATH", path).stdin(Stdio::piped());
    run_script(command, SNAPS).await
}

/// Run a shell that reads its script from standard input.
async fn run_script(mut command: Command, script: &str) -> Result<()> {
    let mut child = command.spawn().context("cannot run a shell")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).await.context("cannot hand the script to the shell")?;
    }
    let status = child.wait().await.context("cannot wait for the shell")?;
    if !status.success() {
        bail!("a step failed ({status}): see the messages above");
    }
    Ok(())
}
