//! The disk of a machine: a tmpfs of bounded size that holds the upper layers of its overlays, filled once with what makes
//! the machine a fresh one. Invariant: it is mounted in the holder's mount namespace, so it outlives the machine's processes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use rustix::fs::XattrFlags;

use super::boot::{BootSpec, System};
use super::{mounts, network};

/// Size of a machine's disk. It is only taken from memory as it is filled.
pub const DISK_KIB: u64 = 4 * 1024 * 1024;

/// One directory tree of the host that a machine sees with its own changes on top.
#[derive(Debug)]
pub struct Layer {
    /// The tree, on the host.
    pub source: PathBuf,
    /// Where the machine sees it, absolute.
    pub path: PathBuf,
    /// Directory on the disk with the two directories that overlayfs wants.
    pub place: PathBuf,
}

impl Layer {
    /// Where the changes are kept.
    pub fn upper(&self) -> PathBuf {
        self.place.join("upper")
    }

    /// Mount the overlay at `target`.
    pub fn mount(&self, target: &Path) -> Result<()> {
        // Relative paths keep any comma in the model's directory out of the mount options.
        std::env::set_current_dir(&self.place)
            .with_context(|| format!("cannot enter {}", self.place.display()))?;
        let options = format!("lowerdir={},upperdir=upper,workdir=work", self.source.display());
        let mounted = mounts::filesystem("overlay", target, MsFlags::empty(), &options);
        std::env::set_current_dir("/").context("cannot enter /")?;
        mounted
    }
}

/// The layers of a machine: the root of its image; or the host's, and every other disk of the host under a directory of the system.
fn layers(spec: &BootSpec) -> Result<Vec<Layer>> {
    let place = spec.disk.join("root");
    let mut layers = match &spec.system {
        System::Image { root, .. } => {
            return Ok(vec![Layer { source: root.clone(), path: "/".into(), place }]);
        }
        System::Host => vec![Layer { source: "/".into(), path: "/".into(), place }],
    };
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot list the mounts")?;
    for path in system_mounts(&table) {
        let name = path.trim_start_matches('/').replace('/', "-");
        let place = spec.disk.join("mounts").join(name);
        layers.push(Layer { source: path.clone().into(), path: path.into(), place });
    }
    Ok(layers)
}

/// Mount points under the system's own directories with real file systems, in the order they were mounted.
fn system_mounts(table: &str) -> Vec<String> {
    const DIRECTORIES: [&str; 9] =
        ["/usr", "/etc", "/var", "/opt", "/srv", "/bin", "/sbin", "/lib", "/lib64"];
    const KINDS: [&str; 9] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "bcachefs"];
    // These are empty in every machine whatever the host has there.
    const HIDDEN: [&str; 5] =
        ["/var/lib/snapd", "/var/snap", "/var/lib/juju", "/var/lib/docker", "/var/lib/containers"];
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(path), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let inside = |top: &str| Path::new(path).starts_with(top);
        let wanted = KINDS.contains(&kind)
            && DIRECTORIES.iter().any(|top| inside(top))
            && !HIDDEN.iter().any(|top| inside(top));
        if wanted && Path::new(path).is_dir() && !found.iter().any(|known| known == path) {
            found.push(path.to_owned());
        }
    }
    found
}

/// Try an overlay over the host's root and a wired network, below a fresh tmpfs.
pub fn try_overlay(place: &Path) -> Result<()> {
    for name in ["upper", "work", "root"] {
        fs::create_dir(place.join(name)).context("cannot make a directory")?;
    }
    mark_opaque(&place.join("upper"))?;
    let layer = Layer { source: "/".into(), path: "/".into(), place: place.to_owned() };
    layer.mount(&place.join("root"))?;
    network::make_switch()?;
    network::ip("link add eth0 type veth peer name port0\n")
}

/// Make the disk if this machine has none yet.
pub fn prepare(spec: &BootSpec) -> Result<Vec<Layer>> {
    let layers = layers(spec)?;
    if spec.disk.join("made").exists() {
        return Ok(layers);
    }
    fs::create_dir_all(&spec.disk).with_context(|| format!("cannot make {}", spec.disk.display()))?;
    mounts::filesystem("tmpfs", &spec.disk, MsFlags::empty(), &format!("size={DISK_KIB}k,mode=755"))?;
    for layer in &layers {
        for directory in [layer.upper(), layer.place.join("work")] {
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        copy_mode(&layer.source, &layer.upper())?;
    }
    let fresh = Fresh { layers: &layers };
    match spec.system {
        System::Host => fresh.fill_light(spec)?,
        System::Image { .. } => fresh.fill_full(spec)?,
    }
    // Only a disk with this mark is complete: a boot that died half-way is done again.
    fs::write(spec.disk.join("made"), "").context("cannot mark the disk")?;
    Ok(layers)
}

/// Writes into the upper layers, before they are mounted.
struct Fresh<'a> {
    layers: &'a [Layer],
}

impl Fresh<'_> {
    /// An image is empty of whatever a machine should not have: only its name and the way to the snap store are new.
    fn fill_full(&self, spec: &BootSpec) -> Result<()> {
        self.identity(spec)?;
        self.link_to_program(Path::new("/usr/local/bin/snap"))
    }

    fn fill_light(&self, spec: &BootSpec) -> Result<()> {
        const EMPTY: [(&str, u32); 20] = [
            ("/dev", 0o755),
            ("/proc", 0o555),
            ("/sys", 0o555),
            ("/run", 0o755),
            ("/tmp", 0o1777),
            ("/var/tmp", 0o1777),
            ("/root", 0o700),
            ("/home", 0o755),
            ("/media", 0o755),
            ("/mnt", 0o755),
            ("/snap", 0o755),
            ("/var/snap", 0o755),
            ("/var/lib/snapd", 0o755),
            ("/var/lib/juju", 0o755),
            ("/var/lib/juju-sim", 0o755),
            ("/var/log/journal", 0o755),
            ("/etc/systemd/system", 0o755),
            ("/etc/ssl/certs", 0o755),
            ("/etc/ca-certificates/update.d", 0o755),
            ("/usr/local/share/ca-certificates", 0o755),
        ];
        for (path, mode) in EMPTY {
            self.empty_directory(Path::new(path), mode)?;
        }
        for path in spec.hide.iter().filter(|path| path.is_dir()) {
            self.empty_directory(path, 0o755)?;
        }
        self.identity(spec)?;
        self.file("/etc/fstab", "# made by juju-sim\n", 0o644)?;
        // No public authority is in reach of a machine, and renewing a store of them takes seconds.
        self.file("/etc/ca-certificates.conf", "", 0o644)?;
        self.user_ubuntu()?;
        ["systemctl", "journalctl", "snap"]
            .iter()
            .try_for_each(|name| self.link_to_program(&Path::new("/usr/bin").join(name)))
    }

    fn identity(&self, spec: &BootSpec) -> Result<()> {
        self.file("/etc/hostname", &format!("{}\n", spec.hostname), 0o644)?;
        self.file("/etc/hosts", &hosts(&spec.hostname), 0o644)?;
        self.file("/etc/machine-id", &format!("{}\n", uuid::Uuid::new_v4().simple()), 0o444)
    }

    /// A program that juju-sim stands in for, by its name.
    fn link_to_program(&self, path: &Path) -> Result<()> {
        let link = self.parent(path)?;
        symlink("/run/juju-sim/bin/juju-sim", &link)
            .with_context(|| format!("cannot make {}", link.display()))
    }

    /// Where `path` is kept on the disk, with its parent directories made.
    fn parent(&self, path: &Path) -> Result<PathBuf> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let (below, on_disk) = self.places(parent)?;
        if !on_disk.exists() {
            // The upper directory's mode is the one that is seen: take over that of the layer below.
            self.parent(parent)?;
            fs::create_dir(&on_disk).with_context(|| format!("cannot make {}", on_disk.display()))?;
            copy_mode(&below, &on_disk)?;
        }
        Ok(self.places(path)?.1)
    }

    /// Where a path of the machine is in the layer that has it: on the host, and on the disk.
    fn places(&self, path: &Path) -> Result<(PathBuf, PathBuf)> {
        let layer = self.layers.iter().rev().find(|layer| path.starts_with(&layer.path));
        let layer = layer.context("cannot find the layer of a path")?;
        let rest = path.strip_prefix(&layer.path).context("cannot find the layer of a path")?;
        if rest.as_os_str().is_empty() {
            return Ok((layer.source.clone(), layer.upper()));
        }
        Ok((layer.source.join(rest), layer.upper().join(rest)))
    }

    /// A directory through which nothing of the host is seen.
    fn empty_directory(&self, path: &Path, mode: u32) -> Result<()> {
        let on_disk = self.parent(path)?;
        fs::create_dir_all(&on_disk)
            .and_then(|()| fs::set_permissions(&on_disk, Permissions::from_mode(mode)))
            .with_context(|| format!("cannot make {}", on_disk.display()))?;
        mark_opaque(&on_disk)
    }

    fn file(&self, path: &str, content: &str, mode: u32) -> Result<()> {
        let on_disk = self.parent(Path::new(path))?;
        fs::write(&on_disk, content)
            .and_then(|()| fs::set_permissions(&on_disk, Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {}", on_disk.display()))
    }

    /// The account that cloud images have; its home is empty.
    fn user_ubuntu(&self) -> Result<()> {
        let users = fs::read_to_string("/etc/passwd").context("cannot read the host's users")?;
        let groups = fs::read_to_string("/etc/group").context("cannot read the host's groups")?;
        let home = self.parent(Path::new("/home/ubuntu"))?;
        let existing = numeric_ids(&users, "ubuntu");
        let (user, group) = existing.unwrap_or_else(|| {
            let free = free_id(&users, &groups);
            (free, free)
        });
        if existing.is_none() {
            self.file(
                "/etc/passwd",
                &format!("{users}ubuntu:x:{user}:{group}::/home/ubuntu:/bin/bash\n"),
                0o644,
            )?;
            self.file("/etc/group", &format!("{groups}ubuntu:x:{group}:\n"), 0o644)?;
        }
        fs::create_dir_all(&home)
            .and_then(|()| std::os::unix::fs::chown(&home, Some(user), Some(group)))
            .with_context(|| format!("cannot make {}", home.display()))
    }
}

fn hosts(hostname: &str) -> String {
    format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n")
}

/// User and group id of an account in a passwd table.
fn numeric_ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The first number from 1000 up that neither a user nor a group has.
fn free_id(users: &str, groups: &str) -> u32 {
    let taken: Vec<u32> = users
        .lines()
        .chain(groups.lines())
        .filter_map(|line| line.split(':').nth(2))
        .filter_map(|text| text.parse().ok())
        .collect();
    (1000..60000).find(|id| !taken.contains(id)).unwrap_or(60000)
}

fn copy_mode(from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::metadata(from);
    let mode = metadata.map_or(0o755, |metadata| metadata.permissions().mode());
    fs::set_permissions(to, Permissions::from_mode(mode))
        .with_context(|| format!("cannot make {}", to.display()))
}

/// Tell overlayfs that what the lower layer has in this directory is not to be seen.
fn mark_opaque(path: &Path) -> Result<()> {
    rustix::fs::setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .with_context(|| format!("cannot hide the host's files below {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_file_systems_under_system_directories_become_layers() {
        let table = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 8:2 / /usr rw shared:1 - ext4 /dev/sda2 rw
25 22 0:9 / /var/lib/docker rw - ext4 /dev/sdb rw
26 22 0:7 / /usr/share/x rw - tmpfs tmpfs rw
27 22 0:8 / /data rw - ext4 /dev/sdc rw";
        assert_eq!(system_mounts(table), vec!["/usr".to_owned()]);
    }

    #[test]
    fn the_account_gets_a_number_that_is_free_for_users_and_groups() {
        let users = "root:x:0:0::/root:/bin/sh\na:x:1000:1000::/:/bin/sh\n";
        assert_eq!(free_id(users, "b:x:1001:\n"), 1002);
        assert_eq!(numeric_ids(users, "a"), Some((1000, 1000)));
        assert_eq!(numeric_ids(users, "ubuntu"), None);
    }
}
