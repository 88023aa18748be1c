//! An authority that signs requests: keys stay on their units, renewals disturb nobody, and it can take the place of
//! one that makes keys.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sim::{Kind, Model, Writer, wait_until};
use crate::{COMING, OLD, PRESENT};

const COMMON: &str = "/var/snap/etcd/common";
const REQUEST: &str = "/var/lib/etcd-charm/request.json";
/// How long certificates are good, in seconds, where they are renewed.
const SHORT_S: &str = "21";

/// A model with the authority, not related to anything.
fn with_authority(kind: Kind) -> Model {
    let model = Model::with_quick_retries(kind);
    model.deploy_charm("csr-provider", "csr-provider");
    model
}

fn with_consumer(model: &Model) -> Writer<'_> {
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    Writer::start(model, "consumer/0")
}

fn file(model: &Model, unit: &str, name: &str) -> String {
    model.shell(unit, &format!("cat {COMMON}/{name}"))
}

fn pid(model: &Model, unit: &str) -> String {
    model.shell(unit, "systemctl show -p MainPID --value snap.etcd.etcd")
}

/// Every unit has a certificate of this authority for a key of its own, and all have one client pair.
fn assert_each_has_its_own(model: &Model) {
    let units = model.units("etcd");
    for unit in &units {
        let verify =
            format!("cd {COMMON}; openssl verify -CAfile ca.crt -untrusted server.crt server.crt client.crt");
        assert_eq!(model.shell(unit, &verify), "server.crt: OK\nclient.crt: OK\n", "{unit}");
        assert_eq!(file(model, unit, "ca.crt").matches("BEGIN").count(), 1, "{unit} trusts one authority");
        assert_eq!(file(model, unit, "server.crt").matches("BEGIN").count(), 2, "its chain comes along");
        let modes = model.shell(unit, &format!("stat -c %a {COMMON}/*.key {REQUEST}"));
        assert_eq!(modes, "600\n600\n600\n", "{unit}");
    }
    let different = |name| units.iter().map(|unit| file(model, unit, name)).collect::<BTreeSet<_>>().len();
    assert_eq!((different("server.key"), different("client.key")), (units.len(), 1));
    let shown = model.run(&["show-unit", "csr-provider/0"]);
    assert!(shown.contains("certificate_signing_requests"), "{shown}");
    assert!(!shown.contains("common_name"), "the older request has served: {shown}");
}

#[test]
fn each_unit_asks_for_its_own_key_and_the_leader_for_the_clients() {
    let model = with_authority(OLD);
    model.deploy_etcd(3);
    // The leader dies wherever it makes, shows and shares something; one of the others too.
    for (unit, step) in [("etcd/0", "4"), ("etcd/2", "7")] {
        model.kill_hooks(unit, &["--call", "3", "--step", step, "--after"]);
    }
    model.run(&["integrate", "etcd", "csr-provider"]);
    model.settle(3);
    let writer = with_consumer(&model);
    assert_each_has_its_own(&model);
    model.assert_known_by_their_own(&["consumer"]);
    // The unit that asked for the clients' pairs goes: what all have stays good.
    let own = || model.shell("consumer/0", "cat /var/lib/consumer/client.crt");
    let (client, consumer, pids) = (file(&model, "etcd/1", "client.crt"), own(), pid(&model, "etcd/1"));
    model.remove_units(&["etcd/0"], 2);
    assert_eq!((file(&model, "etcd/2", "client.crt"), pid(&model, "etcd/1")), (client, pids));
    model.assert_known_by_their_own(&["consumer"]);
    assert_eq!(own(), consumer);
    writer.stop(2500);
}

#[test]
fn short_lived_certificates_are_renewed_without_a_restart() {
    let model = with_authority(PRESENT);
    model.deploy_etcd(1);
    model.run(&["integrate", "etcd", "csr-provider"]);
    model.settle(1);
    let writer = with_consumer(&model);
    let started = pid(&model, "etcd/0");
    let mut seen = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    model.assert_known_by_their_own(&["consumer"]);
    model.run(&["config", "csr-provider", &format!("validity={SHORT_S}")]);
    // The long-lived ones, those that replace them, and five renewals of each.
    wait_until("five renewals of each certificate", Duration::from_secs(180), || {
        for (seen, name) in seen.iter_mut().zip(["server.crt", "client.crt"]) {
            seen.insert(file(&model, "etcd/0", name));
        }
        seen[2].insert(model.shell("consumer/0", "cat /var/lib/consumer/client.crt"));
        model.run(&["lab", "update-status", "etcd"]);
        std::thread::sleep(Duration::from_millis(500));
        seen.iter().all(|certificates| certificates.len() >= 7)
    });
    assert_eq!(pid(&model, "etcd/0"), started);
    writer.stop(2000);
    model.run(&["config", "csr-provider", "--reset", "validity"]);
    model.wait(&["--idle"]);
    model.settle(1);
    nonsense_is_refused_until_it_is_taken_back(&model);
    what_is_withdrawn_is_used_until_it_is_given_again(&model);
    assert_each_has_its_own(&model);
    model.assert_no_hook_failed();
}

fn nonsense_is_refused_until_it_is_taken_back(model: &Model) {
    let before = (file(model, "etcd/0", "server.crt"), pid(model, "etcd/0"));
    let nonsense = "relation-set -r $(relation-ids certificates) --app certificates=nonsense";
    model.run(&["exec", "--unit", "csr-provider/0", "--", nonsense]);
    let refused =
        "Certificate from csr-provider cannot be used: its answer \"certificates\" cannot be understood";
    model.wait(&["etcd", "--status", "blocked", "--message", refused, "--idle"]);
    model.run(&["lab", "update-status", "csr-provider"]);
    model.settle(1);
    assert_eq!((file(model, "etcd/0", "server.crt"), pid(model, "etcd/0")), before);
}

/// etcd asks no authority whether it still stands by a certificate: the operator has to know.
fn what_is_withdrawn_is_used_until_it_is_given_again(model: &Model) {
    let before = (file(model, "etcd/0", "server.crt"), pid(model, "etcd/0"));
    let nothing = "relation-set -r $(relation-ids certificates) --app certificates=[]";
    model.run(&["exec", "--unit", "csr-provider/0", "--", nothing]);
    let withdrawn =
        "Certificate of the server was withdrawn by csr-provider, and is used until there is another one";
    model.wait(&["etcd", "--status", "blocked", "--message", withdrawn, "--idle"]);
    assert_eq!((file(model, "etcd/0", "server.crt"), pid(model, "etcd/0")), before);
    assert!(model.etcdctl("etcd/0", "endpoint health").contains("is healthy"));
    model.assert_known_by_their_own(&["consumer"]);
    model.run(&["lab", "update-status", "csr-provider"]);
    model.settle(1);
    assert_eq!((file(model, "etcd/0", "server.crt"), pid(model, "etcd/0")), before);
}

#[test]
fn it_takes_the_place_of_an_authority_that_makes_keys() {
    let model = with_authority(COMING);
    model.make_cluster(3);
    let requests: Vec<String> =
        model.units("etcd").iter().map(|unit| model.shell(unit, &format!("cat {REQUEST}"))).collect();
    let writer = with_consumer(&model);
    let before = file(&model, "etcd/0", "ca.crt");
    model.run(&["remove-relation", "etcd", "easyrsa"]);
    let missing = "Missing relation to certificate authority.";
    model.wait(&["etcd", "--status", "blocked", "--message", missing, "--idle"]);
    model.wait(&["--idle"]);
    model.run(&["integrate", "etcd", "csr-provider"]);
    wait_until("another authority", Duration::from_secs(90), || file(&model, "etcd/0", "ca.crt") != before);
    model.settle(3);
    wait_until("the old authority to be dropped", Duration::from_secs(60), || {
        model.units("etcd").iter().all(|unit| file(&model, unit, "ca.crt").matches("BEGIN").count() == 1)
    });
    model.assert_known_by_their_own(&["consumer"]);
    writer.stop(2000);
    assert_each_has_its_own(&model);
    for (unit, request) in model.units("etcd").iter().zip(requests) {
        let asked = |text: &str| {
            serde_json::from_str::<serde_json::Value>(text).unwrap()["request"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            asked(&model.shell(unit, &format!("cat {REQUEST}"))),
            asked(&request),
            "asked once, answered late"
        );
    }
}
