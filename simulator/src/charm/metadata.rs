//! `metadata.yaml`: what a charm says of itself. Invariant: a [`Metadata`] has passed Juju's own name and endpoint checks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::names;
use crate::yaml;

/// The parts of `metadata.yaml` that Juju acts on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metadata {
    /// Charm name; the default name of the application.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub summary: String,
    /// Several lines for people.
    #[serde(default)]
    pub description: String,
    /// Whether its units live on the machine of a principal unit.
    #[serde(default)]
    pub subordinate: bool,
    /// Endpoints of every role, by name (unique across roles), `juju-info` not included.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Names that `network-get` takes beside the endpoints.
    #[serde(default)]
    pub extra_bindings: Vec<String>,
    /// Declared storage, by name.
    #[serde(default)]
    pub storage: BTreeMap<String, StorageSpec>,
    /// Declared resources, by name.
    #[serde(default)]
    pub resources: BTreeMap<String, ResourceSpec>,
    /// What the charm assumes of Juju, as written.
    #[serde(default)]
    pub assumes: Vec<serde_json::Value>,
    /// Oldest Juju it runs on (only without bases in the manifest).
    #[serde(default)]
    pub min_juju_version: Option<String>,
    /// Series of the old metadata format.
    #[serde(default)]
    pub series: Vec<String>,
}

/// What an application may be related by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name in the charm.
    pub name: String,
    /// Which side of a relation it takes.
    pub role: Role,
    /// Only endpoints of the same interface can be related.
    pub interface: String,
    /// How far a relation reaches.
    pub scope: Scope,
    /// Upper bound of relations, if any (Juju only warns on it when it relates).
    pub limit: Option<u32>,
    /// A hint for people.
    pub optional: bool,
}

/// The side of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Among the units of one application.
    Peer,
    /// The providing side.
    Provider,
    /// The requiring side.
    Requirer,
}

/// How far a relation reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every unit sees every unit of the other side.
    Global,
    /// A unit sees only the unit on its own machine.
    Container,
}

/// A declared storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSpec {
    /// Whether the charm gets a device or a directory.
    pub kind: StorageKind,
    /// For people.
    pub description: String,
    /// Where a filesystem is mounted.
    pub location: Option<String>,
    /// Least number of instances, at deploy.
    pub minimum: u32,
    /// Largest number of instances; none: no bound.
    pub maximum: Option<u32>,
    /// Least size in MiB.
    pub minimum_size_mib: u64,
    /// Whether the `multiple` key was given: the location then holds one directory per instance.
    pub multiple: bool,
}

/// Kinds of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// A block device.
    Block,
    /// A mounted directory.
    Filesystem,
}

/// A declared resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSpec {
    /// `file` (the only kind on machines) or `oci-image`.
    #[serde(rename = "type")]
    pub kind: String,
    /// File name that `resource-get` paths end in.
    #[serde(default)]
    pub filename: String,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// The document as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    name: Option<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    subordinate: bool,
    #[serde(default)]
    peers: Option<BTreeMap<String, EndpointText>>,
    #[serde(default)]
    provides: Option<BTreeMap<String, EndpointText>>,
    #[serde(default)]
    requires: Option<BTreeMap<String, EndpointText>>,
    #[serde(default)]
    extra_bindings: Option<BTreeMap<String, Option<serde_json::Value>>>,
    #[serde(default)]
    storage: Option<BTreeMap<String, StorageText>>,
    #[serde(default)]
    resources: Option<BTreeMap<String, ResourceSpec>>,
    #[serde(default)]
    assumes: Option<Vec<serde_json::Value>>,
    #[serde(default)]
    min_juju_version: Option<String>,
    #[serde(default)]
    series: Option<Vec<String>>,
}

/// An endpoint is written as a map, or as the bare name of its interface.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum EndpointText {
    Interface(String),
    Full {
        interface: String,
        scope: Option<Scope>,
        limit: Option<u32>,
        #[serde(default)]
        optional: bool,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StorageText {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    description: String,
    location: Option<String>,
    minimum_size: Option<serde_json::Value>,
    multiple: Option<MultipleText>,
}

#[derive(Debug, Deserialize)]
struct MultipleText {
    range: serde_json::Value,
}

/// Reads `metadata.yaml` and checks it as Juju does for a local charm.
///
/// # Errors
/// The text is no YAML of the right shape, or breaks a rule of Juju.
pub fn parse(text: &str) -> Result<Metadata> {
    let document: Document = yaml::read(text).context("cannot parse metadata.yaml")?;
    let Some(name) = document.name else { bail!("metadata: name: expected string, got nothing") };
    names::check_charm(&name)?;
    let mut endpoints = BTreeMap::new();
    let by_role = [
        (Role::Peer, document.peers),
        (Role::Provider, document.provides),
        (Role::Requirer, document.requires),
    ];
    for (role, declared) in by_role {
        for (endpoint, text) in declared.unwrap_or_default() {
            let endpoint = read_endpoint(&name, endpoint, role, text)?;
            let endpoint_name = endpoint.name.clone();
            if endpoints.insert(endpoint_name.clone(), endpoint).is_some() {
                bail!("charm {name:?} using a duplicated relation name: {endpoint_name:?}");
            }
        }
    }
    if document.subordinate
        && !endpoints.values().any(|e| e.role == Role::Requirer && e.scope == Scope::Container)
    {
        bail!("subordinate charm {name:?} lacks \"requires\" relation with container scope");
    }
    let mut storage = BTreeMap::new();
    for (storage_name, text) in document.storage.unwrap_or_default() {
        let spec = read_storage(&name, &storage_name, text)?;
        storage.insert(storage_name, spec);
    }
    let resources = document.resources.unwrap_or_default();
    check_resources(&resources)?;
    Ok(Metadata {
        name,
        summary: document.summary,
        description: document.description,
        subordinate: document.subordinate,
        endpoints,
        extra_bindings: document.extra_bindings.unwrap_or_default().into_keys().collect(),
        storage,
        resources,
        assumes: document.assumes.unwrap_or_default(),
        min_juju_version: document.min_juju_version,
        series: document.series.unwrap_or_default(),
    })
}

fn read_endpoint(charm: &str, name: String, role: Role, text: EndpointText) -> Result<Endpoint> {
    let endpoint = match text {
        EndpointText::Interface(interface) => {
            Endpoint { name, role, interface, scope: Scope::Global, limit: None, optional: false }
        }
        EndpointText::Full { interface, scope, limit, optional } => {
            Endpoint { name, role, interface, scope: scope.unwrap_or(Scope::Global), limit, optional }
        }
    };
    names::check_endpoint(&endpoint.name)?;
    let reserved = |word: &str| word == "juju" || word.starts_with("juju-");
    if reserved(&endpoint.name) {
        bail!("charm {charm:?} using a reserved relation name: {:?}", endpoint.name);
    }
    if role != Role::Requirer && reserved(&endpoint.interface) {
        bail!(
            "charm {charm:?} relation {:?} using a reserved interface: {:?}",
            endpoint.name,
            endpoint.interface
        );
    }
    Ok(endpoint)
}

fn read_storage(charm: &str, name: &str, text: StorageText) -> Result<StorageSpec> {
    let kind = match text.kind.as_deref() {
        Some("block") => StorageKind::Block,
        Some("filesystem") => StorageKind::Filesystem,
        Some(other) => bail!("metadata: storage.{name}.type: unexpected value {other:?}"),
        None => bail!("charm {charm:?} storage {name:?}: type is required"),
    };
    if kind == StorageKind::Block && text.location.is_some() {
        bail!("charm {charm:?} storage {name:?}: location may not be specified for \"type: block\"");
    }
    let (minimum, maximum) = match &text.multiple {
        None => (1, Some(1)),
        Some(multiple) => parse_range(&plain(&multiple.range))
            .with_context(|| format!("cannot parse metadata.yaml: storage.{name}.multiple.range"))?,
    };
    if maximum == Some(0) || maximum.is_some_and(|maximum| maximum < minimum) {
        bail!("charm {charm:?} storage {name:?}: invalid maximum count {}", maximum.unwrap_or(0));
    }
    let minimum_size_mib = match &text.minimum_size {
        None => 0,
        Some(size) => parse_size_mib(&plain(size))
            .with_context(|| format!("cannot parse metadata.yaml: storage.{name}.minimum-size"))?,
    };
    Ok(StorageSpec {
        kind,
        description: text.description,
        location: text.location,
        minimum,
        maximum,
        minimum_size_mib,
        multiple: text.multiple.is_some(),
    })
}

fn check_resources(resources: &BTreeMap<String, ResourceSpec>) -> Result<()> {
    for (name, resource) in resources {
        match resource.kind.as_str() {
            "file" if resource.filename.is_empty() => bail!("resource missing filename: {name:?}"),
            "file" if resource.filename.contains('/') => {
                bail!("filename cannot contain \"/\" (got {:?})", resource.filename)
            }
            "file" | "oci-image" => {}
            other => bail!("unsupported resource type {other:?}"),
        }
    }
    Ok(())
}

/// A YAML scalar as the text that was meant.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Juju's storage count ranges: `3`, `0-1`, `2-`, `2+`.
///
/// # Errors
/// The text is none of these.
pub fn parse_range(text: &str) -> Result<(u32, Option<u32>)> {
    let number = |part: &str| part.parse::<u32>().with_context(|| format!("invalid count {text:?}"));
    if let Some(least) = text.strip_suffix(['-', '+']) {
        return Ok((number(least)?, None));
    }
    match text.split_once('-') {
        Some((least, most)) => Ok((number(least)?, Some(number(most)?))),
        None => number(text).map(|count| (count, Some(count))),
    }
}

/// A size in MiB: a number with an optional suffix M, G, T, P, E, Z or Y (optionally `B` or `iB` after it).
///
/// # Errors
/// The text is no such size.
pub fn parse_size_mib(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[digits.len()..];
    let unit = suffix.strip_suffix("iB").or_else(|| suffix.strip_suffix('B')).unwrap_or(suffix);
    let power = match unit {
        "" | "M" => 0,
        "G" => 1,
        "T" => 2,
        "P" => 3,
        "E" => 4,
        "Z" => 5,
        "Y" => 6,
        _ => bail!("invalid multiplier suffix {suffix:?}, expected one of MGTPEZY"),
    };
    let number: f64 =
        digits.parse().with_context(|| format!("expected a non-negative number, got {text:?}"))?;
    if !number.is_finite() || number < 0.0 {
        bail!("expected a non-negative number, got {text:?}");
    }
    let mib = (number * 1024f64.powi(power)).ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are far below 2^53, where every whole number has an exact float"
    )]
    let mib = mib as u64;
    Ok(mib)
}
