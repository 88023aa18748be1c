//! etcd's snap replaced by an attached file on a unit that has it already.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Trouble, exchange, membership, snap, upgrade, way_back};
use crate::decide;
use crate::etcd::Version;
use crate::host::{Installed, Snap};
use crate::moving::Moving;
use crate::world::{Door, World};

/// The restart lock and the other members' health are waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The attached files.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// A snap of etcd.
    pub etcd: &'a Path,
    /// What it runs on, where that is attached too.
    pub core: Option<&'a Path>,
    /// What the first one holds.
    pub version: &'a Version,
}

/// Installs these files over the snap that is there, keeps its data, and sees the server healthy again. A member that
/// votes is replaced with the others healthy and under the restart lock. `look` shows the world as it is now.
///
/// # Errors
/// [`Trouble::Failed`] says what happened and how the unit was left: on its old revision wherever that is safe.
pub async fn reinstall(
    files: Files<'_>,
    look: impl AsyncFn() -> Result<World>,
) -> Result<Installed, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let world = look().await?;
        if let Some(moving) = &world.host.moving {
            let why = format!("the move to {} was broken off", moving.channel);
            return Err(Trouble::Failed(format!("{why}; the next hook ends it: wait, then run this again")));
        }
        let replaced = match &world.etcd.door {
            Door::Open(_) => membership::moving(&world, async || replace(files, &world).await).await,
            // A server that does not run has nobody to hand over to.
            Door::Closed | Door::Mute(_) => replace(files, &world).await,
        };
        match replaced {
            Ok(()) => return Ok(way_back::installed()?),
            Err(Trouble::NotYet(why)) if Instant::now() > deadline => {
                return Err(Trouble::Failed(format!("{why}; nothing was changed, run this again later")));
            }
            Err(Trouble::NotYet(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(failed) => return Err(failed),
        }
    }
}

async fn replace(files: Files<'_>, world: &World) -> Result<(), Trouble> {
    if world.host.config.is_none() {
        // It was installed and not yet configured, and stays like that.
        put_in_place(files).await?;
        return Ok(snap::stop_service().await?);
    }
    upgrade::check_room(world)?;
    let old = way_back::installed()?;
    if matches!(world.etcd.door, Door::Open(_)) && decide::is_first_on(world, files.version.minor_version()) {
        upgrade::save_snapshot(world).await?;
    }
    let moving = Moving::new("the attached snap", old.clone(), None);
    let replaced = exchange::exchange(moving, async || put_in_place(files).await, world).await;
    let is_back = way_back::installed().is_ok_and(|now| now.revision == old.revision);
    let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = replaced else { return Ok(()) };
    let back = format!("; the unit is back on revision {} ({})", old.revision, old.version);
    Err(Trouble::Failed(if is_back { why + &back } else { why }))
}

async fn put_in_place(files: Files<'_>) -> Result<()> {
    if let Some(core) = files.core {
        Snap::new("core").install_file(core).await.context("cannot install the core resource")?;
    }
    Snap::new("etcd").install_file(files.etcd).await.context("cannot install the etcd resource")
}
