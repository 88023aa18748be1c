//! Upstream releases: fetched and switched to.

use anyhow::{Context as _, Result};

use super::{Trouble, files as own_files, membership};
use crate::host::{self, Release, Releases, files};
use crate::juju::{Proxies, Status, Tools};
use crate::options::WantedRelease;
use crate::release;
use crate::world::{Door, World};

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

/// A running server is restarted on it, with the others healthy and under their lock. If it does not serve on it, it goes
/// back to the one before.
pub(super) async fn switch(new: &Release, world: &World) -> Result<(), Trouble> {
    let releases = Releases::system();
    let switch = |release| {
        let switched = releases.switch_to(release);
        switched
            .with_context(|| format!("cannot switch to the release in {}", releases.path(release).display()))
    };
    let old = world.host.releases.current.as_ref();
    if !matches!(world.etcd.door, Door::Open(_)) {
        switch(new)?;
    } else {
        membership::rolling(world, async || {
            own_files::mark_restart(world)?;
            switch(new)?;
            let Err(trouble) = membership::restart(world).await else { return Ok(()) };
            let Some(old) = old else { return Err(trouble) };
            switch(old)?;
            membership::restart(world).await?;
            let (Trouble::NotYet(why) | Trouble::Failed(why)) = trouble;
            Err(Trouble::Failed(format!("etcd {} was tried and is not used: {why}", new.version)))
        })
        .await?;
    }
    let keep: Vec<&Release> = [Some(new), old].into_iter().flatten().collect();
    releases.keep_only(&keep).context("cannot remove older releases")?;
    Ok(())
}

pub(super) async fn write_unit(text: &str) -> Result<()> {
    files::write_atomic(host::RELEASE_UNIT, text.as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", host::RELEASE_UNIT))?;
    host::etcd_service().daemon_reload().await.context("cannot reload systemd")
}
