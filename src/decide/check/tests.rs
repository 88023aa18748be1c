//! A checker that never objects proves nothing: here each invariant is broken once.

use super::super::worlds::{CLUSTER, member, peer_of, ready, settled, three, unstarted};
use super::super::{COMMON, DATA, Next, PLUGINS, Waiting, why_hook_fails};
use super::verdict;
use crate::etcd::{ClusterState, MemberId, Settings};
use crate::event::Event;
use crate::juju::Status;
use crate::restoring::Journal;
use crate::step::{Removal, Step};
use crate::storage::{self, Inside, Mounted, Owner};
use crate::world::{Data, Door, Health, Leadership, Moved, Place, Reading, Roster, Service, World};

fn refusal(w: &World, next: &Next) -> String {
    verdict(w, next).err().unwrap_or_default()
}

fn refused(w: &World, step: Step) -> String {
    refusal(w, &Next::Do(step))
}

fn gone(number: u64) -> Step {
    Step::RemoveMember { member: MemberId(100 + number), reason: Removal::UnitGone }
}

/// The leader of three, whose third unit Juju does not know any more.
fn without_the_third() -> World {
    let mut w = settled(0, &three());
    w.leadership = Leadership::Leader;
    w.peers.expected = Some(["etcd/0", "etcd/1"].map(|unit| unit.parse().unwrap()).into());
    w
}

#[test]
fn a_member_goes_for_a_unit_that_juju_has_just_said_is_gone() {
    let fine = without_the_third();
    assert_eq!(refused(&fine, gone(2)), "");
    let spoiled = |spoil: fn(&mut World)| {
        let mut w = without_the_third();
        spoil(&mut w);
        refused(&w, gone(2))
    };
    assert!(spoiled(|w| w.leadership = Leadership::Follower).contains("only the leader retires"));
    assert!(spoiled(|w| w.peers.expected = None).contains("goal state is unknown"));
    assert!(spoiled(|w| w.peers.expected = Some([].into())).contains("does not name this very unit"));
    assert!(spoiled(|w| *w = settled(0, &three())).contains("only the leader retires"));
    assert!(spoiled(|w| w.etcd.roster = Roster::NobodyToAsk).contains("no quorum has confirmed"));
    let unhealthy = |w: &mut World| {
        w.etcd.health.insert(MemberId(101), Health::Unhealthy("unreachable".into()));
    };
    assert!(spoiled(unhealthy).contains("no working quorum"));
    let exists = |w: &mut World| {
        w.peers.expected.as_mut().unwrap().insert("etcd/2".parse().unwrap());
    };
    assert!(spoiled(exists).contains("unit exists"));
    assert!(refused(&fine, gone(7)).contains("no such member"));
    assert!(refused(&fine, gone(0)).contains("own member"));
}

#[test]
fn a_nameless_learner_may_be_of_a_unit_that_is_not_seen_yet() {
    let mut w = without_the_third();
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), member(1, false), unstarted(2)]);
    assert_eq!(refused(&w, gone(2)), "");
    let unit: crate::juju::UnitName = "etcd/2".parse().unwrap();
    w.peers.expected.as_mut().unwrap().insert(unit.clone());
    w.peers.units.remove(&unit);
    assert!(refused(&w, gone(2)).contains("has not entered"));
    w.peers.units.insert(unit.clone(), peer_of(&unit));
    assert!(refused(&w, gone(2)).contains("at that address is joining"));
}

#[test]
fn a_unit_replaces_no_member_but_its_own() {
    let mut w = settled(0, &three());
    w.host.data = Data::Empty;
    w.etcd.door = Door::Closed;
    let lost = |number: u64| Step::RemoveMember { member: MemberId(100 + number), reason: Removal::DataLost };
    assert_eq!(refused(&w, lost(0)), "");
    assert!(refused(&w, lost(1)).contains("another unit's member"));
    let mut members = three();
    members[1].peer_urls = vec!["https://10.0.0.1:2380".into()];
    w.etcd.roster = Roster::Confirmed(members);
    assert!(refused(&w, lost(1)).contains("another unit's member"), "at the same address");
    w.host.data = Data::Present;
    assert!(refused(&w, lost(0)).contains("data is not lost"));
}

fn leaving(w: &mut World, hook: &str) {
    w.event = Event::Leaving(hook.into());
    w.peers.leaving.insert(w.unit.clone());
}

#[test]
fn what_units_that_stay_need_is_not_taken_from_them() {
    let mut w = settled(0, &[member(0, false), member(1, true)]);
    leaving(&mut w, "stop");
    assert!(
        refused(&w, Step::StopService).contains("the staying units need"),
        "the last voter beside a learner"
    );
    let own = Step::RemoveMember { member: MemberId(100), reason: Removal::Leaving };
    assert!(refused(&w, own).contains("no working quorum"));
    let left = Next::Done(Status::maintenance("Left the cluster"));
    assert_eq!(refusal(&w, &left), "", "the hook fails, and the machine stays");
    w.event = Event::Leaving("db-relation-departed".into());
    assert_eq!(why_hook_fails(&w, &Status::maintenance("Left the cluster")), None, "nothing ends with it");
    w.event = Event::Leaving("stop".into());
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: vec![] };
    assert!(
        refused(&w, Step::StopService).contains("the staying units need"),
        "nobody says that it is not needed"
    );
    w.peers.leaving = w.peers.expected.clone().unwrap();
    assert_eq!(refused(&w, Step::StopService), "", "nobody stays");
    let mut w = settled(0, &three());
    leaving(&mut w, "stop");
    assert_eq!(refused(&w, Step::StopService), "", "two of three are a quorum");
    w.etcd.health.insert(MemberId(102), Health::Unhealthy("unreachable".into()));
    assert!(refused(&w, Step::StopService).contains("the staying units need"));
    let w = settled(0, &three());
    assert!(refused(&w, Step::StopService).contains("still is a member"), "it does not leave");
}

#[test]
fn joining_voting_and_leading_are_for_those_who_can() {
    let mut w = settled(0, &three());
    let join = || Step::AddLearner { peer_url: "https://10.0.0.1:2380".into() };
    assert!(refused(&w, join()).contains("already is a member"));
    assert!(refused(&w, Step::Promote(MemberId(100))).contains("its own learner"));
    assert_eq!(refused(&w, Step::MoveLeadership { to: MemberId(101) }), "");
    w.etcd.health.insert(MemberId(101), Health::Unhealthy("unreachable".into()));
    assert!(refused(&w, Step::MoveLeadership { to: MemberId(101) }).contains("healthy voter"));
    let url = || "https://10.0.0.2:3380".to_owned();
    assert!(
        refused(&w, Step::MovePeerUrl { member: MemberId(101), peer_url: url() }).contains("another unit's")
    );
    let mut w = ready(3);
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), unstarted(1)]);
    assert!(refused(&w, join()).contains("another learner"));
    w.etcd.roster = Roster::Confirmed(three());
    w.host.data = Data::Present;
    assert!(refused(&w, join()).contains("has a member's data"));
}

/// The file that the world's unit would write, changed.
fn file(w: &World, change: impl FnOnce(&mut Settings)) -> Next {
    let (mut settings, version) = super::super::service::settings_in(w, DATA).unwrap();
    change(&mut settings);
    Next::Do(Step::WriteConfig { settings: Box::new(settings), version, restart: false })
}

#[test]
fn a_history_begins_once_and_where_it_was_announced() {
    let new = |settings: &mut Settings| settings.initial_cluster_state = ClusterState::New;
    let mut w = ready(0);
    assert!(refusal(&w, &file(&w, new)).contains("was not named"));
    (w.peers.cluster.bootstrap_unit, w.peers.cluster.token) = (Some(w.unit.clone()), Some("t".into()));
    assert_eq!(refusal(&w, &file(&w, new)), "");
    w.peers.cluster.cluster = Some(CLUSTER);
    assert!(refusal(&w, &file(&w, new)).contains("started before"));
    w.peers.cluster.cluster = None;
    let other: crate::juju::UnitName = "etcd/1".parse().unwrap();
    w.peers.units.insert(other.clone(), peer_of(&other));
    assert!(refusal(&w, &file(&w, new)).contains("has published a member"));
    let w = settled(0, &three());
    assert!(refusal(&w, &file(&w, new)).contains("must not start a new cluster"));
    let text = w
        .host
        .config
        .clone()
        .unwrap()
        .replace("initial-cluster-state: existing", "initial-cluster-state: new");
    let mut w = World { host: crate::world::Host { config: Some(text), ..w.host.clone() }, ..w };
    w.host.data = Data::Empty;
    assert!(refused(&w, Step::StartService).contains("started before"));
}

#[test]
fn etcds_file_keeps_the_server_with_its_data_and_the_members_in_the_cluster() {
    let w = settled(0, &three());
    assert_eq!(refusal(&w, &file(&w, |_| {})), "");
    assert!(refusal(&w, &file(&w, |file| file.data_dir = "/srv/etcd".into())).contains("points away"));
    assert!(refusal(&w, &file(&w, |file| file.force_new_cluster = true)).contains("may throw members out"));
    assert!(refusal(&w, &file(&w, |file| file.name = "etcd1".into())).contains("another member's name"));
}

/// A member with its data on storage, by the word of its owner file.
fn on_storage(owner: &str) -> World {
    let mut w = settled(0, &three());
    w.host.place = Place::whole(storage::DATA);
    let owner = Owner {
        unit: owner.into(),
        model: "m".into(),
        cluster: Some(CLUSTER),
        voters: Some(3),
        ..Owner::default()
    };
    let inside = Reading::Known(Inside { data: Data::Present, owner: Some(owner) });
    w.host.volume.mounted = Some(Mounted { number: (8, 16), source: "/dev/sdb".into(), inside });
    w
}

#[test]
fn no_server_starts_on_data_that_is_not_known_to_be_its_own_and_whole() {
    assert_eq!(refused(&on_storage("etcd/0"), Step::StartService), "");
    assert!(refused(&on_storage("etcd/8"), Step::StartService).contains("another unit's data"));
    let mut w = on_storage("etcd/0");
    w.host.volume.mounted = None;
    assert!(refused(&w, Step::StartService).contains("not mounted"));
    let mut w = settled(0, &three());
    assert_eq!(refused(&w, Step::StartService), "");
    w.host.data = Data::Partial("the log (member/wal)");
    assert!(refused(&w, Step::StartService).contains("has not added"));
    w.host.data = Data::Present;
    w.host.config = w.host.config.map(|text| text + "force-new-cluster: true\n");
    assert!(refused(&w, Step::StartService).contains("would throw"));
    let mut w = settled(0, &three());
    w.host.restore = Some(journal());
    assert!(refused(&w, Step::StartService).contains("a restore is half done"));
    assert!(refused(&w, Step::RestartService).contains("a restore is half done"));
    let mut w = settled(2, &three());
    w.etcd.door = Door::Closed;
    w.etcd.roster = Roster::Confirmed(three()[..2].to_vec());
    assert!(refused(&w, Step::StartService).contains("has removed this member"));
}

fn journal() -> Journal {
    let file = serde_json::json!({"phase": "swapping", "kept": "kept", "old_cluster": null, "token": "t"});
    serde_json::from_value(file).unwrap()
}

#[test]
fn data_is_put_aside_on_the_word_of_a_quorum_alone() {
    let aside = |why| Step::MoveDataAside { why, place: Place::whole(DATA) };
    let mut w = settled(2, &three());
    assert!(refused(&w, aside(Moved::MemberRemoved)).contains("etcd is running on it"));
    w.host.service = Service::Stopped;
    w.etcd.door = Door::Closed;
    assert!(refused(&w, aside(Moved::MemberRemoved)).contains("still has this member"));
    assert!(refused(&w, aside(Moved::ClusterRestored)).contains("the present cluster"));
    w.etcd.roster = Roster::Confirmed(three()[..2].to_vec());
    assert_eq!(refused(&w, aside(Moved::MemberRemoved)), "");
    w.etcd.roster = Roster::NobodyToAsk;
    assert!(refused(&w, aside(Moved::MemberRemoved)).contains("no quorum has confirmed"));
    w.host.data = Data::Empty;
    let other = Step::MoveDataAside { why: Moved::OfAnother, place: Place::whole(storage::DATA) };
    assert!(refused(&w, other).contains("the only copy"));
}

#[test]
fn a_device_with_something_on_it_is_not_formatted_and_storage_in_use_not_unmounted() {
    let w = ready(0);
    let format = Step::FormatStorage { id: "data/0".into(), device: "/dev/sdb".into() };
    assert!(refused(&w, format).contains("not attached"));
    assert!(refused(&on_storage("etcd/0"), Step::ReleaseStorage).contains("etcd is running on it"));
    let claim = Owner { unit: "etcd/0".into(), model: "m".into(), ..Owner::default() };
    assert!(refused(&on_storage("etcd/8"), Step::ClaimStorage(claim)).contains("the last copy"));
    let stranger = Owner { unit: "etcd/8".into(), model: "m".into(), ..Owner::default() };
    assert!(refused(&on_storage("etcd/8"), Step::ClaimStorage(stranger)).contains("names another unit"));
    let checks = |path: String| Step::WriteChecks { write: [].into(), remove: vec![path] };
    assert_eq!(refused(&w, checks(format!("{PLUGINS}/check_etcd_alarms"))), "");
    assert!(refused(&w, checks(format!("{COMMON}/ca.crt"))).contains("not one of the charm's"));
}

#[test]
fn an_operator_is_told_what_to_do_in_one_line() {
    let w = settled(0, &three());
    let said = |status: Status| refusal(&w, &Next::Done(status));
    assert_eq!(said(Status::blocked("No quorum: run the action recover-quorum")), "");
    assert!(said(Status::blocked("Something is wrong")).contains("without saying what to do"));
    assert!(said(Status::waiting("Hm")).contains("without saying for what"));
    assert!(said(Status::active("")).contains("not one line"));
    assert!(said(Status::active("two\nlines")).contains("not one line"));
    assert!(said(Status::active("Some(3)")).contains("debug output"));
    assert!(
        refusal(&w, &Next::Wait(Waiting::Members(Status::blocked("Sick"))))
            .contains("without saying what to do")
    );
}
