//! The few kinds of mount a machine is made of. Invariant: each works in the caller's own mount namespace only.

use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const NONE: Option<&str> = None;

/// From now on no mount made here is seen by the host; with `follow`, those the host ends are ended here too.
pub fn cut_from_host(follow: bool) -> Result<()> {
    let kind = if follow { MsFlags::MS_SLAVE } else { MsFlags::MS_PRIVATE };
    mount(NONE, "/", NONE, kind | MsFlags::MS_REC, NONE).context("cannot keep mounts from the host")
}

/// Mount a file system of `kind`.
pub fn filesystem(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .with_context(|| format!("cannot mount {kind} at {}", target.display()))
}

/// Show a directory or file at a second place.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("cannot show {} at {}", source.display(), target.display()))
}

/// Show a directory or file at a second place, where it cannot be written to.
pub fn bind_read_only(source: &Path, target: &Path) -> Result<()> {
    bind(source, target)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, target, NONE, flags, NONE)
        .with_context(|| format!("cannot protect {} from writing", target.display()))
}

/// Make `root` the root of this mount namespace and let go of the old one.
pub fn enter_root(root: &Path) -> Result<()> {
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))?;
    // The old root lands on top of the new one, from where it is taken off: no directory is needed for it.
    nix::unistd::pivot_root(".", ".").with_context(|| format!("cannot make {} the root", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot let go of the host's root")?;
    std::env::set_current_dir("/").context("cannot enter the new root")
}

/// Let later mounts be seen in the mount namespaces that come from this one.
pub fn share() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE).context("cannot share the mounts")
}
