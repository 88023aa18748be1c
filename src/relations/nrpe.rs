//! Endpoint `nrpe-external-master`: which checks the monitoring agent on this machine offers to Nagios.
//!
//! The unit's databag names them; the commands themselves are files on the machine that both charms share. Short names are
//! kept from the earlier charm where it had the check.

use serde_json::{Map, Value, json};

use super::Changes;
use crate::juju::Databag;
use crate::yaml;

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The service runs.
    Service,
    /// etcd has no alarms.
    Alarms,
    /// The certificates are valid for a while.
    Certificates,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 3] = [Check::Service, Check::Alarms, Check::Certificates];

    /// The name that Nagios shows and that files are called by.
    pub fn short_name(self) -> &'static str {
        match self {
            Check::Service => "snap.etcd.etcd",
            Check::Alarms => "etcd-alarms",
            Check::Certificates => "etcd-certificates",
        }
    }

    /// NRPE's name of the command.
    pub fn command(self) -> String {
        format!("check_{}", self.short_name())
    }
}

/// What the agent says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    /// `nagios_hostname`: what Nagios calls this machine.
    pub host_name: Option<String>,
}

impl Agent {
    /// From the agent's databag.
    pub fn read(bag: &Databag) -> Agent {
        Agent { host_name: bag.get("nagios_hostname").filter(|name| !name.is_empty()).cloned() }
    }
}

/// To this unit's databag. Checks in `published` that are not this charm's stay.
pub fn publish(published: &Databag) -> Changes {
    let known = published.get("monitors").and_then(|text| yaml::from_str::<Value>(text).ok());
    let nested = known.as_ref().and_then(|known| known.pointer("/monitors/remote/nrpe")?.as_object());
    let mut checks: Map<String, Value> = nested.cloned().unwrap_or_default();
    for check in Check::ALL {
        checks.insert(check.short_name().to_owned(), json!({ "command": check.command() }));
    }
    let monitors = json!({ "monitors": { "remote": { "nrpe": checks } } });
    // A tree of text always has a YAML form; without one nothing is told.
    let text = yaml::to_string(&monitors).unwrap_or_default();
    Changes::from([("monitors".to_owned(), Some(text)), ("primary".to_owned(), Some("False".to_owned()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_checks_are_told_and_a_strangers_one_stays() {
        let strange =
            "monitors:\n  remote:\n    nrpe:\n      disk: {command: check_disk, max_check_attempts: 3}\n";
        let published = Databag::from([("monitors".to_owned(), strange.to_owned())]);
        let told = publish(&published);
        let monitors: Value = yaml::from_str(told["monitors"].as_deref().unwrap()).unwrap();
        let checks = monitors.pointer("/monitors/remote/nrpe").unwrap();
        assert_eq!(checks["snap.etcd.etcd"]["command"], "check_snap.etcd.etcd");
        assert_eq!(checks["etcd-alarms"]["command"], "check_etcd-alarms");
        assert_eq!(checks["etcd-certificates"]["command"], "check_etcd-certificates");
        assert_eq!(checks["disk"]["max_check_attempts"], 3);
        assert_eq!(told["primary"].as_deref(), Some("False"));
        let again: Databag = told.clone().into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        assert_eq!(publish(&again), told, "saying it again changes nothing");
    }

    #[test]
    fn what_cannot_be_read_is_replaced() {
        let published = Databag::from([("monitors".to_owned(), "[".to_owned())]);
        assert!(publish(&published)["monitors"].as_deref().unwrap().contains("check_etcd-alarms"));
        let agent = Databag::from([("nagios_hostname".to_owned(), String::new())]);
        assert_eq!(Agent::read(&agent).host_name, None);
    }
}
