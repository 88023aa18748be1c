//! Data that is neither in the usual place nor on storage: an operator has moved it, or an earlier charm began it there.
//!
//! Invariant: the place that etcd's file names is never changed by a restart alone. etcd goes on there, and its data is moved
//! home under the restart lock; where it cannot tell which of two places counts, nothing is started.

use super::super::Next;
use super::super::status::AGAIN;
use super::{DATA, aside, is_on_storage, move_to, usable};
use crate::juju::Status;
use crate::world::{Data, Door, Moved, Place, Service, World};

/// Where the data is found when it is in neither of the two places that this charm chooses.
pub(in super::super) fn is_elsewhere(w: &World) -> bool {
    w.host.place.log.is_some() || !(is_on_storage(w) || w.host.place.data == DATA)
}

/// etcd is not started in a place that does not hold the newest data.
pub(in super::super) fn why_not_start(w: &World) -> Option<Next> {
    if !is_elsewhere(w) || matches!(w.host.service, Service::Running) || is_open(w) {
        return None;
    }
    let place = &w.host.place;
    let why = match (&w.host.data, &w.host.root_data) {
        (Data::Empty, Data::Empty) => format!(
            "etcd.conf.yml has etcd's data in {place}, and nothing is there: mount it or bring it back; if it is lost for good, remove this unit and add another"
        ),
        (Data::Empty, _) => format!(
            "etcd.conf.yml has etcd's data in {place}, and nothing is there, but {DATA} holds data: move that there, or correct {} in etcd.conf.yml",
            keys(place)
        ),
        (Data::Present, Data::Present | Data::Partial(_)) if w.host.usual_is_newer => format!(
            "etcd.conf.yml has etcd's data in {place}, but what is in {DATA} was written later: etcd is not started; correct {} in etcd.conf.yml, or move member in {DATA} away",
            keys(place)
        ),
        _ => return None,
    };
    Some(Next::Done(Status::blocked(why)))
}

fn keys(place: &Place) -> &'static str {
    if place.log.is_some() { "data-dir and wal-dir" } else { "data-dir" }
}

/// A settled member takes its data home, where nothing else wants a restart. Storage that is attached takes it in instead.
pub(in super::super) fn move_home(w: &World) -> Option<Next> {
    let is_seen = w.host.runs_in.as_ref() == Some(&w.host.place);
    if !is_elsewhere(w) || !is_seen || usable(w).is_some() || w.tried.in_vain("move-data").is_some() {
        return None;
    }
    let serves = w.own_status().is_some_and(|status| !status.learner) && w.members().is_some();
    if serves && w.host.place.data != DATA && w.host.root_data != Data::Empty {
        return Some(aside(Moved::ElsewhereNow, DATA));
    }
    move_to(w, DATA)
}

/// Why the data is not at home yet.
pub(in super::super) fn why_it_waits(w: &World) -> Option<Status> {
    if !is_elsewhere(w) || !is_open(w) {
        return None;
    }
    let place = &w.host.place;
    if let Some(error) = w.tried.in_vain("move-data") {
        let told = format!("etcd's data is in {place} and was not moved to {DATA}: {error}");
        return Some(if w.tried.not_yet("move-data") {
            Status::waiting(told)
        } else {
            Status::blocked(format!("{told}; {AGAIN}"))
        });
    }
    let error = w.tried.in_vain("move-data-aside");
    let why = error.unwrap_or("which files the server has open cannot be seen");
    Some(Status::blocked(format!("etcd's data is in {place} and is not moved to {DATA}: {why}; {AGAIN}")))
}

fn is_open(w: &World) -> bool {
    matches!(w.etcd.door, Door::Open(_))
}

#[cfg(test)]
mod tests {
    use super::super::super::worlds::{converge_files, done, settled, three};
    use super::super::super::{Next, next};
    use super::*;
    use crate::juju::StatusKind;
    use crate::step::Step;
    use crate::storage;

    /// A settled member whose data is there; `root`: what is in the usual place.
    fn settled_in(place: Place, root: Data) -> World {
        let mut w = settled(0, &three());
        w.host.place = place.clone();
        w.host.runs_in = Some(place);
        w.host.root_data = root;
        converge_files(&mut w);
        w
    }

    fn moved() -> Place {
        Place::whole("/srv/etcd")
    }

    fn log_apart() -> Place {
        Place { log: Some("/fast/wal".into()), ..Place::whole(DATA) }
    }

    fn stopped(mut w: World) -> World {
        w.etcd.door = Door::Closed;
        w.host.service = Service::Stopped;
        w.host.runs_in = None;
        w
    }

    #[test]
    fn no_restart_changes_the_place_of_the_data() {
        for place in [moved(), log_apart(), Place { log: Some("/fast/wal".into()), ..moved() }] {
            let w = settled_in(place.clone(), Data::Empty);
            let config = crate::etcd::read_config(w.host.config.as_deref().unwrap()).unwrap();
            assert_eq!((config.data_dir, config.wal_dir), (Some(place.data.clone()), place.log.clone()));
            assert_eq!(next(&stopped(w)), Next::Do(Step::StartService), "{place}");
        }
    }

    #[test]
    fn it_is_moved_home_as_the_last_of_all_and_a_stale_copy_makes_room() {
        let w = settled_in(moved(), Data::Present);
        assert_eq!(next(&w), aside(Moved::ElsewhereNow, DATA));
        let mut w = settled_in(moved(), Data::Empty);
        let Next::Do(Step::MoveData { from, to, settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!((from, to), (moved(), DATA));
        assert_eq!((settings.data_dir.as_str(), &settings.wal_dir), (DATA, &None));
        w.tried.in_vain.insert("move-data", "the data is 9 MiB and 1 MiB are free".into());
        let status = done(next(&w));
        assert_eq!(status.kind, StatusKind::Blocked);
        let told =
            "etcd's data is in /srv/etcd and was not moved to /var/snap/etcd/current: the data is 9 MiB";
        assert!(status.message.starts_with(told), "{}", status.message);
        // Half of what is in the usual place is in use.
        let w = settled_in(log_apart(), Data::Present);
        assert!(matches!(next(&w), Next::Do(Step::MoveData { from, .. }) if from == log_apart()));
    }

    #[test]
    fn a_member_that_is_not_seen_there_is_not_moved() {
        let mut w = settled_in(moved(), Data::Present);
        w.host.runs_in = None;
        let told = done(next(&w)).message;
        assert!(told.contains("/srv/etcd") && told.contains("cannot be seen"), "{told}");
        let mut w = settled_in(moved(), Data::Empty);
        w.etcd.roster = crate::world::Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
        assert!(!matches!(next(&w), Next::Do(Step::MoveData { .. })), "nobody else is known to serve");
    }

    #[test]
    fn a_move_that_was_killed_begins_again() {
        let w = stopped(settled_in(moved(), Data::Present));
        assert_eq!(
            next(&w),
            Next::Do(Step::StartService),
            "on what the file names, which is as new as its copy"
        );
    }

    #[test]
    fn nothing_is_started_where_the_newest_data_is_not() {
        let told = |w: &World| {
            let status = done(next(w));
            assert_eq!(status.kind, StatusKind::Blocked);
            assert!(status.message.contains("/srv/etcd"), "{}", status.message);
            status.message
        };
        let mut w = stopped(settled_in(moved(), Data::Present));
        w.host.usual_is_newer = true;
        assert!(told(&w).contains("what is in /var/snap/etcd/current was written later"));
        w.host.usual_is_newer = false;
        w.host.data = Data::Empty;
        assert!(told(&w).contains("but /var/snap/etcd/current holds data"));
        w.host.root_data = Data::Empty;
        assert!(told(&w).contains("mount it or bring it back"));
        w.host.data = Data::Unreadable("/srv/etcd/member/wal: I/O error".into());
        assert!(told(&w).contains("I/O error"));
    }

    #[test]
    fn storage_takes_it_in_instead() {
        let mut w = settled_in(moved(), Data::Empty);
        super::super::tests::mount(&mut w, Data::Empty, super::super::tests::owner("etcd/0", 3));
        let Next::Do(Step::MoveData { from, to, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!((from, to), (moved(), storage::DATA));
    }
}
