//! The holder of a model: first process of a process namespace, owner of the switch's network namespace and of the mount
//! namespace in which the machines' disks are. Invariant: when it dies the kernel ends all of that.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::process::ProcessId;
use super::{disk, full, mounts, network, record};

/// Name of the file in a model's directory that names its holder.
pub(crate) const RECORD: &str = "holder.json";
/// How often the holder looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Start the holder of the model in `directory`, which must name it in [`RECORD`] from then on: a holder that is not named
/// ends, and the model with it, so that no machine outlives a directory that somebody removed by hand.
pub(crate) async fn start(program: &Path, directory: &Path) -> Result<ProcessId> {
    let log = &directory.join("holder.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    // The holder keeps its standard error: only the standard output, which it closes in time, can be read to its end.
    let child = tokio::process::Command::new(program)
        .args(["network-holder", "start"])
        .arg(directory)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let output =
        child.wait_with_output().await.with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(pid) if output.status.success() => ProcessId::of(pid),
        _ => bail!("cannot start the model's network: {}", text.trim()),
    }
}

/// `network-holder start|run|check`.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["start", directory] => split_off(Path::new(directory)),
        ["run", directory] => run(Path::new(directory)),
        ["check"] => check().map(|()| ExitCode::SUCCESS),
        _ => bail!("cannot understand the arguments of network-holder"),
    }
}

/// Make the namespaces, start the holder in them, and say its process id.
fn split_off(directory: &Path) -> Result<ExitCode> {
    nix::unistd::setsid().context("cannot leave the session")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)
        .context("cannot make namespaces")?;
    let program = std::env::current_exe().context("cannot find the running program")?;
    let mut child = Command::new(program)
        .args(["network-holder", "run"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the holder")?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).context("cannot hear of the holder")?;
    }
    let mut stdout = std::io::stdout().lock();
    if line.trim() == "ready" {
        writeln!(stdout, "{}", child.id())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stdout, "{}", line.trim())?;
    Ok(ExitCode::FAILURE)
}

/// The holder itself: make the switch, then only bury what dies.
fn run(directory: &Path) -> Result<ExitCode> {
    // While the host's own /proc is seen: this process's number there.
    let me: u32 = std::fs::read_link("/proc/self")?
        .display()
        .to_string()
        .parse()
        .context("cannot find the own process")?;
    let made = mounts::cut_from_host(true).and_then(|()| network::make_switch());
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = made {
        writeln!(stdout, "{error:#}")?;
        return Ok(ExitCode::FAILURE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut child_ended = signal(SignalKind::child()).context("cannot watch processes")?;
        writeln!(stdout, "ready")?;
        stdout.flush()?;
        let mut look = tokio::time::interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        loop {
            tokio::select! {
                _ = child_ended.recv() => bury(),
                _ = look.tick() => if !is_wanted(directory, me) {
                    return end(directory);
                }
            }
        }
    })
}

/// End everything in the namespaces, and remove what is left of it outside.
fn end(directory: &Path) -> Result<ExitCode> {
    // From the first process of a namespace this reaches all others in it, and only those.
    match nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(error).context("cannot end the machines"),
    }
    while waitpid(None, None).is_ok() {}
    full::remove_cgroups(&super::cgroup_of(directory))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the model's record names this process.
fn is_wanted(directory: &Path, me: u32) -> bool {
    let named = record::read::<ProcessId>(&directory.join(RECORD));
    named.is_ok_and(|holder| holder.is_some_and(|holder| holder.pid == me))
}

/// Reap all that has ended.
fn bury() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// Try all that machines need in throw-away namespaces.
///
/// # Errors
/// One sentence for the operator.
fn check() -> Result<()> {
    let advice = "run juju-sim as root on the host itself, or in a container that may make mounts and namespaces (for example --privileged)";
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let refused = |error| anyhow!("cannot make machines here: namespaces are refused ({error}); {advice}");
    unshare(all).map_err(refused)?;
    let tried = mounts::cut_from_host(false).and_then(|()| try_mounts());
    tried.map_err(|error| anyhow!("cannot make machines here: {error:#}; {advice}"))?;
    // Last, because the next program would be the first process of the namespace, and its end the end of it.
    unshare(CloneFlags::CLONE_NEWPID).map_err(refused)
}

fn try_mounts() -> Result<()> {
    let place = tempfile::tempdir().context("cannot make a temporary directory")?;
    mounts::filesystem("tmpfs", place.path(), MsFlags::empty(), "size=1m")?;
    let result = disk::try_overlay(place.path());
    nix::mount::umount2(place.path(), nix::mount::MntFlags::MNT_DETACH).context("cannot unmount")?;
    result
}
