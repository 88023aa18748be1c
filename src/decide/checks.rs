//! Files for the monitoring agent on this machine: there while the agent is related, exactly as they should be, and all gone
//! with it. They hang on nothing else, so they are kept right however etcd fares.

use std::collections::{BTreeMap, BTreeSet};

use super::{COMMON, Next, service};
use crate::options::Options;
use crate::relations::Endpoint;
use crate::relations::nrpe::{Agent, Check};
use crate::step::Step;
use crate::world::{Checks, Consumer, World};

/// Where the agent's charm and its host's own packages keep plugins that no package brings.
pub const PLUGINS: &str = "/usr/local/lib/nagios/plugins";
/// Where NRPE reads its commands.
pub const COMMANDS: &str = "/etc/nagios/nrpe.d";
/// Where the agent's charm collects the services that it tells Nagios of.
pub const SERVICES: &str = "/var/lib/nagios/export";

/// The plugin of a check: file name and text.
fn plugin(check: Check) -> (&'static str, &'static str) {
    match check {
        Check::Service => ("check_etcd_service", include_str!("../../templates/check_etcd_service")),
        Check::Alarms => ("check_etcd_alarms", include_str!("../../templates/check_etcd_alarms")),
        Check::Certificates => {
            ("check_etcd_certificates", include_str!("../../templates/check_etcd_certificates"))
        }
    }
}

/// Whether this charm writes files of this name into [`PLUGINS`], [`COMMANDS`] or [`SERVICES`]: nobody else's are touched.
pub fn is_own(directory: &str, file: &str) -> bool {
    Check::ALL.into_iter().any(|check| match directory {
        PLUGINS => file == plugin(check).0,
        COMMANDS => file == format!("{}.cfg", check.command()),
        _ => file.starts_with("service__") && file.ends_with(&format!("_{}.cfg", check.command())),
    })
}

pub(super) fn next(w: &World) -> Option<Next> {
    let have = &w.host.checks;
    let wanted = wanted(w)?;
    let is_right = have.files == wanted && !have.restart_due;
    if is_right || w.tried.in_vain("write-checks").is_some() {
        return None;
    }
    let kept: BTreeSet<&String> = wanted.keys().collect();
    let remove = have.files.keys().filter(|path| !kept.contains(path)).cloned().collect();
    Some(Next::Do(Step::WriteChecks { write: wanted, remove }))
}

/// Every file that should be there, by its path; `None` while that cannot be said.
fn wanted(w: &World) -> Option<BTreeMap<String, String>> {
    let agent = w.consumers.iter().find(|one| one.endpoint == Endpoint::Nrpe);
    match (agent, &w.options) {
        (Some(agent), Ok(options)) if !w.event.is_leaving() => Some(files(w, options, agent)),
        (Some(_), Err(_)) if !w.event.is_leaving() => None,
        (None, _) if w.why_unread(Endpoint::Nrpe.name()).is_some() && !w.event.is_leaving() => None,
        _ => Some(BTreeMap::new()),
    }
}

fn files(w: &World, options: &Options, agent: &Consumer) -> BTreeMap<String, String> {
    let Checks { takes_commands, takes_services, .. } = w.host.checks;
    let said = agent.said.first().map(Agent::read).unwrap_or_default();
    let unit = w.unit.to_string().replace('/', "-");
    let host = said.host_name.unwrap_or_else(|| format!("{}-{unit}", options.nagios.context));
    let mut files = BTreeMap::new();
    for check in Check::ALL {
        let (name, text) = plugin(check);
        files.insert(format!("{PLUGINS}/{name}"), text.to_owned());
        let command = check.command();
        if takes_commands {
            let line = format!("command[{command}]={PLUGINS}/{name} {}\n", arguments(w, options, check));
            files.insert(format!("{COMMANDS}/{command}.cfg"), format!("{HEADER}{line}"));
        }
        if takes_services {
            let text = nagios_service(check, &host, &options.nagios.service_groups);
            files.insert(format!("{SERVICES}/service__{host}_{command}.cfg"), text);
        }
    }
    files
}

const HEADER: &str = "# Written by the etcd charm; changes are overwritten.\n";

fn arguments(w: &World, options: &Options, check: Check) -> String {
    match check {
        Check::Service if w.host.releases.current.is_some() => "etcd-release".to_owned(),
        Check::Service => "snap.etcd.etcd".to_owned(),
        // Without an address there is no server yet either, and the check says so.
        Check::Alarms => service::metrics_url(w, options).unwrap_or_default(),
        Check::Certificates => {
            ["ca", "server", "client"].map(|name| format!("{COMMON}/{name}.crt")).join(" ")
        }
    }
}

/// An object definition as Nagios reads it.
fn nagios_service(check: Check, host: &str, groups: &str) -> String {
    let (name, command) = (check.short_name(), check.command());
    let description = match check {
        Check::Service => "etcd is running",
        Check::Alarms => "etcd has no alarms",
        Check::Certificates => "etcd's certificates are valid",
    };
    format!(
        "{HEADER}define service {{\n    use active-service\n    host_name {host}\n    \
         service_description {host}[{name}] {description}\n    check_command check_nrpe!{command}\n    \
         servicegroups {groups}\n}}\n"
    )
}

#[cfg(test)]
mod tests;
