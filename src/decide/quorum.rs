//! Arithmetic of voters. Whatever could cost a cluster its quorum asks here first, and gets a reason.

use std::collections::BTreeMap;

use crate::etcd::{Member, MemberId};
use crate::world::Health;

/// How many voters must agree.
pub(super) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Why `member` may not be removed now, or `None` if the remaining voters keep a working quorum.
pub(super) fn why_not_remove(
    member: MemberId,
    members: &[Member],
    health: &BTreeMap<MemberId, Health>,
) -> Option<String> {
    let is_learner = members.iter().any(|other| other.id == member && other.learner);
    if is_learner {
        return None;
    }
    let rest: Vec<_> = members.iter().filter(|other| !other.learner && other.id != member).collect();
    let healthy = rest.iter().filter(|other| health.get(&other.id) == Some(&Health::Healthy)).count();
    let needed = quorum(rest.len());
    if rest.is_empty() {
        Some("it is the last voter".to_owned())
    } else if healthy < needed {
        Some(format!("only {healthy} of the other {} voters are healthy and {needed} are needed", rest.len()))
    } else {
        None
    }
}

/// Why `member` may not stop for good and remain a member, or `None` if the others are a working quorum without it.
pub(super) fn why_not_stop(
    member: MemberId,
    members: &[Member],
    health: &BTreeMap<MemberId, Health>,
) -> Option<String> {
    let voters: Vec<_> = members.iter().filter(|other| !other.learner).collect();
    if !voters.iter().any(|voter| voter.id == member) {
        return None;
    }
    let works = |other: &&&Member| other.id != member && health.get(&other.id) == Some(&Health::Healthy);
    let (healthy, needed) = (voters.iter().filter(works).count(), quorum(voters.len()));
    (healthy < needed).then(|| {
        format!("{healthy} of the other {} voters are healthy and {needed} are needed", voters.len() - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: u64, learners: u64) -> Vec<Member> {
        let member = |id: u64, learner| Member {
            id: MemberId(id),
            name: format!("etcd{id}"),
            peer_urls: vec![],
            client_urls: vec![],
            learner,
        };
        (1..=voters)
            .map(|id| member(id, false))
            .chain((101..=100 + learners).map(|id| member(id, true)))
            .collect()
    }

    fn healthy(ids: &[u64]) -> BTreeMap<MemberId, Health> {
        ids.iter().map(|id| (MemberId(*id), Health::Healthy)).collect()
    }

    #[test]
    fn a_dead_voter_of_three_may_go_but_not_a_live_one_beside_it() {
        let three = members(3, 0);
        assert_eq!(why_not_remove(MemberId(3), &three, &healthy(&[1, 2])), None);
        assert!(why_not_remove(MemberId(2), &three, &healthy(&[1, 2])).is_some());
    }

    #[test]
    fn the_last_voter_stays() {
        assert!(why_not_remove(MemberId(1), &members(1, 0), &healthy(&[1])).is_some());
        assert!(why_not_remove(MemberId(1), &members(1, 1), &healthy(&[1, 101])).is_some());
    }

    #[test]
    fn a_learner_may_always_go() {
        assert_eq!(why_not_remove(MemberId(101), &members(3, 1), &healthy(&[])), None);
    }

    #[test]
    fn one_of_two_may_go_when_the_other_is_healthy() {
        assert_eq!(why_not_remove(MemberId(2), &members(2, 0), &healthy(&[1])), None);
        assert!(why_not_remove(MemberId(1), &members(2, 0), &healthy(&[1])).is_some());
    }

    #[test]
    fn who_stops_still_counts() {
        assert_eq!(why_not_stop(MemberId(3), &members(3, 0), &healthy(&[1, 2, 3])), None);
        assert!(why_not_stop(MemberId(3), &members(3, 0), &healthy(&[1, 3])).is_some());
        assert!(why_not_stop(MemberId(1), &members(2, 0), &healthy(&[1, 2])).is_some());
        assert!(why_not_stop(MemberId(1), &members(1, 0), &healthy(&[1])).is_some());
        assert_eq!(why_not_stop(MemberId(101), &members(1, 1), &healthy(&[])), None, "a learner");
    }
}
