//! From an etcd that upstream no longer supports to the newest, one minor version after the other, while load balancers ask each
//! member for its health. On 3.4 each such question is a request to the old store in the log, on which 3.6 does not start.

use std::process::Child;
use std::time::Duration;

use crate::restoring::v2_key;
use crate::sim::{Model, Writer, wait_until};
use crate::upgrading::version;
use crate::{OLD, PRESENT};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

/// Asks a unit's member every second.
struct Prober {
    unit: String,
    child: Child,
}

impl Prober {
    fn start(model: &Model, unit: String) -> Prober {
        let line = "rm -f /tmp/stop; answers=0; while [ ! -e /tmp/stop ]; do \
                    curl -s --max-time 1 http://127.0.0.1:2381/health | grep -q true && answers=$((answers + 1)); \
                    sleep 1; done; echo $answers";
        let child = model.start(&["ssh", &unit, &format!("timeout 900 sh -c '{line}'")]);
        Prober { unit, child }
    }

    /// Yields how often the member was healthy.
    fn stop(self, model: &Model) -> u64 {
        model.shell(&self.unit, "touch /tmp/stop");
        let output = self.child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    }
}

pub fn move_to(model: &Model, channel: &str) {
    model.run(&["config", "etcd", &format!("channel={channel}")]);
    model.settle(model.units("etcd").len());
    assert_on(model, channel);
}

fn assert_on(model: &Model, channel: &str) {
    let minor = channel.split('/').next().unwrap();
    for unit in model.units("etcd") {
        assert!(version(model, &unit).starts_with(&format!("{minor}.")), "{unit}");
    }
}

fn ids(model: &Model) -> Vec<String> {
    let members = model.etcdctl("etcd/0", "member list");
    let mut ids: Vec<String> =
        members.lines().filter_map(|line| Some(line.split_once(',')?.0.to_owned())).collect();
    ids.sort();
    ids
}

#[test]
fn three_units_go_from_3_4_to_3_7_under_a_writer() {
    let model = Model::with_cluster(OLD, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let before = ids(&model);
    let probers: Vec<Prober> =
        model.units("etcd").into_iter().map(|unit| Prober::start(&model, unit)).collect();
    let writer = Writer::start(&model, "consumer/0");
    for channel in ["3.5/candidate", "3.6/stable", "3.7/stable"] {
        move_to(&model, channel);
    }
    writer.stop(GAP_MS);
    for prober in probers {
        assert!(prober.stop(&model) > 10, "each member is asked all the time");
    }
    assert_eq!(ids(&model), before);
    model.assert_no_hook_failed();
}

/// A machine loses its power in the middle of each step, each time another one.
#[test]
fn machines_die_on_the_way_from_3_4_to_3_7() {
    let model = Model::with_cluster(OLD, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let before = ids(&model);
    let writer = Writer::start(&model, "consumer/0");
    for (channel, victim) in [("3.5/candidate", "etcd/0"), ("3.6/stable", "etcd/1"), ("3.7/stable", "etcd/2")]
    {
        let before = server(&model, victim);
        model.run(&["config", "etcd", &format!("channel={channel}")]);
        wait_until("the end of its server", Duration::from_secs(120), || server(&model, victim) != before);
        model.run(&["lab", "kill-machine", victim]);
        model.run(&["lab", "start-machine", victim]);
        model.settle(3);
        assert_on(&model, channel);
    }
    writer.pause().verify();
    assert_eq!(ids(&model), before);
}

/// The process of its server, or none at the moment.
fn server(model: &Model, unit: &str) -> String {
    model.shell(unit, "pidof etcd || true")
}

/// What clients keep in the old store cannot go along: it is named, and nothing is lost meanwhile.
#[test]
fn keys_in_the_old_store_are_for_the_operator() {
    let model = Model::with_cluster(OLD, 1);
    let set = |option: &str| model.run(&["config", "etcd", option]);
    let old_store = |what: &str| v2_key(&model, "etcd/0", what);
    set("enable_v2=true");
    model.settle(1);
    old_store("-X PUT -d value=kept");
    move_to(&model, "3.5/candidate");
    let refused = |told: &str| {
        model.wait(&["etcd", "--status", "blocked", "--message", told, "--idle"]);
    };
    set("channel=3.6/stable");
    refused(
        "channel 3.6/stable: etcd 3.6 does not start on v2 keys: move them to v3, delete them, set enable_v2=false, then try again",
    );
    set("enable_v2=false");
    refused(
        "channel 3.6/stable: etcd 3.6 does not start on v2 keys, and this unit's data holds some: set enable_v2=true, move them to v3, delete them with their directories, set enable_v2=false, then try again",
    );
    set("enable_v2=true");
    model.wait(&["etcd", "--status", "blocked", "--idle"]);
    assert!(old_store("").contains("kept"));
    old_store("-X DELETE");
    set("enable_v2=false");
    model.settle(1);
    assert_on(&model, "3.6/stable");
    model.assert_no_hook_failed();
}

/// Debian's 3.5.16 keeps members in a way in which 3.6 could lose some.
#[test]
fn an_early_3_5_is_not_moved_to_3_6() {
    let model = Model::with_cluster(PRESENT, 1);
    model.run(&["config", "etcd", "channel=3.6/stable"]);
    let told = "channel 3.6/stable: etcd/0 runs 3.5.16, which can lose members on the way to 3.6: bring all units to 3.5.26 or later first";
    model.wait(&["etcd", "--status", "blocked", "--message", told, "--idle"]);
    move_to(&model, "3.5/candidate");
    move_to(&model, "3.6/stable");
}

/// Nothing but the charm itself writes, so etcd has no reason to cut its log.
#[test]
fn a_quiet_unit_is_cleared_of_what_a_health_check_has_left() {
    let model = Model::with_cluster(OLD, 1);
    model.shell("etcd/0", "curl -s http://127.0.0.1:2381/health");
    model.etcdctl("etcd/0", "put kept value");
    move_to(&model, "3.5/candidate");
    move_to(&model, "3.6/stable");
    assert!(model.etcdctl("etcd/0", "get kept").contains("value"));
    assert_eq!(
        model.etcdctl("etcd/0", "get etcd-charm/filler"),
        "",
        "nothing is left of what was written for it"
    );
    let log = model.run(&["debug-log", "--replay"]);
    assert!(log.contains("Clearing etcd's log of requests to the v2 store"), "{log}");
    let file = model.shell("etcd/0", "cat /var/snap/etcd/common/etcd.conf.yml");
    assert!(file.contains("snapshot-count: 100000"), "{file}");
    model.assert_no_hook_failed();
}
