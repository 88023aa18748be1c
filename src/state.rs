//! What this charm remembers on this machine and nothing else knows: one directory, root's alone. Invariant: it lies where
//! etcd, which may write to its own directories, cannot; so what is read here was written by this charm.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{files, record};

/// The directory.
pub const HOME: &str = "/var/lib/etcd-charm";

/// Where copies of earlier data are kept: snapd copies nothing of it, and etcd cannot reach it.
pub fn kept() -> String {
    format!("{HOME}/kept")
}

/// One remembered file. `ARCHITECTURE.md` says why each must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFile {
    /// Whose this machine's etcd is.
    Owner,
    /// This unit's member was replaced because its data was damaged: when, and which.
    Healed,
    /// UUIDs of file systems that were mounted for etcd before this charm came, one a line.
    AdoptedVolumes,
}

impl StateFile {
    fn name(self) -> &'static str {
        match self {
            StateFile::Owner => "owner",
            StateFile::Healed => "healed.json",
            StateFile::AdoptedVolumes => "adopted-volumes",
        }
    }

    fn path(self) -> PathBuf {
        Path::new(HOME).join(self.name())
    }

    /// Its text; `None` when there is no such file.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn text(self) -> Result<Option<String>> {
        let path = self.path();
        let bytes = files::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Makes this its text, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_text(self, text: &str) -> Result<()> {
        files::make_dir(HOME, 0o700)?;
        files::write_atomic(self.path(), text.as_bytes(), 0o600)?;
        Ok(())
    }

    /// Its record; `None` when there is none.
    ///
    /// # Errors
    /// It is there and cannot be read or understood.
    pub fn record<T: DeserializeOwned>(self) -> Result<Option<T>> {
        record::read(&self.path().display().to_string())
    }

    /// Makes this its record, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_record(self, record: &impl Serialize) -> Result<()> {
        files::make_dir(HOME, 0o700)?;
        record::write(&self.path().display().to_string(), record)
    }
}
