//! How units and applications come and go, as far as the model is concerned.

use std::collections::BTreeMap;

use crate::agent::state::AgentState;
use crate::charm::StorageKind;
use crate::machine::{MachineKind, MachineSpec};

use super::entity::{Life, MachineRecord, MachineState, StatusEntry, Unit};
use super::{Model, StorageDirective};

impl Model {
    /// Adds a unit on a machine of its own and returns its name.
    pub fn add_unit(
        &mut self,
        application: &str,
        storage: &BTreeMap<String, StorageDirective>,
        attach: &[String],
    ) -> Option<String> {
        let kind = self.applications.get(application)?.machines;
        let machine = self.add_machine(kind);
        self.add_unit_on(application, machine, None, storage, attach)
    }

    fn add_machine(&mut self, kind: MachineKind) -> String {
        let id = self.sequence.machines.to_string();
        self.sequence.machines += 1;
        let hostname = format!("juju-{}-{id}", self.uuid.get(..6).unwrap_or("000000"));
        let spec = MachineSpec { id: id.clone(), hostname, address: self.next_address(), kind };
        let record = MachineRecord { spec, state: MachineState::Pending, since_ms: self.now_ms() };
        self.machines.insert(id.clone(), record);
        id
    }

    fn add_unit_on(
        &mut self,
        application: &str,
        machine: String,
        principal: Option<String>,
        storage: &BTreeMap<String, StorageDirective>,
        attach: &[String],
    ) -> Option<String> {
        let now = self.now_ms();
        let record = self.applications.get_mut(application)?;
        let number = record.next_unit;
        record.next_unit += 1;
        let name = format!("{application}/{number}");
        let unit = Unit {
            name: name.clone(),
            application: application.to_owned(),
            number,
            machine,
            principal,
            life: Life::Alive,
            destroy_storage: false,
            workload: StatusEntry::new("waiting", "waiting for machine", now),
            workload_was_set: false,
            history: Vec::new(),
            agent_status: StatusEntry::new("allocating", "", now),
            workload_version: String::new(),
            ports: BTreeMap::new(),
            state: BTreeMap::new(),
            resolution: None,
            agent: AgentState { charm_seen: record.charm_modified_version, ..AgentState::default() },
        };
        self.units.insert(name.clone(), unit);
        self.create_unit_storage(&name, storage, attach);
        self.settle_leases();
        Some(name)
    }

    /// Adds the subordinate unit that a principal's entering of a container-scoped relation calls for.
    pub fn add_subordinate_if_due(&mut self, relation: u64, principal: &str) -> Option<String> {
        let relation = self.relations.get(&relation)?;
        let unit = self.units.get(principal)?;
        let other = relation.remote_end_of(&unit.application)?.application.clone();
        let is_subordinate = self.applications.get(&other)?.charm.declared.metadata.subordinate;
        let exists = self.units_of(&other).any(|unit| unit.principal.as_deref() == Some(principal));
        if !relation.is_container_scoped || !is_subordinate || exists || unit.principal.is_some() {
            return None;
        }
        let machine = unit.machine.clone();
        self.add_unit_on(&other, machine, Some(principal.to_owned()), &BTreeMap::new(), &[])
    }

    /// Asks a unit to go: it gives up leadership, the others are told, and its agent runs its last hooks.
    pub fn end_unit(&mut self, name: &str, destroy_storage: bool) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.life == Life::Dying {
            unit.destroy_storage |= destroy_storage;
            return;
        }
        unit.life = Life::Dying;
        unit.destroy_storage = destroy_storage;
        for instance in self.storage.values_mut().filter(|instance| instance.unit.as_deref() == Some(name)) {
            instance.life = Life::Dying;
            instance.destroy |= destroy_storage;
        }
        let tells_peers = self.version.tells_peers_of_removal();
        for relation in self.relations.values_mut() {
            let is_told = tells_peers || !relation.is_peer();
            if let Some(member) = relation.units.get_mut(name).filter(|_| is_told) {
                member.is_departing = true;
            }
        }
        self.resign(name);
        let subordinates: Vec<String> = self
            .units
            .values()
            .filter(|unit| unit.principal.as_deref() == Some(name))
            .map(|unit| unit.name.clone())
            .collect();
        for subordinate in subordinates {
            self.end_unit(&subordinate, destroy_storage);
        }
    }

    /// Forgets a unit. Returns the id of its machine when nothing is left on it, so that it can be destroyed.
    pub fn drop_unit(&mut self, name: &str) -> Option<String> {
        let unit = self.units.remove(name)?;
        let tells_peers = self.version.tells_peers_of_removal();
        let ids: Vec<u64> = self.relations.keys().copied().collect();
        for id in ids {
            if let Some(relation) = self.relations.get_mut(&id) {
                let is_ghost = !tells_peers && relation.is_peer();
                if let Some(member) = relation.units.get_mut(name).filter(|member| member.in_scope) {
                    member.is_ghost = is_ghost;
                    member.in_scope = is_ghost;
                }
            }
            self.drop_relation_if_over(id);
        }
        let goes =
            |instance: &super::StorageInstance| instance.destroy || instance.kind == StorageKind::Filesystem;
        self.storage.retain(|_, instance| instance.unit.as_deref() != Some(name) || !goes(instance));
        for instance in self.storage.values_mut().filter(|instance| instance.unit.as_deref() == Some(name)) {
            instance.unit = None;
            instance.location = None;
        }
        self.secrets.retain(|_, secret| secret.owner != super::SecretOwner::Unit(name.to_owned()));
        for secret in self.secrets.values_mut() {
            secret.consumers.remove(name);
        }
        let now = self.now_ms();
        for record in self.tasks.values_mut().filter(|record| record.task.unit == name && !record.has_ended())
        {
            record.task.status = "aborted".to_owned();
            record.task.message = "unit was removed".to_owned();
        }
        self.drop_application_if_over(&unit.application);
        self.settle_leases();
        let is_empty = !self.units.values().any(|other| other.machine == unit.machine);
        let machine = self.machines.get_mut(&unit.machine).filter(|_| is_empty)?;
        machine.since_ms = now;
        Some(unit.machine)
    }

    /// Asks an application to go, with all its relations and units.
    pub fn end_application(&mut self, name: &str, destroy_storage: bool) {
        let Some(application) = self.applications.get_mut(name) else { return };
        application.life = Life::Dying;
        let relations: Vec<u64> = self
            .relations_of(name)
            .filter(|relation| !relation.is_peer())
            .map(|relation| relation.id)
            .collect();
        for id in relations {
            self.end_relation(id);
        }
        let units: Vec<String> = self.units_of(name).map(|unit| unit.name.clone()).collect();
        for unit in units {
            self.end_unit(&unit, destroy_storage);
        }
        self.drop_application_if_over(name);
    }

    fn drop_application_if_over(&mut self, name: &str) {
        let is_dying = self.applications.get(name).is_some_and(|application| application.life == Life::Dying);
        if !is_dying || self.units_of(name).next().is_some() {
            return;
        }
        self.applications.remove(name);
        self.relations.retain(|_, relation| !(relation.is_peer() && relation.end_of(name).is_some()));
        self.secrets.retain(|_, secret| secret.owner != super::SecretOwner::Application(name.to_owned()));
    }
}
