//! Copies that were set aside: out of the directory that snapd copies at every refresh, and told when they take much of a disk.

use super::{DATA, Next};
use crate::step::Step;
use crate::world::{Door, World};

/// From here on they are worth a word, percent of the disk.
const WORTH_A_WORD: u64 = 10;

/// A member that serves has nothing that may go back to one of them by a rename.
pub(super) fn next(w: &World) -> Option<Next> {
    let is_settled = matches!(&w.etcd.door, Door::Open(status) if !status.learner)
        && w.host.restore.is_none()
        && w.host.recovery.is_none()
        && w.host.moving.is_none();
    if !is_settled || w.tried.in_vain("put-away").is_some() {
        return None;
    }
    let in_place = w.host.place.data.as_str();
    let movable = w.host.kept.copies.iter().filter(|copy| copy.is_near && copy.path != in_place);
    let movable =
        movable.filter(|copy| copy.path.strip_prefix(DATA).is_some_and(|rest| rest.starts_with('/')));
    let paths: Vec<String> = movable.map(|copy| copy.path.clone()).collect();
    (!paths.is_empty()).then_some(Next::Do(Step::PutAway(paths)))
}

/// What the status says of them.
pub(super) fn note(w: &World) -> Option<String> {
    let kept = &w.host.kept;
    (kept.percent > WORTH_A_WORD).then(|| {
        format!(
            " (copies of earlier data take {} MiB, {}% of the disk: run the action remove-old-data)",
            kept.mib(),
            kept.percent
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::*;
    use super::*;
    use crate::etcd::ClusterId;
    use crate::restoring::{Journal, Phase};
    use crate::world::{Kept, KeptCopy, Place};

    fn with_copy(path: &str, is_near: bool) -> World {
        let mut w = settled(0, &three());
        w.host.kept =
            Kept { copies: vec![KeptCopy { path: path.into(), bytes: 3 << 30, is_near }], percent: 10 };
        w
    }

    const COPY: &str = "/var/snap/etcd/current/member.removed-1";

    #[test]
    fn copies_leave_what_snapd_copies_unless_something_may_go_back_to_them() {
        assert_eq!(next(&with_copy(COPY, true)), Next::Do(Step::PutAway(vec![COPY.into()])));
        let healthy = |w: &World| done(next(w)).to_string() == "active Healthy with 3 known peers";
        assert!(healthy(&with_copy(COPY, false)), "another disk");
        assert!(healthy(&with_copy("/media/etcd/data/member.removed-1", true)));
        let mut w = with_copy("/var/snap/etcd/current/etcd0.etcd", true);
        w.host.place = Place::whole("/var/snap/etcd/current/etcd0.etcd");
        assert!(!matches!(next(&w), Next::Do(Step::PutAway(_))), "that is the data");
        let mut w = with_copy(COPY, true);
        w.host.restore = Some(Journal {
            phase: Phase::Restored,
            kept: COPY.into(),
            old_cluster: Some(ClusterId(1).to_string()),
            token: "t".into(),
            restored: None,
            from_nothing: false,
        });
        assert!(super::next(&w).is_none());
    }

    #[test]
    fn they_are_told_when_they_take_much_of_a_disk() {
        let mut w = with_copy("/var/lib/etcd-charm/kept/member.removed-1", true);
        assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers");
        w.host.kept.percent = 11;
        let told = " (copies of earlier data take 3072 MiB, 11% of the disk: run the action remove-old-data)";
        assert!(done(next(&w)).to_string().ends_with(told), "{}", done(next(&w)));
    }
}
