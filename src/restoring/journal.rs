//! The journal of an exchange of data: written before the first change, removed after the last.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::decide;
use crate::etcd::ClusterId;
use crate::state::StateFile;
use crate::storage;

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
    /// The restored cluster, hexadecimal, once its data has served.
    #[serde(default)]
    pub restored: Option<String>,
    /// There was no data before: all data of the cluster was lost.
    #[serde(default)]
    pub from_nothing: bool,
}

impl Journal {
    /// Whether data in this data directory is exchanged: elsewhere it has not been moved home yet.
    pub fn can_be_in(data_dir: &Path) -> bool {
        [decide::DATA, storage::DATA].map(Path::new).contains(&data_dir)
    }

    /// Whether a server of `cluster` runs on the restored data.
    pub fn is_restored(&self, cluster: ClusterId) -> bool {
        self.old_cluster.as_ref() != Some(&cluster.to_string())
    }

    /// The restored cluster, once its data has served: until then nobody is told of it.
    pub fn cluster(&self) -> Option<ClusterId> {
        let restored = self.restored.as_ref().filter(|_| self.phase == Phase::Restored);
        restored.and_then(|id| id.parse().ok())
    }

    /// Whether the application has agreed on the restored cluster, by what Juju says. One that an earlier revision of this charm
    /// has restored is known by not being the old one.
    pub fn is_told(&self, agreed: Option<ClusterId>) -> bool {
        let is_it = |agreed| match &self.restored {
            Some(_) => self.cluster() == Some(agreed),
            None => self.old_cluster.is_some() && self.is_restored(agreed),
        };
        self.phase == Phase::Restored && agreed.is_some_and(is_it)
    }

    /// The journal on this machine; `None` when no exchange is under way.
    ///
    /// # Errors
    /// It is there and cannot be read, or names what no restore keeps.
    pub fn read() -> Result<Option<Journal>> {
        let journal: Option<Journal> = StateFile::Restore.record()?;
        journal.as_ref().map_or(Ok(()), Journal::check)?;
        Ok(journal)
    }

    /// Whether it names data beside the member's: what is renamed on its word must lie there.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self) -> Result<()> {
        let is_home = Journal::can_be_in(self.kept.parent().unwrap_or(Path::new("")));
        let name = self.kept.file_name().unwrap_or_default();
        let is_kept = name.to_str().is_some_and(|name| name.starts_with("member."));
        ensure!(is_home && is_kept, "no restore keeps data in {}", self.kept.display());
        Ok(())
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        StateFile::Restore.write_record(self)
    }

    /// The restored data has served, as a member of `cluster`: it counts.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn accept(&self, cluster: ClusterId) -> Result<()> {
        Journal { phase: Phase::Restored, restored: Some(cluster.to_string()), ..self.clone() }.write()
    }

    /// It is an earlier unit's of this machine.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn set_aside() -> Result<()> {
        StateFile::Restore.set_aside()
    }

    /// The exchange is over.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove() -> Result<()> {
        StateFile::Restore.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_beside_the_members_is_renamed_on_its_word() {
        let check = |kept: &str| {
            let journal = Journal {
                phase: Phase::Swapping,
                kept: kept.into(),
                old_cluster: None,
                token: String::new(),
                restored: None,
                from_nothing: false,
            };
            journal.check().is_ok()
        };
        assert!(check("/var/snap/etcd/current/member.before-restore-1"));
        assert!(check("/media/etcd/data/member.before-restore-1"));
        for foreign in [
            "",
            "member.before-restore-1",
            "/etc/member.before-restore-1",
            "/var/snap/etcd/current/wal",
            "/var/snap/etcd/current/member.1/..",
            "/var/snap/etcd/current/../../../../etc/member.1",
            "/var/snap/etcd/current/member.1/member.2",
        ] {
            assert!(!check(foreign), "{foreign}");
        }
    }
}
