//! A snap that lies in a file: what it says of itself, read before anything is installed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::process::{ProcessError, Run};

/// What a squashfs image begins with. Source: the superblock in Linux, Documentation/filesystems/squashfs.rst.
const MAGIC: [u8; 4] = *b"hsqs";

/// Why a file is of no use as a snap.
#[derive(Debug, thiserror::Error)]
pub enum SnapFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("cannot use {path} as a snap: {detail}")]
    NoSnap {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The program that looks into it did not do so.
    #[error("cannot look into the snap")]
    Process(#[source] ProcessError),
}

/// Name and version, as `meta/snap.yaml` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapFile {
    /// The snap's name.
    pub name: String,
    /// Its version, such as `3.5.16`.
    pub version: String,
}

/// Looks into the file. Nothing of it is run.
///
/// # Errors
/// [`SnapFileError`].
pub async fn read(path: &Path) -> Result<SnapFile, SnapFileError> {
    #[derive(Deserialize)]
    struct Meta {
        name: String,
        version: String,
    }
    let shown = || path.display().to_string();
    let no_snap = |detail: String| SnapFileError::NoSnap { path: shown(), detail };
    let unreadable = |source| SnapFileError::Read { path: shown(), source };
    let mut magic = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic)).map_err(unreadable)?;
    if magic != MAGIC {
        return Err(no_snap("it is no squashfs image".to_owned()));
    }
    let scratch = tempfile::tempdir().map_err(unreadable)?;
    let content = scratch.path().join("content");
    // squashfs-tools come with snapd. Older ones cannot write to standard output.
    let run = Run::new("unsquashfs").args(["-no-progress", "-no-xattrs", "-dest"]).arg(&content);
    let run = run.arg(path).arg("meta/snap.yaml").timeout(Duration::from_secs(60));
    match run.output().await {
        Ok(_) => {}
        Err(ProcessError::Failed { stderr, .. }) => return Err(no_snap(format!("it is damaged: {stderr}"))),
        Err(error) => return Err(SnapFileError::Process(error)),
    }
    let text = std::fs::read_to_string(content.join("meta/snap.yaml"))
        .map_err(|error| no_snap(format!("its meta/snap.yaml cannot be read: {error}")))?;
    let meta: Meta = crate::yaml::from_str(&text)
        .map_err(|error| no_snap(format!("its meta/snap.yaml cannot be understood: {error}")))?;
    Ok(SnapFile { name: meta.name, version: meta.version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_no_snap_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("etcd.snap");
        let cases: [(&[u8], &str); 3] = [
            (b"", "no squashfs image"),
            (b"PK\x03\x04 zip", "no squashfs image"),
            (b"hsqs and no more", "it is damaged"),
        ];
        for (bytes, why) in cases {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error} does not say: {why}");
        }
        assert!(matches!(read(&home.path().join("none")).await, Err(SnapFileError::Read { .. })));
    }

    #[tokio::test]
    async fn name_and_version_are_read() {
        let home = tempfile::tempdir().unwrap();
        let (content, path) = (home.path().join("content"), home.path().join("etcd.snap"));
        std::fs::create_dir_all(content.join("meta")).unwrap();
        std::fs::write(content.join("meta/snap.yaml"), "name: etcd\nversion: \"3.5.16\"\n").unwrap();
        let made =
            Run::new("mksquashfs").arg(&content).arg(&path).args(["-quiet", "-no-progress", "-no-xattrs"]);
        made.output().await.unwrap();
        let expected = SnapFile { name: "etcd".into(), version: "3.5.16".into() };
        assert_eq!(read(&path).await.unwrap(), expected);
    }
}
