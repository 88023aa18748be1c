//! The state of a unit as others see it. Invariant: plain data; it is written by the unit's task alone.

use std::time::{SystemTime, UNIX_EPOCH};

use super::limits::{Exit, Outcome};

/// `ActiveState=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Inactive,
    Activating,
    Active,
    Deactivating,
    Failed,
}

impl Activity {
    /// systemd's word for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
        }
    }
}

/// A unit's state.
#[derive(Debug, Clone)]
pub struct State {
    pub active: Activity,
    /// `SubState=`.
    pub sub: &'static str,
    pub outcome: Outcome,
    /// Process id inside the machine; 0: none.
    pub main_pid: i32,
    /// The last main process, and how it ended.
    pub exec_main_pid: i32,
    pub exec_main_exit: Option<Exit>,
    /// Automatic restarts since the last start that was asked for.
    pub restarts: u32,
    /// Whether the last activation got up.
    pub got_up: bool,
    /// Text of `STATUS=`.
    pub status_text: String,
    /// Whether the last start was left out because of a condition.
    pub condition_failed: bool,
    /// Wall clock times in µs since the epoch; 0: never.
    pub active_since: u64,
    pub inactive_since: u64,
    pub changed: u64,
    pub exec_main_start: u64,
    pub exec_main_end: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            active: Activity::Inactive,
            sub: "dead",
            outcome: Outcome::Success,
            main_pid: 0,
            exec_main_pid: 0,
            exec_main_exit: None,
            restarts: 0,
            got_up: false,
            status_text: String::new(),
            condition_failed: false,
            active_since: 0,
            inactive_since: 0,
            changed: 0,
            exec_main_start: 0,
            exec_main_end: 0,
        }
    }
}

impl State {
    /// Go over to another state, with the times noted.
    pub fn set(&mut self, active: Activity, sub: &'static str) {
        let now = wall_clock_us();
        let resting = |state| matches!(state, Activity::Inactive | Activity::Failed);
        if active == Activity::Active && self.active != Activity::Active {
            self.active_since = now;
        }
        if resting(active) && !resting(self.active) {
            self.inactive_since = now;
        }
        self.active = active;
        self.sub = sub;
        self.changed = now;
    }
}

/// Wall clock time in µs since the epoch.
pub fn wall_clock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
