//! A restore that was cut off goes on where the restored data serves, and back where it does not. Once it counts, the
//! leader tells the other units, and they leave their old cluster for the restored one.

use super::{Next, Waiting};
use crate::etcd::ClusterId;
use crate::juju::Status;
use crate::restoring::{Journal, Phase};
use crate::step::Step;
use crate::world::{Data, Door, Leadership, Roster, World};

pub(super) fn next(w: &World) -> Option<Next> {
    let journal = w.host.restore.as_ref()?;
    if let Some(why) = w.tried.in_vain("undo-restore") {
        return Some(Next::Done(cannot_go_back(journal, why)));
    }
    let serving = w.own_status().map(|status| status.cluster).filter(|own| journal.is_restored(*own));
    let undo = || Next::Do(Step::UndoRestore(journal.clone()));
    match (journal.phase, serving) {
        (Phase::Swapping, Some(cluster)) => {
            Some(Next::Do(Step::AcceptRestore { journal: journal.clone(), cluster }))
        }
        (Phase::Swapping, None) => Some(undo()),
        // Whether this unit's server is up at the moment says nothing of it.
        (Phase::Restored, _) if journal.is_told(w.peers.cluster.cluster) => Some(Next::Do(Step::EndRestore)),
        // Only the leader can tell: whoever is it by now still runs the old cluster.
        (Phase::Restored, _) if w.leadership == Leadership::Follower => Some(undo()),
        // The restored data is gone, and nobody knows of it.
        (Phase::Restored, _) if matches!(w.host.data, Data::Empty | Data::Partial(_)) => Some(undo()),
        (Phase::Restored, _) => None,
    }
}

/// A unit that leaves does so with the data that the others know of.
pub(super) fn before_leaving(w: &World) -> Option<Next> {
    let journal = w.host.restore.as_ref()?;
    Some(match w.tried.in_vain("undo-restore") {
        Some(why) => Next::Done(cannot_go_back(journal, why)),
        None if journal.is_told(w.peers.cluster.cluster) => Next::Do(Step::EndRestore),
        None => Next::Do(Step::UndoRestore(journal.clone())),
    })
}

fn cannot_go_back(journal: &Journal, why: &str) -> Status {
    Status::blocked(format!(
        "A restore was cut off and the data of before cannot be put back: {why}; see to the disk, every hook tries again; that data is {}",
        journal.kept.display()
    ))
}

/// The cluster that this unit is to be a member of, as far as it has been told; during a restore that of the restored data, once
/// that has served and as long as it is there.
pub(super) fn cluster(w: &World) -> Option<ClusterId> {
    let Some(journal) = &w.host.restore else { return w.peers.cluster.cluster };
    let restored = || w.own_status().map(|own| own.cluster).filter(|own| journal.is_restored(*own));
    let is_there = journal.phase == Phase::Restored && w.host.data == Data::Present;
    is_there.then(|| journal.cluster().or_else(restored)).flatten()
}

/// This unit's server still belongs to the cluster of before a restore.
pub(super) fn leave_old_cluster(w: &World, own: ClusterId) -> Option<Next> {
    let wanted = w.peers.cluster.cluster.filter(|_| w.host.restore.is_none())?;
    if own == wanted {
        return None;
    }
    Some(match &w.etcd.roster {
        Roster::Confirmed(_) => Next::Do(Step::StopService),
        Roster::Unconfirmed { cause, .. } => Next::Wait(Waiting::Cluster(cause.clone())),
        // The hook that brings the address comes after the one that tells of the restore.
        Roster::NobodyToAsk => {
            Next::Done(Status::waiting("Joining: the restored cluster has not published its address yet"))
        }
    })
}

/// The data on this machine belongs to the cluster of before a restore, by what this unit published of it.
pub(super) fn is_of_old_cluster(w: &World) -> bool {
    match (w.own_record().cluster, w.peers.cluster.cluster) {
        (Some(own), Some(wanted)) => {
            own != wanted && w.host.restore.is_none() && !matches!(w.etcd.door, Door::Open(_))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::serving::publication;
    use super::super::worlds::*;
    use super::*;
    use crate::juju::StatusKind;
    use crate::world::Service;

    const RESTORED: ClusterId = ClusterId(0xd2);

    /// A leader in the middle of a restore; its server answers as a member of `serving`, or not at all.
    fn restoring(phase: Phase, serving: Option<ClusterId>) -> World {
        let mut w = settled(0, &three());
        w.leadership = Leadership::Leader;
        w.host.restore = Some(Journal {
            phase,
            kept: "member.before-restore-1".into(),
            old_cluster: Some(CLUSTER.to_string()),
            token: "t".into(),
            restored: (phase == Phase::Restored).then(|| RESTORED.to_string()),
            from_nothing: false,
        });
        match (serving, &mut w.etcd.door) {
            (Some(cluster), Door::Open(status)) => status.cluster = cluster,
            _ => w.etcd.door = Door::Closed,
        }
        w
    }

    #[test]
    fn what_serves_decides_a_restore_that_was_cut_off() {
        use Step::{AcceptRestore, UndoRestore};
        let decided = |serving| next(&restoring(Phase::Swapping, serving));
        assert!(
            matches!(decided(Some(RESTORED)), Next::Do(AcceptRestore { cluster, .. }) if cluster == RESTORED)
        );
        assert!(matches!(decided(Some(CLUSTER)), Next::Do(UndoRestore(_))));
        assert!(matches!(decided(None), Next::Do(UndoRestore(_))));
    }

    #[test]
    fn a_restore_counts_only_when_the_leader_has_told() {
        let mut w = restoring(Phase::Restored, Some(RESTORED));
        assert_eq!(cluster(&w), Some(RESTORED));
        assert!(!matches!(next(&w), Next::Do(Step::EndRestore | Step::UndoRestore(_))));
        w.leadership = Leadership::Follower;
        assert!(matches!(next(&w), Next::Do(Step::UndoRestore(_))), "nobody would ever be told");
        w.peers.cluster.cluster = Some(RESTORED);
        assert!(matches!(next(&w), Next::Do(Step::EndRestore)));
    }

    /// The machine was rebooted after all were told: its server is still silent.
    #[test]
    fn told_is_what_juju_says_and_not_whether_the_server_is_up() {
        for leadership in [Leadership::Leader, Leadership::Follower] {
            let mut w = restoring(Phase::Restored, None);
            w.leadership = leadership;
            w.peers.cluster.cluster = Some(RESTORED);
            assert!(matches!(next(&w), Next::Do(Step::EndRestore)));
        }
        let mut w = restoring(Phase::Restored, None);
        assert_eq!(cluster(&w), Some(RESTORED), "its peers' records are of the old one");
        let told = publication(&w, "t").application.unwrap().1;
        assert_eq!(told["cluster-id"], Some(RESTORED.to_string()));
        w.host.restore.as_mut().unwrap().phase = Phase::Swapping;
        assert_eq!(publication(&w, "t").application, None);
        w.host.restore = None;
        assert_eq!(cluster(&w), Some(CLUSTER));
    }

    #[test]
    fn an_earlier_revisions_journal_is_told_by_another_cluster_than_the_old_one() {
        let mut w = restoring(Phase::Restored, None);
        w.host.restore.as_mut().unwrap().restored = None;
        assert!(!matches!(next(&w), Next::Do(Step::EndRestore)));
        w.peers.cluster.cluster = Some(RESTORED);
        assert!(matches!(next(&w), Next::Do(Step::EndRestore)));
        w.host.restore.as_mut().unwrap().old_cluster = None;
        assert!(!matches!(next(&w), Next::Do(Step::EndRestore)), "which one was the old one nobody knows");
    }

    #[test]
    fn restored_data_that_is_gone_before_anybody_was_told_leaves_the_old_cluster_alone() {
        let mut w = restoring(Phase::Restored, None);
        w.host.data = Data::Empty;
        w.host.service = Service::Stopped;
        assert!(matches!(next(&w), Next::Do(Step::UndoRestore(_))), "this unit's member is in the old one");
        assert_eq!(publication(&w, "t").application, None);
        w.tried.in_vain.insert("undo-restore", "neither is there".into());
        let told = done(next(&w));
        assert_eq!(told.kind, StatusKind::Blocked);
        assert!(told.message.contains("neither is there; see to the disk"), "{told}");
    }

    #[test]
    fn a_unit_that_leaves_goes_back_first() {
        let mut w = restoring(Phase::Restored, Some(RESTORED));
        w.event = crate::event::Event::Leaving("stop".into());
        assert!(matches!(next(&w), Next::Do(Step::UndoRestore(_))));
        w.peers.cluster.cluster = Some(RESTORED);
        assert!(matches!(next(&w), Next::Do(Step::EndRestore)));
    }

    #[test]
    fn a_way_back_that_failed_is_not_tried_again_in_the_same_run() {
        let mut w = restoring(Phase::Swapping, None);
        w.tried.in_vain.insert("undo-restore", "no space".into());
        let told = done(next(&w));
        assert_eq!(told.kind, StatusKind::Blocked, "and nothing is started");
        assert!(told.message.ends_with("that data is member.before-restore-1"), "{told}");
    }

    #[test]
    fn the_others_leave_their_old_cluster_when_the_restored_one_can_be_asked() {
        let mut w = settled(1, &three());
        w.peers.cluster.cluster = Some(RESTORED);
        assert!(matches!(next(&w), Next::Do(Step::StopService)));
        w.etcd.roster = Roster::Unconfirmed { remembered: vec![], cause: "no quorum".into() };
        assert!(matches!(next(&w), Next::Wait(Waiting::Cluster(_))), "their data may be the only one");
        w.etcd.roster = Roster::NobodyToAsk;
        assert!(done(next(&w)).message.contains("has not published its address"));
    }
}
