//! etcd's snap replaced by an attached file on a unit that has it already. Invariant: what this member has promised to its
//! cluster is never taken back: an older copy of its data is used again only if nothing was written since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow};

use super::{Trouble, files, membership, snap};
use crate::decide::DATA;
use crate::etcd::Version;
use crate::host::{self, Installed, Snap, files as host_files};
use crate::world::{Door, World};

/// The snap's data of all revisions; `decide::DATA` is the link to one of them.
const REVISIONS: &str = "/var/snap/etcd";
/// snapd makes this link anew when the server of one revision has ended and that of the next one has not begun.
const LINK: &str = "/snap/etcd/current";
/// The restart lock and the other members' health are waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);

/// Installs these files over the snap that is there, keeps its data, and sees the server healthy again. A member that
/// votes is replaced with the others healthy and under the restart lock. `look` shows the world as it is now.
///
/// # Errors
/// [`Trouble::Failed`] says what happened and how the unit was left: on its old revision wherever that is safe.
pub async fn reinstall(
    etcd: &Path,
    core: Option<&Path>,
    look: impl AsyncFn() -> Result<World>,
) -> Result<Installed, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let world = look().await?;
        let replaced = match &world.etcd.door {
            Door::Open(_) => membership::rolling(&world, async || replace(etcd, core, &world).await).await,
            // A server that does not run has nobody to hand over to.
            Door::Closed | Door::Mute(_) => replace(etcd, core, &world).await,
        };
        match replaced {
            Ok(()) => return Ok(installed()?),
            Err(Trouble::NotYet(why)) if Instant::now() > deadline => {
                return Err(Trouble::Failed(format!("{why}; nothing was changed, run this again later")));
            }
            Err(Trouble::NotYet(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(failed) => return Err(failed),
        }
    }
}

async fn replace(etcd: &Path, core: Option<&Path>, world: &World) -> Result<(), Trouble> {
    let old = installed()?;
    let has_server = world.host.config.is_some();
    if has_server {
        files::mark_restart(world)?;
    }
    match put_in_place(etcd, core, has_server, world).await {
        Ok(()) => Ok(()),
        Err(Trouble::NotYet(why) | Trouble::Failed(why)) => {
            let restored = go_back(&old, has_server, world).await;
            Err(Trouble::Failed(match restored {
                Ok(()) => format!("{why}; the unit is back on revision {} ({})", old.revision, old.version),
                Err(error) => format!("{why}; and it cannot go back to revision {}: {error:#}", old.revision),
            }))
        }
    }
}

async fn put_in_place(
    etcd: &Path,
    core: Option<&Path>,
    has_server: bool,
    world: &World,
) -> Result<(), Trouble> {
    if let Some(core) = core {
        Snap::new("core").install_file(core).await.context("cannot install the core resource")?;
    }
    Snap::new("etcd").install_file(etcd).await.context("cannot install the etcd resource")?;
    if !has_server {
        // It was installed and not yet configured, and stays like that.
        return Ok(snap::stop_service().await?);
    }
    snap::start().await?;
    membership::serve_again(world).await
}

/// Back to the revision of before, with every byte that the new one has written.
pub(super) async fn go_back(old: &Installed, has_server: bool, world: &World) -> Result<()> {
    let new = installed()?;
    if new.revision != old.revision {
        host::etcd_service().stop().await.context("cannot stop etcd's service")?;
        match world.host.data_dir {
            DATA => carry_over(&new, old, Path::new(REVISIONS))?,
            shared => leave_in_place(&new, old, Path::new(shared), Path::new(LINK))?,
        }
        Snap::new("etcd").revert().await?;
    }
    if !has_server {
        return host::etcd_service().disable_now().await.context("cannot stop etcd's service");
    }
    match membership::restart(world).await {
        Ok(()) => Ok(()),
        Err(Trouble::NotYet(why) | Trouble::Failed(why)) => Err(anyhow!(why)),
    }
}

pub(super) fn installed() -> Result<Installed> {
    let installed = Snap::new("etcd").installed().context("cannot tell what is installed")?;
    installed.context("the etcd snap is not installed")
}

/// snapd would bring back the data as it was before the change. If the new revision has written since, that is what the
/// old one must go on with, and only one of the same minor version understands it for certain.
fn carry_over(new: &Installed, old: &Installed, revisions: &Path) -> Result<()> {
    let member = |revision: &Installed| revisions.join(&revision.revision).join("member");
    let (from, to) = (member(new), member(old));
    if contents(&from)? == contents(&to)? {
        return Ok(());
    }
    check_understood(new, old)?;
    if to.exists() {
        host_files::move_aside(&to, "reverted").context("cannot keep the data of before")?;
    }
    host_files::publish(&from, &to).context("cannot carry the data over")
}

/// Data on storage belongs to no revision: snapd copies nothing, and both write to the same files. What is older than the
/// link was written by the old one.
fn leave_in_place(new: &Installed, old: &Installed, data: &Path, link: &Path) -> Result<()> {
    let meta =
        std::fs::symlink_metadata(link).with_context(|| format!("cannot look at {}", link.display()))?;
    let placed = meta.modified()?;
    if contents(&data.join("member"))?.values().all(|(_, written)| *written < placed) {
        return Ok(());
    }
    check_understood(new, old)
}

/// Whether the old revision can go on with what the new one has written.
fn check_understood(new: &Installed, old: &Installed) -> Result<()> {
    let minor =
        |installed: &Installed| installed.version.parse().map(|version: Version| version.minor_version());
    if minor(new)? == minor(old)? {
        return Ok(());
    }
    Err(anyhow!(
        "etcd {} has written data already, which {} may not understand; it was left in place: look at its log; replace this unit where others serve, otherwise restore the last snapshot in a new application",
        new.version,
        old.version
    ))
}

/// Log and database below a member's directory: names, sizes and times of their last change. Both are only ever written
/// in place or appended to, and a copy keeps the times.
fn contents(directory: &Path) -> Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut found = BTreeMap::new();
    for part in ["wal", "snap"] {
        let folder = directory.join(part);
        for name in host_files::list(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = folder.join(&name);
            let meta =
                std::fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            // Space that etcd keeps ready for its next log file holds nothing.
            if !name.ends_with(".tmp") {
                found.insert(Path::new(part).join(name), (meta.len(), meta.modified()?));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(revision: &str, version: &str) -> Installed {
        Installed { revision: revision.into(), version: version.into() }
    }

    /// Revision 1 with data and its copy as revision 2.
    fn copied() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for part in ["wal", "snap"] {
            let name = if part == "wal" { "0.wal" } else { "db" };
            for revision in ["1", "2"] {
                let folder = home.path().join(revision).join("member").join(part);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(name), "promised").unwrap();
                let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            }
        }
        home
    }

    fn database(home: &Path, revision: &str) -> String {
        std::fs::read_to_string(home.join(revision).join("member/snap/db")).unwrap()
    }

    #[test]
    fn what_was_not_written_to_stays_where_it_is() {
        let home = copied();
        std::fs::write(home.path().join("2/member/wal/0.tmp"), "").unwrap();
        carry_over(&revision("2", "3.5.16"), &revision("1", "3.4.23"), home.path()).unwrap();
        assert_eq!(database(home.path(), "2"), "promised");
    }

    #[test]
    fn what_the_same_minor_has_written_is_gone_on_with_and_nothing_is_deleted() {
        let home = copied();
        std::fs::write(home.path().join("2/member/snap/db"), "promised more").unwrap();
        carry_over(&revision("2", "3.4.30"), &revision("1", "3.4.23"), home.path()).unwrap();
        assert_eq!(database(home.path(), "1"), "promised more");
        let kept = host_files::list(home.path().join("1")).unwrap();
        assert!(kept.len() == 2 && kept[1].starts_with("member.reverted-"), "{kept:?}");
    }

    #[test]
    fn on_storage_the_time_tells_who_has_written() {
        let home = copied();
        let (data, link) = (home.path().join("1"), home.path().join("current"));
        std::os::unix::fs::symlink("2", &link).unwrap();
        let back = |new: &str| leave_in_place(&revision("2", new), &revision("1", "3.4.23"), &data, &link);
        back("3.5.16").unwrap();
        std::fs::write(data.join("member/wal/0.tmp"), "ready").unwrap();
        back("3.5.16").unwrap();
        std::fs::write(data.join("member/snap/db"), "promised").unwrap();
        let error = back("3.5.16").unwrap_err();
        assert!(error.to_string().starts_with("etcd 3.5.16 has written data already"), "{error}");
        back("3.4.30").unwrap();
        std::fs::remove_file(&link).unwrap();
        assert!(back("3.5.16").is_err(), "who does not know does not go back");
        assert_eq!(database(home.path(), "1"), "promised");
    }

    #[test]
    fn what_another_minor_has_written_is_not_taken_back() {
        let home = copied();
        std::fs::write(home.path().join("2/member/snap/db"), "promised more").unwrap();
        let error = carry_over(&revision("2", "3.5.16"), &revision("1", "3.4.23"), home.path()).unwrap_err();
        assert!(error.to_string().starts_with("etcd 3.5.16 has written data already"), "{error}");
        assert_eq!(
            (database(home.path(), "1"), database(home.path(), "2")),
            ("promised".into(), "promised more".into())
        );
    }
}
