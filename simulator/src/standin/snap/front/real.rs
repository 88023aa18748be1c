//! The `snap` of the machine's own snapd. Invariant: what it prints for people is read by the columns' headings only.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::{Done, Failure, error};
use super::record::Lock;

/// The program.
#[derive(Debug)]
pub struct Real {
    program: PathBuf,
}

/// What it said.
#[derive(Debug)]
pub struct Answer {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

/// One revision of `snap list --all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub version: String,
    pub revision: String,
    pub tracking: Option<String>,
    /// Not the one in use, or none is.
    pub is_disabled: bool,
}

impl Real {
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Runs it in the place of this process; comes back only when that fails.
    pub fn become_it(&self, words: &[String]) -> Failure {
        self.failed(&Command::new(&self.program).args(words).exec())
    }

    /// Runs it for what it says.
    pub fn run<Word: AsRef<str>>(&self, words: &[Word]) -> Done<Answer> {
        self.run_with(words, Stdio::null())
    }

    /// Runs it for a change: while it lives, the lock is held, even if this process is killed.
    pub fn change<Word: AsRef<str>>(&self, words: &[Word], lock: &Lock) -> Done<Answer> {
        self.run_with(words, lock.lend().map_err(|reason| self.failed(&reason))?.into())
    }

    fn run_with<Word: AsRef<str>>(&self, words: &[Word], stdin: Stdio) -> Done<Answer> {
        let mut command = Command::new(&self.program);
        command.args(words.iter().map(AsRef::as_ref)).stdin(stdin);
        let output = command.output().map_err(|reason| self.failed(&reason))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer {
            code: output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// All revisions of a snap; none when it is not installed.
    pub fn revisions(&self, name: &str) -> Done<Vec<Row>> {
        let answer = self.run(&["list", "--all", name])?;
        if answer.code == 0 {
            return Ok(rows(&answer.stdout).into_iter().map(|(_, row)| row).collect());
        }
        if answer.stderr.contains("no matching snaps installed") {
            return Ok(Vec::new());
        }
        Err(unprefixed(&answer.stderr))
    }

    /// Whether snapd is at work on a snap. What it does not tell is no leave to go on.
    pub fn is_changing(&self, name: &str) -> Done<bool> {
        let answer = self.run(&["changes", name])?;
        if answer.code != 0 && !answer.stderr.contains("no changes") {
            return Err(unprefixed(&answer.stderr));
        }
        let at_work = ["Do", "Doing", "Undo", "Undoing", "Abort"];
        let status = |line: &str| line.split_whitespace().nth(1).is_some_and(|word| at_work.contains(&word));
        Ok(answer.stdout.lines().skip(1).any(status))
    }

    fn failed(&self, reason: &std::io::Error) -> Failure {
        error(format!("cannot run {}: {reason}", self.program.display()))
    }
}

fn unprefixed(said: &str) -> Failure {
    error(said.trim().strip_prefix("error: ").unwrap_or(said.trim()))
}

/// The rows of `snap list`, with the snaps' names.
pub fn rows(table: &str) -> Vec<(String, Row)> {
    let mut lines = table.lines();
    let headings: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let read = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let of = |heading| cells.get(headings.iter().position(|known| *known == heading)?).copied();
        let row = Row {
            version: of("Version")?.to_owned(),
            revision: of("Rev")?.to_owned(),
            tracking: of("Tracking").filter(|cell| *cell != "-").map(str::to_owned),
            is_disabled: of("Notes")?.split(',').any(|note| note == "disabled"),
        };
        Some((of("Name")?.to_owned(), row))
    };
    lines.filter_map(read).collect()
}
