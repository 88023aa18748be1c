//! `/etc/fstab` and what is mounted. Invariant: only text is looked at here; mounting is done by the `mount` program.

use std::path::{Path, PathBuf};

/// A line of `/etc/fstab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// Mounted at boot.
    pub automatic: bool,
    /// Whether the boot goes on when it cannot be mounted.
    pub may_fail: bool,
}

/// The file systems in an fstab; swap and root are left out.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, path, kind, rest @ ..] = fields.as_slice() else { continue };
        if !path.starts_with('/') || *path == "/" || *kind == "swap" {
            continue;
        }
        let options: Vec<&str> = rest.first().copied().unwrap_or("defaults").split(',').collect();
        entries.push(Entry {
            path: PathBuf::from(path.replace("\\040", " ")),
            automatic: !options.contains(&"noauto"),
            may_fail: options.contains(&"nofail"),
        });
    }
    entries
}

/// Mount points in a mountinfo table (`/proc/self/mountinfo`).
pub fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| PathBuf::from(point.replace("\\040", " "))).collect()
}

/// Whether something is mounted there now.
pub fn is_mounted(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_points(&table).iter().any(|point| point == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_whether_a_boot_mounts_it_and_whether_it_may_fail() {
        let entries = parse(
            "# c\nUUID=1 / ext4 defaults 0 1\n/dev/loop1 /media/etcd ext4 noatime,nofail 0 2\n/swap none swap sw 0 0\n/dev/sdb /a\\040b xfs noauto\n",
        );
        assert_eq!(
            entries,
            vec![
                Entry { path: "/media/etcd".into(), automatic: true, may_fail: true },
                Entry { path: "/a b".into(), automatic: false, may_fail: false },
            ]
        );
    }

    #[test]
    fn mount_points_are_the_fifth_field() {
        let table =
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 7:1 / /media/my\\040disk rw - ext4 /dev/loop1 rw\n";
        assert_eq!(mount_points(table), vec![PathBuf::from("/"), PathBuf::from("/media/my disk")]);
    }
}
