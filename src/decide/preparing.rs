//! The last restart before an etcd without the old store. Neither 3.6 nor 3.7 starts on a log with certain requests to that store, and
//! on the way to 3.6 members that were promoted on an early 3.5 need one more start on a later one. So each member restarts
//! once more, with raft snapshots that follow each other closely, and its log is cut by one. None moves before all
//! have done so: a member that is behind is sent what another one has in its log.

use super::Next;
use super::minors::{self, WITHOUT_V2};
use super::{release, upgrade};
use crate::etcd::{Minor, OldRecords, read_config};
use crate::options::Options;
use crate::step::Step;
use crate::world::{Door, Reading, World};

/// Entries between two raft snapshots meanwhile: written in seconds where nothing else is, and no burden where much is.
const SNAPSHOT_COUNT: u64 = 500;

/// The version that the operator wants, if this member has to prepare for it and nothing else is in its way.
pub fn goal(w: &World) -> Option<Minor> {
    let next = w.installed_version()?.minor_version().next();
    let by_channel = match upgrade::goal(w) {
        Reading::Known(minor) => minor,
        Reading::Unknown(_) => None,
    };
    let wanted = by_channel.or_else(|| release::goal(w))?;
    let is_it = wanted == next && needs_it(next) && minors::why_never(w, "", next).is_none();
    is_it.then_some(next)
}

/// Whether members prepare before this version. What runs on 3.7 has nothing of the old store left.
pub fn needs_it(minor: Minor) -> bool {
    minor == WITHOUT_V2 || minor == WITHOUT_V2.next()
}

/// What the operator's number becomes meanwhile: another one in any case, so that the server restarts.
pub(super) fn snapshot_count(w: &World, options: &Options) -> Option<u64> {
    let Some(goal) = goal(w) else {
        // A store that does not answer for a moment is no reason to restart.
        let is_unclear = matches!(upgrade::goal(w), Reading::Unknown(_));
        return (is_unclear && is_written(w, options)).then(|| closely(options));
    };
    let holds_some = matches!(&w.host.old_records, Reading::Known(records) if !is_clear(records, goal));
    let is_due = must_restart(goal) || holds_some || is_written(w, options);
    is_due.then(|| closely(options))
}

/// Whatever its log holds: 3.6 reads the members from another place, which only a start on a later 3.5 puts right.
fn must_restart(goal: Minor) -> bool {
    goal == WITHOUT_V2
}

fn closely(options: &Options) -> u64 {
    match options.snapshot_count.unwrap_or(SNAPSHOT_COUNT).min(SNAPSHOT_COUNT) {
        1 => 2,
        count => count - 1,
    }
}

fn is_written(w: &World, options: &Options) -> bool {
    let file = w.host.config.as_deref().and_then(|config| read_config(config).ok());
    file.is_some_and(|file| file.snapshot_count == closely(options))
}

/// The server runs with closer snapshots.
fn has_restarted(w: &World) -> bool {
    let is_written = w.options.as_ref().is_ok_and(|options| is_written(w, options));
    is_written && w.host.restart_due.is_none() && matches!(w.etcd.door, Door::Open(_))
}

fn is_clear(records: &OldRecords, goal: Minor) -> bool {
    match records {
        OldRecords::None => true,
        OldRecords::Own => goal == WITHOUT_V2,
        OldRecords::Request(_) | OldRecords::Keys => false,
    }
}

/// Cuts the log, once the server runs with closer snapshots.
pub(super) fn next(w: &World) -> Option<Next> {
    let goal = goal(w)?;
    let is_full = match &w.host.old_records {
        Reading::Known(records) => !is_clear(records, goal),
        // A damaged snapshot stays the newest one until the next.
        Reading::Unknown(_) => true,
    };
    let is_due = has_restarted(w) && is_full && w.tried.in_vain("cut-log").is_none();
    is_due.then_some(Next::Do(Step::CutLog { entries: SNAPSHOT_COUNT }))
}

/// The version that could start on this member's data.
pub(super) fn ready_for(w: &World) -> Option<Minor> {
    let goal = goal(w)?;
    let is_clear = matches!(&w.host.old_records, Reading::Known(records) if is_clear(records, goal));
    (is_clear && (has_restarted(w) || !must_restart(goal))).then_some(goal)
}

/// Who has not come so far, and why if it is this unit.
pub(super) fn who_is_not_ready(w: &World, goal: Minor) -> Option<String> {
    if ready_for(w) != Some(goal) {
        let why = match (&w.host.old_records, w.tried.in_vain("cut-log")) {
            (_, Some(why)) => format!(" ({why})"),
            (Reading::Unknown(why), _) if has_restarted(w) => format!(" ({why})"),
            _ => String::new(),
        };
        return Some(format!("{}{why}", w.unit));
    }
    let Some(members) = w.members() else { return Some("a quorum".to_owned()) };
    let own = w.own_status().map(|status| status.member);
    let mut others = members.iter().filter(|member| !member.learner && Some(member.id) != own);
    others.find_map(|member| {
        let unit = w.peers.units.iter().find(|(_, peer)| peer.record.member == Some(member.id));
        let record = unit.map(|(_, peer)| &peer.record);
        let version = minors::version_of(w, member.id, record);
        let has_moved = version.is_some_and(|version| version.minor_version() >= goal);
        let is_ready = has_moved || record.is_some_and(|record| record.prepared_for == Some(goal));
        (!is_ready).then(|| unit.map_or_else(|| member.name.clone(), |(unit, _)| unit.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{converge_files, done, settled, three};
    use super::*;
    use crate::host::Installed;
    use crate::options::WantedChannel;
    use crate::world::Following;

    /// etcd/1 of three on 3.5.30 that are to become 3.6, all prepared.
    fn prepared() -> World {
        on("3.5.30", "3.6")
    }

    fn on(version: &str, goal: &str) -> World {
        let mut w = settled(1, &three());
        w.host.snap = Reading::Known(Some(Installed { revision: "240".into(), version: version.into() }));
        follow(&mut w, goal);
        w.host.old_records = Reading::Known(OldRecords::None);
        for peer in w.peers.units.values_mut() {
            peer.record.version = version.parse().ok();
            peer.record.prepared_for = goal.parse().ok();
        }
        converge_files(&mut w);
        w
    }

    fn follow(w: &mut World, track: &str) {
        let channel = WantedChannel::Named(format!("{track}/stable").parse().unwrap());
        w.options.as_mut().unwrap().channel = channel;
    }

    fn waits(w: &World) -> String {
        done(next(w)).to_string()
    }

    #[test]
    fn each_member_restarts_with_closer_snapshots_before_the_first_moves() {
        let mut w = prepared();
        w.host.config = settled(1, &three()).host.config;
        let Next::Do(Step::WriteConfig { settings, restart, .. }) = next(&w) else {
            panic!("{:?}", next(&w))
        };
        assert_eq!((settings.snapshot_count, restart), (499, true));
        for (own, closer) in [(1, 2), (7, 6), (100_000, 499)] {
            let mut options = w.options.clone().unwrap();
            options.snapshot_count = Some(own);
            assert_eq!(closely(&options), closer);
        }
        follow(&mut w, "3.5");
        assert_eq!(goal(&w), None);
    }

    #[test]
    fn a_log_with_requests_to_the_old_store_is_cut() {
        let mut w = prepared();
        w.host.old_records = Reading::Known(OldRecords::Request("QGET /".into()));
        assert_eq!(next(&w), Next::Do(Step::CutLog { entries: 500 }));
        w.tried.in_vain.insert("cut-log", "no snapshot came".into());
        assert_eq!(
            waits(&w),
            "waiting channel 3.6/stable: each unit restarts once more on 3.5 first, so that 3.6 finds nothing of the v2 store: waiting for etcd/1 (no snapshot came)"
        );
    }

    /// etcd itself writes to the old store up to 3.5, and 3.7 does not start on that either.
    #[test]
    fn a_member_on_3_6_restarts_only_if_its_log_still_holds_something() {
        let mut w = on("3.6.16", "3.7");
        assert!(!has_restarted(&w), "as it was is good enough");
        assert_eq!(ready_for(&w), "3.7".parse().ok());
        w.host.old_records = Reading::Known(OldRecords::Own);
        let Next::Do(Step::WriteConfig { settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(settings.snapshot_count, 499);
        converge_files(&mut w);
        assert_eq!(next(&w), Next::Do(Step::CutLog { entries: 500 }));
        w.host.old_records = Reading::Known(OldRecords::None);
        assert!(has_restarted(&w) && ready_for(&w).is_some(), "it does not restart again to go back");
        let mut before = prepared();
        before.host.old_records = Reading::Known(OldRecords::Own);
        assert_eq!(ready_for(&before), Some(WITHOUT_V2), "3.6 takes them");
        assert_eq!(goal(&on("3.7.3", "3.8")), None);
    }

    #[test]
    fn a_silent_store_restarts_nobody() {
        let mut w = prepared();
        follow(&mut w, "latest");
        w.host.following = Following::Unknown("snapd does not answer".into());
        assert_eq!(snapshot_count(&w, w.options.as_ref().unwrap()), Some(499));
        w.host.following = Following::Named;
        assert_eq!(snapshot_count(&w, w.options.as_ref().unwrap()), None);
    }

    #[test]
    fn nobody_moves_before_all_are_ready() {
        let mut w = prepared();
        assert_eq!(ready_for(&w), Some(WITHOUT_V2));
        let unit = "etcd/2".parse().unwrap();
        w.peers.units.get_mut(&unit).unwrap().record.prepared_for = None;
        assert_eq!(
            waits(&w),
            "waiting channel 3.6/stable: each unit restarts once more on 3.5 first, so that 3.6 finds nothing of the v2 store: waiting for etcd/2"
        );
        w.peers.units.get_mut(&unit).unwrap().record.version = "3.6.16".parse().ok();
        assert_eq!(who_is_not_ready(&w, WITHOUT_V2), None, "it has moved already");
        let record = w.peers.units.remove(&unit).unwrap();
        let who = who_is_not_ready(&w, WITHOUT_V2);
        assert_eq!(who.as_deref(), Some("etcd2"), "a member of which no unit tells");
        w.peers.units.insert(unit, record);
        w.host.restart_due = Some("https://127.0.0.1:2379".into());
        assert_eq!(ready_for(&w), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_an_empty_log() {
        let mut w = prepared();
        w.host.old_records = Reading::Unknown("its end is torn".into());
        assert_eq!(ready_for(&w), None);
        assert!(matches!(next(&w), Next::Do(Step::CutLog { .. })), "a snapshot may help");
        w.tried.in_vain.insert("cut-log", "its end is torn".into());
        assert!(waits(&w).ends_with("waiting for etcd/1 (its end is torn)"));
        w.host.old_records = Reading::Known(OldRecords::Keys);
        converge_files(&mut w);
        assert!(waits(&w).starts_with("blocked channel 3.6/stable: etcd 3.6 does not start on v2 keys"));
    }
}
