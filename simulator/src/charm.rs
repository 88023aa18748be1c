//! Charms: loading from a directory or a `.charm` archive, with the checks that Juju makes on a local charm.
//! Invariant: a [`Charm`] that exists has passed them.

pub mod actions;
pub mod metadata;
pub mod names;
pub mod options;
pub mod package;
pub mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use actions::{ActionSpec, validate_parameters};
pub use metadata::{Endpoint, Metadata, ResourceSpec, Role, Scope, StorageKind, StorageSpec};
pub use options::{OptionSpec, OptionType, parse_option};
use package::Package;

use crate::yaml;

/// A charm that Juju would accept.
#[derive(Debug, Clone)]
pub struct Charm {
    /// `metadata.yaml`.
    pub metadata: Metadata,
    /// `config.yaml`, by option.
    pub options: BTreeMap<String, OptionSpec>,
    /// `actions.yaml`, by action.
    pub actions: BTreeMap<String, ActionSpec>,
    /// `bases` of `manifest.yaml`; empty without one.
    pub bases: Vec<Base>,
    /// The text of the file `version`, if the charm carries one.
    pub version: Option<String>,
    package: Package,
}

/// An operating system that a charm runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// `ubuntu`.
    pub name: String,
    /// `22.04` or `22.04/stable`.
    pub channel: String,
    /// `amd64`, …; empty: all.
    #[serde(default)]
    pub architectures: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    bases: Vec<Base>,
}

impl Charm {
    /// Reads and checks a charm: a directory or a zip.
    ///
    /// # Errors
    /// It cannot be read, or Juju would refuse it; the text is Juju's where Juju has one.
    pub fn load(path: &Path) -> Result<Self> {
        let package = Package::open(path)?;
        let Some(text) = package.text("metadata.yaml")? else {
            bail!("cannot read metadata.yaml of charm {}: it has none", path.display());
        };
        let metadata = metadata::parse(&text)?;
        let options =
            package.text("config.yaml")?.map_or(Ok(BTreeMap::new()), |text| options::parse(&text))?;
        let actions =
            package.text("actions.yaml")?.map_or(Ok(BTreeMap::new()), |text| actions::parse(&text))?;
        let bases = match package.text("manifest.yaml")? {
            Some(text) => yaml::read::<Manifest>(&text).context("cannot parse manifest.yaml")?.bases,
            None => Vec::new(),
        };
        check_format(&metadata, &bases)?;
        if !package.has_program()? {
            bail!("invalid charm {:?}: has no hooks nor dispatch file", metadata.name);
        }
        let version = package.text("version")?.map(|text| text.trim().to_owned());
        Ok(Self { metadata, options, actions, bases, version, package })
    }

    /// Whether it came as a directory (Juju 4 deploys only `.charm` files).
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.package, Package::Directory(_))
    }

    /// Writes all its files below `directory` and returns their relative paths (see [`Package::unpack_to`]), so that
    /// an upgrade can remove those that the new charm lacks.
    ///
    /// # Errors
    /// A failed read or write, or an entry that leaves the charm's directory.
    pub fn unpack_to(&self, directory: &Path) -> Result<BTreeSet<PathBuf>> {
        self.package.unpack_to(directory)
    }

    /// Reads option values from text by their declared types.
    ///
    /// # Errors
    /// Juju's texts: `unknown option "x"`, `option "port" expected int, got "x"`.
    pub fn parse_settings(
        &self,
        texts: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, serde_json::Value>, String> {
        let parse = |(name, text): (&String, &String)| {
            let option = self.options.get(name).ok_or_else(|| format!("unknown option {name:?}"))?;
            Ok((name.clone(), parse_option(name, option.kind, text)?))
        };
        texts.iter().map(parse).collect()
    }
}

/// A manifest with bases makes the newer metadata format, which excludes keys of the older one, and the reverse.
fn check_format(metadata: &Metadata, bases: &[Base]) -> Result<()> {
    if bases.is_empty() {
        if !metadata.assumes.is_empty() {
            bail!("metadata v1 with assumes not valid: assumes needs a manifest with bases");
        }
        return Ok(());
    }
    if !metadata.series.is_empty() {
        bail!("metadata v2 with series not valid");
    }
    if metadata.min_juju_version.is_some() {
        bail!("metadata v2 with min-juju-version not valid");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const METADATA: &str = "
name: hello
summary: Says hello
peers: {hello: {interface: greeting}}
provides: {site: http}
requires:
  db: {interface: database, limit: 1, optional: true}
  info: {interface: juju-info, scope: container}
storage:
  data: {type: block, minimum-size: 1G, multiple: {range: 0-1}}
  files: {type: filesystem, location: /srv}
resources: {core: {type: file, filename: core.snap, description: A snap}}
extra-bindings: {admin: null}
";

    fn charm(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Charm>) {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(place.path().join(name), text).unwrap();
        }
        let charm = Charm::load(place.path());
        (place, charm)
    }

    #[test]
    fn everything_that_juju_acts_on_is_read() {
        let config = "options: {port: {type: int, default: 80}}";
        let manifest = "bases: [{name: ubuntu, channel: '22.04', architectures: [amd64]}]";
        let (_place, charm) = charm(&[
            ("metadata.yaml", METADATA),
            ("config.yaml", config),
            ("manifest.yaml", manifest),
            ("actions.yaml", "greet: {}"),
            ("dispatch", "#!/bin/sh"),
        ]);
        let charm = charm.unwrap();
        let metadata = &charm.metadata;
        assert_eq!(metadata.endpoints["hello"].role, Role::Peer);
        assert_eq!(metadata.endpoints["site"].interface, "http");
        assert_eq!((metadata.endpoints["db"].limit, metadata.endpoints["db"].optional), (Some(1), true));
        assert_eq!(metadata.endpoints["info"].scope, Scope::Container);
        let data = &metadata.storage["data"];
        assert_eq!((data.minimum, data.maximum, data.minimum_size_mib), (0, Some(1), 1024));
        assert_eq!(metadata.storage["files"].location.as_deref(), Some("/srv"));
        assert_eq!(metadata.resources["core"].filename, "core.snap");
        assert_eq!(metadata.extra_bindings, ["admin"]);
        assert_eq!(charm.bases[0].architectures, ["amd64"]);
        assert!(charm.actions.contains_key("greet"));
        let wanted = BTreeMap::from([("port".to_owned(), "81".to_owned())]);
        assert_eq!(charm.parse_settings(&wanted).unwrap()["port"], 81);
        let unknown = BTreeMap::from([("prot".to_owned(), "81".to_owned())]);
        assert_eq!(charm.parse_settings(&unknown).unwrap_err(), "unknown option \"prot\"");
    }

    #[test]
    fn charms_that_juju_refuses_are_refused() {
        let dispatch = ("dispatch", "");
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[dispatch], "it has none"),
            (&[("metadata.yaml", "name: hello")], "has no hooks nor dispatch file"),
            (&[("metadata.yaml", "name: Hello"), dispatch], "not valid"),
            (
                &[("metadata.yaml", "{name: a, peers: {x: i}, provides: {x: i}}"), dispatch],
                "duplicated relation name",
            ),
            (&[("metadata.yaml", "{name: a, provides: {juju-x: i}}"), dispatch], "reserved relation name"),
            (&[("metadata.yaml", "{name: a, provides: {x: juju-x}}"), dispatch], "reserved interface"),
            (&[("metadata.yaml", "{name: a, storage: {d: {}}}"), dispatch], "type is required"),
            (
                &[("metadata.yaml", "{name: a, storage: {d: {type: block, location: /x}}}"), dispatch],
                "location",
            ),
            (&[("metadata.yaml", "{name: a, subordinate: true}"), dispatch], "container scope"),
            (&[("metadata.yaml", "{name: a, assumes: [juju]}"), dispatch], "assumes"),
            (
                &[
                    ("metadata.yaml", "{name: a, series: [jammy]}"),
                    ("manifest.yaml", "bases: [{name: ubuntu, channel: '22.04'}]"),
                    dispatch,
                ],
                "series",
            ),
        ];
        for (files, wanted) in table {
            let (_place, charm) = charm(files);
            let error = format!("{:#}", charm.unwrap_err());
            assert!(error.contains(wanted), "{files:?}: {error}");
        }
    }

    #[test]
    fn sizes_and_ranges_read_as_juju_reads_them() {
        assert_eq!(metadata::parse_size_mib("512").unwrap(), 512);
        assert_eq!(metadata::parse_size_mib("1.5GiB").unwrap(), 1536);
        assert!(metadata::parse_size_mib("1K").is_err());
        assert_eq!(metadata::parse_range("2+").unwrap(), (2, None));
        assert_eq!(metadata::parse_range("0-1").unwrap(), (0, Some(1)));
        assert!(metadata::parse_range("x").is_err());
    }
}
