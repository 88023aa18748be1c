//! `meta/snap.yaml`: what a snap says of itself. Invariant: a snap that was read has a name, a version and apps with commands.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Done, error};

/// A snap.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Meta {
    pub name: String,
    #[serde(deserialize_with = "text")]
    pub version: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub description: String,
    #[serde(default = "strict")]
    pub confinement: String,
    #[serde(default)]
    pub architectures: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub apps: BTreeMap<String, App>,
    /// Plugs of the whole snap: a name alone, or with what it is connected by.
    #[serde(default)]
    pub plugs: BTreeMap<String, serde::de::IgnoredAny>,
}

/// A program or service of a snap.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct App {
    pub command: String,
    pub daemon: Option<String>,
    pub restart_condition: Option<String>,
    pub restart_delay: Option<String>,
    pub stop_timeout: Option<String>,
    pub start_timeout: Option<String>,
    pub stop_command: Option<String>,
    pub reload_command: Option<String>,
    pub post_stop_command: Option<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub plugs: Vec<String>,
    pub install_mode: Option<String>,
}

fn strict() -> String {
    "strict".to_owned()
}

/// A version may look like a number.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scalar {
        Text(String),
        Whole(i64),
        Number(f64),
    }
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Whole(number) => number.to_string(),
        Scalar::Number(number) => number.to_string(),
    })
}

impl Meta {
    /// Read the text of a `snap.yaml`.
    pub fn parse(text: &str) -> Done<Self> {
        let read: anyhow::Result<Self> = crate::yaml::read(text);
        read.map_err(|reason| error(format!("cannot read snap file: info failed to parse: {reason:#}")))
    }

    /// Read that of an unpacked snap.
    pub fn read(directory: &Path) -> Done<Self> {
        let path = directory.join("meta/snap.yaml");
        let text = std::fs::read_to_string(&path);
        Self::parse(
            &text.map_err(|reason| error(format!("cannot read snap file: {}: {reason}", path.display())))?,
        )
    }

    /// Read that of a snap file.
    pub fn of_file(file: &Path) -> Done<Self> {
        let failed = |reason: &dyn std::fmt::Display| {
            error(format!("cannot read snap file: {}: {reason}", file.display()))
        };
        let mut program = std::process::Command::new("unsquashfs");
        let output = program.arg("-cat").arg(file).arg("meta/snap.yaml").output();
        let output = output.map_err(|reason| failed(&reason))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// The apps that are services.
    pub fn services(&self) -> impl Iterator<Item = (&String, &App)> {
        self.apps.iter().filter(|(_, app)| app.daemon.is_some())
    }

    /// The command by which an app is known: `etcd.etcdctl`, or `etcd` for the app that is named like its snap.
    pub fn command_name(&self, app: &str) -> String {
        if app == self.name { app.to_owned() } else { format!("{}.{app}", self.name) }
    }

    /// All plugs of the snap and of its apps.
    pub fn all_plugs(&self) -> Vec<String> {
        let mut plugs: Vec<String> = self.plugs.keys().cloned().collect();
        plugs.extend(self.apps.values().flat_map(|app| app.plugs.iter().cloned()));
        plugs.sort();
        plugs.dedup();
        plugs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_written_as_a_number_and_plugs_are_gathered() {
        let text = "name: tiny\nversion: 1.5\nplugs: {home: null}\napps:\n  tiny: {command: bin/a, daemon: simple, plugs: [network]}\n  tool: {command: bin/b}\n";
        let meta = Meta::parse(text).unwrap();
        assert_eq!((meta.version.as_str(), meta.confinement.as_str()), ("1.5", "strict"));
        assert_eq!(meta.all_plugs(), vec!["home", "network"]);
        assert_eq!(meta.services().count(), 1);
        assert_eq!(
            (meta.command_name("tiny"), meta.command_name("tool")),
            ("tiny".to_owned(), "tiny.tool".to_owned())
        );
        assert!(Meta::parse("version: 1").is_err());
    }
}
