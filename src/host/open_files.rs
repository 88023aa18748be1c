//! The files that a service's processes have open: what a server really uses, whatever its configuration file says by now.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A service's main program may be a script that waits for the real one.
const GENERATIONS: usize = 4;

/// Paths of the regular files that the process and its children have open, as far as this host finds the same files there.
///
/// # Errors
/// The process's own list cannot be read.
pub fn open_files(pid: u32) -> Result<BTreeSet<PathBuf>> {
    let mut found = open_in(pid)?;
    let mut generation = children(pid);
    for _ in 0..GENERATIONS {
        // A child that has just ended has nothing open.
        generation.iter().for_each(|child| found.extend(open_in(*child).unwrap_or_default()));
        generation = generation.into_iter().flat_map(children).collect();
    }
    Ok(found)
}

fn open_in(pid: u32) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let link = entry?.path();
        match fs::read_link(&link) {
            Ok(path) if is_the_same(&link, &path) => found.insert(path),
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
    }
    Ok(found)
}

/// Sockets, deleted files, and files that another mount namespace has under this name are none of this host's.
fn is_the_same(link: &Path, path: &Path) -> bool {
    let (Ok(open), Ok(here)) = (fs::metadata(link), fs::symlink_metadata(path)) else { return false };
    here.is_file() && (open.dev(), open.ino()) == (here.dev(), here.ino())
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_where_they_are_now() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().canonicalize().unwrap().join(name);
        let _open = fs::File::create(at("open")).unwrap();
        let _deleted = fs::File::create(at("deleted")).unwrap();
        fs::remove_file(at("deleted")).unwrap();
        fs::write(at("closed"), "").unwrap();
        let found = open_files(std::process::id()).unwrap();
        let here: Vec<&PathBuf> = found.iter().filter(|path| path.starts_with(home.path())).collect();
        assert_eq!(here, [&at("open")]);
        assert!(open_files(u32::MAX).is_err());
    }
}
