//! Processes of the host that outlive whoever started them. Invariant: a process is only ever told to end after its
//! start time was found to be the recorded one, so that a reused process id never hits a stranger.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How long a killed process may take to be gone.
pub const DEATH_LIMIT: Duration = Duration::from_secs(20);

/// How often those are woken who keep a killed process from ending.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// A process, seen from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id in the host's process namespace.
    pub pid: u32,
    /// Start time in clock ticks since the host's boot (`/proc/<pid>/stat`, field 22).
    pub start_ticks: u64,
    /// The host's boot, from `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl ProcessId {
    /// The running process with this id.
    pub fn of(pid: u32) -> Result<Self> {
        let (_, start_ticks) = stat(pid).with_context(|| format!("cannot find process {pid}"))?;
        Ok(Self { pid, start_ticks, boot: boot_id()? })
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        matches!(self.state(), Some(state) if state != 'Z' && state != 'X')
    }

    /// Its state letter; `None` when it is gone and reaped.
    fn state(&self) -> Option<char> {
        let (state, start_ticks) = stat(self.pid)?;
        let same = start_ticks == self.start_ticks && boot_id().is_ok_and(|boot| boot == self.boot);
        same.then_some(state)
    }

    /// Send a signal, if it still runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).context("cannot use the process id")?;
        match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal process {pid}")),
        }
    }

    /// End it at once.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Wait until nothing of it is left, at most `limit`.
    ///
    /// The first process of a namespace stays until the last zombie in it was buried, which those outside do who have
    /// entered it. `nsenter` stops when what it runs is stopped, and buries nobody until it is woken.
    pub async fn wait_gone(&self, limit: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut woken = begin;
        // A zombie whose parent is not ours may stay; by then the kernel has freed its namespaces.
        while self.is_alive() {
            if begin.elapsed() > limit {
                bail!("cannot end process {}: it still runs after {} s", self.pid, limit.as_secs());
            }
            if woken.elapsed() > WAKE_EVERY {
                wake_those_outside(self.pid);
                woken = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// Let everyone go on who has entered the process namespace of `first` from outside. To those who were not stopped it is
/// nothing.
fn wake_those_outside(first: u32) {
    let namespace =
        |pid: &str, of: &str| std::fs::read_link(Path::new("/proc").join(pid).join("ns").join(of)).ok();
    let Some(inside) = namespace(&first.to_string(), "pid") else { return };
    let is_outside = |of: &Option<PathBuf>| of.as_ref().is_some_and(|own| *own != inside);
    if !is_outside(&namespace("self", "pid")) {
        return;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Ok(pid) = name.parse() else { continue };
        let entered = namespace(&name, "pid_for_children").is_some_and(|children| children == inside);
        if entered && is_outside(&namespace(&name, "pid")) {
            // It may have ended by itself meanwhile.
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }
}

/// What a helper process printed before it gave up, without the program's own `ERROR`.
pub fn complaint(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).trim().trim_start_matches("ERROR ").to_owned()
}

/// State letter and start time, from `/proc/<pid>/stat`.
fn stat(pid: u32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<(char, u64)> {
    // The program's name may hold blanks and brackets: what counts starts after the last one.
    let rest = text.rsplit_once(") ")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

fn boot_id() -> Result<String> {
    let text =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 2 3";
        assert_eq!(parse_stat(line), Some(('S', 4711)));
    }

    #[test]
    fn a_process_with_another_start_time_is_not_alive() {
        let mut process = ProcessId::of(std::process::id()).unwrap();
        assert!(process.is_alive());
        process.start_ticks += 1;
        assert!(!process.is_alive());
    }
}
