//! What watches etcd gets what it needs, and nothing stays when it goes.

use std::time::Duration;

use crate::on_both_etcds;
use crate::sim::{Kind, Model, wait_until};

on_both_etcds!(nagios_sees_what_is_wrong_and_when_it_is_blind);

const SERVICE: &str = "check_snap.etcd.etcd";
const ALARMS: &str = "check_etcd-alarms";
const CERTIFICATES: &str = "check_etcd-certificates";
const FILES: &str =
    "find /etc/nagios/nrpe.d /var/lib/nagios/export /usr/local/lib/nagios -type f -name '*etcd*' | sort";
const LOG_IN: &str = ". /etc/profile.d/etcd.sh";

/// Files, databag and the checks themselves, run as the agent runs them: well, in alarm, blind, and gone.
fn nagios_sees_what_is_wrong_and_when_it_is_blind(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    model.run(&["config", "etcd", "quota_backend_bytes=16777216"]);
    model.deploy_charm("nrpe", "nrpe");
    model.run(&["integrate", "nrpe", "etcd"]);
    model.wait(&["--idle"]);
    for name in [SERVICE, ALARMS, CERTIFICATES] {
        check(&model, name, 0, "OK: ");
    }
    let files = model.shell("etcd/0", FILES);
    assert_eq!(files.lines().count(), 9, "{files}");
    assert!(files.contains("/service__nagios-etcd-0_check_etcd-alarms.cfg\n"), "{files}");
    let monitors = model.shell("etcd/0", "cat /var/lib/nrpe/monitors-*");
    for told in ["snap.etcd.etcd:", "etcd-alarms:", "etcd-certificates:", "command: check_etcd-alarms"] {
        assert!(monitors.contains(told), "{monitors}");
    }
    the_operators_words_are_followed(&model);
    an_alarm_is_critical(&model);
    certificates_that_end_or_are_gone(&model);
    silence_is_unknown(&model);

    // One agent takes over from the other.
    model.deploy_charm("nrpe", "another");
    model.run(&["integrate", "another", "etcd"]);
    model.wait(&["--idle"]);
    model.run(&["remove-relation", "nrpe", "etcd"]);
    model.wait(&["--idle"]);
    check(&model, ALARMS, 0, "OK: ");
    model.run(&["remove-relation", "another", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!(model.shell("etcd/0", FILES), "", "files were left behind");
    model.settle(1);
    model.assert_no_hook_failed();
}

/// Runs a check as Nagios does; its exit code and the beginning of its words must be these.
fn check(model: &Model, name: &str, code: u8, begins: &str) {
    let said = model.shell("etcd/0", &format!("check_nrpe {name}; echo \"exit $?\""));
    assert!(said.starts_with(begins) && said.ends_with(&format!("exit {code}\n")), "{name}: {said}");
}

fn the_operators_words_are_followed(model: &Model) {
    model.run(&["config", "etcd", "nagios_servicegroups=stores", "port=2381"]);
    model.settle(1);
    let service = model.shell("etcd/0", &format!("cat /var/lib/nagios/export/*_{ALARMS}.cfg"));
    assert!(service.contains("servicegroups stores\n"), "{service}");
    let command = model.shell("etcd/0", &format!("cat /etc/nagios/nrpe.d/{ALARMS}.cfg"));
    assert!(command.contains("http://127.0.0.1:2382\n"), "2381 is the clients': {command}");
    check(model, ALARMS, 0, "OK: ");
}

fn an_alarm_is_critical(model: &Model) {
    let fill = format!(
        "head -c 900000 /dev/zero | tr '\\0' x > /tmp/value; {LOG_IN}; \
         for i in $(seq 60); do etcdctl put key < /tmp/value >/dev/null 2>&1 || exit 0; done; exit 1"
    );
    model.shell("etcd/0", &fill);
    check(model, ALARMS, 2, "CRITICAL: ");
    let (results, failure) = model.action("etcd/0", &["maintain"]);
    assert_eq!(failure, None, "{results}");
    check(model, ALARMS, 0, "OK: ");
}

/// The check reads what etcd uses, as the user nagios can; here it is handed other certificates.
fn certificates_that_end_or_are_gone(model: &Model) {
    let plugin = "runuser -u nagios -- /usr/local/lib/nagios/plugins/check_etcd_certificates";
    let make = "set -e; mkdir -p /tmp/c; chmod 755 /tmp/c; cd /tmp/c; \
                openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj /CN=x; \
                for days in -1 8 90; do openssl x509 -req -in csr -signkey key -days $days -out $days.crt; done; \
                cat ./90.crt ./-1.crt > both.crt";
    model.shell("etcd/0", make);
    let run = |files: &str| model.shell("etcd/0", &format!("cd /tmp/c; {plugin} {files}; echo \"exit $?\""));
    assert!(run("90.crt 8.crt").starts_with("OK: "), "{}", run("90.crt 8.crt"));
    assert!(run("90.crt missing.crt").contains("exit 3"), "what cannot be read is unknown");
    assert!(run("key").contains("exit 3"), "keys are no certificates");
    let both = run("both.crt");
    assert!(both.starts_with("CRITICAL: ") && both.contains("both.crt has expired"), "{both}");
}

/// A server that hangs, one that is down, and one whose service nobody can ask about.
fn silence_is_unknown(model: &Model) {
    let server = "$(systemctl show -p MainPID --value snap.etcd.etcd)";
    model.shell("etcd/0", &format!("kill -STOP {server}"));
    check(model, ALARMS, 3, "UNKNOWN: ");
    model.shell("etcd/0", &format!("kill -CONT {server}"));
    model.shell("etcd/0", "systemctl stop snap.etcd.etcd");
    check(model, ALARMS, 3, "UNKNOWN: ");
    check(model, SERVICE, 2, "CRITICAL: ");
    model.shell("etcd/0", "systemctl start snap.etcd.etcd");
    wait_until("etcd to answer again", Duration::from_secs(30), || {
        model.shell("etcd/0", &format!("check_nrpe {ALARMS} || true")).starts_with("OK: ")
    });
}
