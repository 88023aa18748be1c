//! Waiting for the model, and following its log. Nothing here looks again and again: every change wakes those who wait.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use crate::agent::resolver::Due;
use crate::agent::{Engine, commit, resolver};
use crate::api::{LogLine, Wait};
use crate::model::{MachineState, Model, Unit};

use super::connection::Answers;

/// Waits until a condition holds.
pub async fn until(engine: &Engine, wanted: &Wait) -> Result<Value, String> {
    let mut changes = engine.store.watch();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(wanted.timeout_ms);
    loop {
        changes.borrow_and_update();
        let missing = engine.store.read(|model| missing(model, wanted));
        let Some(missing) = missing else { return Ok(Value::Null) };
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            return Err(format!("timed out after {} ms: {missing}", wanted.timeout_ms));
        }
    }
}

/// What is still missing from a condition.
fn missing(model: &Model, wanted: &Wait) -> Option<String> {
    let is_subject = |unit: &&Unit| {
        wanted.subjects.is_empty()
            || wanted.subjects.iter().any(|s| *s == unit.name || *s == unit.application)
    };
    let units: Vec<&Unit> = model.units.values().filter(is_subject).collect();
    if let Some(count) = wanted.units.filter(|count| *count != units.len()) {
        return Some(format!("there are {} units, wanted are {count}", units.len()));
    }
    let named = |name: &&String| model.units.contains_key(*name) || model.applications.contains_key(*name);
    if let Some(unknown) =
        wanted.subjects.iter().find(|name| !named(name)).filter(|_| wanted.units != Some(0))
    {
        return Some(format!("{unknown:?} not found"));
    }
    for unit in units {
        let shown = unit.shown_workload();
        let has_status = wanted.status.as_ref().is_none_or(|status| *status == shown.current);
        let has_message = wanted.message.as_ref().is_none_or(|text| shown.message.contains(text.as_str()));
        if !has_status || !has_message {
            return Some(format!("{} is {}: {:?}", unit.name, shown.current, shown.message));
        }
        if wanted.idle
            && let Some(work) = work_left(model, unit)
        {
            return Some(format!("{} is not idle: {work}", unit.name));
        }
    }
    if !wanted.idle {
        return None;
    }
    let has_unit = |id: &String| model.units.values().any(|unit| unit.machine == *id);
    if let Some(id) = model.machines.keys().find(|id| !has_unit(id)) {
        return Some(format!("machine {id} is being destroyed"));
    }
    model.next_lease_end_ms().map(|_| "a lease is running out".to_owned())
}

/// What a unit does or will do by itself. A machine that is down does nothing.
fn work_left(model: &Model, unit: &Unit) -> Option<String> {
    match model.machines.get(&unit.machine).map(|machine| &machine.state) {
        Some(MachineState::Down) => return None,
        Some(MachineState::Started) => {}
        _ => return Some("its machine is not started".to_owned()),
    }
    if unit.agent_status.current != "idle" {
        return Some(format!("{} {}", unit.agent_status.current, unit.agent_status.message));
    }
    if let Some(failed) = unit.agent.failed_hook() {
        let retries = model.is_enabled("automatically-retry-hooks") || unit.resolution.is_some();
        return retries.then(|| format!("hook {:?} failed and will run again", failed.hook.name()));
    }
    if let Some(operation) = resolver::next(model, unit, Due::default()) {
        return Some(format!("{operation:?} is due"));
    }
    let has_news = commit::settle(&mut model.clone(), &unit.name);
    has_news.then(|| "relations or leadership changed".to_owned())
}

const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

fn rank(level: &str) -> usize {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level)).unwrap_or_default()
}

/// Shows log lines.
pub async fn debug_log(
    engine: &Engine,
    follow: bool,
    include: &[String],
    lines: Option<usize>,
    level: Option<&str>,
    answers: &mut Answers,
) -> Result<Value, String> {
    let least = level.map_or(0, rank);
    let is_wanted = |line: &LogLine| {
        let is_named = |name: &String| {
            line.entity == *name
                || line.entity == crate::model::unit_tag(name)
                || line.module.starts_with(name.as_str())
        };
        rank(&line.level) >= least && (include.is_empty() || include.iter().any(is_named))
    };
    let (mut old, mut new) = engine.log.follow().map_err(|error| format!("{error:#}"))?;
    old.retain(|line| is_wanted(line));
    let skipped = lines.map_or(0, |lines| old.len().saturating_sub(lines));
    for line in old.into_iter().skip(skipped) {
        answers.show(line).await?;
    }
    if !follow {
        return Ok(Value::Null);
    }
    loop {
        match new.recv().await {
            Ok(line) if is_wanted(&line) => answers.show(line).await?,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(Value::Null),
        }
    }
}
