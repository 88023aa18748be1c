//! Actions: parameters in, results out. They never put their unit in error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::{JujuVersion, StatusEntry};
use crate::status::format_time;

use super::context::{ActionContext, Context};
use super::hook::Program;
use super::run::{Ended, Ending};
use super::{Agent, commit};

/// What becomes of a task.
struct Verdict {
    status: &'static str,
    message: String,
    results: Map<String, Value>,
}

impl Agent {
    pub(super) async fn run_action(&mut self, task: u64) {
        let Some((name, parameters)) = self.start_task(task) else { return };
        let machine =
            self.engine.store.read(|model| model.units.get(&self.unit).map(|unit| unit.machine.clone()));
        let lock = self.engine.machine_lock(&machine.unwrap_or_default());
        let held = lock.lock().await;
        let dispatch_path = format!("actions/{name}");
        let failed = |message: String| Verdict { status: "failed", message, results: Map::new() };
        let verdict = match self.program(&dispatch_path) {
            Program::Missing => failed(format!("action not implemented on unit {:?}", self.unit)),
            Program::Unusable(why) => failed(why),
            Program::At(program) => {
                let action = ActionContext {
                    task,
                    name: name.clone(),
                    parameters,
                    results: Map::new(),
                    failure: None,
                };
                let context = self.engine.store.read(|model| Context::new(model, &self.unit, &name));
                let member_bags = std::mem::take(&mut self.member_bags);
                let context = Context { action: Some(action), member_bags, ..context };
                let mut ended = self.execute(context, &program, &[], Some(&dispatch_path)).await;
                self.member_bags = std::mem::take(&mut ended.context.member_bags);
                self.judge_action(task, ended)
            }
        };
        drop(held);
        self.end_task(task, verdict);
    }

    fn start_task(&self, task: u64) -> Option<(String, Map<String, Value>)> {
        self.engine.store.update(|model| {
            let now = model.now_ms();
            let record = model.tasks.get_mut(&task)?;
            record.task.status = "running".to_owned();
            record.task.started = format_time(now);
            let started = (record.task.action.clone(), record.parameters.clone());
            if let Some(unit) = model.units.get_mut(&self.unit) {
                unit.agent_status =
                    StatusEntry::new("executing", &format!("running action {}", started.0), now);
            }
            Some(started)
        })
    }

    fn judge_action(&self, task: u64, ended: Ended) -> Verdict {
        let version = self.engine.store.read(|model| model.version);
        let action = ended.context.action.clone();
        let (mut results, failure) =
            action.map(|action| (action.results, action.failure)).unwrap_or_default();
        let code = match ended.ending {
            Ending::Code(code) => code,
            Ending::Signal(_) | Ending::NotStarted(_) => -1,
        };
        let mut stderr = ended.stderr;
        let mut failure = failure;
        if code == 0
            && let Err(error) = self.engine.store.try_update(|model| commit::flush(model, &ended.context))
        {
            stderr.extend_from_slice(format!("\n{error}").as_bytes());
            failure = Some(failure.unwrap_or_else(|| "committing requested changes failed".to_owned()));
        }
        add_output(&mut results, version, code, &ended.stdout, &stderr);
        let is_cancelled =
            self.engine.store.read(|model| model.tasks.get(&task).is_some_and(|record| record.cancelling));
        let (status, message) = match (&ended.ending, failure) {
            _ if is_cancelled => ("aborted", "action aborted".to_owned()),
            (Ending::Code(0), None) => ("completed", String::new()),
            (Ending::Code(0), Some(message)) => ("failed", message),
            (Ending::Code(code), _) => ("failed", format!("exit status {code}")),
            (Ending::Signal(9), _) => ("failed", "signal: killed".to_owned()),
            (Ending::Signal(signal), _) => ("failed", format!("signal: {signal}")),
            (Ending::NotStarted(error), _) => ("failed", format!("cannot start: {error}")),
        };
        Verdict { status, message, results }
    }

    fn end_task(&self, task: u64, verdict: Verdict) {
        self.engine.store.update(|model| {
            let now = model.now_ms();
            if let Some(unit) = model.units.get_mut(&self.unit) {
                unit.agent.context = None;
            }
            if let Some(record) = model.tasks.get_mut(&task) {
                record.task.status = verdict.status.to_owned();
                record.task.message = verdict.message;
                record.task.results = Value::Object(verdict.results);
                record.task.completed = format_time(now);
            }
        });
    }
}

/// Adds what the process itself yields, under the keys of the imitated Juju.
fn add_output(
    results: &mut Map<String, Value>,
    version: JujuVersion,
    code: i32,
    stdout: &[u8],
    stderr: &[u8],
) {
    if version.has_lowercase_results() {
        results.insert("return-code".to_owned(), json!(code));
        add_text(results, "stdout", "stdout-encoding", stdout);
        add_text(results, "stderr", "stderr-encoding", stderr);
    } else {
        results.insert("Code".to_owned(), json!(code.to_string()));
        add_text(results, "Stdout", "StdoutEncoding", stdout);
        add_text(results, "Stderr", "StderrEncoding", stderr);
    }
}

fn add_text(results: &mut Map<String, Value>, name: &str, encoding: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => results.insert(name.to_owned(), json!(text)),
        Err(_) => {
            results.insert(encoding.to_owned(), json!("base64"));
            results.insert(name.to_owned(), json!(STANDARD.encode(bytes)))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_juju_has_its_result_keys() {
        let mut results = Map::new();
        add_output(&mut results, JujuVersion::V3_6, 0, b"out\n", b"");
        assert_eq!(json!(results), json!({"return-code": 0, "stdout": "out\n"}));
        let mut results = Map::new();
        add_output(&mut results, JujuVersion::V2_9, 1, b"", &[0xff]);
        assert_eq!(json!(results), json!({"Code": "1", "Stderr": "/w==", "StderrEncoding": "base64"}));
    }
}
