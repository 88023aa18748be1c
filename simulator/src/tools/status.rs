//! status-get, status-set and application-version-set; the last two take effect at once.

use serde_json::{Map, Value, json};

use crate::model::StatusEntry;

use super::format::Printed;
use super::{Answer, Call, ToolError};

const WORDS: [&str; 4] = ["maintenance", "blocked", "waiting", "active"];

pub(super) fn set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let Some(word) = call.parsed.positional(0).map(str::to_owned) else {
        return Err(ToolError::usage("invalid args, require <status> [message]"));
    };
    if !WORDS.contains(&word.as_str()) {
        return Err(ToolError::usage(format!(
            "invalid status {word:?}, expected one of [{}]",
            WORDS.join(" ")
        )));
    }
    call.parsed.at_most(2)?;
    let message = call.parsed.positional(1).unwrap_or_default().to_owned();
    let for_application = call.parsed.is_on("application");
    if for_application && !call.is_leader() {
        return Err(ToolError::failed("this unit is not the leader"));
    }
    let unit = call.context.unit.clone();
    call.store.update(|model| {
        let now = model.now_ms();
        let Some(record) = model.units.get_mut(&unit) else { return };
        if for_application {
            let application = record.application.clone();
            if let Some(application) = model.applications.get_mut(&application) {
                application.status = Some(StatusEntry::new(&word, &message, now));
            }
        } else {
            record.set_workload(&word, &message, now);
        }
    });
    Ok(Answer::Nothing)
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    let with_data = call.parsed.is_on("include-data");
    if call.parsed.is_on("application") {
        if !call.is_leader() {
            return Err(ToolError::failed("finding application status: this unit is not the leader"));
        }
        return Ok(Answer::Value(Printed::Value(application_status(call, with_data))));
    }
    let store = call.store;
    let unit = call.context.unit.clone();
    let status = call.context.caches.status.get_or_insert_with(|| {
        store
            .read(|model| model.units.get(&unit).map(|unit| unit.workload.clone()))
            .unwrap_or_else(|| StatusEntry::new("unknown", "", 0))
    });
    let wants_word = !with_data && call.parsed.value("format").is_none_or(|format| format == "smart");
    Ok(Answer::Value(Printed::Value(if wants_word {
        json!(status.current)
    } else {
        structure(status, with_data)
    })))
}

fn structure(status: &StatusEntry, with_data: bool) -> Value {
    if with_data {
        json!({"status": status.current, "message": status.message, "status-data": {}})
    } else {
        json!({"status": status.current})
    }
}

fn application_status(call: &Call<'_>, with_data: bool) -> Value {
    call.store.read(|model| {
        let Some(record) = model.units.get(&call.context.unit) else { return json!({}) };
        let units: Map<String, Value> = model
            .units_of(&record.application)
            .map(|unit| (unit.name.clone(), structure(&unit.workload, with_data)))
            .collect();
        let mut status = structure(&model.application_status(&record.application), with_data);
        if let Value::Object(status) = &mut status {
            status.insert("units".to_owned(), Value::Object(units));
        }
        json!({ "application-status": status })
    })
}

pub(super) fn version_set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let Some(version) = call.parsed.positional(0).map(str::to_owned) else {
        return Err(ToolError::usage("no version specified"));
    };
    call.parsed.at_most(1)?;
    let unit = call.context.unit.clone();
    call.store.update(|model| {
        if let Some(unit) = model.units.get_mut(&unit) {
            unit.workload_version = version;
        }
    });
    Ok(Answer::Nothing)
}
