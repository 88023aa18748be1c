//! One file per action. An action answers by results or by a failure that says what to do; its process ends with
//! 0 either way, since Juju drops the message of one that does not.

mod health;
mod package_credentials;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::juju::{Context, Tools};
use crate::observe::{self, Local};

/// Results by dotted key, as `action-set` takes them.
pub type Results = BTreeMap<String, String>;

/// How an action has ended.
#[derive(Debug)]
pub struct Report {
    /// Shown in any case.
    pub results: Results,
    /// Why it failed and what to do; absent when it has not.
    pub failure: Option<String>,
}

impl Report {
    fn of(results: Results) -> Report {
        Report { results, failure: None }
    }
}

/// Declared actions that this revision of the charm cannot do yet.
const NOT_YET: [&str; 12] = [
    "snapshot",
    "restore",
    "install",
    "snap-upgrade",
    "alarm-list",
    "alarm-disarm",
    "compact",
    "defrag",
    "debug",
    "recover-quorum",
    "maintain",
    "cis-benchmark",
];

/// Runs the action `name` and reports to Juju.
///
/// # Errors
/// Only when Juju itself cannot be told; every other failure is an answer.
pub async fn run(name: &str, context: &Context, tools: &Tools) -> Result<()> {
    let outcome = match name {
        "health" => health::run(&look().await?).await,
        "package-client-credentials" | "package-client-certificates" | "generate-client-certificates" => {
            package_credentials::run(&context.unit, &look().await?)
        }
        _ if NOT_YET.contains(&name) => {
            Err(anyhow::anyhow!("{name} is not available yet in this revision of the charm"))
        }
        _ => Err(anyhow::anyhow!("there is no action {name}")),
    };
    let report = outcome
        .unwrap_or_else(|error| Report { results: Results::new(), failure: Some(format!("{error:#}")) });
    if !report.results.is_empty() {
        tools.action_set(&report.results).await.context("cannot set the action's results")?;
    }
    if let Some(failure) = report.failure {
        tools.action_fail(&failure).await.context("cannot tell that the action failed")?;
    }
    Ok(())
}

async fn look() -> Result<Local> {
    observe::local().await.context("cannot look at this machine")
}
