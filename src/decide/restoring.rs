//! A restore that was cut off goes on where the restored data serves, and back where it does not. Once it counts, the
//! leader tells the other units, and they leave their old cluster for the restored one.

use super::{Next, Waiting};
use crate::etcd::ClusterId;
use crate::juju::Status;
use crate::restoring::Phase;
use crate::step::Step;
use crate::world::{Door, Leadership, Roster, World};

pub(super) fn next(w: &World) -> Option<Next> {
    let journal = w.host.restore.as_ref()?;
    if w.tried.in_vain("undo-restore").is_some() {
        return None;
    }
    let serves = w.own_status().is_some_and(|status| journal.is_restored(status.cluster));
    let is_told = w.own_status().is_some_and(|status| w.peers.cluster.cluster == Some(status.cluster));
    match journal.phase {
        Phase::Swapping if serves => Some(Next::Do(Step::AcceptRestore(journal.clone()))),
        Phase::Swapping => Some(Next::Do(Step::UndoRestore(journal.clone()))),
        Phase::Restored if is_told => Some(Next::Do(Step::EndRestore)),
        // Only the leader can tell: whoever is it by now still runs the old cluster.
        Phase::Restored if w.leadership == Leadership::Follower => {
            Some(Next::Do(Step::UndoRestore(journal.clone())))
        }
        Phase::Restored => None,
    }
}

/// The cluster that this unit is to be a member of, as far as it has been told.
pub(super) fn cluster(w: &World) -> Option<ClusterId> {
    match &w.host.restore {
        Some(journal) => w.own_status().map(|own| own.cluster).filter(|own| journal.is_restored(*own)),
        None => w.peers.cluster.cluster,
    }
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
    use super::super::worlds::*;
    use super::*;
    use crate::restoring::Journal;

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
        assert!(matches!(decided(Some(RESTORED)), Next::Do(AcceptRestore(_))));
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

    #[test]
    fn a_way_back_that_failed_is_not_tried_again_in_the_same_run() {
        let mut w = restoring(Phase::Swapping, None);
        w.tried.in_vain.insert("undo-restore", "no space".into());
        assert!(!matches!(next(&w), Next::Do(Step::UndoRestore(_))));
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
