//! Upstream releases: fetched and switched to.

use anyhow::{Context as _, Result};

use super::files::mark_restart;
use super::{Trouble, exchange, membership, upgrade};
use crate::decide;
use crate::etcd::Version;
use crate::host::{self, Release, Releases, files};
use crate::juju::{Proxies, Status, Tools};
use crate::moving::Moving;
use crate::options::WantedRelease;
use crate::release;
use crate::world::{Door, Service, World};

pub(super) async fn prepare(
    wanted: &WantedRelease,
    proxies: &Proxies,
    world: &World,
    tools: &Tools,
) -> Result<()> {
    if world.host.releases.current.is_none() {
        let status = Status::maintenance(format!("Installing etcd from {}", wanted.source));
        tools.status_set(&status).await.context("cannot set the status")?;
    }
    release::prepare(wanted, proxies, &Releases::system()).await.map(drop)
}

/// A running server is exchanged for it, with the others healthy and under their lock. If it does not serve, the one of
/// before comes back.
pub(super) async fn switch(new: &Release, world: &World) -> Result<(), Trouble> {
    let releases = Releases::system();
    let switch = || {
        let switched = releases.switch_to(new);
        switched.with_context(|| format!("cannot switch to the release in {}", releases.path(new).display()))
    };
    let old = world.host.releases.current.as_ref();
    match old.filter(|_| matches!(world.etcd.door, Door::Open(_))) {
        None => switch()?,
        Some(old) => {
            membership::moving(world, async || {
                let version: Result<Version, _> = new.version.parse();
                if version.is_ok_and(|version| decide::is_first_on(world, version.minor_version())) {
                    upgrade::save_snapshot(world).await?;
                }
                let moving = Moving::new(&new.to_string(), old.clone().into(), None);
                // The link is changed while nothing writes: its age tells whether the new one has written.
                let put = async || {
                    host::etcd_service().stop().await.context("cannot stop etcd's service")?;
                    switch()
                };
                exchange::exchange(moving, put, world).await
            })
            .await?;
        }
    }
    let keep: Vec<&Release> = [Some(new), old].into_iter().flatten().collect();
    releases.keep_only(&keep).context("cannot remove older releases")?;
    Ok(())
}

/// A server that runs by another unit file restarts when its turn has come.
pub(super) async fn write_unit(text: &str, world: &World) -> Result<()> {
    if world.host.service == Service::Running {
        mark_restart(world)?;
    }
    files::write_atomic(host::RELEASE_UNIT, text.as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", host::RELEASE_UNIT))?;
    host::etcd_service().daemon_reload().await.context("cannot reload systemd")
}
