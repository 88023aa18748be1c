//! add-storage, attach-storage and detach-storage.

use serde_json::{Value, json};

use crate::agent::Engine;
use crate::model::{Life, StorageDirective};

use super::requests::no_unit;

pub fn add(engine: &Engine, unit: &str, name: &str, text: &str) -> Result<Value, String> {
    let ids = engine.store.try_update(|model| {
        let record = model.units.get(unit).ok_or_else(|| no_unit(unit))?;
        let specs = model.applications.get(&record.application).map(|a| a.charm.declared.metadata.storage.clone());
        let spec = specs.unwrap_or_default().remove(name).ok_or_else(|| format!("charm storage {name:?} not found"))?;
        let directive = StorageDirective::parse(text, &spec)?;
        let has = model.storage_of(unit).filter(|i| i.name == name && i.life == Life::Alive).count();
        let total = u32::try_from(has).unwrap_or(u32::MAX).saturating_add(directive.count);
        if let Some(most) = spec.maximum.filter(|most| total > *most) {
            return Err(format!(
                "adding {name:?} storage to {unit}: cannot add storage: at most {most} instances supported, {total} specified"
            ));
        }
        Ok((0..directive.count).map(|_| model.create_storage(unit, name, &spec, &directive)).collect::<Vec<_>>())
    })?;
    Ok(json!({ "storage": ids }))
}

pub fn attach(engine: &Engine, unit: &str, storage: &str) -> Result<Value, String> {
    engine.store.try_update(|model| {
        if !model.units.contains_key(unit) {
            return Err(no_unit(unit));
        }
        model.attach_storage(unit, storage)?;
        Ok(Value::Null)
    })
}

pub fn detach(engine: &Engine, storage: &str) -> Result<Value, String> {
    engine.store.try_update(|model| {
        let instance =
            model.storage.get_mut(storage).ok_or_else(|| format!("storage {storage:?} not found"))?;
        if instance.unit.is_none() {
            return Err(format!("storage {storage:?} is not attached"));
        }
        instance.life = Life::Dying;
        Ok(Value::Null)
    })
}
