//! Paths of a machine's root, before it is anybody's root. Invariant: whatever the machine has made of its directories, the path that
//! comes out is below that root and has no link in it, so that nothing of the host is reached by it.
//!
//! Nothing of the machine runs yet, so nothing changes between the look and the use.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where `path` of the machine with this root is: links are followed as the machine itself would follow them. What is not there
/// is taken as it is named.
///
/// # Errors
/// Links go round in a circle, or a directory cannot be looked at.
pub fn resolve(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut left = words(path);
    let (mut found, mut links) = (PathBuf::new(), 0);
    while let Some(word) = left.pop_front() {
        if word == ".." {
            found.pop();
            continue;
        }
        let here = root.join(&found).join(&word);
        let is_link = match fs::symlink_metadata(&here) {
            Ok(meta) => meta.file_type().is_symlink(),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", here.display())),
        };
        if !is_link {
            found.push(word);
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            bail!("cannot find {} in the machine: its links go round", path.display());
        }
        let target =
            fs::read_link(&here).with_context(|| format!("cannot read the link {}", here.display()))?;
        if target.is_absolute() {
            found = PathBuf::new();
        }
        for word in words(&target).into_iter().rev() {
            left.push_front(word);
        }
    }
    Ok(root.join(found))
}

/// The same, but the last part is not followed: a link is the link.
///
/// # Errors
/// As [`resolve`]; or the path has no last part.
pub fn resolve_parent(root: &Path, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("cannot use {}", path.display()))?;
    Ok(resolve(root, path.parent().unwrap_or(Path::new("")))?.join(name))
}

fn words(path: &Path) -> VecDeque<OsString> {
    let word = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("merged");
        for directory in ["usr/bin", "var/lib", "srv/tmp"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::create_dir(home.path().join("host")).unwrap();
        let link = |target: &str, name: &str| symlink(target, root.join(name)).unwrap();
        link("/srv/tmp", "scratch");
        link(&home.path().join("host").display().to_string(), "opt");
        link("../../../../../../host", "var/out");
        link("bin", "usr/sbin");
        link("loop", "loop");
        let at = |path: &str| resolve(&root, Path::new(path)).unwrap();
        assert_eq!(at("/usr/bin"), root.join("usr/bin"));
        assert_eq!(at("/scratch/x"), root.join("srv/tmp/x"));
        assert_eq!(at("usr/sbin/policy-rc.d"), root.join("usr/bin/policy-rc.d"));
        assert_eq!(at("/var/out"), root.join("host"));
        assert_eq!(at("../../etc"), root.join("etc"));
        let beyond = root.join(home.path().join("host").strip_prefix("/").unwrap());
        assert_eq!(at("opt"), beyond);
        assert!(resolve(&root, Path::new("loop/x")).unwrap_err().to_string().contains("go round"));
        assert_eq!(resolve_parent(&root, Path::new("scratch")).unwrap(), root.join("scratch"));
        assert_eq!(resolve_parent(&root, Path::new("usr/sbin/x")).unwrap(), root.join("usr/bin/x"));
    }
}
