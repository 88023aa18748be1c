//! From Debian's package of etcd, the real one, to the snap.

use std::time::Duration;

use crate::sim::{Kind, Model, given, wait_until};
use crate::sources::{broken_snap, folder};
use crate::{OLD, PRESENT, on_both_etcds};

on_both_etcds!(the_package_becomes_the_snap);

const BLOCKED: &str = "Manual migration required: run the snap-upgrade action";

/// Without an index of manual pages, which takes longer than all the rest.
const INSTALL: &str = "rm -f /var/lib/man-db/auto-update; dpkg -i /srv/3.4/*.deb >/dev/null";

/// A unit that waits for its operator on a machine with the package's etcd 3.4, and a key in that; no relation.
pub fn with_package(kind: Kind) -> Model {
    let model = Model::with_quick_retries(kind);
    model.deploy_easyrsa();
    // Wrong options keep the charm from installing anything until the package is there.
    model.deploy_etcd_with(1, &["--config", "bin-source=none"]);
    model.wait(&["etcd", "--message", "source-sum: needed with bin-source", "--idle"]);
    let packages = given("ETCD_PACKAGES").join("3.4").display().to_string();
    model.run(&["scp", "-r", &packages, "etcd/0:/srv/"]);
    model.shell("etcd/0", &format!("{INSTALL} && ETCDCTL_API=3 etcdctl put kept here"));
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
    assert!(
        failure.starts_with("the package's etcd is one of several members and does not move: "),
        "{failure}"
    );
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
    let told = model.shown("etcd/0");
    assert!(told.starts_with("blocked Manual migration required: "), "{told}");
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
    model.settle(1);
    assert!(model.etcdctl("etcd/0", "get kept").contains("here"));
    // What several members had comes by a snapshot that the package's own tool has saved.
    let snapshot = folder.path().join("package.db.gz").display().to_string();
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

/// As an earlier charm left it: the package with the related authority's certificates, in this unit's relation.
const WITH_TLS: &str = r#"
set -e
id=$(relation-ids certificates) tag=etcd_${name#etcd} address=$(network-get cluster --ingress-address)
mkdir -p /etc/etcd-tls && cd /etc/etcd-tls
relation-get -r $id ca easyrsa/0 > ca.crt
relation-get -r $id $tag.server.cert easyrsa/0 > server.crt
relation-get -r $id $tag.server.key easyrsa/0 > server.key
chown -R etcd . && chmod 600 server.key
cat > /etc/default/etcd <<END
ETCD_NAME=$name
ETCD_INITIAL_CLUSTER=$cluster
ETCD_LISTEN_PEER_URLS=https://0.0.0.0:2380
ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://$address:2380
ETCD_ADVERTISE_CLIENT_URLS=https://$address:2379
ETCD_CERT_FILE=$PWD/server.crt
ETCD_KEY_FILE=$PWD/server.key
ETCD_TRUSTED_CA_FILE=$PWD/ca.crt
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=$PWD/server.crt
ETCD_PEER_KEY_FILE=$PWD/server.key
ETCD_PEER_TRUSTED_CA_FILE=$PWD/ca.crt
ETCD_PEER_CLIENT_CERT_AUTH=true
END
systemctl start --no-block etcd
"#;

/// etcdctl with the package's certificates.
fn package_etcdctl(model: &Model, unit: &str, words: &str) -> Option<String> {
    let line = format!(
        "cd /etc/etcd-tls && ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --cacert=ca.crt --cert=server.crt \
         --key=server.key {words}"
    );
    let output = model.attempt(&["ssh", unit, &line]);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Three units with a cluster of the package's etcd 3.4.
fn with_package_cluster() -> Model {
    let model = Model::with_quick_retries(Kind { juju: PRESENT.juju, ..OLD });
    model.deploy_easyrsa();
    model.deploy_etcd_with(3, &["--config", "bin-source=none"]);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.wait(&["etcd", "--units", "3", "--message", "source-sum: needed with bin-source", "--idle"]);
    let packages = given("ETCD_PACKAGES").join("3.4").display().to_string();
    for unit in UNITS {
        model.run(&["scp", "-r", &packages, &format!("{unit}:/srv/")]);
    }
    let install = format!("{INSTALL} && systemctl stop etcd && rm -rf /var/lib/etcd/default");
    for mut installed in UNITS.map(|unit| model.start(&["ssh", unit, &install])) {
        assert!(installed.wait().unwrap().success());
    }
    model.run(&["config", "etcd", "--reset", "bin-source"]);
    wait_for_the_operator(&model);
    // Nothing is asked of an authority while an option is wrong.
    model.wait(&["easyrsa", "etcd", "--idle"]);
    let status = model.status();
    let peer = |unit: &str| {
        let address = status["applications"]["etcd"]["units"][unit]["public-address"].as_str().unwrap();
        format!("{}=https://{address}:2380", unit.replace('/', ""))
    };
    let cluster = UNITS.map(peer).join(",");
    for unit in UNITS {
        let name = unit.replace('/', "");
        model.run(&["exec", "--unit", unit, &format!("name={name} cluster={cluster}\n{WITH_TLS}")]);
    }
    wait_until("the package's cluster", Duration::from_secs(60), || {
        package_etcdctl(&model, "etcd/0", "put kept here").is_some()
    });
    model
}

const UNITS: [&str; 3] = ["etcd/0", "etcd/1", "etcd/2"];

#[test]
fn a_cluster_of_the_package_moves_one_unit_after_the_other() {
    let model = with_package_cluster();
    let before = package_etcdctl(&model, "etcd/0", "member list").unwrap();
    let order = ["snap-upgrade", "backup=false"];
    model.shell("etcd/2", "systemctl stop etcd");
    let (results, failure) = model.action("etcd/0", &order);
    let failure = failure.unwrap_or_else(|| panic!("it succeeded: {results}"));
    assert!(failure.contains("does not move: etcd2 is not healthy: "), "{failure}");
    assert!(failure.contains("or save a snapshot with the package's etcdctl"), "{failure}");
    model.shell("etcd/2", "systemctl start etcd");

    for unit in UNITS {
        if unit == "etcd/1" {
            // Its data has moved already when the action is killed.
            let moved = "timeout 120 sh -c 'until test -e /var/snap/etcd/current/member; do sleep 0.02; done; pkill -9 -x dispatch'";
            let mut moved = model.start(&["ssh", unit, moved]);
            model.action(unit, &order);
            assert!(moved.wait().unwrap().success(), "the data never moved");
        }
        let (results, failure) = model.action(unit, &order);
        assert_eq!(failure, None, "{unit}: {results}");
        assert_eq!(model.shown(unit), "active Healthy with 3 known peers");
        // Whoever leads, nobody takes those for lost that still run the package.
        model.run(&["lab", "update-status", "etcd"]);
        model.wait(&[unit, "--status", "active", "--message", "Healthy with 3 known peers", "--idle"]);
        assert_eq!(model.etcdctl(unit, "get kept --print-value-only").trim(), "here", "{unit}");
        assert_eq!(model.shell(unit, "ls -d /var/lib/etcd/*/member 2>/dev/null || true"), "");
    }
    model.settle(3);
    let members = |listed: &str| {
        let mut ids: Vec<String> =
            listed.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(
        members(&model.etcdctl("etcd/0", "member list")),
        members(&before),
        "all are the same members"
    );
    model.assert_no_hook_failed();
}
