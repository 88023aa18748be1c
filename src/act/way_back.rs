//! The way back to the etcd of before. Invariants: what this member has promised to its cluster is never taken back: an older
//! copy of its data is used again only if nothing was written since; an older etcd gets what a newer one has written only
//! while the cluster's version is its own; and the way can be gone again from wherever it was left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::decide::{DATA, REVISIONS};
use crate::etcd::{self, Version};
use crate::host::{self, Installed, Release, Releases, Snap, files as host_files};
use crate::world::World;

/// snapd makes this link anew when the server of one revision has ended and that of the next one has not begun.
const LINK: &str = "/snap/etcd/current";

/// The old etcd may not start on what the new one has written: nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{why}; etcd {new} was left in place: look at its log; replace this unit where others serve, otherwise restore the last snapshot in a new application"
)]
pub(super) struct Barred {
    new: String,
    why: String,
}

/// Puts the old one in place, with every byte that the new one has written. Nothing runs afterwards.
///
/// # Errors
/// [`Barred`], or what has gone wrong on the way; it can be gone again.
pub(super) async fn put_back(old: &Installed, world: &World) -> Result<()> {
    let new = installed()?;
    if new.revision == old.revision {
        return Ok(());
    }
    host::etcd_service().stop().await.context("cannot stop etcd's service")?;
    let (data, releases) = (world.host.place.data.as_str(), Releases::system());
    if world.host.releases.current.is_some() {
        leave_in_place(&new, old, Path::new(data), &releases.current_path())?;
        let old = Release { version: old.version.clone(), id: old.revision.clone() };
        return releases.switch_to(&old).context("cannot switch back to the release of before");
    }
    match data {
        DATA => carry_over(&new, old, Path::new(REVISIONS))?,
        shared => leave_in_place(&new, old, Path::new(shared), Path::new(LINK))?,
    }
    Ok(Snap::new("etcd").revert().await?)
}

/// The snap, or the release that is run instead: its digits stand for the revision.
pub(super) fn installed() -> Result<Installed> {
    let release = Releases::system().current().context("cannot tell which release runs")?;
    if let Some(release) = release {
        return Ok(release.into());
    }
    let installed = Snap::new("etcd").installed().context("cannot tell what is installed")?;
    installed.context("the etcd snap is not installed")
}

/// snapd would bring back the data as it was before the change. If the new revision has written since, that is what the
/// old one must go on with.
fn carry_over(new: &Installed, old: &Installed, revisions: &Path) -> Result<()> {
    let member = |revision: &Installed| revisions.join(&revision.revision).join("member");
    let (from, to) = (member(new), member(old));
    // Once carried, whatever is found or made in the old place since holds no promise of this member.
    if contents(&from)? == contents(&to)? || (!has_log(&from)? && has_log(&to)?) {
        return Ok(());
    }
    check_understood(new, old, &from)?;
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
    let member = data.join("member");
    if contents(&member)?.values().all(|(_, written)| *written < placed) {
        return Ok(());
    }
    check_understood(new, old, &member)
}

/// Whether the old one can go on with what the new one has written below the member's directory.
fn check_understood(new: &Installed, old: &Installed, member: &Path) -> Result<()> {
    let minor =
        |installed: &Installed| installed.version.parse().map(|version: Version| version.minor_version());
    let minor_of_old = minor(old)?;
    if minor(new)? == minor_of_old {
        return Ok(());
    }
    let why = match etcd::agreed_version(&member.join("wal"), &member.join("snap")) {
        Ok(Some(agreed)) if agreed > minor_of_old => format!(
            "the cluster has agreed on version {agreed} already, with which etcd {} does not start",
            old.version
        ),
        Ok(_) => return Ok(()),
        Err(error) => format!("cannot tell whether etcd {} starts on its data: {error}", old.version),
    };
    Err(Barred { new: new.version.clone(), why }.into())
}

fn has_log(member: &Path) -> Result<bool> {
    let folder = member.join("wal");
    let names = host_files::list(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(names.iter().any(|name| name.ends_with(".wal")))
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
            let (name, text) = match part {
                "wal" => ("0-0.wal", etcd::log_that_sets("3.4.0")),
                _ => ("db", b"promised".to_vec()),
            };
            for revision in ["1", "2"] {
                let folder = home.path().join(revision).join("member").join(part);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(name), &text).unwrap();
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

    /// Whoever is killed on the way, or whose snapd does not revert, begins it again.
    #[test]
    fn what_was_carried_over_once_is_not_taken_for_the_old_data() {
        let home = copied();
        std::fs::write(home.path().join("2/member/snap/db"), "promised more").unwrap();
        let carry = || carry_over(&revision("2", "3.4.30"), &revision("1", "3.4.23"), home.path());
        // Killed between the two renames.
        std::fs::rename(home.path().join("1/member"), home.path().join("1/member.reverted-1")).unwrap();
        carry().unwrap();
        assert_eq!(database(home.path(), "1"), "promised more");
        carry().unwrap();
        // A server that was started on the empty place makes a database before its log.
        std::fs::create_dir_all(home.path().join("2/member/snap")).unwrap();
        std::fs::write(home.path().join("2/member/snap/db"), "new").unwrap();
        carry().unwrap();
        assert_eq!(database(home.path(), "1"), "promised more");
        assert_eq!(host_files::list(home.path().join("1")).unwrap().len(), 2);
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
        back("3.5.16").unwrap();
        std::fs::write(data.join("member/wal/0-0.wal"), etcd::log_that_sets("3.5.0")).unwrap();
        let error = back("3.5.16").unwrap_err().to_string();
        assert!(error.starts_with("the cluster has agreed on version 3.5 already"), "{error}");
        back("3.4.30").unwrap();
        std::fs::remove_file(&link).unwrap();
        assert!(back("3.5.16").is_err(), "who does not know does not go back");
        assert_eq!(database(home.path(), "1"), "promised");
    }

    #[test]
    fn what_another_minor_has_written_is_taken_back_until_the_cluster_agrees_on_it() {
        let home = copied();
        let log = home.path().join("2/member/wal/0-0.wal");
        let carry = || carry_over(&revision("2", "3.5.16"), &revision("1", "3.4.23"), home.path());
        std::fs::write(home.path().join("2/member/snap/db"), "promised more").unwrap();
        for (text, why) in [
            (
                etcd::log_that_sets("3.5.0"),
                "the cluster has agreed on version 3.5 already, with which etcd 3.4.23 does",
            ),
            (b"torn off somewhere".to_vec(), "cannot tell whether etcd 3.4.23 starts on its data: "),
        ] {
            std::fs::write(&log, text).unwrap();
            let error = carry().unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
            assert_eq!(database(home.path(), "1"), "promised");
        }
        std::fs::write(&log, etcd::log_that_sets("3.4.0")).unwrap();
        carry().unwrap();
        assert_eq!(database(home.path(), "1"), "promised more");
    }
}
