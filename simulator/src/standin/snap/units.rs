//! The systemd units that a snap gets, as snapd writes them. Invariant: pure text; the same snap gives the same unit.

use super::meta::{App, Meta};
use crate::standin::units::escape_path;

/// Directory of the units.
pub const DIRECTORY: &str = "/etc/systemd/system";

/// Name of the service of an app.
pub fn service_name(snap: &str, app: &str) -> String {
    format!("snap.{snap}.{app}.service")
}

/// Name of the mount unit of a revision.
pub fn mount_name(snap: &str, revision: &str) -> String {
    format!("{}.mount", escape_path(&format!("/snap/{snap}/{revision}")))
}

/// The mount unit by which a revision appears under `/snap`. The real one mounts a squashfs image; here it is unpacked.
pub fn mount(meta: &Meta, revision: &str, source: &str) -> String {
    format!(
        "[Unit]\nDescription=Mount unit for {name}, revision {revision}\nBefore=snapd.service\n\n\
         [Mount]\nWhat={source}\nWhere=/snap/{name}/{revision}\nType=none\nOptions=bind,ro\nLazyUnmount=yes\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        name = meta.name,
    )
}

/// The service of an app.
pub fn service(meta: &Meta, name: &str, app: &App, revision: &str) -> String {
    let snap = &meta.name;
    let mount = mount_name(snap, revision);
    let daemon = app.daemon.as_deref().unwrap_or("simple");
    let kind = if daemon == "notify" || daemon == "oneshot" || daemon == "forking" || daemon == "dbus" {
        daemon
    } else {
        "simple"
    };
    let restart = match app.restart_condition.as_deref() {
        None if daemon == "oneshot" => "no",
        None => "on-failure",
        Some("never") => "no",
        Some(condition) => condition,
    };
    let mut service = format!(
        "EnvironmentFile=-/etc/environment\nExecStart=/usr/bin/snap run {command}\nSyslogIdentifier={snap}.{name}\n\
         Restart={restart}\n",
        command = run_name(snap, name),
    );
    if let Some(delay) = &app.restart_delay {
        service.push_str(&format!("RestartSec={delay}\n"));
    }
    service.push_str(&format!("WorkingDirectory=/var/snap/{snap}/{revision}\n"));
    let others = [
        ("ExecStop", "stop", &app.stop_command),
        ("ExecReload", "reload", &app.reload_command),
        ("ExecStopPost", "post-stop", &app.post_stop_command),
    ];
    for (key, word, command) in others {
        if command.is_some() {
            service.push_str(&format!("{key}=/usr/bin/snap run --command={word} {}\n", run_name(snap, name)));
        }
    }
    service.push_str(&format!("TimeoutStopSec={}\n", app.stop_timeout.as_deref().unwrap_or("30")));
    if let Some(timeout) = &app.start_timeout {
        service.push_str(&format!("TimeoutStartSec={timeout}\n"));
    }
    service.push_str(&format!("Type={kind}\n"));
    if daemon == "oneshot" {
        service.push_str("RemainAfterExit=yes\n");
    }
    format!(
        "[Unit]\n# Auto-generated, DO NOT EDIT\nDescription=Service for snap application {snap}.{name}\n\
         Requires={mount}\nWants=network.target\nAfter={mount} network.target snapd.apparmor.service\nX-Snappy=yes\n\n\
         [Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// `snap run` knows the app that is named like its snap by one word.
fn run_name(snap: &str, app: &str) -> String {
    if snap == app { snap.to_owned() } else { format!("{snap}.{app}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::units::spec::{Install, Kind, Restart, What, read};
    use crate::standin::units::syntax::Assignments;

    fn etcd(app: &str) -> Meta {
        Meta::parse(&format!("name: etcd\nversion: '3.4'\napps:\n  etcd: {app}\n")).unwrap()
    }

    #[test]
    fn a_daemon_becomes_the_service_that_snapd_would_write() {
        let meta = etcd("{command: bin/etcd, daemon: simple, restart-condition: always}");
        let text = service(&meta, "etcd", &meta.apps["etcd"], "x1");
        let mut all = Assignments::default();
        all.add(&text);
        let unit = read("snap.etcd.etcd.service", &all).unwrap();
        assert_eq!(Install::read(&all).wanted_by, vec!["multi-user.target"]);
        assert_eq!(unit.wants[0], ("snap-etcd-x1.mount".to_owned(), true));
        let What::Service(service) = unit.what else { panic!("not a service") };
        assert_eq!((service.kind, service.restart), (Kind::Simple, Restart::Always));
        assert_eq!(service.stop_timeout.as_secs(), 30);
        assert_eq!(service.working_directory.unwrap().to_str(), Some("/var/snap/etcd/x1"));
        assert_eq!(service.start[0].words, vec!["/usr/bin/snap", "run", "etcd"]);
    }

    #[test]
    fn the_restart_condition_is_on_failure_unless_the_snap_says_otherwise() {
        let meta = etcd("{command: bin/etcd, daemon: simple}");
        assert!(service(&meta, "etcd", &meta.apps["etcd"], "7").contains("Restart=on-failure\n"));
        let meta = etcd("{command: bin/etcd, daemon: simple, restart-condition: never, stop-timeout: 5s}");
        let text = service(&meta, "etcd", &meta.apps["etcd"], "7");
        assert!(text.contains("Restart=no\n") && text.contains("TimeoutStopSec=5s\n"));
    }

    #[test]
    fn a_revision_is_mounted_read_only_by_a_unit_named_after_its_place() {
        let meta = etcd("{command: bin/etcd}");
        assert_eq!(mount_name("my-etcd", "12"), "snap-my\\x2detcd-12.mount");
        assert!(mount(&meta, "12", "/run/x").contains("Where=/snap/etcd/12\n"));
    }
}
