//! The secret tools that read: secret-get, secret-info-get and secret-ids.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::agent::context::{SecretChange, is_application_owned};
use crate::model::{Secret, SecretError, SecretOwner};

use super::format::Printed;
use super::secret::failed;
use super::secret_arguments::parse_id;
use super::{Answer, Call, ToolError};

/// The secret that an id or a label means to this unit. A label is the owner's, or the reader's own.
fn find(call: &Call<'_>, id: Option<&str>, label: Option<&str>) -> Result<Secret, ToolError> {
    let unit = &call.context.unit;
    call.store.read(|model| {
        let secrets = call.context.secrets_view(model);
        if let Some(id) = id {
            return secrets.get(id).cloned().ok_or_else(|| failed(SecretError::NotFound(id.to_owned())));
        }
        let label = label.unwrap_or_default();
        let has_label = |secret: &&Secret| {
            (secret.is_owned_by(unit) && secret.label == label)
                || secret.consumers.get(unit).is_some_and(|consumer| consumer.label == label)
        };
        let found = secrets.values().find(has_label).cloned();
        found.ok_or_else(|| failed(SecretError::NotFound(label.to_owned())))
    })
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let label = call.parsed.value("label").map(str::to_owned);
    let mut words = call.parsed.positionals.iter();
    // With a label the first word may be the key already.
    let first = words.as_slice().first();
    let id = match first {
        Some(word) if label.is_none() || word.starts_with("secret:") || parse_id(word).is_ok() => {
            words.next();
            Some(parse_id(word)?)
        }
        _ => None,
    };
    let key = words.next().cloned();
    if id.is_none() && label.is_none() {
        return Err(ToolError::usage("require either a secret URI or label"));
    }
    let (peek, refresh) = (call.parsed.is_on("peek"), call.parsed.is_on("refresh"));
    if peek && refresh {
        return Err(ToolError::usage("specify one of --peek or --refresh but not both"));
    }
    let secret = find(call, id.as_deref(), label.as_deref())?;
    let unit = call.context.unit.clone();
    if !secret.may_be_read_by(&unit) {
        return Err(failed(SecretError::Denied));
    }
    let consumer = secret.consumers.get(&unit);
    let pinned = consumer.map(|consumer| consumer.revision);
    let revision = match pinned {
        Some(revision) if !peek && !refresh => revision,
        _ => secret.latest,
    };
    let known_label = consumer.map(|consumer| consumer.label.clone()).unwrap_or_default();
    let own_label = id.as_ref().and(label).unwrap_or(known_label.clone());
    if !peek && (pinned != Some(revision) || own_label != known_label) {
        call.context.secrets.push(SecretChange::Pin { id: secret.id.clone(), revision, label: own_label });
    }
    let missing = || failed(SecretError::NotFound(format!("{}/{revision}", secret.id)));
    let content = &secret.revisions.get(&revision).ok_or_else(missing)?.content;
    print(content, key.as_deref())
}

fn print(
    content: &std::collections::BTreeMap<String, String>,
    key: Option<&str>,
) -> Result<Answer, ToolError> {
    let decode = |text: &String| {
        STANDARD.decode(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let Some(key) = key else {
        let map: Map<String, Value> =
            content.iter().map(|(key, value)| (key.clone(), json!(decode(value)))).collect();
        return Ok(Answer::Value(Printed::Value(Value::Object(map))));
    };
    let (name, is_raw) = key.strip_suffix("#base64").map_or((key, false), |name| (name, true));
    let value =
        content.get(name).ok_or_else(|| ToolError::failed(format!("secret key value {name:?} not found")))?;
    Ok(Answer::Value(Printed::Value(json!(if is_raw { value.clone() } else { decode(value) }))))
}

pub(super) fn info_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let label = call.parsed.value("label").map(str::to_owned);
    let id = match (call.parsed.positional(0), &label) {
        (Some(text), _) => Some(parse_id(text)?),
        (None, Some(_)) => None,
        (None, None) => return Err(ToolError::usage("require either a secret URI or label")),
    };
    let secret = find(call, id.as_deref(), label.as_deref())?;
    if !secret.is_owned_by(&call.context.unit) {
        return Err(failed(SecretError::NotFound(secret.id)));
    }
    let owner = if is_application_owned(&secret) { "application" } else { "unit" };
    let mut info = json!({
        "revision": secret.latest, "label": secret.label, "owner": owner,
        "rotation": secret.rotation.map_or("never", |rotation| rotation.name.name()),
    });
    if let Value::Object(info) = &mut info {
        if !secret.description.is_empty() {
            info.insert("description".to_owned(), json!(secret.description));
        }
        if let Some(rotation) = secret.rotation {
            info.insert("rotates".to_owned(), time_text(rotation.next_ms));
        }
        if let Some(at) = secret.revisions.get(&secret.latest).and_then(|latest| latest.expires_ms) {
            info.insert("expiry".to_owned(), time_text(at));
        }
        if !secret.grants.is_empty() {
            let access: Vec<Value> = secret
                .grants
                .iter()
                .map(|(subject, relation)| {
                    let kind = if subject.contains('/') { "unit" } else { "application" };
                    json!({"target": format!("{kind}-{}", subject.replace('/', "-")), "scope": format!("relation-{relation}"), "role": "view"})
                })
                .collect();
            info.insert("access".to_owned(), json!(access));
        }
    }
    Ok(Answer::Value(Printed::Value(json!({ secret.id: info }))))
}

fn time_text(at_ms: u64) -> Value {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(at_ms / 1_000).unwrap_or_default());
    json!(time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default())
}

pub(super) fn ids(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    let leads = call.is_leader();
    let unit = call.context.unit.clone();
    let ids: Vec<String> = call.store.read(|model| {
        let secrets = call.context.secrets_view(model);
        let manages = |secret: &&Secret| match &secret.owner {
            SecretOwner::Unit(owner) => *owner == unit,
            SecretOwner::Application(_) => leads && secret.is_owned_by(&unit),
        };
        secrets.values().filter(manages).map(|secret| secret.id.clone()).collect()
    });
    Ok(Answer::Value(if ids.is_empty() { Printed::NilStrings } else { Printed::Strings(ids) }))
}
