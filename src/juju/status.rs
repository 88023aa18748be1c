//! A Juju workload status: one of the four words a charm may set, and a message that tells the operator what to do.

use std::fmt;

use super::shown;

/// The words a charm may set. `error`, `unknown` and `terminated` belong to Juju alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusKind {
    /// All is as it should be.
    Active,
    /// Something else must happen first; the operator need not act.
    Waiting,
    /// Only the operator can help.
    Blocked,
    /// The charm is at work.
    Maintenance,
}

impl StatusKind {
    /// The word `status-set` takes.
    pub fn word(self) -> &'static str {
        match self {
            StatusKind::Active => "active",
            StatusKind::Waiting => "waiting",
            StatusKind::Blocked => "blocked",
            StatusKind::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for StatusKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Word and message, as `juju status` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The word.
    pub kind: StatusKind,
    /// The message; an empty one clears what was there.
    pub message: String,
}

/// Longest message that is shown, bytes: `juju status` has one line for it.
const MESSAGE_BYTES: usize = 1000;

impl Status {
    /// The message as an operator may see it, whatever it was made of.
    pub fn shown(&self) -> String {
        shown::line(&self.message, MESSAGE_BYTES)
    }

    /// `active`.
    pub fn active(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Active, message: message.into() }
    }

    /// `waiting`.
    pub fn waiting(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Waiting, message: message.into() }
    }

    /// `blocked`.
    pub fn blocked(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Blocked, message: message.into() }
    }

    /// `maintenance`.
    pub fn maintenance(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Maintenance, message: message.into() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        let shown = self.shown();
        if shown.is_empty() { Ok(()) } else { write!(f, " {shown}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_juju_shows_it() {
        assert_eq!(Status::blocked("Missing relation").to_string(), "blocked Missing relation");
        assert_eq!(Status::active("").to_string(), "active");
        assert_eq!(Status::blocked("one\ntwo\n").to_string(), "blocked one two");
    }
}
