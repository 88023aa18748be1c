//! What the secret tools read from their command lines: ids, content, rotation and expiry.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::RotationName;
use crate::model::settings::parse_duration_ms;

use super::protocol::Input;
use super::{Call, ToolError, keyvalue};

const CONTENT_BYTES_MAX: usize = 1_000_000;

/// `secret:ID`, `secret://MODEL/ID` or the bare id.
pub(super) fn parse_id(text: &str) -> Result<String, ToolError> {
    let rest = text.strip_prefix("secret:").unwrap_or(text);
    let id = rest.rsplit('/').next().unwrap_or(rest);
    if id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Ok(id.to_owned());
    }
    Err(ToolError::usage(format!("secret URI {text:?} not valid")))
}

fn is_key(key: &str) -> bool {
    key.len() >= 3
        && key.starts_with(|c: char| c.is_ascii_lowercase())
        && !key.ends_with('-')
        && !key.contains("--")
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// The content from `key=value` words and `--file`; values as base64. Nothing when neither was given.
pub(super) fn content(call: &Call<'_>, words: &[String]) -> Result<BTreeMap<String, String>, ToolError> {
    let mut content = BTreeMap::new();
    if let Some(path) = call.parsed.value("file") {
        let text = String::from_utf8_lossy(&call.input(Input::AgentFile(path.to_owned()))?).into_owned();
        for (key, value) in keyvalue::parse_file(&text)? {
            add(call, &mut content, &key, value)?;
        }
    }
    for word in words {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let Some((key, value)) = pair else {
            return Err(ToolError::usage(format!("key value {word:?} not valid")));
        };
        add(call, &mut content, key, value.to_owned())?;
    }
    if content.values().map(String::len).sum::<usize>() > CONTENT_BYTES_MAX {
        return Err(ToolError::usage(format!(
            "secret content size over {CONTENT_BYTES_MAX} bytes not valid"
        )));
    }
    Ok(content)
}

fn add(
    call: &Call<'_>,
    content: &mut BTreeMap<String, String>,
    key: &str,
    value: String,
) -> Result<(), ToolError> {
    let (name, encoded) = if let Some(name) = key.strip_suffix("#base64") {
        if STANDARD.decode(&value).is_err() {
            return Err(ToolError::usage(format!("base64 value for key {name:?} not valid")));
        }
        (name, value)
    } else if let Some(name) = key.strip_suffix("#file") {
        (name, STANDARD.encode(call.input(Input::AgentFile(value))?))
    } else {
        (key, STANDARD.encode(value))
    };
    if !is_key(name) {
        return Err(ToolError::usage(format!("key {name:?} not valid")));
    }
    content.insert(name.to_owned(), encoded);
    Ok(())
}

/// `--rotate`; the inner nothing is `never`.
pub(super) fn rotation(call: &Call<'_>) -> Result<Option<Option<RotationName>>, ToolError> {
    let Some(text) = call.parsed.value("rotate") else { return Ok(None) };
    let policy = RotationName::parse(text);
    policy.map(Some).ok_or_else(|| ToolError::usage(format!("rotate policy {text:?} not valid")))
}

/// `--expire`: a time, with or without zone, or a duration from now; in ms since the Unix epoch.
pub(super) fn expiry_ms(call: &Call<'_>, now_ms: u64) -> Result<Option<u64>, ToolError> {
    let Some(text) = call.parsed.value("expire") else { return Ok(None) };
    let at = |text: &str| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
    };
    let time = at(text)
        .or_else(|| at(&format!("{text}Z")))
        .or_else(|| parse_duration_ms(text).filter(|ms| *ms > 0).map(|ms| now_ms + ms));
    time.map(Some).ok_or_else(|| ToolError::usage("expire time or duration not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_follow_jujus_rules() {
        let id = "0123456789abcdefghij";
        for text in [id.to_owned(), format!("secret:{id}"), format!("secret://some-model/{id}")] {
            assert_eq!(parse_id(&text).unwrap(), id);
        }
        assert!(parse_id("secret:short").is_err());
        for (key, valid) in
            [("abc", true), ("ab", false), ("a-b-c", true), ("1abc", false), ("ab--c", false), ("Abc", false)]
        {
            assert_eq!(is_key(key), valid, "{key}");
        }
    }
}
