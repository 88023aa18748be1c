//! Copies of data that were set aside: in both data directories, and where they are kept out of snapd's reach.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::decide;
use crate::host::{directory, files};
use crate::state;
use crate::storage;
use crate::world::{Kept, KeptCopy};

/// What cannot be looked at is not told of: nothing depends on it.
pub(super) fn kept() -> Kept {
    let near = device(Path::new(state::HOME));
    let kept = state::kept();
    let homes = [(decide::DATA, false), (storage::DATA, false), (kept.as_str(), true)];
    let mut disks: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut copies = Vec::new();
    for (home, is_all) in homes {
        let names = files::list(home).unwrap_or_default();
        for name in names.iter().filter(|name| is_all || is_copy(name)) {
            let path = Path::new(home).join(name);
            let (Some(disk), Ok(bytes)) = (device(&path), directory::size(&path)) else { continue };
            let total = files::total_bytes(&path).unwrap_or(u64::MAX);
            disks.entry(disk).or_insert((0, total)).0 += bytes;
            copies.push(KeptCopy { path: path.display().to_string(), bytes, is_near: near == Some(disk) });
        }
    }
    let percent = |(bytes, total): &(u64, u64)| bytes.saturating_mul(100) / (*total).max(1);
    Kept { copies, percent: disks.values().map(percent).max().unwrap_or(0) }
}

/// As this charm and earlier ones name what is beside the member's data.
fn is_copy(name: &str) -> bool {
    let is_beside = name.starts_with("member.") || name.starts_with("wal.moved-");
    is_beside || name.ends_with(".etcd") || name.contains(".etcd.moved-")
}

fn device(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir).map(|meta| meta.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_by_their_names_and_nothing_else_is_one() {
        for name in
            ["member.removed-20240229T123456Z", "member.before-restore-1", "wal.moved-1", "etcd0.etcd"]
        {
            assert!(is_copy(name), "{name}");
        }
        for name in ["member", ".member.partial", "restore.new", "wal", "snapshot"] {
            assert!(!is_copy(name), "{name}");
        }
    }
}
