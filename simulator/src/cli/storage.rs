//! `storage`, `add-storage`, `attach-storage`, `detach-storage`.

use anyhow::Result;
use clap::Args;

use super::model::Model;
use super::output::{self, Format, remark, say};
use super::{table, words};
use crate::api::Request;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim storage")]
pub(super) struct List {
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
}

impl List {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let status = model.status().await?;
        if self.format != Format::Tabular {
            output::show(&status.storage, self.format)?;
        } else if status.storage.storage.is_empty() {
            remark("No storage to display.")?;
        } else {
            say(&table::storage(&status.storage).render(output::is_terminal()))?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim add-storage etcd/0 data=loop,1G")]
pub(super) struct AddStorage {
    /// Unit
    unit: String,
    #[expect(rustdoc::broken_intra_doc_links, reason = "this is the text of the help")]
    /// Storage of the charm, with [POOL,][COUNT,]SIZE where the charm's least size does not do
    #[arg(value_name = "NAME[=SPEC]", required = true)]
    storage: Vec<String>,
}

impl AddStorage {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let unit = model.resolve(&self.unit).await?;
        for text in self.storage {
            let (name, spec) = if text.contains('=') { words::pair(&text)? } else { (text, String::new()) };
            model.ask(Request::AddStorage { unit: unit.clone(), name: name.clone(), spec }).await?;
            remark(&format!("added storage {name} to {unit}"))?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim attach-storage etcd/1 data/0")]
pub(super) struct AttachStorage {
    /// Unit
    unit: String,
    /// Storage, like data/0
    #[arg(required = true)]
    storage: Vec<String>,
}

impl AttachStorage {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let unit = model.resolve(&self.unit).await?;
        for storage in self.storage {
            model.ask(Request::AttachStorage { unit: unit.clone(), storage: storage.clone() }).await?;
            remark(&format!("attaching {storage} to {unit}"))?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim detach-storage data/0")]
pub(super) struct DetachStorage {
    /// Storage, like data/0
    #[arg(required = true)]
    storage: Vec<String>,
}

impl DetachStorage {
    pub async fn run(self, model: &Model) -> Result<u8> {
        for storage in self.storage {
            model.ask(Request::DetachStorage { storage: storage.clone() }).await?;
            remark(&format!("detaching {storage}"))?;
        }
        Ok(0)
    }
}
