//! What this charm remembers on this machine and nothing else knows: one directory, root's alone. Invariant: it lies where
//! etcd, which may write to its own directories, cannot; so what is read here was written by this charm.

mod moving_in;

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

/// Where the snapshots are that are taken before upgrades.
pub fn before_upgrade() -> PathBuf {
    Path::new(HOME).join(moving_in::BEFORE_UPGRADE)
}

/// A file that is needed for a moment only.
pub fn scratch(name: &str) -> Result<PathBuf> {
    make_home()?;
    Ok(Path::new(HOME).join(name))
}

/// Takes over what earlier revisions of this charm kept beside etcd's configuration, where etcd can write. It is done once, before
/// anything else is read: from then on nothing there is believed.
///
/// # Errors
/// Something there cannot be read, or the directory cannot be written: nothing may go on without it.
pub fn move_in() -> Result<()> {
    moving_in::move_in(Path::new(moving_in::EARLIER), Path::new(HOME))
        .with_context(|| format!("cannot move this charm's own files to {HOME}"))
}

/// One remembered file. `ARCHITECTURE.md` says why each must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFile {
    /// Whose this machine's etcd is.
    Owner,
    /// This unit's member was replaced because its data was damaged: when, and which.
    Healed,
    /// This unit's member, once a confirmed quorum did without it as the unit was leaving.
    Dispensable,
    /// A quorum is being rebuilt from this unit's member.
    Recovery,
    /// UUIDs of file systems that were mounted for etcd before this charm came, one a line.
    AdoptedVolumes,
    /// The running server has not read its configuration yet: where it still answers.
    RestartDue,
    /// A channel or release that was tried and left again: its name on the first line, then why.
    UpgradeRefused,
    /// etcd is being exchanged for another one.
    Upgrade,
    /// The data is being exchanged for a snapshot's.
    Restore,
    /// This unit's own key and its signing request.
    OwnRequest,
    /// An authority that this unit has made and Juju has not taken yet.
    Draft,
    /// The storage that was found empty and is being formatted.
    Formatting,
    /// What this charm has set in snapd, one `key=value` a line, so that it takes back that and nothing else.
    SnapdOptions,
}

impl StateFile {
    fn name(self) -> &'static str {
        match self {
            StateFile::Owner => "owner",
            StateFile::Healed => "healed.json",
            StateFile::Dispensable => "dispensable.json",
            StateFile::Recovery => "recovery.json",
            StateFile::AdoptedVolumes => "adopted-volumes",
            StateFile::RestartDue => "restart-due",
            StateFile::UpgradeRefused => "upgrade-refused",
            StateFile::Upgrade => "upgrade.json",
            StateFile::Restore => "restore.json",
            StateFile::OwnRequest => "request.json",
            StateFile::Draft => "authority.json",
            StateFile::Formatting => "storage-formatting",
            StateFile::SnapdOptions => "snapd-options",
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
        make_home()?;
        let path = self.path();
        files::write_atomic(&path, text.as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", path.display()))?;
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
        make_home()?;
        record::write(&self.path().display().to_string(), record)
    }

    /// Keeps it under another name.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn set_aside(self) -> Result<()> {
        record::set_aside(&self.path().display().to_string())
    }

    /// Forgets it.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(self) -> Result<()> {
        record::remove(&self.path().display().to_string())
    }
}

fn make_home() -> Result<()> {
    files::make_dir(HOME, 0o700).with_context(|| format!("cannot make {HOME}"))?;
    Ok(())
}
