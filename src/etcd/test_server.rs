//! Real etcd servers for this port's tests: own certificates, loopback addresses, temporary directories.
//!
//! The programs are found through `ETCD_BINARIES`, a directory with one folder per minor: `3.4/etcd`, `3.5/etcd`, ….

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Client, ClientTls, ClusterState, Credentials, Error, Result, Settings, Version, cipher_suites};

/// Where the servers of tests listen.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Programs of one minor.
pub(crate) struct Binaries {
    pub etcd: PathBuf,
    pub version: Version,
}

/// All minors at hand.
pub(crate) fn binaries() -> Vec<Binaries> {
    let Some(root) = std::env::var_os("ETCD_BINARIES") else {
        panic!("set ETCD_BINARIES to a directory with 3.4/etcd, 3.5/etcd, … (the Makefile does)");
    };
    let mut tracks: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("ETCD_BINARIES={}: {error}", root.display()))
        .map(|entry| entry.unwrap().path().join("etcd"))
        .filter(|etcd| etcd.exists())
        .collect();
    tracks.sort();
    assert!(!tracks.is_empty(), "ETCD_BINARIES={} holds no etcd", root.display());
    tracks.into_iter().map(|etcd| Binaries { version: version(&etcd), etcd }).collect()
}

fn version(etcd: &PathBuf) -> Version {
    let output = std::process::Command::new(etcd).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("etcd Version: ")).unwrap().parse().unwrap()
}

/// An authority, and what it signed for 127.0.0.1.
pub(crate) struct Pki {
    pub credentials: Credentials,
    dir: TempDir,
}

impl Pki {
    pub fn new() -> Pki {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert_pem = params.signed_by(&key, &issuer).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("ca.crt", &ca_pem), ("crt", &cert_pem), ("key", &key.serialize_pem())] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let credentials = Credentials {
            ca_pem: ca_pem.into_bytes(),
            cert_pem: cert_pem.into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
        };
        Pki { credentials, dir }
    }

    fn tls(&self) -> ClientTls {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        ClientTls { certificate: file("crt"), key: file("key"), ca: file("ca.crt") }
    }
}

/// A free port that nobody gets twice: below those that the kernel gives to outgoing connections, which take any free
/// one between this look and the server's own.
pub(crate) fn free_url() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16 % 400 * 25;
    for _ in 0..PORTS.len() {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u16;
        let port = PORTS.start + place;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("https://127.0.0.1:{port}");
        }
    }
    panic!("no free port between {} and {}", PORTS.start, PORTS.end);
}

/// One running server, ended with this value.
pub(crate) struct Server {
    pub client_url: String,
    pub client: Client,
    pub settings: Settings,
    dir: TempDir,
    child: Child,
}

/// What a server is to be, before its first start.
pub(crate) fn settings(name: &str, pki: &Pki) -> Settings {
    let (client_url, peer_url) = (free_url(), free_url());
    Settings {
        name: name.to_owned(),
        data_dir: String::new(),
        wal_dir: None,
        listen_client_urls: vec![client_url.clone()],
        advertise_client_urls: vec![client_url],
        listen_peer_urls: vec![peer_url.clone()],
        initial_advertise_peer_urls: vec![peer_url.clone()],
        listen_metrics_urls: vec![],
        initial_cluster: vec![(name.to_owned(), peer_url)],
        initial_cluster_token: "test".to_owned(),
        initial_cluster_state: ClusterState::New,
        heartbeat_interval_ms: 100,
        // Long, so that a busy machine's stalls are no elections; a handover waits for none.
        election_timeout_ms: 10_000,
        snapshot_count: 10_000,
        quota_backend_bytes: 0,
        auto_compaction: None,
        cipher_suites: cipher_suites::DEFAULT.iter().map(|&suite| suite.to_owned()).collect(),
        tls_min_version: Some("TLS1.2".to_owned()),
        enable_v2: false,
        debug: false,
        client_tls: pki.tls(),
        peer_tls: pki.tls(),
        force_new_cluster: false,
    }
}

impl Server {
    pub fn start(binaries: &Binaries, mut settings: Settings, pki: &Pki) -> Server {
        let dir = tempfile::tempdir().unwrap();
        settings.data_dir = dir.path().join("data").display().to_string();
        std::fs::write(dir.path().join("etcd.conf.yml"), settings.render(&binaries.version)).unwrap();
        let child = run(binaries, &dir);
        let client_url = settings.advertise_client_urls[0].clone();
        let client = Client::connect(&client_url, &pki.credentials).unwrap();
        Server { client_url, client, settings, dir, child }
    }

    /// A single member that serves. It fears no election, and no lease is shorter than 1.5 times the election timeout.
    pub async fn alone(binaries: &Binaries, pki: &Pki) -> Server {
        let settings = Settings { election_timeout_ms: 1000, ..settings("first", pki) };
        Server::start(binaries, settings, pki).serving().await
    }

    pub async fn serving(mut self) -> Server {
        let served = eventually(|| self.client.confirm_quorum()).await;
        if let Err(error) = served {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            panic!("etcd does not serve ({:?}): {error}\n{log}", self.child.try_wait());
        }
        self
    }

    /// As a power cut ends it.
    pub async fn kill(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().await.unwrap();
        }
    }

    /// The same server again, on its data.
    pub async fn restart(&mut self, binaries: &Binaries) {
        self.kill().await;
        self.child = run(binaries, &self.dir);
    }

    /// The same with other settings.
    pub async fn restart_with(&mut self, binaries: &Binaries, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        let text = self.settings.render(&binaries.version);
        std::fs::write(self.dir.path().join("etcd.conf.yml"), text).unwrap();
        self.restart(binaries).await;
    }

    /// What the server says it was started with: the fields of its first log line of that kind.
    pub fn started_with(&self) -> serde_json::Value {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let starting = |line: &serde_json::Value| line["msg"] == "starting an etcd server";
        lines.into_iter().find(starting).unwrap_or_else(|| panic!("no such line in\n{log}"))
    }

    pub fn peer_url(&self) -> &str {
        &self.settings.initial_advertise_peer_urls[0]
    }
}

fn run(binaries: &Binaries, dir: &TempDir) -> Child {
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    Command::new(&binaries.etcd)
        .arg("--config-file")
        .arg(dir.path().join("etcd.conf.yml"))
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Tries again what may pass, for 30 s at most.
pub(crate) async fn eventually<T, F: Future<Output = Result<T>>>(mut ask: impl FnMut() -> F) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask().await {
            Err(error) if Instant::now() < deadline && passing(&error) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            outcome => return outcome,
        }
    }
}

fn passing(error: &Error) -> bool {
    // A server that has just started closes its first connections while it learns of the cluster.
    error.is_retryable() || matches!(error, Error::TlsRefused { .. } | Error::LearnerCannotServe)
}
