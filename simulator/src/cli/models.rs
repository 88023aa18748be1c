//! `add-model`, `models` and `destroy-model`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum as _};

use super::model::{Model, require_root};
use super::output::{self, Table, confirm, remark, say};
use crate::api::Request;
use crate::machine::local::LocalMachines;
use crate::machine::{MachineKind, Machines};
use crate::model::{JujuVersion, settings};

/// How long a controller may take to end after its model is gone.
const END_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  juju-sim add-model old --juju-version 2.9
  juju-sim add-model real --machines full")]
pub(super) struct AddModel {
    /// Name of the new model
    name: String,
    /// What its units run on: light machines or full ones (booted, with real systemd and snapd)
    #[arg(long, value_name = "KIND", value_enum, env = "JUJU_SIM_MACHINES", hide_possible_values = true)]
    machines: Option<MachineKind>,
}

impl AddModel {
    pub async fn run(self, version: Option<JujuVersion>) -> Result<u8> {
        let model = Model::new(super::home(), &self.name, version)?;
        if model.exists() {
            bail!("model {:?} already exists", self.name);
        }
        model.ensure().await?;
        if let Some(kind) = self.machines {
            set_machines(&model, kind).await?;
        }
        say(&format!("Added {:?} model on localhost (imitates Juju {})\n", self.name, model.version()?))?;
        Ok(0)
    }
}

/// Sets the kind of machines of a model that was just made; where these cannot be had, nothing is left of it.
async fn set_machines(model: &Model, kind: MachineKind) -> Result<()> {
    let word = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let set = BTreeMap::from([(settings::MACHINES.to_owned(), word)]);
    if let Err(error) = model.ask(Request::ModelConfig { set, reset: Vec::new() }).await {
        model.ask(Request::Destroy).await.with_context(|| format!("{error:#}; and then"))?;
        return Err(error);
    }
    Ok(())
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
            // An answer, whatever it says, shows that the controller of which the file tells is alive, or was just started.
            let _ = model.ask(Request::Status).await;
            let controller = Controller::of(&model);
            let destroyed = model.ask(Request::Destroy).await;
            destroyed.context("cannot destroy the model by its controller (--force does without one)")?;
            controller.ended().await?;
        }
        remark("Model destroyed.")?;
        Ok(0)
    }
}

/// The process of a controller, known by its number and start time together.
struct Controller {
    identity: Option<(String, String)>,
}

impl Controller {
    fn of(model: &Model) -> Self {
        let text = std::fs::read_to_string(model.directory().join("controller.pid")).unwrap_or_default();
        let identity = text.trim().split_once(' ').map(|(pid, start)| (pid.to_owned(), start.to_owned()));
        Self { identity }
    }

    /// Waits for its end, so that nothing at all is left of a model when the command returns.
    async fn ended(&self) -> Result<()> {
        let Some((pid, start)) = &self.identity else { return Ok(()) };
        let began = Instant::now();
        while is_alive(pid, start) {
            if began.elapsed() > END_LIMIT {
                bail!("cannot see the end of the controller: process {pid} is still there");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

fn is_alive(pid: &str, start: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in brackets: the state, and as the twentieth the start time.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    fields.get(19) == Some(&start) && fields.first() != Some(&"Z")
}

/// What the controller does at the end of a model, without it.
async fn force(model: &Model) -> Result<()> {
    require_root()?;
    let directory = model.directory();
    let machines: Arc<dyn Machines> = Arc::new(LocalMachines::new(&directory, super::machine_options()?)?);
    machines.destroy_all().await?;
    std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))
}
