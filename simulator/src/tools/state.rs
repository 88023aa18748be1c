//! state-get, state-set and state-delete: the unit's own settings, kept by the controller from hook to hook.

use serde_json::{Value, json};

use crate::agent::context::Settings;

use super::format::Printed;
use super::{Answer, Call, ToolError, keyvalue};

const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 65_536;

/// The state as this run sees it.
fn view(call: &Call<'_>) -> Settings {
    match &call.context.state {
        Some(state) => state.clone(),
        None => call
            .store
            .read(|model| model.units.get(&call.context.unit).map(|unit| unit.state.clone()))
            .unwrap_or_default(),
    }
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let state = view(call);
    let Some(key) = call.parsed.positional(0).filter(|key| *key != "-") else {
        return Ok(Answer::Value(if state.is_empty() {
            Printed::NilMap
        } else {
            Printed::Value(json!(state))
        }));
    };
    match state.get(key) {
        Some(value) => Ok(Answer::Value(Printed::Value(json!(value)))),
        None if call.parsed.is_on("strict") => Err(ToolError::failed(format!("{key:?} not found"))),
        None => Ok(Answer::Value(Printed::Value(Value::String(String::new())))),
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let arguments = keyvalue::parse_words(&call.parsed.positionals)?;
    let mut writes = match call.parsed.value("file") {
        Some(path) => keyvalue::parse_file(&call.file_text(path)?)?,
        None => Settings::new(),
    };
    writes.extend(arguments);
    let mut state = view(call);
    for (key, value) in writes {
        if key.len() > KEY_BYTES_MAX {
            return Err(ToolError::failed(format!("max allowed key length ({KEY_BYTES_MAX}) exceeded")));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(ToolError::failed(format!("max allowed value length ({VALUE_BYTES_MAX}) exceeded")));
        }
        state.insert(key, value);
    }
    call.context.state = Some(state);
    Ok(Answer::Nothing)
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let Some(key) = call.parsed.positional(0).map(str::to_owned) else { return Ok(Answer::Nothing) };
    let mut state = view(call);
    state.remove(&key);
    call.context.state = Some(state);
    Ok(Answer::Nothing)
}
