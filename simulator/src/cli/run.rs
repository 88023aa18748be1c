//! `run`: actions on units, their log while they run, their results in the end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::configuration::read_file;
use super::model::Model;
use super::output::{self, Format, remark, say};
use super::tasks::{document, log_line, plain};
use super::words;
use crate::api::{Request, Task};
use crate::charm::names;
use crate::yaml;

#[derive(Debug, Args)]
#[command(after_help = "\
UNIT/leader stands for the unit that leads. Values of parameters are read as YAML; a.b=1 nests.
The exit status is 1 when the program of an action ended with another status than 0. An action that only
says that it failed (action-fail) prints so, and ends with 0, as Juju does.

Examples:
  juju-sim run etcd/leader health
  juju-sim run etcd/0 etcd/1 snapshot keys-version=v3 --wait=5m
  juju-sim run etcd/0 defrag --background")]
pub(super) struct Run {
    /// Units, then the action, then its parameters as key=value
    #[arg(value_name = "UNIT... ACTION [KEY=VALUE]", required = true)]
    words: Vec<String>,
    /// How long to wait for results
    #[arg(long, value_name = "DURATION", value_parser = words::duration, num_args = 0..=1, require_equals = true,
        default_value = "60s", default_missing_value = "60s")]
    wait: Duration,
    /// Do not wait
    #[arg(long)]
    background: bool,
    /// YAML file with parameters
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Take values as text, not as YAML
    #[arg(long)]
    string_args: bool,
    /// How to print the results
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
}

/// What the words of `run` mean.
#[derive(Debug, PartialEq)]
struct Call {
    units: Vec<String>,
    action: String,
    parameters: Vec<String>,
}

impl Call {
    fn parse(words: &[String]) -> Result<Self> {
        let is_unit = |word: &&String| word.ends_with("/leader") || names::split_unit(word).is_ok();
        let units: Vec<String> = words.iter().take_while(is_unit).cloned().collect();
        if units.is_empty() {
            bail!("no unit specified");
        }
        let Some(action) = words.get(units.len()) else { bail!("no action specified") };
        if !names::is_action_word(action) {
            bail!("invalid unit or action name {action:?}");
        }
        let parameters = words[units.len() + 1..].to_vec();
        Ok(Self { units, action: action.clone(), parameters })
    }
}

/// Parameters from `a.b=value` texts, over those of a file.
fn parameters(file: Option<&str>, texts: &[String], as_text: bool) -> Result<Map<String, Value>> {
    let mut all: Map<String, Value> = match file {
        Some(text) => yaml::read(text).context("cannot parse the file of parameters")?,
        None => Map::new(),
    };
    for text in texts {
        let Some((key, value)) = text.split_once('=') else {
            bail!("argument {text:?} must be of the form key.key.key...=value");
        };
        let value = if as_text {
            Value::from(value)
        } else {
            yaml::read(value).with_context(|| format!("cannot parse the value of {key:?}"))?
        };
        let mut path: Vec<&str> = key.split('.').collect();
        let last = path.pop().unwrap_or_default();
        if last.is_empty() || path.iter().any(|part| part.is_empty()) {
            bail!("argument {text:?} must be of the form key.key.key...=value");
        }
        let mut map = &mut all;
        for part in path {
            let inner = map.entry(part).or_insert_with(|| json!({}));
            map = inner.as_object_mut().with_context(|| format!("parameter {part:?} is no map"))?;
        }
        map.insert(last.to_owned(), value);
    }
    Ok(all)
}

impl Run {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let call = Call::parse(&self.words)?;
        let file = self.params.as_deref().map(read_file).transpose()?;
        let parameters = parameters(file.as_deref(), &call.parameters, self.string_args)?;
        let answer = model.ask(Request::Run { units: call.units, action: call.action, parameters }).await?;
        let tasks: Vec<(String, String)> = answer
            .get("tasks")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(unit, id)| (unit.clone(), plain(id)))
            .collect();
        let operation = answer.get("operation").map(plain).unwrap_or_default();
        let plural = if tasks.len() == 1 { "task" } else { "tasks" };
        remark(&format!("Running operation {operation} with {} {plural}", tasks.len()))?;
        for (unit, id) in &tasks {
            remark(&format!("  - task {id} on unit-{}", unit.replace('/', "-")))?;
        }
        remark("")?;
        if self.background {
            remark(&format!("Check operation status with 'juju-sim show-operation {operation}'"))?;
            for (_, id) in &tasks {
                remark(&format!("Check task status with 'juju-sim show-task {id}'"))?;
            }
            return Ok(0);
        }
        let ended = wait(model, &tasks, self.wait).await?;
        report(&ended, self.format)?;
        failures(&ended)
    }
}

/// Waits for each task in turn, all within one bound, and shows what the actions log meanwhile.
async fn wait(model: &Model, tasks: &[(String, String)], bound: Duration) -> Result<Vec<Task>> {
    let end = std::time::Instant::now() + bound;
    let mut ended = Vec::new();
    for (unit, id) in tasks {
        remark(&format!("Waiting for task {id}..."))?;
        let left = end.saturating_duration_since(std::time::Instant::now());
        let request = Request::WaitTask { id: id.clone(), timeout_ms: words::milliseconds(left) };
        let task = model
            .ask_with(request, |line| remark(&log_line(&line)))
            .await
            .with_context(|| format!("timed out waiting for results from: unit {unit}"))?;
        ended.push(serde_json::from_value(task).context("cannot understand the task")?);
    }
    Ok(ended)
}

fn report(tasks: &[Task], format: Format) -> Result<()> {
    match (format, tasks) {
        (Format::Tabular, [task]) => {
            if task.status != "completed" {
                say(&format!("Action id {} failed: {}\n", task.id, task.message))?;
            }
            say(&results(task)?)
        }
        _ => {
            let all: Map<String, Value> =
                tasks.iter().map(|task| (task.unit.clone(), document(task))).collect();
            output::show(&all, format)
        }
    }
}

/// The results as a person wants them: the map, then what the program printed.
fn results(task: &Task) -> Result<String> {
    let Value::Object(mut results) = task.results.clone() else { return Ok(String::new()) };
    for process in
        ["return-code", "Code", "stdout-encoding", "StdoutEncoding", "stderr-encoding", "StderrEncoding"]
    {
        results.remove(process);
    }
    let printed: Vec<String> = ["stdout", "Stdout", "stderr", "Stderr"]
        .into_iter()
        .filter_map(|name| results.remove(name))
        .map(|text| plain(&text))
        .collect();
    let mut text = if results.is_empty() { String::new() } else { yaml::write(&results)? };
    for output in printed.iter().filter(|output| !output.is_empty()) {
        text.push_str(output);
        if !output.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// The exit status of the program that the action ran, `0` when it did not run.
fn return_code(task: &Task) -> i64 {
    let code = task.results.get("return-code").or_else(|| task.results.get("Code"));
    code.and_then(|code| code.as_i64().or_else(|| code.as_str()?.parse().ok())).unwrap_or(0)
}

fn failures(tasks: &[Task]) -> Result<u8> {
    let failed: Vec<&Task> = tasks.iter().filter(|task| return_code(task) != 0).collect();
    if failed.is_empty() {
        return Ok(0);
    }
    let lines: Vec<String> = failed
        .iter()
        .map(|task| format!(" - id {:?} with return code {}", task.id, return_code(task)))
        .collect();
    let plural = if failed.len() == 1 { ("task", "failure") } else { ("tasks", "failures") };
    bail!(
        "the following {} failed:\n{}\n\nuse 'juju-sim show-task' to inspect the {}",
        plural.0,
        lines.join("\n"),
        plural.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn task(status: &str, message: &str, results: Value) -> Task {
        serde_json::from_value(json!({
            "id": "2", "unit": "etcd/0", "action": "a", "status": status, "message": message, "results": results, "log": []
        }))
        .unwrap()
    }

    #[test]
    fn the_words_of_run_are_units_an_action_and_parameters() {
        let call = Call::parse(&strings(&["etcd/0", "etcd/leader", "snapshot", "a=b"])).unwrap();
        assert_eq!(call.units, ["etcd/0", "etcd/leader"]);
        assert_eq!((call.action.as_str(), call.parameters), ("snapshot", strings(&["a=b"])));
        for (words, error) in [
            (&["snapshot"][..], "no unit specified"),
            (&["etcd/0"][..], "no action specified"),
            (&["etcd/0", "a=b"][..], "invalid unit or action name \"a=b\""),
        ] {
            assert_eq!(Call::parse(&strings(words)).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn parameters_are_yaml_and_dots_nest() {
        let texts = strings(&["n=3", "yes=true", "text=v3", "a.b=1", "a.c=x=y", "list=[1, 2]"]);
        let all = parameters(Some("n: 1\nfrom-file: 2\n"), &texts, false).unwrap();
        assert_eq!(
            Value::Object(all),
            json!({"n": 3, "from-file": 2, "yes": true, "text": "v3", "a": {"b": 1, "c": "x=y"}, "list": [1, 2]})
        );
        assert_eq!(parameters(None, &strings(&["n=3"]), true).unwrap()["n"], "3");
        for bad in ["n", "=1", "a..b=1"] {
            assert!(parameters(None, &strings(&[bad]), false).is_err(), "{bad}");
        }
    }

    #[test]
    fn results_come_before_what_the_program_printed() {
        let results_map = json!({"return-code": 0, "stdout": "hello\n", "snapshot": {"path": "/x"}});
        assert_eq!(results(&task("completed", "", results_map)).unwrap(), "snapshot:\n  path: /x\nhello\n");
        let old = json!({"Code": "0", "Stdout": "hello"});
        assert_eq!(results(&task("completed", "", old)).unwrap(), "hello\n");
    }

    #[test]
    fn only_the_exit_status_of_the_program_makes_run_fail() {
        assert_eq!(failures(&[task("failed", "because", json!({"return-code": 0}))]).unwrap(), 0);
        let error = failures(&[task("failed", "exit status 3", json!({"return-code": 3}))]).unwrap_err();
        assert!(
            error.to_string().starts_with("the following task failed:\n - id \"2\" with return code 3\n")
        );
        assert!(failures(&[task("failed", "exit status 1", json!({"Code": "1"}))]).is_err());
    }
}
