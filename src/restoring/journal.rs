//! The journal of an exchange of data: written before the first change, removed after the last.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::etcd::ClusterId;
use crate::host::record;

/// Beside etcd's configuration.
const FILE: &str = "/var/snap/etcd/common/restore.json";

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Either data may be in place; whichever serves counts.
    Swapping,
    /// The restored data has served; the other units are to be told.
    Restored,
}

/// One exchange of this unit's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// How far it has come.
    pub phase: Phase,
    /// Path, in the data directory, under which the data of before is kept.
    pub kept: PathBuf,
    /// The cluster that the data of before belongs to, hexadecimal; absent when the server did not tell.
    pub old_cluster: Option<String>,
    /// `initial-cluster-token` of the restored cluster.
    pub token: String,
}

impl Journal {
    /// Whether a server of `cluster` runs on the restored data.
    pub fn is_restored(&self, cluster: ClusterId) -> bool {
        self.old_cluster.as_ref() != Some(&cluster.to_string())
    }

    /// The journal on this machine; `None` when no exchange is under way.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> Result<Option<Journal>> {
        record::read(FILE)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        record::write(FILE, self)
    }

    /// The restored data has served: it counts.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn accept(&self) -> Result<()> {
        Journal { phase: Phase::Restored, ..self.clone() }.write()
    }

    /// The exchange is over.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove() -> Result<()> {
        record::remove(FILE)
    }
}
