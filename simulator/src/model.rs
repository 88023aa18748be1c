//! The model: everything that a Juju controller knows of its applications, units and relations, as plain data.
//! Invariant: nothing here talks to a machine or to a program; what can be asked of the data is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

mod entity;
mod integrate;
mod leadership;
mod lifecycle;
pub mod log;
mod relation;
pub mod secret;
pub mod settings;
mod storage;
mod store;
#[cfg(test)]
pub mod testing;
mod version;

pub use entity::{
    Application, CharmRecord, Declared, Life, MachineRecord, MachineState, PortRange, Resolution, Resource,
    StatusEntry, TaskRecord, Unit, unit_tag,
};
pub use integrate::{EndpointName, IntegrateError};
pub use leadership::Lease;
pub use relation::{Bag, Offer, Relation, RelationEnd, RelationUnit, application_of, overlay};
pub use secret::{Consumer, Rotation, RotationName, Secret, SecretError, SecretOwner, SecretRevision};
pub use storage::{StorageDirective, StorageInstance};
pub use store::Store;
pub use version::JujuVersion;

/// One model. Everything in it is written to disk after every change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// Name, as on the command line.
    pub name: String,
    /// Random identity.
    pub uuid: String,
    /// The Juju that is imitated.
    pub version: JujuVersion,
    /// How far `lab advance-clock` has let the clock run ahead, in ms.
    pub clock_ahead_ms: u64,
    /// Model options that were set.
    pub config: BTreeMap<String, String>,
    /// The network of the machines.
    pub network: Network,
    /// Machines by id.
    pub machines: BTreeMap<String, MachineRecord>,
    /// Applications by name.
    pub applications: BTreeMap<String, Application>,
    /// Units by name.
    pub units: BTreeMap<String, Unit>,
    /// Relations by id.
    pub relations: BTreeMap<u64, Relation>,
    /// Storage instances by id (`data/0`).
    pub storage: BTreeMap<String, StorageInstance>,
    /// Secrets by id (20 characters, without `secret:`).
    pub secrets: BTreeMap<String, Secret>,
    /// Actions that were asked for, by id.
    pub tasks: BTreeMap<u64, TaskRecord>,
    /// Last number given to a machine, relation, storage, task.
    pub sequence: Sequence,
}

/// Counters; a number is never given twice.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sequence {
    /// Machines that were made.
    pub machines: u32,
    /// Relations that were made.
    pub relations: u64,
    /// Storage instances that were made.
    pub storage: u64,
    /// Operations and tasks that were asked for; they share one counter, as in Juju.
    pub tasks: u64,
    /// Addresses that were given.
    pub addresses: u32,
    /// Databag versions.
    pub versions: u64,
}

/// The IPv4 network that the machines of a model are on. Its first ten addresses are not given to machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Network address.
    pub base: Ipv4Addr,
    /// Bits of the network part, 8 to 28.
    pub prefix: u8,
}

impl Default for Network {
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 213, 0, 0), prefix: 24 }
    }
}

impl Network {
    fn address(self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(host))
    }

    /// The network's first address; the controller goes by it, although it listens nowhere on the network.
    pub fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    /// How many addresses machines can have.
    fn room(self) -> u32 {
        (1u32 << (32 - u32::from(self.prefix.clamp(8, 28)))).saturating_sub(12)
    }

    /// `10.213.0.0/24`.
    pub fn cidr(self) -> String {
        format!("{}/{}", self.base, self.prefix)
    }
}

impl Model {
    /// A new and empty model.
    pub fn new(name: &str, version: JujuVersion, network: Network) -> Self {
        Self {
            name: name.to_owned(),
            uuid: uuid::Uuid::new_v4().to_string(),
            version,
            clock_ahead_ms: 0,
            config: BTreeMap::new(),
            network,
            machines: BTreeMap::new(),
            applications: BTreeMap::new(),
            units: BTreeMap::new(),
            relations: BTreeMap::new(),
            storage: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tasks: BTreeMap::new(),
            sequence: Sequence::default(),
        }
    }

    /// Milliseconds since the Unix epoch on the model's clock, which may run ahead of the computer's.
    pub fn now_ms(&self) -> u64 {
        wall_ms() + self.clock_ahead_ms
    }

    /// A databag version that was never used before.
    pub fn next_version(&mut self) -> u64 {
        self.sequence.versions += 1;
        self.sequence.versions
    }

    /// An address that no machine has; the ones given longest ago come last.
    pub fn next_address(&mut self) -> Ipv4Addr {
        let used: BTreeSet<Ipv4Addr> = self.machines.values().map(|machine| machine.spec.address).collect();
        let room = self.network.room().max(1);
        for _ in 0..room {
            let address = self.network.address(10 + self.sequence.addresses % room);
            self.sequence.addresses += 1;
            if !used.contains(&address) {
                return address;
            }
        }
        self.network.address(10)
    }

    /// The units of an application, in the order of their names.
    pub fn units_of<'a>(&'a self, application: &'a str) -> impl Iterator<Item = &'a Unit> + 'a {
        self.units.values().filter(move |unit| unit.application == application)
    }

    /// The address of a unit's machine.
    pub fn address_of(&self, unit: &str) -> Option<Ipv4Addr> {
        self.machines.get(&self.units.get(unit)?.machine).map(|machine| machine.spec.address)
    }

    /// Whether this unit holds its application's lease.
    pub fn is_leader(&self, unit: &str) -> bool {
        self.leader_of_unit(unit).is_some_and(|leader| leader == unit)
    }

    /// What config-changed is about: options, trust and address; it fires when this text differs from the last one.
    pub fn config_fingerprint(&self, unit: &str) -> String {
        let application = self.units.get(unit).and_then(|unit| self.applications.get(&unit.application));
        let options = application.map(Application::options).unwrap_or_default();
        let trust = application.is_some_and(|application| application.trust);
        serde_json::json!({"options": options, "trust": trust, "address": self.address_of(unit)}).to_string()
    }

    fn leader_of_unit(&self, unit: &str) -> Option<&str> {
        let application = &self.units.get(unit)?.application;
        self.applications.get(application)?.lease.as_ref().map(|lease| lease.holder.as_str())
    }
}

/// Milliseconds since the Unix epoch on the computer's clock.
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or_default()
}
