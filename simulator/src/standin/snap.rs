//! The `snap` of a light machine: it does by itself what the real one asks of snapd. Invariant: messages, exit codes, files and
//! units are snapd's; confinement is not, but for the directories that a strict snap cannot see.

mod activate;
mod arguments;
mod change;
mod channel;
pub mod front;
mod meta;
mod query;
mod run;
mod services;
mod settings;
mod state;
mod store;
mod timer;
mod units;
mod unpack;

use std::process::ExitCode;

use self::arguments::Arguments;
use self::state::Store;
use super::output;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Printed after `error: `; exit code 1, or 10 while another change is in progress.
    Error(String),
    /// Nothing to do: printed as it is; exit code 0.
    Nothing(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(format!("{error:#}"))
    }
}

/// An error in snap's words.
pub(crate) fn error(text: impl Into<String>) -> Failure {
    Failure::Error(text.into())
}

/// What a command gives back.
pub(crate) type Done<T = ()> = Result<T, Failure>;

/// `snap`, by its arguments.
pub fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if front::is_needed() {
        return front::main(&given);
    }
    if let Some(("run", words)) = given.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        // Does not come back when it works.
        return finish(run::run(words));
    }
    finish(arguments::parse(&given).and_then(|arguments| dispatch(&arguments)))
}

fn finish(done: Done) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Nothing(text)) => {
            output::error_line(&text);
            ExitCode::SUCCESS
        }
        Err(Failure::Error(text)) => {
            output::error_line(&format!("error: {text}"));
            // Whoever reads exit codes is told by this one to try again.
            if text.ends_with(" change in progress") { ExitCode::from(10) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(arguments: &Arguments) -> Done {
    let store = Store::open()?;
    match arguments.verb.as_str() {
        "install" => change::install(&store, arguments),
        "refresh" => change::refresh(&store, arguments),
        "remove" => change::remove(&store, arguments),
        "revert" => change::revert(&store, arguments),
        "switch" => change::switch(&store, arguments),
        "enable" | "disable" => change::set_enabled(&store, arguments),
        "list" => query::list(&store, arguments),
        "info" => query::info(&store, arguments),
        "version" | "--version" => {
            query::version();
            Ok(())
        }
        "changes" => {
            query::changes(&store, arguments);
            Ok(())
        }
        "services" => services::list(&store, arguments),
        "start" | "stop" | "restart" => services::control(&store, arguments),
        "logs" => services::logs(&store, arguments),
        "connect" | "disconnect" => settings::connect(&store, arguments),
        "connections" => settings::connections(&store, arguments),
        "set" | "unset" => settings::set(&store, arguments),
        "get" => settings::get(&store, arguments),
        "alias" | "unalias" => settings::alias(&store, arguments),
        "ack" => settings::acknowledge(&store, arguments),
        "wait" | "watch" => Ok(()),
        "known" => Err(error("no assertions found")),
        other => Err(error(format!("unknown command \"{other}\", see 'snap help'."))),
    }
}
