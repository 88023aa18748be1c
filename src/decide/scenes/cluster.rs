//! What Juju says, what other units have published, and whom a quorum names.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::followed;
use super::super::worlds::{CLUSTER, authority, consumer, member, peer_of, status, three, unstarted};
use super::machine::{Machine, Speaks};
use super::{EVENTS, Scene};
use crate::etcd::{Alarm, AlarmKind, ClusterId, Member, MemberId, OldRecords, Version};
use crate::juju::{Databag, UnitName};
use crate::options::Options;
use crate::recovering::Generation;
use crate::relations::cluster::{ClusterRecord, UnitRecord};
use crate::relations::trust::UnitTrust;
use crate::world::{Answered, Door, Health, Leadership, Peer, Reading, Roster, V2Store, World};

/// The cluster of before a restore, or another application's.
pub(in super::super) const ANOTHER: ClusterId = ClusterId(0xd2);
const VERSIONS: [&str; 5] = ["3.4.23", "3.4.30", "3.5.16", "3.5.30", "3.6.1"];
const OPTIONS: [&str; 13] = [
    "{}",
    r#"{"port": 0}"#,
    r#"{"port": 3379}"#,
    r#"{"management_port": 3380}"#,
    r#"{"channel": "3.5/stable"}"#,
    r#"{"channel": "3.6/stable"}"#,
    r#"{"channel": "latest/edge"}"#,
    r#"{"bind_to_all_interfaces": false}"#,
    r#"{"enable_v2": "true"}"#,
    r#"{"heartbeat_interval": 150}"#,
    r#"{"quota_backend_bytes": 4294967296}"#,
    r#"{"bind_with_insecure_http": true}"#,
    r#"{"channel": "nonsense", "election_timeout": 1}"#,
];

/// What the goal state names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Goal {
    Units,
    Unread,
    /// An answer without any unit.
    Nobody,
    /// One that leaves this very unit out.
    Others,
}

/// What the application has agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Agreed {
    Nothing,
    ThisUnitBegins,
    AnotherBegins,
    Started,
    /// A restore has put another cluster in its place.
    Restored,
    /// The earlier charm's units run one.
    Inherited,
}

/// What a unit says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Published {
    Nothing,
    Member,
    MemberOfAnother,
    /// As the earlier charm does: an address alone.
    Address,
}

/// Whether a unit is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Room {
    Stays,
    Leaves,
    /// Juju knows it; it has not entered the relation yet.
    Unseen,
    /// Juju 4 goes on listing it.
    Ghost,
    Gone,
}

/// How the members know a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Listed {
    Voter,
    Learner,
    Unstarted,
    No,
}

/// What its server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Heard {
    Healthy,
    Nothing,
    Leaderless,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Juju {
    /// One of [`EVENTS`].
    pub event: usize,
    pub leads: bool,
    pub goal: Goal,
    pub agreed: Agreed,
    pub own: Published,
    /// One of `OPTIONS`.
    pub options: usize,
    /// Whether the authority has answered.
    pub answers: bool,
    pub has_consumer: bool,
    pub has_address: bool,
    pub alarm: Option<bool>,
    /// The old store: off, used, or nobody knows.
    pub v2_store: Option<bool>,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Other {
    pub number: u32,
    pub room: Room,
    pub listed: Listed,
    pub published: Published,
    pub heard: Heard,
    /// One of `VERSIONS`.
    pub version: usize,
    /// Its member is registered at this unit's address.
    pub is_at_this_address: bool,
    pub has_other_trust: bool,
    /// The quorum was recovered there.
    pub is_recovered: bool,
}

pub(super) fn juju() -> impl Strategy<Value = Juju> {
    let goal = prop_oneof![
        6 => Just(Goal::Units), 1 => Just(Goal::Unread), 1 => Just(Goal::Nobody), 1 => Just(Goal::Others)
    ];
    let agreed = prop_oneof![
        6 => Just(Agreed::Started), 1 => Just(Agreed::Restored), 1 => Just(Agreed::Nothing),
        1 => Just(Agreed::ThisUnitBegins), 1 => Just(Agreed::AnotherBegins), 1 => Just(Agreed::Inherited)
    ];
    let says = (0..EVENTS.len(), any::<bool>(), goal, agreed, published());
    let options = prop_oneof![3 => Just(0), 2 => 0..OPTIONS.len()];
    let rare = prop::bool::weighted(0.1);
    let often = prop::bool::weighted(0.9);
    let etcd = (prop::option::weighted(0.1, any::<bool>()), prop::option::weighted(0.1, any::<bool>()));
    (says, options, often, rare, often, etcd).prop_map(
        |(
            (event, leads, goal, agreed, own),
            options,
            answers,
            has_consumer,
            has_address,
            (alarm, v2_store),
        )| Juju {
            event,
            leads,
            goal,
            agreed,
            own,
            options,
            answers,
            has_consumer,
            has_address,
            alarm,
            v2_store,
        },
    )
}

fn published() -> impl Strategy<Value = Published> {
    prop_oneof![
        5 => Just(Published::Member), 3 => Just(Published::Nothing), 1 => Just(Published::MemberOfAnother),
        1 => Just(Published::Address)
    ]
}

pub(super) fn listed() -> impl Strategy<Value = Listed> {
    prop_oneof![
        6 => Just(Listed::Voter), 1 => Just(Listed::Learner), 1 => Just(Listed::Unstarted), 2 => Just(Listed::No)
    ]
}

pub(super) fn other() -> impl Strategy<Value = Other> {
    let room = prop_oneof![
        6 => Just(Room::Stays), 2 => Just(Room::Leaves), 1 => Just(Room::Unseen), 1 => Just(Room::Ghost),
        1 => Just(Room::Gone)
    ];
    let heard =
        prop_oneof![5 => Just(Heard::Healthy), 2 => Just(Heard::Nothing), 1 => Just(Heard::Leaderless)];
    let rare = || prop::bool::weighted(0.05);
    let version = prop_oneof![3 => Just(0), 1 => 0..VERSIONS.len()];
    (0..5u32, room, listed(), published(), heard, version, (rare(), rare(), rare())).prop_map(
        |(number, room, listed, published, heard, version, flags)| Other {
            number,
            room,
            listed,
            published,
            heard,
            version,
            is_at_this_address: flags.0,
            has_other_trust: flags.1,
            is_recovered: flags.2,
        },
    )
}

impl Juju {
    pub fn calm() -> Juju {
        Juju {
            event: 0,
            leads: false,
            goal: Goal::Units,
            agreed: Agreed::Started,
            own: Published::Member,
            options: 0,
            answers: true,
            has_consumer: false,
            has_address: true,
            alarm: None,
            v2_store: None,
        }
    }

    pub(super) fn tell(&self, w: &mut World, others: &[Other]) {
        w.event = EVENTS[self.event]();
        w.leadership = if self.leads { Leadership::Leader } else { Leadership::Follower };
        let options = serde_json::from_str::<serde_json::Value>(OPTIONS[self.options]).expect("JSON");
        let mut options = options.as_object().cloned().unwrap_or_default();
        options.insert("snapd_refresh".into(), "".into());
        w.options = Options::parse(&options);
        w.peers.cluster = self.agreed.record(w);
        let own = UnitName::clone(&w.unit);
        w.peers.own = bag(&self.own.record(&own, 0));
        if !self.answers {
            w.authority.answer = Answered::Nothing;
        }
        if self.has_consumer {
            w.consumers = vec![consumer("db:7")];
        }
        if !self.has_address {
            (w.addresses.peer, w.addresses.client) = (None, None);
        }
        let named = |room: &[Room]| -> BTreeSet<UnitName> {
            others.iter().filter(|other| room.contains(&other.room)).map(Other::unit).collect()
        };
        let all = named(&[Room::Stays, Room::Leaves, Room::Unseen]);
        w.peers.expected = match self.goal {
            Goal::Units => Some(all.into_iter().chain([own.clone()]).collect()),
            Goal::Unread => None,
            Goal::Nobody => Some(BTreeSet::new()),
            Goal::Others => Some(all),
        };
        if self.goal == Goal::Units {
            w.peers.leaving = named(&[Room::Leaves]);
            if w.event.is_leaving() {
                w.peers.leaving.insert(own);
            }
        }
        let seen = others.iter().filter(|other| !matches!(other.room, Room::Unseen | Room::Gone));
        w.peers.units = seen.map(|other| (other.unit(), other.peer())).collect();
    }
}

impl Agreed {
    fn record(self, w: &World) -> ClusterRecord {
        let another = UnitName::clone(&"etcd/9".parse().expect("a unit's name"));
        let begins = |unit: UnitName| ClusterRecord {
            token: Some("token".into()),
            bootstrap_unit: Some(unit),
            ..ClusterRecord::default()
        };
        match self {
            Agreed::Nothing => ClusterRecord::default(),
            Agreed::ThisUnitBegins => begins(w.unit.clone()),
            Agreed::AnotherBegins => begins(another),
            Agreed::Started => ClusterRecord { cluster: Some(CLUSTER), ..begins(w.unit.clone()) },
            Agreed::Restored => ClusterRecord { cluster: Some(ANOTHER), ..begins(w.unit.clone()) },
            Agreed::Inherited => {
                ClusterRecord { inherited: true, token: Some("token".into()), ..ClusterRecord::default() }
            }
        }
    }
}

impl Published {
    fn record(self, unit: &UnitName, version: usize) -> UnitRecord {
        let whole = UnitRecord { version: VERSIONS[version].parse().ok(), ..peer_of(unit).record };
        let prepared_for = (version == 3).then(|| "3.6".parse().unwrap());
        match self {
            Published::Nothing => UnitRecord::default(),
            Published::Member => UnitRecord { prepared_for, ..whole },
            Published::MemberOfAnother => UnitRecord { cluster: Some(ANOTHER), ..whole },
            Published::Address => UnitRecord { address: whole.address, ..UnitRecord::default() },
        }
    }
}

fn bag(record: &UnitRecord) -> Databag {
    record.write(&UnitRecord::default()).into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

impl Other {
    pub fn calm(number: u32) -> Other {
        Other {
            number,
            room: Room::Stays,
            listed: Listed::Voter,
            published: Published::Member,
            heard: Heard::Healthy,
            version: 0,
            is_at_this_address: false,
            has_other_trust: false,
            is_recovered: false,
        }
    }

    fn unit(&self) -> UnitName {
        format!("etcd/{}", self.number).parse().expect("a unit's name")
    }

    fn peer(&self) -> Peer {
        let trust = UnitTrust { trusted: Some(authority()), needed: Some(authority()) };
        let record = self.published.record(&self.unit(), self.version);
        let replaces =
            three().into_iter().map(|member| member.id).filter(|id| id.0 != u64::from(100 + self.number));
        let recovered = || Generation { number: 1, unit: self.unit(), replaces: replaces.collect() };
        let generation = self.is_recovered.then(recovered);
        Peer {
            record: UnitRecord { generation, ..record },
            trust: if self.has_other_trust { UnitTrust::default() } else { trust },
            ..peer_of(&self.unit())
        }
    }

    fn member(&self, own: u32) -> Option<Member> {
        let mut listed = self.listed.member(self.number)?;
        if self.is_at_this_address {
            listed.peer_urls = member(own, false).peer_urls;
        }
        Some(listed)
    }

    fn is_asked(&self, w: &World, machine: &Machine) -> bool {
        let peer = w.peers.units.get(&self.unit());
        let Some(record) = peer.map(|peer| &peer.record).filter(|one| one.address.is_some()) else {
            return false;
        };
        if !followed(&w.peers, &machine.host(w)).counts(record) {
            return false;
        }
        match (record.cluster, w.peers.cluster.cluster) {
            (Some(theirs), Some(wanted)) => theirs == wanted,
            _ => true,
        }
    }
}

impl Listed {
    fn member(self, number: u32) -> Option<Member> {
        match self {
            Listed::Voter => Some(member(number, false)),
            Listed::Learner => Some(member(number, true)),
            Listed::Unstarted => Some(unstarted(number)),
            Listed::No => None,
        }
    }
}

/// Who is a member, and who says so.
pub(super) fn gather(w: &mut World, scene: &Scene) {
    let machine = &scene.machine;
    let answers = matches!(machine.speaks, Speaks::OfCluster | Speaks::OfAnother) && scene.is_believed(w);
    // A server that answers has told its name.
    let own = match machine.listed {
        Listed::Unstarted if answers => Listed::Learner,
        listed => listed,
    };
    let own_member = own.member(scene.own);
    let members: Vec<Member> = own_member
        .clone()
        .into_iter()
        .chain(scene.others.iter().filter_map(|other| other.member(scene.own)))
        .collect();
    w.etcd.door = door(w, scene, own);
    let own_counts = w.own_status().is_some_and(|status| {
        scene.machine.is_restoring() || w.peers.cluster.cluster.is_none_or(|wanted| wanted == status.cluster)
    });
    let proves = own_counts && own == Listed::Voter && machine.has_quorum;
    let has_asked = scene.others.iter().any(|other| other.is_asked(w, machine));
    let voters = members.iter().filter(|member| !member.learner).count();
    w.etcd.roster = if !has_asked && !own_counts {
        Roster::NobodyToAsk
    } else if voters > 0 && (proves || (has_asked && machine.has_quorum)) {
        Roster::Confirmed(members.clone())
    } else {
        let remembered = if own_counts { members.clone() } else { vec![] };
        Roster::Unconfirmed { cause: "no server proves a quorum".into(), remembered }
    };
    let own_health = own_member.map(|own| (own.id, if answers { Health::Healthy } else { unreachable() }));
    let health = scene.others.iter().filter_map(|other| Some((other.member(scene.own)?, other.heard)));
    let health = health.map(|(member, heard)| (member.id, judged(&member, heard)));
    w.etcd.health = health.chain(own_health).collect();
    let version =
        |other: &Other| Some((other.member(scene.own)?.id, VERSIONS[other.version].parse::<Version>().ok()?));
    w.etcd.versions =
        scene.others.iter().filter(|other| other.heard == Heard::Healthy).filter_map(version).collect();
    w.etcd.alarms = match scene.juju.alarm {
        None => Reading::Known(vec![]),
        Some(true) => Reading::Known(vec![Alarm { member: None, kind: AlarmKind::NoSpace }]),
        Some(false) => Reading::Unknown("no member can be asked".into()),
    };
    (w.etcd.v2_store, w.host.old_records) = match scene.juju.v2_store {
        None => (V2Store::Off, Reading::Known(OldRecords::None)),
        Some(true) => (V2Store::Used, Reading::Known(OldRecords::Keys)),
        Some(false) => (V2Store::not_asked(), Reading::Unknown("torn".into())),
    };
}

fn door(w: &World, scene: &Scene, own: Listed) -> Door {
    let me = member(scene.own, matches!(own, Listed::Learner));
    let open = |cluster: ClusterId| {
        let raft_leader = Some(MemberId(100)).filter(|_| scene.machine.has_quorum);
        Door::Open(Box::new(crate::etcd::MemberStatus { cluster, raft_leader, ..status(&me) }))
    };
    match scene.machine.speaks {
        Speaks::OfCluster | Speaks::OfAnother if !scene.is_believed(w) => {
            Door::Mute("it was not asked".into())
        }
        Speaks::Nothing => Door::Closed,
        Speaks::Unclearly => Door::Mute("connection refused".into()),
        Speaks::OfCluster => open(CLUSTER),
        Speaks::OfAnother => open(ANOTHER),
    }
}

fn unreachable() -> Health {
    Health::Unhealthy("unreachable".into())
}

fn judged(member: &Member, heard: Heard) -> Health {
    match heard {
        _ if !member.is_started() => Health::Unhealthy("has not started".into()),
        Heard::Healthy => Health::Healthy,
        Heard::Nothing => unreachable(),
        Heard::Leaderless => Health::Unhealthy("sees no raft leader".into()),
    }
}
