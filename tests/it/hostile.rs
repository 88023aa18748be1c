//! Every action in circumstances that nobody wants: each is answered within a bound, with the cause and what to do, and
//! a failure leaves nothing behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_charm::yaml;
use serde_json::Value;

use crate::PRESENT;
use crate::sim::Model;

/// Longest time until an answer, beside which two models run.
const BOUND: Duration = Duration::from_secs(30);

/// How an action ends.
enum End {
    Well,
    /// With this beginning of its message.
    Failed(&'static str),
}
use End::{Failed, Well};

/// Actions and how they end.
type Rows = &'static [(&'static [&'static str], End)];

const NO_CERTIFICATES: End = Failed(
    "this unit has no certificates yet; relate etcd to a certificate authority and wait until it is active",
);
const NOT_RUNNING: End = Failed(
    "etcd is not running on this unit; run the action on another, or see in juju status what this one waits for",
);
const NO_DATA: End = Failed("this unit has no data to recover from; run it on a unit that has");
const NOT_ATTACHED: End =
    Failed("no snap of etcd is attached, or an empty file; attach one: juju attach-resource etcd ");
const NO_PACKAGE: End = Failed("there is no Debian package of etcd on this unit; ");
const NO_SNAPSHOT: End =
    Failed("no snapshot is attached, or an empty one: juju attach-resource etcd snapshot=FILE.gz, ");
const NOT_LOST: End =
    Failed("a quorum of the 3 members answers, so there is nothing to recover; run the health action");
const V2_OFF: End = Failed("keys-version: v2 cannot be saved: the v2 store is off; ");

const NOTHING_INSTALLED: Rows = &[
    (&["health"], NOT_RUNNING),
    (&["snapshot"], NO_CERTIFICATES),
    (
        &["snapshot", "keys-version=v2"],
        Failed("keys-version: v2 cannot be saved: this unit has no configuration of etcd yet; "),
    ),
    (&["restore"], NO_SNAPSHOT),
    (&["package-client-credentials"], NO_CERTIFICATES),
    (&["package-client-certificates"], NO_CERTIFICATES),
    (&["generate-client-certificates"], NO_CERTIFICATES),
    (&["install"], Failed("etcd is not installed yet; the charm does that by itself: see its status")),
    (
        &["upgrade", "check=true"],
        Failed("etcd is not installed yet; the charm does that by itself: see its status"),
    ),
    (&["snap-upgrade"], NO_PACKAGE),
    (&["alarm-list"], NO_CERTIFICATES),
    (&["alarm-disarm"], NO_CERTIFICATES),
    (&["compact"], NO_CERTIFICATES),
    (&["defrag"], NO_CERTIFICATES),
    (&["maintain"], NO_CERTIFICATES),
    (&["recover-quorum"], NO_DATA),
    (&["recover-quorum", "confirm=true"], NO_DATA),
    (&["remove-old-data", "confirm=true"], Well),
    (&["debug"], Well),
];

const STOPPED: Rows = &[
    (&["health"], NOT_RUNNING),
    (&["snapshot"], NOT_RUNNING),
    (
        &["snapshot", "keys-version=v2"],
        Failed("keys-version: v2 cannot be saved: etcd is not running on this unit; "),
    ),
    (&["restore"], NO_SNAPSHOT),
    (&["package-client-credentials"], NOT_RUNNING),
    (&["package-client-certificates"], NOT_RUNNING),
    (&["generate-client-certificates"], NOT_RUNNING),
    (&["install"], NOT_ATTACHED),
    (&["upgrade", "check=true"], Well),
    (&["snap-upgrade"], NO_PACKAGE),
    (&["alarm-list"], NOT_RUNNING),
    (&["alarm-disarm"], NOT_RUNNING),
    (&["compact"], NOT_RUNNING),
    (&["defrag"], NOT_RUNNING),
    (&["maintain"], NOT_RUNNING),
    (&["recover-quorum"], NOT_LOST),
    (&["recover-quorum", "confirm=true"], NOT_LOST),
    (&["remove-old-data", "confirm=true"], Well),
    (&["debug"], Well),
];

const NO_ROOM: End = Failed(
    "cannot defragment etcd0: 0 MiB are free in /var/snap/etcd/current, 33 MiB are needed; make space ",
);
const UNWRITABLE: End = Failed(
    "cannot write /home/ubuntu/etcd_credentials.tar.gz; see to its disk and run it again: No space left ",
);

const DISK_FULL: Rows = &[
    (&["health"], Well),
    (
        &["snapshot"],
        Failed(
            "cannot save a snapshot in /home/ubuntu/etcd-snapshots: 0 MiB are free, 17 MiB are needed; make space or ",
        ),
    ),
    (&["snapshot", "keys-version=v2"], V2_OFF),
    (&["restore"], NO_SNAPSHOT),
    (&["package-client-credentials"], UNWRITABLE),
    (&["package-client-certificates"], UNWRITABLE),
    (&["generate-client-certificates"], UNWRITABLE),
    (&["install"], NOT_ATTACHED),
    (&["upgrade", "check=true"], Well),
    (&["snap-upgrade"], NO_PACKAGE),
    (&["alarm-list"], Well),
    (&["alarm-disarm"], Well),
    (&["compact"], Well),
    (&["defrag"], NO_ROOM),
    (&["maintain"], NO_ROOM),
    (&["recover-quorum"], NOT_LOST),
    (&["recover-quorum", "confirm=true"], NOT_LOST),
    (&["remove-old-data", "confirm=true"], Well),
    (&["debug"], Failed("cannot write /home/ubuntu/etcd-debug-")),
];

const JOINING: End = Failed("no member may be busy with its database now: unstarted-");

/// Only what is not the same as in health.
const SOMEBODY_JOINS: Rows = &[
    (&["health"], Failed("a member is unhealthy; see the results")),
    (&["snapshot"], Well),
    (&["package-client-credentials"], Well),
    (&["compact"], Well),
    (&["defrag"], JOINING),
    (&["maintain"], JOINING),
    (&["recover-quorum", "confirm=true"], Failed("a quorum of the 4 members answers, ")),
];

const BUSY: End = Failed(
    "etcd/2 does maintenance on this cluster now (lock etcd-charm/maintenance); try again when it has finished",
);

const MAINTAINED_ELSEWHERE: Rows = &[
    (&["health"], Well),
    (&["snapshot"], Well),
    (&["defrag"], BUSY),
    (&["maintain"], BUSY),
    (&["compact"], BUSY),
];

const ONE_CUT_OFF: End = Failed("no member may be busy with its database now: etcd1 does not answer: ");

const PEER_CUT_OFF: Rows = &[
    (&["health"], Failed("a member is unhealthy; see the results")),
    (&["snapshot"], Well),
    (&["package-client-credentials"], Well),
    (&["compact"], Well),
    (&["defrag"], ONE_CUT_OFF),
    (&["maintain"], ONE_CUT_OFF),
    (&["recover-quorum", "confirm=true"], NOT_LOST),
    (&["debug"], Well),
];

#[test]
fn on_a_unit_where_nothing_could_be_installed() {
    let no_store = tempfile::tempdir().unwrap();
    let model = Model::with_store(PRESENT, no_store.path().to_owned());
    model.deploy_etcd(1);
    model.wait(&["etcd", "--status", "blocked", "--idle"]);
    let before = files(&model);
    every_action(NOTHING_INSTALLED);
    all_end(&model, "etcd/0", NOTHING_INSTALLED);
    assert_eq!(files(&model), before);
    model.assert_no_hook_failed();
}

#[test]
fn on_a_cluster_with_troubles() {
    let model = Model::with_cluster(PRESENT, 3);
    let before = files(&model);
    model.run(&["lab", "fill-disk", "etcd/0"]);
    every_action(DISK_FULL);
    all_end(&model, "etcd/0", DISK_FULL);
    model.run(&["lab", "free-disk", "etcd/0"]);
    assert_eq!(files(&model), before);

    model.shell("etcd/0", "systemctl stop snap.etcd.etcd");
    every_action(STOPPED);
    all_end(&model, "etcd/0", STOPPED);
    assert_eq!(files(&model), before);
    model.run(&["lab", "update-status", "etcd/0"]);
    model.settle(3);

    // etcd wants its members to have been in touch for some seconds.
    let add = "for n in $(seq 30); do \
                 etcdctl member add late --learner --peer-urls=https://10.255.0.1:2380 -w json 2>/dev/null && exit; \
                 sleep 1; \
               done; exit 1";
    let added = model.shell("etcd/0", &format!(". /etc/profile.d/etcd.sh; {add}"));
    all_end(&model, "etcd/0", SOMEBODY_JOINS);
    let added: Value = serde_json::from_str(&added).unwrap();
    let id = added["member"]["ID"].as_u64().unwrap();
    model.etcdctl("etcd/0", &format!("member remove {id:x}"));

    let granted = model.etcdctl("etcd/0", "lease grant 600");
    let lease = granted.split_whitespace().nth(1).unwrap();
    model.etcdctl("etcd/0", &format!("put etcd-charm/maintenance etcd/2 --lease={lease}"));
    all_end(&model, "etcd/1", MAINTAINED_ELSEWHERE);
    model.etcdctl("etcd/0", &format!("lease revoke {lease}"));

    at_once(&model);
    model.run(&["lab", "cut", "etcd/1"]);
    all_end(&model, "etcd/0", PEER_CUT_OFF);
    model.run(&["lab", "heal", "etcd/1"]);
    model.settle(3);
    for unit in ["etcd/0", "etcd/1"] {
        let open = "find /home/ubuntu /var/snap/etcd/common /var/lib/etcd-charm -type f -perm /077 ! -path \"*/kept/*\" ! -name \"*.crt\"";
        assert_eq!(model.shell(unit, open), "", "others can read these");
    }
    model.assert_no_hook_failed();
}

/// One that is not asked about is one that nobody knows the answer of.
fn every_action(rows: Rows) {
    let declared: Value = yaml::from_str(include_str!("../../actions.yaml")).unwrap();
    let declared: BTreeSet<&str> = declared.as_object().unwrap().keys().map(String::as_str).collect();
    let asked: BTreeSet<&str> = rows.iter().map(|(words, _)| words[0]).collect();
    assert_eq!(asked, declared);
}

fn all_end(model: &Model, unit: &str, rows: Rows) {
    for (words, end) in rows {
        let begun = Instant::now();
        let (results, failure) = model.action(unit, words);
        let took = begun.elapsed();
        assert!(took < BOUND, "{words:?} took {took:?}");
        match (end, failure) {
            (Well, failure) => assert_eq!(failure, None, "{words:?}: {results}"),
            (Failed(_), None) => panic!("{words:?} succeeded: {results}"),
            (Failed(beginning), Some(message)) => {
                assert!(message.starts_with(beginning), "{words:?}: {message}");
                let told = message.contains("; ") || message.contains(": juju ");
                assert!(
                    told && !message.contains('\n'),
                    "{words:?}: no cause and remedy in one line: {message}"
                );
            }
        }
    }
}

/// What there is for an operator to find, but for bundles that were asked for.
fn files(model: &Model) -> String {
    model.shell(
        "etcd/0",
        "find /home/ubuntu /var/backups /opt /var/snap/etcd/common /var/snap/etcd/current/ /var/lib/etcd-charm -maxdepth 2 2>/dev/null | \
         grep -v '/etcd-debug-\\|^/home/ubuntu$\\|^/home/ubuntu/snap' | sort",
    )
}

/// Both wait for the same cluster, and neither for the other.
fn at_once(model: &Model) {
    let units = ["etcd/0", "etcd/1", "etcd/2"];
    let running = units.map(|unit| model.start(&["run", unit, "snapshot", "--format", "json"]));
    for (unit, run) in units.into_iter().zip(running) {
        let output = run.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer[unit]["status"], "completed", "{answer}");
    }
}
