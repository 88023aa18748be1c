//! Everything that belongs to one run of a hook, action or `exec`: what its tools may take for granted, what they have
//! read so far, and what they want to change when it succeeds. Invariant: nothing in here has taken effect yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{Model, PortRange, Secret, SecretOwner, StatusEntry};

use super::state::{Hook, HookKind};

/// A databag or settings map.
pub type Settings = BTreeMap<String, String>;

/// A wish to open or close ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortChange {
    /// Endpoints; empty: all.
    pub endpoints: Vec<String>,
    /// The ports.
    pub range: PortRange,
    /// Open, or close.
    pub open: bool,
}

/// A wish to change a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretChange {
    /// Add it, or replace what is known of it (content, label, grants, …).
    Put(Box<Secret>),
    /// Remove it, or one revision.
    #[allow(missing_docs, reason = "the fields are named after what they are")]
    Remove { id: String, revision: Option<u64> },
    /// Pin this unit to a revision under a label.
    #[allow(missing_docs, reason = "the fields are named after what they are")]
    Pin { id: String, revision: u64, label: String },
}

/// Whether the machine is to restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reboot {
    /// No.
    #[default]
    None,
    /// After the hook succeeded.
    After,
    /// At once; the hook runs again afterwards.
    Now,
}

/// The action part of a context.
#[derive(Debug, Clone)]
pub struct ActionContext {
    /// Task id.
    pub task: u64,
    /// Action name.
    pub name: String,
    /// Parameters with defaults.
    pub parameters: Map<String, Value>,
    /// action-set so far.
    pub results: Map<String, Value>,
    /// action-fail.
    pub failure: Option<String>,
}

/// What `lab kill-hook` has planned for the runs of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillPlan {
    /// Name of the hook (`actions/NAME` for an action); any when absent.
    pub hook: Option<String>,
    /// At which tool call, counted from 1.
    pub call: u32,
    /// After its effect instead of before.
    pub after: bool,
    /// Later runs are killed too, each this many calls later than the one before; 0: only one run.
    pub step: u32,
    /// Counts for each hook by itself, and from `call` again once it has come through.
    pub each: Option<BTreeMap<String, u32>>,
}

/// The kill that is meant for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// At which tool call, counted from 1.
    pub call: u32,
    /// After its effect instead of before.
    pub after: bool,
}

impl KillPlan {
    /// The kill of the run that begins, if it is one of those; and what is planned for the runs after it.
    pub fn take(mut self, run_name: &str) -> (Option<Kill>, Option<Self>) {
        if self.hook.as_ref().is_some_and(|wanted| wanted != run_name) {
            return (None, Some(self));
        }
        let next = match &mut self.each {
            Some(each) => each.entry(run_name.to_owned()).or_insert(self.call),
            None => &mut self.call,
        };
        let kill = Kill { call: *next, after: self.after };
        *next = next.saturating_add(self.step);
        (Some(kill), (self.step > 0).then_some(self))
    }

    /// A run that a kill was meant for has come through.
    pub fn note_survival(&mut self, run_name: &str) {
        if let Some(each) = &mut self.each {
            each.remove(run_name);
        }
    }
}

/// What was read once in this run and is not read again.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    /// config-get.
    pub options: Option<Map<String, Value>>,
    /// leader-get.
    pub leader_settings: Option<Settings>,
    /// Own unit bags by relation, as they were before this run.
    pub own_bags: BTreeMap<u64, Settings>,
    /// Own application bags, likewise.
    pub own_application_bags: BTreeMap<u64, Settings>,
    /// Other applications' bags, and those of units that are not members.
    pub other_bags: BTreeMap<(u64, String), Settings>,
    /// status-get.
    pub status: Option<StatusEntry>,
    /// opened-ports.
    pub ports: Option<BTreeMap<String, BTreeSet<PortRange>>>,
    /// storage-list.
    pub storage: Option<Vec<String>>,
    /// is-leader once said no.
    pub is_known_follower: bool,
}

/// A relation as the tools of this run see it.
#[derive(Debug, Clone, Default)]
pub struct KnownRelation {
    /// Own endpoint.
    pub endpoint: String,
    /// Remote application; own for peers.
    pub remote_application: String,
    /// relation-list.
    pub members: BTreeSet<String>,
    /// Whether it is a peer relation.
    pub is_peer: bool,
    /// Whether it is going away.
    pub is_dying: bool,
}

/// One run.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `JUJU_CONTEXT_ID`.
    pub id: String,
    /// The unit.
    pub unit: String,
    /// The hook; none for actions and `exec`.
    pub hook: Option<Hook>,
    /// The action.
    pub action: Option<ActionContext>,
    /// Relations by id.
    pub relations: BTreeMap<u64, KnownRelation>,
    /// Process id, seen from the host, of the program once it runs.
    pub pid: Option<u32>,
    /// Tool calls so far.
    pub calls: u32,
    /// The tools that were called, by their names.
    pub called: Vec<String>,
    /// When to be killed.
    pub kill: Option<Kill>,
    /// It was killed on purpose, which counts as a failure (any other SIGKILL is taken for a shutdown).
    pub was_killed: bool,
    /// relation-set.
    pub unit_writes: BTreeMap<u64, Settings>,
    /// relation-set --app.
    pub application_writes: BTreeMap<u64, Settings>,
    /// state-set: the whole state, once written.
    pub state: Option<Settings>,
    /// open-port, close-port.
    pub ports: Vec<PortChange>,
    /// storage-add: name and count.
    pub storage: Vec<(String, u32)>,
    /// Secret tools.
    pub secrets: Vec<SecretChange>,
    /// juju-reboot.
    pub reboot: Reboot,
    /// Reads.
    pub caches: Caches,
    /// Member units' bags; these are kept from run to run, and read again when their unit's hook is delivered.
    pub member_bags: BTreeMap<(u64, String), Settings>,
}

impl Context {
    /// A context for a run of a unit, with the relations as its agent knows them.
    pub fn new(model: &Model, unit: &str, run: &str) -> Self {
        let id = format!("{unit}-{run}-{}", uuid::Uuid::new_v4().simple());
        let mut relations = BTreeMap::new();
        if let Some(record) = model.units.get(unit) {
            for (relation, state) in &record.agent.relations {
                let Some(offer) = model.offer(*relation, unit, &state.members) else { continue };
                let known = KnownRelation {
                    endpoint: offer.endpoint,
                    remote_application: offer.remote_application,
                    members: state.members.keys().cloned().collect(),
                    is_peer: offer.is_peer,
                    is_dying: offer.is_dying,
                };
                relations.insert(*relation, known);
            }
        }
        Self { id, unit: unit.to_owned(), relations, ..Self::default() }
    }

    /// A context for a hook: the members are those that its tools are to see, and the bag it is about is read anew.
    pub fn for_hook(
        model: &Model,
        unit: &str,
        hook: Hook,
        member_bags: BTreeMap<(u64, String), Settings>,
    ) -> Self {
        let mut context = Self { member_bags, ..Self::new(model, unit, &hook.name()) };
        if let Some(relation) = &hook.relation
            && let Some(remote_unit) = &relation.remote_unit
        {
            if let Some(known) = context.relations.get_mut(&relation.id) {
                if hook.kind == HookKind::RelationDeparted {
                    known.members.remove(remote_unit);
                } else {
                    known.members.insert(remote_unit.clone());
                }
            }
            if hook.kind != HookKind::RelationDeparted {
                context.member_bags.remove(&(relation.id, remote_unit.clone()));
            }
        }
        context.hook = Some(hook);
        context
    }

    /// What names this run for `lab kill-hook`.
    pub fn run_name(&self) -> String {
        match (&self.hook, &self.action) {
            (Some(hook), _) => hook.name(),
            (None, Some(action)) => format!("actions/{}", action.name),
            (None, None) => "exec".to_owned(),
        }
    }

    /// The secrets as this run sees them: the model's, with its own wishes laid over.
    pub fn secrets_view(&self, model: &Model) -> BTreeMap<String, Secret> {
        let mut secrets = model.secrets.clone();
        apply_secret_changes(&mut secrets, &self.secrets, &self.unit);
        secrets
    }
}

/// Lays wishes over secrets.
pub fn apply_secret_changes(secrets: &mut BTreeMap<String, Secret>, changes: &[SecretChange], unit: &str) {
    for change in changes {
        match change {
            SecretChange::Put(secret) => {
                let mut secret = (**secret).clone();
                if let Some(old) = secrets.get(&secret.id) {
                    secret.consumers.clone_from(&old.consumers);
                }
                secrets.insert(secret.id.clone(), secret);
            }
            SecretChange::Remove { id, revision: None } => {
                secrets.remove(id);
            }
            SecretChange::Remove { id, revision: Some(revision) } => {
                if let Some(secret) = secrets.get_mut(id) {
                    secret.revisions.remove(revision);
                    if secret.revisions.is_empty() {
                        secrets.remove(id);
                    }
                }
            }
            SecretChange::Pin { id, revision, label } => {
                if let Some(secret) = secrets.get_mut(id) {
                    let told_revision = secret.latest;
                    let consumer =
                        crate::model::Consumer { revision: *revision, label: label.clone(), told_revision };
                    secret.consumers.insert(unit.to_owned(), consumer);
                }
            }
        }
    }
}

/// Whether the owner of a secret is an application.
pub fn is_application_owned(secret: &Secret) -> bool {
    matches!(secret.owner, SecretOwner::Application(_))
}
