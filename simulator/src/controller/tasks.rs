//! Actions as operators see them: operations and their tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::agent::{Engine, kill_tree};
use crate::api::Task;
use crate::charm::validate_parameters;
use crate::model::{Model, TaskRecord};
use crate::status::format_time;

use super::connection::Answers;
use super::requests::{no_application, to_value};
use super::units::real_name;

pub fn run(
    engine: &Engine,
    names: &[String],
    action: &str,
    parameters: Map<String, Value>,
) -> Result<Value, String> {
    let mut units = Vec::new();
    for name in names {
        units.push(real_name(engine, name)?);
    }
    engine.store.try_update(|model| {
        for unit in &units {
            let application =
                model.units.get(unit).and_then(|unit| model.applications.get(&unit.application));
            if !application.is_some_and(|application| application.charm.declared.actions.contains_key(action))
            {
                return Err(format!("cannot run {action:?} action: not defined on unit {unit:?}"));
            }
        }
        model.sequence.tasks += 1;
        let operation = model.sequence.tasks;
        let tasks: BTreeMap<String, String> = units
            .iter()
            .map(|unit| (unit.clone(), enqueue(model, operation, unit, action, &parameters)))
            .collect();
        Ok(json!({"operation": operation.to_string(), "tasks": tasks}))
    })
}

/// Queues an action on a unit. Parameters that its schema refuses end it at once, without a process.
fn enqueue(
    model: &mut Model,
    operation: u64,
    unit: &str,
    action: &str,
    given: &Map<String, Value>,
) -> String {
    model.sequence.tasks += 1;
    let id = model.sequence.tasks;
    let now = format_time(model.now_ms());
    let closed = model.version.refuses_extra_parameters();
    let spec = model
        .units
        .get(unit)
        .and_then(|unit| model.applications.get(&unit.application))
        .and_then(|application| application.charm.declared.actions.get(action));
    let checked = match spec {
        Some(spec) => validate_parameters(spec, given.clone(), closed),
        None => Err(format!("action {action:?} not defined")),
    };
    let (status, message, completed, parameters) = match checked {
        Ok(parameters) => ("pending", String::new(), String::new(), parameters),
        Err(message) => ("failed", message, now.clone(), Map::new()),
    };
    let task = Task {
        id: id.to_string(),
        unit: unit.to_owned(),
        action: action.to_owned(),
        status: status.to_owned(),
        message,
        results: json!({}),
        enqueued: now,
        started: String::new(),
        completed,
        log: Vec::new(),
    };
    model.tasks.insert(id, TaskRecord { task, operation, parameters, cancelling: false });
    id.to_string()
}

fn find(engine: &Engine, id: &str) -> Result<TaskRecord, String> {
    let record = id.parse().ok().and_then(|id: u64| engine.store.read(|model| model.tasks.get(&id).cloned()));
    record.ok_or_else(|| format!("task with ID {id:?} not found"))
}

pub fn show(engine: &Engine, id: &str) -> Result<Value, String> {
    to_value(&find(engine, id)?.task)
}

/// Shows what a task logs until it has ended.
pub async fn follow(
    engine: &Engine,
    id: &str,
    timeout_ms: u64,
    answers: &mut Answers,
) -> Result<Value, String> {
    let mut changes = engine.store.watch();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(timeout_ms);
    let mut shown = 0;
    loop {
        changes.borrow_and_update();
        let record = find(engine, id)?;
        for line in record.task.log.iter().skip(shown) {
            answers.show(line.clone()).await?;
        }
        shown = record.task.log.len();
        if record.has_ended() {
            return to_value(&record.task);
        }
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            return Err(format!("timed out waiting for results from task {id}"));
        }
    }
}

pub fn operations(engine: &Engine, id: Option<&str>) -> Result<Value, String> {
    let mut operations: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
    engine.store.read(|model| {
        for record in model.tasks.values() {
            operations.entry(record.operation).or_default().push(record.task.clone());
        }
    });
    if let Some(id) = id {
        operations.retain(|operation, _| operation.to_string() == id);
        if operations.is_empty() {
            return Err(format!("operation with ID {id:?} not found"));
        }
    }
    let rows: Vec<Value> = operations
        .into_iter()
        .map(|(id, tasks)| json!({"id": id.to_string(), "action": tasks.first().map(|task| &task.action), "tasks": tasks}))
        .collect();
    Ok(Value::Array(rows))
}

/// Cancels a task: one that has not begun is dropped, a running one is killed.
pub async fn cancel(engine: &Engine, id: &str) -> Result<Value, String> {
    let record = find(engine, id)?;
    let Ok(number) = id.parse::<u64>() else { return Err(format!("task with ID {id:?} not found")) };
    let status = engine.store.update(|model| {
        let now = model.now_ms();
        let record = model.tasks.get_mut(&number)?;
        match record.task.status.as_str() {
            "pending" => {
                record.task.status = "cancelled".to_owned();
                record.task.message = "task cancelled".to_owned();
                record.task.completed = format_time(now);
            }
            "running" => record.cancelling = true,
            _ => {}
        }
        Some(record.task.status.clone())
    });
    let runtime = engine.runtime(&record.task.unit).filter(|_| status.as_deref() == Some("running"));
    if let Some(runtime) = runtime
        && let Some(context) = runtime.context.lock().await.as_mut()
        && context.action.as_ref().is_some_and(|action| action.task == number)
    {
        context.was_killed = true;
        context.pid.into_iter().for_each(kill_tree);
    }
    to_value(&find(engine, id)?.task)
}

pub fn actions(engine: &Engine, application: &str) -> Result<Value, String> {
    engine.store.read(|model| {
        let record = model.applications.get(application).ok_or_else(|| no_application(application))?;
        to_value(&record.charm.declared.actions)
    })
}
