//! Mount units, and the file systems that a service needs (`RequiresMountsFor=`, `/etc/fstab`). Invariant: whether something is
//! mounted is asked of the kernel, never remembered.

use std::path::{Path, PathBuf};

use super::limits::Exit;
use super::spawn::Launch;
use super::unit::Host;
use crate::standin::fstab;
use crate::standin::units::spec::MountSpec;

/// How often systemd unmounts one place.
const UNMOUNTS_MAX: u32 = 32;

/// How an attempt to mount something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Mounted,
    Refused,
    /// systemd would wait for it and then give up.
    WithoutDevice,
}

/// Mount what a unit describes.
pub async fn mount(host: &Host, unit: &str, spec: &MountSpec) -> Attempt {
    if fstab::is_mounted(&spec.place) {
        return Attempt::Mounted;
    }
    let was_there = spec.place.exists();
    if let Err(error) = std::fs::create_dir_all(&spec.place) {
        host.log(unit, format!("{unit}: Failed to make {}: {error}", spec.place.display()));
        return Attempt::Refused;
    }
    let mut words = vec!["/bin/mount".to_owned()];
    if let Some(kind) = spec.kind.as_ref().filter(|kind| kind.as_str() != "none") {
        words.extend(["-t".to_owned(), kind.clone()]);
    }
    if let Some(options) = &spec.options {
        words.extend(["-o".to_owned(), options.clone()]);
    }
    words.extend([source(&spec.what), spec.place.display().to_string()]);
    // The links that udev makes are always current. The cache of tags trusts itself for two seconds and needs not be there.
    drop(std::fs::remove_file("/run/blkid/blkid.tab"));
    // With the option nofail the program ends well without the device; systemd finds out ("protocol").
    let refused = run(host, unit, words).await.err();
    let is_missing = |said: &String| said.contains("can't find ") || said.contains("special device ");
    match refused {
        None if fstab::is_mounted(&spec.place) => Attempt::Mounted,
        Some(said) if is_missing(&said) => {
            // Nothing was made for a device that never came.
            if !was_there {
                drop(std::fs::remove_dir(&spec.place));
            }
            Attempt::WithoutDevice
        }
        _ => Attempt::Refused,
    }
}

/// Unmount it; `false` when the `umount` program refused.
pub async fn unmount(host: &Host, unit: &str, spec: &MountSpec) -> bool {
    let how = if spec.lazy { "--lazy" } else { "--" };
    let words = vec!["/bin/umount".to_owned(), how.to_owned(), spec.place.display().to_string()];
    // Several may lie on top of each other.
    for _ in 0..UNMOUNTS_MAX {
        if !fstab::is_mounted(&spec.place) {
            return true;
        }
        if run(host, unit, words.clone()).await.is_err() {
            return false;
        }
    }
    false
}

/// Mount an entry of `/etc/fstab`.
pub async fn mount_entry(host: &Host, unit: &str, place: &Path) -> bool {
    fstab::is_mounted(place)
        || run(host, unit, vec!["/bin/mount".to_owned(), place.display().to_string()]).await.is_ok()
}

/// The links of `/dev/disk` are made by udev, which a light machine lacks: `mount` finds the device by the same tag.
fn source(what: &str) -> String {
    let tags = [
        ("/dev/disk/by-uuid/", "UUID"),
        ("/dev/disk/by-label/", "LABEL"),
        ("/dev/disk/by-partuuid/", "PARTUUID"),
    ];
    let tag =
        tags.iter().find_map(|(prefix, tag)| what.strip_prefix(prefix).map(|value| format!("{tag}={value}")));
    tag.unwrap_or_else(|| what.to_owned())
}

/// Entries of an fstab that are needed for `path`, outermost first.
pub fn needed_entries(text: &str, path: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = fstab::parse(text).into_iter().map(|entry| entry.path).collect();
    places.retain(|place| path.starts_with(place));
    places.sort_by_key(|place| place.components().count());
    places
}

/// Run a program to its end; if it refuses, what it said.
async fn run(host: &Host, unit: &str, words: Vec<String>) -> Result<(), String> {
    let environment = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];
    let environment =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let started = match host.reaper.start(&Launch { words, environment, ..Launch::default() }) {
        Ok(started) => started,
        Err(error) => {
            host.log(unit, format!("{unit}: {error:#}"));
            return Err(String::new());
        }
    };
    let ended = started.exit.await;
    let said = std::io::read_to_string(started.output).unwrap_or_default();
    for line in said.lines() {
        host.write(unit, "mount", started.pid, line.to_owned());
    }
    if ended == Ok(Exit::Code(0)) { Ok(()) } else { Err(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_file_systems_above_the_path_are_needed_for_it() {
        let text = "/dev/a /media/etcd/wal ext4\n/dev/b /media/etcd ext4\n/dev/c /media/other ext4\n";
        let expected = vec![PathBuf::from("/media/etcd"), PathBuf::from("/media/etcd/wal")];
        assert_eq!(needed_entries(text, Path::new("/media/etcd/wal/x")), expected);
    }

    #[test]
    fn a_device_named_by_its_uuid_is_found_without_udev() {
        assert_eq!(source("/dev/disk/by-uuid/ab-12"), "UUID=ab-12");
        assert_eq!(source("/dev/loop3"), "/dev/loop3");
    }
}
