//! Snapshot archives on this machine: streamed from a member into a `.tar.gz`, read again and compared before they get
//! their name. Memory use is constant; a file under its final name is whole.

mod v2;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::archive::hex;
use crate::etcd::{self, Client, SnapshotStream, SnapshotSummary};
use crate::host::files;

pub use v2::{V2Saved, V2Source, save_v2};

/// What the snapshot is called in the archive. The leading `./` is how the earlier charm's restore tells an archive
/// of v3 keys from one of v2 keys.
const ENTRY: &[u8] = b"./db";
/// Name while it is written. A fixed one: what a killed run left behind is removed by the next.
const PARTIAL: &str = ".etcd-snapshot.tar.gz.partial";
/// Bytes that stay free on the disk whatever is saved there.
const RESERVE: u64 = 16 << 20;
/// Bytes a second that even a slow network and a slow disk manage together.
const SLOWEST: u64 = 1 << 20;
/// Seconds whose names are tried.
const NAMES: u64 = 5;
/// Size of tar's blocks.
const BLOCK: usize = 512;

/// A snapshot archive that was read again and found whole.
#[derive(Debug)]
pub struct Saved {
    /// The archive.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of the archive, lower-case hexadecimal.
    pub sha256: String,
    /// What is in it.
    pub snapshot: SnapshotSummary,
}

/// How far a snapshot has come, for whoever shows it while it goes on.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    total: AtomicU64,
    checking: AtomicBool,
}

impl Progress {
    fn set(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |counter: &AtomicU64| counter.load(Ordering::Relaxed) >> 20;
        let what = if self.0.checking.load(Ordering::Relaxed) { "checked" } else { "saved" };
        write!(f, "{what} {} of {} MiB", mib(&self.0.bytes), mib(&self.0.total))
    }
}

/// Removes the unfinished file on every way out; once it has its final name there is nothing to remove.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = files::remove_if_exists(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the unfinished snapshot was not removed");
        }
    }
}

/// Saves the member's database as `etcd-snapshot-YYYY-MM-DD-HH.MM.SS.tar.gz` (UTC) in `directory`, which must exist;
/// readable by its owner alone, who is the user `ubuntu` if there is one. `now_s`: Unix time.
///
/// # Errors
/// The disk has too little space, the directory cannot be written, the stream breaks or is not what the server meant
/// to send, or the written archive does not hold what was streamed. Nothing is left behind then.
pub async fn save(client: &Client, directory: &Path, now_s: u64, progress: &Progress) -> Result<Saved> {
    let partial = Partial(directory.join(PARTIAL));
    files::remove_if_exists(&partial.0).with_context(|| cannot_write(directory))?;
    let stream = client.open_snapshot().await.context("cannot start the snapshot")?;
    let total = stream.bytes();
    check_space(total, files::free_bytes(directory).with_context(|| cannot_write(directory))?, directory)?;
    progress.0.total.store(total, Ordering::Relaxed);
    let limit = Duration::from_secs(120 + total / SLOWEST);
    let written = tokio::time::timeout(limit, write(stream, &partial.0, now_s, progress))
        .await
        .with_context(|| format!("cannot save the snapshot within {} s", limit.as_secs()))?;
    let snapshot = written.with_context(|| cannot_write(directory))?;
    let (bytes, sha256) = read_again(&partial.0, &snapshot, progress).await?;
    let path = name(&partial.0, directory, now_s).await?;
    Ok(Saved { path, bytes, sha256, snapshot })
}

/// Gives an archive its name. Where another one has that of this second, the next second's is taken, when it has come.
async fn name(partial: &Path, directory: &Path, now_s: u64) -> Result<PathBuf> {
    let named = |second| directory.join(format!("etcd-snapshot-{}.tar.gz", stamp(second)));
    for second in now_s..now_s + NAMES {
        match files::publish(partial, named(second)) {
            Ok(()) => return Ok(named(second)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error).with_context(|| cannot_write(directory)),
        }
    }
    bail!("cannot name the archive: {} is there already; run it again", named(now_s).display())
}

fn cannot_write(directory: &Path) -> String {
    format!("cannot save a snapshot in {}", directory.display())
}

/// A snapshot may be incompressible: then the archive is a little larger than it.
fn check_space(bytes: u64, free: u64, directory: &Path) -> Result<()> {
    let needed = bytes + bytes / 1000 + RESERVE;
    if free < needed {
        let (needed, free) = (needed.div_ceil(1 << 20), free >> 20);
        bail!(
            "cannot save a snapshot in {}: {free} MiB are free, {needed} MiB are needed; make space or name another directory",
            directory.display()
        );
    }
    Ok(())
}

/// `2024-02-29-12.34.56`, UTC, as the earlier charm named its archives.
pub fn stamp(now_s: u64) -> String {
    let seconds = i64::try_from(now_s).unwrap_or(i64::MAX);
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, month) = (now.date(), u8::from(now.month()));
    format!(
        "{:04}-{month:02}-{:02}-{:02}.{:02}.{:02}",
        date.year(),
        date.day(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

/// The tar format is written by hand: its library wants to pull from a reader, and the stream pushes.
async fn write(
    stream: SnapshotStream,
    path: &Path,
    now_s: u64,
    progress: &Progress,
) -> Result<SnapshotSummary> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    files::give_open_file_to("ubuntu", &file)?;
    // The server keeps old pages for as long as it streams: quick is better than small.
    let mut gzip = GzEncoder::new(BufWriter::with_capacity(128 << 10, file), Compression::fast());
    let bytes = stream.bytes();
    gzip.write_all(header(bytes, now_s)?.as_bytes())?;
    let snapshot = stream.save(&mut gzip, |bytes| progress.set(bytes)).await?;
    let odd = usize::try_from(bytes % BLOCK as u64)?;
    gzip.write_all(&[0; BLOCK][..(BLOCK - odd) % BLOCK])?;
    gzip.write_all(&[0; 2 * BLOCK])?;
    let file = gzip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    tokio::task::spawn_blocking(move || file.sync_all()).await??;
    Ok(snapshot)
}

fn header(bytes: u64, now_s: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    // Past the library, which would drop the leading `./`.
    let name = header.as_old_mut().name.get_mut(..ENTRY.len());
    name.context("cannot name the entry")?.copy_from_slice(ENTRY);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(now_s);
    header.set_cksum();
    Ok(header)
}

/// Success is told of what stands on the disk, not of what was sent there.
async fn read_again(path: &Path, snapshot: &SnapshotSummary, progress: &Progress) -> Result<(u64, String)> {
    progress.set(0);
    progress.0.checking.store(true, Ordering::Relaxed);
    let (path, progress) = (path.to_owned(), progress.clone());
    let checked = tokio::task::spawn_blocking(move || check(&path, &progress)).await?;
    let checked = checked.context("cannot read the written archive again")?;
    if (checked.db_bytes, &checked.db_sha256) != (snapshot.bytes, &snapshot.sha256) {
        bail!(
            "cannot trust the written archive: it holds something else than was sent; check this machine's disk"
        );
    }
    Ok((checked.bytes, checked.sha256))
}

/// What an archive is and holds.
struct Checked {
    bytes: u64,
    sha256: String,
    db_bytes: u64,
    db_sha256: String,
}

fn check(path: &Path, progress: &Progress) -> Result<Checked> {
    let file = BufReader::with_capacity(128 << 10, File::open(path)?);
    let mut file = Hashing { inner: file, hash: Sha256::new(), bytes: 0 };
    let mut archive = tar::Archive::new(GzDecoder::new(&mut file));
    let mut entries = archive.entries()?;
    let entry = entries.next().context("it is empty")??;
    if *entry.path_bytes() != *ENTRY {
        bail!("it holds something else than a snapshot");
    }
    let (db_bytes, db_sha256) = etcd::check_snapshot(Counting { inner: entry, bytes: 0, progress })?;
    if entries.next().is_some() {
        bail!("it holds more than a snapshot");
    }
    // The end of the gzip stream and its checksum lie behind what tar needs.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    io::copy(&mut file, &mut io::sink())?;
    Ok(Checked { bytes: file.bytes, sha256: hex(&file.hash.finalize()), db_bytes, db_sha256 })
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Tells how much has been read through it.
struct Counting<'a, R> {
    inner: R,
    bytes: u64,
    progress: &'a Progress,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        self.progress.set(self.bytes);
        Ok(count)
    }
}

#[cfg(test)]
mod against_etcd;
