//! The way into the directory that is root's alone, from where earlier revisions of this charm kept the same files: beside etcd's
//! configuration, where etcd itself may write. Invariants: a file is there whole or here whole, wherever a run is killed; what etcd
//! could have put there in its place is not believed; and once all is done the old place is never looked at again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::de::DeserializeOwned;

use super::StateFile;
use crate::decide::{COMMON, is_snapd_option};
use crate::host::distrusted::{self, Found};
use crate::host::files;
use crate::json;
use crate::moving::Moving;
use crate::restoring::Journal;

/// Where they were.
pub(super) const EARLIER: &str = COMMON;
/// The directory with the snapshots that are taken before upgrades, in either place.
pub(super) const BEFORE_UPGRADE: &str = "before-upgrade";
/// Says that all of it is here.
const MARK: &str = "moved-in";

/// All that were kept there.
const MOVED: [StateFile; 8] = [
    StateFile::RestartDue,
    StateFile::UpgradeRefused,
    StateFile::Upgrade,
    StateFile::Restore,
    StateFile::OwnRequest,
    StateFile::Draft,
    StateFile::Formatting,
    StateFile::SnapdOptions,
];

pub(super) fn move_in(earlier: &Path, home: &Path) -> Result<()> {
    if files::read(home.join(MARK))?.is_some() {
        return Ok(());
    }
    files::make_dir(home, 0o700)?;
    for file in MOVED {
        take(file, &earlier.join(file.name()), &home.join(file.name()))?;
    }
    take_snapshots(&earlier.join(BEFORE_UPGRADE), &home.join(BEFORE_UPGRADE));
    let text = format!("# Nothing of this charm's own is kept in {} any more.\n", earlier.display());
    files::write_atomic(home.join(MARK), text.as_bytes(), 0o600)?;
    Ok(())
}

/// Only this function writes here before the mark is there: what is here already was taken by a run that was killed.
fn take(file: StateFile, from: &Path, to: &Path) -> Result<()> {
    let found = distrusted::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let is_here = files::read(to).with_context(|| format!("cannot read {}", to.display()))?.is_some();
    match found {
        Found::Nothing => return Ok(()),
        Found::Own(_) if is_here => {}
        Found::Own(bytes) => match check(file, &bytes) {
            Ok(()) => {
                files::write_atomic(to, &bytes, 0o600)
                    .with_context(|| format!("cannot write {}", to.display()))?;
                tracing::info!(from = %from.display(), to = %to.display(), "a file of this charm's own was moved");
            }
            Err(error) => {
                leave_alone(from, &format!("{error:#}"));
                return Ok(());
            }
        },
        Found::Foreign(why) => {
            leave_alone(from, why);
            return Ok(());
        }
    }
    // What is left behind is not believed any more.
    if let Err(error) = files::remove_if_exists(from) {
        tracing::warn!(path = %from.display(), error = %error, "a file that was moved could not be removed");
    }
    Ok(())
}

fn leave_alone(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "a file was left alone: this charm has not written it");
}

/// Whether this charm may have written that: whoever could write there must not name paths or settings of their own choice.
fn check(file: StateFile, bytes: &[u8]) -> Result<()> {
    match file {
        StateFile::Restore => parsed::<Journal>(bytes)?.check(),
        StateFile::Upgrade => parsed::<Moving>(bytes)?.check(),
        StateFile::SnapdOptions => {
            let text = String::from_utf8_lossy(bytes);
            let foreign = text.lines().filter_map(|line| Some(line.split_once('=')?.0));
            let foreign: Vec<&str> = foreign.filter(|key| !is_snapd_option(key)).collect();
            ensure!(foreign.is_empty(), "this charm does not set {}", foreign.join(", "));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| anyhow!("it cannot be understood: {}", json::why(&error)))
}

/// In one rename: nothing depends on them, and on another file system they stay where they are.
fn take_snapshots(from: &Path, to: &Path) {
    let is_own = |meta: &fs::Metadata| meta.is_dir() && meta.uid() == distrusted::own_uid();
    if !fs::symlink_metadata(from).is_ok_and(|meta| is_own(&meta)) {
        return;
    }
    match files::publish(from, to) {
        Ok(()) => tracing::info!(from = %from.display(), to = %to.display(), "earlier snapshots were moved"),
        Err(error) => {
            tracing::warn!(from = %from.display(), error = %error, "earlier snapshots stay where they are");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;

    struct Places {
        root: tempfile::TempDir,
    }

    impl Places {
        fn new() -> Places {
            let places = Places { root: tempfile::tempdir().unwrap() };
            fs::create_dir(places.earlier()).unwrap();
            places
        }

        fn earlier(&self) -> PathBuf {
            self.root.path().join("common")
        }

        fn home(&self) -> PathBuf {
            self.root.path().join("lib/etcd-charm")
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.earlier().join(name), text).unwrap();
        }

        fn move_in(&self) {
            move_in(&self.earlier(), &self.home()).unwrap();
        }

        /// Names in the old place, and names in the new one but for the mark.
        fn names(&self) -> (Vec<String>, Vec<String>) {
            let here = files::list(self.home()).unwrap().into_iter().filter(|name| name != MARK).collect();
            (files::list(self.earlier()).unwrap(), here)
        }

        fn text(&self, file: StateFile) -> String {
            fs::read_to_string(self.home().join(file.name())).unwrap()
        }
    }

    const JOURNAL: &str = r#"{"phase":"swapping","kept":"/var/snap/etcd/current/member.before-restore-1","old_cluster":null,"token":"t"}"#;
    const MOVE: &str =
        r#"{"channel":"3.5/stable","old":{"revision":"230","version":"3.4.23"},"followed":null,"back":null}"#;

    #[test]
    fn everything_moves_once_and_is_roots_alone() {
        let places = Places::new();
        for file in MOVED {
            places.put(file.name(), "text");
        }
        places.put("restore.json", JOURNAL);
        places.put("upgrade.json", MOVE);
        places.put("snapd-options", "proxy.http=\nhold=held\n");
        places.put("etcd.conf.yml", "name: etcd0");
        fs::create_dir(places.earlier().join(BEFORE_UPGRADE)).unwrap();
        places.put("before-upgrade/etcd-snapshot-1.tar.gz", "saved");
        places.move_in();
        let (left, here) = places.names();
        assert_eq!((left, here.len()), (vec!["etcd.conf.yml".to_owned()], MOVED.len() + 1));
        assert_eq!(places.text(StateFile::Restore), JOURNAL);
        assert!(places.home().join("before-upgrade/etcd-snapshot-1.tar.gz").exists());
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(places.home()), 0o700);
        assert_eq!(mode(places.home().join("request.json")), 0o600);

        places.put("restore.json", &JOURNAL.replace('1', "2"));
        places.move_in();
        assert_eq!(places.text(StateFile::Restore), JOURNAL, "the old place is not believed any more");
        assert_eq!(places.names().0, ["etcd.conf.yml", "restore.json"]);
    }

    #[test]
    fn a_new_machine_has_nothing_to_move() {
        let places = Places::new();
        fs::remove_dir(places.earlier()).unwrap();
        places.move_in();
        assert_eq!(files::list(places.home()).unwrap(), [MARK]);
    }

    /// At every point between two changes of the disk.
    #[test]
    fn a_run_that_is_killed_is_gone_on_with() {
        for done in 0..MOVED.len() {
            for is_removed in [false, true] {
                let places = Places::new();
                for file in MOVED {
                    places.put(file.name(), "a=b");
                }
                places.put("restore.json", JOURNAL);
                places.put("upgrade.json", MOVE);
                places.put("snapd-options", "hold=held\n");
                fs::create_dir_all(places.home()).unwrap();
                for file in &MOVED[..=done] {
                    fs::copy(places.earlier().join(file.name()), places.home().join(file.name())).unwrap();
                    if is_removed || *file != MOVED[done] {
                        fs::remove_file(places.earlier().join(file.name())).unwrap();
                    }
                }
                if let Some(next) = MOVED.get(done + 1) {
                    let half = format!(".{}.new", next.name());
                    fs::write(places.home().join(half), "a").unwrap();
                }
                places.move_in();
                let (left, here) = places.names();
                assert_eq!((left.len(), here.len()), (0, MOVED.len()), "{done} {here:?}");
                assert_eq!(places.text(StateFile::Formatting), "a=b");
            }
        }
    }

    #[test]
    fn what_etcd_could_have_put_there_is_left_alone() {
        let places = Places::new();
        let at = |name: &str| places.earlier().join(name);
        fs::write(places.root.path().join("secret"), "key").unwrap();
        symlink(places.root.path().join("secret"), at("request.json")).unwrap();
        fs::hard_link(places.root.path().join("secret"), at("authority.json")).unwrap();
        fs::create_dir(at("restart-due")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("upgrade-refused"), rustix::fs::Mode::from(0o600)).unwrap();
        symlink(places.root.path(), at(BEFORE_UPGRADE)).unwrap();
        places.put("restore.json", &JOURNAL.replace("/var/snap/etcd/current/", "/etc/"));
        places.put("upgrade.json", &MOVE.replace("230", "../../../etc"));
        places.put("snapd-options", "system.hostname=\n");
        places.move_in();
        let (left, here) = places.names();
        assert_eq!((left.len(), here), (8, vec![]));
        assert_eq!(fs::read_to_string(places.root.path().join("secret")).unwrap(), "key");
    }
}
