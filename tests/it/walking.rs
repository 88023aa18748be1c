//! From an etcd that upstream no longer supports to the newest, one minor version after the other, while load balancers ask each
//! member for its health. On 3.4 each such question is a request to the old store in the log, on which 3.6 does not start.

use std::process::Child;

use crate::OLD;
use crate::sim::{Model, Writer};
use crate::upgrading::version;

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

fn move_to(model: &Model, channel: &str) {
    model.run(&["config", "etcd", &format!("channel={channel}")]);
    let units = model.units("etcd");
    model.settle(units.len());
    let minor = &channel[..3];
    for unit in units {
        assert!(version(model, &unit).starts_with(minor), "{unit}");
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
