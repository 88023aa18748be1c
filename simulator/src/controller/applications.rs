//! deploy, refresh, remove-application, integrate and what else concerns whole applications.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::agent::Engine;
use crate::api::Deploy;
use crate::charm::{Charm, OptionType, names};
use crate::model::{Application, CharmRecord, Declared, JujuVersion, Life, Model, StorageDirective};

use super::requests::no_application;
use super::{resources, units};

pub fn deploy(engine: &Engine, deploy: Deploy) -> Result<Value, String> {
    let charm = load(engine, &deploy.charm)?;
    let name = deploy.application.clone().unwrap_or_else(|| charm.metadata.name.clone());
    names::check_application(&name).map_err(|error| format!("{error:#}"))?;
    if engine.store.read(|model| model.applications.contains_key(&name)) {
        return Err(format!("cannot add application {name:?}: application already exists"));
    }
    let config = charm.parse_settings(&deploy.config)?;
    let storage = directives(&charm, &deploy.storage)?;
    let is_subordinate = charm.metadata.subordinate;
    if !deploy.attach_storage.is_empty() && deploy.units != 1 {
        return Err("AttachStorage is non-empty, but NumUnits is not 1".to_owned());
    }
    let machines = match deploy.machines {
        Some(kind) => kind,
        None => engine.store.read(Model::machines)?,
    };
    engine.check_machines(machines)?;
    let declared = Arc::new(Declared::from(&charm));
    resources::check(&declared, &deploy.resources)?;
    let directory = keep(engine, &charm, &name, 0)?;
    let uploads = resources::keep(engine, &name, &deploy.resources, &BTreeMap::new())?;
    let application = Application {
        name: name.clone(),
        charm: CharmRecord { directory, revision: 0, declared },
        charm_modified_version: 0,
        life: Life::Alive,
        next_unit: 0,
        config,
        trust: deploy.trust,
        exposed: false,
        status: None,
        resources: uploads,
        lease: None,
        leader_settings: BTreeMap::new(),
        leader_settings_version: 0,
        storage,
        bindings: deploy.bind.clone(),
        machines,
    };
    let count = if is_subordinate { 0 } else { deploy.units };
    let made = engine.store.try_update(|model| {
        model.applications.insert(name.clone(), application);
        model.add_peer_relations(&name);
        units::add_to(model, &name, count, &BTreeMap::new(), &deploy.attach_storage)
    })?;
    let messages = missing_resources(engine, &name);
    Ok(json!({"application": name, "units": made, "messages": messages}))
}

fn missing_resources(engine: &Engine, name: &str) -> Vec<String> {
    engine.store.read(|model| {
        let Some(application) = model.applications.get(name) else { return Vec::new() };
        let declared = application.charm.declared.metadata.resources.keys();
        let missing = declared.filter(|resource| !application.resources.contains_key(*resource));
        missing.map(|resource| format!("resource {resource:?} was not uploaded")).collect()
    })
}

/// Reads a charm and refuses what the imitated Juju refuses.
fn load(engine: &Engine, path: &Path) -> Result<Charm, String> {
    let charm = Charm::load(path).map_err(|error| format!("{error:#}"))?;
    let version = engine.store.read(|model| model.version);
    if version == JujuVersion::V4_0 && charm.is_directory() {
        return Err(format!("cannot deploy {}: Juju 4 takes .charm files, no directories", path.display()));
    }
    let secret = charm.options.iter().find(|(_, option)| option.kind == OptionType::Secret);
    if let (JujuVersion::V2_9, Some((option, _))) = (version, secret) {
        return Err(format!("invalid config: option {option:?} has unknown type \"secret\""));
    }
    Ok(charm)
}

/// Keeps a charm's files with the model and returns where.
fn keep(engine: &Engine, charm: &Charm, application: &str, revision: u32) -> Result<PathBuf, String> {
    let directory = engine.directory.join("charms").join(format!("{application}-{revision}"));
    // Left by an earlier application of the same name.
    let _ = std::fs::remove_dir_all(&directory);
    charm.unpack_to(&directory).map_err(|error| format!("cannot keep the charm: {error:#}"))?;
    Ok(directory)
}

/// Storage directives: what was asked for, and what the charm needs at least.
pub fn directives(
    charm: &Charm,
    asked: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, StorageDirective>, String> {
    let specs = &charm.metadata.storage;
    if let Some(unknown) = asked.keys().find(|name| !specs.contains_key(*name)) {
        return Err(format!("charm {:?} has no store called {unknown:?}", charm.metadata.name));
    }
    let directive = |(name, spec): (&String, &crate::charm::StorageSpec)| {
        let directive = match asked.get(name) {
            Some(text) => StorageDirective::parse(text, spec)
                .map_err(|error| format!("charm {:?} store {name:?}: {error}", charm.metadata.name))?,
            None => StorageDirective::default_for(spec),
        };
        Ok((name.clone(), directive))
    };
    specs.iter().map(directive).collect()
}

pub fn refresh(
    engine: &Engine,
    name: &str,
    path: &Path,
    uploads: &BTreeMap<String, PathBuf>,
    force_units: bool,
) -> Result<Value, String> {
    let (old_charm, revision, old_uploads) = engine
        .store
        .read(|model| {
            let application = model.applications.get(name)?;
            let charm = application.charm.declared.metadata.name.clone();
            Some((charm, application.charm.revision + 1, application.resources.clone()))
        })
        .ok_or_else(|| no_application(name))?;
    let charm = load(engine, path)?;
    if charm.metadata.name != old_charm {
        return Err(format!(
            "cannot refresh {name:?}: {:?} is another charm than {old_charm:?}",
            charm.metadata.name
        ));
    }
    let declared = Arc::new(Declared::from(&charm));
    check_relations(engine, name, &declared)?;
    resources::check(&declared, uploads)?;
    let directory = keep(engine, &charm, name, revision)?;
    let uploads = resources::keep(engine, name, uploads, &old_uploads)?;
    let storage = directives(&charm, &BTreeMap::new())?;
    engine.store.update(|model| {
        if let Some(application) = model.applications.get_mut(name) {
            application.charm = CharmRecord { directory, revision, declared: Arc::clone(&declared) };
            application.charm_modified_version += 1;
            application.config.retain(|option, _| declared.options.contains_key(option));
            application.resources.extend(uploads);
            application.storage.retain(|store, _| declared.metadata.storage.contains_key(store));
            for (store, directive) in storage {
                application.storage.entry(store).or_insert(directive);
            }
        }
        model.add_peer_relations(name);
        if force_units {
            for unit in model.units.values_mut().filter(|unit| unit.application == name) {
                unit.agent.wants_files = unit.agent.failed_hook().is_some();
            }
        }
    });
    Ok(json!({"application": name, "revision": revision}))
}

/// A new charm must still have the endpoints that are in use.
fn check_relations(engine: &Engine, name: &str, declared: &Declared) -> Result<(), String> {
    engine.store.read(|model| {
        for relation in model.relations_of(name) {
            let Some(end) = relation.end_of(name) else { continue };
            let is_kept = declared
                .metadata
                .endpoints
                .get(&end.endpoint)
                .is_some_and(|new| new.interface == end.interface);
            if !is_kept && end.endpoint != "juju-info" {
                return Err(format!("cannot refresh {name:?}: would break relation {:?}", relation.key()));
            }
        }
        Ok(())
    })
}

pub async fn remove(
    engine: &Engine,
    name: &str,
    force: bool,
    destroy_storage: bool,
) -> Result<Value, String> {
    let members: Vec<String> = engine.store.try_update(|model: &mut Model| {
        if !model.applications.contains_key(name) {
            return Err(no_application(name));
        }
        let members = model.units_of(name).map(|unit| unit.name.clone()).collect();
        model.end_application(name, destroy_storage);
        Ok(members)
    })?;
    for unit in members.iter().filter(|_| force) {
        units::take_away(engine, unit, destroy_storage).await?;
    }
    Ok(Value::Null)
}

pub fn expose(engine: &Engine, name: &str, exposed: bool) -> Result<Value, String> {
    change(engine, name, |application| application.exposed = exposed)
}

pub fn trust(engine: &Engine, name: &str, trusted: bool) -> Result<Value, String> {
    change(engine, name, |application| application.trust = trusted)
}

fn change(engine: &Engine, name: &str, change: impl FnOnce(&mut Application)) -> Result<Value, String> {
    engine.store.try_update(|model| {
        change(model.applications.get_mut(name).ok_or_else(|| no_application(name))?);
        Ok(Value::Null)
    })
}

pub fn integrate(engine: &Engine, left: &str, right: &str) -> Result<Value, String> {
    let id =
        engine.store.try_update(|model| model.integrate(left, right)).map_err(|error| error.to_string())?;
    Ok(json!({"id": id}))
}

pub fn remove_relation(engine: &Engine, left: &str, right: &str) -> Result<Value, String> {
    engine.store.try_update(|model| model.remove_relation(left, right)).map_err(|error| error.to_string())?;
    Ok(Value::Null)
}
