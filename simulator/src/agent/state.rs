//! What a unit agent remembers of its work. Invariant: it changes only together with the model, after a hook and its
//! flush succeeded, so that a restarted agent goes on exactly where the last one stopped.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The hooks that Juju runs on machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are Juju's words")]
pub enum HookKind {
    Install,
    Start,
    Stop,
    Remove,
    ConfigChanged,
    UpdateStatus,
    UpgradeCharm,
    LeaderElected,
    LeaderSettingsChanged,
    RelationCreated,
    RelationJoined,
    RelationChanged,
    RelationDeparted,
    RelationBroken,
    StorageAttached,
    StorageDetaching,
    SecretChanged,
    SecretRotate,
    SecretExpired,
    SecretRemove,
}

impl HookKind {
    fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::ConfigChanged => "config-changed",
            Self::UpdateStatus => "update-status",
            Self::UpgradeCharm => "upgrade-charm",
            Self::LeaderElected => "leader-elected",
            Self::LeaderSettingsChanged => "leader-settings-changed",
            Self::RelationCreated => "relation-created",
            Self::RelationJoined => "relation-joined",
            Self::RelationChanged => "relation-changed",
            Self::RelationDeparted => "relation-departed",
            Self::RelationBroken => "relation-broken",
            Self::StorageAttached => "storage-attached",
            Self::StorageDetaching => "storage-detaching",
            Self::SecretChanged => "secret-changed",
            Self::SecretRotate => "secret-rotate",
            Self::SecretExpired => "secret-expired",
            Self::SecretRemove => "secret-remove",
        }
    }
}

/// The relation part of a hook's context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRelation {
    /// Relation id.
    pub id: u64,
    /// Own endpoint.
    pub endpoint: String,
    /// The other application; own application for peers.
    pub remote_application: String,
    /// The unit it is about, in joined, changed and departed.
    pub remote_unit: Option<String>,
    /// Who leaves, in departed.
    pub departing_unit: Option<String>,
}

/// The secret part of a hook's context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSecret {
    /// Secret id without `secret:`.
    pub id: String,
    /// The unit's label for it.
    pub label: String,
    /// The revision it is about.
    pub revision: u64,
}

/// A hook to run, with everything that a repetition must run with again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Which.
    pub kind: HookKind,
    /// For relation hooks.
    pub relation: Option<HookRelation>,
    /// Storage id, for storage hooks.
    pub storage: Option<String>,
    /// For secret hooks.
    pub secret: Option<HookSecret>,
    /// The version (of a databag, of leader settings, of the charm) that will have been told when it succeeds.
    pub version: u64,
    /// The configuration that will have been told when it succeeds.
    pub config: Option<String>,
}

impl Hook {
    /// A hook without any context.
    pub fn plain(kind: HookKind) -> Self {
        Self { kind, relation: None, storage: None, secret: None, version: 0, config: None }
    }

    /// Its full name, e.g. `cluster-relation-changed`.
    pub fn name(&self) -> String {
        let prefix = match (&self.relation, &self.storage) {
            (Some(relation), _) => Some(relation.endpoint.as_str()),
            (None, Some(storage)) => storage.split('/').next(),
            (None, None) => None,
        };
        match prefix {
            Some(prefix) => format!("{prefix}-{}", self.kind.name()),
            None => self.kind.name().to_owned(),
        }
    }
}

/// How far a hook that is not done has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is to run when the agent gets to it.
    Queued,
    /// Its process runs.
    Running,
    /// It failed, and waits for a repetition or for an operator.
    Failed,
}

/// A hook that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The hook.
    pub hook: Hook,
    /// How far it has come.
    pub stage: Stage,
    /// How often it failed in a row.
    pub failures: u32,
    /// When it failed last, ms since the Unix epoch on the model's clock.
    pub failed_ms: u64,
}

/// What an agent knows of one relation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationState {
    /// relation-created has run.
    pub is_created: bool,
    /// Remote units and the bag version that was delivered last.
    pub members: BTreeMap<String, u64>,
    /// Applications and the bag version that was delivered last.
    pub applications: BTreeMap<String, u64>,
    /// The unit that joined and is owed a relation-changed.
    pub owed: Option<String>,
}

/// What an agent remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentState {
    /// install succeeded.
    pub installed: bool,
    /// start succeeded.
    pub started: bool,
    /// stop succeeded.
    pub stopped: bool,
    /// remove succeeded.
    pub removed: bool,
    /// The hook that must directly follow the last one.
    pub follow: Option<HookKind>,
    /// Relations that the unit has entered.
    pub relations: BTreeMap<u64, RelationState>,
    /// The configuration that config-changed told last.
    pub config_seen: Option<String>,
    /// The charm version whose files are in place and that upgrade-charm told.
    pub charm_seen: u64,
    /// Whether leader-elected was begun since the unit leads.
    pub leads: bool,
    /// The leader settings that leader-settings-changed told last.
    pub leader_settings_seen: Option<u64>,
    /// Storage whose storage-attached succeeded.
    pub storage_attached: BTreeSet<String>,
    /// The hook that is not done.
    pub pending: Option<Pending>,
    /// The machine was restarted and start has not run since.
    pub rebooted: bool,
    /// An operator wants the new charm's files under a failed hook.
    pub wants_files: bool,
    /// Context id of the program that runs now, by which a later agent finds its remains.
    pub context: Option<String>,
}

impl AgentState {
    /// The hook that failed and is neither repeated nor resolved yet.
    pub fn failed_hook(&self) -> Option<&Pending> {
        self.pending.as_ref().filter(|pending| pending.stage == Stage::Failed)
    }
}
