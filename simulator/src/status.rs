//! What `status` shows: the structure of Juju's `status --format json`, filled by the controller and rendered by the
//! command line. Invariant: serialising a [`Status`] gives Juju's document; the one key that Juju's lacks,
//! `integrations`, is taken out before a person or a script sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The model.
    pub model: ModelStatus,
    /// By machine id.
    pub machines: BTreeMap<String, MachineStatus>,
    /// By application name.
    pub applications: BTreeMap<String, ApplicationStatus>,
    /// Storage instances; left out without any.
    #[serde(default, skip_serializing_if = "StorageStatus::is_empty")]
    pub storage: StorageStatus,
    /// Facts of the controller.
    pub controller: ControllerStatus,
    /// Every relation once, for the table of `--relations` (not part of Juju's document).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integrations: Vec<Integration>,
}

/// A status word with its message and age: the value of every `…-status` key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// The word, e.g. `active`.
    pub current: String,
    /// What it says to people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the word or message last changed, by [`format_time`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Version of the agent (in `juju-status` only).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// `model`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// `iaas`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the controller.
    pub controller: String,
    /// Name of the cloud.
    pub cloud: String,
    /// Region of the cloud.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Juju version, e.g. `3.6.26`.
    pub version: String,
    /// `available`.
    pub model_status: StatusInfo,
    /// `unsupported`.
    pub sla: String,
}

/// An entry of `machines`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MachineStatus {
    /// `pending`, `started`, `stopped`, `down`.
    pub juju_status: StatusInfo,
    /// Host name inside.
    pub hostname: String,
    /// The address that is shown.
    pub dns_name: String,
    /// All addresses.
    pub ip_addresses: Vec<String>,
    /// Name of the instance.
    pub instance_id: String,
    /// `running`, … of the instance.
    pub machine_status: StatusInfo,
    /// Operating system.
    pub base: BaseStatus,
    /// By interface name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network_interfaces: BTreeMap<String, InterfaceStatus>,
    /// Constraints as text.
    #[serde(default)]
    pub constraints: String,
    /// Hardware as text.
    #[serde(default)]
    pub hardware: String,
}

/// A network interface of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InterfaceStatus {
    /// Its addresses.
    pub ip_addresses: Vec<String>,
    /// Its hardware address.
    pub mac_address: String,
    /// The space it is in.
    pub space: String,
    /// Whether it is up.
    pub is_up: bool,
}

/// An operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseStatus {
    /// `ubuntu`.
    pub name: String,
    /// `22.04`.
    pub channel: String,
}

/// An entry of `applications`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApplicationStatus {
    /// Charm name or URL.
    pub charm: String,
    /// Operating system.
    pub base: BaseStatus,
    /// `local`.
    pub charm_origin: String,
    /// Charm name.
    pub charm_name: String,
    /// Charm revision, counted from 0 by refreshes.
    pub charm_rev: u32,
    /// Content of the charm's `version` file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub charm_version: String,
    /// Whether `expose` was called.
    pub exposed: bool,
    /// `dying` while it is being removed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub life: String,
    /// Set by the leader, or the worst of the units.
    pub application_status: StatusInfo,
    /// By own endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relations: BTreeMap<String, Vec<RelatedApplication>>,
    /// Principal applications of a subordinate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subordinate_to: Vec<String>,
    /// By unit name; empty for a subordinate (its units stand under their principals).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, UnitStatus>,
    /// Workload version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Space by endpoint; `""` is the default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_bindings: BTreeMap<String, String>,
}

/// The other side of a relation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RelatedApplication {
    /// Its application.
    pub related_application: String,
    /// The interface.
    pub interface: String,
    /// `global` or `container`.
    pub scope: String,
}

/// An entry of `units` or `subordinates`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitStatus {
    /// What the charm says (or Juju, when a hook failed).
    pub workload_status: StatusInfo,
    /// `allocating`, `executing`, `idle`, `error`, `lost`; the message names the running hook.
    pub juju_status: StatusInfo,
    /// Whether it leads; left out when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leader: bool,
    /// Machine id; empty for a subordinate.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Like `2379/tcp`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_ports: Vec<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_address: String,
    /// Units of subordinate applications on this unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subordinates: BTreeMap<String, UnitStatus>,
}

/// `storage`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// By storage id (`data/0`).
    #[serde(default)]
    pub storage: BTreeMap<String, StorageInstance>,
}

impl StorageStatus {
    fn is_empty(&self) -> bool {
        self.storage.is_empty()
    }
}

/// A storage instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageInstance {
    /// `block` or `filesystem`.
    pub kind: String,
    /// `alive` or `dying`.
    pub life: String,
    /// `pending`, `attached`, `detached`.
    pub status: StatusInfo,
    /// Whether it outlives its unit.
    pub persistent: bool,
    /// Size in MiB.
    pub size: u64,
    /// Storage pool.
    pub pool: String,
    /// Where it is attached.
    #[serde(default)]
    pub attachments: StorageAttachments,
}

/// Where storage is attached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageAttachments {
    /// By unit.
    #[serde(default)]
    pub units: BTreeMap<String, StorageAttachment>,
}

/// One attachment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageAttachment {
    /// Machine id.
    pub machine: String,
    /// Path inside.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// `alive` or `dying`.
    pub life: String,
}

/// `controller`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerStatus {
    /// When the status was taken, `15:04:05Z`.
    pub timestamp: String,
}

/// One relation, as a row of `status --relations`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// `application:endpoint` of the provider (or of the peer).
    pub provider: String,
    /// `application:endpoint` of the requirer (or of the peer, again).
    pub requirer: String,
    /// The interface.
    pub interface: String,
    /// `regular`, `peer` or `subordinate`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `joining`, `suspended` … ; empty when it is joined.
    #[serde(default)]
    pub message: String,
}

/// `02 Jan 2006 15:04:05Z`, Juju's way to write times.
#[must_use]
pub fn format_time(unix_ms: u64) -> String {
    let format = format_description!("[day] [month repr:short] [year] [hour]:[minute]:[second]Z");
    at(unix_ms).format(&format).unwrap_or_default()
}

/// `15:04:05Z`, the time of the controller in `status`.
#[must_use]
pub fn format_clock(unix_ms: u64) -> String {
    at(unix_ms).format(&format_description!("[hour]:[minute]:[second]Z")).unwrap_or_default()
}

fn at(unix_ms: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_written_as_juju_writes_them() {
        assert_eq!(format_time(1_136_214_245_999), "02 Jan 2006 15:04:05Z");
        assert_eq!(format_clock(1_136_214_245_999), "15:04:05Z");
    }

    #[test]
    fn a_unit_serialises_to_jujus_keys() {
        let unit = UnitStatus {
            workload_status: StatusInfo { current: "active".into(), ..StatusInfo::default() },
            juju_status: StatusInfo {
                current: "idle".into(),
                version: "3.6.26".into(),
                ..StatusInfo::default()
            },
            leader: true,
            machine: "0".into(),
            open_ports: vec!["2379/tcp".into()],
            public_address: "10.0.0.2".into(),
            subordinates: BTreeMap::new(),
        };
        assert_eq!(
            serde_json::to_value(unit).unwrap(),
            json!({
                "workload-status": {"current": "active"},
                "juju-status": {"current": "idle", "version": "3.6.26"},
                "leader": true, "machine": "0", "open-ports": ["2379/tcp"], "public-address": "10.0.0.2"
            })
        );
    }
}
