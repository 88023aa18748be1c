//! The secret tools that write: secret-add, -set, -remove, -grant and -revoke. Everything is collected and takes
//! effect when the hook succeeds; only the id is given at once.

use std::collections::BTreeMap;

use crate::agent::context::SecretChange;
use crate::model::secret::new_id;
use crate::model::{Rotation, Secret, SecretError, SecretOwner, SecretRevision, application_of};

use super::relation::relation_id;
use super::{Answer, Call, ToolError, secret_arguments};

pub(super) fn failed(error: SecretError) -> ToolError {
    ToolError::failed(error.to_string())
}

/// A secret that the caller manages, as this run sees it.
fn managed(call: &mut Call<'_>, id: &str) -> Result<Secret, ToolError> {
    let secret = call.store.read(|model| call.context.secrets_view(model).remove(id));
    let Some(secret) = secret else { return Err(failed(SecretError::NotFound(id.to_owned()))) };
    let unit = call.context.unit.clone();
    let manages = match &secret.owner {
        SecretOwner::Unit(owner) => *owner == unit,
        SecretOwner::Application(owner) => owner == application_of(&unit) && call.is_leader(),
    };
    if manages { Ok(secret) } else { Err(failed(SecretError::Denied)) }
}

fn given_id(call: &Call<'_>) -> Result<String, ToolError> {
    let text = call.parsed.positional(0).ok_or_else(|| ToolError::usage("missing secret URI"))?;
    secret_arguments::parse_id(text)
}

fn put(call: &mut Call<'_>, secret: Secret) {
    call.context.secrets.push(SecretChange::Put(Box::new(secret)));
}

fn check_label(call: &Call<'_>, label: &str, id: Option<&str>) -> Result<(), ToolError> {
    let is_taken = !label.is_empty()
        && call.store.read(|model| {
            call.context.secrets_view(model).values().any(|other| {
                other.label == label && Some(other.id.as_str()) != id && other.is_owned_by(&call.context.unit)
            })
        });
    if is_taken {
        return Err(ToolError::failed(format!("secret with label {label:?} already exists")));
    }
    Ok(())
}

pub(super) fn add(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let content = secret_arguments::content(call, &call.parsed.positionals.clone())?;
    if content.is_empty() {
        return Err(ToolError::usage("missing secret value or filename"));
    }
    let unit = call.context.unit.clone();
    let owner = match call.parsed.value("owner").unwrap_or("application") {
        "application" => SecretOwner::Application(application_of(&unit).to_owned()),
        "unit" => SecretOwner::Unit(unit),
        other => return Err(ToolError::usage(format!("secret owner {other:?} not valid"))),
    };
    let now = call.store.read(|model| model.now_ms());
    let rotation = secret_arguments::rotation(call)?.flatten();
    let expires_ms = secret_arguments::expiry_ms(call, now)?;
    if matches!(owner, SecretOwner::Application(_)) && !call.is_leader() {
        return Err(ToolError::failed("this unit is not the leader"));
    }
    let label = call.parsed.value("label").unwrap_or_default().to_owned();
    check_label(call, &label, None)?;
    let secret = Secret {
        id: new_id(),
        owner,
        label,
        description: call.parsed.value("description").unwrap_or_default().to_owned(),
        rotation: rotation.map(|name| Rotation { name, next_ms: now + name.interval_ms() }),
        revisions: BTreeMap::from([(1, SecretRevision { content, expires_ms, removal_told: false })]),
        latest: 1,
        grants: BTreeMap::new(),
        consumers: BTreeMap::new(),
    };
    let printed = format!("secret:{}\n", secret.id);
    put(call, secret);
    Ok(Answer::Text(printed))
}

pub(super) fn set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = given_id(call)?;
    let words = call.parsed.positionals.get(1..).unwrap_or_default().to_vec();
    let content = secret_arguments::content(call, &words)?;
    let mut secret = managed(call, &id)?;
    let now = call.store.read(|model| model.now_ms());
    if let Some(label) = call.parsed.value("label") {
        check_label(call, label, Some(&id))?;
        label.clone_into(&mut secret.label);
    }
    if let Some(description) = call.parsed.value("description") {
        description.clone_into(&mut secret.description);
    }
    if let Some(rotation) = secret_arguments::rotation(call)? {
        secret.rotation = rotation.map(|name| Rotation { name, next_ms: now + name.interval_ms() });
    }
    let expires_ms = secret_arguments::expiry_ms(call, now)?;
    let is_same = secret.revisions.get(&secret.latest).is_some_and(|latest| latest.content == content);
    if !content.is_empty() && !is_same {
        secret.latest += 1;
        secret.revisions.insert(secret.latest, SecretRevision { content, expires_ms, removal_told: false });
    } else if let Some(latest) = secret.revisions.get_mut(&secret.latest).filter(|_| expires_ms.is_some()) {
        latest.expires_ms = expires_ms;
    }
    put(call, secret);
    Ok(Answer::Nothing)
}

pub(super) fn remove(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = given_id(call)?;
    call.parsed.at_most(1)?;
    let revision = match call.parsed.value("revision") {
        Some(text) => Some(text.parse().map_err(|_| call.parsed.invalid("revision", "parse error"))?),
        None => None,
    };
    managed(call, &id)?;
    call.context.secrets.push(SecretChange::Remove { id, revision });
    Ok(Answer::Nothing)
}

pub(super) fn grant(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = given_id(call)?;
    let relation = relation_id(call)?;
    let mut secret = managed(call, &id)?;
    let remote = call.context.relations.get(&relation).map(|known| known.remote_application.clone());
    let subject = match call.parsed.value("unit") {
        Some(unit) => unit.to_owned(),
        None => remote.ok_or_else(|| ToolError::failed("relation not found"))?,
    };
    secret.grants.insert(subject, relation);
    put(call, secret);
    Ok(Answer::Nothing)
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = given_id(call)?;
    let subject = call.parsed.value("unit").or_else(|| call.parsed.value("app")).map(str::to_owned);
    let subject = match subject {
        Some(subject) => subject,
        None => {
            let relation = relation_id(call)?;
            call.context
                .relations
                .get(&relation)
                .map(|known| known.remote_application.clone())
                .unwrap_or_default()
        }
    };
    let mut secret = managed(call, &id)?;
    // Revoking an application takes the grants of its units with it.
    secret.grants.retain(|granted, _| *granted != subject && application_of(granted) != subject);
    put(call, secret);
    Ok(Answer::Nothing)
}
