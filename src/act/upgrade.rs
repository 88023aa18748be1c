//! The snap moved to what another channel has, under a running cluster.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Trouble, exchange, membership, way_back};
use crate::backup::{self, Progress};
use crate::clock;
use crate::decide::DATA;
use crate::etcd::{Channel, Minor, OldRecords, Version};
use crate::host::{Installed, Snap, directory, files};
use crate::juju::{Status, Tools};
use crate::moving::Moving;
use crate::observe;
use crate::state;
use crate::world::{Reading, World};

/// What stays free beside snapd's copy: etcd prepares its next log file.
const SPARE_BYTES: u64 = 128 * 1024 * 1024;
/// How many of them are kept.
const KEPT: usize = 3;
/// The key that is deleted for the sake of an entry in the log; nobody ever writes it.
const FILLER: &[u8] = b"etcd-charm/filler";
/// A raft snapshot is a small file.
const SNAPSHOT_MAX: Duration = Duration::from_secs(20);

/// With the others healthy, under the restart lock, raft leadership handed over: refreshes the snap and waits until its
/// server serves again. `save_first`: a snapshot is taken before.
pub(super) async fn to_channel(
    (channel, name, minor): (&Channel, &str, Minor),
    save_first: bool,
    world: &World,
    tools: &Tools,
) -> Result<(), Trouble> {
    check_room(world)?;
    membership::moving(world, async || {
        let status = Status::maintenance(format!("Moving etcd to {name}"));
        tools.status_set(&status).await.context("cannot set the status")?;
        if save_first {
            save_snapshot(world).await?;
        }
        refresh((channel, name, minor), world).await
    })
    .await
}

/// snapd copies everything in its data directory before the new revision starts; a disk that is full by then ends etcd.
pub(super) fn check_room(world: &World) -> Result<(), Trouble> {
    if world.host.releases.current.is_some() {
        return Ok(());
    }
    let bytes = directory::size(DATA).with_context(|| format!("cannot measure {DATA}"))?;
    let free = files::free_bytes(DATA).with_context(|| format!("cannot measure {DATA}"))?;
    if free >= bytes.saturating_add(SPARE_BYTES) {
        return Ok(());
    }
    let (needed, free) = (bytes.saturating_add(SPARE_BYTES).div_ceil(1 << 20), free >> 20);
    Err(Trouble::Failed(format!(
        "snapd copies {DATA} at a refresh: {needed} MiB are needed and {free} MiB are free: make room (the action remove-old-data lists what is kept)"
    )))
}

/// What is installed stays.
pub(super) async fn switch(channel: &Channel) -> Result<()> {
    Snap::new("etcd").switch(&channel.to_string()).await.context("cannot follow the channel")
}

/// What the old etcd can restore, before another minor version writes to the data.
pub(super) async fn save_snapshot(world: &World) -> Result<(), Trouble> {
    let directory = state::before_upgrade();
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

/// Each request is an entry of the log, and etcd makes a raft snapshot after as many as its file says.
pub(super) async fn cut_log(entries: u64, world: &World) -> Result<(), Trouble> {
    let client = membership::own(world).await?;
    // Of a key that is not there: no revision, no event for whoever watches, and allowed with a full database too.
    for _ in 0..entries {
        client.delete(FILLER).await?;
    }
    let deadline = Instant::now() + SNAPSHOT_MAX;
    loop {
        let found = observe::old_records(&world.host).await;
        let why = match &found {
            Reading::Unknown(why) => why.clone(),
            Reading::Known(OldRecords::Request(request)) => format!("its log still has {request}"),
            Reading::Known(_) => "its log still has what etcd 3.5 told of its members".to_owned(),
        };
        if matches!(found, Reading::Known(_)) && found != world.host.old_records {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Trouble::NotYet(why));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn refresh((channel, name, minor): (&Channel, &str, Minor), world: &World) -> Result<(), Trouble> {
    let snap = Snap::new("etcd");
    let followed = snap.tracking().await.context("cannot tell which channel the snap follows")?;
    let old = way_back::installed()?;
    let moving = Moving::new(name, old.clone(), followed);
    exchange::exchange(moving, async || Ok(snap.refresh(&channel.to_string()).await?), world).await?;
    let new = way_back::installed()?;
    if !holds(minor, &new) {
        let why = format!("the store has etcd {} there; etcd {} was installed", new.version, old.version);
        return Err(Trouble::Failed(why));
    }
    Ok(())
}

/// Whether a snap is what was promised: the store could have anything there.
fn holds(minor: Minor, snap: &Installed) -> bool {
    snap.version.parse::<Version>().is_ok_and(|version| version.minor_version() == minor)
}
