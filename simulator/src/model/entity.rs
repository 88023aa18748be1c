//! Applications, units, machines and tasks, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::state::AgentState;
use crate::api::Task;
use crate::charm::{ActionSpec, Charm, Metadata, OptionSpec};
use crate::machine::{MachineKind, MachineSpec};

use super::{Lease, StorageDirective};

/// Whether something is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It stays.
    Alive,
    /// Its removal was asked for; its units still run their last hooks.
    Dying,
}

/// A status with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusEntry {
    /// The word.
    pub current: String,
    /// The text beside it.
    pub message: String,
    /// Since when, ms since the Unix epoch on the model's clock.
    pub since_ms: u64,
}

impl StatusEntry {
    /// A status that begins now.
    pub fn new(current: &str, message: &str, now_ms: u64) -> Self {
        Self { current: current.to_owned(), message: message.to_owned(), since_ms: now_ms }
    }
}

/// The charm of an application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CharmRecord {
    /// Where it is kept unpacked, on the host.
    pub directory: PathBuf,
    /// 0, 1, … local revisions.
    pub revision: u32,
    /// What it declares.
    pub declared: Arc<Declared>,
}

/// What a charm declares, apart from its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Declared {
    /// `metadata.yaml`.
    pub metadata: Metadata,
    /// `config.yaml`.
    pub options: BTreeMap<String, OptionSpec>,
    /// `actions.yaml`.
    pub actions: BTreeMap<String, ActionSpec>,
    /// The file `version`.
    pub version: Option<String>,
}

impl From<&Charm> for Declared {
    fn from(charm: &Charm) -> Self {
        Self {
            metadata: charm.metadata.clone(),
            options: charm.options.clone(),
            actions: charm.actions.clone(),
            version: charm.version.clone(),
        }
    }
}

/// An uploaded resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resource {
    /// The upload, kept with the model.
    pub file: PathBuf,
    /// 1, 2, … per resource.
    pub revision: u32,
    /// Size, bytes.
    pub size: u64,
}

/// An application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its charm.
    pub charm: CharmRecord,
    /// Goes up when the charm or a resource changes; agents run upgrade-charm on a difference.
    pub charm_modified_version: u64,
    /// Whether it is to stay.
    pub life: Life,
    /// Number of its next unit.
    pub next_unit: u32,
    /// Options that were set explicitly.
    pub config: BTreeMap<String, Value>,
    /// `juju trust`.
    pub trust: bool,
    /// Whether `expose` was asked for.
    pub exposed: bool,
    /// Status that the leader set; absent: the worst of the units'.
    pub status: Option<StatusEntry>,
    /// Resources that were uploaded.
    pub resources: BTreeMap<String, Resource>,
    /// Who leads, since Juju says so.
    pub lease: Option<Lease>,
    /// leader-set.
    pub leader_settings: BTreeMap<String, String>,
    /// Goes up with every leader-set that changed something.
    pub leader_settings_version: u64,
    /// What each unit's storage is made from.
    pub storage: BTreeMap<String, StorageDirective>,
    /// Endpoint to space; only `alpha` exists.
    pub bindings: BTreeMap<String, String>,
    /// What its units run on.
    #[serde(default)]
    pub machines: MachineKind,
}

impl Application {
    /// The option values that a charm reads: defaults overlaid with what was set; null where neither exists.
    pub fn options(&self) -> Map<String, Value> {
        let declared = &self.charm.declared.options;
        declared
            .iter()
            .map(|(name, option)| {
                let set = self.config.get(name).cloned();
                (name.clone(), set.unwrap_or_else(|| option.default.clone()))
            })
            .collect()
    }
}

/// What to do with a failed hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// Run it again.
    Retry,
    /// Take it for done.
    Skip,
}

/// A range of ports. ICMP has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// Whether two ranges share a port.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.first <= other.last && other.first <= self.last
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.protocol == "icmp" {
            formatter.write_str("icmp")
        } else if self.first == self.last {
            write!(formatter, "{}/{}", self.first, self.protocol)
        } else {
            write!(formatter, "{}-{}/{}", self.first, self.last, self.protocol)
        }
    }
}

/// A unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unit {
    /// `etcd/0`.
    pub name: String,
    /// `etcd`.
    pub application: String,
    /// `0`.
    pub number: u32,
    /// Id of the machine it runs on.
    pub machine: String,
    /// The unit that it is a subordinate of.
    pub principal: Option<String>,
    /// Whether it is to stay.
    pub life: Life,
    /// Whether its storage goes with it.
    pub destroy_storage: bool,
    /// Workload status as the charm or the agent set it; a failed hook is shown over it.
    pub workload: StatusEntry,
    /// Whether anything ever set the workload status.
    pub workload_was_set: bool,
    /// What it said before, newest last.
    pub history: Vec<StatusEntry>,
    /// The agent: allocating, executing, idle, failed, lost.
    pub agent_status: StatusEntry,
    /// application-version-set.
    pub workload_version: String,
    /// Open ports by endpoint; the empty name stands for all endpoints.
    pub ports: BTreeMap<String, BTreeSet<PortRange>>,
    /// state-set.
    pub state: BTreeMap<String, String>,
    /// Asked for by `resolved`, not yet carried out.
    pub resolution: Option<Resolution>,
    /// What its agent has done so far.
    pub agent: AgentState,
}

/// How many earlier statuses are kept.
const HISTORY_LENGTH_MAX: usize = 50;

impl Unit {
    /// Sets the workload status and remembers the one before.
    pub fn set_workload(&mut self, current: &str, message: &str, now_ms: u64) {
        let entry = StatusEntry::new(current, message, now_ms);
        if self.workload.current != entry.current || self.workload.message != entry.message {
            let before = std::mem::replace(&mut self.workload, entry);
            self.history.push(before);
            if self.history.len() > HISTORY_LENGTH_MAX {
                self.history.remove(0);
            }
        } else {
            self.workload.since_ms = entry.since_ms;
        }
        self.workload_was_set = true;
    }

    /// Sets the workload status in the agent's own name; it does not count as one that the charm has set.
    pub fn announce(&mut self, current: &str, message: &str, now_ms: u64) {
        let was_set = self.workload_was_set;
        self.set_workload(current, message, now_ms);
        self.workload_was_set = was_set;
    }

    /// The workload status as an operator sees it: an unresolved failed hook hides what the charm said.
    pub fn shown_workload(&self) -> StatusEntry {
        match self.agent.failed_hook() {
            Some(pending) => StatusEntry {
                current: "error".to_owned(),
                message: format!("hook failed: {:?}", pending.hook.name()),
                since_ms: pending.failed_ms,
            },
            None => self.workload.clone(),
        }
    }

    /// `unit-etcd-0`.
    pub fn tag(&self) -> String {
        unit_tag(&self.name)
    }
}

impl super::Model {
    /// What an application's status is: what its leader set, else the worst of its units'.
    pub fn application_status(&self, application: &str) -> StatusEntry {
        const WORST_FIRST: [&str; 7] =
            ["error", "blocked", "maintenance", "waiting", "active", "terminated", "unknown"];
        let set = self.applications.get(application).and_then(|application| application.status.clone());
        let rank = |entry: &StatusEntry| {
            WORST_FIRST.iter().position(|word| *word == entry.current).unwrap_or(WORST_FIRST.len())
        };
        let worst = || self.units_of(application).map(Unit::shown_workload).min_by_key(rank);
        set.or_else(worst).unwrap_or_else(|| StatusEntry::new("unknown", "", self.now_ms()))
    }
}

/// `etcd/0` → `unit-etcd-0`.
pub fn unit_tag(unit: &str) -> String {
    format!("unit-{}", unit.replace('/', "-"))
}

/// What is known of a machine's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineState {
    /// Being made.
    Pending,
    /// Powered on.
    Started,
    /// Shutting down in order and starting again.
    Restarting,
    /// Powered off by `lab kill-machine`.
    Down,
    /// Could not be made.
    Failed(String),
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineRecord {
    /// What it was made from; the address follows `lab set-address`.
    pub spec: MachineSpec,
    /// How it is.
    pub state: MachineState,
    /// Since when, ms since the Unix epoch on the model's clock.
    pub since_ms: u64,
}

/// A task with what only the controller needs to know of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The operation that it belongs to.
    pub operation: u64,
    /// As the command line sees it.
    pub task: Task,
    /// Parameters, defaults included.
    pub parameters: Map<String, Value>,
    /// Whether it was asked to end early.
    pub cancelling: bool,
}

impl TaskRecord {
    /// Whether nothing more will happen to it.
    pub fn has_ended(&self) -> bool {
        matches!(self.task.status.as_str(), "completed" | "failed" | "cancelled" | "aborted")
    }
}
