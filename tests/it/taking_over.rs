//! In the place of the Python charm of the same name, on its running cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::options::restarts;
use crate::sim::{Kind, Model, Writer, given, wait_until};
use crate::{OLD, PRESENT, on_both_etcds};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;
const COMMON: &str = "/var/snap/etcd/common";
/// Of a machine that runs a hook for as long as the test wants.
const HELD: &str = "touch /tmp/held; until [ -e /tmp/go ]; do sleep 0.1; done";

on_both_etcds!(a_running_cluster_is_taken_over_and_lives_on);

/// Leader settings tell of the cluster with Juju 2.9 and 3.6. On one the leader is refreshed last, on the other first.
fn a_running_cluster_is_taken_over_and_lives_on(kind: Kind) {
    let model = with_earlier_charm(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let units = model.units("etcd");
    let before = Seen::of(&model, &units);
    let writer = Writer::start(&model, "consumer/0");

    let (held, first) = units.iter().partition::<Vec<_>, _>(|unit| is_leader(&model, unit) == is_old(kind));
    let holders: Vec<Child> = held.iter().map(|unit| hold(&model, unit)).collect();
    take_over(&model);
    for unit in &first {
        model.wait(&[unit, "--status", "active", "--message", "Healthy with 3 known peers", "--idle"]);
        assert!(is_taken(&model, unit), "{unit}");
    }
    // Two charms on one cluster.
    for unit in &held {
        assert!(!is_taken(&model, unit), "{unit}");
        model.shell(unit, "touch /tmp/go");
    }
    assert_eq!(told(&model), before.told);
    for mut holder in holders {
        assert!(holder.wait().unwrap().success());
    }
    model.settle(3);
    assert_eq!(Seen::of(&model, &units), before);
    for unit in &units {
        assert_taken(&model, unit, kind);
    }

    model.assert_known_by_their_own(&["consumer"]);
    model.run(&["add-unit", "etcd"]);
    model.settle(4);
    model.remove_units(&["etcd/1"], 3);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

/// An earlier revision of this charm kept its own files where etcd may write.
#[test]
fn files_of_an_earlier_revision_are_moved_once_and_what_etcd_puts_there_is_not_believed() {
    let model = Model::with_cluster(PRESENT, 1);
    let own = "cd /var/lib/etcd-charm && sha256sum request.json snapd-options && stat -c %a . request.json";
    let (before, pid) = (model.shell("etcd/0", own), model.shell("etcd/0", "pgrep -x etcd"));
    model.shell(
        "etcd/0",
        "cd /var/lib/etcd-charm && mv request.json snapd-options /var/snap/etcd/common && rm moved-in && \
         cd /var/snap/etcd/common && mkdir before-upgrade && touch before-upgrade/saved && \
         ln -s /etc/hostname authority.json && ln -s /etc upgrade.json && ln /etc/hostname restart-due",
    );
    let check = || {
        model.run(&["lab", "update-status", "etcd/0"]);
        model.settle(1);
        assert_eq!(model.shell("etcd/0", own), before);
        assert_eq!(model.shell("etcd/0", "pgrep -x etcd"), pid);
    };
    check();
    let left = "cd /var/snap/etcd/common && ls -d authority.json upgrade.json restart-due request.json snapd-options \
                before-upgrade 2>/dev/null || true";
    assert_eq!(model.shell("etcd/0", left), "authority.json\nrestart-due\nupgrade.json\n");
    let here = model.shell("etcd/0", "ls /var/lib/etcd-charm /var/lib/etcd-charm/before-upgrade");
    assert!(here.contains("moved-in") && here.contains("saved"), "{here}");
    assert!(!here.contains("authority.json") && !here.contains("restart-due"), "{here}");

    // From now on nothing there is believed, however it looks.
    let journal = r#"{"phase":"swapping","kept":"/etc/hostname","old_cluster":null,"token":"t"}"#;
    model.shell("etcd/0", &format!("echo '{journal}' > /var/snap/etcd/common/restore.json"));
    check();
    assert_eq!(
        model.shell("etcd/0", "ls /etc/hostname /var/snap/etcd/common/restore.json | wc -l").trim(),
        "2"
    );
    model.assert_no_hook_failed();
}

/// A cluster of the Python charm. Its options are as they come with etcd 3.4, otherwise it listens on one address alone.
pub fn with_earlier_charm(kind: Kind, units: usize) -> Model {
    let model = Model::new(kind);
    model.deploy_easyrsa();
    let charm = given("TEST_CHARMS").join("earlier-etcd.charm").display().to_string();
    let count = units.to_string();
    let mut arguments = vec!["deploy", &charm, "etcd", "-n", &count];
    let channel = format!("channel={}", kind.channel);
    if !is_old(kind) {
        arguments.extend(["--config", &channel, "--config", "bind_to_all_interfaces=false"]);
    }
    model.run(&arguments);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(units);
    model
}

fn is_old(kind: Kind) -> bool {
    kind.channel == OLD.channel
}

pub fn take_over(model: &Model) {
    model.run(&["refresh", "etcd", "--path", &given("ETCD_CHARM").display().to_string()]);
}

fn is_leader(model: &Model, unit: &str) -> bool {
    model.status()["applications"]["etcd"]["units"][unit]["leader"] == true
}

/// No hook of the unit begins until it is let go.
fn hold(model: &Model, unit: &str) -> Child {
    let child = model.start(&["exec", "--unit", unit, "--wait=5m", "--", HELD]);
    wait_until("a unit that is held", Duration::from_secs(60), || {
        model.shell(unit, "ls /tmp/held 2>/dev/null || true") == "/tmp/held\n"
    });
    child
}

/// Its file is this charm's.
fn is_taken(model: &Model, unit: &str) -> bool {
    model.shell(unit, &format!("cat {COMMON}/etcd.conf.yml")).contains("listen-metrics-urls")
}

/// What must not change.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Id, name, peer URLs.
    members: Vec<(String, String, String)>,
    /// What all units tell a client.
    told: BTreeSet<String>,
    /// Installed snap and what it follows, and the trusted authority, by unit.
    machines: Vec<String>,
}

impl Seen {
    fn of(model: &Model, units: &[String]) -> Seen {
        let look = format!("snap list etcd | awk '/^etcd/ {{print $2, $3, $4}}'; cat {COMMON}/ca.crt");
        Seen {
            members: members(model, &units[0]),
            told: told(model),
            machines: units.iter().map(|unit| model.shell(unit, &look)).collect(),
        }
    }
}

/// All but the pair: this charm gives each application one of its own, by the same authority.
fn told(model: &Model) -> BTreeSet<String> {
    let of = |said: BTreeMap<String, String>| {
        format!("{} {} {}", said["connection_string"], said["version"], said["client_ca"])
    };
    model.told("consumer/0", "db").into_iter().map(of).collect()
}

fn members(model: &Model, unit: &str) -> Vec<(String, String, String)> {
    let address = model.shell(unit, "hostname -I").split_whitespace().next().unwrap().to_owned();
    let list = format!(
        "ETCDCTL_API=3 etcd.etcdctl --endpoints https://{address}:2379 --cacert {COMMON}/ca.crt \
         --cert {COMMON}/client.crt --key {COMMON}/client.key member list --write-out=json"
    );
    let list: Value = serde_json::from_str(&model.shell(unit, &list)).unwrap();
    let text = |value: &Value| value.to_string();
    let one = |member: &Value| (text(&member["ID"]), text(&member["name"]), text(&member["peerURLs"]));
    let mut all: Vec<_> = list["members"].as_array().unwrap().iter().map(one).collect();
    all.sort();
    all
}

/// What this charm has brought, and that each server was restarted once for it.
fn assert_taken(model: &Model, unit: &str, kind: Kind) {
    let certificate = model.shell(unit, &format!("openssl x509 -noout -text -in {COMMON}/server.crt"));
    assert!(certificate.contains("127.0.0.1"), "{unit}: {certificate}");
    let modes = model.shell(unit, &format!("stat -c %a {COMMON}/server.key {COMMON}/client.key"));
    assert_eq!(modes, "600\n600\n", "{unit}");
    assert!(model.shell(unit, "snap list etcd").contains("held"), "{unit}");
    model.etcdctl(unit, "endpoint health");
    let file = model.shell(unit, &format!("cat {COMMON}/etcd.conf.yml"));
    assert!(file.contains("initial-cluster-state: existing"), "{unit}: {file}");
    assert_eq!(file.contains("0.0.0.0"), is_old(kind), "{unit}: {file}");
    assert_eq!(restarts(model, unit), 1, "{unit}");
    assert_nothing_is_left(model, unit);
}

/// What the earlier charm has left and nobody needs any more. A stop on purpose stays one: its service looked every second.
fn assert_nothing_is_left(model: &Model, unit: &str) {
    let left = "ls -d /usr/bin/cdk-service-kicker /etc/systemd/system/cdk-service-kicker.service \
                /etc/systemd/system/*/cdk-service-kicker.service /etc/cron.d/check_etcd-alarms \
                /usr/lib/nagios/plugins/check_etcd-alarms.py /var/lib/nagios/etcd-alarm-list.txt \
                /etc/systemd/system/snap.etcd.etcd.service.d/always-restart.conf \
                /root/.bash_aliases /home/ubuntu/.bash_aliases 2>/dev/null || true";
    assert_eq!(model.shell(unit, left), "", "{unit}");
    assert_eq!(model.shell(unit, "pgrep -f bin/cdk-service-kicke[r] || true"), "", "{unit}");
    let log = model.run(&["debug-log", "--replay"]);
    let told = "Removing the earlier charm's /etc/systemd/system/cdk-service-kicker.service";
    assert!(log.lines().any(|line| line.contains(told)), "{unit}");
}

/// In the middle of a cluster's life: nobody starts the server that is stopped for another one's sake.
#[test]
fn after_a_takeover_a_stop_on_purpose_stays_one() {
    let model = with_earlier_charm(OLD, 1);
    take_over(&model);
    model.settle(1);
    assert_nothing_is_left(&model, "etcd/0");
    model.shell("etcd/0", "systemctl stop snap.etcd.etcd; sleep 4");
    assert_eq!(model.shell("etcd/0", "pgrep -x etcd || true"), "");
    model.run(&["lab", "update-status", "etcd/0"]);
    model.settle(1);

    // Somebody else's is named and left alone.
    model.shell(
        "etcd/0",
        "printf '[Service]\\nExecStart=/bin/systemctl restart snap.etcd.etcd\\n' > /etc/systemd/system/watchdog.service; \
         systemctl daemon-reload",
    );
    model.run(&["config", "etcd", "heartbeat_interval=150"]);
    let named = "etcd is also started by watchdog.service";
    model.wait(&["etcd/0", "--status", "active", "--message", named, "--idle"]);
    model.shell("etcd/0", "test -e /etc/systemd/system/watchdog.service");
    model.assert_no_hook_failed();
}
