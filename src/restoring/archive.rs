//! What an operator hands over to be restored: a `.tar.gz` of `snapshot`, one of the earlier charm, or a bare database.
//!
//! Nothing of it is trusted. One database is taken, under a name of our own, or a backup of the v2 store, of which only
//! the files in the two folders that etcd makes are; as large as the disk allows. A database's digest is checked.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::EntryType;

use super::bounded::{Bounded, Budget, Excess};
use crate::etcd;

/// Why something is not restored. The message is for the operator and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not readable, or the disk failed.
    #[error("cannot read the snapshot resource: {0}")]
    Unreadable(#[source] io::Error),
    /// The disk failed or is full.
    #[error("cannot unpack the snapshot: {0}")]
    Unwritable(#[source] io::Error),
    /// A folder was attached.
    #[error("the snapshot resource is not a file; attach the archive that the snapshot action made")]
    NotAFile,
    /// Neither of the two forms.
    #[error(
        "the snapshot resource is neither a .tar.gz archive nor an etcd database; attach the archive that the snapshot action made"
    )]
    Unknown,
    /// Broken gzip or tar.
    #[error(
        "the archive is damaged: {0}; copy it again and compare its SHA-256 with the one that snapshot told"
    )]
    Damaged(String),
    /// A link, a device, an absolute path or one with `..`; or more of something than any snapshot has.
    #[error("the archive holds {0}, which no snapshot does; it is not restored")]
    Dangerous(String),
    /// Nothing to restore.
    #[error(
        "the archive holds no database; accepted: an archive of the snapshot action, or a bare snapshot file"
    )]
    Empty,
    /// Which one?
    #[error("the archive holds more than one database; attach one with a single snapshot")]
    Several,
    /// A database beside a backup of the v2 store: which one?
    #[error("the archive holds a snapshot and a backup of v2 keys; attach one with a single of them")]
    Both,
    /// It would fill the disk, or was made to.
    #[error(
        "the database in the archive is larger than the {limit_mib} MiB that this unit has room for; free disk space and run restore again"
    )]
    TooLarge {
        /// MiB.
        limit_mib: u64,
    },
    /// What is in the archive is no bbolt file.
    #[error("the archive holds a file that is not an etcd database")]
    NotADatabase,
    /// A copy of a member's file, or cut off.
    #[error(
        "the database has no digest at its end: it was cut off, or copied from a member's disk instead of taken by snapshot; if you are sure that it is whole, run restore with skip-hash-check=true"
    )]
    NoDigest,
    /// Bits have changed.
    #[error(
        "the database does not match its own digest: it was damaged after it was taken; use another snapshot"
    )]
    WrongDigest,
}

/// A database that can be restored.
#[derive(Debug, PartialEq, Eq)]
pub struct Database {
    /// Bytes.
    pub bytes: u64,
    /// It ends with a digest, and that digest fits.
    pub is_proved: bool,
}

/// What was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// [`DATABASE`] in the folder.
    Database(Database),
    /// [`V2_STORE`] in the folder: a member's files as `etcdctl backup` writes them.
    V2Store {
        /// Bytes of all files.
        bytes: u64,
    },
}

impl Content {
    /// Size of what was taken.
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Database(Database { bytes, .. }) | Content::V2Store { bytes } => *bytes,
        }
    }

    /// Whether its own digest has proved it whole. Backups of the v2 store have none.
    pub fn is_proved(&self) -> bool {
        matches!(self, Content::Database(Database { is_proved: true, .. }))
    }
}

/// Name of a database that was taken.
pub const DATABASE: &str = "snapshot.db";
/// Name of a backup of the v2 store that was taken, a data directory.
pub const V2_STORE: &str = "v2";

/// Takes the one content out of `source` into `folder`, readable by root only.
/// `limit`: bytes that it may have. `may_lack_digest`: the operator vouches for a database without one.
///
/// # Errors
/// Every [`Refusal`]; there may be files in `folder` then.
pub fn extract(source: &Path, folder: &Path, limit: u64, may_lack_digest: bool) -> Result<Content, Refusal> {
    let mut file = File::open(source).map_err(Refusal::Unreadable)?;
    if !file.metadata().map_err(Refusal::Unreadable)?.is_file() {
        return Err(Refusal::NotAFile);
    }
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(20).read_to_end(&mut head).map_err(Refusal::Unreadable)?;
    file.rewind().map_err(Refusal::Unreadable)?;
    let database = folder.join(DATABASE);
    if head.starts_with(&[0x1f, 0x8b]) {
        if let Some(bytes) = unpack(file, folder, limit)? {
            return Ok(Content::V2Store { bytes });
        }
    } else if is_bolt(&head) {
        copy(file, &database, limit).map_err(|problem| problem.of(Refusal::Unreadable, limit))?;
    } else {
        return Err(Refusal::Unknown);
    }
    judge(&database, may_lack_digest).map(Content::Database)
}

/// bbolt's first page: 16 bytes of header, then its magic number.
fn is_bolt(head: &[u8]) -> bool {
    head.get(16..20) == Some(&0xED0C_DAED_u32.to_le_bytes())
}

/// More entries than any snapshot or backup has.
const ENTRIES_MAX: usize = 10_000;
/// What stands between two entries: headers, with the long names and other extensions that come before some.
const HEADERS_BYTES: u64 = 1 << 20;
/// What may lie in an archive beside the content: other files of a folder that somebody packed.
const BESIDE_BYTES_MAX: u64 = 256 << 20;
/// The largest content that counts for the time it may take.
const LARGEST: i64 = 32 << 30;

/// Yields the bytes of a backup of the v2 store, or `None` when it was a database.
fn unpack(file: File, folder: &Path, limit: u64) -> Result<Option<u64>, Refusal> {
    let patience = etcd::patience(i64::try_from(limit).unwrap_or(LARGEST).min(LARGEST));
    let budget = Budget::new(patience);
    let inflated = GzDecoder::new(BufReader::with_capacity(128 << 10, file));
    let mut archive = tar::Archive::new(Bounded::new(inflated, budget.clone()));
    let damaged = |error: io::Error| refusal(&budget, &error);
    let (mut found, mut v2_bytes) = (false, None);
    let (mut count, mut beside, mut skip) = (0, 0_u64, 0_u64);
    let mut entries = archive.entries().map_err(damaged)?;
    loop {
        budget.allow(skip.saturating_add(HEADERS_BYTES));
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(damaged)?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Refusal::Dangerous(format!("more than {ENTRIES_MAX} entries")));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_file = match entry.header().entry_type() {
            EntryType::Directory if is_safe(&name) => false,
            EntryType::Regular if is_safe(&name) => true,
            kind => return Err(Refusal::Dangerous(describe(kind, &name))),
        };
        let target = if let Some(file) = of_v2_store(&name).filter(|_| is_file) {
            let before = v2_bytes.unwrap_or(0);
            v2_bytes = Some(entry.size().saturating_add(before));
            folder.join(V2_STORE).join(file)
        } else if is_file && (name.rsplit('/').next() == Some("db") || name.ends_with(".db")) {
            if std::mem::replace(&mut found, true) {
                return Err(Refusal::Several);
            }
            folder.join(DATABASE)
        } else {
            skip = entry.size();
            beside = beside.saturating_add(skip);
            if beside > BESIDE_BYTES_MAX {
                return Err(Refusal::Dangerous(format!("{} MiB beside its snapshot", beside >> 20)));
            }
            continue;
        };
        if entry.size().max(v2_bytes.unwrap_or(0)) > limit {
            return Err(Refusal::TooLarge { limit_mib: limit >> 20 });
        }
        budget.allow(entry.size().saturating_add(HEADERS_BYTES));
        copy(entry, &target, limit).map_err(|problem| problem.of(|error| refusal(&budget, &error), limit))?;
        skip = 0;
    }
    // The checksum of the gzip stream lies behind what tar needs.
    budget.allow(HEADERS_BYTES);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    match (found, v2_bytes) {
        (true, Some(_)) => Err(Refusal::Both),
        (false, None) => Err(Refusal::Empty),
        (_, v2_bytes) => Ok(v2_bytes),
    }
}

/// What an error of the archive's readers means.
fn refusal(budget: &Budget, error: &io::Error) -> Refusal {
    match budget.exceeded() {
        Some(Excess::Bytes) => Refusal::Dangerous("headers or padding without an end".to_owned()),
        Some(Excess::Time) => Refusal::Dangerous("more than can be read in any reasonable time".to_owned()),
        None => Refusal::Damaged(error.to_string()),
    }
}

/// Where an entry of a v2 backup belongs in a data directory: `member/wal/FILE` or `member/snap/FILE`.
fn of_v2_store(name: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [.., "member", folder @ ("wal" | "snap"), file] if !file.is_empty() => {
            Some(Path::new("member").join(folder).join(file))
        }
        _ => None,
    }
}

fn is_safe(name: &str) -> bool {
    !name.starts_with('/') && !name.split('/').any(|part| part == "..")
}

fn describe(kind: EntryType, name: &str) -> String {
    let what = match kind {
        EntryType::Symlink | EntryType::Link => "a link",
        EntryType::Regular | EntryType::Directory => "a path out of its folder",
        _ => "a special file",
    };
    format!("{what} ({name})")
}

/// What went wrong while copying, by side.
enum CopyProblem {
    Read(io::Error),
    Write(io::Error),
    TooLarge,
}

impl CopyProblem {
    fn of(self, read: impl FnOnce(io::Error) -> Refusal, limit: u64) -> Refusal {
        match self {
            CopyProblem::Read(error) => read(error),
            CopyProblem::Write(error) => Refusal::Unwritable(error),
            CopyProblem::TooLarge => Refusal::TooLarge { limit_mib: limit >> 20 },
        }
    }
}

fn copy(mut from: impl Read, target: &Path, limit: u64) -> Result<(), CopyProblem> {
    let folder = target.parent().unwrap_or(target);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(CopyProblem::Write)?;
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    let mut to = options.map_err(CopyProblem::Write)?;
    let (mut buffer, mut bytes) = (vec![0; 128 << 10], 0);
    loop {
        let count = from.read(&mut buffer).map_err(CopyProblem::Read)?;
        if count == 0 {
            return to.sync_all().map_err(CopyProblem::Write);
        }
        bytes += count as u64;
        if bytes > limit {
            return Err(CopyProblem::TooLarge);
        }
        to.write_all(&buffer[..count]).map_err(CopyProblem::Write)?;
    }
}

fn judge(target: &Path, may_lack_digest: bool) -> Result<Database, Refusal> {
    let mut file = File::open(target).map_err(Refusal::Unreadable)?;
    let bytes = file.metadata().map_err(Refusal::Unreadable)?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(20).read_to_end(&mut head).map_err(Refusal::Unreadable)?;
    if !is_bolt(&head) {
        return Err(Refusal::NotADatabase);
    }
    if !etcd::has_digest(bytes) {
        let database = Database { bytes, is_proved: false };
        return if may_lack_digest { Ok(database) } else { Err(Refusal::NoDigest) };
    }
    file.rewind().map_err(Refusal::Unreadable)?;
    match etcd::check_snapshot(BufReader::new(file)) {
        Ok(_) => Ok(Database { bytes, is_proved: true }),
        Err(etcd::Error::SnapshotFile(error)) => Err(Refusal::Unreadable(error)),
        Err(_) => Err(Refusal::WrongDigest),
    }
}

#[cfg(test)]
mod tests;
