//! Unpacking `.snap` files, once per content for all machines of the host. Invariant: a directory in the cache is always whole,
//! because it gets its name only when it is.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::{Done, error};

/// The cache inside a machine.
pub const CACHE: &str = "/run/juju-sim/snaps";

/// An unpacked file.
#[derive(Debug, Clone)]
pub struct Unpacked {
    pub directory: PathBuf,
    /// SHA-256, hex.
    pub hash: String,
    /// Size in bytes.
    pub size: u64,
}

/// Unpack a file, unless that was done before.
pub fn unpack(cache: &Path, file: &Path) -> Done<Unpacked> {
    let failed = |reason: String| error(format!("cannot open snap file \"{}\": {reason}", file.display()));
    let (hash, size) = hash(file).map_err(|reason| failed(reason.to_string()))?;
    let directory = cache.join(&hash);
    let unpacked = Unpacked { directory: directory.clone(), hash, size };
    if directory.exists() {
        return Ok(unpacked);
    }
    // Several machines want the same file at the same time: one of them unpacks it.
    let lock = File::create(directory.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let lock = lock.map_err(|reason| failed(reason.to_string()))?;
    if !directory.exists() {
        let beside = directory.with_extension("new");
        drop(fs::remove_dir_all(&beside));
        let done = Command::new("unsquashfs")
            .args(["-no-progress", "-quiet", "-dest"])
            .arg(&beside)
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .map_err(|reason| failed(format!("cannot run unsquashfs ({reason}): install squashfs-tools")))?;
        if !done.status.success() {
            drop(fs::remove_dir_all(&beside));
            return Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
        }
        fs::rename(&beside, &directory).map_err(|reason| failed(reason.to_string()))?;
    }
    drop(lock);
    Ok(unpacked)
}

/// SHA-256 in hex, and the size in bytes.
pub fn hash(file: &Path) -> std::io::Result<(String, u64)> {
    let mut reader = File::open(file)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        size += count as u64;
    }
    let text = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((text, size))
}
