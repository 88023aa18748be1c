//! The mark of an etcd that is exchanged for another: written before anything is changed, removed when the move has ended.
//! Invariant: a run that is killed in between leaves what the next one needs to go on or back.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::host::{Installed, record};

/// Beside etcd's configuration.
const FILE: &str = "/var/snap/etcd/common/upgrade.json";

/// A move that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Where to: a channel of the snap, a release, or the attached snap.
    pub channel: String,
    /// What was installed before; of a release its digits stand for the revision.
    pub old: Installed,
    /// The channel that the snap followed before, if snapd told.
    pub followed: Option<String>,
    /// It is on the way back: why. From then on the new one is not started again.
    #[serde(default)]
    pub back: Option<String>,
}

impl Moving {
    /// One that begins.
    pub fn new(channel: &str, old: Installed, followed: Option<String>) -> Moving {
        Moving { channel: channel.to_owned(), old, followed, back: None }
    }

    /// The mark on this machine; `None` when no move is under way.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> Result<Option<Moving>> {
        record::read(FILE)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        record::write(FILE, self)
    }

    /// The move has ended, one way or the other.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove() -> Result<()> {
        record::remove(FILE)
    }
}
