//! action-get, action-set, action-fail and action-log.

use serde_json::{Map, Value};

use crate::agent::context::ActionContext;
use crate::api::LogLine;
use crate::charm::names::is_action_word;
use crate::model::{JujuVersion, unit_tag};

use super::format::Printed;
use super::{Answer, Call, ToolError};

const RESERVED: [&str; 4] = ["stdout", "stdout-encoding", "stderr", "stderr-encoding"];

fn action<'a>(call: &'a mut Call<'_>) -> Result<&'a mut ActionContext, ToolError> {
    call.context.action.as_mut().ok_or_else(|| ToolError::failed("not running an action"))
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let key = call.parsed.positional(0).map(str::to_owned);
    let parameters = Value::Object(action(call)?.parameters.clone());
    let found = match key {
        None => Some(&parameters),
        Some(path) => path.split('.').try_fold(&parameters, |value, part| value.get(part)),
    };
    Ok(Answer::Value(Printed::Value(found.cloned().unwrap_or(Value::Null))))
}

pub(super) fn set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let allowed = if call.version() == JujuVersion::V2_9 {
        "alphanumeric, hyphens and periods"
    } else {
        "alphanumeric and hyphens"
    };
    let mut writes = Vec::new();
    for word in &call.parsed.positionals {
        let Some((path, value)) = word.split_once('=') else {
            return Err(ToolError::usage(format!("argument {word:?} must be of the form key...=value")));
        };
        let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
        for part in &parts {
            if RESERVED.contains(&part.as_str()) {
                return Err(ToolError::usage(format!("cannot set reserved action key {part:?}")));
            }
            if !is_action_word(part) {
                return Err(ToolError::usage(format!(
                    "key {part:?} must start and end with lowercase alphanumeric, and contain only lowercase {allowed}"
                )));
            }
        }
        writes.push((parts, value.to_owned()));
    }
    let results = &mut action(call)?.results;
    for (parts, value) in writes {
        put(results, &parts, value);
    }
    Ok(Answer::Nothing)
}

/// Puts a value at a path; a scalar in the way becomes a map, a map at the end becomes the scalar.
fn put(map: &mut Map<String, Value>, path: &[String], value: String) {
    match path {
        [] => {}
        [last] => {
            map.insert(last.clone(), Value::String(value));
        }
        [first, rest @ ..] => {
            let inner = map.entry(first.clone()).or_insert(Value::Null);
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

pub(super) fn fail(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let default = "action failed without reason given, check action for errors";
    let message = call.parsed.positional(0).unwrap_or(default).to_owned();
    action(call)?.failure = Some(message);
    Ok(Answer::Nothing)
}

pub(super) fn log(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    if call.parsed.positionals.is_empty() {
        return Err(ToolError::usage("no message specified"));
    }
    let message = call.parsed.positionals.join(" ");
    let task = action(call)?.task;
    let unit = call.context.unit.clone();
    call.store.update(|model| {
        let time_ms = model.now_ms();
        if let Some(record) = model.tasks.get_mut(&task) {
            record.task.log.push(LogLine {
                time_ms,
                entity: unit_tag(&unit),
                level: "INFO".to_owned(),
                module: format!("unit.{unit}.action-log"),
                message,
            });
        }
    });
    Ok(Answer::Nothing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_results_merge_and_scalars_and_maps_replace_each_other() {
        let mut map = Map::new();
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        put(&mut map, &path("a.b"), "1".to_owned());
        put(&mut map, &path("a.c"), "2".to_owned());
        assert_eq!(json!(map), json!({"a": {"b": "1", "c": "2"}}));
        put(&mut map, &path("a.b.d"), "3".to_owned());
        assert_eq!(json!(map), json!({"a": {"b": {"d": "3"}, "c": "2"}}));
        put(&mut map, &path("a"), "4".to_owned());
        assert_eq!(json!(map), json!({"a": "4"}));
    }
}
