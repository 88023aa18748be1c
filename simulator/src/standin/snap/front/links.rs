//! The store's numbers in the file system: `/snap/NAME/230` beside snapd's own `/snap/NAME/x1`, and `current` at one of them.
//! Invariant: `current` keeps the time at which snapd made it, for that is when one revision took over from another.

use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::super::{Done, error};
use super::record::Numbers;

/// Where snapd and the numbers' links are.
#[derive(Debug, Clone, Copy)]
pub struct Links<'a> {
    pub root: &'a Path,
    pub name: &'a str,
}

impl Links<'_> {
    /// Show each revision under its number too, and the one in use by it alone.
    pub fn show(self, numbers: &Numbers) -> Done {
        let all = || {
            for (revision, number) in numbers {
                for (link, target) in self.pairs(revision, number) {
                    // The snap's directories go with its last revision.
                    if link.parent().is_some_and(Path::is_dir) {
                        point(&link, &target)?;
                    }
                }
            }
            match self.pointed()? {
                Some(revision) if numbers.contains_key(&revision) => {
                    point(&self.current(), &numbers[&revision])
                }
                _ => Ok(()),
            }
        };
        all().map_err(|reason| self.failed(&reason))
    }

    /// Let `current` be as snapd made it.
    pub fn hide(self, numbers: &Numbers) -> Done {
        match self.in_use(numbers)? {
            Some(revision) => point(&self.current(), &revision).map_err(|reason| self.failed(&reason)),
            None => Ok(()),
        }
    }

    /// Take the links of a number away.
    pub fn remove(self, revision: &str, number: &str) -> Done {
        let mut links = self.pairs(revision, number).into_iter();
        let removed = links.try_for_each(|(link, _)| match fs::remove_file(link) {
            Err(reason) if reason.kind() != ErrorKind::NotFound => Err(reason),
            _ => Ok(()),
        });
        removed.map_err(|reason| self.failed(&reason))
    }

    /// snapd's revision in use, whichever name `current` has for it.
    pub fn in_use(self, numbers: &Numbers) -> Done<Option<String>> {
        let pointed = self.pointed().map_err(|reason| self.failed(&reason))?;
        Ok(pointed.map(|target| {
            let revision = numbers.iter().find(|(_, number)| **number == target);
            revision.map_or(target.clone(), |(revision, _)| revision.clone())
        }))
    }

    /// Whether snapd still has a revision.
    pub fn has(self, revision: &str) -> bool {
        self.root.join("var/lib/snapd/snaps").join(format!("{}_{revision}.snap", self.name)).exists()
    }

    fn current(self) -> PathBuf {
        self.root.join("snap").join(self.name).join("current")
    }

    fn pointed(self) -> Result<Option<String>> {
        match fs::read_link(self.current()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(reason) if reason.kind() == ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    /// What `snap run` looks for by the number: what is mounted, the data, the file.
    fn pairs(self, revision: &str, number: &str) -> [(PathBuf, String); 3] {
        let name = self.name;
        [
            (self.root.join("snap").join(name).join(number), revision.to_owned()),
            (self.root.join("var/snap").join(name).join(number), revision.to_owned()),
            (
                self.root.join("var/lib/snapd/snaps").join(format!("{name}_{number}.snap")),
                format!("{name}_{revision}.snap"),
            ),
        ]
    }

    fn failed(self, reason: &std::io::Error) -> super::super::Failure {
        error(format!("cannot give snap \"{}\" its numbers: {reason}", self.name))
    }
}

/// Point a link somewhere else; it keeps its time.
fn point(link: &Path, target: &str) -> Result<()> {
    let old = match fs::symlink_metadata(link) {
        Ok(meta) if fs::read_link(link)? == Path::new(target) && meta.is_symlink() => return Ok(()),
        Ok(meta) => Some(meta),
        Err(reason) if reason.kind() == ErrorKind::NotFound => None,
        Err(reason) => return Err(reason),
    };
    let beside = link.with_file_name(format!(".{}.new", link.file_name().unwrap_or_default().display()));
    match fs::remove_file(&beside) {
        Err(reason) if reason.kind() != ErrorKind::NotFound => return Err(reason),
        _ => {}
    }
    symlink(target, &beside)?;
    if let Some(old) = old {
        let time = Timespec { tv_sec: old.mtime(), tv_nsec: old.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &beside, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    fs::rename(&beside, link)
}
