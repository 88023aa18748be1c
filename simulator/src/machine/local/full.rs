//! Full machines: an image with systemd and snapd, booted by systemd-nspawn in the network and below the holder of the
//! model, as light machines are. Invariant: the machine ends with its nspawn, and what nspawn and systemd make outside of
//! the machine's own namespaces (control groups) is removed with it.

pub mod image;

mod cgroups;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use nix::mount::MsFlags;
use tokio::time::Instant;

pub(super) use cgroups::remove as remove_cgroups;

use super::boot::{self, BootSpec, System};
use super::disk::Layer;
use super::process::ProcessId;
use super::{mounts, record};
use crate::machine::Machine;

/// How long systemd may take until every service that starts at boot has been started.
const BOOT_LIMIT: Duration = Duration::from_secs(150);
/// How long an orderly shutdown may take: systemd gives each service 30 s.
pub(super) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(100);

/// Whether this host can make full machines at all.
///
/// # Errors
/// One sentence that says what is missing.
pub fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("cannot make full machines: this needs root; run it with sudo");
    }
    if !is_on_path("systemd-nspawn") {
        bail!("cannot make full machines: systemd-nspawn is missing (apt-get install systemd-container)");
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Put the root of the machine together in this mount namespace.
pub(super) fn build(spec: &BootSpec, layers: &[Layer]) -> Result<()> {
    let System::Image { root: image, in_place, .. } = &spec.system else { return Ok(()) };
    let root = spec.disk.join("merged");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    if *in_place {
        mounts::bind(image, &root)?;
    } else {
        layers.iter().try_for_each(|layer| layer.mount(&root))?;
    }
    fs::create_dir_all(&spec.store).with_context(|| format!("cannot make {}", spec.store.display()))?;
    make_room_for_udev(&room_for_udev(spec))?;
    // nspawn keeps notes about its machines below this directory, and leaves them behind when it is killed.
    fs::create_dir_all("/run/systemd").context("cannot make /run/systemd")?;
    mounts::filesystem("tmpfs", Path::new("/run/systemd"), MsFlags::empty(), "mode=755")
}

/// What becomes `/run/udev`.
fn room_for_udev(spec: &BootSpec) -> PathBuf {
    spec.disk.join("udev")
}

/// In a container systemd only listens for devices when udev seems to run already: without this file, which udev replaces
/// with its socket, a mount by UUID would wait at boot for a device that is there.
fn make_room_for_udev(directory: &Path) -> Result<()> {
    record::remove_tree(directory)?;
    fs::create_dir(directory)
        .and_then(|()| fs::write(directory.join("control"), ""))
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// `machine-supervise SPEC`: says `ready` with its number on the host, then becomes the nspawn of the machine.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let spec = boot::spec(arguments)?;
    let System::Image { cgroup, .. } = &spec.system else { bail!("cannot supervise a light machine") };
    // While the host's own /proc is seen: this process's number there.
    let pid = fs::read_link("/proc/self").context("cannot find the own process")?;
    nix::unistd::setsid().context("cannot leave the session")?;
    cgroups::join(cgroup)?;
    let complaints = rustix::io::dup(std::io::stderr()).context("cannot keep the log")?;
    {
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), "ready {}", pid.display()).context("cannot report the boot")?;
    }
    // nspawn looks its child up there, by the number that it has in the holder's process namespace.
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounts::filesystem("proc", Path::new("/proc"), safe, "")?;
    let error = nspawn(&spec).stdout(complaints).exec();
    Err(Error::new(error).context("cannot run systemd-nspawn"))
}

fn nspawn(spec: &BootSpec) -> Command {
    let mut command = Command::new("systemd-nspawn");
    command
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        // Else snap-confine cannot make its control group.
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        // Else udevd, which snapd tells of its rules, does not start.
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1")
        .args(["--quiet", "--boot", "--keep-unit", "--register=no", "--capability=all", "--console=pipe"])
        .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--bind=/dev/fuse"])
        .arg(format!("--machine={}", spec.hostname))
        .arg(format!("--hostname={}", spec.hostname))
        .arg(format!("--directory={}", spec.disk.join("merged").display()))
        .arg(format!("--bind={}:/var/lib/juju", escaped(&spec.juju)))
        .arg(format!("--bind={}:/run/udev", escaped(&room_for_udev(spec))))
        .arg(format!("--bind-ro={}:/run/juju-sim/bin", escaped(&spec.bin)))
        .arg(format!("--bind-ro={}:/run/juju-sim/store", escaped(&spec.store)));
    for device in &spec.blocks {
        command.arg(format!("--bind={}", device.display()));
    }
    command
}

/// A path as nspawn wants it before a colon.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

/// The first process of the machine that `keeper` supervises, once there is one.
pub(super) fn first_process(keeper: &ProcessId) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", keeper.pid)).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| is_first(*pid))
}

/// Whether a process of this host is number 1 in a namespace of its own.
fn is_first(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    numbers.split_whitespace().last() == Some("1")
}

/// Wait until systemd has started what starts at boot, and snapd knows its snaps.
///
/// # Errors
/// It does not come so far in time, ends, or stops in emergency mode, where a charm never gets to run. `log` is where nspawn
/// says why.
pub(super) async fn wait_until_up(machine: &dyn Machine, log: &Path) -> Result<()> {
    let deadline = Instant::now() + BOOT_LIMIT;
    loop {
        let state = said(machine, "systemctl is-system-running --wait").await;
        match state.as_str() {
            "running" | "degraded" => break,
            "maintenance" => bail!("emergency mode: see journalctl -b -p err in the machine"),
            _ if !machine.is_running() => bail!("it ended: {}", last_line(log)),
            _ if Instant::now() > deadline => {
                bail!("systemd has not come up within {} s: {state}", BOOT_LIMIT.as_secs())
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    // What an image has no snapd for is not waited for.
    said(machine, "test ! -e /usr/bin/snap || timeout 60 /usr/bin/snap wait system seed.loaded").await;
    // What a power cut has met half-way goes by the store's number before any hook looks.
    let settle = format!("timeout 60 /run/juju-sim/bin/juju-sim {}", crate::standin::snap::front::SETTLE);
    said(machine, &format!("test ! -e /usr/bin/snap || {settle}")).await;
    Ok(())
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("systemd-nspawn said nothing").to_owned()
}

/// What a shell line says in the machine; nothing while no program can be run there.
async fn said(machine: &dyn Machine, line: &str) -> String {
    let mut command = machine.command(Path::new("/bin/sh"), Path::new("/"));
    command
        .args(["-c", line])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(std::process::Stdio::null());
    match tokio::time::timeout(BOOT_LIMIT, command.kill_on_drop(true).output()).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::new(),
    }
}

/// Let udev of a running machine see a block device, so that it is found by its UUID.
pub(super) async fn announce(machine: &dyn Machine, device: &Path) {
    said(machine, &format!("udevadm trigger --action=add --settle --name-match={}", device.display())).await;
}

/// Ask for an orderly shutdown.
pub(super) async fn shut_down(machine: &dyn Machine) {
    said(machine, "systemctl poweroff").await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_path_does_not_end_it() {
        assert_eq!(escaped(Path::new("/a:b\\c")), "/a\\:b\\\\c");
    }

    #[test]
    fn only_the_first_of_a_namespace_is_taken_for_a_machine() {
        assert!(!is_first(std::process::id()));
    }
}
