//! The command line: Juju's words and flags, each turned into a request to the model's controller and its answer into
//! text. Invariant: no command knows the state of a model but by asking for it.

mod charms;
mod configuration;
pub mod daemon;
mod enter;
mod help;
mod image;
mod lab;
mod logs;
pub mod model;
mod models;
mod output;
mod relate;
mod run;
mod status;
mod storage;
mod table;
mod tasks;
mod units;
mod wait;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::machine::local::LocalOptions;
use crate::model::JujuVersion;
use model::Model;

/// A small local Juju: it deploys and runs machine charms on this computer, without a controller or a cloud
#[derive(Debug, Parser)]
#[command(name = "juju-sim", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Model to act on; models are made by their first deploy
    #[arg(
        short,
        long,
        global = true,
        env = "JUJU_SIM_MODEL",
        default_value = "default",
        value_name = "NAME"
    )]
    model: String,
    /// Juju to imitate: 2.9, 3.6 (when nothing is said) or 4.0; fixed when the model is made
    #[arg(long, global = true, value_name = "VERSION", value_parser = parse_version)]
    juju_version: Option<JujuVersion>,
    #[command(subcommand)]
    command: Command,
}

fn parse_version(text: &str) -> Result<JujuVersion, String> {
    text.parse()
}

/// Every command. What an alias stands for is the name in another Juju.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make an empty model
    AddModel(models::AddModel),
    /// List the models
    #[command(alias = "list-models")]
    Models(models::Models),
    /// Read or set options of the model
    ModelConfig(configuration::ModelConfig),
    /// Take a model down and remove every trace of it
    DestroyModel(models::DestroyModel),
    /// Deploy a charm from a directory or a .charm file
    Deploy(charms::Deploy),
    /// Replace the charm of an application
    #[command(alias = "upgrade-charm")]
    Refresh(charms::Refresh),
    /// Upload a resource for an application
    #[command(alias = "attach")]
    AttachResource(charms::AttachResource),
    /// List the resources of an application
    #[command(alias = "list-resources")]
    Resources(charms::Resources),
    /// Mark an application as reachable from outside
    Expose(charms::Expose),
    /// Take expose back
    Unexpose(charms::Unexpose),
    /// Let an application read the credentials of the cloud
    Trust(charms::Trust),
    /// Relate two applications
    #[command(visible_alias = "relate", alias = "add-relation")]
    Integrate(relate::Integrate),
    /// Take a relation away
    RemoveRelation(relate::RemoveRelation),
    /// Add units to an application
    AddUnit(units::AddUnit),
    /// Remove units
    RemoveUnit(units::RemoveUnit),
    /// Remove an application with all its units
    RemoveApplication(units::RemoveApplication),
    /// Retry the failed hook of a unit, or mark it as done
    #[command(alias = "resolve")]
    Resolved(units::Resolved),
    /// Read or set options of an application
    Config(configuration::Config),
    /// Run an action on units and show its results
    #[command(alias = "run-action")]
    Run(run::Run),
    /// List the actions of an application
    #[command(alias = "list-actions")]
    Actions(tasks::Actions),
    /// List what was run
    #[command(alias = "list-operations")]
    Operations(tasks::Operations),
    /// Show an operation and its tasks
    ShowOperation(tasks::ShowOperation),
    /// Show the results of a task
    #[command(alias = "show-action-output")]
    ShowTask(tasks::ShowTask),
    /// Cancel tasks
    #[command(alias = "cancel-action")]
    CancelTask(tasks::CancelTask),
    /// Show the model: applications, units, machines
    #[command(alias = "show-status")]
    Status(status::StatusCommand),
    /// Show a unit with what it reads on its relations
    ShowUnit(status::ShowUnit),
    /// Wait until an application or a unit is as wanted
    WaitFor(wait::WaitFor),
    /// Show the log of the model
    DebugLog(logs::DebugLog),
    /// Run a command on units, with the hook tools at hand
    Exec(enter::Exec),
    /// Open a shell on a unit, or run a command there
    Ssh(enter::Ssh),
    /// Copy files to or from a unit
    Scp(enter::Scp),
    /// List storage
    #[command(alias = "list-storage")]
    Storage(storage::List),
    /// Add storage to a unit
    AddStorage(storage::AddStorage),
    /// Attach existing storage to a unit
    AttachStorage(storage::AttachStorage),
    /// Detach storage from its unit; what it holds is kept
    DetachStorage(storage::DetachStorage),
    /// Cause faults and shortcuts, for tests and demonstrations only: real Juju has nothing like it
    Lab(lab::Lab),
    /// Make the image that full machines boot from
    Image(image::MakeImage),
    /// Show the version of juju-sim
    Version,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match help::command().try_get_matches().and_then(|m| clap::FromArgMatches::from_arg_matches(&m))
    {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "ERROR {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Help goes to standard output with 0; a wrong call to standard error, beginning like Juju's errors, with 2.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let _ = write!(io::stderr().lock(), "ERROR {text}");
        return ExitCode::from(2);
    }
    let _ = write!(io::stdout().lock(), "{text}");
    ExitCode::SUCCESS
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Where all models are kept: `$JUJU_SIM_HOME`, or `/var/lib/juju-sim`.
#[must_use]
pub fn home() -> PathBuf {
    std::env::var_os("JUJU_SIM_HOME")
        .filter(|home| !home.is_empty())
        .map_or_else(|| PathBuf::from("/var/lib/juju-sim"), PathBuf::from)
}

/// Where the image of full machines is kept: `$JUJU_SIM_IMAGE`, or the directory `image` of [`home`].
fn image_directory() -> Result<PathBuf> {
    let image = std::env::var_os("JUJU_SIM_IMAGE").filter(|image| !image.is_empty());
    Ok(std::path::absolute(image.map_or_else(|| home().join("image"), PathBuf::from))?)
}

/// What machines are made with: snaps come from `$JUJU_SIM_SNAPS`, or the directory `snaps` of [`home`].
///
/// # Errors
/// This program cannot be found (machines run it too).
pub fn machine_options() -> Result<LocalOptions> {
    let home = std::path::absolute(home())?;
    let snaps = std::env::var_os("JUJU_SIM_SNAPS").filter(|snaps| !snaps.is_empty());
    let snaps = snaps.map_or_else(|| home.join("snaps"), PathBuf::from);
    LocalOptions::new(&home, &snaps, &image_directory()?)
}

fn run(cli: Cli) -> Result<u8> {
    let model = Model::new(home(), &cli.model, cli.juju_version)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(dispatch(cli.command, &model, cli.juju_version))
}

#[rustfmt::skip]
async fn dispatch(command: Command, model: &Model, version: Option<JujuVersion>) -> Result<u8> {
    match command {
        Command::AddModel(command) => command.run(version).await,
        Command::Models(command) => command.run().await,
        Command::ModelConfig(command) => command.run(model).await,
        Command::DestroyModel(command) => command.run(model).await,
        Command::Deploy(command) => command.run(model).await,
        Command::Refresh(command) => command.run(model).await,
        Command::AttachResource(command) => command.run(model).await,
        Command::Resources(command) => command.run(model).await,
        Command::Expose(command) => command.run(model).await,
        Command::Unexpose(command) => command.run(model).await,
        Command::Trust(command) => command.run(model).await,
        Command::Integrate(command) => command.run(model).await,
        Command::RemoveRelation(command) => command.run(model).await,
        Command::AddUnit(command) => command.run(model).await,
        Command::RemoveUnit(command) => command.run(model).await,
        Command::RemoveApplication(command) => command.run(model).await,
        Command::Resolved(command) => command.run(model).await,
        Command::Config(command) => command.run(model).await,
        Command::Run(command) => command.run(model).await,
        Command::Actions(command) => command.run(model).await,
        Command::Operations(command) => command.run(model).await,
        Command::ShowOperation(command) => command.run(model).await,
        Command::ShowTask(command) => command.run(model).await,
        Command::CancelTask(command) => command.run(model).await,
        Command::Status(command) => command.run(model).await,
        Command::ShowUnit(command) => command.run(model).await,
        Command::WaitFor(command) => command.run(model).await,
        Command::DebugLog(command) => command.run(model).await,
        Command::Exec(command) => command.run(model).await,
        Command::Ssh(command) => command.run(model).await,
        Command::Scp(command) => command.run(model).await,
        Command::Storage(command) => command.run(model).await,
        Command::AddStorage(command) => command.run(model).await,
        Command::AttachStorage(command) => command.run(model).await,
        Command::DetachStorage(command) => command.run(model).await,
        Command::Lab(command) => command.run(model).await,
        Command::Image(command) => command.run().await,
        Command::Version => output::say(concat!(env!("CARGO_PKG_VERSION"), "\n")).map(|()| 0),
    }
}
