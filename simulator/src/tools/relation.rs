//! relation-get, relation-ids, relation-list, relation-model-get: who may see which databag, and as of when.

use serde_json::{Value, json};

use crate::agent::context::{KnownRelation, Settings};
use crate::model::{Relation, application_of, overlay};

use super::format::Printed;
use super::{Answer, Call, ToolError};

/// The relation that a call is about: `-r`, or that of the hook.
pub(super) fn relation_id(call: &Call<'_>) -> Result<u64, ToolError> {
    let Some(text) = call.parsed.value("r") else {
        let current = call.context.hook.as_ref().and_then(|hook| hook.relation.as_ref());
        return current
            .map(|relation| relation.id)
            .ok_or_else(|| ToolError::usage("no relation id specified"));
    };
    // The text before the last colon is not looked at, as in Juju.
    let number = text.rsplit(':').next().unwrap_or(text);
    let id: u64 = number.parse().map_err(|_| call.parsed.invalid("r", "invalid relation id"))?;
    if !call.context.relations.contains_key(&id) {
        return Err(call.parsed.invalid("r", "relation not found"));
    }
    Ok(id)
}

fn known<'a>(call: &'a Call<'_>, id: u64) -> Result<&'a KnownRelation, ToolError> {
    call.context.relations.get(&id).ok_or_else(|| ToolError::failed("relation not found"))
}

/// Whose bag is asked for.
enum Target {
    Unit(String),
    Application(String),
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = relation_id(call)?;
    call.parsed.at_most(2)?;
    let key = call.parsed.positional(0).filter(|key| *key != "-").map(str::to_owned);
    let settings = match target(call, id)? {
        Target::Unit(unit) => unit_bag(call, id, &unit)?,
        Target::Application(application) => application_bag(call, id, &application)?,
    };
    Ok(Answer::Value(Printed::Value(match key {
        Some(key) => settings.get(&key).map_or(Value::Null, |value| json!(value)),
        None => json!(settings),
    })))
}

fn target(call: &Call<'_>, id: u64) -> Result<Target, ToolError> {
    let wants_application = call.parsed.is_on("app");
    let current =
        call.context.hook.as_ref().and_then(|hook| hook.relation.as_ref()).filter(|current| current.id == id);
    let Some(name) = call.parsed.positional(1) else {
        let remote_unit = current.and_then(|current| current.remote_unit.clone());
        let remote_application = current.map(|current| current.remote_application.clone());
        return match (wants_application, remote_unit, remote_application) {
            (false, Some(unit), _) => Ok(Target::Unit(unit)),
            (_, _, Some(application)) => Ok(Target::Application(application)),
            _ => Err(ToolError::usage("no unit or application specified")),
        };
    };
    if is_unit_name(name) {
        let application = application_of(name).to_owned();
        return Ok(if wants_application {
            Target::Application(application)
        } else {
            Target::Unit(name.to_owned())
        });
    }
    if !is_application_name(name) {
        return Err(ToolError::usage(format!("invalid unit name {name:?}")));
    }
    if wants_application || call.version().relation_get_takes_bare_application() {
        return Ok(Target::Application(name.to_owned()));
    }
    Err(ToolError::usage(format!("expected unit name, got application name {name:?}")))
}

fn is_unit_name(name: &str) -> bool {
    crate::charm::names::split_unit(name).is_ok()
}

fn is_application_name(name: &str) -> bool {
    crate::charm::names::check_application(name).is_ok()
}

/// Runs a question on the model's own record of a relation.
fn with_relation<R>(call: &Call<'_>, id: u64, look: impl FnOnce(&Relation) -> R) -> Result<R, ToolError> {
    call.store.read(|model| {
        let relation = model.relations.get(&id).filter(|relation| !relation.is_hidden);
        relation.map(look).ok_or_else(|| ToolError::failed(model.version.unknown_relation_text()))
    })
}

fn unit_bag(call: &mut Call<'_>, id: u64, unit: &str) -> Result<Settings, ToolError> {
    if unit == call.context.unit {
        return own_unit_bag(call, id);
    }
    let (is_related, key, found) = with_relation(call, id, |relation| {
        let is_related = relation.end_of(application_of(unit)).is_some();
        (is_related, relation.key(), relation.units.get(unit).map(|member| member.bag.settings.clone()))
    })?;
    if !is_related {
        return Err(ToolError::failed("permission denied"));
    }
    let is_member = known(call, id)?.members.contains(unit);
    let cache_key = (id, unit.to_owned());
    let cached = if is_member {
        call.context.member_bags.get(&cache_key)
    } else {
        call.context.caches.other_bags.get(&cache_key)
    };
    if let Some(settings) = cached {
        return Ok(settings.clone());
    }
    let settings = found.ok_or_else(|| {
        ToolError::failed(format!(
            "cannot read settings for unit {unit:?} in relation {key:?}: unit {unit:?}: settings not found"
        ))
    })?;
    if is_member {
        call.context.member_bags.insert(cache_key, settings.clone());
    } else {
        call.context.caches.other_bags.insert(cache_key, settings.clone());
    }
    Ok(settings)
}

fn own_unit_bag(call: &mut Call<'_>, id: u64) -> Result<Settings, ToolError> {
    if !call.context.caches.own_bags.contains_key(&id) {
        let unit = call.context.unit.clone();
        let settings = with_relation(call, id, |relation| {
            relation.units.get(&unit).map(|member| member.bag.settings.clone())
        })?;
        call.context.caches.own_bags.insert(id, settings.unwrap_or_default());
    }
    let mut settings = call.context.caches.own_bags.get(&id).cloned().unwrap_or_default();
    if let Some(writes) = call.context.unit_writes.get(&id) {
        overlay(&mut settings, writes);
    }
    Ok(settings)
}

fn application_bag(call: &mut Call<'_>, id: u64, application: &str) -> Result<Settings, ToolError> {
    let is_own = application == application_of(&call.context.unit);
    let is_peer = known(call, id)?.is_peer;
    if is_own && call.is_leader() {
        return own_application_bag(call, id, application);
    }
    if is_own && !is_peer && call.version().hides_own_app_bag_from_followers() {
        return Err(ToolError::failed("permission denied"));
    }
    let cache_key = (id, application.to_owned());
    if let Some(settings) = call.context.caches.other_bags.get(&cache_key) {
        return Ok(settings.clone());
    }
    let (is_related, found) = with_relation(call, id, |relation| {
        let bag = relation.applications.get(application).map(|bag| bag.settings.clone());
        (relation.end_of(application).is_some(), bag)
    })?;
    if !is_related {
        return Err(ToolError::failed("permission denied"));
    }
    let settings = found.unwrap_or_default();
    call.context.caches.other_bags.insert(cache_key, settings.clone());
    Ok(settings)
}

fn own_application_bag(call: &mut Call<'_>, id: u64, application: &str) -> Result<Settings, ToolError> {
    if !call.context.caches.own_application_bags.contains_key(&id) {
        let settings = with_relation(call, id, |relation| {
            relation.applications.get(application).map(|bag| bag.settings.clone())
        })?;
        call.context.caches.own_application_bags.insert(id, settings.unwrap_or_default());
    }
    let mut settings = call.context.caches.own_application_bags.get(&id).cloned().unwrap_or_default();
    if let Some(writes) = call.context.application_writes.get(&id) {
        overlay(&mut settings, writes);
    }
    Ok(settings)
}

pub(super) fn ids(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let current = call.context.hook.as_ref().and_then(|hook| hook.relation.as_ref());
    let endpoint = match call.parsed.positional(0) {
        Some(name) => name.to_owned(),
        None => current
            .map(|current| current.endpoint.clone())
            .ok_or_else(|| ToolError::usage(no_endpoint_text(call)))?,
    };
    let hides_broken = call.version().hides_broken_relations();
    let mut ids: Vec<String> = call
        .context
        .relations
        .iter()
        .filter(|(_, known)| known.endpoint == endpoint)
        .filter(|(_, known)| !(hides_broken && known.is_dying && known.members.is_empty() && !known.is_peer))
        .map(|(id, _)| format!("{endpoint}:{id}"))
        .collect();
    ids.sort();
    Ok(Answer::Value(Printed::Strings(ids)))
}

fn no_endpoint_text(call: &Call<'_>) -> &'static str {
    if call.version() == crate::model::JujuVersion::V2_9 {
        "no relation name specified"
    } else {
        "no endpoint name specified"
    }
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = relation_id(call)?;
    call.parsed.at_most(0)?;
    let known = known(call, id)?;
    Ok(Answer::Value(if call.parsed.is_on("app") {
        Printed::Value(json!(known.remote_application))
    } else {
        Printed::Strings(known.members.iter().cloned().collect())
    }))
}

pub(super) fn model_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    relation_id(call)?;
    call.parsed.at_most(0)?;
    let uuid = call.store.read(|model| model.uuid.clone());
    Ok(Answer::Value(Printed::Value(json!({ "uuid": uuid }))))
}
