//! From nothing to a serving cluster, whatever the order of the operator's commands.

use crate::on_every_kind;
use crate::sim::{Kind, Model};

on_every_kind!(
    one_unit_related_before_it_is_up,
    three_units_without_update_status,
    five_units_related_late,
    consumers_get_the_same_from_every_unit,
    a_wrong_option_blocks_and_is_mended,
    a_healthy_check_costs_three_tool_calls_at_most,
);

fn one_unit_related_before_it_is_up(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_etcd(1);
    model.deploy_charm("easyrsa", "easyrsa");
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(1);
    model.assert_no_hook_failed();
}

/// Also: ports, version, application status, and that the members know each other by name.
pub fn three_units_without_update_status(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    let status = model.status();
    let etcd = &status["applications"]["etcd"];
    assert_eq!(etcd["application-status"]["current"], "active", "{etcd}");
    let minor = kind.channel.split('/').next().unwrap();
    assert!(etcd["version"].as_str().unwrap().starts_with(minor), "{etcd}");
    for (_, unit) in etcd["units"].as_object().unwrap() {
        assert_eq!(unit["open-ports"], serde_json::json!(["2379/tcp"]), "{unit}");
    }
    let members = model.etcdctl("etcd/1", "member list -w json");
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    let mut names: Vec<&str> =
        members["members"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["etcd0", "etcd1", "etcd2"]);
    let complaint =
        ". /etc/profile.d/etcd.sh; etcdctl get nothing 2>&1 | grep 'unrecognized environment' || true";
    assert_eq!(model.shell("etcd/0", complaint), "", "root's shell sets what this etcdctl does not know");
    let log = model.run(&["debug-log", "--replay"]);
    assert!(!log.contains("update-status"), "the cluster must not need update-status");
    model.assert_no_hook_failed();
    keys_are_private(&model);
}

/// Nothing that the charm wrote may let other users of the machine read a key.
fn keys_are_private(model: &Model) {
    let readable = model.shell("etcd/0", "find /var/snap/etcd /root /home -name '*.key' -perm /077");
    assert_eq!(readable, "", "keys that others can read");
}

fn five_units_related_late(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_etcd(5);
    model.wait(&[
        "etcd",
        "--units",
        "5",
        "--status",
        "blocked",
        "--message",
        "Missing relation to certificate authority.",
        "--idle",
    ]);
    model.deploy_easyrsa();
    model.run(&["integrate", "easyrsa", "etcd"]);
    model.settle(5);
    model.assert_no_hook_failed();
}

fn consumers_get_the_same_from_every_unit(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("first");
    model.deploy_consumer("second");
    model.wait(&["--idle"]);
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.settle(4);
    for consumer in ["first/0", "second/0"] {
        let told = model.told(consumer, "db");
        assert_eq!(told.len(), 4, "{told:?}");
        for one in &told {
            assert_eq!(one, &told[0], "units differ in what they give");
            assert_eq!(one["connection_string"].split(',').count(), 4);
            assert!(one["client_ca"].ends_with('\n'));
        }
    }
    model.assert_no_hook_failed();
}

fn a_wrong_option_blocks_and_is_mended(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    let pid = model.shell("etcd/0", "systemctl show -p MainPID --value snap.etcd.etcd");
    model.run(&["config", "etcd", "port=70000"]);
    model.wait(&[
        "etcd",
        "--status",
        "blocked",
        "--message",
        "port: 70000 is not a port; accepted: 1 to 65535",
        "--idle",
    ]);
    model.run(&["config", "etcd", "--reset", "port"]);
    model.settle(1);
    let after = model.shell("etcd/0", "systemctl show -p MainPID --value snap.etcd.etcd");
    assert_eq!(pid, after, "etcd was restarted");
    model.assert_no_hook_failed();
}

/// Every call of a hook tool starts a process, on every unit, every few minutes.
fn a_healthy_check_costs_three_tool_calls_at_most(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.run(&["lab", "update-status", "etcd"]);
    let log = model.run(&["debug-log", "--replay"]);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        let mark = format!("unit.{unit}.update-status ran a program run=");
        let runs = log.lines().filter_map(|line| line.split_once(&mark)).map(|(_, run)| run);
        let tools: Vec<&str> = runs.filter(|run| !run.starts_with("systemctl ")).collect();
        assert!((1..=3).contains(&tools.len()), "{unit}: {tools:?}");
    }
}
