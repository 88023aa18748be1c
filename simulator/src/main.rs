//! juju-sim, one program with several names: a hook tool or a stand-in when it is called by that name inside a
//! machine, one of its own helper processes by a first word, and otherwise the command line.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use juju_sim::machine::local::{boot, enter, full, holder};
use juju_sim::{cli, standin, tools};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let called_as = words.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    match called_as.unwrap_or_default() {
        "snap" => return standin::snap::main(),
        "systemctl" => return standin::systemctl::main(),
        "journalctl" => return standin::journalctl::main(),
        tool if tools::NAMES.contains(&tool) => return tools::client::main(tool),
        _ => {}
    }
    let rest = words.get(2..).unwrap_or_default();
    match words.get(1).map_or("", String::as_str) {
        "machine-init" => finish(standin::init::main(rest)),
        "machine-boot" => finish(boot::main(rest)),
        "machine-supervise" => finish(full::main(rest)),
        "machine-enter" => finish(enter::main(rest)),
        "network-holder" => finish(holder::main(rest)),
        standin::snap::front::SETTLE => standin::snap::front::settle(),
        "controller" => finish(cli::daemon::main(rest)),
        _ => cli::main(),
    }
}

/// A helper process tells its failure on standard error, where its parent looks for it.
fn finish(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr().lock(), "ERROR {error:#}");
        ExitCode::FAILURE
    })
}
