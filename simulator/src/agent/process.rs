//! The processes of hooks and actions as the host sees them: how a run is ended with everything that it started, and
//! how remains of a run are found again.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getsid};

/// How often the process table is looked through for processes that were started meanwhile.
const ROUNDS_MAX: u32 = 50;

/// A row of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    is_dead: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Reads a line of `/proc/PID/stat`; the name in it may hold spaces and parentheses.
fn parse_stat(pid: i32, line: &str) -> Option<Process> {
    let rest = line.rsplit_once(')')?.1;
    let mut fields = rest.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { pid, parent, session, is_dead })
}

/// SIGKILLs a process, its descendants and every process in one of their sessions, until none is left. Processes in
/// the session of this program are spared unless they descend from it.
pub fn kill_tree(root: u32) {
    let Ok(root) = i32::try_from(root) else { return };
    let own_session = getsid(None).map_or(0, Pid::as_raw);
    let mut sessions = BTreeSet::new();
    let mut family = BTreeSet::from([root]);
    for _ in 0..ROUNDS_MAX {
        let table = processes();
        loop {
            let size = family.len();
            for process in &table {
                if family.contains(&process.parent) || sessions.contains(&process.session) {
                    family.insert(process.pid);
                }
                if family.contains(&process.pid) && process.session != own_session {
                    sessions.insert(process.session);
                }
            }
            if family.len() == size {
                break;
            }
        }
        let alive: Vec<i32> = table
            .iter()
            .filter(|process| family.contains(&process.pid) && !process.is_dead)
            .map(|p| p.pid)
            .collect();
        if alive.is_empty() {
            return;
        }
        alive.into_iter().for_each(end);
    }
}

/// SIGKILLs every process whose environment holds this context id: what an earlier agent's run left behind.
pub fn kill_remains(context_id: &str) {
    let wanted = format!("JUJU_CONTEXT_ID={context_id}");
    for _ in 0..ROUNDS_MAX {
        let has_it = |process: &Process| {
            fs::read(format!("/proc/{}/environ", process.pid))
                .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
        };
        let left: Vec<i32> = processes().iter().filter(|p| !p.is_dead && has_it(p)).map(|p| p.pid).collect();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(end);
    }
}

fn end(pid: i32) {
    if pid > 1 && pid != getpid().as_raw() {
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse_the_process_table() {
        let process = parse_stat(7, "7 (a) (b c) S 3 7 5 0 -1").unwrap();
        assert_eq!(process, Process { pid: 7, parent: 3, session: 5, is_dead: false });
    }

    #[test]
    fn a_run_is_killed_with_what_it_started_in_the_background() {
        let script = "sleep 1000 & setsid sleep 1000 & echo ready; wait";
        let mut child = Command::new("setsid")
            .args(["sh", "-c", script])
            .env("JUJU_CONTEXT_ID", "kill-tree-test")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut out, &mut ready).unwrap();
        kill_tree(child.id());
        child.wait().unwrap();
        let mut rest = Vec::new();
        // The pipe ends only when the last process that held it is gone.
        std::io::Read::read_to_end(&mut out, &mut rest).unwrap();
        kill_remains("kill-tree-test");
    }
}
