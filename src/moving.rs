//! The mark of a snap that is moved to another revision: written before snapd is asked, removed when the move has ended.
//! Invariant: a run that is killed in between leaves what the next one needs to go on or back.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::host::{Installed, files};

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
        let bytes = files::read(FILE).with_context(|| format!("cannot read {FILE}"))?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        bytes.map(parse).transpose().with_context(|| format!("cannot understand {FILE}"))
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(self)?;
        files::write_atomic(FILE, &text, 0o600).with_context(|| format!("cannot write {FILE}"))?;
        Ok(())
    }

    /// The move has ended, one way or the other.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove() -> Result<()> {
        files::remove_if_exists(FILE).with_context(|| format!("cannot remove {FILE}"))
    }
}
