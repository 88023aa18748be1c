//! etcd's service on this machine: what it does, and how it has fared since somebody last asked for its start.

/// etcd's service as systemd sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// There is no such service.
    Missing,
    /// Not running.
    Stopped,
    /// Running, on the way, or on its way down.
    Running,
    /// It has given up or exits again and again: its result and last words.
    Failing(String),
}

/// More restarts than this in a row are no bad luck.
const RESTARTS_MAX: u32 = 2;
/// A server that was up for so long, in seconds, has not ended because of how it was started.
const STEADY_S: u64 = 60;

/// How the server has fared since somebody last asked for its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// How often systemd has started it anew by itself.
    pub restarts: u32,
    /// For so long it has been up, in seconds; 0 when it is not.
    pub up_s: u64,
    /// So long it may take to read its database, in seconds.
    pub reading_s: u64,
    /// What it said last; only asked for where it ends again and again, or has been silent for a while.
    pub words: Option<String>,
    /// systemd has not given it up: with its files as they are then, it is started again and again.
    pub is_retried: bool,
}

impl Lifetime {
    /// It is started again and again and does not stay. One that answers is none of these, however often it has ended before.
    pub fn is_short(&self) -> bool {
        self.is_retried && self.restarts > RESTARTS_MAX && self.up_s < STEADY_S
    }

    /// It should long have answered.
    pub fn is_overdue(&self) -> bool {
        self.up_s > self.reading_s.max(STEADY_S)
    }
}
