//! Charms and what comes with them: `deploy`, `refresh`, `attach-resource`, `resources`, `expose`, `trust`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::configuration::{read_file, settings_of};
use super::model::Model;
use super::output::{self, Table, remark, say};
use super::words;
use crate::api::{self, Request};
use crate::machine::MachineKind;

#[derive(Debug, Args)]
#[command(after_help = "\
The path is a directory or a .charm file and, as with Juju, must begin with ./, ../ or /.

Examples:
  juju-sim deploy ./etcd.charm
  juju-sim deploy ./etcd.charm backup -n 3 --config port=2479 --config channel=3.5/stable
  juju-sim deploy ./etcd.charm --resource etcd=./etcd.snap --storage data=loop,1G
  juju-sim deploy ./etcd.charm -n 3 --machines full")]
pub(super) struct Deploy {
    /// Charm: a directory or a .charm file
    charm: PathBuf,
    /// Name of the application; the charm's own when not given
    application: Option<String>,
    /// Number of units
    #[arg(short = 'n', long, default_value_t = 1)]
    num_units: u32,
    /// Option as key=value, or a YAML file with options below the application's name (can be repeated)
    #[arg(long, value_name = "KEY=VALUE|FILE")]
    config: Vec<String>,
    /// File to upload as a resource (can be repeated)
    #[arg(long, value_name = "NAME=FILE")]
    resource: Vec<String>,
    #[expect(rustdoc::broken_intra_doc_links, reason = "this is the text of the help")]
    /// Storage: [POOL,][COUNT,]SIZE (can be repeated)
    #[arg(long, value_name = "NAME=SPEC")]
    storage: Vec<String>,
    /// Existing storage to attach to the unit (can be repeated, or a comma list)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    attach_storage: Vec<String>,
    /// Space of an endpoint; there is one space, alpha
    #[arg(long, value_name = "[ENDPOINT=]SPACE", value_delimiter = ' ')]
    bind: Vec<String>,
    /// Let the application read the credentials of the cloud
    #[arg(long)]
    trust: bool,
    /// What its units run on: light machines (namespaces, with stand-ins for systemd and snapd) or full ones (booted, with
    /// the real ones); what `model-config machines` says when not given
    #[arg(long, value_name = "KIND", value_enum, env = "JUJU_SIM_MACHINES", hide_possible_values = true)]
    machines: Option<MachineKind>,
    /// Accepted; every machine is alike
    #[arg(long, value_name = "BASE", hide = true)]
    base: Option<String>,
    /// Accepted; every machine is alike
    #[arg(long, value_name = "CONSTRAINTS", hide = true)]
    constraints: Option<String>,
    /// Accepted; every machine is alike
    #[arg(long, hide = true)]
    force: bool,
}

impl Deploy {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let shown = self.charm.display().to_string();
        if !["./", "../", "/"].iter().any(|start| shown.starts_with(start)) && shown != "." && shown != ".." {
            bail!(
                "charm {shown:?} not found: only local charms can be deployed, by a path such as ./{shown}"
            );
        }
        let charm = words::existing(&self.charm)?;
        // What is wrong with a charm is said before a model is made for it.
        let loaded = crate::charm::Charm::load(&charm)?;
        let application = self.application.clone().unwrap_or_else(|| loaded.metadata.name.clone());
        let config = settings(&self.config, &application)?;
        loaded.parse_settings(&config).map_err(anyhow::Error::msg)?;
        let request = api::Deploy {
            charm,
            application: self.application,
            units: self.num_units,
            config,
            resources: words::files(&self.resource)?,
            storage: words::pairs(&self.storage)?,
            attach_storage: self.attach_storage,
            bind: bindings(&self.bind),
            trust: self.trust,
            machines: self.machines,
        };
        remark(&format!("Located local charm {:?}, revision 0", loaded.metadata.name))?;
        let made = model.ensure().await?;
        let answer = match model.ask(Request::Deploy(request)).await {
            Ok(answer) => answer,
            Err(error) if made => {
                // A model that this command made goes with the failure; one that was there stays.
                model.ask(Request::Destroy).await.with_context(|| format!("{error:#}; and then"))?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        remark(&format!(
            "Deploying {application:?} from local charm {:?}, revision 0",
            loaded.metadata.name
        ))?;
        show_messages(&answer)?;
        Ok(0)
    }
}

/// `key=value` texts and files of settings, the texts winning.
fn settings(texts: &[String], application: &str) -> Result<BTreeMap<String, String>> {
    let (pairs, paths): (Vec<String>, Vec<String>) =
        texts.iter().cloned().partition(|text| text.contains('='));
    let mut all = BTreeMap::new();
    for path in paths {
        all.extend(settings_of(&read_file(&PathBuf::from(path))?, application)?);
    }
    for (key, value) in words::pairs(&pairs)? {
        all.insert(key, super::configuration::value_or_file(&value)?);
    }
    Ok(all)
}

fn bindings(texts: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| match text.split_once('=') {
        Some((endpoint, space)) => (endpoint.to_owned(), space.to_owned()),
        None => (String::new(), text.clone()),
    };
    texts.iter().map(split).collect()
}

/// Remarks that the controller made on the way.
fn show_messages(answer: &Value) -> Result<()> {
    let messages = answer.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.filter_map(Value::as_str).try_for_each(remark)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Units get upgrade-charm, then config-changed. Options, storage and relations are kept.

Examples:
  juju-sim refresh etcd --path ./etcd.charm
  juju-sim refresh etcd --path ./etcd.charm --resource etcd=./etcd.snap --force-units")]
pub(super) struct Refresh {
    /// Application
    application: String,
    /// The new charm: a directory or a .charm file
    #[arg(long)]
    path: PathBuf,
    /// File to upload as a resource (can be repeated)
    #[arg(long, value_name = "NAME=FILE")]
    resource: Vec<String>,
    /// Replace the charm also below a failed hook
    #[arg(long)]
    force_units: bool,
    /// Accepted; every machine is alike
    #[arg(long, hide = true)]
    force: bool,
}

impl Refresh {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let charm = words::existing(&self.path)?;
        crate::charm::Charm::load(&charm)?;
        let answer = model
            .ask(Request::Refresh {
                application: self.application.clone(),
                charm,
                resources: words::files(&self.resource)?,
                force_units: self.force_units,
            })
            .await?;
        show_messages(&answer)?;
        remark(&format!("Added local charm to application {:?}", self.application))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim attach-resource etcd snapshot=./snapshot.tar.gz")]
pub(super) struct AttachResource {
    /// Application
    application: String,
    /// Resource and file
    #[arg(value_name = "NAME=FILE", required = true)]
    resource: Vec<String>,
}

impl AttachResource {
    pub async fn run(self, model: &Model) -> Result<u8> {
        for (resource, file) in words::files(&self.resource)? {
            model
                .ask(Request::AttachResource { application: self.application.clone(), resource, file })
                .await?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim resources etcd")]
pub(super) struct Resources {
    /// Application
    application: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: output::Format,
}

impl Resources {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let found = model.ask(Request::Resources { application: self.application }).await?;
        if self.format != output::Format::Tabular {
            output::show(&found, self.format)?;
            return Ok(0);
        }
        let text = |resource: &Value, key: &str| match resource.get(key) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => "-".to_owned(),
            Some(other) => other.to_string(),
        };
        let mut table = Table::new(&["Resource", "Supplied by", "Revision", "Size", "File"]);
        for resource in found.as_array().into_iter().flatten() {
            let uploaded = resource.get("revision").is_some_and(|revision| !revision.is_null());
            table.row(vec![
                text(resource, "name").into(),
                if uploaded { "admin" } else { "-" }.into(),
                text(resource, "revision").into(),
                text(resource, "size").into(),
                text(resource, "filename").into(),
            ]);
        }
        if table.is_empty() {
            remark("No resources to display.")?
        } else {
            say(&table.render(false))?
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim expose etcd")]
pub(super) struct Expose {
    /// Application
    application: String,
}

impl Expose {
    pub async fn run(self, model: &Model) -> Result<u8> {
        model.ask(Request::Expose { application: self.application, exposed: true }).await.map(|_| 0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim unexpose etcd")]
pub(super) struct Unexpose {
    /// Application
    application: String,
}

impl Unexpose {
    pub async fn run(self, model: &Model) -> Result<u8> {
        model.ask(Request::Expose { application: self.application, exposed: false }).await.map(|_| 0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  juju-sim trust etcd\n  juju-sim trust etcd --remove")]
pub(super) struct Trust {
    /// Application
    application: String,
    /// Take the trust back
    #[arg(long)]
    remove: bool,
}

impl Trust {
    pub async fn run(self, model: &Model) -> Result<u8> {
        model.ask(Request::Trust { application: self.application, trusted: !self.remove }).await.map(|_| 0)
    }
}
