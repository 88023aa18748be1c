//! The charm's files on this machine. Keys are readable by root only from their first byte; data is moved, never
//! deleted.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::clock;
use crate::decide::COMMON;
use crate::etcd::{MemberId, Settings, Version, read_config};
use crate::healed::Healed;
use crate::host::{self, files, trust_store};
use crate::observe;
use crate::state::{self, StateFile};
use crate::world::{Credentials, Moved, Place, Service, World};

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

/// The mark goes before the file, as in [`write_config`].
pub(super) fn write_trusted(authorities: &str, restart: bool, world: &World) -> Result<()> {
    if restart {
        mark_restart(world)?;
    }
    write(&format!("{COMMON}/ca.crt"), authorities, 0o644)
}

pub(super) async fn trust_authority(ca: &str) -> Result<()> {
    trust_store::trust("etcd-charm", ca).await.context("cannot add the CA to the host's trust store")
}

pub(super) fn write_shell_profile(text: &str) -> Result<()> {
    write(host::SHELL_PROFILE, text, 0o644)
}

/// A log of its own goes first: without it the rest is never started.
pub(super) fn move_data_aside(why: Moved, place: &Place) -> Result<()> {
    let label = match why {
        Moved::MemberRemoved | Moved::ClusterRestored => "removed",
        Moved::OfAnother => "of-another",
        Moved::Unfinished => "unfinished",
        Moved::ElsewhereNow => "moved",
        Moved::Damaged => "damaged",
    };
    for path in place.log.iter().cloned().chain([format!("{}/member", place.data)]) {
        if !Path::new(&path).try_exists().with_context(|| format!("cannot look at {path}"))? {
            continue;
        }
        let aside = files::move_aside(&path, label).with_context(|| format!("cannot move {path} aside"))?;
        tracing::info!(kept = %aside.display(), "the old data was kept");
    }
    Ok(())
}

/// On one disk; what has the same name there already gets another one.
pub(super) fn put_away(paths: &[String]) -> Result<()> {
    let home = state::kept();
    files::make_dir(&home, 0o700).with_context(|| format!("cannot make {home}"))?;
    for path in paths.iter().map(Path::new) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = files::publish_beside(path, Path::new(&home), &name)
            .with_context(|| format!("cannot keep {} in {home}", path.display()))?;
        tracing::info!(path = %path.display(), kept = %kept.display(), "earlier data was put away");
    }
    Ok(())
}

/// The mark goes first: whoever is killed in between goes on with the same member.
pub(super) async fn replace_damaged(member: MemberId, place: &Place) -> Result<()> {
    Healed::begin(member, clock::now_s())?;
    host::etcd_service().disable_now().await.context("cannot stop etcd's service")?;
    move_data_aside(Moved::Damaged, place)
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
        check_new_ports(settings, world)?;
        mark_restart(world)?;
    }
    write(&format!("{COMMON}/etcd.conf.yml"), &settings.render(version), 0o600)
}

/// A server whose port another program has would not come up again. What the file of the running server names is its own.
fn check_new_ports(settings: &Settings, world: &World) -> Result<()> {
    let Some(old) = world.host.config.as_deref().and_then(|text| read_config(text).ok()) else {
        return Ok(());
    };
    if world.host.restart_due.is_some() || world.host.service != Service::Running {
        return Ok(());
    }
    let address = |url: &String| url.split_once("://")?.1.parse::<SocketAddr>().ok();
    let listens = |urls: [&Vec<String>; 3]| -> Vec<SocketAddr> {
        urls.into_iter().flatten().filter_map(address).collect()
    };
    let own = listens([&old.listen_client_urls, &old.listen_peer_urls, &old.listen_metrics_urls]);
    let wanted =
        listens([&settings.listen_client_urls, &settings.listen_peer_urls, &settings.listen_metrics_urls]);
    for new in wanted.iter().filter(|new| !own.iter().any(|old| old.port() == new.port())) {
        if let Err(error) = TcpListener::bind(new) {
            bail!("cannot listen on {new}, {error}: set another port, or stop the program that has it");
        }
    }
    Ok(())
}

/// The running server is not what it should be until its restart; see [`write_config`].
pub(super) fn mark_restart(world: &World) -> Result<()> {
    if world.host.restart_due.is_some() {
        return Ok(());
    }
    let now = observe::own_endpoints(&world.host).into_iter().next().unwrap_or_default();
    StateFile::RestartDue.write_text(&now)
}

/// The running server now follows its file.
pub(super) fn restart_is_done() -> Result<()> {
    StateFile::RestartDue.remove()
}

fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    files::write_atomic(path, text.as_bytes(), mode).with_context(|| format!("cannot write {path}"))?;
    Ok(())
}
