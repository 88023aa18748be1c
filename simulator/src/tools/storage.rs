//! storage-get, storage-list and storage-add.

use serde_json::json;

use crate::charm::StorageKind;
use crate::model::Life;

use super::format::Printed;
use super::{Answer, Call, ToolError};

pub(super) fn get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let current = call.context.hook.as_ref().and_then(|hook| hook.storage.clone());
    let given = call.parsed.value("s").map(str::to_owned);
    let Some(id) = given.clone().or(current) else {
        return Err(ToolError::usage("no storage instance specified"));
    };
    let is_well_formed =
        id.split_once('/').is_some_and(|(name, number)| !name.is_empty() && number.parse::<u64>().is_ok());
    if given.is_some() && !is_well_formed {
        return Err(call.parsed.invalid("s", &format!("invalid storage ID {id:?}")));
    }
    let found = call.store.read(|model| {
        let instance = model.storage.get(&id)?;
        let is_own = instance.unit.as_deref() == Some(call.context.unit.as_str());
        Some((instance.kind, instance.location.clone()?)).filter(|_| is_own)
    });
    let Some((kind, location)) = found else {
        return Err(match given {
            Some(_) => call.parsed.invalid("s", &format!("storage {id:?} not found")),
            None => ToolError::failed(format!("storage {id:?} not found")),
        });
    };
    let kind = match kind {
        StorageKind::Block => "block",
        StorageKind::Filesystem => "filesystem",
    };
    call.parsed.at_most(1)?;
    Ok(Answer::Value(Printed::Value(match call.parsed.positional(0) {
        None => json!({"kind": kind, "location": location}),
        Some("kind") => json!(kind),
        Some("location") => json!(location),
        Some(other) => return Err(ToolError::failed(format!("invalid storage attribute {other:?}"))),
    })))
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(1)?;
    let (store, unit) = (call.store, call.context.unit.clone());
    let ids = call.context.caches.storage.get_or_insert_with(|| {
        store.read(|model| {
            let ready = model.storage_of(&unit).filter(|instance| instance.location.is_some());
            ready.map(|instance| instance.id.clone()).collect()
        })
    });
    let wanted = call.parsed.positional(0);
    let is_wanted = |id: &&String| wanted.is_none_or(|name| id.split('/').next() == Some(name));
    Ok(Answer::Value(Printed::Strings(ids.iter().filter(is_wanted).cloned().collect())))
}

pub(super) fn add(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    if call.parsed.positionals.is_empty() {
        return Err(ToolError::usage("storage add requires a storage directive"));
    }
    let mut wishes = Vec::new();
    for word in &call.parsed.positionals {
        let (name, count) = word.split_once('=').unwrap_or((word, "1"));
        let count: u32 = count
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| ToolError::usage(format!("only count can be specified for {name:?}")))?;
        wishes.push((name.to_owned(), count));
    }
    let unit = call.context.unit.clone();
    call.store.read(|model| {
        let application = model.units.get(&unit).and_then(|unit| model.applications.get(&unit.application));
        for (name, count) in &wishes {
            let spec =
                application.and_then(|application| application.charm.declared.metadata.storage.get(name));
            let Some(spec) = spec else {
                return Err(ToolError::failed(format!("charm storage {name:?} not found")));
            };
            let has = model.storage_of(&unit).filter(|i| i.name == *name && i.life == Life::Alive).count();
            let total = u32::try_from(has).unwrap_or(u32::MAX).saturating_add(*count);
            if let Some(most) = spec.maximum.filter(|most| total > *most) {
                return Err(ToolError::failed(format!(
                    "at most {most} instances supported, {total} specified"
                )));
            }
        }
        Ok(())
    })?;
    call.context.storage.extend(wishes);
    Ok(Answer::Nothing)
}
