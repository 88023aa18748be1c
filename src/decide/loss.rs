//! All data of the cluster is gone: a cluster was started, and no unit has any of its data. Invariant: a unit that cannot be
//! seen, read or asked may have it.

use super::service;
use crate::juju::{Status, UnitName};
use crate::storage;
use crate::world::{Data, Leadership, Place, Roster, Service, World};

/// Whether nobody has any data.
pub fn is_total(w: &World) -> bool {
    let was_started = w.peers.cluster.cluster.is_some() || w.peers.cluster.inherited;
    was_started && has_none(w) && who_may_have_data(w).is_none()
}

/// What a unit says of itself that has been a member.
pub(super) fn is_own(w: &World) -> bool {
    let own = w.own_record();
    has_none(w) && (own.member.is_some() || own.address.is_some())
}

/// Nothing is here, certainly, and no quorum is left that could give this unit its data anew.
fn has_none(w: &World) -> bool {
    let is_certain = match &w.host.volume.mounted {
        Some(mounted) if w.host.place.data == storage::DATA => {
            mounted.inside.known().is_some_and(|inside| inside.data == Data::Empty)
        }
        _ => w.host.place == Place::whole(service::DATA),
    };
    let is_idle = matches!(w.host.service, Service::Missing | Service::Stopped);
    let is_settled = w.host.restore.is_none() && w.host.recovery.is_none() && w.host.moving.is_none();
    w.host.data == Data::Empty && is_certain && is_idle && is_settled && w.members().is_none()
}

/// Another unit that may have data, and why.
pub fn who_may_have_data(w: &World) -> Option<(UnitName, &'static str)> {
    let Some(expected) = &w.peers.expected else {
        return Some((w.unit.clone(), "Juju does not say which units there are"));
    };
    expected.iter().filter(|unit| **unit != w.unit).find_map(|unit| {
        let why = match w.peers.units.get(unit) {
            None => "it has not entered the peer relation",
            Some(peer) if peer.unread.is_some() => "its databag cannot be read",
            Some(peer) if peer.record.is_data_lost => return None,
            Some(peer) if peer.record.member.is_some() || peer.record.address.is_some() => {
                "it is a member by what it has published"
            }
            Some(_) => return None,
        };
        Some((unit.clone(), why))
    })
}

/// What an operator reads then.
pub(super) fn status(w: &World) -> Option<Status> {
    if !is_total(w) || matches!(w.etcd.roster, Roster::Confirmed(_)) {
        return None;
    }
    let here = match w.leadership {
        Leadership::Leader => "here",
        Leadership::Follower => "on the leader",
    };
    let application = w.unit.application();
    Some(Status::blocked(format!(
        "All data of the cluster is lost, no unit has any: juju attach-resource {application} snapshot=FILE.gz, then run the action restore {here}; without a snapshot remove the application and deploy it anew"
    )))
}

/// etcd's file for a member that is restored from nothing.
pub fn first_file(w: &World) -> Option<String> {
    service::own_file(w)
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::serving::publication;
    use super::super::worlds::*;
    use super::*;
    use crate::juju::StatusKind;
    use crate::relations::cluster::{ClusterRecord, UnitRecord};
    use crate::world::Peer;

    /// The unit that had the data is gone with its machine; etcd/1 and etcd/2 had not joined yet.
    fn lost(own: u32) -> World {
        let mut w = ready(own);
        w.peers.cluster =
            ClusterRecord { cluster: Some(CLUSTER), token: Some("t".into()), ..ClusterRecord::default() };
        w.peers.expected = Some([1, 2].map(|number| format!("etcd/{number}").parse().unwrap()).into());
        let other: UnitName = format!("etcd/{}", 3 - own).parse().unwrap();
        w.peers.units.insert(other, Peer::default());
        w
    }

    #[test]
    fn the_loss_is_named_with_what_is_left_to_do() {
        let mut w = lost(1);
        let told = done(next(&w));
        assert_eq!(told.kind, StatusKind::Blocked);
        assert!(told.message.starts_with("All data of the cluster is lost, no unit has any: juju attach"));
        assert!(told.message.contains("run the action restore on the leader;"), "{told}");
        w.leadership = Leadership::Leader;
        assert!(done(next(&w)).message.contains("run the action restore here;"));
        assert!(first_file(&w).is_some_and(|file| file.contains("initial-cluster-state: existing")));
    }

    #[test]
    fn whoever_cannot_be_seen_read_or_asked_may_have_it() {
        let spoiled = |spoil: &dyn Fn(&mut World, UnitName)| {
            let mut w = lost(1);
            spoil(&mut w, "etcd/2".parse().unwrap());
            assert!(!done(next(&w)).message.starts_with("All data"), "{:?}", w.peers);
            is_total(&w)
        };
        assert!(!spoiled(&|w, other| drop(w.peers.units.remove(&other))));
        assert!(!spoiled(&|w, _| w.peers.expected = None));
        assert!(!spoiled(&|w, other| drop(w.peers.units.insert(other.clone(), peer_of(&other)))));
        assert!(!spoiled(&|w, other| {
            w.peers.units.insert(other, Peer { unread: Some("gone".into()), ..Peer::default() });
        }));
        assert!(!spoiled(&|w, _| w.host.place = Place::whole(storage::DATA)), "its storage is not mounted");
        assert!(!spoiled(&|w, _| w.host.place = Place::whole("/srv/etcd")));
        assert!(is_total(&lost(1)));
    }

    /// The site is lost: all machines were made anew.
    #[test]
    fn a_member_whose_disk_is_empty_says_so_and_then_counts_for_nothing() {
        let mut w = lost(1);
        let own = peer_of(&w.unit).record;
        let written = own.write(&UnitRecord::default()).into_iter();
        w.peers.own = written.filter_map(|(key, value)| Some((key, value?))).collect();
        let told = publication(&w, "t").unit.remove(0).1;
        assert_eq!(told["member-data"], Some("lost".to_owned()));
        let other: UnitName = "etcd/2".parse().unwrap();
        let mut peer = peer_of(&other);
        assert!(!is_total(&{
            w.peers.units.insert(other.clone(), peer.clone());
            w.clone()
        }));
        peer.record.is_data_lost = true;
        w.peers.units.insert(other, peer);
        w.etcd.roster = Roster::Unconfirmed { cause: "no answer".into(), remembered: vec![] };
        assert!(done(next(&w)).message.starts_with("All data of the cluster is lost"));
        w.etcd.roster = Roster::Confirmed(three());
        assert!(!is_total(&w), "a quorum gives it its data anew");
    }
}
