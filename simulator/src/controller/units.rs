//! add-unit, remove-unit, resolved, exec, and where a unit's machine is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::agent::{AgentRequest, Engine, ExecRequest};
use crate::model::{Life, Model, Resolution, StorageDirective};

use super::requests::{no_application, no_unit};

pub fn add(
    engine: &Engine,
    application: &str,
    count: u32,
    storage: &BTreeMap<String, String>,
    attach: &[String],
) -> Result<Value, String> {
    let made = engine.store.try_update(|model| {
        let record = model.applications.get(application).ok_or_else(|| no_application(application))?;
        if record.charm.declared.metadata.subordinate {
            return Err("cannot add unit to a subordinate application".to_owned());
        }
        if record.life == Life::Dying {
            return Err(format!("cannot add unit to application {application:?}: application is not alive"));
        }
        let specs = &record.charm.declared.metadata.storage;
        let mut directives = BTreeMap::new();
        for (name, text) in storage {
            let spec = specs.get(name).ok_or_else(|| format!("charm storage {name:?} not found"))?;
            directives.insert(name.clone(), StorageDirective::parse(text, spec)?);
        }
        add_to(model, application, count, &directives, attach)
    })?;
    Ok(json!({ "units": made }))
}

/// Adds units to the model; their agents start by themselves.
pub fn add_to(
    model: &mut Model,
    application: &str,
    count: u32,
    storage: &BTreeMap<String, StorageDirective>,
    attach: &[String],
) -> Result<Vec<String>, String> {
    if !attach.is_empty() && count != 1 {
        return Err("--attach-storage cannot be used with -n".to_owned());
    }
    let mut made = Vec::new();
    for _ in 0..count {
        let unit = model.add_unit(application, storage, attach).ok_or_else(|| no_application(application))?;
        for id in attach {
            model.attach_storage(&unit, id)?;
        }
        made.push(unit);
    }
    Ok(made)
}

pub async fn remove(
    engine: &Engine,
    names: &[String],
    force: bool,
    destroy_storage: bool,
) -> Result<Value, String> {
    engine.store.try_update(|model: &mut Model| {
        for name in names {
            let unit = model.units.get(name).ok_or_else(|| no_unit(name))?;
            if unit.principal.is_some() {
                return Err(format!("unit {name:?} is a subordinate, to remove use remove-relation"));
            }
        }
        for name in names.iter().filter(|_| !force) {
            model.end_unit(name, destroy_storage);
        }
        Ok(())
    })?;
    if force {
        for name in names {
            take_away(engine, name, destroy_storage).await?;
        }
    }
    Ok(Value::Null)
}

/// Takes a unit and its machine away without asking it. It cannot give leadership back: the others wait for the lease.
pub async fn take_away(engine: &Engine, name: &str, destroy_storage: bool) -> Result<(), String> {
    let machine = engine.store.update(|model| {
        for instance in model.storage.values_mut().filter(|instance| instance.unit.as_deref() == Some(name)) {
            instance.destroy |= destroy_storage;
        }
        let subordinates: Vec<String> = model
            .units
            .values()
            .filter(|unit| unit.principal.as_deref() == Some(name))
            .map(|unit| unit.name.clone())
            .collect();
        for subordinate in subordinates {
            model.drop_unit(&subordinate);
        }
        model.drop_unit(name)
    });
    match machine {
        Some(machine) => engine.destroy_machine(&machine).await.map_err(|error| format!("{error:#}")),
        None => Ok(()),
    }
}

pub fn resolve(engine: &Engine, name: &str, no_retry: bool) -> Result<Value, String> {
    engine.store.try_update(|model| {
        let unit = model.units.get_mut(name).ok_or_else(|| no_unit(name))?;
        if unit.agent.failed_hook().is_none() {
            return Err(format!("unit {name:?} is not in an error state"));
        }
        unit.resolution = Some(if no_retry { Resolution::Skip } else { Resolution::Retry });
        Ok(Value::Null)
    })
}

pub async fn exec(
    engine: &Engine,
    name: &str,
    command: Vec<String>,
    timeout_ms: u64,
) -> Result<Value, String> {
    let name = real_name(engine, name)?;
    let runtime = engine.runtime(&name).ok_or_else(|| format!("unit {name:?} has no agent"))?;
    let (reply, answer) = oneshot::channel();
    let timeout = Duration::from_millis(timeout_ms);
    let gone = || format!("the agent of unit {name:?} ended");
    runtime.requests.send(AgentRequest::Exec(ExecRequest { command, timeout, reply })).map_err(|_| gone())?;
    let output = answer.await.map_err(|_| gone())??;
    Ok(json!({"stdout": output.stdout, "stderr": output.stderr, "return-code": output.code}))
}

pub async fn machine(engine: &Engine, name: &str) -> Result<Value, String> {
    let name = real_name(engine, name)?;
    let machine = engine.machine_of(&name).await.map_err(|error| format!("{error:#}"))?;
    let machine = machine.ok_or_else(|| no_unit(&name))?;
    let pid = machine.init_pid().ok_or_else(|| format!("the machine of unit {name:?} is down"))?;
    Ok(json!({"machine": machine.spec().id, "init-pid": pid}))
}

/// The unit that a name means: itself, or for `etcd/leader` the leader.
pub fn real_name(engine: &Engine, name: &str) -> Result<String, String> {
    engine.store.read(|model| {
        if let Some(application) = name.strip_suffix("/leader") {
            let record = model.applications.get(application).ok_or_else(|| no_application(application))?;
            let lease = record.lease.as_ref();
            return lease
                .map(|lease| lease.holder.clone())
                .ok_or_else(|| format!("could not determine leader for {application:?}"));
        }
        if model.units.contains_key(name) { Ok(name.to_owned()) } else { Err(no_unit(name)) }
    })
}
