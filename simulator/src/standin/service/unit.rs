//! A unit in the manager's memory, and what all units share. Invariant: a unit has a task (`control` is set) exactly while it is
//! not at rest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::limits::StartLimit;
use super::protocol::ProblemKind;
use super::spawn::Reaper;
use super::state::{Activity, State, wall_clock_us};
use crate::standin::journal::{Journal, Line};
use crate::standin::units::escape_path;
use crate::standin::units::files::{Loaded, UnitFiles};
use crate::standin::units::spec::{Condition, UnitSpec};

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
    /// The number of what was asked for and has not come to its end; 0: nothing.
    pub job: Cell<u32>,
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
            job: Cell::default(),
        }
    }

    /// Nothing of it runs, nothing is on the way, and it has not failed.
    pub fn is_at_rest(&self) -> bool {
        let is_inactive = self.state.borrow().active == Activity::Inactive;
        is_inactive && self.control.borrow().is_none() && self.job.get() == 0
    }

    /// Forget all but the name, as systemd does with a unit that it keeps in memory no longer.
    pub fn forget(&self) {
        *self.state.borrow_mut() = State::default();
        *self.limit.borrow_mut() = StartLimit::default();
        self.invocation.borrow_mut().clear();
    }

    /// Whether its file speaks of another one, which is kept in memory with it.
    pub fn refers_to(&self, other: &str) -> bool {
        self.spec().is_some_and(|spec| {
            let places = spec.mounts_for.iter().flat_map(|path| path.ancestors());
            let mut mounts =
                places.map(|place| format!("{}.mount", escape_path(&place.display().to_string())));
            spec.wants.iter().any(|(name, _)| name == other) || mounts.any(|mount| mount == other)
        })
    }

    /// What its file means, if it could be read.
    pub fn spec(&self) -> Option<UnitSpec> {
        self.loaded.borrow().as_ref().and_then(|loaded| loaded.spec.clone().ok())
    }

    /// What the journal calls it: its name, and its `Description=` if it has one.
    pub fn label(&self) -> String {
        self.spec().map_or_else(|| self.name.clone(), |spec| self.label_by(&spec))
    }

    /// The same, by what its file meant when it was loaded.
    pub fn label_by(&self, spec: &UnitSpec) -> String {
        let name = &self.name;
        if spec.description == *name { name.clone() } else { format!("{name} - {}", spec.description) }
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
    /// How many jobs there were.
    pub jobs: Cell<u32>,
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

    /// A start that comes to nothing for a condition of its unit.
    pub fn refuse(&self, unit: &Unit, label: &str, failed: &Condition) -> JobResult {
        if failed.assertion {
            self.log(&unit.name, format!("{}: Starting requested but asserts failed.", unit.name));
            self.log(&unit.name, format!("Assertion failed for {label}."));
            return Some(ProblemKind::Assertion);
        }
        let why = format!("{label} was skipped because of an unmet condition check ({}).", failed.text);
        self.log(&unit.name, why);
        None
    }

    /// Carry a job out; until it has ended the unit says that it has one.
    pub fn run_job(
        self: &Rc<Self>,
        unit: &Rc<Unit>,
        job: impl Future<Output = JobResult> + 'static,
    ) -> tokio::task::JoinHandle<JobResult> {
        let number = self.jobs.get() + 1;
        self.jobs.set(number);
        unit.job.set(number);
        let unit = unit.clone();
        tokio::task::spawn_local(async move {
            let result = job.await;
            // A later one may have taken its place.
            if unit.job.get() == number {
                unit.job.set(0);
            }
            result
        })
    }

    /// Time since the machine's boot.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
