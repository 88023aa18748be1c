//! The main job on booted machines, with real systemd and real snapd: what stand-ins cannot prove. The long list of the
//! same tests that also runs there is in `scripts/test-full`.

use crate::OLD;
use crate::sim::{Kind, Model, Writer};

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
