//! Whose data is on the machine's own disk. A machine may have been another application's, or still be.
//!
//! Invariant: data that is not this unit's is neither started nor served nor touched, and neither is a server that runs on it.
//! Proof is what Juju says of this very unit, what etcd wrote into the log, and the record that this charm keeps beside them; of
//! what was begun before there was such a record, the first two are enough.

use super::Next;
use crate::etcd::{ClusterId, read_config};
use crate::juju::Status;
use crate::step::Step;
use crate::storage::{self, Owner};
use crate::world::{Data, Service, World};

/// Nothing is done on a machine with foreign data but to say so.
pub(super) fn next(w: &World) -> Option<Next> {
    let whose = foreign(w)?;
    if w.event.is_leaving() {
        return Some(Next::Done(Status::maintenance(
            "Left the machine as it is: its etcd is not this unit's",
        )));
    }
    let place = &w.host.place;
    let service = if w.host.releases.current.is_some() { "etcd-release" } else { "snap.etcd.etcd" };
    let (stop, state) = match w.host.service {
        Service::Running | Service::Failing(_) => {
            (format!("systemctl disable --now {service} && "), "is not touched")
        }
        Service::Missing | Service::Stopped => (String::new(), "is not started"),
    };
    Some(Next::Done(Status::blocked(format!(
        "{place} holds data of {whose}: it {state}; remove this unit, or to begin without that data: juju exec --unit {} '{stop}mv {}/member {}/member.of-before'",
        w.unit, place.data, place.data
    ))))
}

/// The machine is marked as this unit's before it has any data.
pub(super) fn claim(w: &World) -> Option<Next> {
    w.peers.relation.as_ref()?;
    let known = w.host.owner.as_ref().filter(|owner| is_mine(w, owner));
    let is_restoring = w.host.restore.is_some() && !was_of_another(w);
    let is_due = known.is_none() && !is_restoring && w.tried.in_vain("claim-machine").is_none();
    is_due.then(|| Next::Do(Step::ClaimMachine(claim_of(w))))
}

/// The record follows the cluster that the member is in.
pub(super) fn record(w: &World) -> Option<Next> {
    let status = w.own_status().filter(|status| !status.learner)?;
    w.peers.relation.as_ref().filter(|_| w.host.restore.is_none())?;
    let wanted = wanted(w, Some(status.cluster));
    let is_due = w.host.owner.as_ref() != Some(&wanted) && w.tried.in_vain("claim-machine").is_none();
    is_due.then_some(Next::Do(Step::ClaimMachine(wanted)))
}

/// The record of a member whose cluster is not known yet.
pub fn claim_of(w: &World) -> Owner {
    wanted(w, None)
}

fn wanted(w: &World, cluster: Option<ClusterId>) -> Owner {
    Owner {
        unit: w.unit.to_string(),
        model: w.model.clone(),
        relation: w.peers.relation.clone(),
        cluster,
        voters: None,
    }
}

/// Juju never gives the same peer relation to another application, not even to one of the same name.
fn is_mine(w: &World, owner: &Owner) -> bool {
    owner.is(&w.unit, &w.model) && owner.relation == w.peers.relation
}

/// The machine was another unit's, and so are the marks on it of what that one has left half done.
pub fn was_of_another(w: &World) -> bool {
    w.peers.relation.is_some() && w.host.owner.as_ref().is_some_and(|owner| !is_mine(w, owner))
}

/// Whose the data is, where it is not this unit's.
pub fn foreign(w: &World) -> Option<String> {
    if let Some(owner) = runs_on_storage_of(w) {
        return Some(called(w, owner, ""));
    }
    // Of storage its own file tells, and what a restore has put in place its journal.
    let is_restoring = w.host.restore.is_some() && !was_of_another(w);
    let is_asked = w.host.place.data != storage::DATA && !is_restoring && !w.host.package;
    let has_data = !matches!(w.host.data, Data::Empty | Data::Unreadable(_));
    (is_asked && has_data && w.peers.relation.is_some() && !is_own(w)).then(|| whose(w))
}

/// A server that runs on storage was started there by whoever has claimed it.
fn runs_on_storage_of(w: &World) -> Option<&Owner> {
    w.host.runs_in.as_ref().filter(|place| place.data == storage::DATA)?;
    let inside = w.host.volume.mounted.as_ref()?.inside.known()?;
    inside.owner.as_ref().filter(|owner| !owner.is(&w.unit, &w.model))
}

fn is_own(w: &World) -> bool {
    let (own, agreed) = (w.own_record(), w.peers.cluster.cluster);
    let record = w.host.owner.as_ref().filter(|owner| is_mine(w, owner));
    let known = own.cluster.or(record.and_then(|record| record.cluster));
    if let Some(found) = w.host.identity.map(|identity| identity.cluster) {
        let others = w.peers.units.values().filter_map(|peer| peer.record.cluster);
        if known.into_iter().chain(agreed).chain(others).any(|cluster| cluster == found) {
            return true;
        }
        if known.is_some() {
            return false;
        }
    }
    let has_joined = own.member.is_some() || own.address.is_some();
    record.is_some() || has_joined || has_token(w)
}

/// The file was written for a member of this very cluster, by whichever charm.
fn has_token(w: &World) -> bool {
    let config = w.host.config.as_deref().and_then(|config| read_config(config).ok());
    let written = config.and_then(|config| config.token).filter(|token| !token.is_empty());
    written.is_some() && written == w.peers.cluster.token
}

fn whose(w: &World) -> String {
    let of = w.host.identity.map(|identity| format!(" of cluster {}", identity.cluster)).unwrap_or_default();
    match w.host.owner.as_ref().filter(|owner| !owner.unit.is_empty()) {
        Some(owner) => called(w, owner, &of),
        None => format!("a member{of} that is not this application's"),
    }
}

fn called(w: &World, owner: &Owner, of: &str) -> String {
    if owner.model == w.model {
        format!("{}{of}, an earlier or another application", owner.unit)
    } else {
        format!("{}{of} in model {}", owner.unit, owner.model)
    }
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::serving::{Publication, publication};
    use super::super::worlds::*;
    use super::*;
    use crate::etcd::{Identity, MemberId};
    use crate::event::Event;
    use crate::juju::{Databag, StatusKind};
    use crate::world::{Door, Leadership, Place, Reading, Roster};

    const FOREIGN: ClusterId = ClusterId(0xf0);

    fn identity(cluster: ClusterId) -> Option<Identity> {
        Some(Identity { member: MemberId(100), cluster })
    }

    /// A unit of a new application on a machine with data of an earlier one, which was called the same.
    fn redeployed() -> World {
        let mut w = ready(0);
        w.host.data = Data::Present;
        w.host.root_data = Data::Present;
        w.host.identity = identity(FOREIGN);
        w.host.config = Some("initial-cluster-token: of-before\n".into());
        w.host.owner = Some(Owner {
            unit: "etcd/0".into(),
            model: "m".into(),
            relation: "cluster:7".parse().ok(),
            cluster: Some(FOREIGN),
            voters: None,
        });
        w.peers.cluster.token = Some("token".into());
        w.peers.cluster.bootstrap_unit = "etcd/0".parse().ok();
        w
    }

    #[test]
    fn data_of_another_application_is_left_alone_and_named() {
        let w = redeployed();
        let status = done(next(&w));
        assert_eq!(status.kind, StatusKind::Blocked);
        let told = "/var/snap/etcd/current holds data of etcd/0 of cluster f0, an earlier or another application: it is not started";
        assert!(status.message.starts_with(told), "{}", status.message);
        assert!(status.message.contains("juju exec --unit etcd/0 'mv /var/snap/etcd/current/member "));
        let mut w = redeployed();
        w.host.owner = None;
        assert!(done(next(&w)).message.contains("a member of cluster f0 that is not this application's"));
        w.host.identity = None;
        assert_eq!(done(next(&w)).kind, StatusKind::Blocked, "a log that cannot be read proves nothing");
    }

    /// The other application's server runs, and its authority is this one's too.
    #[test]
    fn nothing_is_told_or_changed_of_a_server_of_others() {
        let mut w = redeployed();
        w.leadership = Leadership::Leader;
        let own = member(0, false);
        w.host.service = Service::Running;
        w.etcd.door = Door::Open(Box::new(crate::etcd::MemberStatus { cluster: FOREIGN, ..status(&own) }));
        w.etcd.roster = Roster::Confirmed(three());
        let told = done(next(&w)).message;
        assert!(
            told.contains("it is not touched")
                && told.contains("'systemctl disable --now snap.etcd.etcd && mv "),
            "{told}"
        );
        assert_eq!(publication(&w, "t"), Publication::default());
        w.event = Event::Leaving("stop".into());
        assert_eq!(done(next(&w)).kind, StatusKind::Maintenance, "its server is not stopped");
    }

    #[test]
    fn data_of_this_unit_is_known_without_a_record() {
        let adopted = |change: &dyn Fn(&mut World)| {
            let mut w = redeployed();
            w.host.owner = None;
            change(&mut w);
            foreign(&w).is_none()
        };
        let said = |key: &str, value: &str| Databag::from([(key.to_owned(), value.to_owned())]);
        assert!(!adopted(&|_| {}));
        // A member of this charm's earlier revisions, and of the Python charm.
        assert!(adopted(&|w| w.peers.own = said("member-id", "64")));
        assert!(adopted(&|w| w.peers.own = said("db-ingress-address", "10.0.0.1")));
        // It was killed before it could say so.
        assert!(adopted(&|w| w.host.config = Some("initial-cluster-token: token\n".into())));
        assert!(adopted(&|w| w.peers.cluster.cluster = Some(FOREIGN)));
        assert!(adopted(&|w| {
            w.peers.units.insert("etcd/1".parse().unwrap(), peer_of(&"etcd/1".parse().unwrap()));
            w.host.identity = identity(CLUSTER);
        }));
    }

    #[test]
    fn a_disk_of_another_cluster_in_the_place_of_the_own_one_is_foreign() {
        let mut w = settled(0, &three());
        w.host.identity = identity(FOREIGN);
        assert!(foreign(&w).is_some());
        // Restored: the application has agreed on it, or the journal tells.
        w.peers.cluster.cluster = Some(FOREIGN);
        assert_eq!(foreign(&w), None);
    }

    /// Two applications on one machine, the first one's data on storage.
    #[test]
    fn a_server_on_storage_of_another_unit_is_left_alone() {
        let mut w = settled(0, &three());
        w.host.place = Place::whole(storage::DATA);
        w.host.runs_in = Some(Place::whole(storage::DATA));
        let owner = |unit: &str| Some(Owner { unit: unit.into(), model: "m".into(), ..Owner::default() });
        let mount = |w: &mut World, owner| {
            w.host.volume.mounted = Some(storage::Mounted {
                number: (8, 16),
                source: "/dev/sdb".into(),
                inside: Reading::Known(storage::Inside { data: Data::Present, owner }),
            });
        };
        mount(&mut w, owner("other/0"));
        w.leadership = Leadership::Leader;
        let told = done(next(&w)).message;
        assert!(
            told.contains("holds data of other/0, an earlier or another application: it is not touched"),
            "{told}"
        );
        assert_eq!(publication(&w, "t"), Publication::default());
        mount(&mut w, owner("etcd/0"));
        assert_eq!(foreign(&w), None);
        w.host.runs_in = None;
        mount(&mut w, owner("other/0"));
        assert_eq!(foreign(&w), None, "storage that was given to this unit and is not claimed yet");
    }

    /// The earlier unit was restoring or recovering when its machine was taken from it.
    #[test]
    fn what_an_earlier_unit_left_half_done_is_not_gone_on_with() {
        let mut w = redeployed();
        let restore =
            r#"{"phase": "swapping", "kept": "member.before-restore-1", "old_cluster": null, "token": "t"}"#;
        w.host.restore = serde_json::from_str(restore).unwrap();
        w.host.recovery = Some(crate::recovering::Recovery::of(
            std::path::Path::new("member.before-recovery-1"),
            "1 etcd/0".parse().unwrap(),
        ));
        assert!(done(next(&w)).message.contains("holds data of etcd/0 of cluster f0"));
        (w.host.data, w.host.identity) = (Data::Empty, None);
        assert!(matches!(next(&w), Next::Do(Step::ClaimMachine(_))), "its marks go aside then");
    }

    #[test]
    fn the_machine_is_claimed_before_there_is_data_and_the_record_follows_the_cluster() {
        let mut w = ready(0);
        w.host.owner = None;
        assert!(matches!(next(&w), Next::Do(Step::ClaimMachine(Owner { cluster: None, .. }))));
        let mut w = settled(0, &three());
        w.host.owner = Some(Owner { cluster: None, ..w.host.owner.clone().unwrap() });
        assert!(matches!(next(&w), Next::Do(Step::ClaimMachine(Owner { cluster: Some(CLUSTER), .. }))));
        w.host.place = Place::whole(storage::DATA);
        w.host.data = Data::Empty;
        assert_eq!(foreign(&w), None);
    }
}
