//! Which files are there, with what in them, and that none stays.

use super::*;
use crate::decide::next;
use crate::decide::worlds::{consumer, settled, three};
use crate::event::Event;
use crate::juju::Databag;

/// A settled unit with an agent on its machine that says `said`.
fn watched(said: &[(&str, &str)]) -> World {
    let mut w = settled(0, &three());
    let said: Databag = said.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    w.consumers = vec![Consumer { said: vec![said], ..consumer("nrpe-external-master:9") }];
    w.host.checks = Checks { takes_commands: true, takes_services: true, ..Checks::default() };
    w
}

fn written(w: &World) -> BTreeMap<String, String> {
    match next(w) {
        Next::Do(Step::WriteChecks { write, .. }) => write,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_checks_with_plugin_command_and_service_each() {
    let mut w = watched(&[("nagios_hostname", "prod-etcd-0")]);
    let files = written(&w);
    assert_eq!(files.len(), 9);
    let alarms = &files["/etc/nagios/nrpe.d/check_etcd-alarms.cfg"];
    let line =
        "command[check_etcd-alarms]=/usr/local/lib/nagios/plugins/check_etcd_alarms http://127.0.0.1:2381\n";
    assert!(alarms.ends_with(line), "{alarms}");
    let service = &files["/var/lib/nagios/export/service__prod-etcd-0_check_snap.etcd.etcd.cfg"];
    assert!(service.contains("check_command check_nrpe!check_snap.etcd.etcd\n"), "{service}");
    assert!(service.contains("servicegroups juju\n"), "{service}");
    assert!(files.keys().all(|path| path.rsplit_once('/').is_some_and(|(at, name)| is_own(at, name))));
    w.host.checks.files = files;
    assert!(!matches!(next(&w), Next::Do(_)), "once is enough");
    w.host.checks.restart_due = true;
    assert!(matches!(next(&w), Next::Do(Step::WriteChecks { .. })), "the agent must still read them");
}

#[test]
fn what_the_options_and_the_machine_say_is_followed() {
    let mut w = watched(&[]);
    let Ok(options) = &mut w.options else { panic!() };
    options.nagios.context = "lab".into();
    options.nagios.service_groups = "stores".into();
    options.port = 2381;
    let files = written(&w);
    let service = &files["/var/lib/nagios/export/service__lab-etcd-0_check_etcd-alarms.cfg"];
    assert!(service.contains("servicegroups stores\n"), "{service}");
    assert!(files["/etc/nagios/nrpe.d/check_etcd-alarms.cfg"].ends_with(":2382\n"));
    w.host.checks.takes_services = false;
    assert_eq!(written(&w).len(), 6, "a directory that is not there is nobody's");
}

#[test]
fn everything_goes_with_the_agent_or_the_unit() {
    let mut w = watched(&[]);
    w.host.checks.files = written(&w);
    let gone = |w: &World| match next(w) {
        Next::Do(Step::WriteChecks { write, remove }) => (write.len(), remove.len()),
        other => panic!("{other:?}"),
    };
    let mut leaving = w.clone();
    leaving.event = Event::Leaving("stop".into());
    assert_eq!(gone(&leaving), (0, 9));
    w.consumers.clear();
    assert_eq!(gone(&w), (0, 9));
    let mut renamed = watched(&[("nagios_hostname", "other")]);
    renamed.host.checks.files = w.host.checks.files;
    assert!(matches!(next(&renamed), Next::Do(Step::WriteChecks { remove, .. }) if remove.len() == 3));
}

#[test]
fn wrong_options_and_failed_writes_change_nothing() {
    let mut w = watched(&[]);
    w.tried.in_vain.insert("write-checks", "no space".into());
    assert!(!matches!(next(&w), Next::Do(Step::WriteChecks { .. })), "etcd comes first");
    let mut w = watched(&[]);
    w.host.checks.files = BTreeMap::from([("/etc/nagios/nrpe.d/check_etcd-alarms.cfg".into(), "old".into())]);
    w.options = crate::options::Options::parse(&serde_json::Map::from_iter([("port".to_owned(), 0.into())]));
    assert!(!matches!(next(&w), Next::Do(Step::WriteChecks { .. })));
}

#[test]
fn files_stay_while_the_agents_relation_cannot_be_read() {
    let mut w = watched(&[]);
    w.host.checks.files = written(&w);
    w.consumers.clear();
    let Next::Do(Step::WriteChecks { remove, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
    assert_eq!(remove.len(), 9, "the relation has ended");
    let relation = "nrpe-external-master:9".parse().unwrap();
    w.unread = vec![crate::world::Unread { relation, why: "relation not found".to_owned() }];
    assert!(!matches!(next(&w), Next::Do(_)), "{:?}", next(&w));
}
