//! From Debian's package of etcd, the real one, to the snap.

use crate::on_both_etcds;
use crate::sim::{Kind, Model, given};
use crate::sources::{broken_snap, folder};

on_both_etcds!(the_package_becomes_the_snap);

const BLOCKED: &str = "Manual migration required: run the snap-upgrade action";

/// A unit that waits for its operator on a machine with the package's etcd 3.4, and a key in that; no relation.
pub fn with_package(kind: Kind) -> Model {
    let model = Model::with_quick_retries(kind);
    model.deploy_easyrsa();
    // Wrong options keep the charm from installing anything until the package is there.
    model.deploy_etcd_with(1, &["--config", "bin-source=none"]);
    model.wait(&["etcd", "--message", "source-sum: needed with bin-source", "--idle"]);
    let packages = given("ETCD_PACKAGES").join("3.4").display().to_string();
    model.run(&["scp", "-r", &packages, "etcd/0:/srv/"]);
    model.shell("etcd/0", "dpkg -i /srv/3.4/*.deb && ETCDCTL_API=3 etcdctl put kept here");
    model.run(&["config", "etcd", "--reset", "bin-source"]);
    wait_for_the_operator(&model);
    model
}

pub fn wait_for_the_operator(model: &Model) {
    model.wait(&["etcd", "--status", "blocked", "--message", BLOCKED, "--idle"]);
}

/// It joins the package's etcd on the same machine, which no option of that tells.
const A_SECOND_MEMBER: &str = r#"
export ETCDCTL_API=3
set -a; eval "$(etcdctl member add second --peer-urls=http://127.0.0.1:3380 | grep ^ETCD_)"; set +a
setsid etcd --data-dir /srv/second --listen-peer-urls=http://127.0.0.1:3380 --listen-client-urls=http://127.0.0.1:3379 \
    --advertise-client-urls=http://127.0.0.1:3379 >/srv/second.log 2>&1 </dev/null &
timeout 60 sh -c 'until etcdctl put several members >/dev/null 2>&1; do sleep 0.2; done'
"#;

const SAVED_AND_ALONE_AGAIN: &str = r#"
set -e
export ETCDCTL_API=3
etcdctl snapshot save /srv/package.db >/dev/null
etcdctl del several >/dev/null
second=$(etcdctl member list | grep second | cut -d, -f1)
# Until both have known each other for five seconds, etcd removes none. Who is removed ends by itself.
timeout 60 sh -c "until etcdctl member remove $second >/dev/null 2>&1; do sleep 0.5; done"
"#;

/// Untouched until the action; back to what it was when that fails; then its data in a cluster that grows.
fn the_package_becomes_the_snap(kind: Kind) {
    let model = with_package(kind);
    let pid = || model.shell("etcd/0", "systemctl show -p MainPID --value etcd");
    let before = pid();
    let refused = |more: &[&str]| {
        let words: Vec<&str> = ["snap-upgrade"].iter().chain(more).copied().collect();
        let (results, failure) = model.action("etcd/0", &words);
        failure.unwrap_or_else(|| panic!("it succeeded: {results}"))
    };
    model.shell("etcd/0", A_SECOND_MEMBER);
    let failure = refused(&[]);
    assert!(failure.starts_with("this unit has no certificates yet; "), "{failure}");
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.wait(&["easyrsa", "etcd", "--idle"]);
    let failure = refused(&[]);
    assert!(failure.starts_with("the package's etcd is one of 2 members, "), "{failure}");
    model.shell("etcd/0", SAVED_AND_ALONE_AGAIN);
    let failure = refused(&["use-resource=true"]);
    assert!(failure.starts_with("no snap of etcd is attached"), "{failure}");
    assert_eq!(pid(), before, "the package's etcd was touched");

    let folder = folder();
    model.run(&["attach-resource", "etcd", &format!("etcd={}", broken_snap(folder.path()))]);
    let failure = refused(&["use-resource=true", "backup=false"]);
    assert!(
        failure.starts_with("the package's etcd runs again as before: the snap's etcd does not start"),
        "{failure}"
    );
    assert!(model.shell("etcd/0", "ETCDCTL_API=3 etcdctl get kept").contains("here"));

    // An empty file counts as none: units to come are installed from the channel.
    let empty = folder.path().join("empty.snap");
    std::fs::write(&empty, "").unwrap();
    model.run(&["attach-resource", "etcd", &format!("etcd={}", empty.display())]);

    let (results, failure) = model.action("etcd/0", &["snap-upgrade"]);
    assert_eq!(failure, None, "{results}");
    let archive = results["backup"].as_str().unwrap();
    assert!(
        model
            .shell("etcd/0", &format!("stat -c %a:%U {archive}; tar tzPf {archive}"))
            .contains("default/member/snap/db")
    );
    let kept = results["data-kept"].as_str().unwrap();
    assert!(model.shell("etcd/0", &format!("ls {kept}/member/snap")).contains("db"));
    assert_eq!(model.shell("etcd/0", "dpkg-query -W 'etcd*' 2>/dev/null || true"), "");
    model.run(&["lab", "update-status", "etcd"]);
    model.settle(1);
    assert!(model.etcdctl("etcd/0", "get kept").contains("here"));
    // What several members had comes by a snapshot that the package's own tool has saved.
    let snapshot = folder.path().join("package.db").display().to_string();
    model.run(&["scp", "etcd/0:/srv/package.db", &snapshot]);
    model.run(&["attach-resource", "etcd", &format!("snapshot={snapshot}")]);
    model.settle(1);
    let (results, failure) = model.action("etcd/0", &["restore"]);
    assert_eq!(failure, None, "{results}");
    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    assert!(model.etcdctl("etcd/1", "get kept").contains("here"));
    assert!(model.etcdctl("etcd/1", "get several").contains("members"));
    model.assert_no_hook_failed();
}
