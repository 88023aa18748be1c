//! Another etcd in the place of the one that runs, whatever it comes from. Invariants: a server that does not come up on it is
//! put back wherever its data allows it, and is not tried again by itself; an exchange that is killed at any point is
//! brought to its end, forwards or backwards, by the next run.

use anyhow::{Context as _, Result, anyhow};

use super::way_back::{self, Barred, installed};
use super::{Trouble, membership, snap};
use crate::host::Snap;
use crate::juju::one_line;
use crate::moving::Moving;
use crate::state::StateFile;
use crate::world::World;

/// `put` puts it in place, or leaves everything as it was; then its server has to serve.
pub(super) async fn exchange(
    moving: Moving,
    put: impl AsyncFnOnce() -> Result<()>,
    world: &World,
) -> Result<(), Trouble> {
    moving.write()?;
    if let Err(error) = put().await {
        let serves = start(world).await;
        Moving::remove()?;
        let stays = serves.map(|()| format!("{error:#}; etcd {} runs on", moving.old.version));
        return Err(Trouble::Failed(stays.unwrap_or_else(|_| format!("{error:#}"))));
    }
    serve_or_go_back(moving, world).await
}

/// What a run that was killed has left: snapd goes on without it.
pub(super) async fn finish(moving: &Moving, world: &World) -> Result<(), Trouble> {
    if world.host.releases.current.is_none() {
        await_snapd().await?;
    }
    let ended = if is_gone(world)? {
        Ok(Moving::remove()?)
    } else if let Some(why) = &moving.back {
        go_back(moving, why, world).await
    } else if installed()?.revision == moving.old.revision {
        let serves = start(world).await;
        Moving::remove()?;
        serves
    } else {
        serve_or_go_back(moving.clone(), world).await
    };
    if let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = membership::give_back_left_lock(world).await {
        tracing::warn!(error = %why, "the restart lock was not given back and ends with its lease");
    }
    ended
}

/// Somebody has removed the snap since: there is nothing to go on or back to.
fn is_gone(world: &World) -> Result<bool> {
    if world.host.releases.current.is_some() {
        return Ok(false);
    }
    Ok(Snap::new("etcd").installed().context("cannot tell what is installed")?.is_none())
}

/// Right after a boot snapd does not answer yet, and what it has installed may not be mounted.
async fn await_snapd() -> Result<(), Trouble> {
    let snap = Snap::new("etcd");
    match snap.is_changing().await {
        Ok(false) => {}
        Ok(true) => return Err(Trouble::NotYet("snapd is still at work on the etcd snap".to_owned())),
        Err(error) if error.passes() => return Err(Trouble::NotYet(error.to_string())),
        Err(error) => {
            return Err(anyhow!(error).context("cannot tell whether snapd is at work on etcd").into());
        }
    }
    match snap.installed() {
        Err(error) if error.passes() => Err(Trouble::NotYet(error.to_string())),
        _ => Ok(()),
    }
}

async fn start(world: &World) -> Result<(), Trouble> {
    snap::start().await?;
    membership::serve_again(world).await
}

/// The other one is in place: it serves, or the old one comes back.
async fn serve_or_go_back(moving: Moving, world: &World) -> Result<(), Trouble> {
    let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = start(world).await else {
        // snapd would refresh, and so restart, all members in one window.
        if world.host.releases.current.is_none()
            && let Err(error) = Snap::new("etcd").hold().await
        {
            tracing::warn!(error = %error, "automatic refreshes of the etcd snap could not be held");
        }
        return Ok(Moving::remove()?);
    };
    // Both before the way back: nobody who is killed on it tries the new one for ever, or starts it on the place that its
    // data has left.
    refuse(&moving.channel, &format!("the new etcd did not serve and was taken back: {why}"))?;
    let moving = Moving { back: Some(why.clone()), ..moving };
    moving.write()?;
    go_back(&moving, &why, world).await
}

async fn go_back(moving: &Moving, why: &str, world: &World) -> Result<(), Trouble> {
    match way_back::put_back(&moving.old, world).await {
        Ok(()) => {}
        Err(error) if error.is::<Barred>() => {
            let stays = format!("the new etcd does not serve, and the way back is barred: {error:#}");
            refuse(&moving.channel, &stays)?;
            Moving::remove()?;
            return Err(Trouble::Failed(stays));
        }
        // The mark stays: the next run begins the way back again.
        Err(error) => {
            let old = &moving.old;
            return Err(Trouble::Failed(format!(
                "{why}; and it cannot go back to revision {} ({}): {error:#}",
                old.revision, old.version
            )));
        }
    }
    // A revision that was gone back from is no reason to follow its channel: the next who names it means it anew.
    if let Some(followed) = &moving.followed
        && let Err(error) = Snap::new("etcd").switch(followed).await
    {
        tracing::warn!(error = %error, followed, "the snap does not follow its earlier channel again");
    }
    let serves = start(world).await;
    Moving::remove()?;
    Err(Trouble::Failed(match serves {
        Ok(()) => why.to_owned(),
        Err(Trouble::NotYet(error) | Trouble::Failed(error)) => {
            let old = format!("etcd {}, which is back, does not serve: {error}", moving.old.version);
            refuse(&moving.channel, &format!("the new etcd did not serve: {why}; {old}"))?;
            format!("{why}; {old}")
        }
    }))
}

/// What is kept of a server's last words.
const REASON_BYTES: usize = 1000;

/// First line: what was moved to; then why it is not there.
fn refuse(channel: &str, why: &str) -> Result<()> {
    let why = one_line(why, REASON_BYTES);
    StateFile::UpgradeRefused.write_text(&format!("{channel}\n{why}\n"))
}

/// The operator has named something else.
pub(super) fn forget_refusal() -> Result<()> {
    StateFile::UpgradeRefused.remove()
}
