//! What the charm remembers on this machine, one record a file: JSON, for root alone, durable, replaced whole.

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files;
use crate::json;

/// The record; `None` when there is none.
///
/// # Errors
/// It is there and cannot be read or understood.
pub fn read<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let bytes = files::read(path).with_context(|| format!("cannot read {path}"))?;
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    let parsed = bytes.map(parse).transpose();
    parsed.map_err(|error| anyhow!("cannot understand {path}: {}", json::why(&error)))
}

/// Makes it durable.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &str, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(record).with_context(|| format!("cannot put {path} into words"))?;
    files::write_atomic(path, &text, 0o600).with_context(|| format!("cannot write {path}"))?;
    Ok(())
}

/// Keeps it under another name: it says nothing any more.
///
/// # Errors
/// The file cannot be renamed.
pub fn set_aside(path: &str) -> Result<()> {
    let is_there = std::fs::exists(path).with_context(|| format!("cannot look at {path}"))?;
    let moved = is_there.then(|| files::move_aside(path, "of-before")).transpose();
    moved.map(drop).with_context(|| format!("cannot move {path} aside"))
}

/// Forgets it.
///
/// # Errors
/// The file cannot be removed.
pub fn remove(path: &str) -> Result<()> {
    files::remove_if_exists(path).with_context(|| format!("cannot remove {path}"))
}
