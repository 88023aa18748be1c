//! What only the store knows: which number each of snapd's revisions has there. Invariant: written before snapd is asked for a
//! change, so that whoever comes later can tell a file of the store from an operator's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{Done, error};

/// snapd's revision (`x1`) to the store's number (`230`), of one snap.
pub type Numbers = BTreeMap<String, String>;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub snaps: BTreeMap<String, Numbers>,
    /// The change that snapd was asked for and whose end nobody has seen yet.
    pub pending: Option<Pending>,
}

/// A release on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub name: String,
    pub number: String,
    /// The channel it is to follow.
    pub tracking: String,
    /// snapd's revisions from before: what is in use and not among them is the new one.
    pub before: Vec<String>,
    /// `install-snap` or `refresh-snap`, as snapd calls it.
    pub kind: String,
}

/// Where it is kept.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
}

/// Held by the one who makes a change.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// The empty file that the lock is on: whoever has it open holds the lock too.
    pub fn lend(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }
}

impl Records {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What is remembered; nothing yet is an empty record.
    pub fn read(&self) -> Done<Record> {
        match fs::read(self.file("json")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|reason| self.failed("read", &reason)),
            Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => Ok(Record::default()),
            Err(reason) => Err(self.failed("read", &reason)),
        }
    }

    pub fn write(&self, record: &Record) -> Done {
        let text = serde_json::to_vec_pretty(record).map_err(|reason| self.failed("write", &reason))?;
        let beside = self.file("new");
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("/")))
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| File::open(&beside)?.sync_all())
            .and_then(|()| fs::rename(&beside, self.file("json")))
            .map_err(|reason| self.failed("write", &reason))
    }

    /// Waits for the one who makes a change.
    pub fn lock(&self) -> Done<Lock> {
        let file = self.lock_file()?;
        file.lock().map_err(|reason| self.failed("lock", &reason))?;
        Ok(Lock { file })
    }

    /// `None`: somebody makes a change.
    pub fn try_lock(&self) -> Done<Option<Lock>> {
        let file = self.lock_file()?;
        Ok(file.try_lock().is_ok().then_some(Lock { file }))
    }

    fn lock_file(&self) -> Done<File> {
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("/")))
            .and_then(|()| File::create(self.file("lock")))
            .map_err(|reason| self.failed("lock", &reason))
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.path.with_extension(ending)
    }

    fn failed(&self, verb: &str, reason: &dyn std::fmt::Display) -> super::super::Failure {
        error(format!(
            "cannot {verb} what juju-sim knows of the snap store in {}: {reason}",
            self.path.display()
        ))
    }
}
