//! The process of a controller: what [`super::model::Model`] starts when a model's socket does not answer.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use super::model::Model;
use crate::controller::{self, Options};
use crate::machine::local::LocalMachines;
use crate::model::{JujuVersion, Network};

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    model: String,
    #[arg(long, value_parser = super::parse_version)]
    juju_version: JujuVersion,
}

/// `controller --model NAME --juju-version VERSION`: serves until the model is destroyed.
///
/// # Errors
/// The machines cannot be had here, or the state of the model cannot be read.
pub fn main(words: &[String]) -> Result<ExitCode> {
    let name = std::iter::once("controller");
    let arguments = Arguments::try_parse_from(name.chain(words.iter().map(String::as_str)))?;
    // The command that started it may end, and its terminal with it. Called by hand it may lead a group: then it stays.
    let _ = nix::unistd::setsid();
    let home = std::path::absolute(super::home())?;
    let model = Model::new(home.clone(), &arguments.model, Some(arguments.juju_version))?;
    let light = super::machine_options()?;
    let options = Options {
        juju_version: arguments.juju_version,
        network: Network::default(),
        tool_program: light.program.clone(),
        machines: Arc::new(LocalMachines::new(&model.directory(), light)?),
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(controller::serve(&home, &arguments.model, options))?;
    Ok(ExitCode::SUCCESS)
}
