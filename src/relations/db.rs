//! Endpoint `db`, interface `etcd`: what every consumer needs to connect. Flat strings in each unit's own
//! databag, equal on all units, since a consumer reads any one of them.

use std::collections::BTreeMap;

use super::{Changes, ended};
use crate::etcd::Version;

/// A complete set of client data. There is no incomplete one: consumers misread a partial set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientData {
    /// PEM bundle; ends with a newline (consumers append to it).
    pub ca: String,
    /// PEM.
    pub certificate: String,
    /// PEM, in clear: the interface knows no other way.
    pub key: String,
    /// Client URLs of working voters.
    pub endpoints: Vec<String>,
    /// Names of the same voters and their peer URLs.
    pub peers: BTreeMap<String, String>,
    /// Bare version, `3.5.16`: consumers test whether it starts with `3.`.
    pub version: Version,
}

/// To this unit's databag.
pub fn publish(data: &ClientData) -> Changes {
    Changes::from([
        ("client_ca".to_owned(), Some(ended(&data.ca))),
        ("client_cert".to_owned(), Some(ended(&data.certificate))),
        ("client_key".to_owned(), Some(ended(&data.key))),
        ("connection_string".to_owned(), Some(connection_string(&data.endpoints))),
        ("version".to_owned(), Some(data.version.to_string())),
    ])
}

/// Sorted as text, comma without blanks: consumers compare the string and restart when it differs.
pub fn connection_string(endpoints: &[String]) -> String {
    sorted(endpoints).join(",")
}

/// Each once, whatever the order of the members.
pub(super) fn sorted(endpoints: &[String]) -> Vec<String> {
    let mut sorted = endpoints.to_vec();
    sorted.sort();
    sorted.dedup();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_does_not_depend_on_the_order_of_members() {
        let urls = |list: &[&str]| list.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let one = connection_string(&urls(&["https://10.0.0.2:2379", "https://10.0.0.10:2379"]));
        let other = connection_string(&urls(&["https://10.0.0.10:2379", "https://10.0.0.2:2379"]));
        assert_eq!(one, "https://10.0.0.10:2379,https://10.0.0.2:2379");
        assert_eq!(one, other);
    }

    #[test]
    fn every_key_is_there_and_pem_ends_with_one_newline() {
        let data = ClientData {
            ca: "CA".into(),
            certificate: "CERT\n".into(),
            key: "KEY\n\n".into(),
            endpoints: vec!["https://10.0.0.1:2379".into()],
            peers: BTreeMap::new(),
            version: "3.4.23".parse().unwrap(),
        };
        let full = publish(&data);
        assert_eq!(full["client_ca"].as_deref(), Some("CA\n"));
        assert_eq!(full["client_key"].as_deref(), Some("KEY\n"));
        assert_eq!(full["version"].as_deref(), Some("3.4.23"));
        assert!(full.values().all(Option::is_some));
    }
}
