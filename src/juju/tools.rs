//! The hook tools as typed functions: how a tool is run, how its refusals are told apart, and the cheap questions every
//! hook asks. Output is always JSON, data goes in by standard input or file, and text after `--`.

mod action;
#[cfg(test)]
pub(super) mod fake;
mod relation;
mod remembering;
mod secret;
mod storage;

pub use secret::SecretOwner;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::Level;

use super::memory::Memory;
use super::names::{NameError, RelationId, UnitName};
use super::network::{Answer, Network};
use super::status::Status;
use super::{parse, shown};
use crate::process::{Output, ProcessError, Run};

/// One side's data on a relation.
pub type Databag = BTreeMap<String, String>;

/// Time for one tool: the agent answers in milliseconds, but waits for the controller when it has to ask it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest single argument that Linux passes to a program (128 KiB with its final zero byte).
const ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// Longest workload version.
const VERSION_BYTES: usize = 64;

/// Why a hook tool gave no answer.
#[derive(Debug)]
pub struct ToolError {
    /// The tool's name.
    pub tool: String,
    /// What happened.
    pub kind: ToolErrorKind,
}

/// What happened to a hook tool.
#[derive(Debug, thiserror::Error)]
pub enum ToolErrorKind {
    /// This version of Juju has no such tool.
    #[error("this version of Juju does not have it")]
    Missing,
    /// The tool refused. Exit code 2 means wrong arguments, and also an unknown relation id.
    #[error("{message} (exit {exit})")]
    Refused {
        /// Its exit code.
        exit: i32,
        /// Its words, without the leading `ERROR`. Match on parts: newer agents add codes at the end.
        message: String,
    },
    /// The tool's output is not what its documentation promises.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
    /// The tool did not run to its end.
    #[error("it did not run to its end")]
    Process(#[source] ProcessError),
    /// The private file that carries a secret to the tool could not be made.
    #[error("its input file cannot be written")]
    PrivateFile(#[source] std::io::Error),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {}: {}", self.tool, self.kind)
    }
}

impl std::error::Error for ToolError {
    /// The kind is already part of the message: what caused it comes next.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}

impl ToolError {
    /// Juju does not let this unit see it; 3.6 also says so of a relation that has just gone.
    pub fn is_permission_denied(&self) -> bool {
        self.says("permission denied")
    }

    /// The relation, unit's data or secret does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.says("not found")
    }

    /// The tool's own words alone, for a text that says itself what was asked.
    pub fn reason(&self) -> String {
        match &self.kind {
            ToolErrorKind::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Whether a refusal contains these words.
    fn says(&self, words: &str) -> bool {
        matches!(&self.kind, ToolErrorKind::Refused { message, .. } if message.contains(words))
    }
}

/// The units that Juju means the application to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoalState {
    /// Unit to its workload status word, `dying` for one that is being removed.
    pub units: BTreeMap<UnitName, String>,
}

/// The hook tools of this unit. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Where the tools are; `PATH` decides when absent.
    directory: Option<PathBuf>,
    /// Where secrets are put for the moment that the agent needs to read them: memory, not disk.
    private_directory: PathBuf,
    /// In a hook.
    memory: Option<Arc<Mutex<Memory>>>,
}

impl Default for Tools {
    fn default() -> Tools {
        Tools::new()
    }
}

impl Tools {
    /// The tools that Juju put on `PATH` for this hook.
    pub fn new() -> Tools {
        Tools { directory: None, private_directory: PathBuf::from("/run"), memory: None }
    }

    /// Tools from one directory, which also serves for short-lived files.
    #[cfg(test)]
    pub fn with_path(directory: impl Into<PathBuf>) -> Tools {
        let directory = directory.into();
        Tools { private_directory: directory.clone(), directory: Some(directory), memory: None }
    }

    /// Whether this unit is the leader: if so, for at least the next 30 s. The exit code says nothing.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/is-leader/>
    pub async fn is_leader(&self) -> Result<bool, ToolError> {
        self.ask("is-leader", [], parse::typed).await
    }

    /// The options that have a value. Whole numbers may arrive as floating point.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/config-get/>
    pub async fn config(&self) -> Result<Map<String, Value>, ToolError> {
        self.ask("config-get", [], parse::map).await
    }

    /// The leader's settings, up to Juju 3.6. Empty until a leader has set any.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/leader-get/>
    pub async fn leader_get(&self) -> Result<Databag, ToolError> {
        self.ask("leader-get", [], parse::strings).await
    }

    /// Changes the leader's settings at once, even if the hook fails later. `None` removes a key. Juju trims white
    /// space around values, and the values are visible in the process list: no secrets here.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/leader-set/>
    pub async fn leader_set(&self, changes: &BTreeMap<String, Option<String>>) -> Result<(), ToolError> {
        if changes.is_empty() {
            return Ok(());
        }
        let pairs =
            changes.iter().map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or_default()));
        self.tell("leader-set", pairs).await
    }

    /// The addresses of an endpoint's binding, or for one relation: across models others may reach this unit elsewhere. A
    /// refusal means that the binding has no address yet, or that there is no such relation any more.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/network-get/>
    pub async fn network(&self, endpoint: &str, relation: Option<&RelationId>) -> Result<Network, ToolError> {
        let relation = relation.map(ToString::to_string);
        let which = relation.iter().flat_map(|id| ["-r", id.as_str()]);
        let args = which.chain([endpoint]).collect::<Vec<_>>();
        let answer: Option<Answer> = self.ask("network-get", args, parse::typed).await?;
        Ok(answer.unwrap_or_default().into())
    }

    /// The application's units as they are meant to be. Always asks the controller.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/goal-state/>
    pub async fn goal_state(&self) -> Result<GoalState, ToolError> {
        #[derive(Default, Deserialize)]
        struct Unit {
            #[serde(default)]
            status: String,
        }
        #[derive(Default, Deserialize)]
        struct Answer {
            #[serde(default)]
            units: Option<BTreeMap<String, Unit>>,
        }
        let answer: Option<Answer> = self.ask("goal-state", [], parse::typed).await?;
        let units = answer.unwrap_or_default().units.unwrap_or_default().into_iter();
        let units: Result<_, NameError> =
            units.map(|(name, unit)| Ok((name.parse()?, unit.status))).collect();
        Ok(GoalState { units: units.map_err(|error| unreadable("goal-state", error))? })
    }

    /// Sets this unit's status, at once.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/status-set/>
    pub async fn status_set(&self, status: &Status) -> Result<(), ToolError> {
        self.tell_news("status-set", &["--", status.kind.word(), &status.shown()]).await
    }

    /// Sets the application's status, at once; only the leader may.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/status-set/>
    pub async fn application_status_set(&self, status: &Status) -> Result<(), ToolError> {
        self.tell_news("status-set", &["--application", "--", status.kind.word(), &status.shown()]).await
    }

    /// Sets the version that `juju status` shows, at once.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/application-version-set/>
    pub async fn workload_version_set(&self, version: &str) -> Result<(), ToolError> {
        self.tell_news("application-version-set", &["--", &shown::line(version, VERSION_BYTES)]).await
    }

    /// Opens a TCP port when the hook succeeds. Opening an open one is fine.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/open-port/>
    pub async fn open_port(&self, port: u16) -> Result<(), ToolError> {
        self.remember(Memory::write_ports);
        self.tell("open-port", [format!("{port}/tcp")]).await
    }

    /// Closes a TCP port when the hook succeeds. Closing a closed one is fine.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/close-port/>
    pub async fn close_port(&self, port: u16) -> Result<(), ToolError> {
        self.remember(Memory::write_ports);
        self.tell("close-port", [format!("{port}/tcp")]).await
    }

    /// Open ports, like `2379/tcp` or `8000-8010/udp`, as they were before this hook.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/opened-ports/>
    pub async fn opened_ports(&self) -> Result<BTreeSet<String>, ToolError> {
        Ok(self.ask("opened-ports", [], parse::list).await?.into_iter().collect())
    }

    /// Writes to Juju's log. Text longer than one argument can be takes several calls.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/juju-log/>
    pub async fn log(&self, level: Level, text: &str) -> Result<(), ToolError> {
        let word = match level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        for piece in pieces(&shown::text(text), ARGUMENT_BYTES) {
            self.tell("juju-log", ["--log-level", word, "--", piece]).await?;
        }
        Ok(())
    }

    /// Runs a getter, or remembers what it would say, and reads its JSON.
    async fn ask<'a, T>(
        &self,
        tool: &str,
        args: impl IntoIterator<Item = &'a str>,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<T, ToolError> {
        let args: Vec<&str> = args.into_iter().collect();
        let value = self.answer(tool, &args).await?;
        read(value).map_err(|detail| unreadable(tool, detail))
    }

    async fn ask_juju(&self, tool: &str, args: &[&str]) -> Result<Value, ToolError> {
        let output = finish(tool, self.run(tool).arg("--format=json").args(args)).await?;
        parse::json(&output.stdout).map_err(|error| unreadable(tool, error))
    }

    /// Runs a setter.
    async fn tell(
        &self,
        tool: &str,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Result<(), ToolError> {
        finish(tool, self.run(tool).args(args)).await.map(drop)
    }

    fn run(&self, tool: &str) -> Run {
        let run = match &self.directory {
            Some(directory) => Run::new(directory.join(tool)),
            None => Run::new(tool),
        };
        run.timeout(TIMEOUT)
    }
}

/// Runs a tool to its end and tells refusals from answers.
async fn finish(tool: &str, run: Run) -> Result<Output, ToolError> {
    let failed = |kind| ToolError { tool: tool.to_owned(), kind };
    let output = run.status().await.map_err(|error| match error {
        ProcessError::Missing { .. } => failed(ToolErrorKind::Missing),
        other => failed(ToolErrorKind::Process(other)),
    })?;
    match output.code {
        Some(0) => Ok(output),
        code => {
            let message = output.stderr.trim();
            let message = message.strip_prefix("ERROR ").unwrap_or(message).to_owned();
            // Killed by a signal counts as 128 and more, as a shell would say it; which signal does not matter here.
            Err(failed(ToolErrorKind::Refused { exit: code.unwrap_or(128), message }))
        }
    }
}

fn unreadable(tool: &str, detail: impl ToString) -> ToolError {
    ToolError { tool: tool.to_owned(), kind: ToolErrorKind::Unreadable(detail.to_string()) }
}

/// Cuts text into pieces of at most `limit` bytes, at line ends where there are any, else between characters.
fn pieces(text: &str, limit: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > limit {
        let end = rest.floor_char_boundary(limit);
        let cut = rest[..end].rfind('\n').filter(|at| *at > 0).unwrap_or(end);
        pieces.push(&rest[..cut]);
        rest = rest[cut..].strip_prefix('\n').unwrap_or(&rest[cut..]);
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::fake::FakeTools;
    use super::*;

    #[tokio::test]
    async fn answers_of_a_fresh_unit_are_read() {
        // Outputs in the exact form of Juju 3.6's formatters, final newline included.
        let fake = FakeTools::new()
            .tool("is-leader", "echo true")
            .tool("config-get", r#"echo '{"port":2379,"channel":"auto","debug":false}'"#)
            .tool("leader-get", "echo null")
            .tool("opened-ports", r#"echo '["2379/tcp","8000-8010/udp"]'"#)
            .tool(
                "goal-state",
                r#"echo '{"units":{"etcd/0":{"status":"active","since":"2024-01-02 15:04:05Z"},
                   "etcd/10":{"status":"dying"}},"relations":{}}'"#,
            );
        let tools = fake.tools();
        assert!(tools.is_leader().await.unwrap());
        assert_eq!(tools.config().await.unwrap()["port"], 2379);
        assert!(tools.leader_get().await.unwrap().is_empty());
        assert!(tools.opened_ports().await.unwrap().contains("2379/tcp"));
        let units = tools.goal_state().await.unwrap().units;
        assert_eq!(units[&"etcd/10".parse().unwrap()], "dying");
        assert_eq!(fake.calls()[0], "is-leader|--format=json");
    }

    #[tokio::test]
    async fn refusals_can_be_told_apart() {
        // Messages as Juju's unit tests and issue threads have them.
        let fake = FakeTools::new()
            .tool("leader-set", "echo 'ERROR cannot write leadership settings: cannot write settings: not the leader' >&2; exit 1")
            .tool("network-get", "echo 'ERROR no network config found for binding \"db\"' >&2; exit 1")
            .tool("config-get", "echo 'ERROR permission denied (unauthorized access)' >&2; exit 1")
            .tool("is-leader", "echo maybe");
        let tools = fake.tools();
        let changes = BTreeMap::from([("token".to_owned(), Some("t".to_owned()))]);
        let refused = tools.leader_set(&changes).await.unwrap_err();
        assert_eq!(
            refused.reason(),
            "cannot write leadership settings: cannot write settings: not the leader"
        );
        assert!(tools.config().await.unwrap_err().is_permission_denied());
        let error = tools.network("db", None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use network-get: no network config found for binding \"db\" (exit 1)"
        );
        assert!(matches!(tools.is_leader().await.unwrap_err().kind, ToolErrorKind::Unreadable(_)));
        assert!(matches!(tools.goal_state().await.unwrap_err().kind, ToolErrorKind::Missing));
    }

    #[tokio::test]
    async fn setters_pass_text_so_that_no_flag_can_hide_in_it() {
        let fake = FakeTools::new();
        let fake = ["status-set", "application-version-set", "open-port", "leader-set"]
            .into_iter()
            .fold(fake, |fake, tool| fake.tool(tool, "exit 0"));
        let tools = fake.tools();
        tools.status_set(&Status::blocked("--help me")).await.unwrap();
        tools.application_status_set(&Status::active("")).await.unwrap();
        tools.workload_version_set("3.5.16\n").await.unwrap();
        tools.open_port(2379).await.unwrap();
        let changes = BTreeMap::from([("a".to_owned(), Some("1=2".to_owned())), ("b".to_owned(), None)]);
        tools.leader_set(&changes).await.unwrap();
        tools.leader_set(&BTreeMap::new()).await.unwrap();
        assert_eq!(
            fake.calls(),
            [
                "status-set|--|blocked|--help me",
                "status-set|--application|--|active|",
                "application-version-set|--|3.5.16",
                "open-port|2379/tcp",
                "leader-set|a=1=2|b=",
            ]
        );
    }

    #[test]
    fn long_text_is_cut_at_lines_and_never_inside_a_character() {
        assert_eq!(pieces("one\ntwo\nthree", 8), ["one\ntwo", "three"]);
        assert_eq!(pieces("éééé", 5), ["éé", "éé"]);
        assert!(pieces("", 8).is_empty());
        assert_eq!(pieces("\nabcdefgh", 4), ["\nabc", "defg", "h"]);
    }

    #[tokio::test]
    async fn a_status_is_set_whatever_it_echoes() {
        let fake = FakeTools::new().tool("status-set", "exit 0");
        let value = format!("{}\0", "1".repeat(130_000));
        let status = Status::blocked(format!("port: {value} is not\na port"));
        fake.tools().status_set(&status).await.unwrap();
        fake.tools().application_status_set(&status).await.unwrap();
        let told = format!("blocked|port: {}… is not a port", "1".repeat(60));
        assert_eq!(
            fake.calls(),
            [format!("status-set|--|{told}"), format!("status-set|--application|--|{told}")]
        );
    }

    #[tokio::test]
    async fn a_log_text_larger_than_an_argument_can_be_is_still_logged() {
        let fake = FakeTools::new().tool("juju-log", "exit 0");
        fake.tools().log(Level::INFO, &"x".repeat(300_000)).await.unwrap();
        assert_eq!(fake.calls().len(), 3);
    }
}
