//! The file system that a machine sees. Invariants: no path of the machine is followed out of its root; nothing in it but the juju directory, the snap cache and the machine's own
//! block devices can change a file of the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::boot::BootSpec;
use super::disk::Layer;
use super::inside::{resolve, resolve_parent};
use super::mounts;

/// Major number of loop devices.
pub const LOOP_MAJOR: u64 = 7;

/// Build the root of the machine in this mount namespace; returns where it is.
pub fn build(spec: &BootSpec, layers: &[Layer]) -> Result<PathBuf> {
    let root = spec.disk.join("merged");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    for layer in layers {
        layer.mount(&resolve(&root, &layer.path)?)?;
    }
    empty_temporary(&root)?;
    match fs::remove_file(resolve_parent(&root, Path::new("usr/sbin/policy-rc.d"))?) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot let packages start services");
        }
        _ => {}
    }
    let at = |path: &str| resolve(&root, Path::new(path));
    mounts::filesystem("sysfs", &at("sys")?, read_only_system(), "")?;
    devices(&at("dev")?, spec)?;
    runtime_directory(&at("run")?, spec)?;
    mounts::bind(&spec.juju, &at("var/lib/juju")?)?;
    Ok(root)
}

fn read_only_system() -> MsFlags {
    MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

/// A boot finds `/tmp` empty. What a link leads to is something else, and stays.
fn empty_temporary(root: &Path) -> Result<()> {
    let directory = resolve_parent(root, Path::new("tmp"))?;
    if fs::symlink_metadata(&directory).is_ok_and(|meta| meta.is_symlink()) {
        return Ok(());
    }
    for entry in fs::read_dir(&directory).context("cannot list /tmp")? {
        let entry = entry.context("cannot list /tmp")?;
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot empty {}", path.display()))?;
    }
    Ok(())
}

fn devices(directory: &Path, spec: &BootSpec) -> Result<()> {
    const CHARACTER: [(&str, u64, u64); 7] = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
        ("fuse", 10, 229),
    ];
    const LINKS: [(&str, &str); 5] = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    mounts::filesystem("tmpfs", directory, MsFlags::MS_NOSUID, "mode=755,size=64k")?;
    for (name, major, minor) in CHARACTER {
        node(&directory.join(name), SFlag::S_IFCHR, 0o666, major, minor)?;
    }
    loop_nodes(directory)?;
    for device in &spec.blocks {
        loop_node(directory, device)?;
    }
    for (name, target) in LINKS {
        symlink(target, directory.join(name)).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(directory.join(name)).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mounts::filesystem("devpts", &directory.join("pts"), safe, "mode=620,gid=5,ptmxmode=666")?;
    mounts::filesystem("tmpfs", &directory.join("shm"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")
}

fn node(path: &Path, kind: SFlag, mode: u32, major: u64, minor: u64) -> Result<()> {
    mknod(path, kind, Mode::from_bits_truncate(mode), makedev(major, minor))
        .with_context(|| format!("cannot make the device {}", path.display()))?;
    // The process's umask has taken bits away.
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
        .with_context(|| format!("cannot make the device {}", path.display()))
}

/// Make the nodes that programs need for loop devices of their own.
pub fn loop_nodes(directory: &Path) -> Result<()> {
    node(&directory.join("loop-control"), SFlag::S_IFCHR, 0o660, 10, 237)?;
    (0..8).try_for_each(|minor| loop_node(directory, Path::new(&format!("loop{minor}"))))
}

/// Make the node of a loop device (`/dev/loop12`) in a `/dev` directory, unless it is there.
pub fn loop_node(directory: &Path, device: &Path) -> Result<()> {
    let name = device.file_name().context("cannot read the name of a loop device")?;
    let place = directory.join(name);
    if place.exists() {
        return Ok(());
    }
    let text = name.to_string_lossy();
    let minor = text.strip_prefix("loop").and_then(|number| number.parse().ok());
    let minor = minor.with_context(|| format!("cannot read {} as a loop device", device.display()))?;
    node(&place, SFlag::S_IFBLK, 0o660, LOOP_MAJOR, minor)
}

fn runtime_directory(directory: &Path, spec: &BootSpec) -> Result<()> {
    mounts::filesystem("tmpfs", directory, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    // Packages ask for /run/systemd/system to learn whether services can be started here.
    for name in ["systemd/system", "lock", "juju-sim/bin", "juju-sim/store", "juju-sim/snaps"] {
        fs::create_dir_all(directory.join(name)).with_context(|| format!("cannot make /run/{name}"))?;
    }
    for source in [&spec.store, &spec.cache] {
        fs::create_dir_all(source).with_context(|| format!("cannot make {}", source.display()))?;
    }
    mounts::bind_read_only(&spec.bin, &directory.join("juju-sim/bin"))?;
    mounts::bind_read_only(&spec.store, &directory.join("juju-sim/store"))?;
    mounts::bind(&spec.cache, &directory.join("juju-sim/snaps"))
}

/// Mount `/proc` for the machine's own process namespace, with the host's settings out of reach.
pub fn mount_proc(root: &Path) -> Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let proc = resolve(root, Path::new("proc"))?;
    mounts::filesystem("proc", &proc, safe, "")?;
    // /proc/sys/net belongs to the machine's network namespace; the rest of /proc/sys is the host's.
    let held = resolve(root, Path::new("run/juju-sim/net"))?;
    fs::create_dir_all(&held).context("cannot make /run/juju-sim/net")?;
    mounts::bind(&proc.join("sys/net"), &held)?;
    mounts::bind_read_only(&proc.join("sys"), &proc.join("sys"))?;
    mounts::bind(&held, &proc.join("sys/net"))?;
    nix::mount::umount(&held).context("cannot release /run/juju-sim/net")?;
    let trigger = proc.join("sysrq-trigger");
    if trigger.exists() {
        mounts::bind_read_only(&trigger, &trigger)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_that_is_a_link_empties_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (root, host) = (home.path().join("merged"), home.path().join("host"));
        for directory in [&root, &host] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(host.join("kept"), "").unwrap();
        symlink(&host, root.join("tmp")).unwrap();
        empty_temporary(&root).unwrap();
        assert!(host.join("kept").exists());

        fs::remove_file(root.join("tmp")).unwrap();
        fs::create_dir_all(root.join("tmp/inside")).unwrap();
        symlink(&host, root.join("tmp/link")).unwrap();
        empty_temporary(&root).unwrap();
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        assert!(host.join("kept").exists());
    }
}
