//! What the earlier charm has left on a machine, and who else there starts etcd.

use std::path::PathBuf;

/// Something of the earlier charm's, known by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// The file.
    pub path: PathBuf,
    /// What stays in the file; nothing of it if absent.
    pub rest: Option<String>,
}

impl Leftover {
    /// For people.
    pub fn paths(all: &[Leftover]) -> String {
        all.iter().map(|one| one.path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What it is, and so what has to be in its place before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A service that starts etcd again whenever it finds it stopped.
    Kicker,
    /// Files of the check for alarms.
    AlarmCheck,
    /// The restart rules of etcd's service.
    RestartRules,
    /// The storage's line among the mounts.
    Mount,
    /// Settings of etcdctl in shells.
    Aliases,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// In the order in which they are removed.
    pub leftovers: Vec<Leftover>,
    /// Other units of this machine's systemd that start etcd's service.
    pub starters: Vec<String>,
}
