//! Which units are started at boot, and masks: links in the administrator's directory. Invariant: what `enable` makes, `disable` removes.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::files::{Found, UnitFiles, is_mask};

/// What was done, in systemctl's words, or why not.
pub type Outcome = Result<Vec<String>, String>;

impl UnitFiles {
    /// The state `is-enabled` tells: `enabled`, `disabled`, `static`, `masked`, `linked`…; `None` when there is no such unit.
    pub fn enabled_state(&self, name: &str) -> Option<&'static str> {
        let fragment = self.fragment(name)?;
        if is_mask(&fragment) {
            return Some(if fragment.starts_with(self.runtime()) { "masked-runtime" } else { "masked" });
        }
        if self.is_wanted(name) {
            return Some("enabled");
        }
        match self.load(name) {
            Found::Loaded(loaded) => {
                let install = &loaded.install;
                let can_be = [&install.wanted_by, &install.required_by, &install.alias];
                Some(if can_be.iter().all(|names| names.is_empty()) { "static" } else { "disabled" })
            }
            _ => None,
        }
    }

    /// Units that some target wants.
    pub fn enabled_units(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in self.wants_directories() {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            names.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Whether some target wants it, be there a file of it or not.
    pub fn is_wanted(&self, name: &str) -> bool {
        !self.enabling_links(name).is_empty()
    }

    /// Whether a mask stands before its file.
    pub fn is_masked(&self, name: &str) -> bool {
        self.fragment(name).is_some_and(|fragment| is_mask(&fragment))
    }

    fn wants_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.administrator()).into_iter().flatten().flatten();
        let wanted = |path: &Path| path.extension().is_some_and(|end| end == "wants" || end == "requires");
        entries.map(|entry| entry.path()).filter(|path| wanted(path)).collect()
    }

    fn enabling_links(&self, name: &str) -> Vec<PathBuf> {
        let links = self.wants_directories().into_iter().map(|directory| directory.join(name));
        links.filter(|link| link.symlink_metadata().is_ok()).collect()
    }

    /// Make the links that the unit's `[Install]` section asks for.
    pub fn enable(&self, name: &str) -> Outcome {
        let loaded = match self.load(name) {
            Found::Loaded(loaded) => loaded,
            Found::Masked(path) => {
                return Err(format!("Failed to enable unit: Unit file {} is masked.", path.display()));
            }
            Found::Missing => {
                return Err(format!("Failed to enable unit: Unit file {name} does not exist."));
            }
        };
        let install = &loaded.install;
        let directory = self.administrator();
        let mut links: Vec<PathBuf> = Vec::new();
        links.extend(
            install.wanted_by.iter().map(|target| directory.join(format!("{target}.wants")).join(name)),
        );
        links.extend(
            install.required_by.iter().map(|target| directory.join(format!("{target}.requires")).join(name)),
        );
        links.extend(install.alias.iter().map(|alias| directory.join(alias)));
        let mut done = Vec::new();
        for link in links {
            if make_link(&link, &loaded.fragment)
                .map_err(|error| format!("Failed to enable unit: {error}"))?
            {
                done.push(format!("Created symlink {} → {}.", link.display(), loaded.fragment.display()));
            }
        }
        Ok(done)
    }

    /// Remove every link by which the unit is enabled.
    pub fn disable(&self, name: &str) -> Outcome {
        let mut links = self.enabling_links(name);
        match self.load(name) {
            Found::Loaded(loaded) => {
                let alias = loaded.install.alias.iter();
                links.extend(alias.map(|alias| self.administrator().join(alias)));
            }
            Found::Missing if links.is_empty() => {
                return Err(format!("Failed to disable unit: Unit file {name} does not exist."));
            }
            _ => {}
        }
        remove_links(links).map_err(|error| format!("Failed to disable unit: {error}"))
    }

    /// Make starting it impossible, for good or until the next boot.
    pub fn mask(&self, name: &str, until_boot: bool) -> Outcome {
        let link = if until_boot { self.runtime() } else { self.administrator() }.join(name);
        if link.symlink_metadata().is_ok() && !is_mask(&link) {
            return Err(format!("Failed to mask unit: File {} already exists.", link.display()));
        }
        let made = make_link(&link, Path::new("/dev/null"))
            .map_err(|error| format!("Failed to mask unit: {error}"))?;
        Ok(if made { vec![format!("Created symlink {} → /dev/null.", link.display())] } else { Vec::new() })
    }

    /// Take a mask away.
    pub fn unmask(&self, name: &str) -> Outcome {
        let links = [self.administrator(), self.runtime()].map(|directory| directory.join(name));
        let links = links.into_iter().filter(|link| is_mask(link)).collect();
        remove_links(links).map_err(|error| format!("Failed to unmask unit: {error}"))
    }
}

/// Make a link unless it is there; whether it was made.
fn make_link(link: &Path, target: &Path) -> std::io::Result<bool> {
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    if fs::read_link(link).is_ok_and(|existing| existing == target) {
        return Ok(false);
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, link).map(|()| true)
}

fn remove_links(links: Vec<PathBuf>) -> std::io::Result<Vec<String>> {
    let mut done = Vec::new();
    for link in links {
        match fs::remove_file(&link) {
            Ok(()) => done.push(format!("Removed \"{}\".", link.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_with(text: &str) -> (tempfile::TempDir, UnitFiles) {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("x.service"), text).unwrap();
        let files = UnitFiles::in_directories(&[place.path()]);
        (place, files)
    }

    #[test]
    fn enabling_links_the_unit_and_disabling_removes_the_link() {
        let (place, files) =
            place_with("[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\n");
        assert_eq!(files.enabled_state("x.service"), Some("disabled"));
        assert_eq!(files.enable("x.service").unwrap().len(), 1);
        assert_eq!(files.enable("x.service").unwrap().len(), 0);
        assert_eq!(files.enabled_state("x.service"), Some("enabled"));
        assert_eq!(files.enabled_units(), vec!["x.service"]);
        assert!(place.path().join("multi-user.target.wants/x.service").is_symlink());
        assert_eq!(files.disable("x.service").unwrap().len(), 1);
        assert_eq!(files.enabled_state("x.service"), Some("disabled"));
    }

    #[test]
    fn a_unit_without_an_install_section_is_static_and_a_missing_one_is_refused() {
        let (_place, files) = place_with("[Service]\nExecStart=/bin/a\n");
        assert_eq!(files.enabled_state("x.service"), Some("static"));
        assert_eq!(files.enabled_state("y.service"), None);
        assert!(files.enable("y.service").is_err());
        assert!(files.disable("y.service").is_err());
    }

    #[test]
    fn a_unit_that_cannot_be_read_is_enabled_all_the_same() {
        let (_place, files) =
            place_with("[Service]\nRestart=always\n[Install]\nWantedBy=multi-user.target\n");
        assert_eq!(files.enabled_state("x.service"), Some("disabled"));
        assert_eq!(files.enable("x.service").unwrap().len(), 1);
        assert_eq!(files.enabled_state("x.service"), Some("enabled"));
    }

    #[test]
    fn a_mask_does_not_replace_a_file_and_can_be_taken_away() {
        let (_place, files) = place_with("[Service]\nExecStart=/bin/a\n");
        assert!(files.mask("x.service", false).is_err());
        files.mask("y.service", false).unwrap();
        assert_eq!(files.enabled_state("y.service"), Some("masked"));
        assert_eq!(files.unmask("y.service").unwrap().len(), 1);
        assert_eq!(files.enabled_state("y.service"), None);
    }
}
