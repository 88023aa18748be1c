//! The runbook held against worlds: each test names the situation an operator would recognise.

use super::serving::publication;
use super::worlds::*;
use super::*;
use crate::etcd::MemberId;
use crate::event::Event;
use crate::host::Installed;
use crate::juju::{Databag, StatusKind};
use crate::options::Options;
use crate::relations::authority::OwnRequest;
use crate::relations::cluster::ClusterRecord;
use crate::step::Removal;
use crate::world::*;

#[test]
fn a_new_unit_installs_then_asks_for_certificates() {
    let w = first_hook(0);
    assert!(matches!(next(&w), Next::Do(Step::InstallSnap(_))));
    let mut w = ready(0);
    w.host.credentials = None;
    w.authority.answer = Answered::Nothing;
    assert_eq!(done(next(&w)).to_string(), "waiting Requesting TLS certificates from easyrsa");
    w.authority.answer = Answered::Incomplete("the client certificate");
    let told = "waiting Requesting TLS certificates from easyrsa: waiting for the client certificate";
    assert_eq!(done(next(&w)).to_string(), told);
    w.authority.relation = None;
    assert_eq!(done(next(&w)).to_string(), "blocked Missing relation to certificate authority.");
}

#[test]
fn leadership_alone_never_starts_a_cluster() {
    let mut w = ready(0);
    w.leadership = Leadership::Leader;
    assert_eq!(done(next(&w)).kind, StatusKind::Waiting);
    let named = publication(&w, "fresh-token").application.expect("the leader names who starts").1;
    assert_eq!(named["bootstrap-unit"].as_deref(), Some("etcd/0"));
    assert_eq!(named["token"].as_deref(), Some("fresh-token"));
}

#[test]
fn only_the_named_unit_starts_the_cluster() {
    let named = ClusterRecord {
        token: Some("t".into()),
        bootstrap_unit: "etcd/0".parse().ok(),
        ..Default::default()
    };
    let mut w = ready(0);
    w.peers.cluster = named.clone();
    let Next::Do(Step::WriteConfig { settings, restart, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
    assert!(!restart);
    assert_eq!(settings.initial_cluster, [("etcd0".to_owned(), "https://10.0.0.1:2380".to_owned())]);
    let mut other = ready(1);
    other.leadership = Leadership::Leader;
    other.peers.cluster = named;
    other.peers.expected = Some(["etcd/0", "etcd/1"].map(|unit| unit.parse().unwrap()).into());
    assert_eq!(done(next(&other)).message, "Waiting for etcd/0 to start the cluster");
    assert_eq!(publication(&other, "x").application, None, "the choice stands while its unit exists");
}

#[test]
fn a_named_unit_that_vanished_before_it_started_anything_is_replaced() {
    let mut w = ready(1);
    w.leadership = Leadership::Leader;
    w.peers.cluster.bootstrap_unit = "etcd/0".parse().ok();
    let changes = publication(&w, "new").application.unwrap().1;
    assert_eq!(changes["bootstrap-unit"].as_deref(), Some("etcd/1"));
}

#[test]
fn a_cluster_that_was_started_is_never_started_again() {
    let mut w = ready(0);
    w.leadership = Leadership::Leader;
    w.peers.cluster = ClusterRecord {
        token: Some("t".into()),
        bootstrap_unit: "etcd/0".parse().ok(),
        cluster: Some(CLUSTER),
        ..ClusterRecord::default()
    };
    w.peers.application =
        w.peers.cluster.write().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert!(done(next(&w)).message.starts_with("All data of the cluster is lost"));
    w.peers.expected.as_mut().unwrap().insert("etcd/1".parse().unwrap());
    assert_eq!(done(next(&w)).message, "Joining: no member has published its address yet");
    assert_eq!(publication(&w, "x").application, None);
}

#[test]
fn a_newcomer_joins_as_learner_and_waits_its_turn() {
    let mut w = ready(2);
    w.peers.cluster.cluster = Some(CLUSTER);
    w.etcd.roster = Roster::Confirmed(vec![member(0, false)]);
    assert_eq!(next(&w), Next::Do(Step::AddLearner { peer_url: "https://10.0.0.3:2380".into() }));
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), unstarted(1)]);
    assert!(matches!(next(&w), Next::Wait(Waiting::Turn(_))));
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), unstarted(2)]);
    let Next::Do(Step::WriteConfig { settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
    let names: Vec<_> = settings.initial_cluster.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["etcd0", "etcd2"], "the joiner lists the present members and itself");
}

#[test]
fn a_learner_is_promoted_once_it_runs() {
    let members = [member(0, false), member(1, true)];
    let w = settled(1, &members);
    assert_eq!(next(&w), Next::Do(Step::Promote(MemberId(101))));
}

#[test]
fn the_host_trusts_the_authority_without_keeping_others_waiting() {
    let trust = Next::Do(Step::TrustAuthority(credentials().ca));
    let mut w = ready(2);
    w.host.trusted = None;
    w.peers.cluster.cluster = Some(CLUSTER);
    w.etcd.roster = Roster::Confirmed(vec![member(0, false)]);
    assert!(matches!(next(&w), Next::Do(Step::AddLearner { .. })), "joining comes first");
    w.tried.not_yet.insert("add-learner");
    assert_eq!(next(&w), trust, "a unit that has to wait has the time");
    let mut w = settled(1, &three());
    w.host.trusted = None;
    assert_eq!(next(&w), trust, "all have joined");
    w.peers.expected.as_mut().unwrap().insert("etcd/3".parse().unwrap());
    assert!(matches!(next(&w), Next::Done(_)), "the next one waits to hear of this member");
    w.peers.own = Databag::from([("member-id".to_owned(), MemberId(101).to_string())]);
    assert_eq!(next(&w), trust);
}

#[test]
fn a_settled_cluster_needs_nothing() {
    for own in 0..3 {
        let w = settled(own, &three());
        assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers");
    }
    assert_eq!(done(next(&settled(0, &[member(0, false)]))).to_string(), "active Healthy with 1 known peer");
}

#[test]
fn the_leader_retires_the_member_of_a_unit_that_is_gone() {
    let mut w = settled(0, &three());
    let gone: crate::juju::UnitName = "etcd/2".parse().unwrap();
    w.peers.units.remove(&gone);
    w.peers.expected.as_mut().unwrap().remove(&gone);
    w.etcd.health.insert(MemberId(102), Health::Unhealthy("unreachable".into()));
    assert!(matches!(next(&w), Next::Wait(Waiting::Members(_))), "a follower only tells");
    w.leadership = Leadership::Leader;
    let retire = Next::Do(Step::RemoveMember { member: MemberId(102), reason: Removal::UnitGone });
    assert_eq!(next(&w), retire);
    w.etcd.health.insert(MemberId(101), Health::Unhealthy("unreachable".into()));
    assert_ne!(next(&w), retire, "never when the rest has no quorum");
    w.etcd.health.insert(MemberId(101), Health::Healthy);
    w.peers.expected = None;
    assert_ne!(next(&w), retire, "never when Juju could not be asked");
}

#[test]
fn a_joiner_that_the_leader_does_not_see_yet_is_no_orphan() {
    let mut members = three();
    members.push(unstarted(3));
    let mut w = settled(0, &three());
    w.leadership = Leadership::Leader;
    w.etcd.roster = Roster::Confirmed(members);
    w.peers.expected.as_mut().unwrap().insert("etcd/3".parse().unwrap());
    assert!(!matches!(next(&w), Next::Do(_)), "{:?}", next(&w));
    w.peers.expected.as_mut().unwrap().remove(&"etcd/3".parse().unwrap());
    let retire = Next::Do(Step::RemoveMember { member: MemberId(103), reason: Removal::UnitGone });
    assert_eq!(next(&w), retire, "nobody has its address and every unit is visible");
}

#[test]
fn a_leaving_raft_leader_hands_over_then_goes() {
    let mut w = settled(0, &three());
    w.event = Event::Leaving("stop".into());
    let note = Step::NoteDispensable(MemberId(100));
    assert_eq!(next(&w), Next::Do(note), "nobody can be asked once it has gone");
    w.host.dispensable = Some(MemberId(100));
    assert_eq!(next(&w), Next::Do(Step::MoveLeadership { to: MemberId(101) }));
    let Door::Open(own) = &mut w.etcd.door else { panic!() };
    own.raft_leader = Some(MemberId(101));
    assert_eq!(next(&w), Next::Do(Step::RemoveMember { member: MemberId(100), reason: Removal::Leaving }));
    w.etcd.roster = Roster::Confirmed(three()[1..].to_vec());
    assert_eq!(next(&w), Next::Do(Step::StopService));
}

#[test]
fn a_member_that_the_others_need_neither_goes_nor_stops() {
    let mut w = settled(0, &three());
    w.event = Event::Leaving("stop".into());
    w.etcd.health.insert(MemberId(102), Health::Unhealthy("sees no raft leader".into()));
    assert!(matches!(next(&w), Next::Wait(Waiting::Leave(_))));
    w.etcd.roster = Roster::Unconfirmed { cause: "no raft leader".into(), remembered: three() };
    assert!(matches!(next(&w), Next::Wait(Waiting::Leave(_))));
    assert!(
        why_hook_fails(&w, &Status::waiting("Leaving: no raft leader")).is_some(),
        "Juju keeps the machine"
    );
    w.etcd = settled(0, &three()).etcd;
    w.host.dispensable = Some(MemberId(100));
    w.tried.in_vain.insert("remove-member", "refused".into());
    assert!(matches!(next(&w), Next::Done(_)), "it runs on");
}

#[test]
fn data_of_a_removed_member_is_moved_aside_only_on_a_quorums_word() {
    let mut w = settled(2, &three());
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    w.peers.own = Databag::from([("member-id".to_owned(), MemberId(102).to_string())]);
    w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three()[..2].to_vec() };
    assert_eq!(next(&w), Next::Do(Step::StartService), "unreadable is not removed");
    w.etcd.roster = Roster::Confirmed(three()[..2].to_vec());
    assert_eq!(
        next(&w),
        Next::Do(Step::MoveDataAside { why: Moved::MemberRemoved, place: Place::whole(DATA) })
    );
}

#[test]
fn leadership_goes_to_a_member_that_stays() {
    let mut w = settled(0, &three());
    w.event = Event::Leaving("cluster-relation-departed".into());
    w.host.dispensable = Some(MemberId(100));
    w.peers.leaving = ["etcd/0", "etcd/1"].map(|unit| unit.parse().unwrap()).into();
    assert_eq!(next(&w), Next::Do(Step::MoveLeadership { to: MemberId(102) }));
}

#[test]
fn a_unit_that_is_told_of_a_departure_waits_until_the_member_has_gone() {
    let mut w = settled(1, &three());
    w.peers.leaving = ["etcd/0".parse().unwrap()].into();
    let leaving = Status::waiting("etcd0 is leaving the cluster");
    assert_eq!(next(&w), Next::Wait(Waiting::Departure(leaving)));
    w.etcd.roster = Roster::Confirmed(three()[1..].to_vec());
    assert_eq!(done(next(&w)).to_string(), "active Healthy with 2 known peers");
}

#[test]
fn a_member_that_lost_its_disk_is_replaced_while_the_others_keep_quorum() {
    let mut w = settled(2, &three());
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    w.host.data = Data::Empty;
    let replace = Next::Do(Step::RemoveMember { member: MemberId(102), reason: Removal::DataLost });
    assert_eq!(next(&w), replace);
    w.etcd.health.insert(MemberId(101), Health::Unhealthy("unreachable".into()));
    assert_eq!(done(next(&w)).kind, StatusKind::Blocked);
}

#[test]
fn half_a_data_directory_is_never_started() {
    let mut w = settled(1, &three());
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    w.host.data = Data::Partial("the log (member/wal)");
    w.peers.own = Databag::from([("member-id".to_owned(), MemberId(101).to_string())]);
    assert!(matches!(next(&w), Next::Do(Step::ReplaceDamaged { .. })), "the others do without it");
    w.etcd.roster = Roster::Unconfirmed { cause: "slow".into(), remembered: three() };
    assert_eq!(done(next(&w)).kind, StatusKind::Blocked);
    // The same unit after its old member was removed or its cluster was restored, a moment after its new first start.
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), unstarted(1), member(2, false)]);
    w.host.service = Service::Running;
    assert!(matches!(next(&w), Next::Wait(Waiting::Start(_))));
    w.etcd.roster = Roster::Unconfirmed { cause: "slow".into(), remembered: vec![] };
    assert!(matches!(next(&w), Next::Wait(Waiting::Start(_))));
    w.etcd.roster = Roster::Confirmed(three());
    assert!(matches!(next(&w), Next::Wait(Waiting::Start(_))), "its name came after the directory was read");
    // That start was cut off, and the cluster has taken the member out meanwhile.
    w.etcd.roster = Roster::Confirmed(vec![member(0, false), member(2, false)]);
    assert_eq!(next(&w), Next::Do(Step::StopService));
    w.host.service = Service::Stopped;
    let aside = Step::MoveDataAside { why: Moved::MemberRemoved, place: Place::whole(DATA) };
    assert_eq!(next(&w), Next::Do(aside));
}

#[test]
fn a_wrong_option_neither_stops_nor_changes_a_running_member() {
    let mut w = settled(0, &three());
    let serde_json::Value::Object(values) = serde_json::json!({"port": 0}) else { panic!() };
    w.options = Options::parse(&values);
    assert_eq!(done(next(&w)).to_string(), "blocked port: 0 is not a port; accepted: 1 to 65535");
    w.etcd.door = Door::Closed;
    w.host.service = Service::Stopped;
    assert_eq!(next(&w), Next::Do(Step::StartService), "after a reboot it runs on with its old file");
}

#[test]
fn an_option_that_etcd_reads_at_start_marks_a_restart_and_one_for_empty_directories_does_not() {
    let mut w = settled(0, &three());
    w.options.as_mut().unwrap().heartbeat_interval_ms = 150;
    let Next::Do(Step::WriteConfig { settings, version, restart }) = next(&w) else {
        panic!("{:?}", next(&w))
    };
    assert!(restart);
    w.host.config = Some(settings.render(&version));
    w.host.restart_due = Some("https://127.0.0.1:2379".into());
    assert_eq!(next(&w), Next::Do(Step::RestartService));
    let mut w = settled(0, &three());
    w.peers.cluster.token = Some("another".into());
    let Next::Do(Step::WriteConfig { restart, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
    assert!(!restart);
}

#[test]
fn a_channel_that_etcd_cannot_follow_is_answered_with_the_next_one() {
    let told = |channel: &str| {
        let mut w = settled(0, &three());
        w.options.as_mut().unwrap().channel = crate::options::WantedChannel::Named(channel.parse().unwrap());
        done(next(&w)).to_string()
    };
    assert_eq!(told("3.4/edge"), "active Healthy with 3 known peers");
    assert_eq!(told("latest/stable"), "active Healthy with 3 known peers");
    assert_eq!(told("3.6/stable"), "blocked channel 3.6/stable skips 3.5: set channel=3.5/stable first");
    let from_file = "blocked channel 3.5/stable: etcd comes from the attached resource: attach another and run install, or set channel=3.4/stable";
    assert_eq!(told("3.5"), from_file);
    let down = "blocked channel 3.3/stable is below the installed 3.4, and etcd does not move down: set channel=3.4/stable";
    assert_eq!(told("3.3/stable"), down);
}

/// Unit `number` of three that came from the store, told to move to 3.5.
fn told_to_move(number: u32) -> World {
    let mut w = settled(number, &three());
    w.host.snap = Reading::Known(Some(Installed { revision: "230".into(), version: "3.4.23".into() }));
    w.options.as_mut().unwrap().channel = crate::options::WantedChannel::Named("3.5/stable".parse().unwrap());
    w
}

#[test]
fn units_move_up_in_the_order_of_their_numbers_and_the_first_saves_a_snapshot() {
    let step = |save_first| {
        let (channel, minor) = ("3.5/stable".parse().unwrap(), "3.5".parse().unwrap());
        Next::Do(Step::UpgradeSnap { channel, name: "3.5/stable".into(), minor, save_first })
    };
    assert_eq!(next(&told_to_move(0)), step(true));
    let mut w = told_to_move(1);
    let told = "waiting channel 3.5/stable: waiting until etcd/0 has moved to 3.5";
    assert_eq!(done(next(&w)).to_string(), told);
    w.peers.units.get_mut(&"etcd/0".parse().unwrap()).unwrap().record.version = "3.5.16".parse().ok();
    assert_eq!(next(&w), step(false));
}

#[test]
fn a_channel_that_was_tried_in_vain_is_left_alone_until_another_is_named() {
    let mut w = told_to_move(0);
    w.host.upgrade_refused = Some("3.5/stable\nit did not serve\n".into());
    let told = "blocked channel 3.5/stable: it did not serve: set channel=3.4/stable, then try again";
    assert_eq!(done(next(&w)).to_string(), told);
    w.options.as_mut().unwrap().channel = crate::options::WantedChannel::Named("3.4/stable".parse().unwrap());
    assert_eq!(next(&w), Next::Do(Step::ForgetRefusedUpgrade));
}

#[test]
fn a_new_version_that_cannot_be_taken_back_is_told_of_until_it_serves() {
    let mut w = told_to_move(0);
    w.host.snap = Reading::Known(Some(Installed { revision: "240".into(), version: "3.5.16".into() }));
    w.host.upgrade_refused = Some("3.5/stable\nthe way back is barred\n".into());
    let (door, roster) = (w.etcd.door.clone(), w.etcd.roster.clone());
    w.etcd.door = Door::Closed;
    w.etcd.roster = Roster::NobodyToAsk;
    w.host.service = Service::Failing("panic".into());
    w.tried.in_vain.insert("start-service", "it ended".into());
    let told = "blocked etcd does not start: panic (channel 3.5/stable: the way back is barred); \
                see juju exec --unit etcd/0 -- journalctl -u snap.etcd.etcd -n 50";
    assert_eq!(done(next(&w)).to_string(), told);
    (w.etcd.door, w.etcd.roster, w.host.service) = (door, roster, Service::Running);
    w.host.following = crate::world::Following::Named;
    assert_eq!(next(&w), Next::Do(Step::ForgetRefusedUpgrade));
}

#[test]
fn certificates_that_end_soon_are_told_of_in_time() {
    let mut w = settled(0, &three());
    let standing = w.host.standing.as_mut().unwrap();
    (standing.due_s, standing.not_after_s) = (w.now_s - 14 * 86_400, w.now_s + 13 * 86_400 - 1);
    assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers (certificates end in 12 days)");
    assert!(certificates_need_a_look(&w.host, w.now_s));
    let mut w = settled(0, &three());
    assert!(!certificates_need_a_look(&w.host, w.now_s));
    w.host.standing.as_mut().unwrap().due_s = w.now_s;
    assert!(!certificates_need_a_look(&w.host, w.now_s), "the related authority renews by itself");
    let own = OwnRequest {
        key: credentials().server_key,
        request: String::new(),
        certificate: None,
        made_s: 0,
        client: None,
        consumers: Default::default(),
    };
    w.host.request = Some(own);
    assert!(certificates_need_a_look(&w.host, w.now_s), "this unit has to ask");
    let own = w.host.request.as_mut().unwrap();
    (own.key, own.made_s) = ("OTHER".to_owned(), w.now_s - 1);
    assert!(!certificates_need_a_look(&w.host, w.now_s), "made for an authority that makes keys itself");
    w.host.request.as_mut().unwrap().made_s = w.now_s;
    assert!(certificates_need_a_look(&w.host, w.now_s), "a killed run may not have shown it");
    let standing = w.host.standing.as_mut().unwrap();
    (standing.due_s, standing.not_after_s) = (w.now_s + 80, w.now_s + 120);
    assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers", "they are renewed by then");
}

#[test]
fn new_leaf_certificates_are_written_at_once() {
    let mut w = settled(0, &three());
    let renewed = Credentials { server_certificate: "renewed\n".into(), ..credentials() };
    w.authority.answer = Answered::Usable(renewed.clone());
    assert_eq!(next(&w), Next::Do(Step::WriteCredentials(renewed)));
}

#[test]
fn without_the_authority_etcd_runs_on_and_the_status_says_so() {
    let mut w = settled(0, &three());
    w.authority.relation = None;
    w.authority.answer = Answered::Nothing;
    assert_eq!(done(next(&w)).to_string(), "blocked Missing relation to certificate authority.");
}

#[test]
fn a_sick_member_is_named_with_its_address() {
    let mut w = settled(0, &three());
    w.etcd.health.insert(MemberId(102), Health::Unhealthy("unreachable".into()));
    let told = "blocked UnHealthy with 3 known peers: etcd2 (10.0.0.3) unreachable; see to that machine; if it is lost for good, juju remove-unit --force its unit";
    assert_eq!(done(next(&w)).to_string(), told);
}

#[test]
fn alarms_that_cannot_be_listed_are_not_taken_for_none() {
    let mut w = settled(0, &three());
    w.etcd.alarms = Reading::Unknown("request timed out".to_owned());
    let Next::Wait(reason) = next(&w) else { panic!("{:?}", next(&w)) };
    let told = "blocked UnHealthy with 3 known peers: alarms cannot be listed: request timed out";
    assert_eq!(reason.status().to_string(), format!("{told}; {}", status::AGAIN));
}

#[test]
fn a_database_that_is_filling_is_told_before_it_is_full() {
    let filled = |quota: &str, bytes: i64| {
        let mut w = settled(0, &three());
        if let Ok(options) = &mut w.options {
            options.quota_backend_bytes = quota.parse().unwrap();
        }
        converge_files(&mut w);
        let Door::Open(status) = &mut w.etcd.door else { panic!() };
        status.db_size_bytes = bytes;
        done(next(&w)).to_string()
    };
    let healthy = "active Healthy with 3 known peers";
    assert_eq!(filled("1000000", 799_999), healthy);
    let told = " (database at 80% of its quota: run the action maintain, or raise quota_backend_bytes)";
    assert_eq!(filled("1000000", 800_000), format!("{healthy}{told}"));
    assert_eq!(filled("0", 1 << 30), healthy);
    assert!(filled("0", 2 << 30).contains("(database at 100% of its quota: "));
}
