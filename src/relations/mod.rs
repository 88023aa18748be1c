//! One file per endpoint: what stands in its databags, as types, and back. Pure.

pub mod authority;
pub mod certificates;
pub mod cluster;
pub mod csr;
pub mod db;
pub mod grafana;
pub mod nrpe;
pub mod prometheus;
pub mod proxy;
pub mod requests;
pub mod shared_client;
pub mod trust;

use std::collections::BTreeMap;

/// An endpoint that this charm provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Clients.
    Db,
    /// Clients that start from the members' peer URLs.
    Proxy,
    /// The monitoring agent on this machine.
    Nrpe,
    /// Prometheus.
    Prometheus,
    /// Grafana.
    Grafana,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 5] =
        [Endpoint::Db, Endpoint::Proxy, Endpoint::Nrpe, Endpoint::Prometheus, Endpoint::Grafana];

    /// Its name in `metadata.yaml`.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Db => "db",
            Endpoint::Proxy => "proxy",
            Endpoint::Nrpe => "nrpe-external-master",
            Endpoint::Prometheus => "prometheus",
            Endpoint::Grafana => "grafana",
        }
    }

    /// Whether the other side connects to etcd, with credentials that it is given.
    pub fn takes_credentials(self) -> bool {
        match self {
            Endpoint::Db | Endpoint::Proxy | Endpoint::Prometheus => true,
            Endpoint::Nrpe | Endpoint::Grafana => false,
        }
    }

    /// Whether what the other side says matters.
    pub fn listens(self) -> bool {
        match self {
            Endpoint::Db | Endpoint::Proxy => false,
            Endpoint::Nrpe | Endpoint::Prometheus | Endpoint::Grafana => true,
        }
    }
}

/// PEM that ends with one newline, as consumers that append need it.
fn ended(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}

/// What to write into a databag: `None` deletes the key.
pub type Changes = BTreeMap<String, Option<String>>;

/// The changes that turn the keys of `wanted` in `current` into what they should be; keys not in `wanted` are
/// somebody else's (Juju's own addresses among them) and stay.
pub fn changes(current: &BTreeMap<String, String>, wanted: &Changes) -> Changes {
    let differs = |key: &String, value: &Option<String>| {
        // Juju keeps no empty values: setting one deletes the key.
        let value = value.as_deref().filter(|text| !text.is_empty());
        current.get(key).map(String::as_str) != value
    };
    wanted.iter().filter(|(key, value)| differs(key, value)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_written_and_foreign_keys_stay() {
        let current = BTreeMap::from([
            ("same".to_owned(), "1".to_owned()),
            ("old".to_owned(), "1".to_owned()),
            ("gone".to_owned(), "1".to_owned()),
            ("ingress-address".to_owned(), "10.0.0.1".to_owned()),
        ]);
        let wanted = Changes::from([
            ("same".to_owned(), Some("1".to_owned())),
            ("old".to_owned(), Some("2".to_owned())),
            ("gone".to_owned(), None),
            ("never".to_owned(), Some(String::new())),
        ]);
        let expected = Changes::from([("old".to_owned(), Some("2".to_owned())), ("gone".to_owned(), None)]);
        assert_eq!(changes(&current, &wanted), expected);
    }
}
