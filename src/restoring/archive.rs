//! What an operator hands over to be restored: a `.tar.gz` of `snapshot`, one of the earlier charm, or a bare database.
//!
//! Nothing of it is trusted. One regular file is taken, under a name of our own, as large as the disk allows; its
//! digest is checked while it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::read::GzDecoder;
use tar::EntryType;

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
    /// A link, a device, an absolute path or one with `..`.
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
    /// A tar of the v2 store.
    #[error(
        "the archive holds a backup of v2 keys, which can only be restored by hand: see etcdctl backup in etcd's documentation"
    )]
    V2Keys,
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

/// Takes the one database out of `source` and writes it to `target`, which must not exist; readable by root only.
/// `limit`: bytes that it may have. `may_lack_digest`: the operator vouches for a database without one.
///
/// # Errors
/// Every [`Refusal`]; `target` may exist then.
pub fn extract(source: &Path, target: &Path, limit: u64, may_lack_digest: bool) -> Result<Database, Refusal> {
    let mut file = File::open(source).map_err(Refusal::Unreadable)?;
    if !file.metadata().map_err(Refusal::Unreadable)?.is_file() {
        return Err(Refusal::NotAFile);
    }
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(20).read_to_end(&mut head).map_err(Refusal::Unreadable)?;
    file.rewind().map_err(Refusal::Unreadable)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        unpack(file, target, limit)?;
    } else if is_bolt(&head) {
        copy(file, target, limit).map_err(|problem| problem.of(Refusal::Unreadable, limit))?;
    } else {
        return Err(Refusal::Unknown);
    }
    judge(target, may_lack_digest)
}

/// bbolt's first page: 16 bytes of header, then its magic number.
fn is_bolt(head: &[u8]) -> bool {
    head.get(16..20) == Some(&0xED0C_DAED_u32.to_le_bytes())
}

fn unpack(file: File, target: &Path, limit: u64) -> Result<(), Refusal> {
    let damaged = |error: io::Error| Refusal::Damaged(error.to_string());
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(128 << 10, file)));
    let (mut found, mut holds_v2) = (false, false);
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Directory if is_safe(&name) => continue,
            EntryType::Regular if is_safe(&name) => {}
            kind => return Err(Refusal::Dangerous(describe(kind, &name))),
        }
        let name = name.trim_start_matches("./");
        holds_v2 |= name.starts_with("member/") || name.contains("/member/");
        if holds_v2 || !(name == "db" || name.ends_with(".db")) {
            continue;
        }
        if std::mem::replace(&mut found, true) {
            return Err(Refusal::Several);
        }
        if entry.size() > limit {
            return Err(Refusal::TooLarge { limit_mib: limit >> 20 });
        }
        copy(entry, target, limit)
            .map_err(|problem| problem.of(|e| Refusal::Damaged(e.to_string()), limit))?;
    }
    // The checksum of the gzip stream lies behind what tar needs.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    match (found, holds_v2) {
        (_, true) => Err(Refusal::V2Keys),
        (true, false) => Ok(()),
        (false, false) => Err(Refusal::Empty),
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
