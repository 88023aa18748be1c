//! `integrate` and `remove-relation`.

use anyhow::Result;
use clap::Args;

use super::model::Model;
use crate::api::Request;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  juju-sim integrate etcd easyrsa
  juju-sim integrate etcd:db kubernetes-control-plane:etcd")]
pub(super) struct Integrate {
    /// Application, or application:endpoint
    left: String,
    /// Application, or application:endpoint
    right: String,
}

impl Integrate {
    pub async fn run(self, model: &Model) -> Result<u8> {
        model.ask(Request::Integrate { left: self.left, right: self.right }).await.map(|_| 0)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim remove-relation etcd easyrsa")]
pub(super) struct RemoveRelation {
    /// Application, or application:endpoint
    left: String,
    /// Application, or application:endpoint
    right: String,
}

impl RemoveRelation {
    pub async fn run(self, model: &Model) -> Result<u8> {
        model.ask(Request::RemoveRelation { left: self.left, right: self.right }).await.map(|_| 0)
    }
}
