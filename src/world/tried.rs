//! What one run has tried. It is forgotten with the run.

use std::collections::{BTreeMap, BTreeSet};

/// Steps of this run, by [`crate::step::Step::name`].
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// Done in this run.
    pub done: BTreeSet<&'static str>,
    /// Given up in this run, with the last error.
    pub in_vain: BTreeMap<&'static str, String>,
    /// Refused for the moment, the last time they were tried.
    pub not_yet: BTreeSet<&'static str>,
    /// How long this run has lasted, in seconds. What Juju knows was read at its begin.
    pub lasted_s: u64,
}

impl Tried {
    /// Whether this kind of step was done.
    pub fn done(&self, step: &str) -> bool {
        self.done.contains(step)
    }

    /// The error of the last vain try of this kind of step.
    pub fn in_vain(&self, step: &str) -> Option<&str> {
        self.in_vain.get(step).map(String::as_str)
    }

    /// Whether this kind of step was refused for the moment.
    pub fn not_yet(&self, step: &str) -> bool {
        self.not_yet.contains(step)
    }
}
