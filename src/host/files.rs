//! Files of this machine. A file appears whole or not at all, with its final mode from the first byte; data is moved
//! aside within its directory, never overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::clock;

/// Whether a write found something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file is new or different now.
    Changed,
    /// It was like that already and was not touched.
    Same,
}

/// The longest file that is read whole, bytes. What this charm reads is far smaller.
const READ_BYTES_MAX: u64 = 16 << 20;

/// A regular file's content; `None` only if there is no such file. A link is not followed: others can write in some of the
/// directories, and this process may read everything.
///
/// # Errors
/// Everything else that keeps it from being read; also that it is no regular file, or longer than 16 MiB.
pub fn read(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    absent_is_none(read_regular(path.as_ref(), OFlags::NOFOLLOW))
}

/// The same of a file that an operator names, who may name a link.
///
/// # Errors
/// As [`read`].
pub fn read_named(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    absent_is_none(read_regular(path.as_ref(), OFlags::empty()))
}

/// A pipe is not waited for.
fn read_regular(path: &Path, how: OFlags) -> Result<Vec<u8>> {
    let flags = (how | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if is_link { Error::new(ErrorKind::InvalidInput, "it is a link") } else { error }
    })?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_BYTES_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is longer than 16 MiB"));
    }
    Ok(bytes)
}

/// The names in a directory, sorted; none if there is no such directory.
///
/// # Errors
/// Everything else that keeps it from being read.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let Some(entries) = absent_is_none(fs::read_dir(path))? else { return Ok(Vec::new()) };
    let names: Result<Vec<String>> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names?;
    names.sort();
    Ok(names)
}

/// Replaces a file in one moment, or leaves it alone if it has these bytes and this mode already. A crash leaves the
/// old file or the new one; a link is replaced, not followed.
///
/// # Errors
/// The directory is missing or cannot be written, or the disk is full; the old file is then still there.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<Written> {
    let path = path.as_ref();
    if is_like_that(path, bytes, mode)? {
        return Ok(Written::Same);
    }
    let (directory, name) = parts(path)?;
    // A fixed name: what a crash left behind is replaced by the next attempt instead of gathering.
    let temporary = directory.join(format!(".{name}.new"));
    remove_if_exists(&temporary)?;
    let written = fill(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error tells more than one about the leftover would.
        let _ = remove_if_exists(&temporary);
        return Err(error);
    }
    sync_directory(directory)?;
    Ok(Written::Changed)
}

fn is_like_that(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let Some(meta) = absent_is_none(fs::symlink_metadata(path))? else { return Ok(false) };
    let plain = meta.is_file() && meta.permissions().mode() & 0o7777 == mode;
    Ok(plain && meta.len() == bytes.len() as u64 && read(path)?.as_deref() == Some(bytes))
}

fn fill(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The process's umask can only have taken bits away: the file was never open wider than asked for.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory with this mode, and its parents with the usual one; corrects the mode of one that is there.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub fn make_dir(path: impl AsRef<Path>, mode: u32) -> Result<Written> {
    let path = path.as_ref();
    let made = make_missing_dir(path, mode)?;
    if fs::metadata(path)?.permissions().mode() & 0o7777 == mode {
        return Ok(made);
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(Written::Changed)
}

/// The same, but one that is there stays as it is: it is somebody else's.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub fn make_missing_dir(path: impl AsRef<Path>, mode: u32) -> Result<Written> {
    let path = path.as_ref();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(Written::Changed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(Written::Same),
        Err(error) => Err(error),
    }
}

/// Renames a file or directory to `PATH.LABEL-20240229T123456Z` beside it and gives the new name. Nothing is ever
/// overwritten: a second move in the same second gets `-2`.
///
/// # Errors
/// There is nothing at `path`, or it cannot be renamed within its directory (a mount point cannot).
pub fn move_aside(path: impl AsRef<Path>, label: &str) -> Result<PathBuf> {
    let path = path.as_ref();
    let (directory, name) = parts(path)?;
    let now = clock::now();
    let time = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    for attempt in 1..100 {
        let again = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let aside = directory.join(format!("{name}.{label}-{time}{again}"));
        match rename_to_free_name(path, &aside) {
            Ok(()) => {
                sync_directory(directory)?;
                return Ok(aside);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "cannot find a free name beside it"))
}

/// Gives a finished file its final name, which must be free, and makes the name durable.
///
/// # Errors
/// `AlreadyExists` when something has that name; or it cannot be renamed.
pub fn publish(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (directory, _) = parts(to.as_ref())?;
    rename_to_free_name(from.as_ref(), to.as_ref())?;
    sync_directory(directory)
}

/// Moves something to `directory` on the same file system under this name, or with `-2` and so on behind it when that is taken.
/// Yields its new path.
///
/// # Errors
/// It cannot be renamed.
pub fn publish_beside(from: &Path, directory: &Path, name: &str) -> Result<PathBuf> {
    for attempt in 1..100 {
        let again = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let to = directory.join(format!("{name}{again}"));
        match publish(from, &to) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            moved => return moved.map(|()| to),
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "cannot find a free name"))
}

fn rename_to_free_name(from: &Path, to: &Path) -> Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems (NFS, older FUSE) cannot promise it in one call; a look first is the next best.
        Err(Errno::INVAL | Errno::NOSYS) => match absent_is_none(fs::symlink_metadata(to))? {
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => fs::rename(from, to),
        },
        other => Ok(other?),
    }
}

/// Removes a file; fine if there is none.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove_if_exists(path: impl AsRef<Path>) -> Result<()> {
    absent_is_none(fs::remove_file(path)).map(drop)
}

/// Bytes that this program may still write to the file system of `path`, which must exist.
///
/// # Errors
/// It does not exist or cannot be asked.
pub fn free_bytes(path: impl AsRef<Path>) -> Result<u64> {
    let system = rustix::fs::statvfs(path.as_ref())?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Size of the file system of `path`, which must exist.
///
/// # Errors
/// It does not exist or cannot be asked.
pub fn total_bytes(path: impl AsRef<Path>) -> Result<u64> {
    let system = rustix::fs::statvfs(path.as_ref())?;
    Ok(system.f_blocks.saturating_mul(system.f_frsize))
}

/// Hands a file over to a user, who is to take it away; it stays as it is if this machine has no such user.
///
/// # Errors
/// The list of users cannot be read, the file is not there, or this process may not.
pub fn give_to(user: &str, path: impl AsRef<Path>) -> Result<()> {
    match owner(user, &fs::read_to_string("/etc/passwd")?) {
        Some((user, group)) => std::os::unix::fs::lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The same for a file that is open, so that nobody can put another one in its place meanwhile.
///
/// # Errors
/// The list of users cannot be read, or this process may not.
pub fn give_open_file_to(user: &str, file: &File) -> Result<()> {
    match owner(user, &fs::read_to_string("/etc/passwd")?) {
        Some((user, group)) => std::os::unix::fs::fchown(file, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The numbers of a user and its first group. Read from the file, because a static binary cannot ask the system's
/// other sources of users.
fn owner(name: &str, passwd: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, number, group, ..] = fields[..] else { return None };
        (user == name).then_some((number.parse().ok()?, group.parse().ok()?))
    })
}

/// Absence is an answer; whatever else keeps us from looking is an error.
fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parts(path: &Path) -> Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(directory), Some(name)) if directory != Path::new("") => Ok((directory, name)),
        _ => {
            Err(Error::new(ErrorKind::InvalidInput, "cannot use a path without directory and readable name"))
        }
    }
}

/// Without this a power cut right after a rename can bring the old name back.
fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_written_once_and_then_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("server.key");
        assert_eq!(write_atomic(&path, b"one", 0o600).unwrap(), Written::Changed);
        assert_eq!(write_atomic(&path, b"one", 0o600).unwrap(), Written::Same);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(write_atomic(&path, b"one", 0o640).unwrap(), Written::Changed);
        assert_eq!(mode(&path), 0o640);
        assert_eq!(write_atomic(&path, b"two", 0o640).unwrap(), Written::Changed);
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(list(home.path()).unwrap(), ["server.key"]);
    }

    #[test]
    fn the_leftover_of_a_crash_is_neither_kept_nor_in_the_way() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".a.new"), "half").unwrap();
        write_atomic(home.path().join("a"), b"whole", 0o644).unwrap();
        assert_eq!(list(home.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_is_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_atomic(&link, b"new", 0o644).unwrap();
        assert_eq!(
            (fs::read(&target).unwrap(), fs::read(&link).unwrap()),
            (b"kept".to_vec(), b"new".to_vec())
        );
    }

    #[test]
    fn only_absence_reads_as_absent() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path().join("none")).unwrap(), None);
        assert!(list(home.path().join("none")).unwrap().is_empty());
        assert!(read(home.path()).is_err());
        remove_if_exists(home.path().join("none")).unwrap();
        assert!(remove_if_exists(home.path()).is_err());
        assert!(write_atomic(home.path().join("no/such/file"), b"", 0o644).is_err());
    }

    #[test]
    fn only_a_regular_file_of_its_own_is_read_and_anything_else_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("secret"), "key").unwrap();
        std::os::unix::fs::symlink(path("secret"), path("link")).unwrap();
        rustix::fs::mkfifoat(CWD, path("pipe"), rustix::fs::Mode::from(0o600)).unwrap();
        File::create(path("large")).unwrap().set_len(READ_BYTES_MAX + 1).unwrap();
        for (name, why) in [
            ("link", "it is a link"),
            ("pipe", "it is not a regular file"),
            ("", "it is not a regular file"),
            ("large", "it is longer than 16 MiB"),
        ] {
            assert_eq!(read(path(name)).unwrap_err().to_string(), why, "{name}");
        }
        assert_eq!(read(path("none")).unwrap(), None);
        assert_eq!(read("/proc/self/stat").unwrap().map(|bytes| bytes.is_empty()), Some(false));
        assert_eq!(read_named(path("link")).unwrap().as_deref(), Some(&b"key"[..]));
        for name in ["link", "pipe"] {
            write_atomic(path(name), b"own", 0o644).unwrap();
            assert_eq!(read(path(name)).unwrap().as_deref(), Some(&b"own"[..]));
        }
        assert_eq!(fs::read(path("secret")).unwrap(), b"key");
    }

    #[test]
    fn a_directory_gets_its_mode_whether_new_or_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        assert_eq!(make_dir(&path, 0o700).unwrap(), Written::Changed);
        assert_eq!((mode(&path), mode(path.parent().unwrap()) & 0o700), (0o700, 0o700));
        assert_eq!(make_dir(&path, 0o700).unwrap(), Written::Same);
        assert_eq!(make_missing_dir(&path, 0o755).unwrap(), Written::Same);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(make_dir(&path, 0o755).unwrap(), Written::Changed);
        assert_eq!(mode(&path), 0o755);
        fs::write(home.path().join("file"), "").unwrap();
        assert!(make_dir(home.path().join("file"), 0o755).is_err());
    }

    #[test]
    fn what_is_moved_aside_never_lands_on_something_else() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("member");
        let mut names = std::collections::BTreeSet::new();
        for round in 0..3 {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("data"), round.to_string()).unwrap();
            let aside = move_aside(&path, "removed").unwrap();
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(aside.join("data")).unwrap(), round.to_string());
            assert!(aside.to_string_lossy().contains("member.removed-2"), "{}", aside.display());
            names.insert(aside);
        }
        assert_eq!(names.len(), 3);
        assert_eq!(move_aside(&path, "removed").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_finished_file_never_takes_the_place_of_another() {
        let home = tempfile::tempdir().unwrap();
        let (partial, whole) = (home.path().join(".partial"), home.path().join("whole"));
        fs::write(&partial, "one").unwrap();
        publish(&partial, &whole).unwrap();
        fs::write(&partial, "two").unwrap();
        assert_eq!(publish(&partial, &whole).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let other = home.path().join(".third");
        fs::write(&other, "three").unwrap();
        assert_eq!(publish_beside(&other, home.path(), "whole").unwrap(), home.path().join("whole-2"));
        assert_eq!((fs::read(&whole).unwrap(), partial.exists()), (b"one".to_vec(), true));
    }

    #[test]
    fn free_space_and_owners_are_found() {
        assert!(free_bytes("/").unwrap() > 0);
        assert!(free_bytes("/no/such/place").is_err());
        let passwd = "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1001:Ubuntu:/home/ubuntu:/bin/bash\n";
        assert_eq!(owner("ubuntu", passwd), Some((1000, 1001)));
        assert_eq!(owner("nobody", passwd), None);
        assert!(give_to("root", "/no/such/file").is_err());
        give_to("no-such-user-here", "/no/such/file").unwrap();
    }
}
