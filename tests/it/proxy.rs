//! Clients on `proxy` learn who the members are, and how that changes.

use serde_json::Value;

use crate::on_both_etcds;
use crate::sim::{Kind, Model};

on_both_etcds!(a_proxy_follows_the_members);

/// Two at once: joined, told, a unit more, a unit less, one of them gone.
fn a_proxy_follows_the_members(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    model.deploy_consumer("both");
    model.run(&["integrate", "both:proxy", "etcd:proxy"]);
    model.deploy_charm("consumer", "plain");
    model.run(&["integrate", "plain:proxy", "etcd:proxy"]);
    model.wait(&["--idle"]);
    let alone = cluster(&model, "both/0");
    assert!(alone.starts_with("etcd0=https://") && alone.ends_with(":2380"), "{alone}");
    // The key that came over `proxy` alone opens etcd.
    let serves = "cd /var/lib/consumer; sed 's/etcd0=//; s/:2380/:2379/' cluster | \
                  xargs -I URL curl -sS --cacert ca.crt --cert client.crt --key client.key URL/version";
    let answer = model.shell("plain/0", serves);
    assert!(answer.contains("etcdserver"), "{answer}");

    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    model.wait(&["--idle"]);
    for consumer in ["both/0", "plain/0"] {
        let bags = told(&model, consumer);
        assert_eq!(bags.len(), 2, "{bags:?}");
        assert_eq!(bags[0], bags[1], "units differ in what they give");
        let names: Vec<&str> =
            bags[0].split(',').filter_map(|one| one.split_once('=')).map(|m| m.0).collect();
        assert_eq!(names, ["etcd0", "etcd1"]);
    }

    model.run(&["remove-relation", "plain:proxy", "etcd:proxy"]);
    model.wait(&["--idle"]);
    model.remove_units(&["etcd/0"], 1);
    model.wait(&["--idle"]);
    assert!(cluster(&model, "both/0").starts_with("etcd1=https://"));
    assert!(cluster(&model, "plain/0").starts_with("etcd0="), "told nothing more after the end");
    model.assert_no_hook_failed();
}

/// As the consumer has kept it.
fn cluster(model: &Model, consumer: &str) -> String {
    model.shell(consumer, "cat /var/lib/consumer/cluster").trim().to_owned()
}

/// `cluster` from each unit of etcd; empty where it is not told.
fn told(model: &Model, consumer: &str) -> Vec<String> {
    let shown: Value =
        serde_json::from_str(&model.run(&["show-unit", consumer, "--format", "json"])).unwrap();
    let relations = shown[consumer]["relation-info"].as_array().unwrap();
    let proxy = relations.iter().find(|relation| relation["endpoint"] == "proxy").unwrap();
    let units = proxy["related-units"].as_object().unwrap();
    units.values().map(|unit| unit["data"]["cluster"].as_str().unwrap_or_default().to_owned()).collect()
}
