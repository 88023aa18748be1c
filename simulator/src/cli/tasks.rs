//! What actions there are and what became of them: `actions`, `operations`, `show-operation`, `show-task`,
//! `cancel-task`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::model::Model;
use super::output::{self, Format, Table, remark, say};
use super::words;
use crate::api::{LogLine, Request, Task};
use crate::status::format_clock;

/// An id, which may be a number or text.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// A line that an action logged.
pub(super) fn log_line(line: &LogLine) -> String {
    format!("{} {}", format_clock(line.time_ms).trim_end_matches('Z'), line.message)
}

/// A task as Juju prints it with `--format`.
pub(super) fn document(task: &Task) -> Value {
    let mut timing = Map::new();
    for (name, time) in
        [("completed", &task.completed), ("enqueued", &task.enqueued), ("started", &task.started)]
    {
        if !time.is_empty() {
            timing.insert(name.to_owned(), time.as_str().into());
        }
    }
    let mut document = json!({
        "id": task.id, "results": task.results, "status": task.status, "timing": timing, "unit": task.unit
    });
    if let Value::Object(map) = &mut document {
        if !task.message.is_empty() {
            map.insert("message".to_owned(), task.message.as_str().into());
        }
        if !task.log.is_empty() {
            map.insert("log".to_owned(), task.log.iter().map(log_line).collect());
        }
    }
    document
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  juju-sim actions etcd\n  juju-sim actions etcd --schema")]
pub(super) struct Actions {
    /// Application
    application: String,
    /// Show the schemas of the parameters
    #[arg(long)]
    schema: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
}

impl Actions {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let found = model.ask(Request::Actions { application: self.application.clone() }).await?;
        let Value::Object(actions) = found else {
            bail!("cannot understand the actions from the controller")
        };
        let schema = |action: &Value| action.get("schema").cloned().unwrap_or_else(|| action.clone());
        let description =
            |action: &Value| action.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.schema {
            let all: Map<String, Value> = actions.iter().map(|(name, a)| (name.clone(), schema(a))).collect();
            output::show(&all, self.format)?;
        } else if actions.is_empty() {
            remark(&format!("No actions defined for {}.", self.application))?;
        } else if self.format == Format::Tabular {
            let mut table = Table::new(&["Action", "Description"]);
            for (name, action) in &actions {
                let first = description(action).lines().next().unwrap_or_default().to_owned();
                table.row(vec![name.as_str().into(), first.into()]);
            }
            say(&table.render(false))?;
        } else {
            let all: Map<String, Value> =
                actions.iter().map(|(n, a)| (n.clone(), description(a).into())).collect();
            output::show(&all, self.format)?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim operations")]
pub(super) struct Operations {
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
}

impl Operations {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let operations = operations(model, None).await?;
        if self.format != Format::Tabular {
            let all: Map<String, Value> = operations.iter().map(|o| (o.id.clone(), o.document())).collect();
            output::show(&all, self.format)?;
            return Ok(0);
        }
        let mut table = Table::new(&["ID", "Status", "Started", "Finished", "Task IDs", "Summary"]);
        for operation in &operations {
            let ids: Vec<&str> = operation.tasks.iter().map(|task| task.id.as_str()).collect();
            let time =
                |of: fn(&Task) -> &String| operation.tasks.iter().map(of).max().cloned().unwrap_or_default();
            table.row(vec![
                operation.id.as_str().into(),
                operation.status().into(),
                time(|task| &task.started).into(),
                time(|task| &task.completed).into(),
                ids.join(",").into(),
                operation.summary().into(),
            ]);
        }
        if table.is_empty() {
            remark("no matching operations")?
        } else {
            say(&table.render(false))?
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim show-operation 1")]
pub(super) struct ShowOperation {
    /// Id of the operation
    id: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

impl ShowOperation {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let Some(operation) = operations(model, Some(self.id.clone())).await?.pop() else {
            bail!("operation {:?} not found", self.id);
        };
        output::show(&operation.document(), self.format)?;
        Ok(0)
    }
}

/// What one `run` asked for.
#[derive(Debug, serde::Deserialize)]
struct Operation {
    id: String,
    action: String,
    tasks: Vec<Task>,
}

impl Operation {
    fn summary(&self) -> String {
        let units: Vec<&str> = self.tasks.iter().map(|task| task.unit.as_str()).collect();
        format!("{} run on {}", self.action, units.join(","))
    }

    /// That of the least finished task, a failure before success.
    fn status(&self) -> &str {
        let order = ["running", "pending", "error", "failed", "aborted", "cancelled", "completed"];
        let rank = |task: &&Task| order.iter().position(|word| *word == task.status).unwrap_or(order.len());
        self.tasks.iter().min_by_key(rank).map_or("pending", |task| task.status.as_str())
    }

    fn document(&self) -> Value {
        let tasks: Map<String, Value> =
            self.tasks.iter().map(|task| (task.id.clone(), document(task))).collect();
        json!({"summary": self.summary(), "status": self.status(), "action": {"name": self.action}, "tasks": tasks})
    }
}

async fn operations(model: &Model, id: Option<String>) -> Result<Vec<Operation>> {
    let found = model.ask(Request::Operations { id }).await?;
    serde_json::from_value(found).context("cannot understand the operations from the controller")
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  juju-sim show-task 2\n  juju-sim show-task 2 --wait=1m --format json")]
pub(super) struct ShowTask {
    /// Id of the task
    id: String,
    /// How long to wait for its end
    #[arg(long, value_name = "DURATION", value_parser = words::duration, num_args = 0..=1, require_equals = true,
        default_missing_value = "60s")]
    wait: Option<Duration>,
    /// How to print it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

impl ShowTask {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let request = match self.wait {
            Some(wait) => Request::WaitTask { id: self.id, timeout_ms: words::milliseconds(wait) },
            None => Request::ShowTask { id: self.id },
        };
        let task: Task =
            serde_json::from_value(model.ask(request).await?).context("cannot understand the task")?;
        output::show(&document(&task), self.format)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim cancel-task 2")]
pub(super) struct CancelTask {
    /// Ids of tasks
    #[arg(required = true)]
    ids: Vec<String>,
}

impl CancelTask {
    pub async fn run(self, model: &Model) -> Result<u8> {
        for id in self.ids {
            model.ask(Request::CancelTask { id }).await?;
        }
        Ok(0)
    }
}
