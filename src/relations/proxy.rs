//! Endpoint `proxy`, interface `etcd-proxy`: the members as etcd's own `initial-cluster` names them, and client
//! credentials. Flat strings in each unit's own databag, equal on all units, complete or absent.

use super::db::ClientData;
use super::{Changes, ended};

/// To this unit's databag.
pub fn publish(data: &ClientData) -> Changes {
    Changes::from([
        ("client_ca".to_owned(), Some(ended(&data.ca))),
        ("client_cert".to_owned(), Some(ended(&data.certificate))),
        ("client_key".to_owned(), Some(ended(&data.key))),
        ("cluster".to_owned(), Some(cluster(data))),
    ])
}

/// `etcd0=https://10.0.0.1:2380,etcd1=…`, sorted by name: consumers restart when the text differs.
fn cluster(data: &ClientData) -> String {
    let members: Vec<String> = data.peers.iter().map(|(name, url)| format!("{name}={url}")).collect();
    members.join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_key_is_there_and_members_are_sorted() {
        let peer = |name: &str, url: &str| (name.to_owned(), url.to_owned());
        let data = ClientData {
            ca: "CA".into(),
            certificate: "CERT".into(),
            key: "KEY".into(),
            endpoints: vec!["https://10.0.0.1:2379".into()],
            peers: BTreeMap::from([
                peer("etcd1", "https://10.0.0.2:2380"),
                peer("etcd0", "https://10.0.0.9:2380"),
            ]),
            version: "3.5.16".parse().unwrap(),
        };
        let full = publish(&data);
        let text = |key: &str| full[key].clone().unwrap();
        assert_eq!(text("cluster"), "etcd0=https://10.0.0.9:2380,etcd1=https://10.0.0.2:2380");
        assert_eq!(["client_ca", "client_cert", "client_key"].map(text), ["CA\n", "CERT\n", "KEY\n"]);
        assert_eq!(full.len(), 4);
    }
}
