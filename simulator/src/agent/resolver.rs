//! What a unit's agent does next: the priority list of Juju's uniter over the model, as one pure function.

use crate::model::{Life, Model, Offer, Resolution, Unit};

use super::relations::{self, RelationStep};
use super::state::{Hook, HookKind, HookRelation, HookSecret, RelationState, Stage};

/// One turn of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Run a hook.
    Hook(Hook),
    /// Run the pending hook (again).
    Repeat,
    /// Take the failed hook for done.
    Skip,
    /// Put the new charm's files in place, then run upgrade-charm with it.
    Upgrade,
    /// Put the new charm's files in place under a failed hook.
    ReplaceFiles,
    /// Run an action.
    Action(u64),
    /// Make storage ready on the machine.
    Provision(String),
    /// Nothing is left to do, for ever.
    Finish,
}

/// What time has made due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// The failed hook may be tried again.
    pub retry: bool,
    /// update-status.
    pub update_status: bool,
}

/// What the agent of `unit` does next; nothing when it is idle. Scopes must have been settled before.
pub fn next(model: &Model, unit: &Unit, due: Due) -> Option<Operation> {
    let agent = &unit.agent;
    if agent.removed {
        return Some(Operation::Finish);
    }
    let is_free = agent.pending.is_none();
    if is_free && let Some(operation) = urgent(model, unit) {
        return Some(operation);
    }
    if (is_free && agent.installed) || agent.failed_hook().is_some() {
        let queued = model
            .tasks
            .values()
            .find(|record| record.task.unit == unit.name && record.task.status == "pending");
        if let Some(record) = queued {
            return record.task.id.parse().ok().map(Operation::Action);
        }
    }
    if !is_free {
        return pending(unit, due);
    }
    if let Some(operation) = storage(model, unit) {
        return Some(operation);
    }
    if unit.life == Life::Dying {
        return Some(dying(model, unit));
    }
    let application = model.applications.get(&unit.application)?;
    if !agent.installed {
        return Some(Operation::Hook(Hook::plain(HookKind::Install)));
    }
    if agent.charm_seen != application.charm_modified_version {
        return Some(Operation::Upgrade);
    }
    let config = model.config_fingerprint(&unit.name);
    if agent.config_seen.as_ref() != Some(&config) {
        return Some(Operation::Hook(Hook { config: Some(config), ..Hook::plain(HookKind::ConfigChanged) }));
    }
    if let Some(hook) = relation(model, unit) {
        return Some(Operation::Hook(hook));
    }
    (due.update_status && agent.started).then(|| Operation::Hook(Hook::plain(HookKind::UpdateStatus)))
}

/// Everything that comes before actions, while no hook is pending.
fn urgent(model: &Model, unit: &Unit) -> Option<Operation> {
    let agent = &unit.agent;
    match agent.follow {
        Some(HookKind::ConfigChanged) => {
            let config = Some(model.config_fingerprint(&unit.name));
            return Some(Operation::Hook(Hook { config, ..Hook::plain(HookKind::ConfigChanged) }));
        }
        Some(kind) => return Some(Operation::Hook(Hook::plain(kind))),
        None => {}
    }
    if agent.rebooted && agent.started && unit.life == Life::Alive {
        return Some(Operation::Hook(Hook::plain(HookKind::Start)));
    }
    if !agent.installed {
        return None;
    }
    if unit.life == Life::Alive {
        let created = ordered_relations(model, unit).into_iter().find(|(_, state, _)| !state.is_created);
        if let Some((id, _, offer)) = created.filter(|(_, _, offer)| !offer.is_dying) {
            return Some(Operation::Hook(relation_hook(HookKind::RelationCreated, id, &offer)));
        }
        if let Some(hook) = leadership(model, unit) {
            return Some(Operation::Hook(hook));
        }
    }
    secret(model, unit).map(Operation::Hook)
}

fn leadership(model: &Model, unit: &Unit) -> Option<Hook> {
    if model.is_leader(&unit.name) {
        return (!unit.agent.leads).then(|| Hook::plain(HookKind::LeaderElected));
    }
    let version = model.applications.get(&unit.application)?.leader_settings_version;
    let is_told = unit.agent.leader_settings_seen == Some(version);
    (model.version.has_leader_settings() && !is_told)
        .then(|| Hook { version, ..Hook::plain(HookKind::LeaderSettingsChanged) })
}

fn secret(model: &Model, unit: &Unit) -> Option<Hook> {
    let now = model.now_ms();
    let hook = |kind, id: &str, label: &str, revision| Hook {
        secret: Some(HookSecret { id: id.to_owned(), label: label.to_owned(), revision }),
        ..Hook::plain(kind)
    };
    let owned = || model.secrets.values().filter(|secret| model.manages_secret(secret, &unit.name));
    for secret in owned() {
        let expired =
            secret.revisions.iter().find(|(_, content)| content.expires_ms.is_some_and(|at| at <= now));
        if let Some((revision, _)) = expired {
            return Some(hook(HookKind::SecretExpired, &secret.id, &secret.label, *revision));
        }
    }
    for secret in owned() {
        if secret.rotation.is_some_and(|rotation| rotation.next_ms <= now) {
            return Some(hook(HookKind::SecretRotate, &secret.id, &secret.label, secret.latest));
        }
    }
    for secret in model.secrets.values().filter(|secret| !model.manages_secret(secret, &unit.name)) {
        if let Some(consumer) = secret.consumers.get(&unit.name)
            && consumer.told_revision != secret.latest
        {
            return Some(hook(HookKind::SecretChanged, &secret.id, &consumer.label, secret.latest));
        }
    }
    for secret in owned() {
        let unread = secret.unread_revisions();
        let told = |revision: &u64| secret.revisions.get(revision).is_none_or(|content| content.removal_told);
        if let Some(revision) = unread.into_iter().find(|revision| !told(revision)) {
            return Some(hook(HookKind::SecretRemove, &secret.id, &secret.label, revision));
        }
    }
    None
}

fn pending(unit: &Unit, due: Due) -> Option<Operation> {
    let pending = unit.agent.pending.as_ref()?;
    match (pending.stage, unit.resolution) {
        (Stage::Queued, _) | (Stage::Failed, Some(Resolution::Retry)) => Some(Operation::Repeat),
        (Stage::Failed, Some(Resolution::Skip)) => Some(Operation::Skip),
        (Stage::Failed, None) if unit.agent.wants_files => Some(Operation::ReplaceFiles),
        (Stage::Failed, None) => due.retry.then_some(Operation::Repeat),
        (Stage::Running, _) => None,
    }
}

fn storage(model: &Model, unit: &Unit) -> Option<Operation> {
    let hook = |kind, id: &str| Operation::Hook(Hook { storage: Some(id.to_owned()), ..Hook::plain(kind) });
    for instance in model.storage_of(&unit.name) {
        let is_attached = unit.agent.storage_attached.contains(&instance.id);
        match (instance.life, is_attached) {
            _ if instance.is_wanted_by(unit) => return Some(Operation::Provision(instance.id.clone())),
            (Life::Alive, false) if unit.life == Life::Alive => {
                return Some(hook(HookKind::StorageAttached, &instance.id));
            }
            (Life::Dying, true) => return Some(hook(HookKind::StorageDetaching, &instance.id)),
            _ => {}
        }
    }
    None
}

fn dying(model: &Model, unit: &Unit) -> Operation {
    let agent = &unit.agent;
    if !agent.installed {
        return Operation::Finish;
    }
    if let Some(hook) = relation(model, unit) {
        return Operation::Hook(hook);
    }
    if agent.started && !agent.stopped {
        return Operation::Hook(Hook::plain(HookKind::Stop));
    }
    Operation::Hook(Hook::plain(HookKind::Remove))
}

/// The unit's relations in the order in which they are looked at.
fn ordered_relations<'a>(model: &Model, unit: &'a Unit) -> Vec<(u64, &'a RelationState, Offer)> {
    let mut found: Vec<_> = unit
        .agent
        .relations
        .iter()
        .filter_map(|(id, state)| Some((*id, state, model.offer(*id, &unit.name, &state.members)?)))
        .collect();
    if model.version.peers_last() {
        found.sort_by_key(|(id, _, offer)| (offer.is_peer, *id));
    }
    found
}

fn relation(model: &Model, unit: &Unit) -> Option<Hook> {
    let is_leaving = unit.life == Life::Dying;
    for (id, state, offer) in ordered_relations(model, unit) {
        if !state.is_created {
            continue;
        }
        if let Some(step) = relations::next(state, &offer, is_leaving) {
            return Some(step_hook(model, unit, id, &offer, step));
        }
    }
    None
}

fn relation_hook(kind: HookKind, id: u64, offer: &Offer) -> Hook {
    let relation = HookRelation {
        id,
        endpoint: offer.endpoint.clone(),
        remote_application: offer.remote_application.clone(),
        remote_unit: None,
        departing_unit: None,
    };
    Hook { relation: Some(relation), ..Hook::plain(kind) }
}

fn step_hook(model: &Model, unit: &Unit, id: u64, offer: &Offer, step: RelationStep) -> Hook {
    let (kind, remote_unit, version) = match step {
        RelationStep::Joined { unit, version } => (HookKind::RelationJoined, Some(unit), version),
        RelationStep::Changed { unit, version } => (HookKind::RelationChanged, Some(unit), version),
        RelationStep::ApplicationChanged { version, .. } => (HookKind::RelationChanged, None, version),
        RelationStep::Departed { unit } => (HookKind::RelationDeparted, Some(unit), 0),
        RelationStep::Broken => (HookKind::RelationBroken, None, 0),
    };
    let mut hook = Hook { version, ..relation_hook(kind, id, offer) };
    if let Some(relation) = &mut hook.relation {
        if kind == HookKind::RelationDeparted {
            let application_lives = model
                .applications
                .get(&unit.application)
                .is_some_and(|application| application.life == Life::Alive);
            let stays = unit.life == Life::Alive && application_lives;
            relation.departing_unit = if stays { remote_unit.clone() } else { Some(unit.name.clone()) };
        }
        relation.remote_unit = remote_unit;
    }
    hook
}

/// The step that a relation hook stands for, to be taken when it succeeded.
pub fn step_of(hook: &Hook) -> Option<RelationStep> {
    let relation = hook.relation.as_ref()?;
    Some(match (hook.kind, &relation.remote_unit) {
        (HookKind::RelationJoined, Some(unit)) => {
            RelationStep::Joined { unit: unit.clone(), version: hook.version }
        }
        (HookKind::RelationChanged, Some(unit)) => {
            RelationStep::Changed { unit: unit.clone(), version: hook.version }
        }
        (HookKind::RelationChanged, None) => RelationStep::ApplicationChanged {
            application: relation.remote_application.clone(),
            version: hook.version,
        },
        (HookKind::RelationDeparted, Some(unit)) => RelationStep::Departed { unit: unit.clone() },
        (HookKind::RelationBroken, _) => RelationStep::Broken,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::commit;
    use super::*;
    use crate::model::JujuVersion;
    use crate::model::testing;

    /// Lets a unit run hooks, all of which succeed, until it is idle or gone.
    fn drain(model: &mut Model, unit: &str) -> Vec<String> {
        let mut ran = Vec::new();
        loop {
            commit::settle(model, unit);
            match next(model, &model.units[unit], Due::default()) {
                Some(Operation::Hook(hook)) => {
                    if hook.kind == HookKind::LeaderElected {
                        model.units.get_mut(unit).unwrap().agent.leads = true;
                    }
                    commit::finish(model, unit, &hook);
                    ran.push(hook.name());
                }
                Some(Operation::Finish) | None => return ran,
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    fn two_units(version: JujuVersion) -> Model {
        let mut model = testing::model(&[
            "{name: web, peers: {a-ring: ring}, provides: {site: http}}",
            "{name: client, requires: {http: http}}",
        ]);
        model.version = version;
        for application in ["web", "web", "client"] {
            testing::add_unit(&mut model, application);
        }
        model.integrate("web", "client").unwrap();
        for _ in 0..3 {
            for unit in ["web/0", "web/1", "client/0"] {
                drain(&mut model, unit);
            }
        }
        model
    }

    #[test]
    fn peers_come_last_since_juju_3_5() {
        for (version, first) in
            [(JujuVersion::V2_9, "a-ring-relation-departed"), (JujuVersion::V3_6, "site-relation-departed")]
        {
            let mut model = two_units(version);
            model.end_unit("web/1", false);
            let last = drain(&mut model, "web/1");
            assert_eq!(last[0], first);
            let mut sorted = last.clone();
            sorted.sort();
            assert_eq!(
                sorted,
                [
                    "a-ring-relation-departed",
                    "remove",
                    "site-relation-broken",
                    "site-relation-departed",
                    "stop"
                ]
            );
            assert_eq!(last[3..], ["stop", "remove"]);
        }
    }

    #[test]
    fn juju_4_forgets_to_tell_peers_and_new_units_do_not_see_the_dead() {
        let mut model = two_units(JujuVersion::V4_0);
        model.end_unit("web/1", false);
        drain(&mut model, "web/1");
        model.drop_unit("web/1");
        assert_eq!(drain(&mut model, "web/0"), [""; 0]);
        assert_eq!(drain(&mut model, "client/0"), ["http-relation-departed"]);
        assert!(model.units["web/0"].agent.relations[&0].members.contains_key("web/1"));
        testing::add_unit(&mut model, "web");
        drain(&mut model, "web/2");
        assert!(!model.units["web/2"].agent.relations[&0].members.contains_key("web/1"));
    }

    #[test]
    fn a_unit_that_was_never_installed_leaves_without_a_hook() {
        let mut model = testing::model(&["{name: web}"]);
        let unit = testing::add_unit(&mut model, "web");
        model.end_unit(&unit, false);
        assert_eq!(next(&model, &model.units[&unit], Due::default()), Some(Operation::Finish));
    }

    #[test]
    fn a_failed_hook_holds_everything_back_but_actions() {
        let mut model = two_units(JujuVersion::V3_6);
        let hook = Hook::plain(HookKind::UpdateStatus);
        let pending = super::super::state::Pending { hook, stage: Stage::Failed, failures: 1, failed_ms: 0 };
        model.units.get_mut("web/0").unwrap().agent.pending = Some(pending);
        model.end_unit("web/1", false);
        let ask =
            |model: &Model, retry| next(model, &model.units["web/0"], Due { retry, update_status: true });
        assert_eq!(ask(&model, false), None);
        assert_eq!(ask(&model, true), Some(Operation::Repeat));
        model.units.get_mut("web/0").unwrap().resolution = Some(Resolution::Skip);
        assert_eq!(ask(&model, false), Some(Operation::Skip));
    }
}
