//! The exchange itself: two renames with the server stopped, and the way back.
//!
//! Every function may be repeated from any state that a killed run has left.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

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
    // Where all data was lost there is nothing to keep.
    if member.try_exists().with_context(|| format!("cannot look at {}", member.display()))? {
        files::publish(&member, kept)
            .with_context(|| format!("cannot keep the data as {}", kept.display()))?;
    }
    files::publish(restored, &member).with_context(|| format!("cannot move data to {}", member.display()))
}

/// Back to the data of before, and the server runs on it again; where there was none nothing runs.
///
/// # Errors
/// systemd refuses, or a rename failed; running it again goes on.
pub async fn go_back(journal: &Journal) -> Result<()> {
    if journal.from_nothing {
        host::etcd_service().disable_now().await.context("cannot stop etcd")?;
    } else {
        stop().await?;
    }
    if let Some(restored) = undo(&journal.kept, journal.from_nothing)? {
        tracing::info!(kept = %restored.display(), "the restored data was kept");
    }
    Journal::remove()?;
    if journal.from_nothing { Ok(()) } else { start().await }
}

/// Puts the data of before back into the member's place. Yields where the restored data is kept when it had been in
/// place: somebody may have written to it. Where neither is there, their disk is not.
fn undo(kept: &Path, from_nothing: bool) -> Result<Option<PathBuf>> {
    let member = member(kept);
    let (is_kept, is_there) = (is_there(kept)?, is_there(&member)?);
    if !is_kept && !from_nothing {
        ensure!(is_there, "neither {} nor {} is there", kept.display(), member.display());
        return Ok(None);
    }
    let restored = is_there.then(|| files::move_aside(&member, "restored")).transpose();
    let restored = restored.context("cannot move restored data aside")?;
    if is_kept {
        files::publish(kept, &member).with_context(|| format!("cannot move {} back", kept.display()))?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_takes_a_missing_disk_for_data_of_before() {
        let home = tempfile::tempdir().unwrap();
        let (kept, member) = (home.path().join("member.before-restore-1"), home.path().join("member"));
        let error = undo(&kept, false).unwrap_err().to_string();
        assert!(error.starts_with("neither "), "{error}");
        let made = |path: &Path, text: &str| {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("data"), text).unwrap();
        };
        made(&member, "before");
        assert_eq!(undo(&kept, false).unwrap(), None, "nothing was exchanged");
        files::publish(&member, &kept).unwrap();
        assert_eq!(undo(&kept, false).unwrap(), None, "cut off between the two");
        files::publish(&member, &kept).unwrap();
        made(&member, "restored");
        let restored = undo(&kept, false).unwrap().expect("it was in place");
        assert_eq!(std::fs::read_to_string(restored.join("data")).unwrap(), "restored");
        assert_eq!(std::fs::read_to_string(member.join("data")).unwrap(), "before");
        // All data was lost: what was restored is the only thing that there is, and goes aside.
        let aside = undo(&home.path().join("member.before-restore-2"), true).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(aside.join("data")).unwrap(), "before");
        assert!(!member.exists() && undo(&kept, true).unwrap().is_none());
    }
}
