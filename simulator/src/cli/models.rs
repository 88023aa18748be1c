//! `add-model`, `models` and `destroy-model`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::model::{Model, require_root};
use super::output::{self, Table, confirm, remark, say};
use crate::api::Request;
use crate::machine::Machines;
use crate::machine::light::LightMachines;
use crate::model::JujuVersion;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim add-model old --juju-version 2.9")]
pub(super) struct AddModel {
    /// Name of the new model
    name: String,
}

impl AddModel {
    pub async fn run(self, version: Option<JujuVersion>) -> Result<u8> {
        let model = Model::new(super::home(), &self.name, version)?;
        if model.exists() {
            bail!("model {:?} already exists", self.name);
        }
        model.ensure().await?;
        say(&format!("Added {:?} model on localhost (imitates Juju {})\n", self.name, model.version()?))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim models")]
pub(super) struct Models {
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: output::Format,
}

impl Models {
    pub async fn run(self) -> Result<u8> {
        let mut table = Table::new(&["Model", "Juju", "Controller"]);
        let mut list = Vec::new();
        for name in Model::all(&super::home())? {
            let model = Model::new(super::home(), &name, None)?;
            let version = model.version()?.name();
            let controller = if model.is_running().await { "running" } else { "stopped" };
            table.row(vec![name.as_str().into(), version.into(), controller.into()]);
            list.push(serde_json::json!({"name": name, "juju-version": version, "controller": controller}));
        }
        if self.format != output::Format::Tabular {
            output::show(&serde_json::json!({"models": list}), self.format)?;
        } else if table.is_empty() {
            remark("There are no models; deploy makes one.")?;
        } else {
            say(&table.render(false))?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Units are not asked: no hook runs. Works also when the controller was killed.

Example:
  juju-sim destroy-model --no-prompt
  juju-sim destroy-model test --no-prompt")]
pub(super) struct DestroyModel {
    /// Model to destroy; the one of --model when not given
    name: Option<String>,
    /// Do not ask
    #[arg(short = 'y', long, visible_alias = "yes")]
    no_prompt: bool,
    /// Clean up without the controller, for a model whose controller does not start any more
    #[arg(long)]
    force: bool,
    /// Accepted, and always so
    #[arg(long, hide = true)]
    destroy_storage: bool,
}

impl DestroyModel {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let model = match &self.name {
            Some(name) => Model::new(super::home(), name, None)?,
            None => model.clone(),
        };
        model.version()?;
        let question = format!(
            "This command will destroy the {:?} model with all its machines and storage.",
            model.name()
        );
        confirm(&question, self.no_prompt)?;
        remark("Destroying model")?;
        if self.force && !model.is_running().await {
            force(&model).await?;
        } else {
            model.ask(Request::Destroy).await?;
        }
        remark("Model destroyed.")?;
        Ok(0)
    }
}

/// What the controller does at the end of a model, without it.
async fn force(model: &Model) -> Result<()> {
    require_root()?;
    let directory = model.directory();
    let machines: Arc<dyn Machines> = Arc::new(LightMachines::new(&directory, super::light_options()?)?);
    machines.destroy_all().await?;
    std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))
}
