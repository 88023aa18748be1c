//! A unit in the manager's memory, and what all units share. Invariant: a unit has a task (`control` is set) exactly while it is
//! not at rest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::limits::StartLimit;
use super::protocol::ProblemKind;
use super::spawn::Reaper;
use super::state::{State, wall_clock_us};
use crate::standin::journal::{Journal, Line};
use crate::standin::units::files::{Loaded, UnitFiles};
use crate::standin::units::spec::UnitSpec;

/// How a job ended; `None` is well.
pub type JobResult = Option<ProblemKind>;

/// What a unit's task is told.
#[derive(Debug)]
pub enum Control {
    /// Stop; answered when it is at rest.
    Stop(oneshot::Sender<()>),
    /// Do not wait for the automatic restart's delay.
    StartNow,
    /// Run the reload commands.
    Reload(oneshot::Sender<JobResult>),
}

/// A unit.
#[derive(Debug)]
pub struct Unit {
    pub name: String,
    pub loaded: RefCell<Option<Loaded>>,
    pub state: RefCell<State>,
    pub limit: RefCell<StartLimit>,
    pub control: RefCell<Option<mpsc::UnboundedSender<Control>>>,
    /// Who waits for the start that is going on.
    pub waiting: RefCell<Vec<oneshot::Sender<JobResult>>>,
    /// Marks the processes of the present activation.
    pub invocation: RefCell<String>,
    /// Held while a mount unit is being mounted or unmounted.
    pub mounting: tokio::sync::Mutex<()>,
}

impl Unit {
    /// A unit of which nothing is known yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            loaded: RefCell::default(),
            state: RefCell::default(),
            limit: RefCell::default(),
            control: RefCell::default(),
            waiting: RefCell::default(),
            invocation: RefCell::default(),
            mounting: tokio::sync::Mutex::default(),
        }
    }

    /// What its file means, if it could be read.
    pub fn spec(&self) -> Option<UnitSpec> {
        self.loaded.borrow().as_ref().and_then(|loaded| loaded.spec.clone().ok())
    }

    /// Its `Description=`.
    pub fn description(&self) -> String {
        self.spec().map_or_else(|| self.name.clone(), |spec| spec.description)
    }

    /// Tell everyone who waits for the start how it ended.
    pub fn start_ended(&self, result: &JobResult) {
        for waiting in self.waiting.borrow_mut().drain(..) {
            drop(waiting.send(result.clone()));
        }
    }
}

/// What all units of the machine share.
#[derive(Debug)]
pub struct Host {
    pub files: UnitFiles,
    pub reaper: Reaper,
    pub journal: RefCell<Journal>,
    pub units: RefCell<BTreeMap<String, Rc<Unit>>>,
    pub started: Instant,
    /// Directory of the sockets by which services say that they are ready.
    pub notify: PathBuf,
}

impl Host {
    /// A line of the manager's own about a unit.
    pub fn log(&self, unit: &str, text: impl Into<String>) {
        self.write(unit, "systemd", 1, text.into());
    }

    /// A line in the journal.
    pub fn write(&self, unit: &str, name: &str, pid: i32, text: String) {
        let line = Line { time_us: wall_clock_us(), unit: unit.to_owned(), name: name.to_owned(), pid, text };
        self.journal.borrow_mut().write(&line);
    }

    /// Time since the machine's boot.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
