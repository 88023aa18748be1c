//! The snap store in front of a real snapd: `snap` on a full machine. It hands files of the store to snapd and shows them by
//! the store's numbers; everything else is snapd's own. Invariant: it may be killed anywhere; the next call goes on from what
//! snapd and the record say.

mod change;
mod links;
mod query;
mod real;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use self::real::Real;
use self::record::Records;
use super::arguments;
use super::{Done, error, store};
use crate::standin::output;

/// The `snap` of a snapd, where there is one.
const REAL: &str = "/usr/bin/snap";
/// The name of the helper that finishes what a killed `snap` has left.
pub const SETTLE: &str = "snap-store-settle";

/// Whether this machine has a snapd of its own: in its place, light machines have this very program.
pub fn is_needed() -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    match (fs::metadata(REAL), fs::metadata("/proc/self/exe")) {
        (Ok(real), Ok(own)) => id(real) != id(own),
        _ => false,
    }
}

/// The store, what is remembered of it, and the snapd behind it.
#[derive(Debug)]
struct Front {
    store: PathBuf,
    records: Records,
    real: Real,
    /// Where `/snap` and `/var` are.
    root: PathBuf,
    /// Whether helpers are started that outlive this process.
    helped: bool,
}

impl Front {
    fn of_this_machine() -> Self {
        Self {
            store: PathBuf::from(store::DIRECTORY),
            records: Records::at("/var/lib/juju-sim/snap-store"),
            real: Real::at(REAL),
            root: PathBuf::from("/"),
            helped: true,
        }
    }
}

/// `snap`, by its arguments.
pub fn main(given: &[String]) -> ExitCode {
    finish(run(&Front::of_this_machine(), given))
}

/// The helper: waits for the `snap` that started it and for snapd, then shows what has become of the change.
pub fn settle() -> ExitCode {
    finish(change::settle_in_time(&Front::of_this_machine()).map(|()| 0))
}

fn finish(done: Done<u8>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => super::finish(Err(failure)),
    }
}

/// What the store has no part in goes to snapd as it is.
fn run(front: &Front, given: &[String]) -> Done<u8> {
    let verb = given.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    let ours =
        ["switch", "install", "refresh", "remove", "revert", "enable", "disable", "list", "info", "download"];
    let asks_snapd = ["-h", "--help", "--hold", "--unhold", "--time"];
    let is_for_snapd = |word: &String| asks_snapd.contains(&word.split('=').next().unwrap_or_default());
    if !ours.contains(&verb) || given.iter().any(is_for_snapd) {
        return Err(front.real.become_it(given));
    }
    refuse(verb, given)?;
    // Words that cannot be read are snapd's to refuse.
    let Ok(arguments) = arguments::parse(given) else { return Err(front.real.become_it(given)) };
    match verb {
        "list" => query::list(front, given),
        "info" => query::info(front, &arguments, given),
        "download" => query::download(front, &arguments),
        "switch" => change::switch(front, &arguments, given),
        "refresh" if arguments.list => query::updates(front),
        _ => change::run(front, &arguments, given),
    }
}

/// What the real store does and this one cannot.
fn refuse(verb: &str, given: &[String]) -> Done {
    if !matches!(verb, "install" | "refresh" | "download") || given.iter().any(|word| is_file(word)) {
        return Ok(());
    }
    let option = |word: &'_ String| word.split('=').next().unwrap_or_default().to_owned();
    let cannot = |name: &String| ["--cohort", "--leave-cohort", "--no-wait"].contains(&name.as_str());
    match given.iter().map(option).find(cannot) {
        Some(name) => Err(error(format!("the snap store of juju-sim cannot do {name}"))),
        None => Ok(()),
    }
}

/// A word that names a file and not a snap of the store.
fn is_file(word: &str) -> bool {
    !word.starts_with('-') && (word.contains('/') || word.ends_with(".snap"))
}

/// What snapd said, as it said it.
fn relay(answer: &real::Answer) -> u8 {
    output::text(&answer.stdout);
    output::error_text(&answer.stderr);
    answer.code
}
