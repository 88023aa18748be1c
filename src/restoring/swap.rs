//! The exchange itself: two renames with the server stopped, and the way back.
//!
//! Every function may be repeated from any state that a killed run has left.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::host::{self, files};
use crate::restoring::Journal;

/// Where a restore works, on the file system of the data so that a rename is enough. Nothing of it outlives a run.
pub fn workshop(data_dir: &str) -> PathBuf {
    Path::new(data_dir).join("restore.new")
}

/// The member's place beside what is kept.
fn member(kept: &Path) -> PathBuf {
    kept.with_file_name("member")
}

/// Puts the restored data into the member's place; the server must be stopped.
///
/// # Errors
/// A rename failed; [`go_back`] brings the old data back.
pub fn exchange(kept: &Path, restored: &Path) -> Result<()> {
    let member = member(kept);
    files::publish(&member, kept).with_context(|| format!("cannot keep the data as {}", kept.display()))?;
    files::publish(restored, &member).with_context(|| format!("cannot move data to {}", member.display()))
}

/// Back to the data of before, and the server runs on it again.
///
/// # Errors
/// systemd refuses, or a rename failed; running it again goes on.
pub async fn go_back(journal: &Journal) -> Result<()> {
    stop().await?;
    if let Some(restored) = undo(&journal.kept)? {
        tracing::info!(kept = %restored.display(), "the restored data was kept");
    }
    Journal::remove()?;
    start().await
}

/// Puts the data of before back into the member's place. Yields where the restored data is kept when it had been in
/// place: somebody may have written to it.
fn undo(kept: &Path) -> Result<Option<PathBuf>> {
    let member = member(kept);
    if !is_there(kept)? {
        return Ok(None);
    }
    let mut restored = None;
    if is_there(&member)? {
        restored = Some(files::move_aside(&member, "restored").context("cannot move restored data aside")?);
    }
    files::publish(kept, &member).with_context(|| format!("cannot move {} back", kept.display()))?;
    Ok(restored)
}

/// Whatever it is: a link is not followed, and what it leads to is not what is renamed.
fn is_there(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Stops the server for an exchange. It stays enabled: after a reboot whatever data is in place serves.
///
/// # Errors
/// systemd refuses.
pub async fn stop() -> Result<()> {
    host::etcd_service().stop().await.context("cannot stop etcd")
}

/// Starts the server on the data that is in place.
///
/// # Errors
/// systemd refuses.
pub async fn start() -> Result<()> {
    host::etcd_service().bring_up().await.context("cannot start etcd")
}
