//! `dispatch`: the program that Juju runs for every hook and action of the etcd charm.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use etcd_charm::event::Event;
use etcd_charm::juju::{self, Context, LogBuffer, StandardOutput, Tools};
use etcd_charm::{actions, reconcile};

fn main() -> ExitCode {
    // One short task a process: no worker threads to start.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            juju::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let context = Context::from_environment()?;
    let event = Event::of(&context);
    let tools = Tools::new();
    let log = LogBuffer::install(match event {
        Event::Action(_) => StandardOutput::Result,
        _ => StandardOutput::Log,
    });
    tracing::debug!(version = env!("CARGO_PKG_VERSION"), unit = %context.unit, event = %event, juju = %context.juju, "start");
    let outcome = match event {
        Event::Nothing(_) => Ok(()),
        Event::Action(name) => actions::run(&name, &context, &tools).await,
        event => reconcile::run(&context, event, &tools).await,
    };
    log.flush(&tools).await;
    outcome
}
