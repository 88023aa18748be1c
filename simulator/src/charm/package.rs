//! The files of a charm, from a directory or a `.charm` archive, by one list of entries.
//! Invariant: no entry's path or link leaves the charm's own directory.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

/// Where a charm's files are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Package {
    /// An unpacked charm.
    Directory(PathBuf),
    /// A zip.
    Archive(PathBuf),
}

/// Kinds of entries, with the permission bits of files.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory,
    File { mode: u32 },
    Link { target: PathBuf },
}

impl Package {
    /// # Errors
    /// Nothing is there, or it is neither a directory nor a zip.
    pub fn open(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).with_context(|| format!("cannot read charm {}", path.display()))?;
        if found.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        open_archive(path)?;
        Ok(Self::Archive(path.to_owned()))
    }

    /// The text of one file at the charm's root; nothing when it is not there.
    ///
    /// # Errors
    /// The file is there but cannot be read, or is no UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let context = || format!("cannot read {name} of the charm");
        match self {
            Self::Directory(directory) => match fs::read_to_string(directory.join(name)) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(context),
            },
            Self::Archive(path) => {
                let mut archive = open_archive(path)?;
                let mut text = String::new();
                match archive.by_name(name) {
                    Ok(mut file) => file.read_to_string(&mut text).with_context(context)?,
                    Err(zip::result::ZipError::FileNotFound) => return Ok(None),
                    Err(error) => return Err(error).with_context(context),
                };
                Ok(Some(text))
            }
        }
    }

    /// Whether Juju would find something to run: a file or link directly in `hooks/`, or an entry whose name
    /// contains `dispatch`.
    ///
    /// # Errors
    /// The files cannot be listed, or an entry is not allowed.
    pub fn has_program(&self) -> Result<bool> {
        let mut found = false;
        self.visit(&mut |path, kind, _| {
            let hook = path.parent() == Some(Path::new("hooks")) && *kind != Kind::Directory;
            found |= hook || path.to_string_lossy().contains("dispatch");
            Ok(())
        })?;
        Ok(found)
    }

    /// Writes all files below `target` (made when missing; existing files are replaced) and returns their relative
    /// paths, without directories. Modes become 0755 for files that their owner may run and 0644 for others, as
    /// controllers make them; known hook names get their owner's execute bit.
    ///
    /// # Errors
    /// An entry that leaves the charm's directory, or a failed read or write.
    pub fn unpack_to(&self, target: &Path) -> Result<BTreeSet<PathBuf>> {
        fs::create_dir_all(target).with_context(|| format!("cannot create {}", target.display()))?;
        let mut written = BTreeSet::new();
        self.visit(&mut |path, kind, content| {
            let place = target.join(path);
            write_entry(&place, path, kind, content)
                .with_context(|| format!("cannot unpack {} of the charm", path.display()))?;
            if *kind != Kind::Directory {
                written.insert(path.to_owned());
            }
            Ok(())
        })?;
        Ok(written)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) -> Result<()> {
        match self {
            Self::Directory(directory) => visit_directory(directory, Path::new(""), visitor),
            Self::Archive(path) => visit_archive(path, visitor),
        }
    }
}

/// Called with the relative path, the kind and (for files) the content.
type Visitor<'a> = dyn FnMut(&Path, &Kind, &mut dyn Read) -> Result<()> + 'a;

fn open_archive(path: &Path) -> Result<ZipArchive<File>> {
    let file = File::open(path).with_context(|| format!("cannot open charm {}", path.display()))?;
    ZipArchive::new(file).with_context(|| format!("cannot read charm archive {}", path.display()))
}

fn visit_archive(path: &Path, visitor: &mut Visitor<'_>) -> Result<()> {
    let mut archive = open_archive(path)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(relative) = entry.enclosed_name() else {
            bail!("cannot use charm archive: entry {:?} leaves the charm's directory", entry.name());
        };
        let mode = entry.unix_mode().unwrap_or(0o644);
        let kind = if entry.is_dir() {
            Kind::Directory
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry.read_to_string(&mut target)?;
            Kind::Link { target: PathBuf::from(target) }
        } else {
            Kind::File { mode }
        };
        check_link(&relative, &kind)?;
        visitor(&relative, &kind, &mut entry)?;
    }
    Ok(())
}

/// Leaves out what Juju leaves out of a directory: names starting with a dot and `build`, both at the root only.
fn visit_directory(root: &Path, below: &Path, visitor: &mut Visitor<'_>) -> Result<()> {
    let place = root.join(below);
    let mut entries = fs::read_dir(&place)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .with_context(|| format!("cannot list {}", place.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if below.as_os_str().is_empty() && (name == "build" || name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let relative = below.join(&name);
        let found = entry.metadata()?;
        if found.is_dir() {
            visitor(&relative, &Kind::Directory, &mut io::empty())?;
            visit_directory(root, &relative, visitor)?;
        } else if found.is_symlink() {
            let kind = Kind::Link { target: fs::read_link(entry.path())? };
            check_link(&relative, &kind)?;
            visitor(&relative, &kind, &mut io::empty())?;
        } else if found.is_file() {
            let mut file = File::open(entry.path())?;
            visitor(&relative, &Kind::File { mode: found.permissions().mode() }, &mut file)?;
        } else {
            bail!("file is not supported: {:?}", relative.display().to_string());
        }
    }
    Ok(())
}

fn check_link(path: &Path, kind: &Kind) -> Result<()> {
    let Kind::Link { target } = kind else { return Ok(()) };
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir => bail!("symlink {} links out of charm: {}", quoted(path), quoted(target)),
            Component::RootDir | Component::Prefix(_) => {
                bail!("symlink {} is absolute: {}", quoted(path), quoted(target))
            }
        }
    }
    Ok(())
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn write_entry(place: &Path, relative: &Path, kind: &Kind, content: &mut dyn Read) -> Result<()> {
    if *kind == Kind::Directory {
        fs::create_dir_all(place)?;
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    // A program that runs cannot be written to, and a link must not be followed: a new file takes the place.
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    match kind {
        Kind::File { mode } => {
            let mut file = File::create_new(place)?;
            io::copy(content, &mut file)?;
            let hook = relative.parent() == Some(Path::new("hooks"));
            let executable = mode & 0o100 != 0 || hook;
            file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        }
        Kind::Link { target } => symlink(target, place)?,
        Kind::Directory => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use zip::write::SimpleFileOptions;

    fn archive(path: &Path, names: &[(&str, u32)]) {
        let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, mode) in names {
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn an_archive_is_unpacked_with_modes() {
        let place = tempfile::tempdir().unwrap();
        let zip = place.path().join("x.charm");
        archive(&zip, &[("dispatch", 0o755), ("data/secret", 0o600), ("hooks/install", 0o644)]);
        let package = Package::open(&zip).unwrap();
        assert!(package.has_program().unwrap());
        let written = package.unpack_to(&place.path().join("out")).unwrap();
        assert_eq!(written.len(), 3);
        let mode = |name: &str| {
            fs::metadata(place.path().join("out").join(name)).unwrap().permissions().mode() & 0o7777
        };
        assert_eq!((mode("dispatch"), mode("data/secret"), mode("hooks/install")), (0o755, 0o644, 0o755));
        assert_eq!(package.text("dispatch").unwrap().as_deref(), Some("dispatch"));
        assert_eq!(package.text("absent").unwrap(), None);
    }

    #[test]
    fn an_entry_that_leaves_the_charm_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let zip = place.path().join("x.charm");
        archive(&zip, &[("../evil", 0o644)]);
        let error = Package::open(&zip).unwrap().unpack_to(&place.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("leaves the charm's directory"), "{error}");
        assert!(!place.path().join("evil").exists());
    }

    #[test]
    fn links_must_stay_inside() {
        let link =
            |path: &str, target: &str| check_link(Path::new(path), &Kind::Link { target: target.into() });
        assert!(link("hooks/install", "../dispatch").is_ok());
        assert!(link("install", "../dispatch").is_err());
        assert!(link("hooks/install", "a/../../../x").is_err());
        assert!(link("install", "/bin/true").is_err());
    }

    #[test]
    fn hidden_files_and_build_stay_out_of_a_directory_charm() {
        let place = tempfile::tempdir().unwrap();
        let charm = place.path().join("charm");
        for name in [".git/config", "build/x", "hooks/.keep", "src/build/y"] {
            let file = charm.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let written = Package::open(&charm).unwrap().unpack_to(&place.path().join("out")).unwrap();
        let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["hooks/.keep", "src/build/y"]);
    }
}
