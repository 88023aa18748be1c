//! Where etcd's data is: where the running server has it open; else where its file says; else in the usual place, which is
//! storage once that is mounted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use tokio::task::JoinError;

use crate::decide;
use crate::etcd::{self, Identity, LogEnd, OldRecords, OnDisk, read_config};
use crate::host::files;
use crate::storage::{self, Volume};
use crate::world::{Data, Place, Reading};

/// etcd's database within its data directory.
const DATABASE: &str = "member/snap/db";
/// Its log there.
const LOG: &str = "member/wal";
/// Its raft snapshots there, beside the database.
const SNAPSHOTS: &str = "member/snap";
/// How often a log is read whose end is just being written, and what lies between.
const TRIES: usize = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// What etcd uses, or will use.
pub(super) fn place(config: Option<&str>, usual: &Data, volume: &Volume, runs_in: Option<&Place>) -> Place {
    let on_disk = config.and_then(|config| read_config(config).ok());
    let place = runs_in.cloned().or(on_disk.map(|on_disk| named(&on_disk, decide::DATA)));
    let is_ready = volume.mounted.is_some() && volume.unit.is_some() && *usual == Data::Empty;
    match place {
        Some(place) if !is_same(&place.data, decide::DATA) || place.log.is_some() => place,
        Some(_) | None => Place::whole(if is_ready { storage::DATA } else { decide::DATA }),
    }
}

/// What a file means. Nothing in it is etcd's own default, a directory with the member's name; where there is none of that
/// name, the program was told the place in another way.
fn named(on_disk: &OnDisk, home: &str) -> Place {
    let set = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
    let absolute = |path: String| {
        let path = Path::new(home).join(path.trim()).components().collect::<PathBuf>();
        path.display().to_string()
    };
    let by_name = || {
        let own = format!("{home}/{}.etcd", set(&on_disk.name).unwrap_or_else(|| "default".to_owned()));
        Path::new(&own).join("member").is_dir().then_some(own)
    };
    let data = set(&on_disk.data_dir).map(absolute).or_else(by_name).unwrap_or_else(|| home.to_owned());
    let data = usual_name(data, home);
    let log = set(&on_disk.wal_dir).map(absolute).filter(|log| !is_same(log, &format!("{data}/{LOG}")));
    Place { data, log }
}

/// Where a server has its database and its log open.
pub(super) fn of_open_files(open: &BTreeSet<PathBuf>) -> Option<Place> {
    let database = open.iter().find_map(|path| path.to_str()?.strip_suffix(DATABASE)?.strip_suffix('/'))?;
    let is_log = |path: &&PathBuf| path.extension().is_some_and(|end| end == "wal");
    let log = open.iter().find(is_log).and_then(|path| path.parent()).map(|log| log.display().to_string());
    let log = log.filter(|log| !is_same(log, &format!("{database}/{LOG}")));
    Some(Place { data: usual_name(usual_name(database.to_owned(), decide::DATA), storage::DATA), log })
}

/// `/var/snap/etcd/current` is a link: its target is the same place.
fn usual_name(path: String, usual: &str) -> String {
    if is_same(&path, usual) { usual.to_owned() } else { path }
}

fn is_same(one: &str, other: &str) -> bool {
    let real = |path: &str| fs::canonicalize(path).ok();
    one.trim_end_matches('/') == other.trim_end_matches('/')
        || real(one).is_some_and(|one| Some(one) == real(other))
}

/// The member's data there. Log and database are judged by their files: etcd makes the empty directories before it has any
/// data.
pub(super) fn data(place: &Place) -> Data {
    let has_log = match files::list(log(place)) {
        Ok(names) => names.iter().any(|name| name.ends_with(".wal")),
        Err(error) => return Data::Unreadable(format!("{}: {error}", log(place).display())),
    };
    let database = Path::new(&place.data).join(DATABASE);
    let has_database = match database.try_exists() {
        Ok(exists) => exists,
        Err(error) => return Data::Unreadable(format!("{}: {error}", database.display())),
    };
    match (has_log, has_database) {
        (false, false) => Data::Empty,
        (true, true) => Data::Present,
        (true, false) => Data::Partial("the database (member/snap/db)"),
        (false, true) => Data::Partial("the log (member/wal)"),
    }
}

fn log(place: &Place) -> PathBuf {
    place.log.as_ref().map_or_else(|| Path::new(&place.data).join(LOG), PathBuf::from)
}

/// Whose the data there is. What cannot be read proves nothing.
pub(super) fn identity(place: &Place) -> Option<Identity> {
    let found = etcd::identity(&log(place));
    found.inspect_err(|error| tracing::debug!(place = %place, error = %error, "the log tells no owner")).ok()
}

/// How far the log there goes. It may be long.
pub(super) async fn log_end(place: &Place) -> Reading<LogEnd> {
    let directory = log(place);
    reading(tokio::task::spawn_blocking(move || etcd::log_end(&directory)).await)
}

/// What etcd's old store has left in the member's files there, while its server runs.
pub(super) async fn old_records(place: &Place) -> Reading<OldRecords> {
    let (log, snapshots) = (log(place), Path::new(&place.data).join(SNAPSHOTS));
    let look = move || {
        for _ in 1..TRIES {
            if let Ok(found) = etcd::old_records(&log, &snapshots) {
                return Ok(found);
            }
            #[expect(clippy::disallowed_methods, reason = "this is a thread for work that blocks")]
            std::thread::sleep(BETWEEN_TRIES);
        }
        etcd::old_records(&log, &snapshots)
    };
    reading(tokio::task::spawn_blocking(look).await)
}

fn reading<T>(read: Result<std::io::Result<T>, JoinError>) -> Reading<T> {
    match read {
        Ok(Ok(found)) => Reading::Known(found),
        Ok(Err(error)) => Reading::Unknown(error.to_string()),
        Err(error) => Reading::Unknown(error.to_string()),
    }
}

/// Whether what is in the usual place was written after what is in this other one. What cannot be looked at may have been.
pub(super) fn usual_is_newer(place: &Place) -> bool {
    let usual = Place::whole(decide::DATA);
    let is_elsewhere = *place != usual && *place != Place::whole(storage::DATA);
    is_elsewhere && is_newer(&usual, place).unwrap_or(true)
}

fn is_newer(usual: &Place, place: &Place) -> Result<bool> {
    let mut parts = vec![(log(usual), log(place))];
    if usual.data != place.data {
        parts.push((Path::new(&usual.data).join("member/snap"), Path::new(&place.data).join("member/snap")));
    }
    let (mut here, mut there) = (None, None);
    for (usual, other) in parts {
        here = here.max(last_change(&usual)?);
        there = there.max(last_change(&other)?);
    }
    Ok(here > there)
}

/// Of log and database; what etcd keeps ready for its next log file holds nothing.
fn last_change(directory: &Path) -> Result<Option<SystemTime>> {
    let mut last = None;
    for name in files::list(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        if name == "db" || name.ends_with(".wal") {
            let path = directory.join(name);
            let meta = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            last = last.max(Some(meta.modified()?));
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_disk(text: &str) -> OnDisk {
        read_config(text).unwrap()
    }

    #[test]
    fn a_file_names_its_place_in_many_ways() {
        let home = tempfile::tempdir().unwrap();
        let revision = home.path().join("x1");
        fs::create_dir(&revision).unwrap();
        std::os::unix::fs::symlink("x1", home.path().join("current")).unwrap();
        let current = home.path().join("current").display().to_string();
        let place = |text: &str| named(&on_disk(text), &current);
        let usual = Place::whole(&current);
        for same in ["".to_owned(), "data-dir: ''".to_owned(), format!("data-dir: {current}/")] {
            assert_eq!(place(&same), usual, "{same}");
        }
        assert_eq!(place(&format!("data-dir: {}", revision.display())), usual, "what the link leads to");
        assert_eq!(place(&format!("wal-dir: {current}/member/wal/")), usual);
        assert_eq!(place("data-dir: /srv/etcd/"), Place::whole("/srv/etcd"));
        assert_eq!(place("wal-dir: /fast"), Place { log: Some("/fast".into()), ..usual.clone() });
        assert_eq!(
            place("name: etcd0\ndata-dir: etcd0.etcd"),
            Place::whole(&format!("{current}/etcd0.etcd"))
        );
        assert_eq!(place("name: etcd0"), usual);
        fs::create_dir_all(revision.join("etcd0.etcd/member")).unwrap();
        assert_eq!(place("name: etcd0"), Place::whole(&format!("{current}/etcd0.etcd")));
    }

    #[test]
    fn open_files_tell_where_a_server_is() {
        let open = |paths: &[&str]| of_open_files(&paths.iter().map(PathBuf::from).collect());
        assert_eq!(open(&["/srv/a/member/wal/0.wal"]), None);
        let database = "/srv/a/member/snap/db";
        assert_eq!(open(&[database, "/srv/a/member/wal/0.wal"]), Some(Place::whole("/srv/a")));
        let apart = Place { data: "/srv/a".into(), log: Some("/fast".into()) };
        assert_eq!(open(&[database, "/fast/0.wal"]), Some(apart));
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_empty() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::whole(&home.path().join("file").display().to_string());
        assert_eq!(data(&place), Data::Empty);
        fs::write(&place.data, "").unwrap();
        assert!(matches!(data(&place), Data::Unreadable(why) if why.contains("/file/member/wal: ")));
    }

    #[test]
    fn the_later_copy_is_known_by_its_files() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| Place::whole(&home.path().join(name).display().to_string());
        let write = |name: &str, file: &str, second: u64| {
            let path = home.path().join(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        };
        write("moved", "member/wal/0.wal", 5);
        assert!(!is_newer(&at("usual"), &at("moved")).unwrap(), "nothing there");
        write("usual", "member/wal/0.wal", 4);
        write("usual", "member/wal/1.tmp", 9);
        assert!(!is_newer(&at("usual"), &at("moved")).unwrap());
        write("usual", "member/snap/db", 6);
        assert!(is_newer(&at("usual"), &at("moved")).unwrap());
        write("moved", "member/snap/db", 6);
        assert!(!is_newer(&at("usual"), &at("moved")).unwrap(), "a copy that was cut off");
    }
}
