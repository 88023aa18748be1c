//! Devices, whose data is on them, and what happens when they come and go.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::worlds::{CLUSTER, converge_files, done, member, ready, settled, three};
use super::super::{Next, next};
use super::*;
use crate::juju::StatusKind;
use crate::storage::{Mounted, Volume};
use crate::world::{Leadership, Moved};

const UUID: &str = "7e6d-1";
const ID: &str = "data/0";

fn ours(uuid: &str) -> Content {
    Content::FileSystem { kind: "ext4".into(), label: LABEL.into(), uuid: uuid.into() }
}

fn attach(w: &mut World, content: Content) {
    let device = Device { path: PathBuf::from("/dev/sdb"), number: (8, 16), content };
    w.storage = Some(Attached { id: ID.into(), device: Reading::Known(device) });
}

/// Mounted and guarded, with this on it.
pub(super) fn mount(w: &mut World, data: Data, owner: Option<Owner>) {
    attach(w, ours(UUID));
    w.host.volume = Volume {
        mounted: Some(Mounted {
            number: (8, 16),
            source: "/dev/sdb".into(),
            inside: Reading::Known(Inside { data, owner }),
        }),
        unit: Some(MountUnit::new(MOUNT).text(UNIT, UUID)),
        rules: Some(RULES.into()),
        adopted: BTreeSet::new(),
        formatting: None,
    };
}

pub(super) fn owner(unit: &str, voters: usize) -> Option<Owner> {
    Some(Owner {
        unit: unit.into(),
        model: "m".into(),
        relation: None,
        cluster: Some(CLUSTER),
        voters: Some(voters),
    })
}

/// A new unit whose directory is on the storage, with data of `etcd/0` on it.
fn gets_data_of_another(voters: usize) -> World {
    let mut w = ready(3);
    mount(&mut w, Data::Present, owner("etcd/0", voters));
    w.host.place = Place::whole(storage::DATA);
    w.host.data = Data::Present;
    w
}

/// A settled member with its data on the storage.
fn settled_there() -> World {
    let mut w = settled(0, &three());
    mount(&mut w, Data::Present, owner("etcd/0", 3));
    w.host.place = Place::whole(storage::DATA);
    converge_files(&mut w);
    w
}

fn told(w: &World) -> String {
    done(next(w)).to_string()
}

#[test]
fn only_an_empty_device_is_formatted_and_only_a_file_system_of_ours_is_mounted() {
    let format = Next::Do(Step::FormatStorage { id: ID.into(), device: "/dev/sdb".into() });
    let mut w = ready(0);
    attach(&mut w, Content::Blank);
    assert_eq!(next(&w), format);
    attach(&mut w, Content::Unrecognized);
    assert!(told(&w).starts_with("blocked storage data/0 (/dev/sdb) holds unknown data and is left alone"));
    w.host.volume.formatting = Some("data/9".into());
    assert_ne!(next(&w), format, "another storage was being formatted");
    w.host.volume.formatting = Some(ID.into());
    assert_eq!(next(&w), format);
    attach(&mut w, ours(UUID));
    assert!(matches!(next(&w), Next::Do(Step::MountStorage { unit, .. }) if unit.contains(UUID)));
    let ext4 =
        |label: &str| Content::FileSystem { kind: "ext4".into(), label: label.into(), uuid: UUID.into() };
    let xfs = Content::FileSystem { kind: "xfs".into(), label: LABEL.into(), uuid: UUID.into() };
    let others =
        ["LVM2_member", "crypto_LUKS", "partition table gpt"].map(|what| Content::Other(what.into()));
    for content in others.into_iter().chain([ext4(""), ext4("backup"), xfs]) {
        attach(&mut w, content.clone());
        assert!(
            told(&w).starts_with("blocked storage data/0 (/dev/sdb) holds "),
            "{content:?}: {}",
            told(&w)
        );
    }
    w.storage = Some(Attached { id: ID.into(), device: Reading::Unknown("cannot find /dev/sdb".into()) });
    assert_eq!(
        told(&w),
        format!(
            "blocked storage data/0 cannot be used: cannot find /dev/sdb; {AGAIN}, or detach it (juju detach-storage data/0)"
        )
    );
}

/// As the earlier charm has left it: mounted, with a file system that nobody labelled.
#[test]
fn a_file_system_that_was_mounted_before_is_adopted_and_known_again() {
    let file_system = |kind: &str, label: &str| Content::FileSystem {
        kind: kind.into(),
        label: label.into(),
        uuid: UUID.into(),
    };
    for (kind, label, gets_one) in [("ext4", "", true), ("ext4", "theirs", false), ("xfs", "", false)] {
        let mut w = settled(0, &three());
        mount(&mut w, Data::Empty, owner("etcd/0", 3));
        attach(&mut w, file_system(kind, label));
        let adopt = Step::AdoptStorage { device: "/dev/sdb".into(), uuid: UUID.into(), label: gets_one };
        assert_eq!(next(&w), Next::Do(adopt), "{kind} {label}");
        w.host.volume.adopted.insert(UUID.into());
        assert!(matches!(next(&w), Next::Do(Step::MoveData { .. })), "{kind} {label}");
        // Taken away and given back, the mount unit with it.
        w.host.volume = Volume { adopted: w.host.volume.adopted, ..Volume::default() };
        assert!(matches!(next(&w), Next::Do(Step::MountStorage { .. })), "{kind} {label}");
        // Adopted by a revision that noted nothing: its mount unit names it.
        w.host.volume = Volume { unit: Some(MountUnit::new(MOUNT).text(UNIT, UUID)), ..Volume::default() };
        assert!(matches!(next(&w), Next::Do(Step::MountStorage { .. })), "{kind} {label}");
        w.host.volume = Volume::default();
        assert!(told(&w).contains("is left alone"), "{kind} {label}: {}", told(&w));
    }
}

#[test]
fn a_member_that_runs_goes_on_beside_a_device_that_cannot_be_used_and_says_so() {
    let mut w = settled(0, &three());
    attach(&mut w, Content::Other("LVM2_member".into()));
    assert!(told(&w).starts_with("blocked storage data/0 (/dev/sdb) holds LVM2_member"), "{}", told(&w));
    w.host.service = Service::Stopped;
    w.etcd.door = Door::Closed;
    assert_eq!(next(&w), Next::Do(Step::StartService), "its data is elsewhere");
    w.host.volume.rules = Some(RULES.into());
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage), "they would keep it from starting");
}

#[test]
fn without_its_storage_a_member_is_not_started() {
    let mut w = settled_there();
    assert_eq!(told(&w), "active Healthy with 3 known peers");
    w.host.volume.mounted = None;
    w.host.data = Data::Empty;
    w.host.service = Service::Stopped;
    w.etcd.door = Door::Closed;
    assert!(matches!(next(&w), Next::Do(Step::MountStorage { .. })));
    for wrong in [Content::Blank, Content::Unrecognized, ours("another")] {
        attach(&mut w, wrong);
        assert!(told(&w).starts_with("blocked storage data/0 is not the one"), "{}", told(&w));
    }
    w.storage = None;
    assert!(told(&w).starts_with("blocked etcd's data is on storage that is not attached"), "{}", told(&w));
}

#[test]
fn a_settled_member_moves_its_data_once_and_clears_up_behind_itself() {
    let mut w = settled(0, &three());
    w.host.root_data = Data::Present;
    mount(&mut w, Data::Empty, None);
    assert!(matches!(next(&w), Next::Do(Step::ClaimStorage(new)) if new.unit == "etcd/0"));
    mount(&mut w, Data::Empty, owner("etcd/0", 3));
    let Next::Do(Step::MoveData { to, settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
    assert_eq!((to, settings.data_dir.as_str()), (storage::DATA, storage::DATA));
    w.tried.in_vain.insert("move-data", "no space".into());
    assert_eq!(told(&w), format!("blocked etcd's data was not moved to storage data/0: no space; {AGAIN}"));
    w.tried.in_vain.clear();
    mount(&mut w, Data::Present, owner("etcd/0", 3));
    let unfinished = aside(Moved::Unfinished, storage::DATA);
    assert_eq!(next(&w), unfinished, "killed before etcd's file named the new place");
    let mut w = settled_there();
    w.host.root_data = Data::Present;
    assert_eq!(next(&w), aside(Moved::ElsewhereNow, DATA));
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    assert_eq!(next(&w), Next::Do(Step::StartService), "not before it has served from there");
}

#[test]
fn a_killed_move_starts_etcd_first() {
    let mut w = settled(0, &three());
    mount(&mut w, Data::Empty, owner("etcd/0", 3));
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    assert_eq!(next(&w), Next::Do(Step::StartService));
}

#[test]
fn data_of_another_member_is_kept_aside_only_on_the_word_of_a_quorum() {
    let mut w = gets_data_of_another(3);
    w.peers.cluster.cluster = Some(CLUSTER);
    w.etcd.roster = Roster::Confirmed(three());
    assert_eq!(next(&w), aside(Moved::OfAnother, storage::DATA));
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: vec![] };
    let question =
        "blocked storage data/0 holds data of etcd/0 of 3, and no quorum says whether it is needed";
    assert!(told(&w).starts_with(question), "{}", told(&w));
    w.etcd.roster = Roster::NobodyToAsk;
    assert!(told(&w).starts_with(question), "{}", told(&w));
}

#[test]
fn the_last_copy_is_served() {
    let mut w = gets_data_of_another(1);
    w.peers.cluster.cluster = Some(CLUSTER);
    assert!(
        matches!(next(&w), Next::Do(Step::ClaimStorage(new)) if new.unit == "etcd/3" && new.voters == Some(1))
    );
    mount(&mut w, Data::Present, owner("etcd/3", 1));
    converge_files(&mut w);
    assert_eq!(next(&w), Next::Do(Step::StartService));
    let config = w.host.config.as_ref().unwrap();
    assert!(config.contains("existing") && config.contains(storage::DATA), "{config}");
}

#[test]
fn the_last_copy_of_something_else_is_not_served() {
    let mut w = gets_data_of_another(1);
    w.peers.cluster.cluster = Some(crate::etcd::ClusterId(0xbad));
    assert_eq!(done(next(&w)).kind, StatusKind::Blocked);
    mount(&mut w, Data::Present, None);
    w.peers.cluster.cluster = Some(CLUSTER);
    assert_eq!(done(next(&w)).kind, StatusKind::Blocked, "nobody knows whose it is");
}

#[test]
fn a_new_application_serves_what_it_was_given_and_never_begins_beside_it() {
    let mut w = gets_data_of_another(1);
    w.leadership = Leadership::Leader;
    assert_eq!(told(&w), "waiting Preparing to start the cluster");
    w.peers.cluster.bootstrap_unit = "etcd/3".parse().ok();
    w.peers.cluster.token = Some("token".into());
    assert!(matches!(next(&w), Next::Do(Step::ClaimStorage(_))));
    let mut w = gets_data_of_another(2);
    w.peers.cluster.bootstrap_unit = "etcd/3".parse().ok();
    w.peers.cluster.token = Some("token".into());
    assert_eq!(done(next(&w)).kind, StatusKind::Blocked, "there may be another copy");
}

#[test]
fn storage_that_is_taken_away_leaves_the_member_running() {
    let mut w = settled_there();
    w.event = Event::Detaching("data-storage-detaching".into());
    w.storage = None;
    assert!(matches!(next(&w), Next::Do(Step::MoveData { to: DATA, .. })));
    let mut back = w.clone();
    back.host.place = Place::whole(DATA);
    back.host.root_data = Data::Present;
    assert_eq!(next(&back), aside(Moved::ElsewhereNow, storage::DATA));
    mount(&mut back, Data::Empty, owner("etcd/0", 3));
    back.storage = None;
    assert_eq!(next(&back), Next::Do(Step::ReleaseStorage));
    back.host.volume = Volume::default();
    converge_files(&mut back);
    assert_eq!(told(&back), "active Healthy with 3 known peers");
    w.tried.in_vain.insert("move-data", "no space".into());
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.host.service = Service::Stopped;
    w.etcd.door = Door::Closed;
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage));
    w.host.volume = Volume::default();
    assert!(told(&w).starts_with("blocked etcd's data has left with its storage (no space)"), "{}", told(&w));
}

#[test]
fn the_storage_knows_how_many_voted_and_is_unmounted_last() {
    let mut w = settled_there();
    w.etcd.roster = Roster::Confirmed(three()[..2].to_vec());
    assert!(matches!(next(&w), Next::Do(Step::ClaimStorage(new)) if new.voters == Some(2)));
    let alone = [member(0, false)];
    let mut w = settled(0, &alone);
    mount(&mut w, Data::Present, owner("etcd/0", 3));
    w.host.place = Place::whole(storage::DATA);
    w.event = Event::Leaving("data-storage-detaching".into());
    assert!(matches!(next(&w), Next::Do(Step::ClaimStorage(new)) if new.voters == Some(1)));
    mount(&mut w, Data::Present, owner("etcd/0", 1));
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.host.service = Service::Stopped;
    w.etcd.door = Door::Closed;
    w.etcd.roster = Roster::NobodyToAsk;
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage));
}

/// A settled member on its storage, whose hook takes it away. `members`: of the whole cluster.
fn detaching(members: &[crate::etcd::Member]) -> World {
    let mut w = settled(0, members);
    mount(&mut w, Data::Present, owner("etcd/0", members.len()));
    w.host.place = Place::whole(storage::DATA);
    converge_files(&mut w);
    w.event = Event::Detaching("data-storage-detaching".into());
    w.storage = None;
    w
}

fn fails(w: &World) -> Option<String> {
    super::why_hook_fails(w, &done(next(w)))
}

#[test]
fn a_killed_move_home_starts_etcd_first() {
    let mut w = detaching(&three());
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    assert_eq!(next(&w), Next::Do(Step::StartService));
    w.tried.in_vain.insert("start-service", "it ends".into());
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage), "the others do without it");
    let mut w = gets_data_of_another(3);
    w.event = Event::Detaching("data-storage-detaching".into());
    w.storage = None;
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage), "another member's data is not started");
}

#[test]
fn the_hook_fails_while_the_storage_is_in_use() {
    let mut w = detaching(&three());
    w.etcd.door = Door::Mute("no raft leader".into());
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
    assert!(matches!(next(&w), Next::Wait(Waiting::Start(_))));
    assert!(fails(&w).unwrap().ends_with("juju resolved --no-retry etcd/0"), "{:?}", fails(&w));
    w.tried.lasted_s = 60;
    assert!(fails(&w).unwrap().contains("no quorum says that the others do without it"), "{:?}", fails(&w));
    w.etcd.roster = Roster::Confirmed(three());
    assert_eq!(next(&w), Next::Do(Step::StopService), "they do without it");
    // What cannot be unmounted.
    let mut w = settled(0, &three());
    w.event = Event::Detaching("data-storage-detaching".into());
    mount(&mut w, Data::Empty, owner("etcd/0", 3));
    w.storage = None;
    w.tried.in_vain.insert("release-storage", "target is busy".into());
    assert!(fails(&w).unwrap().contains("target is busy: end what uses it (fuser -vm /media/etcd"));
    w.event = Event::Look("config-changed".into());
    assert_eq!(fails(&w), None, "any other hook");
    w.tried.in_vain.clear();
    assert_eq!(next(&w), Next::Do(Step::ReleaseStorage), "it is tried again");
    w.host.volume.unit = None;
    w.event = Event::Detaching("data-storage-detaching".into());
    w.host.volume.rules = None;
    assert_eq!(fails(&w), None, "what others mount there is theirs");
}

#[test]
fn data_that_cannot_move_stays_where_the_quorum_needs_it() {
    let alone = [member(0, false)];
    let mut w = detaching(&alone);
    assert!(matches!(next(&w), Next::Do(Step::MoveData { .. })));
    w.tried.in_vain.insert("move-data", "no space".into());
    let told = "no space; 0 of the other 0 voters are healthy and 1 are needed";
    assert!(fails(&w).unwrap().contains(told), "{:?}", fails(&w));
    let mut w = detaching(&three());
    w.tried.in_vain.insert("move-data", "etcd/1 holds the lock etcd-charm/restart".into());
    w.tried.not_yet.insert("move-data");
    assert!(fails(&w).unwrap().contains("etcd/1 holds the lock"), "it gets its turn");
    w.tried.not_yet.clear();
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.etcd.health.insert(crate::etcd::MemberId(101), crate::world::Health::Unhealthy("stopped".into()));
    assert!(fails(&w).unwrap().contains("1 of the other 2 voters are healthy and 2 are needed"));
    let mut w = detaching(&three());
    let serde_json::Value::Object(values) = serde_json::json!({"port": 0}) else { panic!() };
    w.options = crate::options::Options::parse(&values);
    assert!(fails(&w).unwrap().contains("port: 0 is not a port"), "a slip gives up no member");
}

#[test]
fn storage_of_a_leaving_member_stays_while_the_quorum_needs_it() {
    let mut w = detaching(&three());
    w.event = Event::Leaving("data-storage-detaching".into());
    w.peers.leaving.insert(w.unit.clone());
    w.etcd.health.insert(crate::etcd::MemberId(102), crate::world::Health::Unhealthy("gone".into()));
    w.tried.lasted_s = 60;
    assert!(matches!(next(&w), Next::Wait(Waiting::Leave(_))));
    assert!(fails(&w).unwrap().contains("Leaving: only 1 of the other 2 voters are healthy"));
    // Its unit is gone too: no other hook of a leader that waits here would take that member out.
    w.leadership = Leadership::Leader;
    w.peers.expected.as_mut().unwrap().remove(&"etcd/2".parse().unwrap());
    assert!(matches!(next(&w), Next::Do(Step::RemoveMember { member, .. }) if member.0 == 102));
    // The whole application goes.
    w.leadership = Leadership::Follower;
    w.peers.leaving = w.peers.expected.clone().unwrap();
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.tried.lasted_s = 0;
    assert!(matches!(next(&w), Next::Wait(Waiting::Leave(_))), "the others may take it out yet");
    w.etcd.door = Door::Mute("no raft leader".into());
    assert!(matches!(next(&w), Next::Wait(Waiting::Leave(_))), "it may be needed in a moment");
}
