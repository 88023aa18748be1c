//! Every endpoint through everything that happens to a cluster: whoever is related is served again after each of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sim::{Kind, Model, wait_until};
use crate::{COMING, OLD};

/// Who connects to etcd, and how many keys each is told. Both endpoints are used twice, and by one unit at once.
const CLIENTS: [(&str, &str, usize); 4] =
    [("first", "db", 5), ("first", "proxy", 4), ("second", "db", 5), ("plain", "proxy", 4)];

const COMMON: &str = "/var/snap/etcd/common";

#[test]
fn everyone_is_served_whatever_happens_etcd_3_4() {
    everyone_is_served_whatever_happens(OLD);
}

#[test]
fn everyone_is_served_whatever_happens_etcd_3_5_on_juju_4_0() {
    everyone_is_served_whatever_happens(COMING);
}

/// All are related before there is an authority, and so before there is a cluster.
fn everyone_is_served_whatever_happens(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_etcd(1);
    for application in ["first", "second", "plain"] {
        model.deploy_charm("consumer", application);
    }
    for application in ["prometheus", "grafana", "nrpe"] {
        model.deploy_charm(application, application);
        model.run(&["integrate", application, "etcd"]);
    }
    // The other way to be told is tested with the dashboards.
    model.run(&["config", "prometheus", "reads=application"]);
    for (application, endpoint, _) in CLIENTS {
        model.run(&["integrate", &format!("{application}:{endpoint}"), &format!("etcd:{endpoint}")]);
    }
    model.deploy_easyrsa();
    model.run(&["integrate", "etcd", "easyrsa"]);
    let first = served(&model, &["etcd/0"]);

    model.run(&["add-unit", "etcd"]);
    let both = served(&model, &["etcd/0", "etcd/1"]);
    assert!(first.is_subset(&both));
    model.run(&["lab", "leader", "etcd/1"]);
    model.run(&["lab", "update-status", "etcd"]);
    assert_eq!(served(&model, &["etcd/0", "etcd/1"]), both);
    a_member_gets_another_address(&model, &both);
    another_authority_beside_the_first(&model);

    model.remove_units(&["etcd/0"], 1);
    served(&model, &["etcd/1"]);
    clients_come_and_go(&model);
    model.assert_no_hook_failed();
}

/// Waits until nothing is due; then every client, of every unit, must get in, and what watches must see that all is well.
/// Returns where the cluster is.
fn served(model: &Model, units: &[&str]) -> BTreeSet<String> {
    model.settle(units.len());
    model.wait(&["--idle"]);
    for (application, endpoint, keys) in CLIENTS {
        for client in model.units(application) {
            let told = model.told(&client, endpoint);
            assert_eq!(told.len(), units.len(), "{client} {endpoint}: {told:?}");
            assert!(
                told.iter().all(|one| *one == told[0] && one.len() == keys),
                "{client} {endpoint}: {told:?}"
            );
            let used = uses(model, &client, endpoint);
            assert_eq!(used.len(), units.len(), "{client} {endpoint}: {used:?}");
        }
    }
    let addresses = uses(model, "first/0", "db");
    assert_eq!(uses(model, "plain/0", "proxy"), addresses, "both endpoints tell of the same members");
    let scraped = model.shell("prometheus/0", "scrape");
    let targets: BTreeSet<String> = scraped
        .lines()
        .filter_map(|line| line.strip_suffix(" etcd_server_has_leader 1")?.split_once(' '))
        .map(|(_, target)| target.replace(":2379", ""))
        .collect();
    assert_eq!(targets, addresses, "{scraped}");
    assert!(!model.shell("grafana/0", "cat /var/lib/grafana/etcd.json").is_empty());
    for unit in units {
        for check in ["check_snap.etcd.etcd", "check_etcd-alarms", "check_etcd-certificates"] {
            let said = model.shell(unit, &format!("check_nrpe {check} || true"));
            assert!(said.starts_with("OK: "), "{unit} {check}: {said}");
        }
    }
    addresses
}

/// Writes a key at each place that a client was told and reads it back there; returns the places' addresses.
fn uses(model: &Model, client: &str, endpoint: &str) -> BTreeSet<String> {
    let urls = match endpoint {
        "db" => "tr , '\\n' < endpoints",
        // Peer URLs: members serve their clients at the same addresses.
        _ => "tr , '\\n' < cluster | sed 's/^[^=]*=//; s/:2380$/:2379/'",
    };
    let script = format!(
        "set -e; cd /var/lib/consumer; key=$(echo -n {client} | base64); \
         ask() {{ curl -sS --fail --noproxy '*' --max-time 10 --cacert ca.crt --cert client.crt --key client.key \"$@\"; }}; \
         for url in $({urls}); do value=$(date +%s%N | base64); \
         ask $url/v3/kv/put -d \"{{\\\"key\\\":\\\"$key\\\",\\\"value\\\":\\\"$value\\\"}}\" > /dev/null; \
         ask $url/v3/kv/range -d \"{{\\\"key\\\":\\\"$key\\\"}}\" | grep -qF \"$value\"; \
         echo $url; done"
    );
    let bare = |url: &str| url.trim_start_matches("https://").rsplit_once(':').unwrap().0.to_owned();
    model.shell(client, &script).lines().map(bare).collect()
}

/// One alone loses the quorum if it is restarted for an address that nobody believes yet.
fn a_member_gets_another_address(model: &Model, before: &BTreeSet<String>) {
    let network = before.first().unwrap().rsplit_once('.').unwrap().0;
    let address = format!("{network}.201");
    model.run(&["lab", "set-address", "etcd/1", &address]);
    let now = served(model, &["etcd/0", "etcd/1"]);
    assert!(now.contains(&address) && now.intersection(before).count() == 1, "{now:?}");
}

/// The one that was related last counts; the first one goes when nobody needs it any more.
fn another_authority_beside_the_first(model: &Model) {
    let authority = |unit: &str| model.shell(unit, &format!("cat {COMMON}/ca.crt"));
    let before = authority("etcd/0");
    model.deploy_charm("easyrsa", "other-easyrsa");
    model.run(&["integrate", "etcd", "other-easyrsa"]);
    wait_until("another authority alone", Duration::from_secs(180), || {
        ["etcd/0", "etcd/1"].iter().all(|unit| {
            let now = authority(unit);
            now.matches("BEGIN").count() == 1 && now != before
        })
    });
    model.run(&["remove-relation", "etcd", "easyrsa"]);
    served(model, &["etcd/0", "etcd/1"]);
    assert_eq!(model.shell("first/0", "cat /var/lib/consumer/ca.crt"), authority("etcd/0"));
}

/// A unit more and a unit less on their side; then a relation ends, is nobody else's loss, and comes again.
fn clients_come_and_go(model: &Model) {
    model.run(&["add-unit", "second"]);
    model.run(&["add-unit", "plain"]);
    model.wait(&["--idle"]);
    model.run(&["remove-unit", "second/0", "plain/0", "--no-prompt"]);
    model.run(&["remove-relation", "first:proxy", "etcd:proxy"]);
    model.wait(&["--idle"]);
    assert_eq!(uses(model, "second/1", "db"), uses(model, "plain/1", "proxy"));
    assert_eq!(uses(model, "first/0", "db").len(), 1);
    model.run(&["remove-relation", "first:db", "etcd:db"]);
    model.run(&["remove-relation", "prometheus", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!(model.shell("prometheus/0", "scrape"), "");
    model.run(&["integrate", "first:db", "etcd:db"]);
    model.run(&["integrate", "prometheus", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!(uses(model, "first/0", "db").len(), 1);
    assert!(model.shell("prometheus/0", "scrape").ends_with("etcd_server_has_leader 1\n"));
}
