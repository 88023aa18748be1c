//! Units come and go: `add-unit`, `remove-unit`, `remove-application`, `resolved`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;

use super::model::Model;
use super::output::{confirm, remark};
use crate::api::Request;
use crate::charm::names;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  juju-sim add-unit etcd -n 2
  juju-sim add-unit etcd --attach-storage data/0")]
pub(super) struct AddUnit {
    /// Application
    application: String,
    /// Number of units to add
    #[arg(short = 'n', long, default_value_t = 1)]
    num_units: u32,
    /// Existing storage to attach to the unit (can be repeated, or a comma list)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    attach_storage: Vec<String>,
}

impl AddUnit {
    pub async fn run(self, model: &Model) -> Result<u8> {
        if self.num_units == 0 {
            bail!("--num-units must be a positive integer");
        }
        if !self.attach_storage.is_empty() && self.num_units != 1 {
            bail!("--attach-storage cannot be used with -n");
        }
        let request = Request::AddUnit {
            application: self.application,
            units: self.num_units,
            storage: BTreeMap::new(),
            attach: self.attach_storage,
        };
        model.ask(request).await.map(|_| 0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
The unit runs its last hooks, then its machine is removed. With --force it is gone at once.

Examples:
  juju-sim remove-unit etcd/2
  juju-sim remove-unit etcd/1 etcd/2 --force --no-prompt")]
pub(super) struct RemoveUnit {
    /// Units
    #[arg(required = true)]
    units: Vec<String>,
    /// Take the machines away without the units taking part
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    no_prompt: bool,
    /// Destroy the units' storage with them; otherwise it is detached and kept
    #[arg(long)]
    destroy_storage: bool,
    /// Accepted; --force never waits
    #[arg(long, hide = true)]
    no_wait: bool,
}

impl RemoveUnit {
    pub async fn run(self, model: &Model) -> Result<u8> {
        self.units.iter().try_for_each(|unit| names::split_unit(unit).map(|_| ()))?;
        let list: Vec<String> = self.units.iter().map(|unit| format!("will remove unit {unit}")).collect();
        confirm(&list.join("\n"), self.no_prompt)?;
        let Self { units, force, destroy_storage, .. } = self;
        model.ask(Request::RemoveUnit { units, force, destroy_storage }).await?;
        list.iter().try_for_each(|line| remark(line))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim remove-application etcd --no-prompt")]
pub(super) struct RemoveApplication {
    /// Applications
    #[arg(required = true)]
    applications: Vec<String>,
    /// Take the machines away without the units taking part
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    no_prompt: bool,
    /// Destroy the units' storage with them; otherwise it is detached and kept
    #[arg(long)]
    destroy_storage: bool,
    /// Accepted; --force never waits
    #[arg(long, hide = true)]
    no_wait: bool,
}

impl RemoveApplication {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let list: Vec<String> = self
            .applications
            .iter()
            .map(|application| format!("will remove application {application}"))
            .collect();
        confirm(&list.join("\n"), self.no_prompt)?;
        for (application, line) in self.applications.into_iter().zip(list) {
            let (force, destroy_storage) = (self.force, self.destroy_storage);
            model.ask(Request::RemoveApplication { application, force, destroy_storage }).await?;
            remark(&line)?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  juju-sim resolved etcd/0              run the failed hook again now
  juju-sim resolved etcd/0 --no-retry   go on as if it had succeeded
  juju-sim resolved --all")]
pub(super) struct Resolved {
    /// Units
    #[arg(required_unless_present = "all")]
    units: Vec<String>,
    /// Mark the hook as done without running it
    #[arg(long)]
    no_retry: bool,
    /// Every unit that is in error
    #[arg(long, conflicts_with = "units")]
    all: bool,
}

impl Resolved {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let mut units = self.units;
        if self.all {
            let status = model.status().await?;
            for application in status.applications.values() {
                let failed =
                    application.units.iter().filter(|(_, unit)| unit.workload_status.current == "error");
                units.extend(failed.map(|(name, _)| name.clone()));
            }
        }
        for unit in units {
            model
                .ask(Request::Resolved { unit: model.resolve(&unit).await?, no_retry: self.no_retry })
                .await?;
        }
        Ok(0)
    }
}
