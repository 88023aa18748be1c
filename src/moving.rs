//! The mark of a snap that is moved to another revision: written before snapd is asked, removed when the move has ended.
//! Invariant: a run that is killed in between leaves what the next one needs to go on or back.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::host::{Installed, record};

/// Beside etcd's configuration.
const FILE: &str = "/var/snap/etcd/common/upgrade.json";

/// A move that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Where to.
    pub channel: String,
    /// What was installed before.
    pub old: Installed,
    /// The channel that the snap followed before, if snapd told.
    pub followed: Option<String>,
}

impl Moving {
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
