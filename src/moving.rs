//! The mark of an etcd that is exchanged for another: written before anything is changed, removed when the move has ended.
//! Invariant: a run that is killed in between leaves what the next one needs to go on or back.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::host::Installed;
use crate::state::StateFile;

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
    /// It is there and cannot be read, or names no revision or version.
    pub fn read() -> Result<Option<Moving>> {
        let moving: Option<Moving> = StateFile::Upgrade.record()?;
        moving.as_ref().map_or(Ok(()), Moving::check)?;
        Ok(moving)
    }

    /// Whether what was installed before has a revision and a version: both name directories.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self) -> Result<()> {
        let Installed { revision, version } = &self.old;
        let is_revision = revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_version =
            version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-:_".contains(&byte));
        let is_name = |text: &str| !text.is_empty() && !text.starts_with('.');
        ensure!(
            is_revision && is_version && is_name(revision) && is_name(version),
            "there is no etcd {version:?} with revision {revision:?}"
        );
        Ok(())
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        StateFile::Upgrade.write_record(self)
    }

    /// The move has ended, one way or the other.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove() -> Result<()> {
        StateFile::Upgrade.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_installed_before_names_no_path() {
        let check = |revision: &str, version: &str| {
            let old = Installed { revision: revision.into(), version: version.into() };
            Moving::new("3.5/stable", old, None).check().is_ok()
        };
        assert!(check("230", "3.4.23") && check("x1", "3.5.16+git1") && check("0123456789ab", "3.5.16-rc.0"));
        assert!(!check("", "3.4.23") && !check("../etc", "3.4.23") && !check("230", "../3.4"));
        assert!(!check("230", "") && !check("230", "..") && !check("230", "a/b"));
    }
}
