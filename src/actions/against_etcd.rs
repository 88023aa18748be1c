//! Maintenance against real clusters of every minor at hand: space comes back, the full database is cured, and nothing
//! is begun that could not be finished.

use std::path::Path;
use std::time::Duration;

use super::cluster::Cluster;
use super::compact::{Compacted, compact, compact_all};
use super::{defrag, maintain};
use crate::etcd::test_server::{Binaries, Pki, Server, binaries, eventually, settings};
use crate::etcd::{Client, ClusterState, Error, MemberId, Settings, commit_all};
use crate::juju::{Tools, UnitName};

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

/// Where there are no hook tools at all: progress is shown nowhere.
fn no_tools() -> Tools {
    Tools::with_path("/no/such/place")
}

/// One more voter, or a learner.
async fn join(binaries: &Binaries, pki: &Pki, servers: &[Server], wanted: Settings, vote: bool) -> Server {
    let first = &servers[0].client;
    let peer_url = wanted.initial_advertise_peer_urls[0].clone();
    let (id, _) = eventually(|| first.add_learner(&peer_url)).await.unwrap();
    let mut wanted = Settings { initial_cluster_state: ClusterState::Existing, ..wanted };
    let others = servers.iter().map(|server| (server.settings.name.clone(), server.peer_url().to_owned()));
    wanted.initial_cluster.extend(others);
    let server = Server::start(binaries, wanted, pki);
    eventually(|| server.client.status()).await.unwrap();
    if vote {
        eventually(|| first.promote(id)).await.unwrap();
        eventually(|| server.client.confirm_quorum()).await.unwrap();
    }
    server
}

async fn trio(binaries: &Binaries, pki: &Pki, change: impl Fn(Settings) -> Settings) -> Vec<Server> {
    let first = Server::start(binaries, change(settings("etcd0", pki)), pki).serving().await;
    let mut servers = vec![first];
    for name in ["etcd1", "etcd2"] {
        let next = join(binaries, pki, &servers, change(settings(name, pki)), true).await;
        servers.push(next);
    }
    servers
}

fn cluster(servers: &[Server], pki: &Pki) -> Cluster {
    Cluster::at(servers[0].client.clone(), pki.credentials.clone())
}

async fn raft_leader(servers: &[Server]) -> Option<MemberId> {
    servers[0].client.status().await.unwrap().raft_leader
}

async fn sizes(servers: &[Server]) -> Vec<i64> {
    let mut sizes = Vec::new();
    for server in servers {
        sizes.push(server.client.status().await.unwrap().db_size_bytes);
    }
    sizes
}

async fn write_history(servers: &[Server]) {
    for _ in 0..150 {
        eventually(|| servers[0].client.put(b"key", &[7; 20_000])).await.unwrap();
    }
}

#[tokio::test]
async fn all_members_get_their_space_back_and_the_raft_leader_comes_last() {
    let pki = Pki::new();
    for binaries in binaries() {
        let servers = trio(&binaries, &pki, |settings| settings).await;
        write_history(&servers).await;
        let cluster = cluster(&servers, &pki);
        let leader = raft_leader(&servers).await;
        let before = sizes(&servers).await;
        assert!(!compact_all(&cluster, true).await.unwrap().already);

        let exclusive = cluster.exclusively(&unit("etcd/0")).await.unwrap();
        let refused = cluster.exclusively(&unit("etcd/1")).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "etcd/0 does maintenance on this cluster now (lock etcd-charm/maintenance); try again when it has finished"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        let rolled = defrag::roll(&cluster, &exclusive, &no_tools()).await;
        exclusive.release().await;
        assert_eq!(rolled.failure, None);
        assert_ne!(raft_leader(&servers).await, leader, "leadership was handed over");
        let results = rolled.results();
        assert_eq!(results["output"].matches("Finished defragmenting etcd member[https://").count(), 3);
        let led = servers[0].client.members().await.unwrap();
        let led = led.iter().find(|member| Some(member.id) == leader).unwrap();
        assert!(results["output"].ends_with(&format!("member[{}]", led.client_urls[0])), "{results:?}");
        for (after, before) in sizes(&servers).await.into_iter().zip(before) {
            assert!(after < before / 4, "{before} {after}");
        }
        cluster.exclusively(&unit("etcd/1")).await.unwrap().release().await;
    }
}

#[tokio::test]
async fn nothing_is_defragmented_while_a_member_is_added_or_down() {
    let pki = Pki::new();
    let binaries = &binaries()[0];
    let mut servers = vec![Server::start(binaries, settings("etcd0", &pki), &pki).serving().await];
    let second = join(binaries, &pki, &servers, settings("etcd1", &pki), false).await;
    servers.push(second);
    let cluster = cluster(&servers, &pki);
    let exclusive = cluster.exclusively(&unit("etcd/0")).await.unwrap();
    let rolled = defrag::roll(&cluster, &exclusive, &no_tools()).await;
    assert!(rolled.done.is_empty());
    assert_eq!(
        rolled.failure.as_deref(),
        Some(
            "no member may be busy with its database now: etcd1 is still being added; run the health action, and this one again when all members are healthy"
        )
    );
    servers.pop();
    let rolled = defrag::roll(&cluster, &exclusive, &no_tools()).await;
    assert!(rolled.done.is_empty() && rolled.failure.is_some());
}

#[tokio::test]
async fn a_lost_lock_ends_maintenance() {
    let pki = Pki::new();
    let servers = [Server::alone(&binaries()[0], &pki).await];
    let cluster = cluster(&servers, &pki);
    let exclusive = cluster.exclusively(&unit("etcd/0")).await.unwrap();
    exclusive.check(&cluster).await.unwrap();
    assert!(servers[0].client.delete(b"etcd-charm/maintenance").await.unwrap());
    let rolled = defrag::roll(&cluster, &exclusive, &no_tools()).await;
    assert_eq!(rolled.failure.as_deref(), Some("the lock for maintenance was lost meanwhile; run it again"));
    assert!(rolled.done.is_empty());
}

#[tokio::test]
async fn compacting_twice_is_compacting_once_and_the_future_is_refused() {
    let pki = Pki::new();
    for binaries in binaries() {
        let servers = [Server::alone(&binaries, &pki).await];
        write_history(&servers).await;
        let cluster = cluster(&servers, &pki);
        assert_eq!(compact(&cluster, 50, true).await.unwrap(), Compacted { revision: 50, already: false });
        assert_eq!(compact(&cluster, 50, true).await.unwrap(), Compacted { revision: 50, already: true });
        assert_eq!(compact(&cluster, 20, false).await.unwrap(), Compacted { revision: 20, already: true });
        let present = servers[0].client.confirm_quorum().await.unwrap();
        assert_eq!(
            compact(&cluster, present + 1, false).await.unwrap_err().to_string(),
            format!("revision: {} has not been reached; the present revision is {present}", present + 1)
        );
        assert_eq!(
            compact_all(&cluster, false).await.unwrap(),
            Compacted { revision: present, already: false }
        );
    }
}

/// Until the cluster takes no more.
async fn fill(servers: &[Server], key: impl Fn(u32) -> String) {
    for place in 0..400 {
        match servers[0].client.put(key(place).as_bytes(), &[7; 50_000]).await {
            Ok(_) => {}
            Err(Error::NoSpace) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the database never became full");
}

#[tokio::test]
async fn a_full_cluster_takes_writes_again_after_maintenance() {
    let pki = Pki::new();
    for binaries in binaries() {
        let small = |settings| Settings { quota_backend_bytes: 4_000_000, ..settings };
        let servers = trio(&binaries, &pki, small).await;
        let cluster = cluster(&servers, &pki);
        fill(&servers, |_| "key".to_owned()).await;
        let report = maintain::maintain(&cluster, &unit("etcd/0"), &no_tools()).await.unwrap();
        assert_eq!(report.failure, None, "{:?}", report.results);
        assert!(report.results["disarmed"].contains("NOSPACE on member "), "{:?}", report.results);
        assert_eq!(servers[0].client.alarms().await.unwrap(), []);
        servers[0].client.put(b"key", &[7; 50_000]).await.unwrap();
        // With nothing to cure it is just done again.
        let report = maintain::maintain(&cluster, &unit("etcd/1"), &no_tools()).await.unwrap();
        assert_eq!((report.failure, report.results["disarmed"].as_str()), (None, "none"));
    }
}

#[tokio::test]
async fn a_cluster_that_is_full_of_keys_says_so() {
    let pki = Pki::new();
    for binaries in binaries() {
        let mut servers = [Server::start(&binaries, settings("etcd0", &pki), &pki).serving().await];
        for place in 0..60 {
            servers[0].client.put(format!("key{place}").as_bytes(), &[7; 50_000]).await.unwrap();
        }
        servers[0].restart_with(&binaries, |settings| settings.quota_backend_bytes = 2_000_000).await;
        let client = Client::connect(&servers[0].client_url, &pki.credentials).unwrap();
        eventually(|| client.confirm_quorum()).await.unwrap();
        assert!(matches!(client.put(b"one", b"more").await, Err(Error::NoSpace)));
        let cluster = Cluster::at(client, pki.credentials.clone());
        let report = maintain::maintain(&cluster, &unit("etcd/0"), &no_tools()).await.unwrap();
        let failure = report.failure.unwrap_or_default();
        assert!(failure.ends_with("delete keys or raise quota_backend_bytes, and run it again"), "{failure}");
        assert!(report.results["alarms"].contains("NOSPACE"), "{:?}", report.results);
    }
}

#[tokio::test]
async fn a_survivor_of_a_power_cut_keeps_what_was_acknowledged() {
    let pki = Pki::new();
    for binaries in binaries() {
        let mut servers = trio(&binaries, &pki, |settings| settings).await;
        for place in 0..20 {
            servers[2].client.put(format!("key{place}").as_bytes(), b"value").await.unwrap();
        }
        // Until the database has it all, which makes it worse: etcd takes its own change of the members for done then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for server in &mut servers {
            server.kill().await;
        }
        let log = Path::new(&servers[0].settings.data_dir).join("member/wal");
        assert!(commit_all(&log).unwrap() > 0, "the record never lags");
        assert_eq!(commit_all(&log).unwrap(), 0);
        servers[0].restart_with(&binaries, |settings| settings.force_new_cluster = true).await;
        let client = Client::connect(&servers[0].client_url, &pki.credentials).unwrap();
        eventually(|| client.confirm_quorum()).await.unwrap();
        assert_eq!(client.members().await.unwrap().len(), 1);
        assert_eq!(client.get(b"key19").await.unwrap().as_deref(), Some(&b"value"[..]));
    }
}
