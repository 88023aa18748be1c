//! Block devices: loop devices over sparse files that are kept with the model. Invariant: a loop device is only detached
//! while it shows a file of this model.

use std::fs;
use std::os::unix::fs::MetadataExt;
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

/// The loop devices that programs made over files of the disk of the running machine whose first process this is. Asked before
/// it ends: afterwards the kernel gives the disk's device number to another.
pub async fn made_inside(first: Option<u32>) -> Result<Vec<PathBuf>> {
    // Asking costs a process: mostly there is nothing to ask about.
    if devices_of(|_| true).is_empty() {
        return Ok(Vec::new());
    }
    // A file that every machine has on its own disk.
    let Some(first) = first else { return Ok(Vec::new()) };
    let file = PathBuf::from(format!("/proc/{first}/root/etc/hostname"));
    let Ok(metadata) = fs::metadata(file) else { return Ok(Vec::new()) };
    let list = ["--list", "--noheadings", "--output", "NAME,BACK-MAJ:MIN"];
    let output = Command::new("losetup")
        .args(list)
        .output()
        .await
        .context("cannot run losetup: install util-linux")?;
    let device = metadata.dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    Ok(backed_by(&String::from_utf8_lossy(&output.stdout), &number))
}

/// The devices in a list of `NAME MAJOR:MINOR` lines whose file is on that device.
fn backed_by(list: &str, number: &str) -> Vec<PathBuf> {
    let pairs = list.lines().filter_map(|line| line.split_once(char::is_whitespace));
    pairs.filter(|(_, backing)| backing.trim() == number).map(|(name, _)| PathBuf::from(name)).collect()
}

/// Detach these loop devices.
pub async fn detach_each(devices: Vec<PathBuf>) -> Result<()> {
    for device in devices {
        let output = Command::new("losetup").arg("--detach").arg(&device).output().await;
        let output = output.context("cannot run losetup: install util-linux")?;
        if !output.status.success() && devices_of(|_| true).contains(&device) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loop_devices_over_the_same_disk_are_taken() {
        let list = "/dev/loop0         0:111 \n/dev/loop1       254:0 \n/dev/loop12 0:1110\n";
        assert_eq!(backed_by(list, "0:111"), vec![PathBuf::from("/dev/loop0")]);
    }

    #[test]
    fn a_name_of_storage_becomes_the_name_of_a_file() {
        assert_eq!(backing_file(Path::new("/m"), "data/0"), PathBuf::from("/m/blocks/data-0.img"));
    }
}
