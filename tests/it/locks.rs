//! The locks that members take in etcd itself, and clients that write where these stand.

use crate::PRESENT;
use crate::sim::Model;

const RESTART: &str = "etcd-charm/restart";

#[test]
fn no_client_keeps_members_from_restarting_and_a_unit_that_does_is_named() {
    let model = Model::with_cluster(PRESENT, 3);
    // Written without a lease it would stand there for ever.
    model.etcdctl("etcd/0", &format!("put {RESTART} etcd/1"));
    model.run(&["config", "etcd", "debug=true"]);
    model.settle(3);
    all_follow(&model, "debug");

    let held = |value: &str| {
        let granted = model.etcdctl("etcd/0", "lease grant 600");
        let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
        model.etcdctl("etcd/0", &format!("put {RESTART} {value} --lease={lease}"));
        lease
    };
    held("by-hand");
    model.run(&["config", "etcd", "debug=false"]);
    model.settle(3);
    all_follow(&model, "info");

    // A unit that is not there to take its own lock over.
    model.run(&["lab", "kill-machine", "etcd/2"]);
    let lease = held("etcd/2");
    model.run(&["config", "etcd", "debug=true"]);
    let named = format!("Waiting to restart etcd: etcd/2 holds the lock {RESTART}");
    model.wait(&["etcd/0", "etcd/1", "--status", "waiting", "--message", &named, "--idle"]);
    model.etcdctl("etcd/0", &format!("lease revoke {lease}"));
    model.run(&["lab", "start-machine", "etcd/2"]);
    model.wait(&["etcd/2", "--idle"]);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        model.run(&["lab", "update-status", unit]);
    }
    model.settle(3);
    all_follow(&model, "debug");
    model.assert_no_hook_failed();
}

/// Every member runs with this level of its log.
fn all_follow(model: &Model, level: &str) {
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        let file = model.shell(unit, "grep ^log-level /var/snap/etcd/common/etcd.conf.yml");
        assert!(file.contains(level), "{unit}: {file}");
        let due = model.shell(unit, "ls /var/lib/etcd-charm/restart-due 2>/dev/null || true");
        assert_eq!(due, "", "{unit} has not restarted");
    }
}
