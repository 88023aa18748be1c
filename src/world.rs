//! The [`World`]: everything this run has observed, as plain checked data.
//!
//! Unreadable is not absent and absent is not empty: what could not be read is a [`Reading::Unknown`] with its
//! cause, and no rule may take it for "there is none".

mod credentials;
mod data;
mod following;
mod inherited;
mod kept;
mod reading;
mod service;
mod snapd;
mod standing;
mod tried;
mod unread;

pub use credentials::Credentials;
pub use data::{Data, Moved, Place, V2Store};
pub use following::{Following, is_followed};
pub use inherited::{Inherited, Leftover, LeftoverKind};
pub use kept::{Kept, KeptCopy};
pub use reading::Reading;
pub use service::{Lifetime, Service};
pub use snapd::{SnapdSays, Unready};
pub use standing::Standing;
pub use tried::Tried;
pub use unread::{CANNOT_BE_READ, Unread};

use std::collections::{BTreeMap, BTreeSet};

use crate::etcd::{
    Alarm, ClusterId, Identity, LogEnd, Member, MemberId, MemberStatus, OldRecords, Permission, Version,
};
use crate::event::Event;
use crate::healed::Healed;
use crate::host::{Installed, Release};
use crate::juju::{Databag, JujuVersion, Proxies, RelationId, UnitName};
use crate::moving::Moving;
use crate::options::{CertificateAuthority, OptionError, Options};
use crate::recovering::Recovery;
use crate::relations::Endpoint;
use crate::relations::authority::{AuthorityRecord, Draft, OwnRequest};
use crate::relations::certificates::{Pair, Request};
use crate::relations::cluster::{ClusterRecord, UnitRecord};
use crate::relations::csr::{Answers, Refusals};
use crate::relations::trust::UnitTrust;
use crate::restoring::Journal;
use crate::step::Source;
use crate::storage::{Attached, Owner, Volume};

/// Everything observed in this run.
#[derive(Debug, Clone)]
pub struct World {
    /// What Juju asked for.
    pub event: Event,
    /// This unit.
    pub unit: UnitName,
    /// The agent's version.
    pub juju: JujuVersion,
    /// Whether this unit may speak for the application.
    pub leadership: Leadership,
    /// The operator's options, or all that is wrong with them.
    pub options: Result<Options, Vec<OptionError>>,
    /// The model's proxies.
    pub proxies: Proxies,
    /// Where this unit is reached.
    pub addresses: Addresses,
    /// The other units, and what the application has agreed on.
    pub peers: Peers,
    /// The certificate authority.
    pub authority: Authority,
    /// Everyone related to an endpoint that this charm provides.
    pub consumers: Vec<Consumer>,
    /// Relations that are there and cannot be read: the authority's and consumers', which are not in the fields above.
    pub unread: Vec<Unread>,
    /// UUID of the model; empty if Juju does not say.
    pub model: String,
    /// The attached instance of storage `data`.
    pub storage: Option<Attached>,
    /// This machine.
    pub host: Host,
    /// etcd, here and elsewhere.
    pub etcd: Etcd,
    /// What this very run has already tried.
    pub tried: Tried,
    /// Unix time in seconds.
    pub now_s: u64,
}

/// Juju leadership. It never implies that this unit may start a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Leader for at least the next 30 s.
    Leader,
    /// Not the leader.
    Follower,
}

/// This unit's addresses, from the bindings of `cluster` and `db`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where other members reach this one: bare address. Absent while Juju knows none.
    pub peer: Option<String>,
    /// Where clients reach it: bare address.
    pub client: Option<String>,
    /// Where to listen for members when not on all interfaces.
    pub peer_bind: Option<String>,
    /// Where to listen for clients when not on all interfaces.
    pub client_bind: Option<String>,
    /// Every address this unit may be reached at or call from.
    pub all: BTreeSet<String>,
    /// The machine's own name.
    pub hostname: String,
}

/// The peer relation.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Absent before the first relation hook: Juju shows no relation during `install`.
    pub relation: Option<RelationId>,
    /// This unit's own databag.
    pub own: Databag,
    /// The application's databag.
    pub application: Databag,
    /// Leader settings (empty on Juju 4).
    pub settings: Databag,
    /// The application's record, read from the two above.
    pub cluster: ClusterRecord,
    /// The application's own certificate authority.
    pub authority: AuthorityRecord,
    /// The other units that have entered the relation.
    pub units: BTreeMap<UnitName, Peer>,
    /// Units that are being removed and that Juju tells nobody of any more, though they may still be members.
    pub departing: BTreeMap<UnitName, Peer>,
    /// Every unit of the application that Juju knows, this one included.
    pub expected: Option<BTreeSet<UnitName>>,
    /// Those of them that are being removed.
    pub leaving: BTreeSet<UnitName>,
}

/// Another unit as seen in the peer relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// What it says of itself.
    pub record: UnitRecord,
    /// The address Juju knows it by.
    pub ingress: Option<String>,
    /// Its certificate request for the application's own authority, PEM.
    pub request: Option<String>,
    /// Which certificate authorities it trusts and needs.
    pub trust: UnitTrust,
    /// Why its databag cannot be read; nothing of it is known then.
    pub unread: Option<String>,
}

/// The certificate authority as this unit sees it.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Who is to sign.
    pub kind: CertificateAuthority,
    /// The relation, if there is one: its id and the application behind it.
    pub relation: Option<(RelationId, String)>,
    /// What this unit's databag on it holds now.
    pub published: Databag,
    /// The names this unit wants to ask for; absent while it has no address, or while addresses or options cannot be read:
    /// then what was asked for stays.
    pub request: Option<Request>,
    /// What the related authority has signed for the requests of all units.
    pub signed: Answers,
    /// What it has refused to sign, and why.
    pub refusals: Refusals,
    /// The client pairs it has made in the older protocol for requests of this unit, by common name.
    pub clients: BTreeMap<String, Pair>,
    /// What has come back.
    pub answer: Answered,
}

/// The authority's answer, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Nothing for this very unit yet.
    Nothing,
    /// Not everything yet: what is missing.
    Incomplete(&'static str),
    /// It cannot be used: why.
    Refused(String),
    /// It can be used.
    Usable(Credentials),
}

/// An application related to an endpoint that this charm provides.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// What it takes.
    pub endpoint: Endpoint,
    /// The relation.
    pub relation: RelationId,
    /// Its name; empty if Juju does not say.
    pub application: String,
    /// Where it reaches this unit, where Juju knows an address. It differs from the binding's across models.
    pub ingress: Reading<Option<String>>,
    /// What this unit's databag on it holds now.
    pub published: Databag,
    /// What this application's databag on it holds now, where that is used. Only the leader may read it.
    pub shared: Option<Databag>,
    /// What its units say, where that matters.
    pub said: Vec<Databag>,
}

/// Files for the monitoring agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// This charm's own, by their paths.
    pub files: BTreeMap<String, String>,
    /// The agent reads commands on this machine.
    pub takes_commands: bool,
    /// The agent collects services on this machine.
    pub takes_services: bool,
    /// Files were changed and the agent has not read them yet.
    pub restart_due: bool,
}

/// This machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// The etcd snap.
    pub snap: Reading<Option<Installed>>,
    /// Why it is there and cannot be used just now.
    pub unready: Option<Unready>,
    /// What to install it from when it is missing.
    pub source: Option<Source>,
    /// Debian's package of etcd is here too.
    pub package: bool,
    /// Upstream releases, which are run instead of the snap.
    pub releases: Releases,
    /// etcd's service.
    pub service: Service,
    /// How it has fared since somebody last asked for its start.
    pub lifetime: Lifetime,
    /// The service's restart rules are in place.
    pub drop_in: Option<String>,
    /// etcd's configuration file.
    pub config: Option<String>,
    /// The five credential files, when all are there.
    pub credentials: Option<Credentials>,
    /// What these certificates stand for.
    pub standing: Option<Standing>,
    /// This unit's own key and request, for an authority that signs those.
    pub request: Option<OwnRequest>,
    /// An authority made here that Juju has not taken yet.
    pub draft: Option<Draft>,
    /// The authority that this charm put into the host's trust store.
    pub trusted: Option<String>,
    /// The environment file for root shells.
    pub shell_profile: Option<String>,
    /// Where etcd has its data, or will have it.
    pub place: Place,
    /// Where the running server has its files open, if it runs and that can be seen.
    pub runs_in: Option<Place>,
    /// Copies of data that were set aside.
    pub kept: Kept,
    /// Whose this machine's etcd is, by the record on its own disk.
    pub owner: Option<Owner>,
    /// Whose the data is, by its log.
    pub identity: Option<Identity>,
    /// How far the log goes; read only while no quorum answers.
    pub log_end: Reading<LogEnd>,
    /// What the old store has left there; read only on the way to an etcd without it.
    pub old_records: Reading<OldRecords>,
    /// What a server that fails has found damaged in its data.
    pub damage: Option<&'static str>,
    /// This unit's member was replaced because its data was damaged: the last time.
    pub healed: Option<Healed>,
    /// This unit's member, once a confirmed quorum did without it as the unit was leaving.
    pub dispensable: Option<MemberId>,
    /// What is in the usual data directory was written later than what etcd's file names elsewhere.
    pub usual_is_newer: bool,
    /// What the earlier charm has left, and who else starts etcd.
    pub inherited: Inherited,
    /// What the monitoring agent finds.
    pub checks: Checks,
    /// The member's data in it.
    pub data: Data,
    /// An exchange of the data that has not come to its end.
    pub restore: Option<Journal>,
    /// A quorum that is being rebuilt from this unit's member.
    pub recovery: Option<Recovery>,
    /// Member's data on the machine's own disk, wherever the data directory is.
    pub root_data: Data,
    /// Storage for the data.
    pub volume: Volume,
    /// A restart is due since this was written: the address where the server still answers.
    pub restart_due: Option<String>,
    /// What this charm has set in snapd, by snapd's names; a store proxy by its URL; under `hold` what snapd answered to that.
    pub snapd: BTreeMap<String, String>,
    /// What snapd itself says of that.
    pub snapd_says: SnapdSays,
    /// The channel that the snap follows.
    pub following: Following,
    /// A move of the snap that has not come to its end.
    pub moving: Option<Moving>,
    /// A channel that was tried and left again: its name on the first line, then why.
    pub upgrade_refused: Option<String>,
}

/// Upstream releases of etcd on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Releases {
    /// The one that runs.
    pub current: Option<Release>,
    /// All that are ready to run.
    pub ready: Vec<Release>,
    /// The unit file of their service.
    pub unit: Option<String>,
}

/// etcd, as far as it answers.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// This unit's own server.
    pub door: Door,
    /// The members, from a server that has just proved that it is part of a quorum.
    pub roster: Roster,
    /// What the servers that were asked let this charm do.
    pub permission: Permission,
    /// What each started member answered when asked directly.
    pub health: BTreeMap<MemberId, Health>,
    /// The version of each that answered.
    pub versions: BTreeMap<MemberId, Version>,
    /// Units whose servers prove a quorum of this very cluster without this unit's member, which proves one without theirs.
    pub rivals: BTreeSet<UnitName>,
    /// Raised alarms. Silence is not "none".
    pub alarms: Reading<Vec<Alarm>>,
    /// The old store on this unit.
    pub v2_store: V2Store,
}

/// This unit's own server.
#[derive(Debug, Clone)]
pub enum Door {
    /// No server runs here.
    Closed,
    /// It runs and does not answer: why.
    Mute(String),
    /// It answers.
    Open(Box<MemberStatus>),
}

/// The cluster's members.
#[derive(Debug, Clone)]
pub enum Roster {
    /// Nobody to ask: no server here and no other unit that claims to be a member.
    NobodyToAsk,
    /// Confirmed by a quorum within this run.
    Confirmed(Vec<Member>),
    /// Servers were asked and none could prove a quorum: why, and the members one of them remembers.
    Unconfirmed {
        /// What each said.
        cause: String,
        /// Possibly outdated; good for words, never for decisions.
        remembered: Vec<Member>,
    },
}

/// What a member answered when asked directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It serves and knows a raft leader.
    Healthy,
    /// It does not: why.
    Unhealthy(String),
}

impl Peers {
    /// Every other unit whose databag may tell of a member, also those that Juju lists no more.
    pub fn all(&self) -> impl Iterator<Item = &Peer> {
        self.units.values().chain(self.departing.values())
    }
}

impl World {
    /// Whether somebody connects with credentials from here. Who cannot be read may do so.
    pub fn has_clients(&self) -> bool {
        let unread = self.unread.iter().filter_map(Unread::endpoint);
        let mut all = self.consumers.iter().map(|one| one.endpoint).chain(unread);
        all.any(Endpoint::takes_credentials)
    }

    /// Why relations of this endpoint, or some of them, cannot be read.
    pub fn why_unread(&self, endpoint: &str) -> Option<&Unread> {
        self.unread.iter().find(|one| one.relation.endpoint() == endpoint)
    }

    /// This unit's member name, `etcd0`.
    pub fn member_name(&self) -> String {
        self.unit.member_name()
    }

    /// What this unit has published of itself.
    pub fn own_record(&self) -> UnitRecord {
        UnitRecord::read(&self.peers.own)
    }

    /// The cluster whose word counts, as far as one is known: during a restore that of the restored data, or the one that
    /// this unit's server is in.
    pub fn cluster(&self) -> Option<ClusterId> {
        let agreed = self.peers.cluster.cluster.or_else(|| self.own_record().cluster);
        let own = self.own_status().map(|status| status.cluster);
        match &self.host.restore {
            Some(journal) => journal.cluster().or(own),
            None => agreed.or(own),
        }
    }

    /// The status of this unit's own server, if it answers.
    pub fn own_status(&self) -> Option<&MemberStatus> {
        match &self.etcd.door {
            Door::Open(status) => Some(status),
            Door::Closed | Door::Mute(_) => None,
        }
    }

    /// The version of the installed etcd.
    pub fn installed_version(&self) -> Option<Version> {
        let version = match &self.host.releases.current {
            Some(release) => &release.version,
            None => &self.host.snap.known()?.as_ref()?.version,
        };
        version.parse().ok()
    }

    /// The confirmed members, if a quorum answered.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.etcd.roster {
            Roster::Confirmed(members) => Some(members),
            Roster::NobodyToAsk | Roster::Unconfirmed { .. } => None,
        }
    }

    /// Whether this application has ever started a cluster, by any sign.
    pub fn was_started(&self) -> bool {
        let claimed = |record: &UnitRecord| record.address.is_some() || record.member.is_some();
        self.peers.cluster.cluster.is_some()
            || self.peers.cluster.inherited
            || claimed(&self.own_record())
            || self.peers.all().any(|peer| claimed(&peer.record))
    }
}
