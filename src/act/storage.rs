//! Storage for etcd's data: formatted once, mounted, filled, given back. Invariants: a device is looked at again right before
//! it is formatted, and must still be empty; etcd's file names a place only when all of the data is there.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Trouble, files, membership};
use crate::decide;
use crate::etcd::{Settings, Version};
use crate::host::volume::{self, Content, MountUnit};
use crate::host::{self, Snap, directory, files as host_files};
use crate::juju::{Status, Tools};
use crate::state::StateFile;
use crate::storage::{DATA, LABEL, MOUNT, OWNER, Owner};
use crate::world::{Place, Reading, World};

/// Name of the drop-in that keeps etcd from starting without its storage.
pub const RULES: &str = "storage";
/// What the new place must have free beyond the data itself: etcd prepares its next log file.
const SPARE_BYTES: u64 = 128 * 1024 * 1024;

/// The mark before it tells a run after a crash that what it finds half made was empty.
pub(super) async fn format(id: &str, device: &Path) -> Result<()> {
    let is_marked = StateFile::Formatting.text()?.as_deref() == Some(id);
    match volume::probe(device).await?.content {
        Content::Blank => StateFile::Formatting.write_text(id)?,
        Content::Unrecognized if is_marked => {}
        _ => bail!("{} is not empty any more: it was not formatted", device.display()),
    }
    volume::format(device, LABEL).await?;
    StateFile::Formatting.remove()
}

/// The snap may only go there with its plug connected. The rules are in place before anything is mounted.
pub(super) async fn mount(unit: &str, rules: &str, world: &World) -> Result<()> {
    StateFile::Formatting.remove()?;
    if let Reading::Known(Some(_)) = world.host.snap {
        Snap::new("etcd").connect("removable-media").await.context("cannot let etcd use the storage")?;
    }
    let service = host::etcd_service();
    service.write_dropin(RULES, rules).context("cannot write the service's storage rules")?;
    let mount = MountUnit::new(MOUNT);
    mount.write(unit)?;
    service.daemon_reload().await.context("cannot reload systemd")?;
    mount.start().await
}

pub(super) fn claim(owner: &Owner) -> Result<()> {
    host_files::make_missing_dir(DATA, 0o700).with_context(|| format!("cannot make {DATA}"))?;
    let text = owner.to_string();
    host_files::write_atomic(OWNER, text.as_bytes(), 0o600)
        .with_context(|| format!("cannot write {OWNER}"))?;
    Ok(())
}

/// The record goes first: of a file system that can get no label it is all there is.
pub(super) async fn adopt(device: &Path, uuid: &str, label: bool) -> Result<()> {
    let known = StateFile::AdoptedVolumes.text()?.unwrap_or_default();
    if !known.lines().any(|line| line == uuid) {
        StateFile::AdoptedVolumes.write_text(&format!("{known}{uuid}\n"))?;
    }
    if label {
        volume::label(device, LABEL).await?;
    }
    Ok(())
}

/// The rules go first: systemd stops whatever needs the mount together with it.
pub(super) async fn release() -> Result<()> {
    let service = host::etcd_service();
    service.remove_dropin(RULES).context("cannot remove the service's storage rules")?;
    service.daemon_reload().await.context("cannot reload systemd")?;
    MountUnit::new(MOUNT).remove().await?;
    service.daemon_reload().await.context("cannot reload systemd")
}

/// A copy that is cut off is removed by the next attempt; the old place stays as it was until etcd serves from the new one.
pub(super) async fn move_data(
    from: &Place,
    to: &'static str,
    new: (&Settings, &Version),
    world: &World,
    tools: &Tools,
) -> Result<(), Trouble> {
    host_files::make_missing_dir(to, 0o700).with_context(|| format!("cannot make {to}"))?;
    let size = size_of(from)?;
    let free = host_files::free_bytes(to).with_context(|| format!("cannot measure {to}"))?;
    if free < size + SPARE_BYTES {
        let (size, free) = (size / 1024 / 1024, free / 1024 / 1024);
        return Err(Trouble::Failed(format!("the data is {size} MiB and {to} has {free} MiB free")));
    }
    membership::moving(world, async || {
        let status = Status::maintenance(format!("Moving etcd's data to {to}"));
        tools.status_set(&status).await.context("cannot set the status")?;
        host::etcd_service().stop().await.context("cannot stop etcd's service")?;
        let moved = match copy(from.clone(), to).await {
            Ok(()) => files::write_config(new.0, new.1, false, world),
            Err(error) => Err(error),
        };
        host::etcd_service().bring_up().await.context("cannot start etcd's service")?;
        let serves = membership::serve_again(world).await;
        moved?;
        serves?;
        leave(from, to);
        Ok(())
    })
    .await
}

fn size_of(place: &Place) -> Result<u64> {
    let all = [Some(format!("{}/member", place.data)), place.log.clone()];
    let measure = |path: String| directory::size(&path).with_context(|| format!("cannot measure {path}"));
    all.into_iter().flatten().map(measure).sum()
}

/// Nobody names the old place any more: nobody shall start on what is left there. The two usual places have a rule of their own.
fn leave(from: &Place, to: &str) {
    let is_usual = [decide::DATA, DATA, to].contains(&from.data.as_str());
    let data = (!is_usual).then(|| format!("{}/member", from.data));
    for path in data.into_iter().chain(from.log.clone()) {
        match host_files::move_aside(&path, "moved") {
            Ok(kept) => tracing::info!(kept = %kept.display(), "the data of before was kept"),
            Err(error) => tracing::warn!(path, error = %error, "the data of before was not renamed"),
        }
    }
}

/// Beside the runtime: the restart lock is renewed meanwhile.
async fn copy(from: Place, to: &'static str) -> Result<()> {
    let copied = tokio::task::spawn_blocking(move || copy_all(&from, Path::new(to)));
    copied.await.context("cannot copy the data")?.with_context(|| format!("cannot copy the data to {to}"))
}

/// Where only the log comes from elsewhere, the one that it was beside goes aside first.
fn copy_all(from: &Place, to: &Path) -> std::io::Result<()> {
    let (member, log) = (to.join("member"), from.log.as_deref().map(Path::new));
    match log {
        Some(log) if Path::new(&from.data) == to => {
            let stale = member.join("wal");
            if stale.try_exists()? {
                host_files::move_aside(&stale, "moved")?;
            }
            directory::copy(log, member.join(".wal.partial"), stale)
        }
        _ => {
            let (from, log) = (Path::new(&from.data).join("member"), log.map(|log| ("wal", log)));
            directory::copy_with(from, log, to.join(".member.partial"), member)
        }
    }
}
