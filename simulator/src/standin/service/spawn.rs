//! Starting processes and learning of their end, as first process of a machine: it is the parent of every orphan too.
//! Invariant: processes are only reaped in [`Reaper::reap`], on the one thread that also starts them, so no end is missed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::PipeReader;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::sync::oneshot;

use super::limits::Exit;

/// What a process is started with.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    pub words: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub directory: Option<PathBuf>,
    pub user: Option<String>,
    pub open_files: Option<u64>,
}

/// A started process.
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    pub exit: oneshot::Receiver<Exit>,
    /// What it prints, both streams.
    pub output: PipeReader,
}

/// Knows who waits for which process.
#[derive(Debug, Default)]
pub struct Reaper {
    waiting: RefCell<HashMap<i32, oneshot::Sender<Exit>>>,
}

impl Reaper {
    /// Start a process as leader of its own group.
    pub fn start(&self, launch: &Launch) -> Result<Started> {
        let words = under_limit(&launch.words, launch.open_files)?;
        let (program, arguments) = words.split_first().context("cannot start an empty command")?;
        let (output, writer) = std::io::pipe().context("cannot make a pipe")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&launch.environment)
            .current_dir(launch.directory.as_deref().unwrap_or(Path::new("/")))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot share a pipe")?)
            .stderr(writer);
        if let Some(name) = &launch.user {
            let account = account(name)?;
            command.uid(account.uid).gid(account.gid);
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).context("cannot use the process id")?;
        let (sender, exit) = oneshot::channel();
        self.waiting.borrow_mut().insert(pid, sender);
        Ok(Started { pid, exit, output })
    }

    /// Take note of every process that has ended.
    pub fn reap(&self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, exit) = match status {
                WaitStatus::Exited(pid, code) => (pid, Exit::Code(code)),
                WaitStatus::Signaled(pid, signal, core) => (pid, Exit::Signal(signal as i32, core)),
                WaitStatus::StillAlive => break,
                _ => continue,
            };
            if let Some(waiting) = self.waiting.borrow_mut().remove(&pid.as_raw()) {
                waiting.send(exit).ok();
            }
        }
    }
}

/// The command under its limit of open files, which only the new process itself can take on. Without the right to go beyond
/// the machine's own limit, that is where it ends.
fn under_limit(words: &[String], limit: Option<u64>) -> Result<Vec<String>> {
    let Some(wanted) = limit else { return Ok(words.to_vec()) };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    let allowed = wanted.min(hard);
    let mut limited =
        vec!["/usr/bin/prlimit".to_owned(), format!("--nofile={allowed}:{allowed}"), "--".to_owned()];
    limited.extend_from_slice(words);
    Ok(limited)
}

struct Account {
    uid: u32,
    gid: u32,
}

fn account(name: &str) -> Result<Account> {
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read the users")?;
    let matching = |line: &&str| {
        let mut fields = line.split(':');
        fields.next() == Some(name) || fields.nth(1) == Some(name)
    };
    let line = users.lines().find(matching).with_context(|| format!("cannot find the user {name}"))?;
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next().and_then(|text| text.parse().ok());
    match (number(), number()) {
        (Some(uid), Some(gid)) => Ok(Account { uid, gid }),
        _ => anyhow::bail!("cannot read the entry of the user {name}"),
    }
}
