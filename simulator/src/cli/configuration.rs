//! `config` and `model-config`: options as text in, as YAML or plain text out.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::model::Model;
use super::output::{self, Format, Table, say};
use super::words;
use crate::api::Request;
use crate::yaml;

#[derive(Debug, Args)]
#[command(after_help = "\
Without anything else all options are shown; with a name, the value of that option.
A value of @FILE stands for the content of the file.

Examples:
  juju-sim config etcd
  juju-sim config etcd channel
  juju-sim config etcd channel=3.5/stable debug=true
  juju-sim config etcd --reset channel,debug")]
pub(super) struct Config {
    /// Application
    application: String,
    /// An option to show, or options to set
    #[arg(value_name = "KEY|KEY=VALUE")]
    options: Vec<String>,
    /// Options to set back to their defaults, as a comma list (can be repeated)
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    reset: Vec<String>,
    /// YAML file with options below the application's name; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

impl Config {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let (sets, names): (Vec<String>, Vec<String>) =
            self.options.into_iter().partition(|option| option.contains('='));
        let application = self.application;
        let writes = !sets.is_empty() || !self.reset.is_empty() || self.file.is_some();
        if writes && !names.is_empty() {
            bail!("cannot set and retrieve values simultaneously");
        }
        if !writes {
            return show(model, application, names, self.format).await;
        }
        let mut set = match &self.file {
            Some(file) => settings_of(&read_file(file)?, &application)?,
            None => BTreeMap::new(),
        };
        for (key, value) in words::pairs(&sets)? {
            set.insert(key, value_or_file(&value)?);
        }
        if let Some(both) = self.reset.iter().find(|key| set.contains_key(*key)) {
            bail!("cannot set and reset key {both:?} simultaneously");
        }
        model.ask(Request::ConfigSet { application, set, reset: self.reset }).await.map(|_| 0)
    }
}

async fn show(model: &Model, application: String, mut names: Vec<String>, format: Format) -> Result<u8> {
    if names.len() > 1 {
        bail!("can only retrieve a single value, or all values");
    }
    let option = names.pop();
    let single = option.is_some();
    let value = model.ask(Request::ConfigGet { application, option }).await?;
    if single {
        say(&plain(&value))?
    } else {
        output::show(&value, format)?
    }
    Ok(0)
}

/// A single value: text as it is, anything else as YAML; nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => format!("{text}\n"),
        other => format!("{other}\n"),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Beside Juju's own options these exist for tests: hook-retry-initial and hook-retry-max (how long a failed
hook waits for its first retry, 5s when not set, and how long at most, 5m), and machines (light or full: what the
units of applications that are deployed from then on run on).

Examples:
  juju-sim model-config
  juju-sim model-config update-status-hook-interval=1m
  juju-sim model-config --reset juju-http-proxy")]
pub(super) struct ModelConfig {
    /// An option to show, or options to set
    #[arg(value_name = "KEY|KEY=VALUE")]
    options: Vec<String>,
    /// Options to set back, as a comma list (can be repeated)
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    reset: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
}

impl ModelConfig {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let (sets, mut names): (Vec<String>, Vec<String>) =
            self.options.into_iter().partition(|option| option.contains('='));
        if names.len() > 1 || (!names.is_empty() && (!sets.is_empty() || !self.reset.is_empty())) {
            bail!("can only retrieve a single value, or all values");
        }
        let reads = sets.is_empty() && self.reset.is_empty();
        let all = model.ask(Request::ModelConfig { set: words::pairs(&sets)?, reset: self.reset }).await?;
        match names.pop() {
            Some(name) => {
                let value = all
                    .get(&name)
                    .with_context(|| format!("key {name:?} not found in {:?} model", model.name()))?;
                say(&plain(value))?;
            }
            None if !reads => {}
            None if self.format != Format::Tabular => output::show(&all, self.format)?,
            None => {
                let mut table = Table::new(&["Attribute", "Value"]);
                for (name, value) in all.as_object().into_iter().flatten() {
                    table.row(vec![name.as_str().into(), plain(value).trim_end().into()]);
                }
                say(&table.render(false))?;
            }
        }
        Ok(0)
    }
}

/// `@FILE` is the content of the file, anything else itself.
pub(super) fn value_or_file(value: &str) -> Result<String> {
    match value.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read option from file {path:?}"))
        }
        None => Ok(value.to_owned()),
    }
}

pub(super) fn read_file(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Settings from YAML: a map below the application's name, or what `config` printed (`settings:` with `value:`).
pub(super) fn settings_of(text: &str, application: &str) -> Result<BTreeMap<String, String>> {
    let document: Map<String, Value> = yaml::read(text).context("cannot parse the file of settings")?;
    let (map, printed) = match (document.get(application), document.get("settings")) {
        (Some(Value::Object(map)), _) => (map, false),
        (None, Some(Value::Object(map))) => (map, true),
        _ => bail!("no settings found for {application:?}"),
    };
    let mut settings = BTreeMap::new();
    for (name, value) in map {
        let value = match value {
            Value::Object(option)
                if printed && option.get("source").is_some_and(|source| source != "user") =>
            {
                continue;
            }
            Value::Object(option) if printed => option.get("value").unwrap_or(&Value::Null),
            other => other,
        };
        match value {
            Value::Null => {}
            Value::String(text) => drop(settings.insert(name.clone(), text.clone())),
            Value::Object(_) | Value::Array(_) => {
                bail!("option {name:?}: expected a single value, got {value}")
            }
            scalar => drop(settings.insert(name.clone(), scalar.to_string())),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_both_forms() {
        let flat =
            settings_of("etcd: {port: 2379, channel: 3.5/stable, debug: true, none: null}", "etcd").unwrap();
        assert_eq!(flat["port"], "2379");
        assert_eq!((flat["channel"].as_str(), flat["debug"].as_str(), flat.len()), ("3.5/stable", "true", 3));
        let printed = "
application: etcd
settings:
  port: {value: 2479, source: user, default: 2379}
  debug: {value: false, source: default}
";
        let printed = settings_of(printed, "etcd").unwrap();
        assert_eq!(printed, BTreeMap::from([("port".to_owned(), "2479".to_owned())]));
        assert_eq!(
            settings_of("other: {}", "etcd").unwrap_err().to_string(),
            "no settings found for \"etcd\""
        );
        assert!(settings_of("etcd: {a: [1]}", "etcd").is_err());
    }

    #[test]
    fn a_single_value_is_printed_bare() {
        assert_eq!(plain(&Value::from("3.5/stable")), "3.5/stable\n");
        assert_eq!(plain(&Value::from(2379)), "2379\n");
        assert_eq!(plain(&Value::Null), "");
    }
}
