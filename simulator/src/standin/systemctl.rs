//! The `systemctl` of a light machine. Invariant: words, messages and exit codes are those of the real one; what it cannot do it
//! refuses, and never ignores.

mod arguments;
mod jobs;
mod report;

use std::process::ExitCode;

use anyhow::Result;

use self::arguments::Arguments;
use super::output;
use super::service::protocol::{self, Request};
use super::units::files::UnitFiles;

/// `systemctl`, by its arguments.
pub fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let result = arguments::parse(&given).map_or_else(
        |message| {
            output::error_line(&message);
            Ok(1)
        },
        |arguments| run(&arguments),
    );
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error_line(&format!("Failed to connect to bus: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8> {
    match arguments.verb.as_str() {
        "start"
        | "stop"
        | "restart"
        | "try-restart"
        | "condrestart"
        | "reload"
        | "reload-or-restart"
        | "try-reload-or-restart"
        | "force-reload"
        | "reset-failed"
        | "kill" => jobs::run(arguments),
        "daemon-reload" | "daemon-reexec" => protocol::ask(&Request::DaemonReload).map(|_| 0),
        "enable" | "disable" | "reenable" | "mask" | "unmask" | "preset" => change_files(arguments),
        "is-active" => report::is_active(arguments),
        "is-failed" => report::is_failed(arguments),
        "is-enabled" => Ok(report::is_enabled(arguments)),
        "is-system-running" => report::is_system_running(),
        "show" => report::show(arguments),
        "status" => report::status(arguments),
        "cat" => Ok(report::cat(arguments)),
        "list-units" => report::list_units(arguments),
        "list-unit-files" => Ok(report::list_unit_files(arguments)),
        "--version" => {
            output::line("systemd 249 (249.11-juju-sim)");
            Ok(0)
        }
        other => {
            output::error_line(&format!("Unknown command verb {other}."));
            Ok(1)
        }
    }
}

/// The verbs that make and remove links; the manager then reads its units again.
fn change_files(arguments: &Arguments) -> Result<u8> {
    let files = UnitFiles::system();
    let mut code = 0;
    for unit in &arguments.units {
        // `enable` and `disable` also take the path of a unit file.
        let name = unit.rsplit('/').next().unwrap_or(unit);
        let outcome = match arguments.verb.as_str() {
            "disable" => files.disable(name),
            "mask" => files.mask(name, arguments.runtime),
            "unmask" => files.unmask(name),
            "reenable" => files.disable(name).and_then(|mut removed| {
                removed.extend(files.enable(name)?);
                Ok(removed)
            }),
            _ => files.enable(name),
        };
        match outcome {
            Ok(lines) => lines.iter().filter(|_| !arguments.quiet).for_each(|line| output::error_line(line)),
            Err(message) => {
                output::error_line(&message);
                code = 1;
            }
        }
    }
    protocol::ask(&Request::DaemonReload)?;
    // What could not be enabled or disabled is neither started nor stopped.
    if code != 0 {
        return Ok(code);
    }
    let then = match arguments.verb.as_str() {
        "enable" | "reenable" if arguments.now => "start",
        "disable" | "mask" if arguments.now => "stop",
        _ => return Ok(code),
    };
    jobs::run(&Arguments { verb: then.to_owned(), ..arguments.clone() })
}
