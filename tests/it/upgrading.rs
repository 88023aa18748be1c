//! Another `channel` for a running cluster.

use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::OLD;
use crate::sim::{Kind, Model, Writer, given};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

/// A server that ends at once.
pub const ENDS: &str = "#!/bin/sh\necho fatal: broken on purpose >&2\nexit 1\n";

/// One that takes part in its cluster for a while and writes what the others send, but serves no client.
const SERVES_NOBODY: &str = r##"#!/bin/sh
sed 's#^listen-client-urls: .*#listen-client-urls: https://127.0.0.1:9#' "$2" >"$SNAP_COMMON/nobody.yml"
timeout -s KILL 2 "$0.real" --config-file "$SNAP_COMMON/nobody.yml"
echo fatal: serves nobody on purpose >&2
exit 1
"##;

/// A store of one's own: 3.4 as it is, a 3.5 with this server, another build of the good 3.5 in 3.5/edge, and one that calls
/// itself 3.7.0 in latest/edge.
pub fn store_with_a_broken_version(store: &Path, server: &str) {
    let script = "cp -r $1/etcd $2/ && cd $2/etcd && \
                  unsquashfs -q -n -d tree 3.5/stable.snap >/dev/null && program=$(find tree -type f -name etcd | head -n 1) && \
                  pack() { mksquashfs tree $1.snap -quiet -no-progress >/dev/null && echo $2 > $1.revision; } && \
                  echo another > tree/build && pack 3.5/edge 9997 && \
                  sed -i 's/^version:.*/version: 3.7.0/' tree/meta/snap.yaml && pack latest/edge 9998 && \
                  sed -i 's/^version:.*/version: 3.5.99/' tree/meta/snap.yaml && rm 3.5/stable.* && \
                  mv $program $program.real && printf %s \"$3\" > $program && chmod 755 $program && \
                  pack 3.5/stable 9999 && rm -r tree";
    let snaps = given("JUJU_SIM_SNAPS").display().to_string();
    let arguments = ["-ec", script, "sh", &snaps, &store.display().to_string(), server];
    let made = Command::new("sh").args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The store's maker has mended it.
fn mend(store: &Path) {
    for name in ["stable.snap", "stable.revision"] {
        let good = given("JUJU_SIM_SNAPS").join("etcd/3.5").join(name);
        std::fs::copy(good, store.join("etcd/3.5").join(name)).unwrap();
    }
}

/// Three units from this store, and a client of theirs.
pub fn with_a_consumer(kind: Kind, store: &Path) -> Model {
    let model = Model::with_store(kind, store.to_owned());
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    model
}

pub fn version(model: &Model, unit: &str) -> String {
    let url = model.etcdctl(unit, "endpoint status --write-out=json");
    let status: Value = serde_json::from_str(&url).unwrap();
    status[0]["Status"]["version"].as_str().unwrap().to_owned()
}

#[test]
fn a_cluster_moves_up_under_load_after_a_version_that_does_not_start() {
    let store = tempfile::Builder::new().prefix("store-").tempdir_in("/var/tmp").unwrap();
    store_with_a_broken_version(store.path(), ENDS);
    let model = with_a_consumer(OLD, store.path());
    let writer = Writer::start(&model, "consumer/0");

    model.run(&["config", "etcd", "channel=3.5/stable"]);
    model.wait(&["etcd/0", "--status", "blocked", "--idle"]);
    model.wait(&["etcd", "--idle"]);
    let units = model.status()["applications"]["etcd"]["units"].clone();
    let told = |unit: &str| units[unit]["workload-status"]["message"].as_str().unwrap_or_default().to_owned();
    let refused = "channel 3.5/stable: the new etcd did not serve and was taken back: etcd does not start";
    assert!(told("etcd/0").starts_with(refused), "{units}");
    for unit in ["etcd/1", "etcd/2"] {
        assert_eq!(told(unit), "channel 3.5/stable: waiting until etcd/0 has moved to 3.5");
        assert_eq!(model.shell(unit, "ls /var/lib/etcd-charm/before-upgrade 2>/dev/null || true"), "");
    }
    let pid = || model.shell("etcd/0", "pidof etcd");
    let before = pid();
    model.run(&["lab", "update-status", "etcd"]);
    model.wait(&["etcd", "--idle"]);
    assert_eq!(pid(), before, "a channel that was tried in vain is not tried again by itself");

    model.run(&["config", "etcd", "channel=3.4/stable"]);
    model.settle(3);
    assert_eq!(pid(), before);
    mend(store.path());
    model.run(&["config", "etcd", "channel=3.5/stable"]);
    model.settle(3);
    for unit in model.units("etcd") {
        assert!(version(&model, &unit).starts_with("3.5."), "{unit}");
    }
    let saved = model.shell("etcd/0", "ls /var/lib/etcd-charm/before-upgrade");
    assert_eq!(saved.lines().count(), 2, "one before each try: {saved}");

    follows_within_its_minor(&model);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

/// What it has written is what the old one goes on with: the cluster has not agreed on the new version.
#[test]
fn a_version_that_wrote_and_does_not_serve_is_taken_back() {
    let store = tempfile::Builder::new().prefix("store-").tempdir_in("/var/tmp").unwrap();
    store_with_a_broken_version(store.path(), SERVES_NOBODY);
    let model = with_a_consumer(OLD, store.path());
    let writer = Writer::start(&model, "consumer/0");
    let members = || model.etcdctl("etcd/1", "member list");
    let before = members();

    model.run(&["config", "etcd", "channel=3.5/stable"]);
    let refused = "channel 3.5/stable: the new etcd did not serve and was taken back: etcd does not start: fatal: serves nobody";
    model.wait(&["etcd/0", "--status", "blocked", "--message", refused, "--idle"]);
    model.wait(&["etcd", "--idle"]);
    assert!(version(&model, "etcd/0").starts_with("3.4."));
    assert_eq!(members(), before);
    // What the old one had before is aside: it goes on with what the new one has written.
    let (results, _) = model.action("etcd/0", &["health"]);
    assert!(results["old-data"]["copies"].to_string().contains("member.reverted-"), "{results}");

    model.run(&["config", "etcd", "channel=3.4/stable"]);
    model.settle(3);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

/// Of a cluster on 3.5/stable, whose revision is also that of latest/stable.
fn follows_within_its_minor(model: &Model) {
    let units = model.units("etcd");
    let on_all = |line: &str| -> Vec<String> { units.iter().map(|unit| model.shell(unit, line)).collect() };
    // One before 2.58 cannot hold a snap; the charm notes its answer.
    let holds = !model.shell("etcd/0", "cat /var/lib/etcd-charm/snapd-options").contains("hold=unsupported");
    let follow = |channel: &str| {
        model.run(&["config", "etcd", &format!("channel={channel}")]);
        model.settle(3);
        for line in on_all("snap list etcd") {
            assert!(line.contains(channel) && line.contains("held") == holds, "{channel}: {line}");
        }
    };
    let servers = || on_all("pidof etcd");
    let before = servers();
    follow("latest/stable");
    assert_eq!(servers(), before, "what is installed is what the channel has");
    model.run(&["config", "etcd", "channel=latest/edge"]);
    let told = "channel latest/edge (etcd 3.7.0) skips 3.6: set channel=3.6/stable first";
    model.wait(&["etcd", "--status", "blocked", "--message", told, "--idle"]);
    follow("3.5/edge");
    for (now, before) in servers().iter().zip(before) {
        assert_ne!(*now, before, "another build is there");
    }
    assert!(on_all("cat /snap/etcd/current/build").iter().all(|build| build.trim() == "another"));
}

/// Kills the unit's hook at a moment that is watched for on the unit itself; snapd would go on, and so does its stand-in.
fn killed_when(model: &Model, unit: &str, moment: &str) -> Child {
    let watch = format!("timeout 200 sh -c 'until {moment}; do :; done; pkill -9 -x dispatch'");
    model.start(&["ssh", unit, &watch])
}

#[test]
fn a_cluster_moves_up_though_hooks_are_killed_in_the_midst_of_it() {
    let model = Model::with_quick_retries(OLD);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let old = model.shell("etcd/0", "readlink /snap/etcd/current").trim().to_owned();
    // Data is being copied while nothing runs; the new revision is in place and may or may not run.
    let copying = format!("ls -d /var/snap/etcd/[0-9]* | grep -qv /{old}$");
    let placed = format!("test $(readlink /snap/etcd/current) != {old}");
    let killed = [killed_when(&model, "etcd/0", &copying), killed_when(&model, "etcd/1", &placed)];
    model.run(&["config", "etcd", "channel=3.5/stable"]);
    for mut killed in killed {
        assert!(killed.wait().unwrap().success(), "this moment never came");
    }
    model.settle(3);
    for unit in model.units("etcd") {
        assert!(version(&model, &unit).starts_with("3.5."), "{unit}");
        let left = model.shell(&unit, "cd /var/lib/etcd-charm; ls upgrade* 2>/dev/null || true");
        assert_eq!(left, "", "{unit}");
    }
    let log = model.run(&["debug-log", "--replay"]);
    let broken_off = "Finishing the move to 3.5/stable, which was broken off";
    let finished = log.lines().filter(|line| line.ends_with(broken_off)).count();
    assert_eq!(finished, 2);
    writer.stop(GAP_MS);
}
