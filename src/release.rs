//! Upstream release tarballs: fetched into a private place, compared with their sum, and only then unpacked. Nothing but
//! the programs is taken, and a release gets its name when it is whole and has told its version.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::archive::hex;
use crate::etcd::Version;
use crate::host::{Release, Releases, directory, files};
use crate::juju::Proxies;
use crate::options::{Checksum, ReleaseSource, WantedRelease};
use crate::process::Run;

/// What is taken from a tarball, and whether it must be in it: `etcdutl` came with etcd 3.5.
const PROGRAMS: [(&str, bool); 3] = [("etcd", true), ("etcdctl", true), ("etcdutl", false)];
/// Upstream tarballs have about 25 MiB.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
/// One program; those of etcd 3.6 have about 25 MiB.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;
/// Everything in a tarball, unpacked, also what is left out.
const CONTENT_BYTES_MAX: u64 = 2 << 30;
/// Longest download.
const DOWNLOAD: Duration = Duration::from_secs(15 * 60);
/// Where a release is made. A fixed name: what a killed run left is removed by the next.
const INCOMING: &str = ".incoming";

/// Removes what is not finished, on every way out.
struct Incoming(PathBuf);

impl Incoming {
    fn make(releases: &Releases) -> Result<Incoming> {
        files::make_missing_dir(releases.home(), 0o755)?;
        let incoming = Incoming(releases.home().join(INCOMING));
        directory::remove_if_exists(&incoming.0)?;
        files::make_dir(&incoming.0, 0o700)?;
        files::make_dir(incoming.programs(), 0o755)?;
        Ok(incoming)
    }

    fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }

    fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = directory::remove_if_exists(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "an unfinished release was not removed");
        }
    }
}

/// Brings a release to this machine; nothing that runs changes by it.
///
/// # Errors
/// It cannot be fetched, is not what the sum says, is no release of etcd, or its programs do not run here. Nothing is left
/// behind then.
pub async fn prepare(wanted: &WantedRelease, proxies: &Proxies, releases: &Releases) -> Result<Release> {
    let home = releases.home().display();
    let incoming = Incoming::make(releases).with_context(|| format!("cannot use {home}"))?;
    let archive = incoming.archive();
    fetch(&wanted.source, proxies, &archive).await?;
    check(&archive, &wanted.sum)?;
    if let Checksum::Sha1(_) = wanted.sum {
        tracing::warn!("source-sum is a SHA-1 sum, which can be forged: set the file's SHA-256 instead");
    }
    let programs = incoming.programs();
    unpack(&archive, &programs)
        .with_context(|| format!("cannot use {} as a release of etcd", wanted.source))?;
    let version = version(&programs.join("etcd")).await?;
    let release = Release::new(&version.to_string(), wanted.sum.digits());
    match files::publish(&programs, releases.path(&release)) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot keep the release in {home}"))
        }
        _ => Ok(release),
    }
}

async fn fetch(source: &ReleaseSource, proxies: &Proxies, into: &Path) -> Result<()> {
    match source {
        ReleaseSource::File(path) => copy(path, into).with_context(|| format!("cannot copy {source}")),
        ReleaseSource::Url(url) => {
            download(url, proxies, into).await.with_context(|| format!("cannot download {source}"))
        }
    }
}

/// A copy first: what is checked must be what is unpacked.
fn copy(path: &Path, into: &Path) -> Result<()> {
    // A pipe without a writer would be waited for.
    ensure!(std::fs::metadata(path)?.is_file(), "it is no regular file");
    let mut from = File::open(path)?.take(ARCHIVE_BYTES_MAX + 1);
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into)?;
    ensure!(
        std::io::copy(&mut from, &mut to)? <= ARCHIVE_BYTES_MAX,
        "it has more than {} MiB",
        ARCHIVE_BYTES_MAX >> 20
    );
    Ok(())
}

/// With the host's own curl, which knows the host's trusted authorities. The address may hold a password and goes by
/// standard input.
///
/// # Errors
/// curl's words.
pub async fn download(url: &str, proxies: &Proxies, into: &Path) -> Result<()> {
    let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
    // What was asked for by TLS is not fetched without it.
    let redirects = if url.starts_with("https://") { "=https" } else { "=http,https" };
    let mut run = Run::new("curl")
        .args([
            "--disable",
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--globoff",
            "--max-redirs",
            "5",
        ])
        .args(["--proto", "=http,https", "--proto-redir", redirects, "--connect-timeout", "20"])
        .args(["--speed-limit", "1024", "--speed-time", "60"])
        .args(["--max-filesize", &ARCHIVE_BYTES_MAX.to_string()])
        .args(["--config", "-", "--output"])
        .arg(into)
        .stdin(format!("url = \"{quoted}\"\n"))
        .timeout(DOWNLOAD);
    for (name, value) in
        [("http_proxy", &proxies.http), ("https_proxy", &proxies.https), ("no_proxy", &proxies.no)]
    {
        if let Some(value) = value {
            run = run.env(name, value);
        }
    }
    tokio::select! {
        output = run.output() => { output?; }
        () = too_large(into) => bail!("it has more than {} MiB", ARCHIVE_BYTES_MAX >> 20),
    }
    Ok(())
}

/// Returns when the file has outgrown its limit: curl itself looks only at the size that a server announces.
async fn too_large(file: &Path) {
    let has_room = || std::fs::metadata(file).map_or(true, |meta| meta.len() <= ARCHIVE_BYTES_MAX);
    while has_room() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn check(archive: &Path, wanted: &Checksum) -> Result<()> {
    let found = match wanted {
        Checksum::Sha256(_) => Checksum::Sha256(digest::<Sha256>(archive)?),
        Checksum::Sha1(_) => Checksum::Sha1(digest::<Sha1>(archive)?),
    };
    ensure!(
        found == *wanted,
        "source-sum: the file has {found}, not {}; set the one its publisher names",
        wanted.digits()
    );
    Ok(())
}

fn digest<D: Digest>(file: &Path) -> Result<String> {
    let mut from = File::open(file).context("cannot read the tarball again")?;
    let (mut digest, mut chunk) = (D::new(), vec![0; 64 * 1024]);
    loop {
        match from.read(&mut chunk).context("cannot read the tarball again")? {
            0 => return Ok(hex(&digest.finalize())),
            count => digest.update(&chunk[..count]),
        }
    }
}

/// Takes the programs from the top of the tarball or from its only directory.
fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let gzip = flate2::read::GzDecoder::new(BufReader::new(File::open(archive)?));
    let mut tar = tar::Archive::new(gzip.take(CONTENT_BYTES_MAX));
    for entry in tar.entries()? {
        let mut entry = entry.context("it is not a whole .tar.gz")?;
        let Some(name) = program(&entry.path()?) else { continue };
        ensure!(entry.header().entry_type().is_file(), "{name} in it is no regular file");
        ensure!(
            entry.size() <= PROGRAM_BYTES_MAX,
            "{name} in it has more than {} MiB",
            PROGRAM_BYTES_MAX >> 20
        );
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(into.join(name));
        if let Err(error) = &file
            && error.kind() == std::io::ErrorKind::AlreadyExists
        {
            bail!("{name} is in it twice");
        }
        let file = file.as_mut().map_err(|error| anyhow::anyhow!("cannot write {name}: {error}"))?;
        std::io::copy(&mut entry, file).with_context(|| format!("{name} cannot be taken out"))?;
        file.flush()?;
        file.sync_all()?;
    }
    let missing = PROGRAMS.iter().find(|(name, needed)| *needed && !into.join(name).exists());
    missing.map_or(Ok(()), |(name, _)| bail!("there is no {name} in it"))
}

/// The program that an entry is, by its path; nothing else is taken, wherever it would want to be.
fn program(path: &Path) -> Option<&'static str> {
    let parts: Vec<Component<'_>> = path.components().filter(|part| *part != Component::CurDir).collect();
    let name = match parts[..] {
        [Component::Normal(name)] | [Component::Normal(_), Component::Normal(name)] => name,
        _ => return None,
    };
    PROGRAMS.iter().map(|(program, _)| *program).find(|program| *program == name)
}

/// `etcd Version: 3.5.16` is the first line of `etcd --version`.
async fn version(etcd: &Path) -> Result<Version> {
    let run = Run::new(etcd).arg("--version").timeout(Duration::from_secs(20));
    let output = run.output().await.context("cannot run the release's etcd on this machine")?.text();
    let version = output.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    let version = version.context("cannot tell the version of the release: its etcd does not say it")?;
    version.parse().context("cannot tell the version of the release")
}

#[cfg(test)]
mod tests;
