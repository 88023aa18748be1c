//! etcd's own users and roles are switched on, and nobody thought of the charm.

use crate::on_both_etcds;
use crate::sim::{Kind, Model};

on_both_etcds!(a_charm_that_is_kept_out_names_the_way_in_and_stops_nothing);

const TOLD: &str = "blocked etcd's users and roles are on, and the charm's user client lacks the role root: on a unit run \
     etcdctl --user root user add client --no-password, then etcdctl --user root user grant-role client root";

fn a_charm_that_is_kept_out_names_the_way_in_and_stops_nothing(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    let units = ["etcd/0", "etcd/1", "etcd/2"];
    model.etcdctl("etcd/0", "put before 1");
    for words in ["user add root:secret", "user grant-role root root", "auth enable"] {
        model.etcdctl("etcd/0", words);
    }
    let started = || units.map(|unit| model.shell(unit, "systemctl show -p MainPID --value snap.etcd.etcd"));
    let before = started();

    model.run(&["lab", "update-status", "etcd"]);
    for unit in units {
        assert_eq!(model.shown(unit), TOLD);
    }
    for words in [&["recover-quorum"][..], &["recover-quorum", "confirm=true"]] {
        let (_, failure) = model.action("etcd/0", words);
        assert_eq!(failure.unwrap(), TOLD.replace("blocked", "nothing was changed:"));
    }
    // What would restart the members waits.
    model.run(&["config", "etcd", "debug=true"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "users and roles are on", "--idle"]);
    assert_eq!(started(), before, "a server was stopped");
    assert_eq!(model.etcdctl("etcd/1", "--user root:secret get before --print-value-only"), "1\n");
    // A member that was down is started.
    model.run(&["lab", "reboot", "etcd/2"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "users and roles are on", "--idle"]);
    assert_eq!(model.etcdctl("etcd/2", "--user root:secret get before --print-value-only"), "1\n");

    for words in ["user add client --no-password", "user grant-role client root"] {
        model.etcdctl("etcd/0", &format!("--user root:secret {words}"));
    }
    for unit in units {
        model.run(&["lab", "update-status", unit]);
    }
    model.settle(3);
    model.note_keys(1);
    for unit in units {
        let file = model.shell(unit, "cat /var/snap/etcd/common/etcd.conf.yml");
        assert!(file.contains("debug"), "{file}");
    }
    model.run(&["add-unit", "etcd"]);
    model.settle(4);
    model.assert_no_hook_failed();
}
