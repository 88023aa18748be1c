//! What the command line and the controller of a model say to each other: one JSON document a line over
//! the model's unix socket; one [`Request`] opens a connection, [`Reply`] lines answer until `Done` or `Failed`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::machine::MachineKind;

/// What the command line asks of a model's controller.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "fields are named after the words of the command line")]
pub enum Request {
    /// Add an application; `Done` carries `{"application": NAME, "units": [..], "messages": [..]}`.
    Deploy(Deploy),
    /// Relate two endpoints, each `application` or `application:endpoint`.
    Integrate {
        left: String,
        right: String,
    },
    /// Take a relation away, named like in `Integrate`.
    RemoveRelation {
        left: String,
        right: String,
    },
    /// Add `units` units; `storage` holds `name=spec` directives, `attach` existing storage ids.
    AddUnit {
        application: String,
        units: u32,
        storage: BTreeMap<String, String>,
        attach: Vec<String>,
    },
    /// Remove units. `force`: the unit need not take part, its machine is taken away at once.
    RemoveUnit {
        units: Vec<String>,
        force: bool,
        destroy_storage: bool,
    },
    /// Remove a whole application.
    RemoveApplication {
        application: String,
        force: bool,
        destroy_storage: bool,
    },
    /// Read options (`Done` carries Juju's `config` structure), or one of them.
    ConfigGet {
        application: String,
        option: Option<String>,
    },
    /// Set options from text (parsed by the option's declared type) and set others back to their default.
    ConfigSet {
        application: String,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
    },
    /// Queue an action on each unit (`application/leader` allowed); `Done` carries
    /// `{"operation": ID, "tasks": {unit: id}}`, the units by their real names.
    Run {
        units: Vec<String>,
        action: String,
        parameters: serde_json::Map<String, serde_json::Value>,
    },
    /// Follow a task until it has ended: `Log` lines (from action-log), then `Done` with the [`Task`].
    /// `Failed` after `timeout_ms` without an end.
    WaitTask {
        id: String,
        timeout_ms: u64,
    },
    /// The [`Task`] as it is now.
    ShowTask {
        id: String,
    },
    /// Operations, oldest first, or the one with this id; `Done` carries
    /// `[{"id": ID, "action": NAME, "tasks": [Task, ..]}, ..]`.
    Operations {
        id: Option<String>,
    },
    /// Ask that a task be cancelled.
    CancelTask {
        id: String,
    },
    /// The declared actions of an application, with their parameter schemas.
    Actions {
        application: String,
    },
    /// Everything that `status` shows; `Done` carries a [`crate::status::Status`].
    Status,
    /// Juju's `show-unit --format json`: databags, addresses, ports, leadership.
    ShowUnit {
        unit: String,
    },
    /// Run a program (the first word, with the others as they stand) in a hook context of the unit (`juju exec`); `Done`
    /// carries `{"stdout","stderr","return-code"}`.
    Exec {
        unit: String,
        command: Vec<String>,
        timeout_ms: u64,
    },
    /// Where the command line finds the machine of a unit: `Done` carries `{"machine": ID, "init-pid": PID}`
    /// (it then enters by itself, so that terminals work).
    Machine {
        unit: String,
    },
    /// Upload a resource from a file of this host.
    AttachResource {
        application: String,
        resource: String,
        file: PathBuf,
    },
    /// The resources of an application: `Done` carries
    /// `[{"name", "type", "filename", "description", "revision" (absent without an upload), "size", "fingerprint"}, ..]`.
    Resources {
        application: String,
    },
    /// `juju expose` and `juju unexpose`.
    Expose {
        application: String,
        exposed: bool,
    },
    /// `juju trust` (or, with `trusted` false, its removal).
    Trust {
        application: String,
        trusted: bool,
    },
    /// Replace the charm of an application (and upload resources with it).
    Refresh {
        application: String,
        charm: PathBuf,
        resources: BTreeMap<String, PathBuf>,
        force_units: bool,
    },
    /// Add storage to a running unit (`name=spec`), or attach/detach an existing instance.
    AddStorage {
        unit: String,
        name: String,
        spec: String,
    },
    AttachStorage {
        unit: String,
        storage: String,
    },
    DetachStorage {
        storage: String,
    },
    /// Retry, or with `no_retry` mark as done, the failed hook of a unit.
    Resolved {
        unit: String,
        no_retry: bool,
    },
    /// Set model options (`update-status-hook-interval`, `automatically-retry-hooks`, `juju-http-proxy`…) and set others
    /// back; `Done` carries all of them as `{name: value}`, also when nothing is set.
    ModelConfig {
        set: BTreeMap<String, String>,
        reset: Vec<String>,
    },
    /// Log lines as `Log` replies; with `follow` until the connection closes, otherwise those there are now.
    DebugLog {
        follow: bool,
        include: Vec<String>,
        lines: Option<usize>,
        level: Option<String>,
    },
    /// Wait until a predicate over the model holds (`idle`, or `status` words); `Failed` says what was missing.
    Wait(Wait),
    /// Faults and shortcuts that only tests and demonstrations use.
    Lab(Lab),
    /// Take the model down: units are not asked, machines are ended, every trace is removed.
    Destroy,
}

/// The arguments of `deploy`. `charm` is a directory or a `.charm` file, absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deploy {
    /// Path of the charm.
    pub charm: PathBuf,
    /// Application name; the charm's own when absent.
    pub application: Option<String>,
    /// Number of units.
    pub units: u32,
    /// Options as text, like on Juju's command line.
    pub config: BTreeMap<String, String>,
    /// Resource name to file.
    pub resources: BTreeMap<String, PathBuf>,
    /// Storage name to directive (`1G`, `loop,1G`, `loop,1,2G`).
    pub storage: BTreeMap<String, String>,
    /// Existing storage ids to attach to the (single) unit.
    pub attach_storage: Vec<String>,
    /// Endpoint to space.
    pub bind: BTreeMap<String, String>,
    /// `juju trust`.
    pub trust: bool,
    /// What its units run on; what the model says when absent.
    #[serde(default)]
    pub machines: Option<MachineKind>,
}

/// A condition on the model, with a bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wait {
    /// Units or applications it is about; empty: all.
    pub subjects: Vec<String>,
    /// Wanted workload status word (`active`), if any.
    pub status: Option<String>,
    /// Text that every subject's status message must contain, if any.
    pub message: Option<String>,
    /// No hook, action or event may be running or due (`update-status` does not count).
    pub idle: bool,
    /// Exact number of units wanted of the (single) application named in `subjects`, if any.
    pub units: Option<usize>,
    /// Upper bound.
    pub timeout_ms: u64,
}

/// Faults. Each is done when `Done` is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "fields are named after the words of the command line")]
pub enum Lab {
    /// Cut the unit's machine off the network of the model, or, one way, let only what it sends be lost.
    Cut {
        unit: String,
        one_way: bool,
    },
    /// Let packets that the unit's machine sends come late, and lose some of them.
    Slow {
        unit: String,
        delay_ms: u64,
        loss_percent: u8,
    },
    /// Plug the machine in again, and let everything that it sends arrive at once.
    Heal {
        unit: String,
    },
    /// End the machine of the unit as a power cut does; it stays down.
    KillMachine {
        unit: String,
    },
    /// Power a killed machine on again.
    StartMachine {
        unit: String,
    },
    /// Restart the machine (its disk is kept); the agent then runs `start`, as after a real reboot.
    Reboot {
        unit: String,
    },
    /// Give the machine another address.
    SetAddress {
        unit: String,
        address: String,
    },
    /// SIGKILL the process of the unit's next hook (named `hook`, or any; `actions/NAME` for an action) when it makes its `call`-th
    /// hook tool call (1-based; `when` = before the tool has effect or after). The hook then counts as failed.
    KillHook {
        unit: String,
        hook: Option<String>,
        call: u32,
        after: bool,
        /// Later hooks die too, each this many calls later; 0: only one.
        step: u32,
        /// Each hook has its own count, which begins at `call` again once the hook has come through.
        each: bool,
    },
    /// Forget what `KillHook` has ordered.
    SpareHooks {
        unit: String,
    },
    /// SIGKILL the process of the hook or action that runs now. `Failed` when there is none.
    KillRunning {
        unit: String,
    },
    /// The runs of the unit (or all units of an application) that have ended, with the hook tools that each called.
    Calls {
        subject: String,
    },
    /// Fire update-status on the unit (or all units of an application) now and wait for its end.
    UpdateStatus {
        subject: String,
    },
    /// Move Juju leadership to this unit.
    Leader {
        unit: String,
    },
    /// Let the clock that leases and status ages are measured with run ahead.
    AdvanceClock {
        seconds: u64,
    },
    /// Fill the disk of the machine but for `free_kib`, or free it again.
    FillDisk {
        unit: String,
        free_kib: u64,
    },
    FreeDisk {
        unit: String,
    },
    /// Let the controller refuse every question about a relation that the agents go on listing, or answer again.
    HideRelation {
        relation: String,
    },
    RevealRelation {
        relation: String,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Something to show while the request is being worked on.
    Log(LogLine),
    /// The request was carried out.
    Done(serde_json::Value),
    /// It was not; the text reads like Juju's own, without the leading `ERROR `.
    Failed(String),
}

/// A line of the model's log, or of a running action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogLine {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// `unit-etcd-0`, `machine-0`, `controller`.
    pub entity: String,
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR`.
    pub level: String,
    /// Logger, e.g. `unit.etcd/0.juju-log`.
    pub module: String,
    /// The text.
    pub message: String,
}

/// An action that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Task {
    /// A small integer as text.
    pub id: String,
    /// The unit it runs on.
    pub unit: String,
    /// The action.
    pub action: String,
    /// `pending`, `running`, `completed`, `failed`, `cancelled`, `aborted`.
    pub status: String,
    /// Message of `action-fail`, or of the agent.
    pub message: String,
    /// The result map.
    pub results: serde_json::Value,
    /// When it was asked for, began and ended, by [`crate::status::format_time`]; empty before.
    #[serde(default)]
    pub enqueued: String,
    /// See `enqueued`.
    #[serde(default)]
    pub started: String,
    /// See `enqueued`.
    #[serde(default)]
    pub completed: String,
    /// `action-log` lines.
    pub log: Vec<LogLine>,
}
