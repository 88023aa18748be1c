//! The snap moved to what another channel has, under a running cluster. Invariant: a server that does not come up on it is
//! put back wherever its data allows it, and the channel is not tried again by itself; a move that is killed is brought to its
//! end by the next run.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Trouble, membership, reinstall, snap};
use crate::backup::{self, Progress};
use crate::clock;
use crate::decide::COMMON;
use crate::etcd::{Channel, Minor, Version};
use crate::host::{self, Installed, Snap, files};
use crate::juju::{Status, Tools};
use crate::moving::Moving;
use crate::world::World;

/// Below [`COMMON`]: the snapshots that were taken before upgrades.
const SNAPSHOTS: &str = "before-upgrade";
/// How many of them are kept.
const KEPT: usize = 3;

/// With the others healthy, under the restart lock, raft leadership handed over: refreshes the snap and waits until its
/// server serves again. `save_first`: a snapshot is taken before.
pub(super) async fn to_channel(
    (channel, minor): (&Channel, Minor),
    save_first: bool,
    world: &World,
    tools: &Tools,
) -> Result<(), Trouble> {
    membership::rolling(world, async || {
        let status = Status::maintenance(format!("Moving etcd to {channel}"));
        tools.status_set(&status).await.context("cannot set the status")?;
        if save_first {
            save_snapshot(world).await?;
        }
        refresh(channel, minor, world).await
    })
    .await
}

/// What is installed stays.
pub(super) async fn switch(channel: &Channel) -> Result<()> {
    Snap::new("etcd").switch(&channel.to_string()).await.context("cannot follow the channel")
}

async fn save_snapshot(world: &World) -> Result<(), Trouble> {
    let directory = Path::new(COMMON).join(SNAPSHOTS);
    files::make_dir(&directory, 0o700).context("cannot make the directory for snapshots")?;
    let client = membership::own(world).await?;
    let saved = backup::save(&client, &directory, clock::now_s(), &Progress::default()).await?;
    tracing::info!(path = %saved.path.display(), "a snapshot was saved before the upgrade");
    let mut all = files::list(&directory).context("cannot list the saved snapshots")?;
    // Their names are their times.
    all.sort();
    for old in all.iter().rev().skip(KEPT) {
        files::remove_if_exists(directory.join(old)).context("cannot remove an older snapshot")?;
    }
    Ok(())
}

async fn refresh(channel: &Channel, minor: Minor, world: &World) -> Result<(), Trouble> {
    let snap = Snap::new("etcd");
    let followed = snap.tracking().await.context("cannot tell which channel the snap follows")?;
    let moving = Moving { channel: channel.to_string(), old: reinstall::installed()?, followed };
    moving.write()?;
    if let Err(error) = snap.refresh(&moving.channel).await {
        let serves = start(world).await;
        Moving::remove()?;
        let stays = serves.map(|()| format!("{error}; etcd {} runs on", moving.old.version));
        return Err(Trouble::Failed(stays.unwrap_or_else(|_| error.to_string())));
    }
    serve_or_go_back(&moving, world).await?;
    let new = reinstall::installed()?;
    if !holds(minor, &new) {
        let old = moving.old.version;
        let why = format!("the store has etcd {} there; etcd {old} was installed", new.version);
        return Err(Trouble::Failed(why));
    }
    Ok(())
}

/// What a run that was killed has left: snapd goes on without it.
pub(super) async fn finish(moving: &Moving, world: &World) -> Result<(), Trouble> {
    if Snap::new("etcd").is_changing().await.context("cannot tell whether snapd is at work on etcd")? {
        return Err(Trouble::NotYet("snapd is still at work on the etcd snap".to_owned()));
    }
    let ended = if reinstall::installed()?.revision == moving.old.revision {
        let serves = start(world).await;
        Moving::remove()?;
        serves
    } else {
        serve_or_go_back(moving, world).await
    };
    if let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = membership::give_back_left_lock(world).await {
        tracing::warn!(error = %why, "the restart lock was not given back and ends with its lease");
    }
    ended
}

async fn start(world: &World) -> Result<(), Trouble> {
    snap::start().await?;
    membership::serve_again(world).await
}

/// The other revision is in place: it serves, or the old one comes back.
async fn serve_or_go_back(moving: &Moving, world: &World) -> Result<(), Trouble> {
    let snap = Snap::new("etcd");
    let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = start(world).await else {
        // snapd would refresh, and so restart, all members in one window.
        if let Err(error) = snap.hold().await {
            tracing::warn!(error = %error, "automatic refreshes of the etcd snap could not be held");
        }
        return Ok(Moving::remove()?);
    };
    // Before the way back, so that nobody who is killed on it tries the channel for ever.
    refuse(&moving.channel, &format!("the new etcd did not serve and was taken back: {why}"))?;
    let back = reinstall::go_back(&moving.old, true, world).await;
    // A revision that was gone back from is no reason to follow its channel: the next who names it means it anew.
    if let Some(followed) = &moving.followed
        && reinstall::installed()?.revision == moving.old.revision
        && let Err(error) = snap.switch(followed).await
    {
        tracing::warn!(error = %error, followed, "the snap does not follow its earlier channel again");
    }
    let why = match back {
        Ok(()) => why,
        Err(error) => {
            let stays = format!("the new etcd does not serve, and the way back is barred: {error:#}");
            refuse(&moving.channel, &stays)?;
            stays
        }
    };
    Moving::remove()?;
    Err(Trouble::Failed(why))
}

/// Whether a snap is what was promised: the store could have anything there.
fn holds(minor: Minor, snap: &Installed) -> bool {
    snap.version.parse::<Version>().is_ok_and(|version| version.minor_version() == minor)
}

/// First line: the channel; then why.
fn refuse(channel: &str, why: &str) -> Result<()> {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = format!("{channel}\n{why}\n");
    files::write_atomic(refusal(), text.as_bytes(), 0o600).context("cannot write the mark of the upgrade")?;
    Ok(())
}

/// The operator has named another channel.
pub(super) fn forget_refusal() -> Result<()> {
    files::remove_if_exists(refusal()).context("cannot remove the mark of the upgrade")
}

fn refusal() -> String {
    format!("{COMMON}/{}", host::UPGRADE_REFUSED)
}
