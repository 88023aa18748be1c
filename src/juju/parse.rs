//! Between hook tools' JSON and plain values. Juju's getters say "nothing" as `null`, `{}`, `[]` or no output at all,
//! depending on tool and version: all four are the same empty value here.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::json::why;

/// The output of a tool run with `--format=json`.
pub(super) fn json(output: &[u8]) -> Result<Value, String> {
    if output.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(output).map_err(|error| why(&error))
}

/// A map of anything.
pub(super) fn map(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        empty if is_empty(&empty) => Ok(Map::new()),
        other => Err(format!("expected a map, got {}", kind(&other))),
    }
}

/// A map of strings; other scalars become their text, null the empty string.
pub(super) fn strings(value: Value) -> Result<BTreeMap<String, String>, String> {
    let scalar = |(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Null => Ok((key, String::new())),
        scalar @ (Value::Bool(_) | Value::Number(_)) => Ok((key, scalar.to_string())),
        other => Err(format!("expected text for key {key}, got {}", kind(&other))),
    };
    map(value)?.into_iter().map(scalar).collect()
}

/// A list of strings.
pub(super) fn list(value: Value) -> Result<Vec<String>, String> {
    typed::<Option<Vec<String>>>(if is_empty(&value) { Value::Null } else { value })
        .map(Option::unwrap_or_default)
}

/// Any type that serde can read.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| why(&error))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// The kind of a value, for messages that must not repeat the value itself: it may be a secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// One YAML mapping for a tool's `--file`, written as JSON that Juju's YAML reader accepts: raw UTF-8, no `\/`, no
/// surrogate pairs; characters that YAML does not allow raw, or would fold as line breaks, are escaped.
pub(super) fn mapping<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let map: Map<String, Value> =
        pairs.into_iter().map(|(key, value)| (key.to_owned(), Value::String(value.to_owned()))).collect();
    let mut yaml = String::new();
    for character in Value::Object(map).to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                yaml.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => yaml.push(other),
        }
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_empties_are_equal() {
        for text in ["", "\n", "null", "{}\n", "[]\n"] {
            let value = json(text.as_bytes()).unwrap();
            assert!(map(value.clone()).unwrap().is_empty(), "{text:?}");
            assert!(strings(value.clone()).unwrap().is_empty(), "{text:?}");
            assert!(list(value).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn the_wrong_kind_is_named_without_its_value() {
        let secret = json(br#"{"key":["-----BEGIN"]}"#).unwrap();
        assert_eq!(strings(secret).unwrap_err(), "expected text for key key, got a list");
        assert_eq!(map(Value::from("x")).unwrap_err(), "expected a map, got text");
    }

    #[test]
    fn a_mapping_survives_a_yaml_reader_whatever_its_characters() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB/+=\n-----END CERTIFICATE-----\n";
        let odd = "tab\t quote\" back\\slash / del\u{7f} next\u{85} line\u{2028} bom\u{feff} emoji😀 'yes' #no: 1.50";
        let written = mapping([("ca", pem), ("empty", ""), ("odd", odd)]);
        assert!(written.is_ascii() || written.contains('😀'));
        assert!(!written.contains("\\/") && !written.contains('\u{7f}'));
        let read: BTreeMap<String, String> = crate::yaml::from_str(&written).unwrap();
        assert_eq!((read["ca"].as_str(), read["empty"].as_str(), read["odd"].as_str()), (pem, "", odd));
    }
}
