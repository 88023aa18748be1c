//! Snapshots come back: in a new application, over a running cluster, and whatever kills the restore.

use crate::sim::{Kind, Model, given};
use crate::{PRESENT, on_both_etcds};

on_both_etcds!(
    a_snapshot_becomes_a_new_cluster,
    a_restore_takes_the_whole_cluster_along,
    a_backup_of_v2_keys_comes_back
);

const UNPACKED: &str = "test -e /var/snap/etcd/current/restore.new/snapshot.db";
/// The two phases of the journal.
const SWAPPING: &str = "grep -q swapping /var/lib/etcd-charm/restore.json 2>/dev/null";
const RESTORED: &str = "grep -q restored /var/lib/etcd-charm/restore.json 2>/dev/null";

/// Puts or compares many keys through the JSON gateway of this unit's own server, a hundred a request.
const KEYS: &str = r#"
import base64, http.client, json, ssl, sys
do, count, mark = sys.argv[1], int(sys.argv[2]), sys.argv[3]
common = "/var/snap/etcd/common/"
context = ssl.create_default_context(cafile=common + "ca.crt")
context.load_cert_chain(common + "client.crt", common + "client.key")
connection = http.client.HTTPSConnection("127.0.0.1", 2379, timeout=20, context=context)
def text(what): return base64.b64encode(what.encode()).decode()
def ask(call, document):
    connection.request("POST", "/v3/kv/" + call, json.dumps(document))
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200: sys.exit(f"{answer.status} {body[:300]}")
    return json.loads(body)
for start in range(0, count, 100):
    names = [f"key/{n:08d}" for n in range(start, min(start + 100, count))]
    if do == "put":
        puts = [{"request_put": {"key": text(k), "value": text(mark + k)}} for k in names]
        ask("txn", {"success": puts})
    else:
        found = ask("range", {"key": text(names[0]), "range_end": text(names[-1] + "x")}).get("kvs", [])
        held = {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode() for kv in found}
        if held != {k: mark + k for k in names}: sys.exit(f"{names[0]}: {held}"[:300])
print("done")
"#;

pub fn keys(model: &Model, unit: &str, what: &str, count: usize, mark: &str) -> bool {
    let script = format!("python3 - {what} {count} {mark} <<'END'\n{KEYS}\nEND");
    let output = model.attempt(&["ssh", unit, &script]);
    String::from_utf8_lossy(&output.stdout).trim() == "done"
}

/// Takes a snapshot and fetches it from the unit; where it is on the host.
pub fn fetched_snapshot(model: &Model, unit: &str, home: &tempfile::TempDir, keys: &str) -> String {
    let (results, failure) = model.action(unit, &["snapshot", &format!("keys-version={keys}")]);
    assert_eq!(failure, None, "{results}");
    let path = home.path().join("snapshot.tar.gz").display().to_string();
    model.run(&["scp", &format!("{unit}:{}", results["snapshot"]["path"].as_str().unwrap()), &path]);
    path
}

fn refused(model: &Model, unit: &str) -> String {
    let (results, failure) = model.action(unit, &["restore"]);
    failure.unwrap_or_else(|| panic!("it was restored: {results}"))
}

pub fn a_snapshot_becomes_a_new_cluster(kind: Kind) {
    let count = if kind.channel.starts_with("3.5") { 100_000 } else { 5_000 };
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(kind, 1);
    assert!(keys(&model, "etcd/0", "put", count, "v"));
    let snapshot = fetched_snapshot(&model, "etcd/0", &home, "v3");

    let charm = given("ETCD_CHARM").display().to_string();
    let channel = format!("channel={}", kind.channel);
    model.run(&["deploy", &charm, "fresh", "--config", &channel]);
    model.run(&["integrate", "fresh", "easyrsa"]);
    model.wait(&["fresh", "--status", "active", "--idle"]);
    assert_eq!(
        refused(&model, "fresh/0"),
        "no snapshot is attached, or an empty one: juju attach-resource etcd snapshot=FILE.gz, then run restore again"
    );
    model.run(&["attach-resource", "fresh", &format!("snapshot={snapshot}")]);
    model.wait(&["--idle"]);
    a_full_disk_is_told_first(&model, "fresh/0");
    whatever_ends_it_old_or_new_data_is_whole(&model, count);
    let (results, failure) = model.action("fresh/0", &["restore"]);
    assert_eq!(failure, None, "{results}");
    assert_eq!(results["restore"]["hash-checked"], "true");
    let bumps = if kind.channel.starts_with("3.4") { "false" } else { "true" };
    assert_eq!(results["restore"]["revision-bumped"], bumps, "{results}");
    assert!(keys(&model, "fresh/0", "compare", count, "v"), "keys are missing or different");
    model.run(&["add-unit", "fresh", "-n", "2"]);
    model.wait(&["fresh", "--units", "3", "--message", "Healthy with 3 known peers", "--idle"]);
    assert!(keys(&model, "fresh/2", "compare", count, "v"), "keys are missing or different");
    assert!(keys(&model, "etcd/0", "compare", count, "v"), "the old application was touched");
    model.assert_no_hook_failed();
}

fn a_full_disk_is_told_first(model: &Model, unit: &str) {
    let fill = "cd /var/snap/etcd/current && free=$(df --output=avail -k . | tail -1) && \
                fallocate -l $((free - 60000))K filler";
    model.shell(unit, fill);
    let told = refused(model, unit);
    assert!(told.contains("MiB that this unit has room for; free disk space"), "{told}");
    let left = model.shell(
        unit,
        "cd /var/snap/etcd/current; rm filler; ls; cat /var/lib/etcd-charm/restore.json || true",
    );
    assert_eq!(left.trim(), "member", "something was left behind");
}

/// A restore that runs out of disk in its middle or is killed there, and then runs again.
fn whatever_ends_it_old_or_new_data_is_whole(model: &Model, count: usize) {
    let whole =
        || keys(model, "fresh/0", "compare", 500, "old-") || keys(model, "fresh/0", "compare", count, "v");
    assert!(keys(model, "fresh/0", "put", 500, "old-"));
    if count > 50_000 {
        the_disk_fills_in_the_middle(model);
    }
    let built = "test -e /var/snap/etcd/current/restore.new/data/member/wal";
    let exchanged = "ls /var/snap/etcd/current | grep -q before-restore";
    for moment in [UNPACKED, built, SWAPPING, exchanged, RESTORED] {
        killed_when(model, "fresh/0", moment);
        model.run(&["lab", "update-status", "fresh"]);
        model.wait(&["fresh", "--status", "active", "--idle"]);
        assert!(whole(), "neither the old nor the new data is whole after: {moment}");
        assert!(keys(model, "fresh/0", "put", 500, "old-"));
    }
}

/// The database is unpacked, and its new data directory does not fit any more. On a busy machine the restore may be past that
/// before the disk is full.
fn the_disk_fills_in_the_middle(model: &Model) {
    let told = (0..5).find_map(|_| restored_while_the_disk_fills(model));
    let told = told.expect("the disk was never full in time");
    assert!(told.contains("no space left on device"), "{told}");
    assert!(keys(model, "fresh/0", "compare", 500, "old-"));
}

/// Why it failed, if it did.
fn restored_while_the_disk_fills(model: &Model) -> Option<String> {
    let common = "/var/snap/etcd/common";
    let nearly_full = "cd /var/snap/etcd/common && \
                       fallocate -l $(($(df --output=avail -k . | tail -1) - 240000))K filler";
    assert!(keys(model, "fresh/0", "put", 500, "old-"));
    model.shell("fresh/0", nearly_full);
    let fill = format!(
        "timeout 60 sh -c 'until {UNPACKED}; do :; done' && fallocate -l 200000K {common}/more || true"
    );
    let mut fill = model.start(&["ssh", "fresh/0", &fill]);
    let (_, failure) = model.action("fresh/0", &["restore"]);
    fill.wait().unwrap();
    let tidy = format!("rm -f {common}/filler {common}/more; ls /var/snap/etcd/current {common}");
    let left = model.shell("fresh/0", &tidy);
    match &failure {
        Some(_) => {
            assert!(
                !left.contains("restore") && !left.contains("before"),
                "something was left behind: {left}"
            );
        }
        None => {
            model.shell("fresh/0", "rm -r /var/snap/etcd/current/member.before-restore-*");
        }
    }
    failure
}

/// The leader is not the unit that started the cluster, and the restore is killed on its way.
fn a_restore_takes_the_whole_cluster_along(kind: Kind) {
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(kind, 3);
    let followers_first = refused(&model, "etcd/1");
    assert!(followers_first.starts_with("this unit is not the leader"), "{followers_first}");
    model.run(&["lab", "leader", "etcd/1"]);
    model.settle(3);
    assert!(keys(&model, "etcd/0", "put", 500, "old-"));
    let snapshot = fetched_snapshot(&model, "etcd/1", &home, "v3");
    model.run(&["attach-resource", "etcd", &format!("snapshot={snapshot}")]);
    model.settle(3);

    for moment in [SWAPPING, RESTORED] {
        assert!(keys(&model, "etcd/1", "put", 500, "new-"));
        killed_when(&model, "etcd/1", moment);
        model.run(&["lab", "update-status", "etcd"]);
        model.settle(3);
        let holds =
            |mark| ["etcd/0", "etcd/1", "etcd/2"].iter().all(|unit| keys(&model, unit, "compare", 500, mark));
        assert!(holds("old-") || holds("new-"), "neither the old nor the new data is whole after: {moment}");
    }

    told_by_the_databag_alone(&model);
    assert!(keys(&model, "etcd/1", "put", 500, "new-"));
    let (results, failure) = model.action("etcd/1", &["restore", "skip-backup=false"]);
    assert_eq!(failure, None, "{results}");
    assert!(
        results["restore"]["backup"].as_str().unwrap().starts_with("/home/ubuntu/etcd-snapshot-"),
        "{results}"
    );
    model.settle(3);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        assert!(keys(&model, unit, "compare", 500, "old-"), "{unit}");
    }
    let kept = model.shell("etcd/1", "ls -d /var/lib/etcd-charm/kept/member.before-restore-*/wal");
    assert!(!kept.is_empty());
    model.assert_no_hook_failed();
}

/// All were told, and the leadership moves while the restored server is silent: nothing is taken back.
fn told_by_the_databag_alone(model: &Model) {
    let (results, failure) = model.action("etcd/1", &["restore"]);
    assert_eq!(failure, None, "{results}");
    model.run(&["lab", "leader", "etcd/0"]);
    model.shell("etcd/1", "kill -KILL $(systemctl show -p MainPID --value snap.etcd.etcd)");
    model.run(&["lab", "update-status", "etcd/1"]);
    model.run(&["lab", "leader", "etcd/1"]);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        assert!(keys(model, unit, "compare", 500, "old-"), "{unit}");
    }
}

/// Watched on the unit itself: the moments are short.
fn killed_when(model: &Model, unit: &str, moment: &str) {
    let watch = format!("timeout 60 sh -c 'until {moment}; do :; done; pkill -9 -x dispatch || true'");
    let mut watch = model.start(&["ssh", unit, &watch]);
    let mut action = model.start(&["run", unit, "restore"]);
    assert!(watch.wait().unwrap().success(), "this moment never came: {moment}");
    action.wait().unwrap();
}

/// Asks a unit for a key in the v2 store; `what`: more of curl's arguments.
pub fn v2_key(model: &Model, unit: &str, what: &str) -> String {
    let common = "/var/snap/etcd/common";
    let command = format!(
        "cd {common} && curl -sS --cacert ca.crt --cert client.crt --key client.key \
         https://127.0.0.1:2379/v2/keys/old {what}"
    );
    model.shell(unit, &command)
}

/// The archive is one of `etcdctl backup`, as the earlier charm's were.
fn a_backup_of_v2_keys_comes_back(kind: Kind) {
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(kind, 1);
    model.run(&["config", "etcd", "enable_v2=true"]);
    model.settle(1);
    let curl = |unit: &str, what: &str| v2_key(&model, unit, what);
    curl("etcd/0", "-X PUT -d value=kept");
    let path = fetched_snapshot(&model, "etcd/0", &home, "v2");

    let charm = given("ETCD_CHARM").display().to_string();
    let channel = format!("channel={}", kind.channel);
    let snapshot = format!("snapshot={path}");
    model.run(&["deploy", &charm, "fresh", "--config", &channel, "--resource", &snapshot]);
    model.run(&["integrate", "fresh", "easyrsa"]);
    model.wait(&["fresh", "--status", "active", "--idle"]);
    let (_, told) = model.action("fresh/0", &["restore"]);
    assert!(told.is_some_and(|told| told.contains("set enable_v2=true, wait until the unit is active")));
    model.run(&["config", "fresh", "enable_v2=true"]);
    model.wait(&["fresh", "--status", "active", "--idle"]);
    let (results, failure) = model.action("fresh/0", &["restore"]);
    assert_eq!(failure, None, "{results}");
    model.run(&["add-unit", "fresh", "-n", "2"]);
    model.wait(&["fresh", "--units", "3", "--message", "Healthy with 3 known peers", "--idle"]);
    for unit in ["fresh/0", "fresh/2"] {
        assert!(curl(unit, "").contains(r#""value":"kept""#), "{unit}");
    }

    curl("etcd/0", "-X DELETE");
    model.run(&["attach-resource", "etcd", &snapshot]);
    model.settle(1);
    let (results, failure) = model.action("etcd/0", &["restore"]);
    if kind.channel.starts_with("3.4") {
        assert_eq!(failure, None, "{results}");
        assert!(curl("etcd/0", "").contains(r#""value":"kept""#));
    } else {
        assert!(failure.is_some_and(|told| told.contains("is one of this very cluster")), "{results}");
    }
    model.assert_no_hook_failed();
}

/// The only unit with data loses its disk: what is left is a snapshot.
#[test]
fn a_cluster_whose_data_is_all_gone_begins_from_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let model = Model::with_cluster(PRESENT, 1);
    assert!(keys(&model, "etcd/0", "put", 500, "v"));
    let snapshot = fetched_snapshot(&model, "etcd/0", &home, "v3");
    model.shell("etcd/0", "systemctl stop snap.etcd.etcd && rm -r /var/snap/etcd/current/member");
    model.run(&["lab", "update-status", "etcd/0"]);
    let told = model.shown("etcd/0");
    assert!(told.contains("blocked All data of the cluster is lost, no unit has any"), "{told}");
    model.run(&["add-unit", "etcd"]);
    model.run(&["attach-resource", "etcd", &format!("snapshot={snapshot}")]);
    model.wait(&["--idle"]);
    let told = model.shown("etcd/1");
    assert!(told.contains("run the action restore on the leader"), "{told}");
    let (results, failure) = model.action("etcd/0", &["restore"]);
    assert_eq!(failure, None, "{results}");
    model.settle(2);
    for unit in ["etcd/0", "etcd/1"] {
        assert!(keys(&model, unit, "compare", 500, "v"), "{unit}");
    }
    model.assert_no_hook_failed();
}
