//! The configuration for the one start that makes a member the only one of its cluster (etcd's `force-new-cluster`).
//!
//! Each start with it throws all other members out again. So it has its listeners on loopback alone: nobody can join
//! while it stands, and repeating it changes nothing, however often a crash makes etcd start with it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::config::{ConfigError, OnDisk, read_config};
use crate::yaml;

/// Before every line of the configuration that was replaced.
const KEPT: &str = "#~ ";

/// The same configuration for that one start. The replaced one stays in it, as comments.
///
/// # Errors
/// [`ConfigError`] for a text that etcd could not read either.
pub fn start_alone(config: &str) -> Result<String, ConfigError> {
    let config = replaced_by_start_alone(config).unwrap_or_else(|| config.to_owned());
    let OnDisk { listen_client_urls, listen_peer_urls, .. } = read_config(&config)?;
    let mut keys: BTreeMap<String, Value> = yaml::from_str(&config)?;
    keys.insert("force-new-cluster".to_owned(), true.into());
    keys.insert("listen-client-urls".to_owned(), on_loopback(&listen_client_urls).into());
    keys.insert("listen-peer-urls".to_owned(), on_loopback(&listen_peer_urls).into());
    let kept: String = config.lines().map(|line| format!("{KEPT}{line}\n")).collect();
    Ok(format!("{kept}{}", yaml::to_string(&keys)?))
}

/// The configuration that [`start_alone`] has replaced; `None` for any other text.
pub fn replaced_by_start_alone(config: &str) -> Option<String> {
    let kept: String = config.lines().filter_map(|line| line.strip_prefix(KEPT)).map(line).collect();
    (!kept.is_empty()).then_some(kept)
}

/// A configuration for the same member beside the one that runs: data in `data`, TLS listeners on loopback at
/// `[client, peer]`, alone in its cluster, with the v2 store.
///
/// # Errors
/// [`ConfigError`] for a text that etcd could not read either.
pub fn start_beside(config: &str, data: &Path, [client, peer]: [u16; 2]) -> Result<String, ConfigError> {
    let mut keys: BTreeMap<String, Value> = yaml::from_str(config)?;
    keys.remove("listen-metrics-urls");
    keys.insert("data-dir".to_owned(), data.display().to_string().into());
    keys.insert("enable-v2".to_owned(), true.into());
    keys.insert("force-new-cluster".to_owned(), true.into());
    keys.insert("listen-client-urls".to_owned(), loopback(client).into());
    keys.insert("listen-peer-urls".to_owned(), loopback(peer).into());
    Ok(yaml::to_string(&keys)?)
}

/// The address of a loopback listener with TLS.
pub fn loopback(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// The first TLS address, as loopback has it.
fn on_loopback(urls: &[String]) -> String {
    let port = urls.iter().find_map(|url| url.strip_prefix("https://")?.rsplit_once(':'));
    let port = port.and_then(|(_, port)| port.parse().ok());
    port.map(loopback).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "# Written by the charm\nname: etcd0\nlisten-client-urls: https://10.0.0.1:2379,https://127.0.0.1:2379\n\
                          listen-peer-urls: https://0.0.0.0:2380\nsnapshot-count: 100000\nclient-transport-security:\n  key-file: /k\n";

    #[test]
    fn nobody_else_can_reach_it_and_everything_else_stays() {
        let alone = start_alone(CONFIG).unwrap();
        let on_disk = read_config(&alone).unwrap();
        assert!(on_disk.force_new_cluster);
        assert_eq!(on_disk.listen_client_urls, ["https://127.0.0.1:2379"]);
        assert_eq!(on_disk.listen_peer_urls, ["https://127.0.0.1:2380"]);
        assert_eq!(on_disk.name.as_deref(), Some("etcd0"));
        let keys: BTreeMap<String, Value> = yaml::from_str(&alone).unwrap();
        assert_eq!(keys["snapshot-count"], 100_000);
        assert_eq!(keys["client-transport-security"]["key-file"], "/k");
    }

    #[test]
    fn a_second_one_shares_neither_data_nor_listeners() {
        let metrics = format!("{CONFIG}listen-metrics-urls: http://127.0.0.1:2381\n");
        let beside = start_beside(&metrics, Path::new("/d"), [7, 8]).unwrap();
        let on_disk = read_config(&beside).unwrap();
        assert!(on_disk.force_new_cluster && on_disk.enable_v2);
        assert_eq!(on_disk.listen_client_urls, ["https://127.0.0.1:7"]);
        assert_eq!(on_disk.listen_peer_urls, ["https://127.0.0.1:8"]);
        let keys: BTreeMap<String, Value> = yaml::from_str(&beside).unwrap();
        assert_eq!(keys["data-dir"], "/d");
        assert_eq!(keys["client-transport-security"]["key-file"], "/k");
        assert!(!keys.contains_key("listen-metrics-urls"));
    }

    #[test]
    fn the_replaced_one_comes_back_to_the_letter() {
        let alone = start_alone(CONFIG).unwrap();
        assert_eq!(replaced_by_start_alone(&alone).as_deref(), Some(CONFIG));
        assert_eq!(start_alone(&alone).unwrap(), alone, "once more changes nothing");
        assert_eq!(replaced_by_start_alone(CONFIG), None);
        assert!(start_alone("- a list").is_err());
    }
}
