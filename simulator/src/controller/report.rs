//! The model as `status` shows it.

use std::collections::BTreeMap;

use crate::charm::{Role, StorageKind};
use crate::model::{Application, Life, MachineRecord, MachineState, Model, Relation, StatusEntry, Unit};
use crate::status::{
    ApplicationStatus, BaseStatus, ControllerStatus, Integration, InterfaceStatus, MachineStatus,
    ModelStatus, RelatedApplication, Status, StatusInfo, StorageAttachment, StorageAttachments,
    StorageInstance, StorageStatus, UnitStatus, format_clock, format_time,
};

fn info(entry: &StatusEntry) -> StatusInfo {
    StatusInfo {
        current: entry.current.clone(),
        message: entry.message.clone(),
        since: format_time(entry.since_ms),
        version: String::new(),
    }
}

fn base() -> BaseStatus {
    BaseStatus { name: "ubuntu".to_owned(), channel: "22.04".to_owned() }
}

fn life(life: Life) -> String {
    if life == Life::Dying { "dying".to_owned() } else { String::new() }
}

/// The whole document.
pub fn status(model: &Model) -> Status {
    let now = model.now_ms();
    Status {
        model: ModelStatus {
            name: model.name.clone(),
            kind: "iaas".to_owned(),
            controller: "juju-sim".to_owned(),
            cloud: "juju-sim".to_owned(),
            region: "local".to_owned(),
            version: model.version.agent().to_owned(),
            model_status: info(&StatusEntry::new("available", "", now)),
            sla: "unsupported".to_owned(),
        },
        machines: model.machines.iter().map(|(id, record)| (id.clone(), machine(record))).collect(),
        applications: model
            .applications
            .values()
            .map(|record| (record.name.clone(), application(model, record)))
            .collect(),
        storage: StorageStatus { storage: storage(model) },
        controller: ControllerStatus { timestamp: format_clock(now) },
        integrations: model.relations.values().map(integration).collect(),
    }
}

fn machine(record: &MachineRecord) -> MachineStatus {
    let (agent, instance, message) = match &record.state {
        MachineState::Pending => ("pending", "allocating", ""),
        MachineState::Started => ("started", "running", ""),
        MachineState::Restarting | MachineState::Down => {
            ("down", "stopped", "agent is not communicating with the server")
        }
        MachineState::Failed(error) => ("error", "provisioning error", error.as_str()),
    };
    let address = record.spec.address.to_string();
    let interface = InterfaceStatus {
        ip_addresses: vec![address.clone()],
        mac_address: String::new(),
        space: "alpha".to_owned(),
        is_up: record.state == MachineState::Started,
    };
    MachineStatus {
        juju_status: info(&StatusEntry::new(agent, message, record.since_ms)),
        hostname: record.spec.hostname.clone(),
        dns_name: address.clone(),
        ip_addresses: vec![address],
        instance_id: record.spec.hostname.clone(),
        machine_status: info(&StatusEntry::new(instance, message, record.since_ms)),
        base: base(),
        network_interfaces: BTreeMap::from([("eth0".to_owned(), interface)]),
        constraints: String::new(),
        hardware: String::new(),
    }
}

fn application(model: &Model, record: &Application) -> ApplicationStatus {
    let declared = &record.charm.declared;
    let is_subordinate = declared.metadata.subordinate;
    let own_units = model.units_of(&record.name).filter(|unit| unit.principal.is_none());
    let mut relations: BTreeMap<String, Vec<RelatedApplication>> = BTreeMap::new();
    let mut subordinate_to = Vec::new();
    for relation in model.relations_of(&record.name) {
        let Some((own, remote)) = relation.end_of(&record.name).zip(relation.remote_end_of(&record.name))
        else {
            continue;
        };
        let scope = if relation.is_container_scoped { "container" } else { "global" };
        relations.entry(own.endpoint.clone()).or_default().push(RelatedApplication {
            related_application: remote.application.clone(),
            interface: own.interface.clone(),
            scope: scope.to_owned(),
        });
        if is_subordinate && relation.is_container_scoped {
            subordinate_to.push(remote.application.clone());
        }
    }
    let version = model
        .units_of(&record.name)
        .max_by_key(|unit| (model.is_leader(&unit.name), !unit.workload_version.is_empty()))
        .map(|unit| unit.workload_version.clone());
    let mut endpoint_bindings = BTreeMap::from([(String::new(), "alpha".to_owned())]);
    endpoint_bindings
        .extend(declared.metadata.endpoints.keys().map(|name| (name.clone(), "alpha".to_owned())));
    endpoint_bindings.extend(record.bindings.clone());
    ApplicationStatus {
        charm: format!("local:{}-{}", declared.metadata.name, record.charm.revision),
        base: base(),
        charm_origin: "local".to_owned(),
        charm_name: declared.metadata.name.clone(),
        charm_rev: record.charm.revision,
        charm_version: declared.version.clone().unwrap_or_default(),
        exposed: record.exposed,
        life: life(record.life),
        application_status: info(&model.application_status(&record.name)),
        relations,
        subordinate_to,
        units: own_units.map(|record| (record.name.clone(), unit(model, record))).collect(),
        version: version.unwrap_or_default(),
        endpoint_bindings,
    }
}

/// What a unit has open, like `2379/tcp`, sorted.
pub fn open_ports(unit: &Unit) -> Vec<String> {
    let mut ranges: Vec<_> = unit.ports.values().flatten().collect();
    ranges.sort();
    ranges.dedup();
    ranges.into_iter().map(ToString::to_string).collect()
}

fn unit(model: &Model, record: &Unit) -> UnitStatus {
    let is_principal = record.principal.is_none();
    let subordinates = model
        .units
        .values()
        .filter(|other| other.principal.as_deref() == Some(record.name.as_str()))
        .map(|other| (other.name.clone(), unit(model, other)))
        .collect();
    let mut juju_status = info(&record.agent_status);
    juju_status.version = model.version.agent().to_owned();
    UnitStatus {
        workload_status: info(&record.shown_workload()),
        juju_status,
        leader: model.is_leader(&record.name),
        machine: if is_principal { record.machine.clone() } else { String::new() },
        open_ports: open_ports(record),
        public_address: model.address_of(&record.name).map(|address| address.to_string()).unwrap_or_default(),
        subordinates,
    }
}

fn storage(model: &Model) -> BTreeMap<String, StorageInstance> {
    let instance = |(id, record): (&String, &crate::model::StorageInstance)| {
        let word = match (&record.unit, &record.location) {
            (None, _) => "detached",
            (Some(_), None) => "pending",
            (Some(_), Some(_)) => "attached",
        };
        let is_block = record.kind == StorageKind::Block;
        let alive = if record.life == Life::Alive { "alive" } else { "dying" };
        let attachment = |unit: &String| StorageAttachment {
            machine: model.units.get(unit).map(|unit| unit.machine.clone()).unwrap_or_default(),
            location: record.location.clone().unwrap_or_default(),
            life: alive.to_owned(),
        };
        let units = record.unit.iter().map(|unit| (unit.clone(), attachment(unit))).collect();
        let shown = StorageInstance {
            kind: if is_block { "block" } else { "filesystem" }.to_owned(),
            life: alive.to_owned(),
            status: StatusInfo { current: word.to_owned(), ..StatusInfo::default() },
            persistent: is_block,
            size: record.size_mib,
            pool: record.pool.clone(),
            attachments: StorageAttachments { units },
        };
        (id.clone(), shown)
    };
    model.storage.iter().map(instance).collect()
}

fn integration(relation: &Relation) -> Integration {
    let name = |role: Role| {
        let end = relation.ends.iter().find(|end| end.role == role || end.role == Role::Peer);
        end.map(|end| format!("{}:{}", end.application, end.endpoint)).unwrap_or_default()
    };
    let kind = match (relation.is_peer(), relation.is_container_scoped) {
        (true, _) => "peer",
        (false, true) => "subordinate",
        (false, false) => "regular",
    };
    Integration {
        provider: name(Role::Provider),
        requirer: name(Role::Requirer),
        interface: relation.ends.first().map(|end| end.interface.clone()).unwrap_or_default(),
        kind: kind.to_owned(),
        message: life(relation.life),
    }
}
