//! The main job on booted machines, with real systemd and real snapd: what stand-ins cannot prove. The long list of the
//! same tests that also runs there is in `scripts/test-full`.

use crate::OLD;
use crate::sim::{Kind, Model, Writer};
use crate::sources::{bring, deploy, folder, options, pid, release, set};

const BOOTED: Kind = Kind { juju: "3.6", channel: OLD.channel, machines: Some("full") };

/// What a client may notice of one member's restart, where snapd exchanges its snap.
const GAP_MS: u64 = 4000;
/// Nobody serves while all machines are off.
const OFF_MS: u64 = 120_000;

#[test]
fn a_cluster_lives_through_its_days() {
    let model = Model::with_cluster(BOOTED, 3);
    let systemd = model
        .shell("etcd/0", "cat /proc/1/comm; systemctl is-active snapd; readlink /proc/$(pidof snapd)/exe");
    assert_eq!(systemd, "systemd\nactive\n/usr/lib/snapd/snapd\n");
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);

    let writer = Writer::start(&model, "consumer/0");
    model.run(&["add-unit", "etcd"]);
    model.settle(4);
    model.remove_units(&["etcd/0"], 3);
    model.run(&["config", "etcd", "heartbeat_interval=150"]);
    model.settle(3);
    for unit in model.units("etcd") {
        let file = model.shell(&unit, "cat /var/snap/etcd/common/etcd.conf.yml");
        assert!(file.contains("heartbeat-interval: 150"), "{unit}: {file}");
    }
    model.run(&["config", "etcd", "channel=3.5/stable"]);
    model.settle(3);
    for unit in model.units("etcd") {
        let version = model.etcdctl(&unit, "endpoint status -w fields");
        assert!(version.contains("\"Version\" : \"3.5."), "{unit}: {version}");
    }
    writer.stop(GAP_MS);

    let writer = Writer::start(&model, "consumer/0");
    let units = model.units("etcd");
    for unit in &units {
        model.run(&["lab", "kill-machine", unit]);
    }
    for unit in units.iter().rev() {
        model.run(&["lab", "start-machine", unit]);
    }
    model.settle(3);
    writer.stop(OFF_MS);
    model.assert_no_hook_failed();
}

/// systemd's own figure for how exposed a service is, from 0 to 10.
const EXPOSURE: f64 = 2.5;

/// Fails unless the server of a release on this unit can do no more than it needs.
fn assert_confined(model: &Model, unit: &str) {
    let verdict = model.shell(unit, "systemd-analyze security --no-pager etcd-release.service | tail -n 1");
    let figure = verdict.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(figure.is_some_and(|figure| figure < EXPOSURE), "{unit}: {verdict}");
    let status = model.shell(unit, &format!("cat /proc/{}/status", pid(model, unit)));
    for held in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(held), "{unit}: {held}: {status}");
    }
    let touch = format!("nsenter -t {} -m touch", pid(model, unit));
    for (path, is_writable) in [
        ("/var/snap/etcd/current/probe", true),
        ("/etc/probe", false),
        ("/var/snap/etcd/common/probe", false),
    ] {
        let told = model.shell(unit, &format!("{touch} {path} 2>&1 && rm {path} && echo written || true"));
        assert_eq!(told.contains("written"), is_writable, "{unit}: {path}: {told}");
    }
}

/// The service of a release is this charm's own, so its confinement is too; units of an earlier charm get it in their turn.
#[test]
fn a_release_is_confined_and_does_all_its_work() {
    let folder = folder();
    let [first, other] = [("3.5", "first"), ("3.5", "other")]
        .map(|(track, note)| options("/srv", &release(track, note, folder.path())));
    let model = Model::with_quick_retries(BOOTED);
    model.deploy_easyrsa();
    deploy(&model, 2, &first);
    model.wait(&["etcd", "--units", "2", "--message", "Cannot install etcd: cannot copy", "--idle"]);
    for unit in model.units("etcd") {
        bring(&model, folder.path(), &unit);
    }
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(2);
    for unit in model.units("etcd") {
        assert_confined(&model, &unit);
    }
    model.etcdctl("etcd/0", "put kept here");
    for words in [&["snapshot"][..], &["maintain"], &["health"]] {
        let (results, failure) = model.action("etcd/1", words);
        assert_eq!(failure, None, "{words:?}: {results}");
    }
    set(&model, &other);
    model.settle(2);

    // As a charm before this one has left it.
    let before = "unit=/etc/systemd/system/etcd-release.service; sed -i '/^UMask/,/^SystemCallErrorNumber/d' $unit; \
                  systemctl daemon-reload; systemctl restart etcd-release; grep -c Protect $unit || true";
    for unit in model.units("etcd") {
        assert_eq!(model.shell(&unit, before).trim(), "0");
    }
    model.run(&["config", "etcd", "heartbeat_interval=150"]);
    model.settle(2);
    for unit in model.units("etcd") {
        assert_confined(&model, &unit);
    }
    assert!(model.etcdctl("etcd/1", "get kept").contains("here"));
}
