//! What a successful run changes: first everything that its tools wished for, in one step or not at all; then what
//! the agent remembers.

use crate::model::{Life, Model, application_of};

use super::context::{Context, apply_secret_changes};
use super::relations;
use super::resolver::step_of;
use super::state::{Hook, HookKind};

/// Most bytes of a unit's state (controller setting `max-charm-state-size`).
const STATE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Delays until secret hooks that nobody acted upon come again, ms.
const SECRET_RETRY_MS: u64 = 300_000;

/// Carries out all wishes of a run. On an error the caller drops the whole change.
pub fn flush(model: &mut Model, context: &Context) -> Result<(), String> {
    let unit = context.unit.as_str();
    let application = application_of(unit).to_owned();
    if context.application_writes.values().any(|writes| !writes.is_empty()) && !model.is_leader(unit) {
        return Err(format!("{unit:?} is not leader of {application:?}"));
    }
    refresh_addresses(model, context);
    let written = context.unit_writes.keys().chain(context.application_writes.keys());
    if written.filter_map(|id| model.relations.get(id)).any(|relation| relation.is_hidden) {
        return Err(model.version.unknown_relation_text().to_owned());
    }
    for (id, writes) in &context.unit_writes {
        let version = model.next_version();
        if let Some(member) = model.relations.get_mut(id).and_then(|relation| relation.units.get_mut(unit)) {
            member.bag.apply(writes, version);
        }
    }
    for (id, writes) in &context.application_writes {
        let version = model.next_version();
        if let Some(relation) = model.relations.get_mut(id) {
            relation.applications.entry(application.clone()).or_default().apply(writes, version);
        }
    }
    flush_state(model, context)?;
    for change in &context.ports {
        let Some(record) = model.units.get_mut(unit) else { continue };
        let endpoints =
            if change.endpoints.is_empty() { vec![String::new()] } else { change.endpoints.clone() };
        for endpoint in endpoints {
            if change.open {
                record.ports.entry(endpoint).or_default().insert(change.range.clone());
            } else if endpoint.is_empty() {
                record.ports.values_mut().for_each(|ranges| {
                    ranges.remove(&change.range);
                });
            } else if let Some(ranges) = record.ports.get_mut(&endpoint) {
                ranges.remove(&change.range);
            }
        }
        record.ports.retain(|_, ranges| !ranges.is_empty());
    }
    flush_storage(model, context, &application);
    let mut secrets = std::mem::take(&mut model.secrets);
    apply_secret_changes(&mut secrets, &context.secrets, unit);
    model.secrets = secrets;
    Ok(())
}

/// config-changed is also when the agent brings the address keys in the unit's bags up to date.
fn refresh_addresses(model: &mut Model, context: &Context) {
    if context.hook.as_ref().is_none_or(|hook| hook.kind != HookKind::ConfigChanged) {
        return;
    }
    let settings = model.address_settings(&context.unit);
    let ids: Vec<u64> = model.relations.keys().copied().collect();
    for id in ids {
        let version = model.next_version();
        let member = model.relations.get_mut(&id).and_then(|relation| relation.units.get_mut(&context.unit));
        if let Some(member) = member.filter(|member| member.in_scope) {
            // A key that the charm took over, and that was no address of this agent's, is overwritten as well.
            member.bag.apply(&settings, version);
        }
    }
}

fn flush_state(model: &mut Model, context: &Context) -> Result<(), String> {
    let Some(state) = &context.state else { return Ok(()) };
    let size: usize = state.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > STATE_BYTES_MAX {
        return Err(format!("max allowed charm state size ({STATE_BYTES_MAX}) exceeded"));
    }
    if let Some(record) = model.units.get_mut(&context.unit) {
        record.state.clone_from(state);
    }
    Ok(())
}

fn flush_storage(model: &mut Model, context: &Context, application: &str) {
    for (name, count) in &context.storage {
        let Some(record) = model.applications.get(application) else { continue };
        let Some(spec) = record.charm.declared.metadata.storage.get(name).cloned() else { continue };
        let default = crate::model::StorageDirective::default_for(&spec);
        let directive = record.storage.get(name).cloned().unwrap_or(default);
        for _ in 0..*count {
            model.create_storage(&context.unit, name, &spec, &directive);
        }
    }
}

/// Marks a hook as done: the agent will not run it again.
pub fn finish(model: &mut Model, unit: &str, hook: &Hook) {
    let now = model.now_ms();
    finish_outside(model, unit, hook, now);
    let Some(record) = model.units.get_mut(unit) else { return };
    let agent = &mut record.agent;
    agent.pending = None;
    agent.context = None;
    record.resolution = None;
    if agent.follow == Some(hook.kind) {
        agent.follow = None;
    }
    match hook.kind {
        HookKind::Install => agent.installed = true,
        HookKind::ConfigChanged => {
            agent.config_seen.clone_from(&hook.config);
            if !agent.started {
                agent.follow = Some(HookKind::Start);
            }
        }
        HookKind::Start => {
            agent.started = true;
            if !record.workload_was_set {
                record.announce("unknown", "", now);
            }
        }
        HookKind::UpgradeCharm => {
            agent.charm_seen = hook.version;
            agent.follow = Some(HookKind::ConfigChanged);
        }
        HookKind::LeaderSettingsChanged => agent.leader_settings_seen = Some(hook.version),
        HookKind::Stop => {
            agent.stopped = true;
            record.announce("maintenance", "", now);
        }
        HookKind::Remove => {
            agent.removed = true;
            record.announce("terminated", "", now);
        }
        HookKind::StorageAttached => agent.storage_attached.extend(hook.storage.clone()),
        HookKind::StorageDetaching => {
            if let Some(id) = &hook.storage {
                agent.storage_attached.remove(id);
            }
        }
        _ => {}
    }
    finish_relation(model, unit, hook);
}

/// What a finished hook changes outside of its agent's memory.
fn finish_outside(model: &mut Model, unit: &str, hook: &Hook, now: u64) {
    if let (HookKind::StorageDetaching, Some(id)) = (hook.kind, &hook.storage) {
        let is_gone = model.storage.get_mut(id).is_some_and(|instance| {
            instance.unit = None;
            instance.location = None;
            instance.destroy || instance.kind == crate::charm::StorageKind::Filesystem
        });
        if is_gone {
            model.storage.remove(id);
        }
    }
    let Some(told) = &hook.secret else { return };
    let Some(secret) = model.secrets.get_mut(&told.id) else { return };
    match hook.kind {
        HookKind::SecretChanged => {
            if let Some(consumer) = secret.consumers.get_mut(unit) {
                consumer.told_revision = told.revision;
            }
        }
        HookKind::SecretRotate => {
            let has_rotated = secret.latest != told.revision;
            if let Some(rotation) = &mut secret.rotation {
                let delay = if has_rotated { rotation.name.interval_ms() } else { SECRET_RETRY_MS };
                rotation.next_ms = now + delay;
            }
        }
        HookKind::SecretExpired => {
            if let Some(revision) = secret.revisions.get_mut(&told.revision) {
                revision.expires_ms = Some(now + SECRET_RETRY_MS);
            }
        }
        HookKind::SecretRemove => {
            if let Some(revision) = secret.revisions.get_mut(&told.revision) {
                revision.removal_told = true;
            }
        }
        _ => {}
    }
}

fn finish_relation(model: &mut Model, unit: &str, hook: &Hook) {
    let Some(relation) = &hook.relation else { return };
    let Some(record) = model.units.get_mut(unit) else { return };
    if let Some(state) = record.agent.relations.get_mut(&relation.id) {
        if hook.kind == HookKind::RelationCreated {
            state.is_created = true;
        }
        if let Some(step) = step_of(hook) {
            relations::advance(state, &step);
        }
    }
    if hook.kind == HookKind::RelationBroken {
        record.agent.relations.remove(&relation.id);
        let was_container_scoped =
            model.relations.get(&relation.id).is_some_and(|ended| ended.is_container_scoped);
        model.leave_scope(relation.id, unit);
        if was_container_scoped {
            end_loose_subordinate(model, unit);
        }
    }
}

/// A subordinate unit goes when nothing ties it to its principal any more.
fn end_loose_subordinate(model: &mut Model, unit: &str) {
    let Some(record) = model.units.get(unit).filter(|record| record.principal.is_some()) else { return };
    let is_tied = record.agent.relations.keys().any(|id| {
        model
            .relations
            .get(id)
            .is_some_and(|relation| relation.is_container_scoped && relation.life == Life::Alive)
    });
    if !is_tied {
        model.end_unit(unit, false);
    }
}

/// Brings an agent up to date with what the controller says and no hook tells: lost leadership, new relations to
/// enter, and relations that ended before their first hook. Returns whether anything changed.
pub fn settle(model: &mut Model, unit: &str) -> bool {
    let leads = model.is_leader(unit);
    let Some(record) = model.units.get_mut(unit) else { return false };
    let mut changed = false;
    if record.agent.leads && !leads {
        record.agent.leads = false;
        changed = true;
    }
    if record.agent.rebooted && !record.agent.started {
        record.agent.rebooted = false;
        changed = true;
    }
    if !record.agent.installed {
        return changed;
    }
    let (is_alive, application, is_free) =
        (record.life == Life::Alive, record.application.clone(), record.agent.pending.is_none());
    let known = record.agent.relations.clone();
    for (id, state) in &known {
        let is_over =
            model.relations.get(id).is_none_or(|relation| relation.life == Life::Dying && !state.is_created);
        if is_over && is_free {
            if let Some(record) = model.units.get_mut(unit) {
                record.agent.relations.remove(id);
            }
            model.leave_scope(*id, unit);
            changed = true;
        }
    }
    if !is_alive {
        return changed;
    }
    let entered: Vec<u64> = model
        .relations_of(&application)
        .filter(|relation| relation.life == Life::Alive && !known.contains_key(&relation.id))
        .map(|relation| relation.id)
        .collect();
    for id in entered {
        model.enter_scope(id, unit);
        if let Some(record) = model.units.get_mut(unit) {
            record.agent.relations.insert(id, Default::default());
        }
        model.add_subordinate_if_due(id, unit);
        changed = true;
    }
    changed
}
