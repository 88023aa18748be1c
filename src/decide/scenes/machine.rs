//! This unit's machine: what is installed, where its data is, what is half done.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::service::{self, DATA};
use super::super::worlds::CLUSTER;
use super::Scene;
use super::cluster::{ANOTHER, Listed, listed};
use super::volume::{Volume, volume};
use crate::etcd::{ClusterState, Identity, MemberId};
use crate::host::{Installed, Release};
use crate::moving::Moving;
use crate::options::Options;
use crate::recovering::{self, Generation, Recovery};
use crate::restoring::Journal;
use crate::storage::{self, Owner};
use crate::world::{Data, Door, Following, Host, Leftover, LeftoverKind, Reading, Service, World};

/// What its server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Speaks {
    OfCluster,
    /// It is a member of another cluster.
    OfAnother,
    /// It runs and does not answer.
    Unclearly,
    Nothing,
}

/// What the data directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Disk {
    Whole,
    Empty,
    NoLog,
    NoDatabase,
}

impl Disk {
    pub(super) fn data(self) -> Data {
        match self {
            Disk::Whole => Data::Present,
            Disk::Empty => Data::Empty,
            Disk::NoLog => Data::Partial("the log (member/wal)"),
            Disk::NoDatabase => Data::Partial("the database (member/snap/db)"),
        }
    }
}

/// What is half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Exchange {
    None,
    Restoring,
    Restored,
    Moving,
    /// A recovery of the quorum has come so far.
    Recovering(recovering::Phase),
}

/// etcd's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum File {
    Grown,
    None,
    /// It begins a new cluster.
    First,
    /// With other options than now.
    Old,
}

/// What is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Installation {
    File,
    Store,
    Release,
    None,
    Unknown,
    Package,
}

/// The certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Papers {
    Good,
    None,
    Over,
    OfAnotherAddress,
    Unreadable,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Machine {
    pub listed: Listed,
    pub speaks: Speaks,
    pub has_quorum: bool,
    /// While the server says nothing: missing, stopped, running, failing.
    pub service: usize,
    pub disk: Disk,
    /// On the machine's own disk while the data is on storage.
    pub root: Disk,
    pub volume: Volume,
    pub exchange: Exchange,
    pub file: File,
    pub installation: Installation,
    pub papers: Papers,
    pub is_restart_due: bool,
    pub is_refused: bool,
    /// It was another application's.
    pub is_foreign: bool,
    /// The earlier charm has left something, and somebody else starts etcd too.
    is_inherited: bool,
}

fn disk() -> impl Strategy<Value = Disk> {
    prop_oneof![
        3 => Just(Disk::Whole), 2 => Just(Disk::Empty), 1 => Just(Disk::NoLog), 1 => Just(Disk::NoDatabase)
    ]
}

fn speaks() -> impl Strategy<Value = Speaks> {
    prop_oneof![
        5 => Just(Speaks::OfCluster), 1 => Just(Speaks::OfAnother), 2 => Just(Speaks::Unclearly),
        4 => Just(Speaks::Nothing)
    ]
}

fn recovering() -> impl Strategy<Value = Exchange> {
    select(&recovering::PHASES[..]).prop_map(Exchange::Recovering)
}

/// What is there beside the data.
fn surroundings() -> impl Strategy<Value = (Exchange, File, Installation, Papers)> {
    let exchange = prop_oneof![
        6 => Just(Exchange::None), 1 => Just(Exchange::Restoring), 1 => Just(Exchange::Restored),
        1 => Just(Exchange::Moving), 1 => recovering()
    ];
    let file = prop_oneof![
        4 => Just(File::Grown), 1 => Just(File::None), 1 => Just(File::First), 1 => Just(File::Old)
    ];
    let others = vec![
        Installation::Store,
        Installation::Release,
        Installation::None,
        Installation::Unknown,
        Installation::Package,
    ];
    let installation = prop_oneof![6 => Just(Installation::File), 1 => select(others)];
    let bad = vec![Papers::None, Papers::Over, Papers::OfAnotherAddress, Papers::Unreadable];
    (exchange, file, installation, prop_oneof![8 => Just(Papers::Good), 1 => select(bad)])
}

pub(super) fn machine() -> impl Strategy<Value = Machine> {
    let server = (listed(), speaks(), prop::bool::weighted(0.75), 0..4usize);
    let rare = || prop::bool::weighted(0.05);
    let flags = (prop::bool::weighted(0.15), rare(), rare(), rare());
    (server, disk(), disk(), volume(), surroundings(), flags).prop_map(
        |(server, disk, root, volume, surroundings, flags)| {
            let (listed, speaks, has_quorum, service) = server;
            let (exchange, file, installation, papers) = surroundings;
            let (is_restart_due, is_refused, is_foreign, is_inherited) = flags;
            Machine {
                listed,
                speaks,
                has_quorum,
                service,
                disk,
                root,
                volume,
                exchange,
                file,
                installation,
                papers,
                is_restart_due,
                is_refused,
                is_foreign,
                is_inherited,
            }
        },
    )
}

impl Machine {
    pub fn calm() -> Machine {
        Machine {
            listed: Listed::Voter,
            speaks: Speaks::OfCluster,
            has_quorum: true,
            service: 2,
            disk: Disk::Whole,
            root: Disk::Empty,
            volume: Volume::None,
            exchange: Exchange::None,
            file: File::Grown,
            installation: Installation::File,
            papers: Papers::Good,
            is_restart_due: false,
            is_refused: false,
            is_foreign: false,
            is_inherited: false,
        }
    }

    pub(super) fn is_restoring(&self) -> bool {
        matches!(self.exchange, Exchange::Restoring | Exchange::Restored)
    }

    fn recovery(&self, w: &World) -> Option<Recovery> {
        let Exchange::Recovering(phase) = self.exchange else { return None };
        let kept = "member.before-recovery-1".into();
        Some(Recovery {
            phase,
            kept,
            generation: Generation { number: 1, unit: w.unit.clone(), replaces: BTreeSet::new() },
        })
    }

    /// What counts for who is asked.
    pub(super) fn host(&self, w: &World) -> Host {
        let data = if self.disk == Disk::Empty { Data::Empty } else { Data::Present };
        Host { data, recovery: self.recovery(w), ..w.host.clone() }
    }

    pub(super) fn is_on_storage(&self) -> bool {
        use Volume::{MountedUnreadable, OfAnother, Own, Taken, Unclaimed, Unmounted};
        matches!(self.volume, MountedUnreadable | OfAnother(_) | Own | Taken | Unclaimed | Unmounted)
    }

    pub(super) fn stand(&self, w: &mut World, scene: &Scene) {
        self.install(w);
        self.hold_papers(w);
        self.place_data(w, scene);
        self.run(w);
        w.host.restore = self.journal();
        w.host.recovery = self.recovery(w);
        w.host.moving = (self.exchange == Exchange::Moving).then(|| {
            Moving::new("3.5/stable", Installed { revision: "230".into(), version: "3.4.23".into() }, None)
        });
        w.host.restart_due = self.is_restart_due.then(|| "https://127.0.0.1:2379".into());
        w.host.upgrade_refused = self.is_refused.then(|| "3.5/stable\nit did not serve\n".into());
        w.host.config = self.file(w);
        if self.is_inherited {
            let left = |kind| Leftover { kind, path: "/etc/left".into(), rest: None };
            w.host.inherited.leftovers = [LeftoverKind::Kicker, LeftoverKind::Mount].map(left).into();
            w.host.inherited.starters = vec!["watchdog.service".into()];
        }
        if let Some(owner) = &mut w.host.owner {
            owner.cluster = Some(CLUSTER);
        }
        if self.is_foreign {
            let owner = Owner { unit: "etcd/8".into(), model: "another".into(), ..Owner::default() };
            w.host.owner = Some(owner);
            w.host.identity = Some(Identity { member: MemberId(108), cluster: ANOTHER });
        }
    }

    fn install(&self, w: &mut World) {
        let snap = |revision: &str| Some(Installed { revision: revision.into(), version: "3.4.23".into() });
        w.host.snap = match self.installation {
            Installation::File | Installation::Package => Reading::Known(snap("x1")),
            Installation::Store => Reading::Known(snap("230")),
            Installation::Release | Installation::None => Reading::Known(None),
            Installation::Unknown => Reading::Unknown("the snap is not mounted".into()),
        };
        w.host.package = self.installation == Installation::Package;
        if self.installation == Installation::Release {
            let release = Release::new("3.4.23", "abcdef0123456789abcdef0123456789abcdef01");
            w.host.releases.ready = vec![release.clone()];
            w.host.releases.current = Some(release);
        }
        if self.installation == Installation::Store {
            w.host.following = Following::Unknown("snapd does not answer".into());
        }
    }

    fn hold_papers(&self, w: &mut World) {
        let Some(standing) = &mut w.host.standing else { return };
        match self.papers {
            Papers::Good => {}
            Papers::None => w.host.credentials = None,
            Papers::Over => standing.not_after_s = w.now_s - 1,
            Papers::OfAnotherAddress => standing.addresses = ["10.9.9.9".parse().expect("an address")].into(),
            Papers::Unreadable => w.host.standing = None,
        }
        if self.papers == Papers::None {
            w.host.standing = None;
        }
    }

    /// A server that answers has data.
    pub(super) fn disk_under(&self, door: &Door) -> Disk {
        if matches!(door, Door::Open(_)) && self.disk == Disk::Empty { Disk::Whole } else { self.disk }
    }

    /// A server that answers runs on whole data; one that runs and is not heard of has none yet.
    fn run(&self, w: &mut World) {
        let services =
            [Service::Missing, Service::Stopped, Service::Running, Service::Failing("panic: words".into())];
        match w.etcd.door {
            Door::Open(_) | Door::Mute(_) => w.host.service = Service::Running,
            Door::Closed => w.host.service = services[self.service].clone(),
        }
        if matches!(w.etcd.door, Door::Closed)
            && w.host.service == Service::Running
            && w.host.data != Data::Empty
        {
            w.host.service = Service::Stopped;
        }
        // No server of this unit runs on what is not there, or not its own.
        let has_gone = self.installation == Installation::None
            || matches!(
                self.volume,
                Volume::Taken | Volume::Unmounted | Volume::MountedUnreadable | Volume::OfAnother(_)
            );
        if has_gone && w.host.service == Service::Running {
            w.host.service =
                if self.installation == Installation::None { Service::Missing } else { Service::Stopped };
            w.etcd.door = Door::Closed;
        }
    }

    fn journal(&self) -> Option<Journal> {
        let phase = match self.exchange {
            Exchange::Restoring => "swapping",
            Exchange::Restored => "restored",
            _ => return None,
        };
        let restored = (phase == "restored").then(|| ANOTHER.to_string());
        let file = serde_json::json!({
            "phase": phase, "kept": "member.before-restore-1", "old_cluster": CLUSTER.to_string(), "token": "t", "restored": restored,
        });
        serde_json::from_value(file).ok()
    }

    fn file(&self, w: &World) -> Option<String> {
        let mut w = w.clone();
        // It was written when the unit had an address.
        let address = w.addresses.all.first().cloned();
        w.addresses.peer = w.addresses.peer.or(address.clone());
        w.addresses.client = w.addresses.client.or(address);
        if self.file == File::Old || w.options.is_err() {
            w.options = Options::parse(&serde_json::Map::new());
        }
        let (mut settings, version) =
            service::settings_in(&w, if self.is_on_storage() { storage::DATA } else { DATA })?;
        match self.file {
            File::None if w.host.service != Service::Running => return None,
            File::None => {}
            File::Grown => {}
            File::Old => settings.heartbeat_interval_ms = 99,
            File::First => settings.initial_cluster_state = ClusterState::New,
        }
        Some(settings.render(&version))
    }
}
