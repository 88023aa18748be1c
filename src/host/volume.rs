//! Block devices and what is on them. Invariant: a device counts as empty only if no program knows what is on it and its
//! first and last bytes are zero; only such a device is ever formatted, and never by force.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::files::{self, Written};
use crate::process::Run;

/// How much at either end of a device must be zero: every signature and the heads of every known file system, volume
/// manager or database are there, and encrypted data without a header is not zero anywhere.
const END_BYTES: u64 = 1024 * 1024;
/// The links that udev makes for file systems.
const BY_UUID: &str = "/dev/disk/by-uuid";
/// Making a file system on a large and slow device.
const MKFS_TIMEOUT: Duration = Duration::from_secs(300);
/// systemd itself gives a mount 90 s.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(120);

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing: no signature, and both its ends are zero.
    Blank,
    /// No signature that anyone knows, and yet it is not empty.
    Unrecognized,
    /// A file system.
    FileSystem {
        /// Its kind, such as `ext4`.
        kind: String,
        /// Its label, empty when it has none.
        label: String,
        /// Its UUID.
        uuid: String,
    },
    /// Anything else, in the words of `blkid`: `partition table gpt`, `LVM2_member`, `crypto_LUKS`, …
    Other(String),
}

/// A block device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its node, such as `/dev/sdb`.
    pub path: PathBuf,
    /// Major and minor number.
    pub number: (u64, u64),
    /// What is on it.
    pub content: Content,
}

/// What is mounted somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Major and minor number of the file system's device.
    pub number: (u64, u64),
    /// What it was mounted from, for people.
    pub source: String,
}

/// Looks at a device without changing it.
///
/// # Errors
/// There is no such device, or it cannot be read; that is never taken for an empty one.
pub async fn probe(path: &Path) -> Result<Device> {
    let meta = fs::metadata(path).with_context(|| format!("cannot find {}", path.display()))?;
    if !meta.file_type().is_block_device() {
        bail!("cannot use {}: it is not a block device", path.display());
    }
    let number = (rustix::fs::major(meta.rdev()).into(), rustix::fs::minor(meta.rdev()).into());
    // Low-level and uncached: what is on the device now.
    let run = Run::new("blkid").args(["-p", "-o", "export", "--"]).arg(path).env("LC_ALL", "C.UTF-8");
    let output = run.status().await.context("cannot look for signatures")?;
    let content = match output.code {
        Some(0) => content(&output.text()),
        Some(2) if has_empty_ends(path).with_context(|| format!("cannot read {}", path.display()))? => {
            Content::Blank
        }
        Some(2) => Content::Unrecognized,
        // Two signatures at once: nobody can tell which one counts.
        Some(8) => Content::Other("more than one signature".to_owned()),
        _ => bail!("cannot look for signatures on {}: {}", path.display(), output.stderr.trim()),
    };
    Ok(Device { path: path.to_owned(), number, content })
}

/// `blkid -o export`: one `KEY=value` a line.
fn content(export: &str) -> Content {
    let value = |key: &str| {
        let found = export.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(|value| value.replace('\\', ""))
    };
    match (value("TYPE"), value("USAGE"), value("PTTYPE"), value("UUID")) {
        (Some(kind), Some(usage), None, Some(uuid)) if usage == "filesystem" => {
            Content::FileSystem { kind, label: value("LABEL").unwrap_or_default(), uuid }
        }
        (Some(kind), _, _, _) => Content::Other(kind),
        (None, _, Some(table), _) => Content::Other(format!("partition table {table}")),
        (None, _, None, _) => Content::Other("an unknown signature".to_owned()),
    }
}

fn has_empty_ends(path: &Path) -> std::io::Result<bool> {
    let mut device = File::open(path)?;
    let size = device.seek(SeekFrom::End(0))?;
    for start in [0, size.saturating_sub(END_BYTES)] {
        device.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&device).take(END_BYTES).read_to_end(&mut bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes an ext4 file system with this label. Without `-F`: `mkfs` itself refuses a device that is in use.
///
/// # Errors
/// `mkfs.ext4` cannot be run or refuses.
pub async fn format(device: &Path, label: &str) -> Result<()> {
    let run = Run::new("mkfs.ext4").args(["-q", "-L", label, "--"]).arg(device).timeout(MKFS_TIMEOUT);
    run.output().await.map(drop).context("cannot make a file system")
}

/// Labels a file system of the ext family, which may be mounted.
///
/// # Errors
/// `e2label` cannot be run or refuses.
pub async fn label(device: &Path, label: &str) -> Result<()> {
    let run = Run::new("e2label").arg(device).arg(label);
    run.output().await.map(drop).context("cannot label the file system")
}

/// What is mounted at `place`, the last one if there are several on top of each other.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn mounted_at(place: &str) -> Result<Option<Mounted>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot list the mounts")?;
    Ok(find_mount(&table, place))
}

/// Source of the columns: `proc_pid_mountinfo(5)`.
fn find_mount(table: &str, place: &str) -> Option<Mounted> {
    table.lines().rev().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        let (major, minor) = left.next()?.split_once(':')?;
        if left.nth(1)? != place {
            return None;
        }
        let source = right.split(' ').nth(1)?.to_owned();
        Some(Mounted { number: (major.parse().ok()?, minor.parse().ok()?), source })
    })
}

/// A mount unit of this machine's systemd. It is not started at boot by itself: what needs the place says so with
/// `RequiresMountsFor=`, and a machine without the device boots all the same.
#[derive(Debug, Clone)]
pub struct MountUnit {
    name: String,
    place: String,
}

impl MountUnit {
    /// For a place without `-` and special characters in its path.
    pub fn new(place: &str) -> MountUnit {
        let name = format!("{}.mount", place.trim_matches('/').replace('/', "-"));
        MountUnit { name, place: place.to_owned() }
    }

    /// Where its file is.
    pub fn path(&self) -> PathBuf {
        Path::new("/etc/systemd/system").join(&self.name)
    }

    /// The file's text for the file system with this UUID.
    pub fn text(&self, template: &str, uuid: &str) -> String {
        template.replace("{what}", &format!("{BY_UUID}/{uuid}")).replace("{where}", &self.place)
    }

    /// The UUID in such a text.
    pub fn uuid(text: &str) -> Option<&str> {
        text.lines().find_map(|line| line.strip_prefix("What=")?.strip_prefix(BY_UUID)?.strip_prefix('/'))
    }

    /// Writes the file. It counts after a `daemon-reload`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, text: &str) -> Result<Written> {
        let path = self.path();
        files::write_atomic(&path, text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Mounts it, unless it is.
    ///
    /// # Errors
    /// systemd refuses: in the words of its log.
    pub async fn start(&self) -> Result<()> {
        self.tell("start").await?;
        match mounted_at(&self.place)? {
            Some(_) => Ok(()),
            None => bail!("cannot find anything at {} after its start", self.place),
        }
    }

    /// Unmounts it and removes the file.
    ///
    /// # Errors
    /// Somebody uses what is mounted there.
    pub async fn remove(&self) -> Result<()> {
        // systemd has no word but failure for a unit that it does not know.
        if self.path().exists() || mounted_at(&self.place)?.is_some() {
            self.tell("stop").await?;
        }
        files::remove_if_exists(self.path()).context("cannot remove the mount unit")
    }

    async fn tell(&self, verb: &str) -> Result<()> {
        let run = Run::new("systemctl").args([verb, "--", &self.name]).timeout(SYSTEMCTL_TIMEOUT);
        let output = run.status().await.with_context(|| format!("cannot {verb} {}", self.name))?;
        if output.code == Some(0) {
            return Ok(());
        }
        // The first line says what, the others where to read more.
        bail!("cannot {verb} {}: {}", self.name, output.stderr.lines().next().unwrap_or("no reason given"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_named_and_only_a_whole_file_system_is_one() {
        let ext4 = "DEVNAME=/dev/sdb\nLABEL=etcd-data\nUUID=7e6d\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let file_system = |label: &str| Content::FileSystem {
            kind: "ext4".into(),
            label: label.into(),
            uuid: "7e6d".into(),
        };
        let other = |what: &str| Content::Other(what.into());
        let cases = [
            (ext4.to_owned(), file_system("etcd-data")),
            (ext4.replace("LABEL=etcd-data\n", ""), file_system("")),
            (format!("{ext4}PTTYPE=dos\n"), other("ext4")),
            ("PTUUID=1\nPTTYPE=gpt\n".to_owned(), other("partition table gpt")),
            ("UUID=1\nVERSION=LVM2 001\nTYPE=LVM2_member\nUSAGE=raid\n".to_owned(), other("LVM2_member")),
            ("UUID=1\nTYPE=crypto_LUKS\nUSAGE=crypto\n".to_owned(), other("crypto_LUKS")),
            ("DEVNAME=/dev/sdb\n".to_owned(), other("an unknown signature")),
        ];
        for (export, expected) in cases {
            assert_eq!(content(&export), expected, "{export}");
        }
    }

    #[test]
    fn both_ends_of_a_device_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fill = |at: u64, bytes: &[u8]| {
            use std::os::unix::fs::FileExt as _;
            file.as_file().set_len(0).unwrap();
            file.as_file().set_len(3 * END_BYTES).unwrap();
            file.as_file().write_at(bytes, at).unwrap();
            has_empty_ends(file.path()).unwrap()
        };
        assert!(fill(0, b""));
        assert!(!fill(END_BYTES - 1, b"x"));
        assert!(!fill(3 * END_BYTES - 1, b"x"));
    }

    #[test]
    fn the_topmost_mount_is_found() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            165 187 7:0 / /media/etcd rw,relatime shared:53 - ext4 /dev/loop0 rw\n\
            166 165 7:2 / /media/etcd rw,relatime - ext4 /dev/loop2 rw\n\
            167 165 0:40 / /media/etcd2 rw - tmpfs tmpfs rw\n";
        let found = find_mount(table, "/media/etcd").unwrap();
        assert_eq!(found, Mounted { number: (7, 2), source: "/dev/loop2".into() });
        assert_eq!(find_mount(table, "/media"), None);
    }

    #[test]
    fn a_mount_unit_is_found_again_by_its_uuid() {
        let unit = MountUnit::new("/media/etcd");
        assert_eq!(unit.path(), Path::new("/etc/systemd/system/media-etcd.mount"));
        let text = unit.text("[Mount]\nWhat={what}\nWhere={where}\n", "7e6d-1");
        assert!(text.contains("Where=/media/etcd\n"), "{text}");
        assert_eq!(MountUnit::uuid(&text), Some("7e6d-1"));
        assert_eq!(MountUnit::uuid("What=/dev/sdb\n"), None);
    }

    #[tokio::test]
    async fn what_is_no_device_is_not_empty() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(probe(file.path()).await.is_err());
        assert!(probe(Path::new("/dev/no-such-device")).await.is_err());
    }
}
