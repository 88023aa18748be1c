//! Archives of the old v2 store, which no API streams: etcdctl copies it out of the member's log, and the copy is packed,
//! read again and compared before it gets its name. Neither copy nor unfinished archive remains.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::{Hashing, PARTIAL, Partial, RESERVE, SLOWEST, cannot_write, check_space, name};
use crate::archive::hex;
use crate::host::{directory, files};
use crate::process::Run;

/// What etcdctl allots to a log file whatever it holds, bytes.
const LOG_FILE: u64 = 64_000_000;

/// Where the v2 store is, and what can read it.
#[derive(Debug)]
pub struct V2Source {
    /// etcdctl of 3.4 or 3.5; later ones know nothing of v2.
    pub etcdctl: PathBuf,
    /// etcd's data directory.
    pub data: PathBuf,
    /// The directory of its log when it is not in there.
    pub log: Option<PathBuf>,
    /// Where etcdctl, which may be confined to some directories, puts its copy; removed before and after.
    pub scratch: PathBuf,
}

/// An archive that was read again and found whole.
#[derive(Debug)]
pub struct V2Saved {
    /// The archive.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of the archive, lower-case hexadecimal.
    pub sha256: String,
}

/// Size and SHA-256 of files by their names in the archive.
type Content = BTreeMap<String, (u64, String)>;

/// Removes etcdctl's copy on every way out.
struct Scratch<'a>(&'a Path);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = directory::remove_if_exists(self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the copy of the v2 store was not removed");
        }
    }
}

/// Saves a running member's v2 store as `etcd-snapshot-YYYY-MM-DD-HH.MM.SS.tar.gz` (UTC) in `directory`, which must
/// exist; as private as [`save`](super::save) makes it. The archive holds `member/snap` and `member/wal` as the earlier
/// charm's did: a data directory that is started with `force-new-cluster`. Its v3 part is empty. `now_s`: Unix time.
///
/// # Errors
/// A disk has too little space, the directory cannot be written, etcdctl fails, or the written archive does not hold
/// what was packed. Nothing is left behind then.
pub async fn save_v2(source: &V2Source, directory: &Path, now_s: u64) -> Result<V2Saved> {
    let partial = Partial(directory.join(PARTIAL));
    files::remove_if_exists(&partial.0).with_context(|| cannot_write(directory))?;
    let scratch = Scratch(&source.scratch);
    directory::remove_if_exists(scratch.0)
        .with_context(|| format!("cannot remove {}", scratch.0.display()))?;
    copy_out(source).await?;
    let (from, to) = (source.scratch.clone(), partial.0.clone());
    let bytes = directory::size(&from).with_context(|| format!("cannot read {}", from.display()))?;
    check_space(bytes, files::free_bytes(directory).with_context(|| cannot_write(directory))?, directory)?;
    let checked = tokio::task::spawn_blocking(move || {
        let packed = pack(&from, &to, now_s).context("cannot pack the copy of the v2 store")?;
        let (found, bytes, sha256) = check(&to).context("cannot read the written archive again")?;
        if found != packed {
            bail!(
                "cannot trust the written archive: it holds something else than was packed; check this machine's disk"
            );
        }
        Ok((bytes, sha256))
    });
    let (bytes, sha256) = checked.await?.with_context(|| cannot_write(directory))?;
    let path = name(&partial.0, directory, now_s).await?;
    Ok(V2Saved { path, bytes, sha256 })
}

async fn copy_out(source: &V2Source) -> Result<()> {
    let log = source.log.clone().unwrap_or_else(|| source.data.join("member/wal"));
    let logged = directory::size(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let snap = source.data.join("member/snap");
    let snapped = states(&snap).with_context(|| format!("cannot read {}", snap.display()))?;
    let bytes = logged + snapped + LOG_FILE;
    let beside = source.scratch.parent().context("cannot tell where the copy of the v2 store goes")?;
    check_space(bytes, files::free_bytes(beside).with_context(|| cannot_write(beside))?, beside)?;
    // etcdctl leaves some of its files open to all.
    files::make_dir(&source.scratch, 0o700).with_context(|| cannot_write(beside))?;
    let mut run = Run::new(&source.etcdctl).env("ETCDCTL_API", "2").arg("backup");
    run = run.arg("--data-dir").arg(&source.data).arg("--backup-dir").arg(&source.scratch);
    if let Some(log) = &source.log {
        run = run.arg("--wal-dir").arg(log);
    }
    let done = run.timeout(Duration::from_secs(120 + (bytes + RESERVE) / SLOWEST)).output().await;
    done.context("cannot copy the v2 store out of the member's log")?;
    Ok(())
}

/// Bytes of the raft snapshots, each of which is a whole v2 store. The v3 database beside them is not copied.
fn states(snap: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(snap)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".snap") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn pack(from: &Path, to: &Path, now_s: u64) -> Result<Content> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    files::give_open_file_to("ubuntu", &file)?;
    let gzip = GzEncoder::new(BufWriter::with_capacity(128 << 10, file), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut packed = Content::new();
    for folder in ["member/snap", "member/wal"] {
        for name in files::list(from.join(folder))? {
            let name = format!("{folder}/{name}");
            let file = File::open(from.join(&name))?;
            let meta = file.metadata()?;
            if !meta.is_file() {
                bail!("{name} is not a file");
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(meta.len());
            header.set_mode(0o600);
            header.set_mtime(now_s);
            let mut file = Hashing { inner: file, hash: Sha256::new(), bytes: 0 };
            tar.append_data(&mut header, &name, &mut file)?;
            packed.insert(name, (file.bytes, hex(&file.hash.finalize())));
        }
    }
    if !packed.keys().any(|name| name.ends_with(".wal")) {
        bail!("etcdctl has made no log");
    }
    let file = tar.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(packed)
}

fn check(path: &Path) -> Result<(Content, u64, String)> {
    let file = BufReader::with_capacity(128 << 10, File::open(path)?);
    let mut file = Hashing { inner: file, hash: Sha256::new(), bytes: 0 };
    let mut archive = tar::Archive::new(GzDecoder::new(&mut file));
    let mut found = Content::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut entry = Hashing { inner: entry, hash: Sha256::new(), bytes: 0 };
        io::copy(&mut entry.by_ref(), &mut io::sink())?;
        found.insert(name, (entry.bytes, hex(&entry.hash.finalize())));
    }
    // The end of the gzip stream and its checksum lie behind what tar needs.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    io::copy(&mut file, &mut io::sink())?;
    Ok((found, file.bytes, hex(&file.hash.finalize())))
}
