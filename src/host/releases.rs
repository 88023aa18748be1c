//! Upstream releases of etcd on this machine, each in a directory of its own; a link says which one runs. Invariant: a
//! directory under its final name is complete, and the link changes in one moment.

use std::fmt;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::{Installed, directory, files};

/// Where they are.
const HOME: &str = "/opt/etcd-releases";
/// The link to the one that runs.
const CURRENT: &str = "current";
/// Digits of its checksum that tell a release from others of the same version.
const DIGITS: usize = 12;

/// A release that was unpacked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What its program says of itself, `3.5.16`.
    pub version: String,
    /// The first digits of the checksum of the tarball that it came from.
    pub id: String,
}

impl Release {
    /// The release of this version from the tarball with this checksum.
    pub fn new(version: &str, digits: &str) -> Release {
        Release { version: version.to_owned(), id: digits.chars().take(DIGITS).collect() }
    }

    /// Whether it came from the tarball with this checksum.
    pub fn is_from(&self, digits: &str) -> bool {
        digits.starts_with(&self.id)
    }

    fn directory(&self) -> String {
        format!("{}-{}", self.version, self.id)
    }

    fn read(directory: &str) -> Option<Release> {
        let (version, id) = directory.rsplit_once('-')?;
        let known = id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (known && !version.starts_with('.'))
            .then(|| Release { version: version.to_owned(), id: id.to_owned() })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "release {}", self.directory())
    }
}

impl From<Release> for Installed {
    fn from(release: Release) -> Installed {
        Installed { revision: release.id, version: release.version }
    }
}

/// The directory of releases.
#[derive(Debug, Clone)]
pub struct Releases {
    home: PathBuf,
}

impl Releases {
    /// This machine's.
    pub fn system() -> Releases {
        Releases::at(HOME)
    }

    /// Those in `home`.
    pub fn at(home: impl Into<PathBuf>) -> Releases {
        Releases { home: home.into() }
    }

    /// Where they are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The link to the one that runs: what a service names.
    pub fn current_path(&self) -> PathBuf {
        self.home.join(CURRENT)
    }

    /// Where a release is, or will be.
    pub fn path(&self, release: &Release) -> PathBuf {
        self.home.join(release.directory())
    }

    /// The one that runs; `None` only if there is no link.
    ///
    /// # Errors
    /// It cannot be read, or leads somewhere else.
    pub fn current(&self) -> Result<Option<Release>> {
        let target = match std::fs::read_link(self.current_path()) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let release = target.to_str().and_then(Release::read);
        release.map(Some).ok_or_else(|| std::io::Error::other(format!("it leads to {}", target.display())))
    }

    /// All that are complete.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn all(&self) -> Result<Vec<Release>> {
        Ok(files::list(&self.home)?.iter().filter_map(|name| Release::read(name)).collect())
    }

    /// Makes this the one that runs from the next start on.
    ///
    /// # Errors
    /// The link cannot be written; the old one is then still there.
    pub fn switch_to(&self, release: &Release) -> Result<()> {
        let next = self.home.join(format!(".{CURRENT}.new"));
        files::remove_if_exists(&next)?;
        std::os::unix::fs::symlink(release.directory(), &next)?;
        std::fs::rename(&next, self.current_path())?;
        std::fs::File::open(&self.home)?.sync_all()
    }

    /// Removes all but these; programs only, no data is ever in there.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub fn keep_only(&self, keep: &[&Release]) -> Result<()> {
        for release in self.all()?.iter().filter(|release| !keep.contains(release)) {
            directory::remove_if_exists(self.path(release))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "abcdef0123456789abcdef0123456789abcdef01";

    #[test]
    fn the_link_names_the_release_that_runs() {
        let home = tempfile::tempdir().unwrap();
        let releases = Releases::at(home.path());
        assert_eq!(releases.current().unwrap(), None);
        let (old, new) = (Release::new("3.4.23", SUM), Release::new("3.5.16", &SUM[2..]));
        for release in [&old, &new] {
            std::fs::create_dir(releases.path(release)).unwrap();
            releases.switch_to(release).unwrap();
            assert_eq!(releases.current().unwrap().as_ref(), Some(release));
        }
        assert!(new.is_from(&SUM[2..]) && !new.is_from(SUM));
        std::fs::create_dir(home.path().join(".incoming")).unwrap();
        assert_eq!(releases.all().unwrap(), [old, new.clone()]);
        releases.keep_only(&[&new]).unwrap();
        assert_eq!(releases.all().unwrap(), [new]);
    }

    #[test]
    fn a_link_to_elsewhere_is_not_taken_for_none() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin", home.path().join(CURRENT)).unwrap();
        assert!(Releases::at(home.path()).current().is_err());
        assert!(Releases::at(home.path().join("none")).all().unwrap().is_empty());
    }
}
