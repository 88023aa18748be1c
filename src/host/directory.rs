//! Whole directories: measured, copied, exchanged. A copy has its name only when all of it is on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::files;

/// Bytes of all files in it.
///
/// # Errors
/// Something in it cannot be read.
pub fn size(directory: impl AsRef<Path>) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size(entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// Copies a directory of directories and plain files to `to`, which must be free, by way of `partial` on the same file
/// system. Owners, modes and the files' times are kept. `partial` of an earlier attempt is removed first; a failed one leaves none.
///
/// # Errors
/// `to` is there, `from` holds something that is neither file nor directory, or the disk is full.
pub fn copy(from: impl AsRef<Path>, partial: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    copy_with(from, None, partial, to)
}

/// The same, with another directory put in the place of the one that has this name in the copy. `part`: the name, and what
/// goes there.
///
/// # Errors
/// As [`copy`].
pub fn copy_with(
    from: impl AsRef<Path>,
    part: Option<(&str, &Path)>,
    partial: impl AsRef<Path>,
    to: impl AsRef<Path>,
) -> Result<()> {
    let partial = partial.as_ref();
    remove_if_exists(partial)?;
    let put = |(name, from): (&str, &Path)| {
        remove_if_exists(partial.join(name))?;
        copy_all(from, &partial.join(name))?;
        File::open(partial)?.sync_all()
    };
    let copied = copy_all(from.as_ref(), partial)
        .and_then(|()| part.map_or(Ok(()), put))
        .and_then(|()| files::publish(partial, to));
    if copied.is_err() {
        // The first error tells more than one about the leftover would.
        let _ = remove_if_exists(partial);
    }
    copied
}

/// Removes a directory with everything in it; fine if there is none.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove_if_exists(path: impl AsRef<Path>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the one place that removes directories")]
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// This path, or with `-2` and so on behind it when something has that name.
///
/// # Errors
/// It cannot be looked at, or a hundred are taken.
pub fn free_name(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref().display();
    for attempt in 1..100 {
        let again = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let name = PathBuf::from(format!("{path}{again}"));
        match fs::symlink_metadata(&name) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(name),
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "cannot find a free name"))
}

/// Makes the names of everything in it durable, and its own.
///
/// # Errors
/// A directory cannot be read, or written to its disk.
pub fn sync(directory: impl AsRef<Path>) -> Result<()> {
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(entry.path())?;
        }
    }
    File::open(directory)?.sync_all()
}

/// Two directories take each other's name in one moment.
///
/// # Errors
/// One is missing, or the file system cannot do it.
pub fn exchange(one: impl AsRef<Path>, other: impl AsRef<Path>) -> Result<()> {
    rustix::fs::renameat_with(CWD, one.as_ref(), CWD, other.as_ref(), RenameFlags::EXCHANGE)?;
    match one.as_ref().parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let meta = fs::metadata(from)?;
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else if kind.is_file() {
            copy_file(&entry.path(), &target)?;
        } else {
            let what = format!("{} is neither a file nor a directory", entry.path().display());
            return Err(Error::new(ErrorKind::InvalidInput, what));
        }
    }
    std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())?;
    File::open(to)?.sync_all()
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from)?;
    let meta = source.metadata()?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source, &mut target)?;
    std::os::unix::fs::fchown(&target, Some(meta.uid()), Some(meta.gid()))?;
    target.set_permissions(fs::Permissions::from_mode(meta.permissions().mode()))?;
    target.set_modified(meta.modified()?)?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_name_is_nobodys() {
        let home = tempfile::tempdir().unwrap();
        let wanted = home.path().join("member.before-1");
        assert_eq!(free_name(&wanted).unwrap(), wanted);
        fs::create_dir(&wanted).unwrap();
        let second = home.path().join("member.before-1-2");
        assert_eq!(free_name(&wanted).unwrap(), second);
        fs::write(&second, "").unwrap();
        assert_eq!(free_name(&wanted).unwrap(), home.path().join("member.before-1-3"));
    }

    #[test]
    fn a_copy_is_whole_and_as_private_or_not_there() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("member/wal")).unwrap();
        fs::write(at("member/wal/0.wal"), [7; 5000]).unwrap();
        fs::write(at("member/db"), "data").unwrap();
        fs::set_permissions(at("member/db"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(at("partial")).unwrap();
        fs::write(at("partial/left"), "by a crash").unwrap();
        assert_eq!(size(at("member")).unwrap(), 5004);

        let written = |name: &str| fs::metadata(at(name)).unwrap().modified().unwrap();
        fs::File::options()
            .write(true)
            .open(at("member/db"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        copy(at("member"), at("partial"), at("kept")).unwrap();
        assert_eq!(written("kept/db"), written("member/db"));
        assert_eq!(fs::read(at("kept/wal/0.wal")).unwrap(), [7; 5000]);
        assert_eq!(fs::metadata(at("kept/db")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!at("partial").exists() && !at("kept/left").exists());

        assert!(copy(at("member"), at("partial"), at("kept")).is_err(), "nothing is overwritten");
        std::os::unix::fs::symlink("/etc/passwd", at("member/link")).unwrap();
        assert!(copy(at("member"), at("partial"), at("other")).is_err());
        assert!(!at("partial").exists() && !at("other").exists());
    }

    #[test]
    fn a_part_from_elsewhere_takes_the_place_of_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for (directory, text) in [("member/wal", "stale"), ("apart", "newest")] {
            fs::create_dir_all(at(directory)).unwrap();
            fs::write(at(directory).join("0.wal"), text).unwrap();
        }
        copy_with(at("member"), Some(("wal", &at("apart"))), at("partial"), at("kept")).unwrap();
        assert_eq!(fs::read_to_string(at("kept/wal/0.wal")).unwrap(), "newest");
        let missing = copy_with(at("member"), Some(("wal", &at("none"))), at("partial"), at("other"));
        assert!(missing.is_err() && !at("partial").exists() && !at("other").exists());
    }

    #[test]
    fn directories_take_each_others_name() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for name in ["one", "other"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("name"), name).unwrap();
        }
        exchange(at("one"), at("other")).unwrap();
        assert_eq!(fs::read(at("one/name")).unwrap(), b"other");
        assert!(exchange(at("one"), at("missing")).is_err());
        remove_if_exists(at("other")).unwrap();
        remove_if_exists(at("other")).unwrap();
        assert!(!at("other").exists());
    }
}
