//! What is remembered of machines between controllers, one JSON file each. Invariant: a record on disk is always whole,
//! because it is written beside and renamed.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use crate::machine::{MachineKind, Sending};

/// One machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Host name inside.
    pub hostname: String,
    /// Address now.
    pub address: Ipv4Addr,
    /// What it is.
    #[serde(default)]
    pub kind: MachineKind,
    /// The process that it lives and ends with while it is on: the first one of a light machine, the nspawn of a full one.
    pub keeper: Option<ProcessId>,
    /// Its interface at the switch, in the holder's network namespace.
    pub port: String,
    /// Whether that interface is plugged in.
    pub connected: bool,
    /// What becomes of what it sends.
    #[serde(default)]
    pub sending: Sending,
    /// The limit asked for, in KiB.
    pub free_kib: Option<u64>,
    /// Block devices by name: the loop device (`/dev/loop3`) that shows each.
    pub blocks: BTreeMap<String, PathBuf>,
}

/// Read a record; `None` when there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let value = serde_json::from_slice(&bytes);
            value.map(Some).with_context(|| format!("cannot read {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Write a record.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let beside = path.with_extension("new");
    let bytes = serde_json::to_vec_pretty(value)?;
    std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Remove a directory and what is in it, if it exists.
pub fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Remove a file, if it exists.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The directories in a directory; none when it does not exist.
pub fn subdirectories(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", path.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
