//! Where a unit in several spaces is, and what it asks a certificate for.

use super::*;

fn network(bind: &str, ingress: &str, egress: &str) -> Network {
    Network {
        bind: vec![bind.parse().unwrap()],
        ingress: vec![JujuHost::Address(ingress.parse().unwrap())],
        egress: vec![egress.to_owned()],
    }
}

fn cluster() -> Result<Network, String> {
    Ok(network("10.1.0.1", "10.1.0.2", "10.1.0.3/32"))
}

fn db() -> Result<Network, String> {
    Ok(network("10.2.0.1", "10.2.0.2", "10.2.0.0/16"))
}

#[test]
fn members_and_clients_are_met_in_their_own_spaces() {
    let (addresses, unread) = of_networks(cluster(), db(), "machine".to_owned());
    assert_eq!(unread, None);
    let all = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.2.0.1", "10.2.0.2"];
    assert_eq!(
        addresses,
        Addresses {
            peer: Some("10.1.0.2".to_owned()),
            client: Some("10.2.0.2".to_owned()),
            peer_bind: Some("10.1.0.1".to_owned()),
            client_bind: Some("10.2.0.1".to_owned()),
            all: all.map(str::to_owned).into(),
            hostname: "machine".to_owned(),
        }
    );
}

#[test]
fn no_name_is_taken_from_a_certificate_because_something_cannot_be_read() {
    let unit: UnitName = "etcd/0".parse().unwrap();
    let set = |name: &str, value: &str| {
        Options::parse(&serde_json::Map::from_iter([(name.to_owned(), value.into())])).ok()
    };
    let options = set("extra_sans", "etcd.example.com");
    let (addresses, _) = of_networks(cluster(), db(), "machine".to_owned());
    let sans = request(&unit, &addresses, None, options.as_ref()).unwrap().sans;
    for name in ["10.1.0.3", "10.2.0.1", "machine", "etcd.example.com"] {
        assert!(sans.contains(name), "{name}: {sans:?}");
    }
    assert_eq!(request(&unit, &addresses, None, set("enable_v2", "maybe").as_ref()), None);
    let unread = || Err("no network config found".to_owned());
    for (addresses, unread) in
        [of_networks(cluster(), unread(), String::new()), of_networks(unread(), db(), String::new())]
    {
        assert!(unread.is_some());
        assert_eq!(request(&unit, &addresses, unread.as_deref(), options.as_ref()), None);
    }
}
