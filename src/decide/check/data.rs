//! Starts, configuration, and where the data is. Nothing is ever deleted: data is renamed or copied, and no step removes any.

use std::path::Path;

use super::super::is_own_check;
use super::members::is_own;
use super::{Verdict, confirmed, demand};
use crate::etcd::{
    ClusterState, Member, MemberId, Minor, OldRecords, OnDisk, Settings, Version, read_config,
};
use crate::event::Event;
use crate::healed::Healed;
use crate::host::volume::Content;
use crate::recovering::{self, Recovery};
use crate::restoring::Phase;
use crate::storage::{self, Inside, Owner};
use crate::world::{Data, Door, Moved, Place, Reading, Service, World};

pub(super) fn check_start(w: &World) -> Verdict {
    demand(!w.event.is_leaving(), "a leaving unit must not start etcd")?;
    check_whole(w)?;
    check_owner(w)?;
    let file = on_disk(w);
    demand(!file.force_new_cluster, "force-new-cluster would throw the other members out")?;
    let is_first = w.host.config.as_ref().is_some_and(|file| file.contains("initial-cluster-state: new"));
    match w.host.data {
        Data::Present => {
            let removed = confirmed(w).is_ok_and(|members| members.iter().all(|one| !is_own(w, one)));
            demand(!removed, "the cluster has removed this member")
        }
        Data::Unreadable(_) => Err("the data cannot be read".into()),
        Data::Empty | Data::Partial(_) if is_first => check_bootstrap(w),
        Data::Empty | Data::Partial(_) => check_joiner(w),
    }
}

/// Only the named unit starts a cluster, and only where none was ever started.
fn check_bootstrap(w: &World) -> Verdict {
    let cluster = &w.peers.cluster;
    demand(
        cluster.bootstrap_unit.as_ref() == Some(&w.unit) && cluster.token.is_some(),
        "this unit was not named to start the cluster",
    )?;
    demand(cluster.cluster.is_none() && !cluster.inherited, "a cluster was started before")?;
    let claimed =
        w.peers.units.values().any(|peer| peer.record.member.is_some() || peer.record.address.is_some());
    let own = w.own_record();
    demand(!claimed && own.member.is_none() && own.address.is_none(), "some unit has published a member")
}

/// Without data, etcd starts only as a member that the cluster has added and that has never run.
fn check_joiner(w: &World) -> Verdict {
    let members = confirmed(w)?;
    let own = members.iter().find(|member| is_own(w, member));
    demand(own.is_some_and(|own| !own.is_started()), "the cluster has not added this unit")
}

/// No upgrade and no restore is half done.
fn check_whole(w: &World) -> Verdict {
    demand(w.host.moving.is_none(), "an upgrade is under way")?;
    let swapping = w.host.restore.as_ref().is_some_and(|journal| journal.phase == Phase::Swapping);
    demand(!swapping, "a restore is half done: either data may be in place")?;
    let is_recovering = w.host.recovery.as_ref().is_some_and(Recovery::is_half_done);
    demand(!is_recovering, "a recovery is half done: the log may say more than what was agreed")
}

/// Never beside a quorum of the others.
pub(super) fn check_finished_recovery(w: &World, recovery: &Recovery) -> Verdict {
    demand(w.host.recovery.as_ref() == Some(recovery), "no recovery is under way")?;
    demand(
        matches!(recovery.phase, recovering::Phase::Alone | recovering::Phase::Recovered),
        "the data of before is not kept yet, or is being put back",
    )?;
    demand(!recovery.is_half_done() || confirmed(w).is_err(), "a quorum of the others answers")
}

fn is_on_storage(w: &World) -> bool {
    w.host.place.data == storage::DATA
}

/// The data belongs to this unit, and its storage is mounted.
pub(super) fn check_owner(w: &World) -> Verdict {
    if !is_on_storage(w) {
        let strangers = w.host.owner.as_ref().is_some_and(|owner| !owner.is(&w.unit, &w.model));
        return demand(!strangers || w.host.data == Data::Empty, "the machine holds another unit's data");
    }
    let mounted = w.host.volume.mounted.as_ref().ok_or("the storage is not mounted")?;
    let Reading::Known(Inside { owner, data }) = &mounted.inside else {
        return Err("the storage cannot be read".into());
    };
    // Before there was such a record, etcd's own file told.
    let is_own = match owner {
        Some(owner) => owner.is(&w.unit, &w.model),
        None => w.host.config.is_some(),
    };
    demand(is_own || *data == Data::Empty, "the storage holds another unit's data")
}

fn on_disk(w: &World) -> OnDisk {
    w.host.config.as_deref().and_then(|text| read_config(text).ok()).unwrap_or_default()
}

pub(super) fn check_restart(w: &World) -> Verdict {
    demand(!w.event.is_leaving(), "a leaving unit must not restart etcd")?;
    check_whole(w)
}

/// Neither 3.6 nor 3.7 starts on what the old store has left, nor beside members that could still send it.
pub(super) fn check_version(w: &World, to: Minor) -> Verdict {
    check_restart(w)?;
    let is_below = |one: &Version| (one.major, one.minor) < (to.major, to.minor);
    if !w.installed_version().is_some_and(|own| is_below(&own)) || !["3.6", "3.7"].contains(&&*to.to_string())
    {
        return Ok(());
    }
    let is_clear = match &w.host.old_records {
        Reading::Known(OldRecords::None) => true,
        Reading::Known(OldRecords::Own) => to.minor == 6,
        Reading::Known(OldRecords::Request(_) | OldRecords::Keys) | Reading::Unknown(_) => false,
    };
    demand(is_clear, "the old store has left something here")?;
    let is_ready = |member: &Member| {
        let records = || w.peers.units.values().map(|peer| &peer.record);
        let told = || records().find(|record| record.member == Some(member.id));
        let version = w.etcd.versions.get(&member.id).or(told().and_then(|record| record.version.as_ref()));
        let has_moved = version.is_some_and(|one| !is_below(one));
        is_own(w, member)
            || member.learner
            || has_moved
            || told().is_some_and(|it| it.prepared_for == Some(to))
    };
    demand(confirmed(w)?.iter().all(is_ready), "another member may still have something of the old store")
}

pub(super) fn check_config(w: &World, settings: &Settings) -> Verdict {
    demand(!w.event.is_leaving(), "a leaving unit must not change its configuration")?;
    demand(!settings.force_new_cluster, "only an action may throw members out")?;
    demand(settings.name == w.member_name(), "this is another member's name")?;
    let place = Place { data: settings.data_dir.clone(), log: settings.wal_dir.clone() };
    demand(place == w.host.place, "the file points away from the data")?;
    match settings.initial_cluster_state {
        ClusterState::New => {
            demand(w.host.data != Data::Present, "a member with data must not start a new cluster")?;
            check_bootstrap(w)
        }
        ClusterState::Existing => Ok(()),
    }
}

pub(super) fn check_move(w: &World, (from, to): (&Place, &str), settings: &Settings) -> Verdict {
    confirmed(w)?;
    check_whole(w)?;
    let votes = w.own_status().is_some_and(|own| !own.learner);
    demand(votes, "only a serving voter may move its data")?;
    let is_there = *from == w.host.place && to == settings.data_dir && *from != Place::whole(to);
    demand(is_there, "the data is not moved from where it is")?;
    let inside = match (to == storage::DATA, &w.host.volume.mounted) {
        (false, _) => &w.host.root_data,
        (true, Some(storage::Mounted { inside: Reading::Known(inside), .. })) => &inside.data,
        (true, _) => return Err("the storage cannot be read".into()),
    };
    // A log that is kept apart comes to the database, which stays where it is.
    demand(*inside == Data::Empty || from.data == to, "there is data at the destination")
}

/// The data that etcd runs on stays, unless a quorum confirms that its member is no longer needed.
pub(super) fn check_set_aside(w: &World, why: Moved, place: &Place) -> Verdict {
    demand(w.host.moving.is_none(), "an upgrade is under way")?;
    if place.data != w.host.place.data {
        let lives_elsewhere = w.host.data == Data::Present || matches!(w.etcd.door, Door::Open(_));
        return demand(lives_elsewhere, "this may be the only copy");
    }
    let is_down = matches!(w.host.service, Service::Stopped | Service::Missing);
    demand(is_down, "etcd is running on it")?;
    demand(w.host.restore.is_none(), "a restore is under way")?;
    let members = confirmed(w)?;
    match why {
        Moved::MemberRemoved => {
            let listed = members.iter().any(|member| is_own(w, member));
            demand(!listed, "the cluster still has this member")
        }
        Moved::ClusterRestored => {
            let (own, wanted) = (w.own_record().cluster, w.peers.cluster.cluster);
            demand(own.is_some() && wanted.is_some() && own != wanted, "it belongs to the present cluster")
        }
        Moved::OfAnother => demand(check_owner(w).is_err(), "it is this unit's own data"),
        Moved::Unfinished | Moved::ElsewhereNow | Moved::Damaged => {
            Err("it is the data that etcd runs on".into())
        }
    }
}

pub(super) fn check_format(w: &World, id: &str, device: &Path) -> Verdict {
    let attached =
        w.storage.as_ref().filter(|attached| attached.id == id).ok_or("the storage is not attached")?;
    let Reading::Known(found) = &attached.device else { return Err("the device cannot be read".into()) };
    demand(found.path == device, "this is another device")?;
    demand(!is_on_storage(w), "etcd's data is on storage")?;
    demand(w.host.volume.mounted.is_none(), "a file system is mounted")?;
    let begun = w.host.volume.formatting.as_deref() == Some(id);
    let is_free = found.content == Content::Blank || (begun && found.content == Content::Unrecognized);
    demand(is_free, "the device may hold data")
}

pub(super) fn check_unmount(w: &World) -> Verdict {
    let runs_there = is_on_storage(w) && w.host.service == Service::Running;
    let is_asked_for = w.event.is_leaving() || matches!(w.event, Event::Detaching(_));
    demand(
        !runs_there || (is_asked_for && w.tried.in_vain("stop-service").is_some()),
        "etcd is running on it",
    )
}

/// A unit claims storage for itself, and another unit's data only if it certainly is the last copy.
pub(super) fn check_claim(w: &World, owner: &Owner) -> Verdict {
    demand(owner.is(&w.unit, &w.model), "the claim names another unit")?;
    let Some(storage::Mounted { inside: Reading::Known(inside), .. }) = &w.host.volume.mounted else {
        return Err("the storage cannot be read".into());
    };
    let Some(before) = inside.owner.as_ref().filter(|_| inside.data != Data::Empty) else { return Ok(()) };
    if before.is(&w.unit, &w.model) {
        return Ok(());
    }
    let same = before.cluster.is_some() && before.cluster == w.peers.cluster.cluster;
    let begun =
        w.peers.cluster.cluster.is_some() || w.peers.units.values().any(|peer| peer.record.member.is_some());
    demand(before.voters == Some(1) && (same || !begun), "this may not be the last copy")
}

/// Only data that etcd cannot use is given up.
pub(super) fn check_damaged(w: &World, member: MemberId, place: &Place) -> Verdict {
    demand(*place == w.host.place, "this is not where etcd has its data")?;
    let is_broken = match w.host.data {
        Data::Partial(_) => true,
        Data::Present => w.host.damage.is_some() && matches!(w.host.service, Service::Failing(_)),
        Data::Empty | Data::Unreadable(_) => false,
    };
    demand(is_broken, "the data is not damaged")?;
    let today = |healed: &Healed| healed.member != member && w.now_s < healed.at_s + 86_400;
    demand(!w.host.healed.as_ref().is_some_and(today), "a member was replaced today already")
}

/// A file system that somebody mounted at the charm's place becomes the charm's.
pub(super) fn check_adopt(w: &World, device: &Path, uuid: &str) -> Verdict {
    let attached = w.storage.as_ref().ok_or("the storage is not attached")?;
    let Reading::Known(found) = &attached.device else { return Err("the device cannot be read".into()) };
    let is_it = matches!(&found.content, Content::FileSystem { uuid: found, .. } if found == uuid);
    demand(found.path == device && is_it && w.host.volume.mounted.is_some(), "this is another device")
}

/// The machine's record names this unit, and never replaces the record of another one with data.
pub(super) fn check_machine(w: &World, owner: &Owner) -> Verdict {
    demand(owner.is(&w.unit, &w.model), "the record names another unit")
}

pub(super) fn check_removed_files(paths: &[String]) -> Verdict {
    let is_own = |path: &String| {
        let path = Path::new(path);
        let name = |part: Option<&std::ffi::OsStr>| part.and_then(std::ffi::OsStr::to_str).map(str::to_owned);
        let directory = path.parent().and_then(Path::to_str);
        directory.zip(name(path.file_name())).is_some_and(|(directory, file)| is_own_check(directory, &file))
    };
    demand(paths.iter().all(is_own), "this is not one of the charm's files")
}
