//! Options changed on a running cluster: who restarts, and what clients notice of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PRESENT;
use crate::sim::{Model, Writer};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

const CONFIG: &str = "/var/snap/etcd/common/etcd.conf.yml";

/// How often the charm has restarted the unit's etcd so far.
fn restarts(model: &Model, unit: &str) -> usize {
    let log = model.run(&["debug-log", "--replay", "--include", unit]);
    log.lines().filter(|line| line.contains("run=systemctl restart")).count()
}

fn ports_of_members(model: &Model, unit: &str, urls: &str) -> Vec<String> {
    let members = model.etcdctl(unit, "member list --write-out=json");
    let members: Value = serde_json::from_str(&members).unwrap();
    let url = |member: &Value| member[urls][0].as_str().unwrap().to_owned();
    let members = members["members"].as_array().unwrap();
    members.iter().map(|member| url(member).rsplit(':').next().unwrap().to_owned()).collect()
}

/// The ports that etcd listens on, sorted.
fn listens(model: &Model, unit: &str) -> Vec<String> {
    let sockets = "ss -Hltnp | sed -n 's/.*\"etcd\".*/&/p' | awk '{print $4}' | sed 's/.*://' | sort -u";
    model.shell(unit, sockets).lines().map(str::to_owned).collect()
}

#[test]
fn both_ports_move_under_load() {
    let model = Model::with_quick_retries(PRESENT);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");

    let units = model.units("etcd");
    let begun = Instant::now();
    model.run(&["config", "etcd", "port=3379"]);
    model.settle(3);
    assert!(begun.elapsed() < Duration::from_secs(40), "six restarts took {:?}", begun.elapsed());
    for unit in &units {
        assert_eq!(listens(&model, unit), ["2380", "3379"], "{unit}");
        assert!((1..=2).contains(&restarts(&model, unit)), "one to open, one to close: {unit}");
    }
    model.wait(&["consumer", "--idle"]);
    let told = model.shell("consumer/0", "cat /var/lib/consumer/endpoints");
    assert_eq!(told.matches(":3379").count(), 3, "{told}");
    assert_eq!(model.etcdctl("etcd/1", "put root shell").trim(), "OK", "root's etcdctl follows");

    let before = [&units[0], &units[2]].map(|unit| restarts(&model, unit));
    killed_between_the_clusters_word_and_the_restart(&model);
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.settle(4);
    assert_eq!(ports_of_members(&model, "etcd/3", "peerURLs"), ["3380"; 4]);
    for unit in model.units("etcd") {
        assert_eq!(listens(&model, &unit), ["3379", "3380"], "{unit}");
    }
    let after = [&units[0], &units[2]].map(|unit| restarts(&model, unit));
    assert_eq!(after, before.map(|count| count + 2), "one to open, one to close");
    writer.stop(GAP_MS);
}

/// The members use the new port already, the file names it alone, and the server has not read it.
fn killed_between_the_clusters_word_and_the_restart(model: &Model) {
    let seen = format!(
        "timeout 60 sh -c 'until grep -q ^initial-advertise-peer-urls.*:3380 {CONFIG}; do sleep 0.02; done'"
    );
    let mut watch = model.start(&["ssh", "etcd/1", &seen]);
    model.run(&["config", "etcd", "management_port=3380"]);
    assert!(watch.wait().unwrap().success(), "etcd/1 never moved");
    model.run(&["lab", "kill-running", "etcd/1"]);
}
