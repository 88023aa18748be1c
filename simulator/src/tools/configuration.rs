//! config-get, leadership, goal-state and credential-get.

use serde_json::{Map, Value, json};

use crate::model::{Life, Model, overlay};
use crate::status::format_time;

use super::format::Printed;
use super::{Answer, Call, ToolError, keyvalue};

pub(super) fn config_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let key = call.parsed.positional(0).map(str::to_owned);
    let wants_all = call.parsed.is_on("a");
    if let (Some(key), true) = (&key, wants_all) {
        return Err(ToolError::usage(format!("cannot use argument --all together with key {key:?}")));
    }
    call.parsed.at_most(1)?;
    let unit = call.context.unit.clone();
    let store = call.store;
    let options = call.context.caches.options.get_or_insert_with(|| {
        store.read(|model| {
            let application =
                model.units.get(&unit).and_then(|unit| model.applications.get(&unit.application));
            application.map(|application| application.options()).unwrap_or_default()
        })
    });
    Ok(Answer::Value(Printed::Value(match key {
        Some(key) => options.get(&key).cloned().unwrap_or(Value::Null),
        None if wants_all => Value::Object(options.clone()),
        None => Value::Object(
            options.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
    })))
}

pub(super) fn is_leader(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    Ok(Answer::Value(Printed::Value(Value::Bool(call.is_leader()))))
}

pub(super) fn leader_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let key = call.parsed.positional(0).filter(|key| *key != "-").map(str::to_owned);
    if let Some(key) = key.as_ref().filter(|key| key.contains('=')) {
        return Err(ToolError::usage(format!("invalid key {key:?}")));
    }
    call.parsed.at_most(1)?;
    let unit = call.context.unit.clone();
    let store = call.store;
    let settings = call.context.caches.leader_settings.get_or_insert_with(|| {
        store.read(|model| {
            let application =
                model.units.get(&unit).and_then(|unit| model.applications.get(&unit.application));
            application.map(|application| application.leader_settings.clone()).unwrap_or_default()
        })
    });
    Ok(Answer::Value(Printed::Value(match key {
        Some(key) => settings.get(&key).map_or(Value::Null, |value| json!(value)),
        None => json!(settings),
    })))
}

pub(super) fn leader_set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let writes = keyvalue::parse_words(&call.parsed.positionals)?;
    if !call.is_leader() {
        return Err(ToolError::failed(
            "cannot write leadership settings: cannot write settings: not the leader",
        ));
    }
    let unit = call.context.unit.clone();
    call.context.caches.leader_settings = None;
    call.store.update(|model| {
        let version = model.next_version();
        let Some(name) = model.units.get(&unit).map(|unit| unit.application.clone()) else { return };
        if let Some(application) = model.applications.get_mut(&name) {
            let before = application.leader_settings.clone();
            overlay(&mut application.leader_settings, &writes);
            if application.leader_settings != before {
                application.leader_settings_version = version;
            }
        }
    });
    Ok(Answer::Nothing)
}

pub(super) fn credential_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    let unit = call.context.unit.clone();
    let is_trusted = call.store.read(|model| {
        let application = model.units.get(&unit).and_then(|unit| model.applications.get(&unit.application));
        application.is_some_and(|application| application.trust)
    });
    if !is_trusted {
        return Err(ToolError::failed("cannot access cloud credentials: permission denied"));
    }
    Ok(Answer::Value(Printed::Value(
        json!({"type": "manual", "name": "local", "region": "", "endpoint": ""}),
    )))
}

pub(super) fn goal_state(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    let state = call.store.read(|model| goal_state_of(model, &call.context.unit));
    Ok(Answer::Value(Printed::Value(state)))
}

fn goal_state_of(model: &Model, unit: &str) -> Value {
    let Some(record) = model.units.get(unit) else { return json!({}) };
    let mut relations = Map::new();
    for relation in model.relations_of(&record.application).filter(|relation| !relation.is_peer()) {
        let Some((own, remote)) =
            relation.end_of(&record.application).zip(relation.remote_end_of(&record.application))
        else {
            continue;
        };
        let Some(application) = model.applications.get(&remote.application) else { continue };
        let status = if relation.life == Life::Dying { "broken" } else { "joined" };
        let entry = relations.entry(own.endpoint.clone()).or_insert_with(|| json!({}));
        if let Value::Object(entry) = entry {
            let since = application.status.as_ref().map_or(model.now_ms(), |status| status.since_ms);
            entry.insert(remote.application.clone(), json!({"status": status, "since": format_time(since)}));
            entry.extend(unit_goals(model, &remote.application));
        }
    }
    json!({"units": unit_goals(model, &record.application), "relations": relations})
}

fn unit_goals(model: &Model, application: &str) -> Map<String, Value> {
    model
        .units_of(application)
        .map(|unit| {
            let workload = unit.shown_workload();
            let status = if unit.life == Life::Dying { "dying" } else { workload.current.as_str() };
            (unit.name.clone(), json!({"status": status, "since": format_time(workload.since_ms)}))
        })
        .collect()
}
