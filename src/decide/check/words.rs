//! What an operator reads: one line that says what to do, or what the unit waits for.

use super::{Verdict, demand};
use crate::juju::{Status, StatusKind};

/// Longer messages are of no use in `juju status`.
const CHARACTERS_MAX: usize = 1000;

/// How a message tells the operator what to do: a command, an action, an option, or where to look.
const REMEDIES: [&str; 27] = [
    "correct ",
    "see to ",
    "juju ",
    "run ",
    "set ",
    "accepted: ",
    "attach",
    "detach",
    "keep the disk",
    "reset it",
    "relate ",
    "reinstall",
    "compact",
    "see the ",
    "see snap ",
    "trying again",
    "name a release",
    "let all units",
    "bring ",
    "e2label",
    "blkdiscard",
    "replace ",
    "unmount",
    "fuser ",
    "move them",
    "Missing relation",
    "give it ",
];

/// How a message tells what the unit waits for.
const AWAITED: [&str; 7] = [
    "aiting ",
    "Requesting ",
    "Joining: ",
    "Leaving: ",
    " is leaving",
    "Preparing to ",
    "giving clients time",
];

pub(super) fn check(status: &Status) -> Verdict {
    let words = &status.message;
    let is_one_line = !words.trim().is_empty() && !words.contains(['\n', '\r']) && words.trim() == words;
    demand(is_one_line, "the message is not one line")?;
    demand(words.chars().count() <= CHARACTERS_MAX, "the message is too long")?;
    let is_raw = ["Some(", "None", "Err(", "Ok("].iter().any(|raw| words.contains(raw));
    demand(!is_raw, "the message shows debug output")?;
    match status.kind {
        StatusKind::Blocked => {
            let helps = REMEDIES.iter().any(|remedy| words.contains(remedy));
            demand(helps, &format!("blocked without saying what to do: {words}"))
        }
        StatusKind::Waiting => {
            let tells = AWAITED.iter().any(|form| words.contains(form)) || words.contains(": ");
            demand(tells, &format!("waiting without saying for what: {words}"))
        }
        StatusKind::Maintenance | StatusKind::Active => Ok(()),
    }
}
