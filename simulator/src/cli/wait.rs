//! `wait-for`: the part of Juju's query language that scripts use, as a [`Wait`] of the controller.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::model::Model;
use super::words;
use crate::api::{Request, Wait};

#[derive(Debug, Args)]
#[command(after_help = "\
Of Juju's query language this is understood: terms joined by && of the forms status==\"active\",
workload-status==\"active\", workload-message==\"text\" (any part of it), len(units)==3,
life==\"alive\" and idle.

Examples:
  juju-sim wait-for application etcd --query='status==\"active\" && len(units)==3'
  juju-sim wait-for unit etcd/0 --timeout=2m")]
pub(super) struct WaitFor {
    /// What the name is of
    #[arg(value_enum)]
    kind: Kind,
    /// Application, unit or model
    name: String,
    /// What to wait for; that it is active when not given
    #[arg(long)]
    query: Option<String>,
    /// How long at most
    #[arg(long, value_name = "DURATION", value_parser = words::duration, default_value = "10m")]
    timeout: Duration,
    /// Accepted; nothing is printed meanwhile
    #[arg(long, hide = true)]
    summary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Application,
    Unit,
    Model,
}

impl WaitFor {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let query = self.query.as_deref().unwrap_or("status==\"active\"");
        let mut wait = parse(query)?;
        wait.timeout_ms = words::milliseconds(self.timeout);
        wait.subjects = match self.kind {
            Kind::Model => Vec::new(),
            Kind::Application => vec![self.name],
            Kind::Unit => vec![model.resolve(&self.name).await?],
        };
        model.ask(Request::Wait(wait)).await.map(|_| 0)
    }
}

/// Reads a query; subjects and bound are left empty.
fn parse(query: &str) -> Result<Wait> {
    let mut wait =
        Wait { subjects: Vec::new(), status: None, message: None, idle: false, units: None, timeout_ms: 0 };
    for term in query.split("&&").map(str::trim) {
        if term == "idle" {
            wait.idle = true;
            continue;
        }
        let Some((name, value)) = term.split_once("==") else {
            bail!("cannot understand the query {term:?}: expected terms like status==\"active\"");
        };
        let value = value.trim().trim_matches(['"', '\'']);
        match name.trim() {
            "status" | "workload-status" => wait.status = Some(value.to_owned()),
            "message" | "workload-message" => wait.message = Some(value.to_owned()),
            "agent-status" if value == "idle" => wait.idle = true,
            "life" if value == "alive" => {}
            "len(units)" => match value.parse() {
                Ok(count) => wait.units = Some(count),
                Err(_) => bail!("cannot understand the query {term:?}: expected a number of units"),
            },
            other => bail!("cannot understand the query: {other:?} is not supported"),
        }
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_conditions() {
        let wait = parse("life==\"alive\" && status==\"active\" && len(units) == 3 && idle").unwrap();
        assert_eq!((wait.status.as_deref(), wait.units, wait.idle), (Some("active"), Some(3), true));
        for bad in ["status", "foo==1", "len(units)==x", "life==\"dead\""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
