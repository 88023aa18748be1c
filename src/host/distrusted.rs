//! A file of one's own in a directory in which a less trusted program writes too.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Result};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The longest file that is read, bytes.
const BYTES_MAX: u64 = 1 << 20;

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A regular file of this process's user that has no other name: its content.
    Own(Vec<u8>),
    /// Something else: what.
    Foreign(&'static str),
}

/// The user as which this process acts.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Reads it without following a link or waiting for a pipe.
///
/// # Errors
/// It may be one's own and cannot be read.
pub fn read(path: &Path) -> Result<Found> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Ok(Found::Foreign("it is a link"));
        }
        // A socket.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            return Ok(Found::Foreign("it is not a regular file"));
        }
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Found::Foreign("it is not a regular file"));
    }
    if meta.uid() != own_uid() {
        return Ok(Found::Foreign("it belongs to another user"));
    }
    if meta.nlink() != 1 {
        return Ok(Found::Foreign("it has another name too"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Ok(Found::Foreign("it is too long"));
    }
    Ok(Found::Own(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_plain_file_of_ones_own_is_read() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("own"), "text").unwrap();
        fs::write(at("one"), "text").unwrap();
        fs::hard_link(at("one"), at("other")).unwrap();
        symlink(at("own"), at("link")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::File::create(at("long")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        let foreign = |why| Found::Foreign(why);
        for (name, expected) in [
            ("own", Found::Own(b"text".to_vec())),
            ("none", Found::Nothing),
            ("other", foreign("it has another name too")),
            ("link", foreign("it is a link")),
            ("dangling", foreign("it is a link")),
            ("directory", foreign("it is not a regular file")),
            ("socket", foreign("it is not a regular file")),
            ("long", foreign("it is too long")),
        ] {
            assert_eq!(read(&at(name)).unwrap(), expected, "{name}");
        }
        if own_uid() == 0 {
            std::os::unix::fs::chown(at("own"), Some(1), None).unwrap();
            assert_eq!(read(&at("own")).unwrap(), foreign("it belongs to another user"));
        }
    }
}
