//! Who would be left alone by a restart of this unit's server. Invariant: "nobody can tell" is never "there is nobody".

use crate::world::{Door, Roster, World};

/// After this time without a raft leader no election is going on any more, in seconds.
const ELECTED_S: u64 = 20;

/// What the server is taken down for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// The same server comes back on the same data.
    Restart,
    /// Its program or the place of its data changes.
    Change,
}

/// Whom a restart concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Company {
    /// There is no other voter, or none that this server could still help.
    Alone,
    /// Others count on this one.
    Others,
    /// It cannot be told: why.
    Unknown(String),
}

/// Without a quorum only a plain restart may happen: of the only member that was ever heard of, or of one that has been
/// without a raft leader for so long that it serves nobody.
pub fn company(w: &World, errand: Errand) -> Company {
    let cause = match &w.etcd.roster {
        Roster::Confirmed(members) if members.iter().filter(|member| !member.learner).count() <= 1 => {
            return Company::Alone;
        }
        Roster::Confirmed(_) => return Company::Others,
        Roster::NobodyToAsk => "no member can be asked",
        Roster::Unconfirmed { cause, .. } => cause,
    };
    let serves_nobody = match &w.etcd.door {
        Door::Open(status) => status.raft_leader.is_none() && w.tried.lasted_s >= ELECTED_S,
        Door::Closed | Door::Mute(_) => true,
    };
    if errand == Errand::Restart && (serves_nobody || !knows_others(w)) {
        return Company::Alone;
    }
    Company::Unknown(format!("no word from a quorum: {cause}"))
}

fn knows_others(w: &World) -> bool {
    let remembered = match &w.etcd.roster {
        Roster::Unconfirmed { remembered, .. } => remembered.len(),
        Roster::NobodyToAsk | Roster::Confirmed(_) => 0,
    };
    remembered > 1 || w.peers.units.values().any(|peer| peer.record.member.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{member, settled, status, three};
    use super::*;

    fn unconfirmed(members: &[crate::etcd::Member]) -> World {
        let mut w = settled(0, members);
        w.etcd.roster = Roster::Unconfirmed { cause: "timed out".into(), remembered: members.to_vec() };
        w
    }

    fn unknown() -> Company {
        Company::Unknown("no word from a quorum: timed out".into())
    }

    #[test]
    fn with_a_quorum_the_voters_are_counted() {
        let with_learner = [member(0, false), member(1, true)];
        for (members, wanted) in [(three(), Company::Others), (with_learner.to_vec(), Company::Alone)] {
            let w = settled(0, &members);
            assert_eq!(company(&w, Errand::Restart), wanted);
            assert_eq!(company(&w, Errand::Change), wanted);
        }
    }

    #[test]
    fn without_one_nothing_is_changed_and_no_member_of_several_restarts() {
        let mut w = unconfirmed(&three());
        assert_eq!(company(&w, Errand::Restart), unknown(), "a raft leader that hangs");
        assert_eq!(company(&w, Errand::Change), unknown());
        w.peers.units.clear();
        assert_eq!(company(&w, Errand::Restart), unknown(), "its server remembers them");
        assert_eq!(company(&unconfirmed(&[member(0, false)]), Errand::Change), unknown());
        assert_eq!(company(&unconfirmed(&[member(0, false)]), Errand::Restart), Company::Alone);
    }

    #[test]
    fn a_server_that_has_long_been_without_a_raft_leader_may_restart() {
        let mut w = unconfirmed(&three());
        w.etcd.door = Door::Open(Box::new(crate::etcd::MemberStatus {
            raft_leader: None,
            ..status(&member(0, false))
        }));
        assert_eq!(company(&w, Errand::Restart), unknown(), "an election may be going on");
        w.tried.lasted_s = ELECTED_S;
        assert_eq!(company(&w, Errand::Restart), Company::Alone);
        assert_eq!(company(&w, Errand::Change), unknown());
    }
}
