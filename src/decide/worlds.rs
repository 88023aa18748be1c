//! Worlds to hold the runbook against: a unit in its first hook, one that is ready, one of a settled cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::etcd::{ClusterId, Member, MemberId, MemberStatus};
use crate::event::Event;
use crate::host::Installed;
use crate::juju::Databag;
use crate::options::{CertificateAuthority, Options};
use crate::relations::Endpoint;
use crate::relations::cluster::{ClusterRecord, UnitRecord};
use crate::relations::csr::{Answers, Refusals};
use crate::relations::trust::UnitTrust;
use crate::step::Source;
use crate::storage::{Owner, Volume};
use crate::tls::Bundle;
use crate::world::*;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
/// The default of the option.
pub(super) const HEARTBEAT_MS: u64 = 100;

/// A related authority that has said nothing yet.
fn easyrsa() -> Authority {
    Authority {
        kind: CertificateAuthority::Relation,
        relation: Some(("certificates:1".parse().unwrap(), "easyrsa".into())),
        published: Databag::new(),
        request: None,
        signed: Answers::Silent,
        refusals: Refusals::default(),
        clients: BTreeMap::new(),
        answer: Answered::Nothing,
    }
}

/// A unit `etcd/N` at `10.0.0.N+1` in its first hook: Juju has answered, nothing is installed.
pub(super) fn first_hook(number: u32) -> World {
    let unit: crate::juju::UnitName = format!("etcd/{number}").parse().unwrap();
    let address = format!("10.0.0.{}", number + 1);
    World {
        event: Event::Look("install".into()),
        juju: "3.6.0".parse().unwrap(),
        leadership: Leadership::Follower,
        // snapd is left alone here: its rules have worlds of their own.
        options: Options::parse(&serde_json::Map::from_iter([("snapd_refresh".to_owned(), "".into())])),
        proxies: crate::juju::Proxies::default(),
        addresses: Addresses {
            peer: Some(address.clone()),
            client: Some(address.clone()),
            all: BTreeSet::from([address]),
            ..Addresses::default()
        },
        peers: Peers {
            relation: "cluster:0".parse().ok(),
            expected: Some(BTreeSet::from([unit.clone()])),
            ..Peers::default()
        },
        authority: easyrsa(),
        consumers: vec![],
        unread: vec![],
        model: "m".into(),
        storage: None,
        host: bare_machine(&unit),
        etcd: Etcd {
            door: Door::Closed,
            roster: Roster::NobodyToAsk,
            permission: crate::etcd::Permission::Granted,
            health: BTreeMap::new(),
            versions: BTreeMap::new(),
            rivals: BTreeSet::new(),
            alarms: Reading::Known(vec![]),
            v2_store: V2Store::Off,
        },
        tried: Tried::default(),
        now_s: 2_000_000_000,
        unit,
    }
}

/// Nothing is installed on it; it is marked as this unit's.
fn bare_machine(unit: &crate::juju::UnitName) -> Host {
    Host {
        snap: Reading::Known(None),
        unready: None,
        source: Some(Source::Channel("3.4/stable".parse().unwrap())),
        package: false,
        releases: Releases::default(),
        service: Service::Missing,
        lifetime: Lifetime::default(),
        drop_in: None,
        config: None,
        credentials: None,
        standing: None,
        request: None,
        draft: None,
        trusted: None,
        shell_profile: None,
        place: Place::whole(DATA),
        runs_in: None,
        usual_is_newer: false,
        kept: Kept::default(),
        owner: Some(Owner {
            unit: unit.to_string(),
            model: "m".into(),
            relation: "cluster:0".parse().ok(),
            ..Owner::default()
        }),
        identity: None,
        log_end: Reading::Unknown("it was not read".into()),
        old_records: Reading::Unknown("it was not read".into()),
        damage: None,
        healed: None,
        inherited: Inherited::default(),
        dispensable: None,
        checks: Checks::default(),
        data: Data::Empty,
        restore: None,
        recovery: None,
        root_data: Data::Empty,
        volume: Volume::default(),
        restart_due: None,
        following: Following::Unasked,
        moving: None,
        upgrade_refused: None,
        snapd: BTreeMap::new(),
        snapd_says: SnapdSays::nothing("it was not asked"),
    }
}

pub(super) fn credentials() -> Credentials {
    let pem = |name: &str| format!("{name}\n");
    Credentials {
        ca: include_str!("../tls/fixtures/rsa.crt").to_owned(),
        server_certificate: pem("server"),
        server_key: pem("key"),
        client_certificate: pem("client"),
        client_key: pem("key"),
    }
}

/// What everybody trusts and needs.
pub(super) fn authority() -> Bundle {
    Bundle::parse(&credentials().ca).unwrap()
}

/// Installed, with certificates, service stopped.
pub(super) fn ready(number: u32) -> World {
    let mut w = first_hook(number);
    w.host.snap = Reading::Known(Some(Installed { revision: "x1".into(), version: "3.4.23".into() }));
    w.host.snapd = BTreeMap::from([(HOLD.to_owned(), "held".to_owned())]);
    w.host.drop_in = Some(include_str!("../../templates/restart.conf").into());
    w.host.service = Service::Stopped;
    w.host.credentials = Some(credentials());
    w.host.standing = Some(Standing {
        trusted: authority(),
        issuers: authority(),
        addresses: w.addresses.all.iter().filter_map(|address| address.parse().ok()).collect(),
        not_after_s: 2_000_000_000 + 300 * 86_400,
        due_s: 2_000_000_000 + 200 * 86_400,
    });
    w.host.trusted = Some(credentials().ca);
    w.authority.answer = Answered::Usable(credentials());
    w
}

pub(crate) fn member(number: u32, learner: bool) -> Member {
    Member {
        id: MemberId(u64::from(number) + 100),
        name: format!("etcd{number}"),
        peer_urls: vec![format!("https://10.0.0.{}:2380", number + 1)],
        client_urls: vec![format!("https://10.0.0.{}:2379", number + 1)],
        learner,
    }
}

pub(super) fn unstarted(number: u32) -> Member {
    Member { name: String::new(), client_urls: vec![], ..member(number, true) }
}

pub(crate) fn status(own: &Member) -> MemberStatus {
    MemberStatus {
        member: own.id,
        cluster: CLUSTER,
        version: "3.4.23".parse().unwrap(),
        db_size_bytes: 20_480,
        db_in_use_bytes: 16_384,
        raft_leader: Some(MemberId(100)),
        raft_index: 10,
        raft_applied_index: 10,
        raft_term: 2,
        learner: own.learner,
        errors: vec![],
        revision: 1,
    }
}

/// Unit `own` of a settled cluster of `members`, all healthy, all with their units.
pub(crate) fn settled(own: u32, members: &[Member]) -> World {
    let mut w = ready(own);
    w.peers.cluster = ClusterRecord {
        token: Some("token".into()),
        bootstrap_unit: "etcd/0".parse().ok(),
        cluster: Some(CLUSTER),
        ..ClusterRecord::default()
    };
    let units: BTreeSet<crate::juju::UnitName> =
        members.iter().map(|m| m.name.replace("etcd", "etcd/").parse().unwrap()).collect();
    w.peers.units =
        units.iter().filter(|unit| **unit != w.unit).map(|unit| (unit.clone(), peer_of(unit))).collect();
    w.peers.expected = Some(units);
    w.host.owner = w.host.owner.map(|owner| Owner { cluster: Some(CLUSTER), ..owner });
    w.host.service = Service::Running;
    w.host.data = Data::Present;
    w.etcd.roster = Roster::Confirmed(members.to_vec());
    w.etcd.health = members.iter().map(|member| (member.id, Health::Healthy)).collect();
    let me = members.iter().find(|member| member.name == w.member_name()).unwrap();
    w.etcd.door = Door::Open(Box::new(status(me)));
    converge_files(&mut w);
    w
}

pub(super) fn peer_of(unit: &crate::juju::UnitName) -> Peer {
    let address = format!("10.0.0.{}", unit.number() + 1);
    Peer {
        record: UnitRecord {
            client_url: Some(format!("https://{address}:2379")),
            peer_url: Some(format!("https://{address}:2380")),
            member: Some(MemberId(u64::from(unit.number()) + 100)),
            cluster: Some(CLUSTER),
            version: "3.4.23".parse().ok(),
            quota: Some(0),
            address: Some(address.clone()),
            serves_v2: false,
            prepared_for: None,
            generation: None,
            log: None,
            sees_quorum: false,
            is_data_lost: false,
            reached_at: BTreeMap::new(),
        },
        ingress: Some(address),
        request: None,
        unread: None,
        trust: UnitTrust { trusted: Some(authority()), needed: Some(authority()) },
    }
}

/// Let the world take over what the file steps would write.
pub(super) fn converge_files(w: &mut World) {
    for _ in 0..10 {
        match next(w) {
            Next::Do(Step::WriteConfig { settings, version, .. }) => {
                w.host.config = Some(settings.render(&version))
            }
            Next::Do(Step::WriteShellProfile(text)) => w.host.shell_profile = Some(text),
            _ => return,
        }
    }
}

pub(crate) fn three() -> Vec<Member> {
    (0..3).map(|number| member(number, false)).collect()
}

pub(super) fn done(next: Next) -> Status {
    match next {
        Next::Done(status) => status,
        Next::Wait(waiting) => waiting.status(),
        Next::Do(step) => panic!("a step was decided: {step}"),
    }
}

/// The application `client`, related by `relation` (`db:7`), which has been told nothing yet.
pub(super) fn consumer(relation: &str) -> Consumer {
    let relation: crate::juju::RelationId = relation.parse().unwrap();
    Consumer {
        endpoint: Endpoint::ALL.into_iter().find(|one| one.name() == relation.endpoint()).unwrap(),
        relation,
        application: "client".to_owned(),
        ingress: Reading::Known(None),
        published: Databag::new(),
        shared: None,
        said: vec![],
    }
}
