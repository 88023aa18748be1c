//! The earlier charm's leftovers: taken away once something else is in their place.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::host::{Service, files};
use crate::world::{Leftover, LeftoverKind};

/// Without its program the service does nothing, and by its program it is known: that goes last.
const KICKER_PROGRAM: &str = "/usr/bin/cdk-service-kicker";

/// systemd reads its units again: some of them may be among its rules, or among the mounts.
pub(super) async fn remove(leftovers: &[Leftover]) -> Result<()> {
    let kicker = Service::new("cdk-service-kicker");
    let has_kicker = leftovers.iter().any(|one| one.kind == LeftoverKind::Kicker);
    if has_kicker {
        kicker.disable_now().await.context("cannot stop the earlier charm's service that starts etcd")?;
    }
    for Leftover { path, rest, .. } in leftovers {
        match rest {
            None => {
                files::remove_if_exists(path).with_context(|| format!("cannot remove {}", path.display()))
            }
            Some(rest) => replace(path, rest).with_context(|| format!("cannot write {}", path.display())),
        }?;
    }
    kicker.daemon_reload().await.context("cannot reload systemd")?;
    if has_kicker {
        files::remove_if_exists(KICKER_PROGRAM).with_context(|| format!("cannot remove {KICKER_PROGRAM}"))?;
    }
    Ok(())
}

/// Whose the file is, and who may read it, stays.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    files::write_atomic(path, text.as_bytes(), meta.permissions().mode() & 0o7777)?;
    std::os::unix::fs::lchown(path, Some(meta.uid()), Some(meta.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_lines_is_the_same_otherwise() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("fstab");
        fs::write(&path, "one\ntwo\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(replace(&home.path().join("none"), "").is_err());
    }
}
