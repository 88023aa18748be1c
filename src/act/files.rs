//! The charm's files on this machine. Keys are readable by root only from their first byte; data is moved, never
//! deleted.

use anyhow::{Context as _, Result};

use crate::decide::{COMMON, DATA};
use crate::etcd::{Settings, Version};
use crate::host::{self, files, trust_store};
use crate::observe;
use crate::world::{Credentials, World};

/// The key goes first and its certificate right behind: a server that shakes hands in between fails that one
/// handshake only.
pub(super) fn write_credentials(credentials: &Credentials) -> Result<()> {
    files::make_dir(COMMON, 0o755).with_context(|| format!("cannot make {COMMON}"))?;
    let all = [
        ("ca.crt", &credentials.ca, 0o644),
        ("server.key", &credentials.server_key, 0o600),
        ("server.crt", &credentials.server_certificate, 0o644),
        ("client.key", &credentials.client_key, 0o600),
        ("client.crt", &credentials.client_certificate, 0o644),
    ];
    for (name, text, mode) in all {
        write(&format!("{COMMON}/{name}"), text, mode)?;
    }
    Ok(())
}

pub(super) async fn trust_authority(ca: &str) -> Result<()> {
    trust_store::trust("etcd-charm", ca).await.context("cannot add the CA to the host's trust store")
}

pub(super) fn write_shell_profile(text: &str) -> Result<()> {
    write(host::SHELL_PROFILE, text, 0o644)
}

pub(super) fn move_data_aside() -> Result<()> {
    let aside = files::move_aside(format!("{DATA}/member"), "removed")
        .context("cannot move the data directory aside")?;
    tracing::info!(kept = %aside.display(), "the old data directory was kept");
    Ok(())
}

/// The mark that a restart is due is written before the file, so that no crash can lose it. It holds the address
/// where the server still answers until then.
pub(super) fn write_config(
    settings: &Settings,
    version: &Version,
    restart: bool,
    world: &World,
) -> Result<()> {
    if restart {
        mark_restart(world)?;
    }
    write(&format!("{COMMON}/etcd.conf.yml"), &settings.render(version), 0o600)
}

/// The running server is not what it should be until its restart; see [`write_config`].
pub(super) fn mark_restart(world: &World) -> Result<()> {
    if world.host.restart_due.is_some() {
        return Ok(());
    }
    let now = observe::own_endpoints(&world.host).into_iter().next().unwrap_or_default();
    write(&format!("{COMMON}/{}", host::RESTART_DUE), &now, 0o600)
}

/// The running server now follows its file.
pub(super) fn restart_is_done() -> Result<()> {
    files::remove_if_exists(format!("{COMMON}/{}", host::RESTART_DUE))
        .context("cannot remove the restart mark")
}

fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    files::write_atomic(path, text.as_bytes(), mode).with_context(|| format!("cannot write {path}"))?;
    Ok(())
}
