//! Where unit files are: fragment, drop-ins, masks. Invariant: an earlier directory hides the same name in a later one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::spec::{self, Install, UnitSpec};
use super::syntax::Assignments;

/// The directories of unit files, highest priority first. The first is where administrators and packages enable units.
#[derive(Debug, Clone)]
pub struct UnitFiles {
    directories: Vec<PathBuf>,
}

/// What is on disk for a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The unit file, and its drop-ins in the order they apply.
    pub fragment: PathBuf,
    pub drop_ins: Vec<PathBuf>,
    /// Where drop-ins were looked for: a directory that is made later is not noticed.
    pub places: Vec<PathBuf>,
    /// What they say, or why systemd would not take it.
    pub spec: Result<UnitSpec, String>,
    pub install: Install,
    /// Tells whether any of the files has changed since.
    pub stamp: Vec<Stamp>,
}

/// A file as it was: path, modification time in ns since the epoch, size in bytes.
pub type Stamp = (PathBuf, i128, u64);

/// The answer to looking a unit up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Loaded(Box<Loaded>),
    /// Linked to `/dev/null`.
    Masked(PathBuf),
    Missing,
}

impl UnitFiles {
    /// Those of a machine.
    pub fn system() -> Self {
        let names = [
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/local/lib/systemd/system",
            "/lib/systemd/system",
        ];
        Self { directories: names.into_iter().map(PathBuf::from).collect() }
    }

    /// Where units are enabled and masked.
    pub fn administrator(&self) -> &Path {
        self.directories.first().map_or(Path::new("/"), PathBuf::as_path)
    }

    /// Where what lasts until the next boot is.
    pub fn runtime(&self) -> &Path {
        self.directories.get(1).map_or(Path::new("/run/systemd/system"), PathBuf::as_path)
    }

    /// The file of a unit, a mask included.
    pub fn fragment(&self, name: &str) -> Option<PathBuf> {
        let names = [Some(name.to_owned()), template(name).map(|(template, _)| template)];
        names.into_iter().flatten().find_map(|name| {
            let candidates = self.directories.iter().map(|directory| directory.join(&name));
            candidates.into_iter().find(|path| path.symlink_metadata().is_ok())
        })
    }

    /// Read a unit.
    pub fn load(&self, name: &str) -> Found {
        let Some(fragment) = self.fragment(name) else { return Found::Missing };
        if is_mask(&fragment) {
            return Found::Masked(fragment);
        }
        let Ok(text) = fs::read_to_string(&fragment) else { return Found::Missing };
        let places = self.places(name);
        let drop_ins = drop_ins(&places);
        let mut assignments = Assignments::default();
        assignments.add(&specifiers(&text, name));
        for drop_in in &drop_ins {
            assignments.add(&specifiers(&fs::read_to_string(drop_in).unwrap_or_default(), name));
        }
        let stamp = stamp(&fragment, &drop_ins);
        let (spec, install) = (spec::read(name, &assignments), Install::read(&assignments));
        Found::Loaded(Box::new(Loaded { spec, install, fragment, drop_ins, places, stamp }))
    }

    /// Whether what is on disk differs from what was loaded.
    pub fn has_changed(&self, name: &str, loaded: &Loaded) -> bool {
        match self.fragment(name) {
            Some(fragment) => stamp(&fragment, &drop_ins(&loaded.places)) != loaded.stamp,
            None => true,
        }
    }

    /// The unit's `.d` directories that are there.
    fn places(&self, name: &str) -> Vec<PathBuf> {
        let mut names = vec![format!("{name}.d")];
        names.extend(template(name).map(|(template, _)| format!("{template}.d")));
        let all = self.directories.iter().flat_map(|place| names.iter().map(|name| place.join(name)));
        all.filter(|place| place.is_dir()).collect()
    }

    /// Names of all units that have a file here or in a lower directory.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for directory in &self.directories {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if super::full_name(&name) == name && !entry.path().is_dir() {
                    names.push(name);
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// `*.conf` in these directories, by file name over all of them.
fn drop_ins(places: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for place in places {
        let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in entries.filter(|path| path.extension().is_some_and(|end| end == "conf")) {
            if !found.iter().any(|known| known.file_name() == file.file_name()) {
                found.push(file);
            }
        }
    }
    found.sort_by(|left, right| left.file_name().cmp(&right.file_name()));
    found
}

/// Whether a unit file is a mask.
pub fn is_mask(fragment: &Path) -> bool {
    let to_nowhere = fs::read_link(fragment).is_ok_and(|target| target == Path::new("/dev/null"));
    to_nowhere || fs::metadata(fragment).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

/// `name@instance.service` as its template and its instance.
fn template(name: &str) -> Option<(String, String)> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| (format!("{prefix}@.{kind}"), instance.to_owned()))
}

/// Put in what `%` letters stand for.
fn specifiers(text: &str, name: &str) -> String {
    let instance = template(name).map(|(_, instance)| instance).unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let prefix = stem.split('@').next().unwrap_or(stem);
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            result.push(letter);
            continue;
        }
        match letters.next() {
            Some('i' | 'I') => result.push_str(&instance),
            Some('n') => result.push_str(name),
            Some('N') => result.push_str(stem),
            Some('p' | 'P') => result.push_str(prefix),
            Some('t') => result.push_str("/run"),
            Some('S') => result.push_str("/var/lib"),
            Some('h') => result.push_str("/root"),
            Some('H') => result.push_str(fs::read_to_string("/etc/hostname").unwrap_or_default().trim()),
            Some('%') => result.push('%'),
            Some(other) => result.extend(['%', other]),
            None => result.push('%'),
        }
    }
    result
}

fn stamp(fragment: &Path, drop_ins: &[PathBuf]) -> Vec<Stamp> {
    let files = std::iter::once(fragment).chain(drop_ins.iter().map(PathBuf::as_path));
    files
        .map(|path| {
            let metadata = fs::metadata(path).ok();
            let time = metadata
                .as_ref()
                .map_or(0, |file| i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()));
            (path.to_owned(), time, metadata.map_or(0, |file| file.len()))
        })
        .collect()
}

#[cfg(test)]
impl UnitFiles {
    /// Those of a test.
    pub fn in_directories(directories: &[&Path]) -> Self {
        Self { directories: directories.iter().map(|path| (*path).to_owned()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::What;
    use super::*;

    #[test]
    fn drop_ins_apply_in_the_order_of_their_names_and_a_change_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let (etc, lib) = (place.path().join("etc"), place.path().join("lib"));
        fs::create_dir_all(etc.join("x.service.d")).unwrap();
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("x.service"), "[Service]\nExecStart=/bin/a %n\n").unwrap();
        fs::write(etc.join("x.service.d/20.conf"), "[Service]\nRestart=no\n").unwrap();
        fs::write(etc.join("x.service.d/10.conf"), "[Service]\nRestart=always\n").unwrap();
        let files = UnitFiles::in_directories(&[&etc, &lib]);
        let Found::Loaded(loaded) = files.load("x.service") else { panic!("not loaded") };
        let What::Service(service) = &loaded.spec.as_ref().unwrap().what else { panic!("not a service") };
        assert_eq!(service.restart_text, "no");
        assert_eq!(service.start[0].words, vec!["/bin/a", "x.service"]);
        assert!(!files.has_changed("x.service", &loaded));
        fs::remove_file(etc.join("x.service.d/20.conf")).unwrap();
        assert!(files.has_changed("x.service", &loaded));
    }

    #[test]
    fn a_link_to_nowhere_masks_the_file_below() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", place.path().join("x.service")).unwrap();
        let files = UnitFiles::in_directories(&[place.path()]);
        assert!(matches!(files.load("x.service"), Found::Masked(_)));
        assert_eq!(files.load("y.service"), Found::Missing);
    }
}
