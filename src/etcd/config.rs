//! etcd's configuration file: written by the charm for one version of etcd, read back to see what is on disk.
//!
//! etcd swallows unknown keys silently, so a key is written only for the versions that know it. Defaults differ between
//! versions and between file and flags (compaction, gateway, pre-vote): what matters is always written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::version::{Minor, Version};
use crate::yaml;

const HEADER: &str = "# Written by the charm; changes are overwritten.\n";
/// These count only where the data directory is empty: etcd ignores them otherwise.
const FOR_AN_EMPTY_DIRECTORY: [&str; 4] =
    ["initial-cluster", "initial-cluster-token", "initial-cluster-state", "initial-advertise-peer-urls"];

/// Everything the charm sets. Absent means etcd's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The member's name.
    pub name: String,
    /// Absolute path.
    pub data_dir: String,
    /// Absolute path of the log, if that is not in the data directory.
    pub wal_dir: Option<String>,
    /// Where clients are listened to; addresses, not names.
    pub listen_client_urls: Vec<String>,
    /// Where clients are told to go.
    pub advertise_client_urls: Vec<String>,
    /// Where members are listened to; addresses, not names.
    pub listen_peer_urls: Vec<String>,
    /// Where other members are told to go; counts when the member is added.
    pub initial_advertise_peer_urls: Vec<String>,
    /// Metrics and health; with `http` in clear and for anyone. Empty: none.
    pub listen_metrics_urls: Vec<String>,
    /// Name and peer URL of every member at the start; for a joiner exactly the members and itself.
    pub initial_cluster: Vec<(String, String)>,
    /// Unique to each cluster: identifiers are hashes of it.
    pub initial_cluster_token: String,
    /// Whether an empty data directory starts a cluster or joins one.
    pub initial_cluster_state: ClusterState,
    /// Milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Milliseconds; at least five heartbeats.
    pub election_timeout_ms: u64,
    /// Raft entries between two raft snapshots.
    pub snapshot_count: u64,
    /// Bytes; 0: etcd's default of 2 GiB.
    pub quota_backend_bytes: i64,
    /// `None`: no automatic compaction.
    pub auto_compaction: Option<Compaction>,
    /// For TLS 1.2, by Go's names; empty: Go's own choice.
    pub cipher_suites: Vec<String>,
    /// `TLS1.2` or `TLS1.3`; 3.4 before 3.4.25 does not know it.
    pub tls_min_version: Option<String>,
    /// The v2 store; 3.6 has none.
    pub enable_v2: bool,
    /// Log level debug.
    pub debug: bool,
    /// Files for serving clients; client certificates are demanded.
    pub client_tls: ClientTls,
    /// Files for other members, both as server and as client.
    pub peer_tls: ClientTls,
    /// Start as the only member of a new cluster with the data that is there. To be removed after one good start:
    /// every restart with it throws the other members out again.
    pub force_new_cluster: bool,
}

/// Files of one TLS listener, absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificate, intermediates behind it.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Trusted authorities; read once, at start.
    pub ca: String,
}

/// What an empty data directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterState {
    /// A cluster to start.
    New,
    /// A cluster to join.
    Existing,
}

/// Automatic compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// `periodic` or `revision`.
    pub mode: String,
    /// A duration (`1h`; a bare number means hours) or a count of revisions.
    pub retention: String,
}

/// The file as etcd reads it, in the order it is written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    name: &'a str,
    data_dir: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wal_dir: Option<&'a str>,
    listen_client_urls: String,
    advertise_client_urls: String,
    listen_peer_urls: String,
    initial_advertise_peer_urls: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_metrics_urls: Option<String>,
    initial_cluster: String,
    initial_cluster_token: &'a str,
    initial_cluster_state: &'static str,
    heartbeat_interval: u64,
    election_timeout: u64,
    snapshot_count: u64,
    quota_backend_bytes: i64,
    auto_compaction_mode: &'a str,
    auto_compaction_retention: &'a str,
    strict_reconfig_check: bool,
    pre_vote: bool,
    enable_grpc_gateway: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_v2: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    experimental_initial_corrupt_check: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_gates: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher_suites: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_min_version: Option<&'a str>,
    client_transport_security: Transport<'a>,
    peer_transport_security: Transport<'a>,
    logger: &'static str,
    log_outputs: [&'static str; 1],
    log_level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    force_new_cluster: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Transport<'a> {
    cert_file: &'a str,
    key_file: &'a str,
    client_cert_auth: bool,
    trusted_ca_file: &'a str,
}

impl<'a> From<&'a ClientTls> for Transport<'a> {
    fn from(tls: &'a ClientTls) -> Transport<'a> {
        Transport {
            cert_file: &tls.certificate,
            key_file: &tls.key,
            client_cert_auth: true,
            trusted_ca_file: &tls.ca,
        }
    }
}

impl Settings {
    /// The file for a server of this version, comment first. The same settings always give the same text.
    pub fn render(&self, version: &Version) -> String {
        let has_v2 = version.minor_version() < Minor { major: 3, minor: 6 };
        let knows_min_version = knows_min_version(version);
        let only_tls_1_3 = knows_min_version && self.tls_min_version.as_deref() == Some("TLS1.3");
        let cluster: Vec<String> =
            self.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect();
        let compaction = self.auto_compaction.as_ref();
        let file = File {
            name: &self.name,
            data_dir: &self.data_dir,
            wal_dir: self.wal_dir.as_deref(),
            listen_client_urls: self.listen_client_urls.join(","),
            advertise_client_urls: self.advertise_client_urls.join(","),
            listen_peer_urls: self.listen_peer_urls.join(","),
            initial_advertise_peer_urls: self.initial_advertise_peer_urls.join(","),
            listen_metrics_urls: Some(self.listen_metrics_urls.join(",")).filter(|urls| !urls.is_empty()),
            initial_cluster: cluster.join(","),
            initial_cluster_token: &self.initial_cluster_token,
            initial_cluster_state: match self.initial_cluster_state {
                ClusterState::New => "new",
                ClusterState::Existing => "existing",
            },
            heartbeat_interval: self.heartbeat_interval_ms,
            election_timeout: self.election_timeout_ms,
            snapshot_count: self.snapshot_count,
            quota_backend_bytes: self.quota_backend_bytes,
            auto_compaction_mode: compaction.map_or("periodic", |rule| &rule.mode),
            auto_compaction_retention: compaction.map_or("0", |rule| &rule.retention),
            strict_reconfig_check: true,
            // Off by default in 3.4: a member that was cut off would then disturb the raft leader on its return.
            pre_vote: true,
            // Off by default in 3.4 when a file is used.
            enable_grpc_gateway: true,
            enable_v2: has_v2.then_some(self.enable_v2),
            experimental_initial_corrupt_check: has_v2.then_some(true),
            feature_gates: (!has_v2).then_some("InitialCorruptCheck=true"),
            // etcd refuses to start with a list beside TLS 1.3 only.
            cipher_suites: Some(self.cipher_suites.as_slice())
                .filter(|list| !list.is_empty() && !only_tls_1_3),
            tls_min_version: self.tls_min_version.as_deref().filter(|_| knows_min_version),
            client_transport_security: (&self.client_tls).into(),
            peer_transport_security: (&self.peer_tls).into(),
            // 3.4 still has another logger as its default; later versions refuse that one.
            logger: "zap",
            log_outputs: ["stderr"],
            log_level: if self.debug { "debug" } else { "info" },
            force_new_cluster: self.force_new_cluster.then_some(true),
        };
        // Plain structs of text and numbers always have a YAML form; an empty file would make no etcd start.
        let body = yaml::to_string(&file).unwrap_or_default();
        format!("{HEADER}{body}")
    }
}

/// Older versions ignore `tls-min-version`.
pub fn knows_min_version(version: &Version) -> bool {
    *version >= Version { major: 3, minor: 4, patch: 25 }
}

/// A file that is no configuration of etcd.
#[derive(Debug, thiserror::Error)]
#[error("cannot read etcd's configuration file")]
pub struct ConfigError(#[from] yaml::YamlError);

/// What a file on disk says, whoever wrote it. Absent and null are the same to etcd and here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OnDisk {
    /// The member's name.
    pub name: Option<String>,
    /// Absolute path.
    pub data_dir: Option<String>,
    /// Where the write-ahead log is when it is not in the data directory.
    pub wal_dir: Option<String>,
    /// Where clients are listened to.
    #[serde(deserialize_with = "urls")]
    pub listen_client_urls: Vec<String>,
    /// Where clients are told to go.
    #[serde(deserialize_with = "urls")]
    pub advertise_client_urls: Vec<String>,
    /// Where members are listened to.
    #[serde(deserialize_with = "urls")]
    pub listen_peer_urls: Vec<String>,
    /// Metrics and health.
    #[serde(deserialize_with = "urls")]
    pub listen_metrics_urls: Vec<String>,
    /// Where other members were told to go.
    #[serde(deserialize_with = "urls")]
    pub initial_advertise_peer_urls: Vec<String>,
    /// The cluster's token.
    #[serde(rename = "initial-cluster-token")]
    pub token: Option<String>,
    /// Most bytes of the database; 0 for etcd's default.
    #[serde(deserialize_with = "null_is_default")]
    pub quota_backend_bytes: i64,
    /// Entries between two raft snapshots; 0 for etcd's default.
    #[serde(deserialize_with = "null_is_default")]
    pub snapshot_count: u64,
    /// The v2 store is on.
    #[serde(deserialize_with = "null_is_default")]
    pub enable_v2: bool,
    /// Every start throws the other members out.
    #[serde(deserialize_with = "null_is_default")]
    pub force_new_cluster: bool,
}

/// Reads a configuration file, also the earlier charm's.
///
/// # Errors
/// [`ConfigError`] for text that is not YAML, or where a value has another type than etcd would take.
pub fn read_config(text: &str) -> Result<OnDisk, ConfigError> {
    Ok(yaml::from_str::<Option<OnDisk>>(text)?.unwrap_or_default())
}

/// Whether a running member would notice nothing of the change from `old` to `new`. Files that cannot be read are the
/// same only if their text is.
pub fn same_at_run_time(old: &str, new: &str) -> bool {
    let effective = |text: &str| {
        let mut keys: BTreeMap<String, serde_json::Value> = yaml::from_str(text).ok()?;
        keys.retain(|key, _| !FOR_AN_EMPTY_DIRECTORY.contains(&key.as_str()));
        Some(keys)
    };
    match (effective(old), effective(new)) {
        (Some(old), Some(new)) => old == new,
        _ => old == new,
    }
}

/// A comma-separated list, as etcd has it.
fn urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect())
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
