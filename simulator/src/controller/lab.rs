//! Faults and shortcuts for tests. Each is done when it is answered.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::agent::context::KillPlan;
use crate::agent::{AgentRequest, Engine, UnitRuntime, kill_tree};
use crate::api::Lab;
use crate::machine::{Machine, Sending};
use crate::model::{Lease, MachineState};

use super::requests::{no_application, no_unit};
use super::units::real_name;

pub async fn carry_out(engine: &Arc<Engine>, fault: Lab) -> Result<Value, String> {
    match fault {
        Lab::Cut { unit, one_way: false } => done(machine(engine, &unit).await?.set_connected(false).await),
        Lab::Cut { unit, one_way: true } => done(
            machine(engine, &unit).await?.set_sending(Sending { is_lost: true, ..Sending::default() }).await,
        ),
        Lab::Slow { unit, delay_ms, loss_percent } => {
            let sending = Sending { is_lost: false, delay_ms, loss_percent };
            done(machine(engine, &unit).await?.set_sending(sending).await)
        }
        Lab::Heal { unit } => heal(engine, &unit).await,
        Lab::KillMachine { unit } => kill_machine(engine, &unit).await,
        Lab::StartMachine { unit } => start_machine(engine, &unit).await,
        Lab::Reboot { unit } => {
            let machine = machine(engine, &unit).await?;
            done(engine.reboot(&machine.spec().id, machine.as_ref()).await)
        }
        Lab::SetAddress { unit, address } => set_address(engine, &unit, &address).await,
        Lab::KillHook { unit, hook, call, after, step, each } => {
            let each = each.then(BTreeMap::new);
            plan_kill(engine, &unit, KillPlan { hook, call, after, step, each })
        }
        Lab::SpareHooks { unit } => {
            *agent(engine, &unit)?.kill_plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
            Ok(Value::Null)
        }
        Lab::KillRunning { unit } => kill_running(engine, &unit).await,
        Lab::Calls { subject } => calls(engine, &subject),
        Lab::UpdateStatus { subject } => update_status(engine, &subject).await,
        Lab::Leader { unit } => lead(engine, &unit),
        Lab::AdvanceClock { seconds } => {
            engine.store.update(|model| model.clock_ahead_ms += seconds * 1_000);
            Ok(Value::Null)
        }
        Lab::FillDisk { unit, free_kib } => {
            done(machine(engine, &unit).await?.limit_disk(Some(free_kib)).await)
        }
        Lab::FreeDisk { unit } => done(machine(engine, &unit).await?.limit_disk(None).await),
        Lab::HideRelation { relation } => hide_relation(engine, &relation, true),
        Lab::RevealRelation { relation } => hide_relation(engine, &relation, false),
    }
}

fn done(result: anyhow::Result<()>) -> Result<Value, String> {
    result.map(|()| Value::Null).map_err(|error| format!("{error:#}"))
}

async fn machine(engine: &Engine, unit: &str) -> Result<Arc<dyn Machine>, String> {
    let unit = real_name(engine, unit)?;
    let machine = engine.machine_of(&unit).await.map_err(|error| format!("{error:#}"))?;
    machine.ok_or_else(|| no_unit(&unit))
}

async fn heal(engine: &Engine, unit: &str) -> Result<Value, String> {
    let machine = machine(engine, unit).await?;
    done(machine.set_connected(true).await)?;
    done(machine.set_sending(Sending::default()).await)
}

async fn kill_machine(engine: &Engine, unit: &str) -> Result<Value, String> {
    let machine = machine(engine, unit).await?;
    // First the state: an agent whose hook dies with the machine must know that it is down.
    engine.set_machine_state(&machine.spec().id, MachineState::Down);
    done(machine.kill().await)
}

async fn start_machine(engine: &Engine, unit: &str) -> Result<Value, String> {
    let machine = machine(engine, unit).await?;
    if machine.is_running() {
        return Err(format!("the machine of unit {unit:?} is running"));
    }
    machine.start().await.map_err(|error| format!("{error:#}"))?;
    let id = machine.spec().id;
    engine.note_reboot(&id);
    engine.set_machine_state(&id, MachineState::Started);
    Ok(Value::Null)
}

async fn set_address(engine: &Engine, unit: &str, text: &str) -> Result<Value, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| format!("{text:?} is not an IPv4 address"))?;
    let machine = machine(engine, unit).await?;
    let id = machine.spec().id;
    let is_taken = engine.store.read(|model| {
        model.machines.values().any(|other| other.spec.id != id && other.spec.address == address)
    });
    if is_taken {
        return Err(format!("address {address} is in use"));
    }
    machine.set_address(address).await.map_err(|error| format!("{error:#}"))?;
    engine.store.update(|model| {
        if let Some(record) = model.machines.get_mut(&id) {
            record.spec.address = address;
        }
    });
    Ok(Value::Null)
}

fn agent(engine: &Engine, unit: &str) -> Result<Arc<UnitRuntime>, String> {
    let unit = real_name(engine, unit)?;
    engine.runtime(&unit).ok_or_else(|| format!("unit {unit:?} has no agent"))
}

fn plan_kill(engine: &Engine, unit: &str, plan: KillPlan) -> Result<Value, String> {
    if plan.call == 0 {
        return Err("hook tool calls are counted from 1".to_owned());
    }
    *agent(engine, unit)?.kill_plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
    Ok(Value::Null)
}

async fn kill_running(engine: &Engine, unit: &str) -> Result<Value, String> {
    let unit = real_name(engine, unit)?;
    let none = || format!("nothing runs on unit {unit:?}");
    let runtime = engine.runtime(&unit).ok_or_else(none)?;
    let mut current = runtime.context.lock().await;
    let context = current.as_mut().ok_or_else(none)?;
    context.was_killed = true;
    context.pid.into_iter().for_each(kill_tree);
    Ok(json!({"killed": context.run_name()}))
}

/// A unit, or those of an application.
fn units_of(engine: &Engine, subject: &str) -> Result<Vec<String>, String> {
    let units: Vec<String> = engine.store.read(|model| {
        let is_subject = |name: &&String| *name == subject || name.split('/').next() == Some(subject);
        model.units.keys().filter(is_subject).cloned().collect()
    });
    if units.is_empty() {
        return Err(if subject.contains('/') { no_unit(subject) } else { no_application(subject) });
    }
    Ok(units)
}

fn calls(engine: &Engine, subject: &str) -> Result<Value, String> {
    let of = |unit: String| {
        let runtime = engine.runtime(&unit).ok_or_else(|| format!("unit {unit:?} has no agent"))?;
        let runs = runtime.runs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((unit, json!(*runs)))
    };
    units_of(engine, subject)?.into_iter().map(of).collect::<Result<_, String>>().map(Value::Object)
}

async fn update_status(engine: &Engine, subject: &str) -> Result<Value, String> {
    let mut answers = Vec::new();
    for unit in units_of(engine, subject)? {
        let runtime = engine.runtime(&unit).ok_or_else(|| format!("unit {unit:?} has no agent"))?;
        let (reply, answer) = oneshot::channel();
        let gone = format!("the agent of unit {unit:?} ended");
        runtime.requests.send(AgentRequest::UpdateStatus(reply)).map_err(|_| gone.clone())?;
        answers.push((unit, gone, answer));
    }
    for (unit, gone, answer) in answers {
        answer.await.map_err(|_| gone)?.map_err(|error| format!("{unit}: {error}"))?;
    }
    Ok(Value::Null)
}

fn lead(engine: &Engine, unit: &str) -> Result<Value, String> {
    engine.store.try_update(|model| {
        let name = model.units.get(unit).map(|unit| unit.application.clone()).ok_or_else(|| no_unit(unit))?;
        let application = model.applications.get_mut(&name).ok_or_else(|| no_application(&name))?;
        application.lease = Some(Lease { holder: unit.to_owned(), expires_ms: None });
        Ok(Value::Null)
    })
}

/// `name`: as `relation-ids` has it; the text before the colon is not looked at, as in Juju.
fn hide_relation(engine: &Engine, name: &str, is_hidden: bool) -> Result<Value, String> {
    let number = name.rsplit(':').next().and_then(|number| number.parse::<u64>().ok());
    engine.store.try_update(|model| {
        let relation = number.and_then(|number| model.relations.get_mut(&number));
        relation.ok_or_else(|| format!("relation {name:?} not found"))?.is_hidden = is_hidden;
        Ok(Value::Null)
    })
}
