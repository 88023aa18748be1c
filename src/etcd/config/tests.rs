//! The file, by version: a key that a version does not know would be swallowed without a word.

use super::*;

fn settings() -> Settings {
    let tls = |name: &str| ClientTls {
        certificate: format!("/etc/{name}.crt"),
        key: format!("/etc/{name}.key"),
        ca: "/etc/ca.crt".to_owned(),
    };
    Settings {
        name: "etcd0".to_owned(),
        wal_dir: None,
        data_dir: "/var/lib/etcd".to_owned(),
        listen_client_urls: vec!["https://10.0.0.1:2379".to_owned(), "https://127.0.0.1:2379".to_owned()],
        advertise_client_urls: vec!["https://10.0.0.1:2379".to_owned()],
        listen_peer_urls: vec!["https://10.0.0.1:2380".to_owned()],
        initial_advertise_peer_urls: vec!["https://10.0.0.1:2380".to_owned()],
        listen_metrics_urls: vec!["http://127.0.0.1:2381".to_owned()],
        initial_cluster: vec![
            ("etcd0".to_owned(), "https://10.0.0.1:2380".to_owned()),
            ("etcd1".to_owned(), "https://10.0.0.2:2380".to_owned()),
        ],
        initial_cluster_token: "token-1".to_owned(),
        initial_cluster_state: ClusterState::New,
        heartbeat_interval_ms: 100,
        election_timeout_ms: 1000,
        snapshot_count: 100_000,
        quota_backend_bytes: 0,
        auto_compaction: None,
        cipher_suites: vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()],
        tls_min_version: None,
        enable_v2: false,
        debug: false,
        client_tls: tls("server"),
        peer_tls: tls("peer"),
        force_new_cluster: false,
    }
}

fn keys(settings: &Settings, version: &str) -> BTreeMap<String, serde_json::Value> {
    yaml::from_str(&settings.render(&version.parse().unwrap())).unwrap()
}

#[test]
fn every_line_of_a_file_for_3_5_is_meant() {
    let expected = "\
# Written by the charm; changes are overwritten.
name: etcd0
data-dir: /var/lib/etcd
listen-client-urls: https://10.0.0.1:2379,https://127.0.0.1:2379
advertise-client-urls: https://10.0.0.1:2379
listen-peer-urls: https://10.0.0.1:2380
initial-advertise-peer-urls: https://10.0.0.1:2380
listen-metrics-urls: http://127.0.0.1:2381
initial-cluster: etcd0=https://10.0.0.1:2380,etcd1=https://10.0.0.2:2380
initial-cluster-token: token-1
initial-cluster-state: new
heartbeat-interval: 100
election-timeout: 1000
snapshot-count: 100000
quota-backend-bytes: 0
auto-compaction-mode: periodic
auto-compaction-retention: '0'
strict-reconfig-check: true
pre-vote: true
enable-grpc-gateway: true
enable-v2: false
experimental-initial-corrupt-check: true
cipher-suites:
- TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
client-transport-security:
  cert-file: /etc/server.crt
  key-file: /etc/server.key
  client-cert-auth: true
  trusted-ca-file: /etc/ca.crt
peer-transport-security:
  cert-file: /etc/peer.crt
  key-file: /etc/peer.key
  client-cert-auth: true
  trusted-ca-file: /etc/ca.crt
logger: zap
log-outputs:
- stderr
log-level: info
";
    assert_eq!(settings().render(&"3.5.16".parse().unwrap()), expected);
}

#[test]
fn each_minor_gets_only_the_keys_it_knows() {
    let wanted = Settings { enable_v2: true, tls_min_version: Some("TLS1.2".to_owned()), ..settings() };
    let has = |version: &str, key: &str| keys(&wanted, version).contains_key(key);
    let cases = [
        ("enable-v2", [true, true, true, false]),
        ("experimental-initial-corrupt-check", [true, true, true, false]),
        ("feature-gates", [false, false, false, true]),
        ("tls-min-version", [false, true, true, true]),
    ];
    for (key, expected) in cases {
        let found = ["3.4.23", "3.4.35", "3.5.16", "3.6.14"].map(|version| has(version, key));
        assert_eq!(found, expected, "{key}");
    }
}

#[test]
fn cipher_suites_and_tls_1_3_only_exclude_each_other() {
    let wanted = Settings { tls_min_version: Some("TLS1.3".to_owned()), ..settings() };
    assert!(!keys(&wanted, "3.5.16").contains_key("cipher-suites"));
    assert!(keys(&wanted, "3.4.23").contains_key("cipher-suites"), "the minimum is not known there");
}

#[test]
fn names_and_retentions_that_look_like_numbers_stay_text() {
    let rule = Compaction { mode: "revision".to_owned(), retention: "1000".to_owned() };
    let wanted = Settings { name: "007".to_owned(), auto_compaction: Some(rule), ..settings() };
    let keys = keys(&wanted, "3.4.23");
    assert!(keys["name"].is_string() && keys["auto-compaction-retention"].is_string());
    assert_eq!(keys["auto-compaction-mode"], "revision");
}

#[test]
fn what_only_an_empty_directory_reads_is_no_change() {
    let version = "3.5.16".parse().unwrap();
    let old = settings().render(&version);
    let birth = Settings {
        initial_cluster: vec![],
        initial_cluster_token: "other".to_owned(),
        initial_cluster_state: ClusterState::Existing,
        ..settings()
    };
    assert!(same_at_run_time(&old, &birth.render(&version)));
    let forced = Settings { force_new_cluster: true, ..settings() };
    assert!(!same_at_run_time(&old, &forced.render(&version)));
    let other = Settings { heartbeat_interval_ms: 200, ..settings() };
    assert!(!same_at_run_time(&old, &other.render(&version)));
    assert!(!same_at_run_time("{", &old));
}

#[test]
fn what_is_written_can_be_read() {
    let on_disk = read_config(&settings().render(&"3.6.14".parse().unwrap())).unwrap();
    assert_eq!(on_disk.name.as_deref(), Some("etcd0"));
    assert_eq!(on_disk.token.as_deref(), Some("token-1"));
    assert_eq!(on_disk.listen_client_urls, settings().listen_client_urls);
    assert!(!on_disk.force_new_cluster && !on_disk.enable_v2);
}

#[test]
fn a_file_with_keys_without_values_is_read() {
    let text = "# comment\nname: 'etcd0'\ndata-dir: /var/snap/etcd/current\nwal-dir:\nlisten-client-urls: http://127.0.0.1:4001, https://0.0.0.0:2379\n\
                advertise-client-urls: https://10.0.0.1:2379\ninitial-cluster:\ninitial-cluster-token: 'abc'\nforce-new-cluster:\nproxy: 'off'\n";
    let on_disk = read_config(text).unwrap();
    assert_eq!(on_disk.listen_client_urls, ["http://127.0.0.1:4001", "https://0.0.0.0:2379"]);
    assert_eq!((on_disk.wal_dir, on_disk.force_new_cluster), (None, false));
    assert!(on_disk.initial_advertise_peer_urls.is_empty());
}

#[test]
fn an_empty_file_says_nothing_and_a_broken_one_is_an_error() {
    assert_eq!(read_config("").unwrap(), OnDisk::default());
    assert_eq!(read_config("# nothing\n").unwrap(), OnDisk::default());
    for text in ["- a\n- b\n", "name: [1", "force-new-cluster: maybe"] {
        assert!(read_config(text).is_err(), "{text:?}");
    }
}
