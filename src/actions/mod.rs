//! One file per action. An action answers by results or by a failure that says what to do; its process ends with
//! 0 either way, since Juju drops the message of one that does not.

#[cfg(test)]
mod against_etcd;
mod alarms;
mod cluster;
mod compact;
mod debug;
mod defrag;
mod health;
mod install;
mod maintain;
mod package_credentials;
mod parameters;
mod recover_quorum;
mod redact;
mod remove_old_data;
mod restore;
mod snap_upgrade;
mod snapshot;
mod upgrade;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use self::parameters::Parameters;
use crate::decide;
use crate::event::Event;
use crate::juju::{Context, Tools};
use crate::observe::{self, Local};
use crate::reconcile;
use crate::remembered;
use crate::state;
use crate::world::Tried;

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

/// Where files for an operator go: `juju scp` arrives there.
const HOME: &str = "/home/ubuntu";

/// Runs the action `name` and reports to Juju.
///
/// # Errors
/// Only when Juju itself cannot be told; every other failure is an answer.
pub async fn run(name: &str, context: &Context, tools: &Tools) -> Result<()> {
    let outcome = perform(name, context, tools).await;
    let report = outcome
        .unwrap_or_else(|error| Report { results: Results::new(), failure: Some(format!("{error:#}")) });
    if !report.results.is_empty() {
        tools.action_set(&report.results).await.context("cannot set the action's results")?;
    }
    match report.failure {
        Some(failure) => {
            tools.action_fail(&failure).await.context("cannot tell that the action failed")?;
        }
        None if changes_the_unit(name) => tell_what_stands_now(name, context, tools).await,
        None => {}
    }
    Ok(())
}

/// Whether what the unit's status and relations tell may be true no more after the action.
fn changes_the_unit(name: &str) -> bool {
    matches!(
        name,
        "alarm-disarm" | "maintain" | "install" | "snap-upgrade" | "recover-quorum" | "remove-old-data"
    )
}

/// As after a hook: until the next one would be long for an operator who has just mended something.
async fn tell_what_stands_now(name: &str, context: &Context, tools: &Tools) {
    if let Err(error) = reconcile::run(context, Event::Look(name.to_owned()), tools).await {
        tracing::warn!(error = format!("{error:#}"), "the status is brought up to date by the next hook");
    }
}

async fn perform(name: &str, context: &Context, tools: &Tools) -> Result<Report> {
    let unit = &context.unit;
    if changes_the_unit(name) || name == "restore" {
        remembered::forget()?;
    }
    let moved = state::move_in();
    // Whatever is wrong, that one shows it.
    if name != "debug" {
        moved?;
        refuse_foreign(context, tools).await?;
    }
    match name {
        "health" => health::run().await,
        "package-client-credentials" | "package-client-certificates" | "generate-client-certificates" => {
            package_credentials::run(unit, &look().await?)
        }
        "snapshot" => snapshot::run(unit, &look().await?, &Parameters::read(tools).await?, tools).await,
        "restore" => restore::run(context, &Parameters::read(tools).await?, tools).await,
        "alarm-list" => alarms::list(&look().await?).await,
        "alarm-disarm" => alarms::disarm(&look().await?).await,
        "compact" => compact::run(unit, &look().await?, &Parameters::read(tools).await?).await,
        "defrag" => defrag::run(unit, &look().await?, tools).await,
        "maintain" => maintain::run(unit, &look().await?, tools).await,
        "install" => install::run(context, tools).await,
        "upgrade" => upgrade::run(context, &Parameters::read(tools).await?, tools).await,
        "snap-upgrade" => snap_upgrade::run(context, &Parameters::read(tools).await?, tools).await,
        "recover-quorum" => recover_quorum::run(context, &Parameters::read(tools).await?, tools).await,
        "remove-old-data" => remove_old_data::run(&look().await?, &Parameters::read(tools).await?),
        "debug" => debug::run(context, &look().await).await,
        _ => bail!("there is no action {name}"),
    }
}

/// Another application's etcd on this machine is none of this unit's business. Where Juju does not answer, the action itself
/// finds out what it needs.
async fn refuse_foreign(context: &Context, tools: &Tools) -> Result<()> {
    let Ok(facts) = observe::facts(context, Event::Look("action".to_owned()), tools).await else {
        return Ok(());
    };
    let world = observe::world(&facts, tools, &Tried::default()).await?;
    match decide::foreign(&world) {
        Some(whose) => {
            bail!("the etcd on this machine is not this unit's: {} holds data of {whose}", world.host.place)
        }
        None => Ok(()),
    }
}

/// Shows a line to whoever waits for the action. It is a courtesy: where Juju has no such tool, the action goes on.
async fn tell(tools: &Tools, line: &str) {
    if let Err(error) = tools.action_log(line).await {
        tracing::debug!(%error, line, "the action's progress was not shown");
    }
}

/// What is told with the system's reason when a file for the operator cannot be made.
fn cannot_write(path: &str) -> String {
    format!("cannot write {path}; see to its disk and run it again")
}

async fn look() -> Result<Local> {
    observe::local().await.context("cannot look at this machine")
}
