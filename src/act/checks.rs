//! The monitoring agent's files. It reads them when it starts, so a mark tells of a restart that has not happened yet.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::decide::PLUGINS;
use crate::host::{self, Load, Service, files};

/// Plugins may be run by everybody and hold no secrets.
pub(super) async fn write(write: &BTreeMap<String, String>, remove: &[String]) -> Result<()> {
    put(host::NRPE_DUE, "", 0o644)?;
    for path in remove {
        files::remove_if_exists(path).with_context(|| format!("cannot remove {path}"))?;
    }
    for (path, text) in write {
        let is_plugin = path.starts_with(PLUGINS);
        if is_plugin {
            files::make_missing_dir(PLUGINS, 0o755).with_context(|| format!("cannot make {PLUGINS}"))?;
        }
        put(path, text, if is_plugin { 0o755 } else { 0o644 })?;
    }
    let agent = Service::new("nagios-nrpe-server");
    let state = agent.state().await.context("cannot read the state of the monitoring agent")?;
    // Where there is none, or an administrator has masked it, nobody reads them.
    if state.load == Load::Loaded {
        agent.restart().await.context("cannot restart the monitoring agent")?;
    }
    files::remove_if_exists(host::NRPE_DUE)
        .context("cannot remove the mark of the monitoring agent's restart")
}

fn put(path: &str, text: &str, mode: u32) -> Result<()> {
    files::write_atomic(path, text.as_bytes(), mode).with_context(|| format!("cannot write {path}"))?;
    Ok(())
}
