//! The last step of a command into a machine: become the leader of a session and then the program.
//! Invariant: when the small parent on the host's side dies, the program dies too.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Error, Result};
use nix::sys::signal::Signal;

/// `machine-enter CWD PROGRAM ARGUMENT…`: does not return unless the program cannot be started.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let [cwd, program, rest @ ..] = arguments else { anyhow::bail!("cannot enter without a program") };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the program to its parent")?;
    nix::unistd::setsid().context("cannot make a session")?;
    std::env::set_current_dir(cwd).with_context(|| format!("cannot enter {cwd}"))?;
    give_way_as_hook()?;
    let error = Command::new(Path::new(program)).args(rest).exec();
    Err(Error::new(error).context(format!("cannot run {program}")))
}

/// Hooks of a real machine do not slow down the services of others, and those of its own hardly. All machines of a
/// model share one host, so here hooks and actions get what the services leave.
fn give_way_as_hook() -> Result<()> {
    if std::env::var_os("JUJU_CONTEXT_ID").is_some() {
        rustix::process::nice(10).context("cannot lower the priority of a hook")?;
    }
    Ok(())
}
