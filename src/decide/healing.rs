//! A member whose data is damaged, beside others that work: its copy is set aside and it joins anew, as a newcomer gets its
//! data. Invariants: only the word of a quorum that does without it lets a member be given up; nothing is deleted; and a unit
//! does so at most once a day, for a disk that damages one copy damages the next.

use time::OffsetDateTime;

use super::{Next, membership, quorum};
use crate::etcd::{Member, MemberId};
use crate::healed::Healed;
use crate::juju::Status;
use crate::step::Step;
use crate::world::{Data, Door, Service, World};

/// Why no member of this unit can be started on what is there, if that is so.
pub(super) fn damage(w: &World) -> Option<String> {
    match (&w.host.data, &w.host.service) {
        (Data::Partial(missing), _) => Some(format!("{missing} is missing")),
        (Data::Present, Service::Failing(_)) => w.host.damage.map(str::to_owned),
        _ => None,
    }
}

/// The damaged member is replaced; or it stays where it is, for a reason that the status tells.
pub(super) fn next(w: &World) -> Option<Next> {
    let damage = damage(w).filter(|_| !matches!(w.etcd.door, Door::Open(_)))?;
    let Some(own) = started_member(w) else {
        return Some(blocked(
            &damage,
            "no quorum of the others confirms that they do without it: bring them back",
        ));
    };
    if let Some(error) = w.tried.in_vain("replace-damaged") {
        return Some(blocked(&damage, error));
    }
    Some(match why_not_give_up(w, own) {
        Some(why) => blocked(&damage, &why),
        None => Next::Do(Step::ReplaceDamaged { member: own.id, damage, place: w.host.place.clone() }),
    })
}

fn blocked(damage: &str, why: &str) -> Next {
    Next::Done(Status::blocked(format!(
        "Data directory is damaged, {damage}: etcd is not started on it; {why}; keep the disk"
    )))
}

/// This unit's member, by a quorum's word.
pub(super) fn started_member(w: &World) -> Option<&Member> {
    membership::own_entry(w, w.members()?).filter(|own| own.is_started())
}

/// Why this unit's member may not be removed to be replaced.
pub(super) fn why_not_give_up(w: &World, own: &Member) -> Option<String> {
    let too_early = w.host.healed.filter(|healed| healed.forbids(own.id, w.now_s));
    if let Some(healed) = too_early {
        return Some(format!(
            "its member was replaced already at {}, so its disk may be failing: remove this unit and add another",
            utc(&healed)
        ));
    }
    quorum::why_not_remove(own.id, w.members()?, &w.etcd.health)
}

/// What an operator reads for a day: the member works, its disk may not.
pub(super) fn note(w: &World) -> Option<String> {
    let healed = w.host.healed.filter(|healed| healed.is_recent(w.now_s) && is_given_up(w, healed.member))?;
    Some(format!(
        " (data of this unit was damaged and its member replaced at {}: check its disk)",
        utc(&healed)
    ))
}

fn is_given_up(w: &World, member: MemberId) -> bool {
    w.own_status().is_some_and(|own| own.member != member)
}

/// From when on the note is outdated.
pub fn note_ends_s(w: &World) -> Option<u64> {
    note(w).and(w.host.healed).map(|healed| healed.forgotten_s())
}

fn utc(healed: &Healed) -> String {
    let time =
        i64::try_from(healed.at_s).ok().and_then(|at_s| OffsetDateTime::from_unix_timestamp(at_s).ok());
    time.map_or_else(String::new, |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::*;
    use super::*;
    use crate::etcd::MemberId;
    use crate::juju::StatusKind;
    use crate::step::Removal;
    use crate::world::{Health, Place, Roster};

    const LOG: Data = Data::Partial("the log (member/wal)");

    /// A settled member that is down; `data` and `damage`: what is wrong with it.
    fn damaged(data: Data, damage: Option<&'static str>) -> World {
        let mut w = settled(0, &three());
        w.peers.own = crate::relations::cluster::UnitRecord {
            member: Some(MemberId(100)),
            cluster: Some(CLUSTER),
            ..Default::default()
        }
        .write(&Default::default())
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        w.etcd.door = Door::Closed;
        w.host.service = if damage.is_some() { Service::Failing("panic".into()) } else { Service::Stopped };
        w.host.data = data;
        w.host.damage = damage;
        w.etcd.health.insert(MemberId(100), Health::Unhealthy("unreachable".into()));
        w
    }

    fn replaces(w: &World) -> bool {
        let place = Place::whole(super::super::DATA);
        let is_it = |step: &Step| matches!(step, Step::ReplaceDamaged { member: MemberId(100), place: at, .. } if *at == place);
        matches!(next(w), Next::Do(step) if is_it(&step))
    }

    fn told(w: &World) -> String {
        let status = done(next(w));
        assert_eq!(status.kind, StatusKind::Blocked);
        status.message
    }

    #[test]
    fn a_damaged_member_joins_anew_beside_others_that_work() {
        assert!(replaces(&damaged(LOG, None)));
        assert!(replaces(&damaged(Data::Present, Some("the database is invalid"))));
        // Whoever is killed after the data was set aside goes on as one whose disk is empty.
        let mut w = damaged(Data::Empty, None);
        let removes = Next::Do(Step::RemoveMember { member: MemberId(100), reason: Removal::DataLost });
        assert_eq!(next(&w), removes);
        w.host.healed = Some(Healed { at_s: w.now_s - 5, member: MemberId(100) });
        assert_eq!(next(&w), removes);
    }

    #[test]
    fn without_a_quorum_of_the_others_nothing_is_touched() {
        for mut w in [damaged(LOG, None), damaged(Data::Present, Some("the database is invalid"))] {
            w.etcd.health.insert(MemberId(101), Health::Unhealthy("unreachable".into()));
            assert!(told(&w).contains("only 1 of the other 2 voters are healthy"), "{}", told(&w));
            w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
            assert!(told(&w).contains("no quorum of the others confirms"), "{}", told(&w));
            w.etcd.roster = Roster::NobodyToAsk;
            assert!(told(&w).ends_with("keep the disk"), "{}", told(&w));
        }
    }

    #[test]
    fn a_server_that_fails_for_another_reason_is_not_replaced() {
        let mut w = damaged(Data::Present, None);
        w.host.service = Service::Failing("no space left on device".into());
        assert!(!replaces(&w));
        let mut w = damaged(Data::Unreadable("I/O error".into()), None);
        w.host.service = Service::Failing("panic".into());
        assert!(!replaces(&w) && told(&w).contains("I/O error"));
    }

    #[test]
    fn a_disk_that_damages_the_next_copy_too_is_for_its_operator() {
        for mut w in [damaged(LOG, None), damaged(Data::Empty, None)] {
            w.host.healed = Some(Healed { at_s: w.now_s - 3600, member: MemberId(5) });
            assert!(told(&w).contains("remove this unit and add another"), "{}", told(&w));
            w.host.healed = Some(Healed { at_s: w.now_s - 90_000, member: MemberId(5) });
            assert!(matches!(next(&w), Next::Do(_)));
        }
    }

    #[test]
    fn the_status_tells_of_it_for_a_day() {
        let mut w = settled(0, &three());
        w.host.healed = Some(Healed { at_s: w.now_s - 3600, member: MemberId(5) });
        let told = done(next(&w)).to_string();
        let wanted = "active Healthy with 3 known peers (data of this unit was damaged and its member replaced at 2033-05-18 02:33 UTC: check its disk)";
        assert_eq!(told, wanted);
        assert_eq!(note_ends_s(&w), Some(w.now_s - 3600 + 86_400));
        w.now_s += 86_400;
        assert_eq!(
            (done(next(&w)).to_string(), note_ends_s(&w)),
            ("active Healthy with 3 known peers".into(), None)
        );
    }
}
