//! Snapshots and maintenance, as an operator runs them.

use std::process::Child;

use serde_json::Value;

use crate::on_both_etcds;
use crate::sim::{ETCDCTL, Kind, Model, Writer};

on_both_etcds!(
    a_snapshot_holds_the_data_and_is_private,
    a_full_database_is_cured_by_maintain,
    defragmenting_does_not_stop_clients,
    what_cannot_be_done_is_told,
    a_support_bundle_has_no_secrets,
    a_full_database_takes_a_larger_quota,
);

/// What a client may notice of a member that is busy.
const GAP_MS: u64 = 2000;

/// Shell: `put KEY` writes `/tmp/value`, and fails only because the database is full. A busy machine may be slow to write or
/// to elect somebody who does.
const PUT: &str = ". /etc/profile.d/etcd.sh; \
                   put() { tries=0; \
                     until told=$(etcdctl put $1 < /tmp/value 2>&1); do \
                       case $told in *'database space exceeded'*) return 1;; esac; \
                       tries=$((tries+1)); [ $tries -lt 30 ] || { echo \"$told\" >&2; exit 1; }; sleep 1; \
                     done; }";

fn succeeded(model: &Model, unit: &str, words: &[&str]) -> Value {
    let (results, failure) = model.action(unit, words);
    assert_eq!(failure, None, "{words:?}: {results}");
    results
}

fn refused(model: &Model, unit: &str, words: &[&str]) -> String {
    let (results, failure) = model.action(unit, words);
    failure.unwrap_or_else(|| panic!("{words:?} succeeded: {results}"))
}

pub fn a_snapshot_holds_the_data_and_is_private(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    for number in 0..20 {
        model.etcdctl("etcd/0", &format!("put key{number} value{number}"));
    }
    let results = succeeded(&model, "etcd/1", &["snapshot"]);
    let snapshot = &results["snapshot"];
    let path = snapshot["path"].as_str().unwrap();
    assert!(path.starts_with("/home/ubuntu/etcd-snapshots/etcd-snapshot-20"), "{path}");
    assert_eq!(results["copy"]["cmd"], format!("juju scp etcd/1:{path} ."));
    assert!(snapshot["keys"].as_str().unwrap().parse::<u32>().unwrap() >= 20, "{snapshot}");
    let sum = model.shell("etcd/1", &format!("sha256sum {path}"));
    assert!(sum.starts_with(snapshot["sha256"].as_str().unwrap()), "{sum}");
    let open = model.shell("etcd/1", "find /home/ubuntu/etcd-snapshots -perm /077");
    assert_eq!(open, "", "others can read these");

    // etcdctl reads no files from 3.6 on; etcdutl came with 3.5.
    let tool = if kind.has_v2() { "etcdctl" } else { "etcdutl" };
    let status = model.shell(
        "etcd/1",
        &format!(
            "cd $(mktemp -d) && tar xzf {path} && /snap/etcd/current/bin/{tool} snapshot status db --write-out=json 2>/dev/null"
        ),
    );
    let status: Value = serde_json::from_str(&status).unwrap();
    let revision: i64 = snapshot["revision"].as_str().unwrap().parse().unwrap();
    assert!(status["revision"].as_i64().unwrap() >= revision, "{status} {snapshot}");
    assert!(status["totalKey"].as_u64().unwrap() >= 20, "{status}");

    let elsewhere = succeeded(&model, "etcd/2", &["snapshot", "target=/var/backups/deep/etcd"]);
    let mode = model.shell("etcd/2", "stat -c %a /var/backups/deep/etcd");
    assert_eq!((mode.trim(), elsewhere["snapshot"]["path"].as_str().is_some()), ("700", true));
}

pub fn a_full_database_is_cured_by_maintain(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.run(&["config", "etcd", "quota_backend_bytes=16777216"]);
    model.settle(3);
    let told = |unit: &str| {
        model.run(&["lab", "update-status", unit]);
        model.shown(unit)
    };
    let fill = |value: u32, bytes: u32| {
        // A member that is too busy to tell its size is asked again before anything more is written.
        let put = "size() { patiently etcdctl endpoint status -w json | grep -o 'dbSize\":[0-9]*' | cut -d: -f2; }; \
                   head -c $value /dev/zero | tr '\\0' x > /tmp/value; \
                   while [ $(size) -lt $enough ] && put key; do :; done";
        model.shell("etcd/0", &format!("{ETCDCTL}\n{PUT}; value={value}; enough={bytes}; {put}"));
    };
    // A stalled disk keeps a write from its answer, not from the log: all 30 tries of one `put` may land, and fit.
    fill(100_000, 13_450_000);
    let filling = told("etcd/0");
    assert!(filling.starts_with("active Healthy with 3 known peers (database at "), "{filling}");
    fill(500_000, 100_000_000);
    let listed = succeeded(&model, "etcd/1", &["alarm-list"]);
    assert!(listed["output"].as_str().unwrap().contains("alarm:NOSPACE"), "{listed}");
    for unit in ["etcd/1", "etcd/2"] {
        let full = told(unit);
        assert!(full.starts_with("blocked NOSPACE alarm: the database is full "), "{unit}: {full}");
    }

    let results = succeeded(&model, "etcd/1", &["maintain"]);
    assert!(results["disarmed"].as_str().unwrap().contains("NOSPACE on member "), "{results}");
    for name in ["etcd0", "etcd1", "etcd2"] {
        let size = |key: &str| results["members"][name][key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(size("after-bytes") < size("before-bytes") / 2, "{results}");
    }
    assert_eq!(model.shown("etcd/1"), "active Healthy with 3 known peers");
    assert_eq!(succeeded(&model, "etcd/2", &["alarm-list"])["alarms"], "none");
    model.etcdctl("etcd/2", "put key small");
    assert_eq!(succeeded(&model, "etcd/0", &["maintain"])["disarmed"], "none");
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    model.assert_no_hook_failed();
}

/// Keys that nobody wants to lose fill it, so that compacting is no cure; and a full database grants no lock to restart
/// under.
fn a_full_database_takes_a_larger_quota(kind: Kind) {
    let model = Model::with_cluster(kind, 2);
    model.run(&["config", "etcd", "quota_backend_bytes=16777216"]);
    model.settle(2);
    let fill = "head -c 900000 /dev/zero | tr '\\0' x > /tmp/value; n=0; \
                while [ $n -lt 40 ] && put key$n; do n=$((n+1)); done; echo $n";
    let acknowledged: u32 = model.shell("etcd/0", &format!("{PUT}; {fill}")).trim().parse().unwrap();
    assert!(acknowledged < 40, "it took {acknowledged} of them");
    let alarms = || succeeded(&model, "etcd/1", &["alarm-list"])["alarms"].to_string();
    assert!(alarms().contains("NOSPACE"));
    // A write that got no answer in time may be there as well.
    let held = || {
        model.etcdctl("etcd/0", "get key --prefix --keys-only | grep -c key").trim().parse::<u32>().unwrap()
    };
    let full = held();
    assert!(full >= acknowledged, "{full} of {acknowledged}");

    model.run(&["config", "etcd", "quota_backend_bytes=67108864"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "NOSPACE alarm: ", "--idle"]);
    for unit in ["etcd/0", "etcd/1"] {
        let left = model.shell(
            unit,
            "grep quota /var/snap/etcd/common/etcd.conf.yml; ls /var/lib/etcd-charm/restart-due 2>/dev/null || true",
        );
        assert_eq!(left.trim(), "quota-backend-bytes: 67108864", "{unit}");
    }
    succeeded(&model, "etcd/1", &["alarm-disarm"]);
    assert_eq!(model.shown("etcd/1"), "active Healthy with 2 known peers");
    assert_eq!(alarms(), "\"none\"");
    model.etcdctl("etcd/1", "put more yes");
    assert_eq!(held(), full);
    let size = model.etcdctl("etcd/1", "get key0 --print-value-only | tr -d '\\n' | wc -c");
    assert_eq!(size.trim(), "900000");
    at_once_is_one_after_the_other(&model);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(2);
    model.assert_no_hook_failed();
}

/// Juju lets a unit do one thing at a time.
fn at_once_is_one_after_the_other(model: &Model) {
    let order = ["run", "--wait=5m", "etcd/0", "snapshot", "--format", "json"];
    let path = |run: Child| {
        let output = run.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["etcd/0"]["results"]["snapshot"]["path"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    };
    let [first, second] = [model.start(&order), model.start(&order)].map(path);
    assert_ne!(first, second);
    model.shell("etcd/0", &format!("tar tzf {first} >/dev/null && tar tzf {second} >/dev/null"));
}

pub fn defragmenting_does_not_stop_clients(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let leader = model.raft_leader(&model.units("etcd"));
    let compacted = succeeded(&model, "etcd/0", &["compact", "physical=true"]);
    assert_eq!(compacted["already-compacted"], "false");
    let results = succeeded(&model, &leader, &["defrag"]);
    assert_eq!(results["members"].as_object().unwrap().len(), 3, "{results}");
    assert_ne!(model.raft_leader(&model.units("etcd")), leader, "leadership was handed over");
    succeeded(&model, &leader, &["maintain"]);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

fn what_cannot_be_done_is_told(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    let message = refused(&model, "etcd/0", &["snapshot", "target=backups"]);
    assert!(message.starts_with("target: backups is not an absolute path"), "{message}");
    let message = refused(&model, "etcd/0", &["snapshot", "target=/etc/hostname"]);
    assert!(message.starts_with("target: /etc/hostname is not a directory"), "{message}");
    let message = refused(&model, "etcd/0", &["snapshot", "target=/proc/snapshots"]);
    assert!(message.contains("name one that this unit can write"), "{message}");
    let message = refused(&model, "etcd/0", &["compact", "revision=999999"]);
    assert!(message.starts_with("revision: 999999 has not been reached"), "{message}");

    model.run(&["lab", "kill-machine", "etcd/2"]);
    let message = refused(&model, "etcd/0", &["maintain"]);
    assert!(message.contains("etcd2 does not answer"), "{message}");
    assert_eq!(succeeded(&model, "etcd/0", &["alarm-list"])["count"], "0");
    model.run(&["lab", "kill-machine", "etcd/1"]);
    let message = refused(&model, "etcd/0", &["defrag"]);
    assert!(message.starts_with("the cluster has no quorum: "), "{message}");
    let results = succeeded(&model, "etcd/0", &["snapshot"]);
    let warning = results["snapshot"]["warning"].as_str().unwrap_or_default();
    assert!(warning.starts_with("the cluster has no quorum"), "{results}");
}

fn a_support_bundle_has_no_secrets(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    let results = succeeded(&model, "etcd/0", &["debug"]);
    let path = results["path"].as_str().unwrap();
    let unpack = format!("d=$(mktemp -d) && tar xzf {path} -C $d && cat $d/*");
    let text = model.shell("etcd/0", &unpack);
    for word in [
        "unit: etcd/0",
        "members, confirmed by a quorum",
        "addresses: ",
        "member/snap/db",
        "\"level\":\"info\"",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("PRIVATE KEY"));
    let secrets = "cd /var/snap/etcd/common && sed -n 's/^initial-cluster-token: *//p' etcd.conf.yml | tr -d \"'\\\"\"; \
                   sed -n 2,4p server.key; sed -n 2,4p client.key";
    let secrets = model.shell("etcd/0", secrets);
    assert!(secrets.lines().count() >= 5, "{secrets}");
    for secret in secrets.lines().filter(|secret| !secret.is_empty()) {
        assert!(!text.contains(secret), "{secret} is in the bundle");
    }
    let mode = model.shell("etcd/0", &format!("stat -c %a {path}"));
    assert_eq!(mode.trim(), "600");
}
