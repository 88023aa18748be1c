//! Block devices: loop devices over sparse files that are kept with the model. Invariant: a loop device is only detached
//! while it shows a file of this model.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The file behind the device of this name.
pub fn backing_file(model_dir: &Path, name: &str) -> PathBuf {
    model_dir.join("blocks").join(format!("{}.img", name.replace('/', "-")))
}

/// Show the file of `size_mib` MiB (made when there is none) as a loop device; the one that shows it already is taken.
pub async fn attach(file: &Path, size_mib: u64) -> Result<PathBuf> {
    if let Some(device) = devices_of(|backing| backing == file).into_iter().next() {
        return Ok(device);
    }
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).open(file);
    let opened = opened.with_context(|| format!("cannot make {}", file.display()))?;
    if opened.metadata().context("cannot measure the block device")?.len() == 0 {
        opened.set_len(size_mib * 1024 * 1024).with_context(|| format!("cannot make {}", file.display()))?;
    }
    let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().await;
    let output = output.context("cannot run losetup: install util-linux")?;
    if !output.status.success() {
        bail!("cannot make a loop device: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Detach the loop devices that show this file.
pub async fn detach(file: &Path) -> Result<()> {
    detach_each(devices_of(|backing| backing == file)).await
}

/// Detach the loop devices that show any file under `directory`.
pub async fn detach_all_under(directory: &Path) -> Result<()> {
    detach_each(devices_of(|backing| backing.starts_with(directory))).await
}

async fn detach_each(devices: Vec<PathBuf>) -> Result<()> {
    for device in devices {
        let output = Command::new("losetup").arg("--detach").arg(&device).output().await;
        let output = output.context("cannot run losetup: install util-linux")?;
        if !output.status.success() {
            bail!("cannot detach {}: {}", device.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

/// Loop devices whose file is wanted, from `/sys/block/loop*/loop/backing_file`.
fn devices_of(wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let mut devices = Vec::new();
    for entry in entries.flatten() {
        let Ok(text) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        // The kernel marks a file that was removed meanwhile.
        let shown = text.trim_end().trim_end_matches(" (deleted)");
        if wanted(Path::new(shown)) {
            devices.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    devices
}
