//! What is installed: one JSON file, as snapd's `state.json`. Invariant: it is only changed by the command that holds its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::meta::Meta;
use super::{Done, error};

const DIRECTORY: &str = "/var/lib/snapd";
/// Held while a change is made.
const LOCK: &str = "state.lock";
/// The status of a change that is being made.
const DOING: &str = "Doing";

/// One unpacked revision.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Revision {
    /// `230`, or `x1` for a local file.
    pub number: String,
    pub version: String,
    /// SHA-256 of the file, hex: the name of its directory in the cache.
    pub hash: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// One installed snap.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Installed {
    /// The number of the revision in use.
    pub current: String,
    /// All kept revisions, the oldest first.
    pub revisions: Vec<Revision>,
    /// What it follows; none for a local file.
    pub tracking: Option<String>,
    pub classic: bool,
    pub devmode: bool,
    /// Whether it was switched off.
    pub disabled: bool,
    /// Plugs that an operator connected or disconnected, against what snapd does by itself.
    pub connected: BTreeMap<String, bool>,
    /// `forever`, or the moment until which it is not refreshed automatically.
    pub held: Option<String>,
    pub aliases: BTreeMap<String, String>,
    /// How many local files were installed.
    pub local_count: u32,
}

impl Installed {
    /// The revision in use.
    pub fn revision(&self) -> Done<&Revision> {
        let found = self.revisions.iter().find(|revision| revision.number == self.current);
        found.ok_or_else(|| error(format!("cannot find revision {} in the state", self.current)))
    }

    /// Whether the revision in use came from a file.
    pub fn is_local(&self) -> bool {
        self.current.starts_with('x')
    }

    /// Whether a plug is connected: some are by themselves, some only when an operator says so.
    pub fn is_connected(&self, plug: &str) -> bool {
        const AUTOMATIC: [&str; 4] = ["network", "network-bind", "home", "desktop"];
        self.connected.get(plug).copied().unwrap_or_else(|| AUTOMATIC.contains(&plug))
    }
}

/// The whole state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub snaps: BTreeMap<String, Installed>,
    /// `snap set system`.
    pub system: BTreeMap<String, String>,
    /// Stores that a statement was acknowledged of (`snap ack`).
    pub stores: BTreeSet<String>,
    /// What was done, the oldest first.
    pub changes: Vec<Change>,
}

/// One line of `snap changes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub id: u32,
    /// `Doing`, `Done` or `Error`.
    pub status: String,
    /// Wall clock in µs since the epoch.
    pub time_us: u64,
    pub summary: String,
}

/// The state on disk.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// That of this machine.
    pub fn open() -> Done<Self> {
        fs::create_dir_all(DIRECTORY)
            .map_err(|reason| error(format!("cannot communicate with server: {reason}")))?;
        Ok(Self { directory: PathBuf::from(DIRECTORY) })
    }

    /// Read the state.
    pub fn read(&self) -> State {
        let text = fs::read(self.directory.join("state.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Change the state while no other command does; what `change` fails with is noted too.
    pub fn change<T>(&self, summary: &str, change: impl FnOnce(&mut State) -> Done<T>) -> Done<T> {
        let lock = self.lock(summary)?;
        let mut state = self.read();
        for left in state.changes.iter_mut().filter(|left| left.status == DOING) {
            "Error".clone_into(&mut left.status);
        }
        let id = state.changes.last().map_or(1, |last| last.id + 1);
        let time_us = crate::standin::service::state::wall_clock_us();
        state.changes.push(Change { id, status: DOING.to_owned(), time_us, summary: summary.to_owned() });
        self.write(&state)?;
        let result = change(&mut state);
        let status = if result.is_ok() { "Done" } else { "Error" };
        if matches!(result, Err(super::Failure::Nothing(_))) {
            state.changes.retain(|change| change.id != id);
        }
        for own in state.changes.iter_mut().filter(|change| change.id == id) {
            status.clone_into(&mut own.status);
        }
        let surplus = state.changes.len().saturating_sub(50);
        state.changes.drain(..surplus);
        self.write(&state)?;
        drop(lock);
        result
    }

    /// Two changes of different snaps come one after the other; of the same one the second is refused.
    fn lock(&self, summary: &str) -> Done<File> {
        let failed = |reason: std::io::Error| error(format!("cannot lock the state: {reason}"));
        let lock = File::create(self.directory.join(LOCK)).map_err(failed)?;
        if lock.try_lock().is_ok() {
            return Ok(lock);
        }
        let name = |summary: &str| summary.split('"').nth(1).map(str::to_owned);
        let busy = self.read().changes.pop().filter(|change| change.status == DOING);
        if let (Some(busy), Some(wanted)) = (busy, name(summary))
            && name(&busy.summary).as_ref() == Some(&wanted)
        {
            let kind = busy.summary.split(' ').next().unwrap_or_default().to_lowercase();
            return Err(error(format!("snap \"{wanted}\" has \"{kind}-snap\" change in progress")));
        }
        lock.lock().map_err(failed)?;
        Ok(lock)
    }

    /// What was done, and what is being done now, the oldest first. A change whose command has died has failed.
    pub fn changes(&self) -> Vec<Change> {
        let nobody_works = File::create(self.directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        let mut changes = self.read().changes;
        for left in changes.iter_mut().filter(|change| nobody_works && change.status == DOING) {
            "Error".clone_into(&mut left.status);
        }
        changes
    }

    fn write(&self, state: &State) -> Done {
        let failed = |reason: String| error(format!("cannot write the state: {reason}"));
        let text = serde_json::to_vec_pretty(state).map_err(|reason| failed(reason.to_string()))?;
        let beside = self.directory.join("state.new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, self.directory.join("state.json")))
            .map_err(|reason| failed(reason.to_string()))
    }
}

impl State {
    /// An installed snap.
    pub fn snap(&self, name: &str) -> Done<&Installed> {
        self.snaps.get(name).ok_or_else(|| not_installed(name))
    }

    /// What the revision in use says of itself.
    pub fn meta(&self, name: &str) -> Done<Meta> {
        Meta::read(&place(name, &self.snap(name)?.current))
    }
}

/// The usual answer to a name that is not installed.
pub fn not_installed(name: &str) -> super::Failure {
    error(format!("snap \"{name}\" is not installed"))
}

/// Where a revision is mounted.
pub fn place(name: &str, revision: &str) -> PathBuf {
    Path::new("/snap").join(name).join(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removable_media_is_only_connected_when_someone_says_so() {
        let mut snap = Installed::default();
        assert!(snap.is_connected("network"));
        assert!(!snap.is_connected("removable-media"));
        snap.connected.insert("removable-media".into(), true);
        snap.connected.insert("network".into(), false);
        assert!(snap.is_connected("removable-media"));
        assert!(!snap.is_connected("network"));
    }

    #[test]
    fn a_change_that_fails_is_noted_and_nothing_to_do_is_not() {
        let place = tempfile::tempdir().unwrap();
        let store = Store { directory: place.path().to_owned() };
        let failed: Done = store.change("a", |_| Err(error("x")));
        let nothing: Done = store.change("b", |_| Err(crate::standin::snap::Failure::Nothing("y".into())));
        store
            .change("c", |state| {
                state.system.insert("k".into(), "v".into());
                Ok(())
            })
            .unwrap();
        assert!(failed.is_err() && nothing.is_err());
        let state = store.read();
        let noted: Vec<_> = state.changes.iter().map(|change| (change.id, change.status.as_str())).collect();
        assert_eq!(noted, vec![(1, "Error"), (2, "Done")]);
        let seen = store.change("d", |_| Ok(store.changes().pop().map(|change| change.status))).unwrap();
        assert_eq!(seen.as_deref(), Some("Doing"));
        let twice = |summary: &str| {
            let inner = || store.change::<()>(summary, |_| Ok(()));
            store.change("Refresh \"a\" snap", |_| Ok(inner())).unwrap()
        };
        let busy = "snap \"a\" has \"refresh-snap\" change in progress";
        assert_eq!(twice("Remove \"a\" snap"), Err(error(busy)));
        let mut killed = store.read();
        if let Some(change) = killed.changes.last_mut() {
            DOING.clone_into(&mut change.status);
        }
        store.write(&killed).unwrap();
        assert_eq!(store.changes().pop().map(|change| change.status).as_deref(), Some("Error"));
        assert_eq!(state.system["k"], "v");
    }
}
