//! Which processes belong to a service. Invariant: a process belongs to it when it carries the service's invocation id in its
//! environment, or is in the main process's group, so what the service starts in the background is found too.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The running processes of an invocation, the manager's own excepted.
pub fn of_invocation(invocation: &str, group: i32) -> Vec<i32> {
    let marker = format!("INVOCATION_ID={invocation}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == 1 {
            continue;
        }
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes());
        if is_running(pid, group, marked) {
            found.push(pid);
        }
    }
    found
}

/// Whether the process is no zombie, and is marked or in the group.
fn is_running(pid: i32, group: i32, marked: bool) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split(' ');
    let alive = fields.next().is_some_and(|state| state != "Z" && state != "X");
    let in_group = fields.nth(1).and_then(|text| text.parse::<i32>().ok()) == Some(group);
    alive && (marked || (group > 0 && in_group))
}

/// Send a signal to each; those that are gone meanwhile do not matter.
pub fn signal(pids: &[i32], number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    for pid in pids {
        kill(Pid::from_raw(*pid), signal).ok();
    }
}
