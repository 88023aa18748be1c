//! config and model-config.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::agent::Engine;
use crate::model::{Application, settings};

use super::requests::{no_application, to_value};

pub fn get(engine: &Engine, name: &str, option: Option<&str>) -> Result<Value, String> {
    engine.store.read(|model| {
        let application = model.applications.get(name).ok_or_else(|| no_application(name))?;
        let options = application.options();
        match option {
            Some("trust") => Ok(json!(application.trust)),
            Some(option) => options.get(option).cloned().ok_or_else(|| {
                format!("key {option:?} not found in {name:?} application config or charm settings.")
            }),
            None => Ok(structure(application)),
        }
    })
}

/// Juju's `config --format json`.
fn structure(application: &Application) -> Value {
    let declared = &application.charm.declared;
    let setting = |(name, option): (&String, &crate::charm::OptionSpec)| {
        let set = application.config.get(name);
        let source = match (set, option.default.is_null()) {
            (Some(_), _) => "user",
            (None, false) => "default",
            (None, true) => "unset",
        };
        let mut entry =
            json!({"description": option.description, "source": source, "type": option.kind.word()});
        if let Value::Object(entry) = &mut entry {
            if !option.default.is_null() {
                entry.insert("default".to_owned(), option.default.clone());
            }
            let value = set.unwrap_or(&option.default);
            if !value.is_null() {
                entry.insert("value".to_owned(), value.clone());
            }
        }
        (name.clone(), entry)
    };
    let settings: Map<String, Value> = declared.options.iter().map(setting).collect();
    let source = if application.trust { "user" } else { "default" };
    let trust = json!({
        "default": false, "description": "Does this application have access to trusted credentials",
        "source": source, "type": "bool", "value": application.trust,
    });
    json!({
        "application": application.name, "application-config": {"trust": trust},
        "charm": declared.metadata.name, "settings": settings,
    })
}

pub fn set(
    engine: &Engine,
    name: &str,
    set: &BTreeMap<String, String>,
    reset: &[String],
) -> Result<Value, String> {
    engine.store.try_update(|model| {
        let application = model.applications.get_mut(name).ok_or_else(|| no_application(name))?;
        let options = &application.charm.declared.options;
        let mut values = BTreeMap::new();
        for (option, text) in set {
            if option == "trust" {
                application.trust =
                    text.parse().map_err(|_| format!("option \"trust\" expected bool, got {text:?}"))?;
                continue;
            }
            let spec = options.get(option).ok_or_else(|| format!("unknown option {option:?}"))?;
            values.insert(option.clone(), crate::charm::parse_option(option, spec.kind, text)?);
        }
        for option in reset {
            if option == "trust" {
                application.trust = false;
            } else if !options.contains_key(option) {
                return Err(format!("unknown option {option:?}"));
            }
            application.config.remove(option);
        }
        application.config.extend(values);
        Ok(Value::Null)
    })
}

pub fn model(engine: &Engine, set: BTreeMap<String, String>, reset: &[String]) -> Result<Value, String> {
    if set.is_empty() && reset.is_empty() {
        return engine.store.read(|model| to_value(&model.config));
    }
    if let Some(kind) = set.get(settings::MACHINES) {
        engine.check_machines(settings::parse_machines(kind)?)?;
    }
    engine.store.update(|model| {
        model.config.extend(set);
        model.config.retain(|name, _| !reset.contains(name));
        to_value(&model.config)
    })
}
