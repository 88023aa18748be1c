//! The tables of `status`, as Juju lays them out. Pure: a [`Status`] in, text out.

use std::collections::BTreeMap;

use super::output::{Cell, Colour, Table};
use crate::status::{Status, StatusInfo, StorageStatus, UnitStatus};

/// Which tables to show besides those that are always shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sections {
    /// Every relation.
    pub relations: bool,
    /// Every storage instance.
    pub storage: bool,
}

/// The whole text: tables with a blank line between them.
#[must_use]
pub fn render(status: &Status, sections: Sections, colours: bool) -> String {
    let mut tables = vec![header(status)];
    tables.extend(
        [applications(status), units(status), machines(status)].into_iter().filter(|t| !t.is_empty()),
    );
    if sections.storage && !status.storage.storage.is_empty() {
        tables.push(storage(&status.storage));
    }
    if sections.relations && !status.integrations.is_empty() {
        tables.push(integrations(status));
    }
    let texts: Vec<String> = tables.iter().map(|table| table.render(colours)).collect();
    texts.join("\n")
}

fn header(status: &Status) -> Table {
    let model = &status.model;
    let mut table = Table::new(&["Model", "Controller", "Cloud/Region", "Version", "SLA", "Timestamp"]);
    let cloud = [model.cloud.as_str(), model.region.as_str()];
    let cloud: Vec<&str> = cloud.into_iter().filter(|part| !part.is_empty()).collect();
    table.row(vec![
        model.name.as_str().into(),
        model.controller.as_str().into(),
        cloud.join("/").into(),
        model.version.as_str().into(),
        model.sla.as_str().into(),
        status.controller.timestamp.as_str().into(),
    ]);
    table
}

fn applications(status: &Status) -> Table {
    let mut table =
        Table::new(&["App", "Version", "Status", "Scale", "Charm", "Channel", "Rev", "Exposed", "Message"]);
    for (name, application) in &status.applications {
        let scale = if application.subordinate_to.is_empty() {
            application.units.len()
        } else {
            subordinates_of(status, name)
        };
        table.row(vec![
            name.as_str().into(),
            application.version.as_str().into(),
            word(&application.application_status),
            Cell::from(scale.to_string()).right(),
            application.charm_name.as_str().into(),
            "".into(),
            Cell::from(application.charm_rev.to_string()).right(),
            if application.exposed { "yes" } else { "no" }.into(),
            one_line(&application.application_status.message).into(),
        ]);
    }
    table
}

fn subordinates_of(status: &Status, application: &str) -> usize {
    let principals = status.applications.values().flat_map(|application| application.units.values());
    let names = principals.flat_map(|unit| unit.subordinates.keys());
    names.filter(|name| name.split_once('/').is_some_and(|(owner, _)| owner == application)).count()
}

fn units(status: &Status) -> Table {
    let mut table =
        Table::new(&["Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"]);
    for application in status.applications.values() {
        for (name, unit) in by_number(&application.units) {
            unit_row(&mut table, "", name, unit);
            for (name, subordinate) in by_number(&unit.subordinates) {
                unit_row(&mut table, "  ", name, subordinate);
            }
        }
    }
    table
}

/// `etcd/2` before `etcd/10`.
fn by_number(units: &BTreeMap<String, UnitStatus>) -> Vec<(&String, &UnitStatus)> {
    let mut sorted: Vec<_> = units.iter().collect();
    let key = |name: &str| {
        let (application, number) = name.split_once('/').unwrap_or((name, ""));
        (application.to_owned(), number.parse::<u64>().unwrap_or(u64::MAX))
    };
    sorted.sort_by_cached_key(|(name, _)| key(name));
    sorted
}

fn unit_row(table: &mut Table, indent: &str, name: &str, unit: &UnitStatus) {
    let leader = if unit.leader { "*" } else { "" };
    table.row(vec![
        format!("{indent}{name}{leader}").into(),
        word(&unit.workload_status),
        word(&unit.juju_status),
        unit.machine.as_str().into(),
        unit.public_address.as_str().into(),
        ports(&unit.open_ports).into(),
        message(unit).into(),
    ]);
}

/// What the unit says, with the hook that runs now in front, as `(install) installing charm software`.
fn message(unit: &UnitStatus) -> String {
    let running = unit.juju_status.message.strip_prefix("running ").map(|doing| {
        let doing = doing.strip_suffix(" hook").unwrap_or(doing);
        doing.strip_prefix("action ").unwrap_or(doing)
    });
    let said = one_line(&unit.workload_status.message);
    match running {
        Some(doing) if unit.juju_status.current == "executing" => {
            format!("({doing}) {said}").trim_end().to_owned()
        }
        _ => said,
    }
}

/// Ports of one protocol together: `2379,2380/tcp`.
fn ports(open: &[String]) -> String {
    let mut by_protocol: Vec<(&str, Vec<&str>)> = Vec::new();
    for port in open {
        let (range, protocol) = port.split_once('/').unwrap_or((port, ""));
        match by_protocol.iter_mut().find(|(known, _)| *known == protocol) {
            Some((_, ranges)) => ranges.push(range),
            None => by_protocol.push((protocol, vec![range])),
        }
    }
    let join = |(protocol, ranges): &(&str, Vec<&str>)| {
        if protocol.is_empty() { ranges.join(",") } else { format!("{}/{protocol}", ranges.join(",")) }
    };
    by_protocol.iter().map(join).collect::<Vec<_>>().join(" ")
}

fn machines(status: &Status) -> Table {
    let mut table = Table::new(&["Machine", "State", "Address", "Inst id", "Base", "AZ", "Message"]);
    let mut sorted: Vec<_> = status.machines.iter().collect();
    sorted.sort_by_key(|(id, _)| id.parse::<u64>().unwrap_or(u64::MAX));
    for (id, machine) in sorted {
        table.row(vec![
            id.as_str().into(),
            word(&machine.juju_status),
            machine.dns_name.as_str().into(),
            machine.instance_id.as_str().into(),
            format!("{}@{}", machine.base.name, machine.base.channel).into(),
            "".into(),
            one_line(&machine.machine_status.message).into(),
        ]);
    }
    table
}

/// The table of `storage` and of `status --storage`.
#[must_use]
pub fn storage(storage: &StorageStatus) -> Table {
    let mut table =
        Table::new(&["Unit", "Storage ID", "Type", "Pool", "Mountpoint", "Size", "Status", "Message"]);
    for (id, instance) in &storage.storage {
        let attachment = instance.attachments.units.iter().next();
        table.row(vec![
            attachment.map_or("", |(unit, _)| unit).into(),
            id.as_str().into(),
            instance.kind.as_str().into(),
            instance.pool.as_str().into(),
            attachment.map_or("", |(_, attachment)| &attachment.location).into(),
            size(instance.size).into(),
            word(&instance.status),
            one_line(&instance.status.message).into(),
        ]);
    }
    table
}

fn size(mib: u64) -> String {
    match mib {
        0 => String::new(),
        whole if whole % 1024 == 0 => format!("{} GiB", whole / 1024),
        other => format!("{other} MiB"),
    }
}

fn integrations(status: &Status) -> Table {
    let mut table = Table::new(&["Integration provider", "Requirer", "Interface", "Type", "Message"]);
    for relation in &status.integrations {
        let columns =
            [&relation.provider, &relation.requirer, &relation.interface, &relation.kind, &relation.message];
        table.row(columns.into_iter().map(|text| text.as_str().into()).collect());
    }
    table
}

fn word(status: &StatusInfo) -> Cell {
    let colour = match status.current.as_str() {
        "active" | "idle" | "started" | "running" | "attached" => Some(Colour::Green),
        "waiting" | "maintenance" | "executing" | "allocating" | "pending" | "detached" => {
            Some(Colour::Yellow)
        }
        "error" | "blocked" | "lost" | "down" | "stopped" => Some(Colour::Red),
        _ => None,
    };
    Cell::from(status.current.as_str()).coloured(colour)
}

/// A table row is one line, whatever a charm writes.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Status {
        serde_json::from_value(json!({
            "model": {"name": "default", "type": "iaas", "controller": "juju-sim", "cloud": "localhost",
                "region": "localhost", "version": "3.6.26", "model-status": {"current": "available"}, "sla": "unsupported"},
            "machines": {"0": {"juju-status": {"current": "started"}, "hostname": "h", "dns-name": "10.213.0.2",
                "ip-addresses": ["10.213.0.2"], "instance-id": "juju-sim-0", "machine-status": {"current": "running",
                "message": "Running"}, "base": {"name": "ubuntu", "channel": "22.04"}}},
            "applications": {"etcd": {"charm": "local:etcd-0", "base": {"name": "ubuntu", "channel": "22.04"},
                "charm-origin": "local", "charm-name": "etcd", "charm-rev": 0, "exposed": false, "version": "3.4.36",
                "application-status": {"current": "active", "message": "Healthy"},
                "units": {
                    "etcd/10": {"workload-status": {"current": "error", "message": "hook failed: \"install\""},
                        "juju-status": {"current": "idle"}, "machine": "0"},
                    "etcd/2": {"workload-status": {"current": "maintenance", "message": "two\nlines"},
                        "juju-status": {"current": "executing", "message": "running config-changed hook"}, "leader": true,
                        "machine": "0", "open-ports": ["2379/tcp", "2380/tcp", "53/udp"], "public-address": "10.213.0.2",
                        "subordinates": {"nrpe/0": {"workload-status": {"current": "active"},
                            "juju-status": {"current": "idle"}}}}
                }}},
            "controller": {"timestamp": "15:04:05Z"},
            "integrations": [{"provider": "etcd:cluster", "requirer": "etcd:cluster", "interface": "etcd", "type": "peer"}]
        }))
        .unwrap()
    }

    #[test]
    fn the_tables_look_like_jujus() {
        let text = render(&example(), Sections { relations: true, storage: true }, false);
        let expected = "\
Model    Controller  Cloud/Region         Version  SLA          Timestamp
default  juju-sim    localhost/localhost  3.6.26   unsupported  15:04:05Z

App   Version  Status  Scale  Charm  Channel  Rev  Exposed  Message
etcd  3.4.36   active      2  etcd              0  no       Healthy
";
        let found: Vec<&str> = text.lines().take(5).collect();
        let wanted: Vec<&str> = expected.lines().collect();
        assert_eq!(found, wanted);
        let lines: Vec<&str> = text.lines().skip(6).collect();
        assert!(
            lines[1].starts_with("etcd/2*   maintenance  executing  0        10.213.0.2"),
            "{}",
            lines[1]
        );
        assert!(lines[1].ends_with("2379,2380/tcp 53/udp  (config-changed) two lines"), "{}", lines[1]);
        assert!(lines[2].starts_with("  nrpe/0  active"), "{}", lines[2]);
        assert!(lines[3].starts_with("etcd/10   error"), "{}", lines[3]);
        assert!(lines[3].ends_with("hook failed: \"install\""), "{}", lines[3]);
        assert!(text.contains("0        started  10.213.0.2  juju-sim-0  ubuntu@22.04      Running\n"));
        assert!(text.ends_with(
            "Integration provider  Requirer      Interface  Type  Message\netcd:cluster          etcd:cluster  etcd       peer\n"
        ));
    }

    #[test]
    fn colours_are_used_only_when_asked_for() {
        assert!(!render(&example(), Sections::default(), false).contains('\x1b'));
        assert!(render(&example(), Sections::default(), true).contains("\x1b[31merror\x1b[0m"));
    }
}
