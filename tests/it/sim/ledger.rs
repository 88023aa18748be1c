//! The table of a long run: what a model's writer saw, what the hooks did, and how long it took until all was well again.

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Model;

/// What only looks, or waits: not what a model has to recover from.
const LOOKS: [&str; 7] = ["status", "debug-log", "show-unit", "ssh", "scp", "exec", "show-task"];

/// What one model adds up for its row.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How often a unit was mended by hand (`resolved`).
    hands: AtomicU32,
    times: Mutex<Times>,
    /// Of each client.
    writes: Mutex<Vec<Writes>>,
}

#[derive(Debug, Default)]
struct Times {
    /// When something was last done to the model that it has not settled after.
    changed: Option<Instant>,
    /// The longest that it has taken to settle.
    longest: Option<Duration>,
}

impl Ledger {
    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command of juju-sim is about to run.
    pub fn note_command(&self, arguments: &[&str]) {
        match arguments {
            ["resolved", ..] => {
                self.hands.fetch_add(1, Ordering::Relaxed);
            }
            ["lab", "wait" | "update-status", ..] | ["run", .., "health", "--format", "json"] | [] => {}
            [word, ..] if LOOKS.contains(word) => {}
            _ => self.note_change(),
        }
    }

    /// Something was done to the model that no command of juju-sim shows.
    pub fn note_change(&self) {
        self.times().changed = Some(Instant::now());
    }

    pub fn note_settled(&self) {
        let mut times = self.times();
        if let Some(changed) = times.changed.take() {
            times.longest = times.longest.max(Some(changed.elapsed()));
        }
    }

    /// What was before, such as the cluster's making, does not count.
    pub fn begin(&self) {
        *self.times() = Times::default();
    }

    pub fn note_writes(&self, writes: Writes) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).push(writes);
    }
}

/// Writes that were acknowledged to one client.
#[derive(Debug)]
pub struct Writes {
    pub acknowledged: u64,
    pub lost: u64,
    /// The longest time without one; none where nobody wrote all the time.
    pub gap_ms: Option<u64>,
}

impl Model {
    /// Keys that were written before, and that are all there.
    pub fn note_keys(&self, count: usize) {
        let acknowledged = u64::try_from(count).unwrap();
        self.ledger.note_writes(Writes { acknowledged, lost: 0, gap_ms: None });
    }

    /// Adds a row to the table of a long run, where one is wanted. A test that fails has one that says so.
    pub(super) fn write_row(&self) {
        let Some(path) = std::env::var_os("TEST_RESULTS") else { return };
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let row = if std::thread::panicking() {
            format!("{name}\tFAILED")
        } else {
            [name].into_iter().chain(self.cells()).collect::<Vec<_>>().join("\t")
        };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }

    fn cells(&self) -> [String; 6] {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let writes = self.ledger.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&Writes) -> u64| {
            or_dash((!writes.is_empty()).then(|| writes.iter().map(of).sum::<u64>().to_string()))
        };
        let gap = writes.iter().filter_map(|writes| writes.gap_ms).max();
        [
            sum(|writes| writes.acknowledged),
            sum(|writes| writes.lost),
            or_dash(gap.map(|gap| gap.to_string())),
            or_dash(self.ledger.times().longest.map(|time| format!("{:.1}", time.as_secs_f64()))),
            self.failed_hooks().len().to_string(),
            self.ledger.hands.load(Ordering::Relaxed).to_string(),
        ]
    }
}
