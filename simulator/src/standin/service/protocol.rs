//! What `systemctl` and the service manager say to each other: one JSON line each way over a unix socket.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The manager's socket inside a machine.
pub const SOCKET: &str = "/run/juju-sim/init.sock";

/// What is asked of the manager. Unit names are full names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    Start {
        units: Vec<String>,
        wait: bool,
    },
    Stop {
        units: Vec<String>,
        wait: bool,
    },
    /// `only_active`: leave out units that do not run (`try-restart`).
    Restart {
        units: Vec<String>,
        wait: bool,
        only_active: bool,
    },
    /// `or_restart`: restart what cannot be reloaded.
    Reload {
        units: Vec<String>,
        or_restart: bool,
    },
    /// Properties of units.
    Show {
        units: Vec<String>,
    },
    /// Properties of all units that are loaded.
    List,
    DaemonReload,
    /// Empty: all units.
    ResetFailed {
        units: Vec<String>,
    },
    Kill {
        units: Vec<String>,
        signal: i32,
        main_only: bool,
    },
}

impl Request {
    /// Nothing changes by it.
    pub fn only_asks(&self) -> bool {
        matches!(self, Request::Show { .. } | Request::List)
    }
}

/// The answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reply {
    /// What went wrong, in the order of the units.
    pub problems: Vec<Problem>,
    /// Properties, one map a unit.
    pub units: Vec<BTreeMap<String, String>>,
    /// Units whose files changed without a daemon-reload.
    pub stale: Vec<String>,
}

/// Why a unit did not do what was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    pub unit: String,
    pub kind: ProblemKind,
}

/// The reasons that systemctl tells apart.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    NotFound,
    NotLoaded,
    Masked,
    /// The unit file cannot be used: why.
    BadSetting(String),
    /// The job failed; the unit's `Result=`.
    Job(String),
    /// A unit that it needs could not be started.
    Dependency,
    /// What its file asserts does not hold.
    Assertion,
    /// Another request took it over.
    Canceled,
    /// It has nothing to reload with.
    NotReloadable,
    /// It has no process to signal.
    NoProcess,
}

/// Ask the manager and wait for the answer.
pub fn ask(request: &Request) -> Result<Reply> {
    let stream = UnixStream::connect(SOCKET).context("cannot reach the service manager")?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes()).context("cannot ask the service manager")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).context("cannot hear the service manager")?;
    anyhow::ensure!(!answer.is_empty(), "Access denied");
    serde_json::from_str(&answer).context("cannot understand the service manager")
}
