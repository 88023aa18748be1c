//! The action `upgrade`: what the store has now in the channel that is followed, for the whole application.

use std::path::Path;

use serde_json::Value;

use crate::PRESENT;
use crate::sim::{Model, Writer, given};
use crate::upgrading::{ENDS, store_with_a_broken_version, version, with_a_consumer};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

/// From now on the store has this in 3.5/stable.
fn publish(store: &Path, channel: &str, revision: u32) {
    let stable = store.join("etcd/3.5/stable");
    std::fs::copy(store.join("etcd").join(format!("{channel}.snap")), stable.with_extension("snap")).unwrap();
    std::fs::write(stable.with_extension("revision"), revision.to_string()).unwrap();
}

fn upgrade(model: &Model, unit: &str, words: &[&str]) -> Value {
    let (results, failure) = model.action(unit, &[&["upgrade"], words].concat());
    assert_eq!(failure, None, "{results}");
    results
}

/// A store whose 3.5/stable is the older patch, with a later one in 3.5/candidate and one that does not serve in 3.5/beta.
fn store() -> tempfile::TempDir {
    let store = tempfile::Builder::new().prefix("store-").tempdir_in("/var/tmp").unwrap();
    store_with_a_broken_version(store.path(), ENDS);
    let tracks = store.path().join("etcd/3.5");
    std::fs::rename(tracks.join("stable.snap"), tracks.join("beta.snap")).unwrap();
    std::fs::write(tracks.join("beta.revision"), "30520").unwrap();
    for name in ["stable.snap", "stable.revision"] {
        std::fs::copy(given("JUJU_SIM_SNAPS").join("etcd/3.5").join(name), tracks.join(name)).unwrap();
    }
    store
}

#[test]
fn a_patch_reaches_all_units_by_one_action_after_one_that_does_not_serve() {
    let store = store();
    let model = with_a_consumer(PRESENT, store.path());
    let writer = Writer::start(&model, "consumer/0");
    let versions =
        || -> Vec<String> { model.units("etcd").iter().map(|unit| version(&model, unit)).collect() };
    let before = versions();
    let nothing = upgrade(&model, "etcd/0", &[]);
    assert!(
        nothing["output"].as_str().unwrap().starts_with("all units have what the store has in 3.5/stable: ")
    );

    // Nobody moves because the store has something.
    publish(store.path(), "3.5/beta", 30520);
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(3);
    let units = model.status()["applications"]["etcd"]["units"].clone();
    let leads = |unit: &&String| units[unit.as_str()]["leader"] == true;
    let all = model.units("etcd");
    let (leader, follower) = (all.iter().find(leads).unwrap(), all.iter().find(|unit| !leads(unit)).unwrap());
    let (_, failure) = model.action(follower, &["upgrade"]);
    assert_eq!(failure.unwrap(), "only the leader can tell all units: juju run etcd/leader upgrade");
    let looked = upgrade(&model, follower, &["check=true"]);
    assert_eq!(looked["moves"], "etcd/0 etcd/1 etcd/2", "{looked}");
    model.settle(3);
    assert_eq!(versions(), before);

    upgrade(&model, leader, &[]);
    let refused = "channel 3.5/stable (revision 30520): the new etcd did not serve and was taken back: etcd does not start";
    model.wait(&["etcd/0", "--status", "blocked", "--message", refused, "--idle"]);
    model.wait(&["etcd", "--idle"]);
    assert_eq!(versions(), before);
    assert!(
        model.shown("etcd/1").contains("waiting until etcd/0 has moved to 3.5.99"),
        "{}",
        model.shown("etcd/1")
    );

    publish(store.path(), "3.5/candidate", 30533);
    let told = upgrade(&model, leader, &[]);
    let offered = told["offered"]["version"].as_str().unwrap();
    assert_eq!(told["moves"], "etcd/0 etcd/1 etcd/2", "{told}");
    model.settle(3);
    assert_eq!(versions(), [offered; 3]);
    writer.stop(GAP_MS);
    model.assert_no_hook_failed();
}

/// Each kind of installation that follows no channel is told what moves it instead.
#[test]
fn what_follows_no_channel_is_told_its_own_way() {
    let model = Model::with_cluster(PRESENT, 1);
    model.run(&["config", "etcd", "channel=3.5/edge/fix"]);
    model.wait(&["etcd", "--idle"]);
    let failure = |words: &[&str]| model.action("etcd/0", words).1.unwrap_or_default();
    assert!(failure(&["upgrade"]).starts_with("3.5/edge/fix is a branch, and the store does not tell"));
    model.run(&["config", "etcd", "--reset", "channel"]);
    model.settle(1);
    assert_eq!(
        failure(&["upgrade"]),
        "channel=auto follows no channel: set channel=3.5/stable, then try again"
    );
}
