//! etcd's snap and its service.

use anyhow::{Context as _, Result};

use crate::host::{self, Snap, Written};
use crate::juju::{Status, Tools};
use crate::step::Source;

/// The snap starts its service at once, without a configuration: it is stopped until it has one.
pub(super) async fn install(source: &Source, tools: &Tools) -> Result<()> {
    // Unpacking takes a while; without this the operator would look at Juju's own "installing charm software".
    let status = Status::maintenance(format!("Installing etcd from {source}"));
    tools.status_set(&status).await.context("cannot set the status")?;
    let etcd = Snap::new("etcd");
    match source {
        Source::Channel(channel) => etcd.install(&channel.to_string()).await?,
        Source::Files { etcd: file, core } => {
            if let Some(core) = core {
                Snap::new("core").install_file(core).await?;
            }
            etcd.install_file(file).await?;
        }
    }
    // snapd would refresh, and so restart, all members in one window.
    if let Err(error) = etcd.hold().await {
        tracing::warn!(error = %error, "automatic refreshes of the etcd snap could not be held");
    }
    host::etcd_service().disable_now().await.context("cannot stop the freshly installed service")
}

pub(super) async fn write_drop_in(text: &str) -> Result<()> {
    let service = host::etcd_service();
    if service.write_dropin("charm", text).context("cannot write the restart rules")? == Written::Changed {
        service.daemon_reload().await.context("cannot reload systemd")?;
    }
    Ok(())
}

/// systemd is not waited for: a member without quorum may not be ready for a long time, and its own answers say
/// more than the service's state.
pub(super) async fn start_service() -> Result<()> {
    let service = host::etcd_service();
    service.reset_failed().await.context("cannot reset the service's failures")?;
    service.enable().await.context("cannot enable etcd's service")?;
    service.start_no_block().await.context("cannot start etcd's service")
}

pub(super) async fn stop_service() -> Result<()> {
    host::etcd_service().disable_now().await.context("cannot stop etcd's service")
}
