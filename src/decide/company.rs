//! Who would be left alone by a restart of this unit's server. Invariant: "nobody can tell" is never "there is nobody".

use std::collections::BTreeSet;

use crate::etcd::{MemberId, host_of};
use crate::juju::UnitName;
use crate::relations::trust::UnitTrust;
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

/// Without a quorum only a plain restart may happen: of the only member that was ever heard of, of one that does not answer, or of
/// one that has long been without a raft leader because the others cannot reach or trust it. Another one that answers would be
/// made mute by it, and how far its log goes is what a rebuilding of the quorum has to know.
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
        Door::Open(status) => {
            status.raft_leader.is_none() && w.tried.lasted_s >= ELECTED_S && is_cut_off(w, status.member)
        }
        Door::Closed | Door::Mute(_) => true,
    };
    if errand == Errand::Restart && (serves_nobody || !knows_others(w)) {
        return Company::Alone;
    }
    Company::Unknown(format!("no word from a quorum: {cause}"))
}

/// The members look for it where it is no more, or its server does not trust what its file does: a restart is the cure.
fn is_cut_off(w: &World, own: MemberId) -> bool {
    let remembered = match &w.etcd.roster {
        Roster::Unconfirmed { remembered, .. } => remembered.as_slice(),
        Roster::NobodyToAsk | Roster::Confirmed(_) => &[],
    };
    let registered = remembered.iter().filter(|member| member.id == own).flat_map(|member| &member.peer_urls);
    let has_moved = registered.map(|url| host_of(url)).any(|host| !w.addresses.all.contains(host));
    let trusted = UnitTrust::read(&w.peers.own).trusted;
    let is_of_another_trust =
        trusted.is_some() && trusted != w.host.standing.as_ref().map(|standing| standing.trusted.clone());
    has_moved || is_of_another_trust
}

/// What Juju said is compared with the lock only as long as it is so fresh, seconds: a unit that was added since needs longer
/// than this to become a member and to restart.
const FRESH_S: u64 = 10;

/// Whether this name in a lock's key is a unit's that could hold it. A run that has lasted knows nothing of the newest units.
pub fn may_hold_lock(w: &World, name: &str) -> bool {
    let Some(unit) = name.parse::<UnitName>().ok().filter(|_| w.unit.has_sibling(name)) else {
        return false;
    };
    let is_known = |all: &BTreeSet<UnitName>| all.contains(&unit) || w.peers.units.contains_key(&unit);
    w.tried.lasted_s >= FRESH_S || w.peers.expected.as_ref().is_none_or(is_known)
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
    fn a_lock_is_held_by_units_that_there_are() {
        let mut w = settled(0, &three());
        for (name, may) in
            [("etcd/2", true), ("etcd/0", true), ("etcd/9", false), ("web/1", false), ("x", false)]
        {
            assert_eq!(may_hold_lock(&w, name), may, "{name}");
        }
        w.tried.lasted_s = FRESH_S;
        assert!(may_hold_lock(&w, "etcd/9"), "it may have been added since");
        assert!(!may_hold_lock(&w, "web/1"));
        w.tried.lasted_s = 0;
        w.peers.expected = None;
        assert!(may_hold_lock(&w, "etcd/9"), "nobody says who there is");
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
    fn a_server_that_answers_without_a_raft_leader_restarts_only_where_that_is_the_cure() {
        let mut w = unconfirmed(&three());
        w.etcd.door = Door::Open(Box::new(crate::etcd::MemberStatus {
            raft_leader: None,
            ..status(&member(0, false))
        }));
        assert_eq!(company(&w, Errand::Restart), unknown(), "an election may be going on");
        w.tried.lasted_s = ELECTED_S;
        assert_eq!(company(&w, Errand::Restart), unknown(), "nothing would be better after it");
        let known = w.addresses.all.clone();
        w.addresses.all = ["10.0.0.9".to_owned()].into();
        assert_eq!(company(&w, Errand::Restart), Company::Alone, "nobody finds it where it was");
        w.addresses.all = known;
        let other = include_str!("../tls/fixtures/ecdsa.crt");
        w.peers.own.insert("trusted-ca".into(), other.into());
        assert_eq!(company(&w, Errand::Restart), Company::Alone, "nobody trusts it");
        assert_eq!(company(&w, Errand::Change), unknown());
    }
}
