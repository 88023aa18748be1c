//! This port against real servers of every minor at hand: what etcd's documentation leaves open is settled here.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::test_server::{Pki, Server, binaries, eventually, free_url, settings};
use super::{
    Alarm, AlarmKind, Client, ClusterState, Compaction, Credentials, Error, Lock, MemberId, Permission,
    Settings, Taken, Version, check_snapshot, log_end, reach,
};

#[tokio::test]
async fn a_server_tells_of_itself() {
    let pki = Pki::new();
    for binaries in binaries() {
        let server = Server::alone(&binaries, &pki).await;
        let status = server.client.status().await.unwrap();
        assert_eq!(status.version, binaries.version);
        assert_eq!(status.raft_leader, Some(status.member));
        assert!(!status.learner && status.errors.is_empty() && status.db_size_bytes > 0);
        let members = server.client.members().await.unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!((members[0].id, members[0].name.as_str()), (status.member, "first"));
        assert_eq!(members[0].client_urls, std::slice::from_ref(&server.client_url));
        assert_eq!(server.client.alarms().await.unwrap(), []);
    }
}

#[tokio::test]
async fn keys_are_written_read_and_deleted() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        let before = client.confirm_quorum().await.unwrap();
        assert_eq!(client.put(b"key", b"value").await.unwrap(), before + 1);
        assert_eq!(client.get(b"key").await.unwrap(), Some(b"value".to_vec()));
        assert!(client.delete(b"key").await.unwrap());
        assert!(!client.delete(b"key").await.unwrap());
        assert_eq!(client.get(b"key").await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_end_of_a_log_is_read_while_its_server_runs() {
    let pki = Pki::new();
    for binaries in binaries() {
        let server = Server::alone(&binaries, &pki).await;
        for _ in 0..5 {
            server.client.put(b"key", b"value").await.unwrap();
        }
        let status = server.client.status().await.unwrap();
        let end = log_end(&Path::new(&server.settings.data_dir).join("member/wal")).unwrap();
        assert_eq!((end.term, end.index), (status.raft_term, status.raft_index), "{}", binaries.version);
    }
}

/// Two clusters under one authority: whoever answers first is not believed for that.
#[tokio::test]
async fn only_the_word_of_the_known_cluster_counts() {
    let pki = Pki::new();
    let binaries = binaries();
    let (own, other) = (Server::alone(&binaries[0], &pki).await, Server::alone(&binaries[0], &pki).await);
    let cluster = Some(own.client.status().await.unwrap().cluster);
    let misled = other.client.clone().of_cluster(cluster);
    for error in [misled.confirm_quorum().await.unwrap_err(), misled.members().await.unwrap_err()] {
        assert!(matches!(error, Error::AnotherCluster { .. }), "{error:?}");
    }
    own.client.clone().of_cluster(cluster).confirm_quorum().await.unwrap();
    let endpoints = [other.client_url.clone(), own.client_url.clone()];
    for _ in 0..5 {
        let reached = reach(&endpoints, &pki.credentials, cluster).await.unwrap();
        assert_eq!(reached.endpoint(), own.client_url);
    }
    let nobody = reach(&endpoints[..1], &pki.credentials, cluster).await.unwrap_err().to_string();
    assert!(nobody.contains("it is of cluster "), "{nobody}");
}

#[tokio::test]
async fn a_learner_is_added_started_promoted_and_removed() {
    let pki = Pki::new();
    for binaries in binaries() {
        let first = Server::alone(&binaries, &pki).await;
        let mut joiner = settings("second", &pki);
        let peer_url = joiner.initial_advertise_peer_urls[0].clone();
        let (id, members) = eventually(|| first.client.add_learner(&peer_url)).await.unwrap();
        let added = members.iter().find(|member| member.id == id).unwrap();
        assert!(added.learner && !added.is_started() && members.len() == 2);
        refusals_while_a_learner_waits(&first, id, &peer_url).await;

        joiner.initial_cluster_state = ClusterState::Existing;
        joiner.initial_cluster.push(("first".to_owned(), first.peer_url().to_owned()));
        let second = Server::start(&binaries, joiner, &pki);
        let status = eventually(|| second.client.status()).await.unwrap();
        assert!(status.learner && status.member == id);
        let refused = second.client.confirm_quorum().await.unwrap_err();
        assert!(matches!(refused, Error::LearnerCannotServe), "{refused:?}");
        let endpoints = [free_url(), second.client_url.clone(), first.client_url.clone()];
        let reached = reach(&endpoints, &pki.credentials, None).await.unwrap();
        assert_eq!(reached.endpoint(), first.client_url);

        made(eventually(|| first.client.promote(id)).await, |error| matches!(error, Error::NotALearner));
        eventually(|| second.client.confirm_quorum()).await.unwrap();
        assert!(matches!(eventually(|| first.client.promote(id)).await, Err(Error::NotALearner)));
        leadership_moves(&first, &second, id).await;
        peer_urls_are_checked(&first, &second, id).await;

        made(eventually(|| first.client.remove(id)).await, |error| matches!(error, Error::MemberNotFound));
        // The raft leader removed itself: the rest elects another one first.
        assert!(matches!(eventually(|| first.client.remove(id)).await, Err(Error::MemberNotFound)));
        let own = eventually(|| first.client.status()).await.unwrap().member;
        eventually(|| first.client.confirm_quorum()).await.unwrap();
        assert_eq!(first.client.members().await.unwrap().len(), 1);
        let last = first.client.remove(own).await.unwrap_err();
        assert!(matches!(last, Error::NotEnoughStarted), "{last:?}");
    }
}

/// The answer to a change is lost where the raft leader goes, or is slow, before it is given. Asked again, etcd refuses a
/// change that was made already.
fn made(outcome: Result<(), Error>, already: impl Fn(&Error) -> bool) {
    if let Err(error) = outcome {
        assert!(already(&error), "{error:?}");
    }
}

async fn refusals_while_a_learner_waits(first: &Server, learner: MemberId, peer_url: &str) {
    let another = first.client.add_learner(&free_url()).await.unwrap_err();
    assert!(matches!(another, Error::TooManyLearners), "{another:?}");
    let same = first.client.add_learner(peer_url).await.unwrap_err();
    assert!(matches!(same, Error::PeerUrlExists | Error::MemberIdExists), "{same:?}");
    let early = first.client.promote(learner).await.unwrap_err();
    assert!(matches!(early, Error::NotInSync), "{early:?}");
    let unknown = MemberId(0xdead);
    for outcome in [first.client.promote(unknown).await, first.client.remove(unknown).await] {
        assert!(matches!(outcome, Err(Error::MemberNotFound)), "{outcome:?}");
    }
}

async fn leadership_moves(first: &Server, second: &Server, id: MemberId) {
    let own = first.client.status().await.unwrap().member;
    let refused = first.client.move_leader(MemberId(0xdead)).await.unwrap_err();
    assert!(matches!(refused, Error::BadTransferee), "{refused:?}");
    first.client.move_leader(id).await.unwrap();
    let refused = first.client.move_leader(own).await.unwrap_err();
    assert!(matches!(refused, Error::NotLeader), "{refused:?}");
    assert_eq!(second.client.status().await.unwrap().raft_leader, Some(id));
}

async fn peer_urls_are_checked(first: &Server, second: &Server, id: MemberId) {
    let taken = first.client.update_peer_urls(id, &[first.peer_url().to_owned()]).await.unwrap_err();
    assert!(matches!(taken, Error::PeerUrlExists), "{taken:?}");
    for urls in [vec!["127.0.0.1:2380".to_owned()], vec![]] {
        assert!(matches!(first.client.update_peer_urls(id, &urls).await, Err(Error::NotAUrl { .. })));
    }
    first.client.update_peer_urls(id, &[second.peer_url().to_owned()]).await.unwrap();
}

#[tokio::test]
async fn a_refused_read_proves_a_quorum_and_is_told_apart() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        assert_eq!(client.prove_quorum().await.unwrap(), Permission::Granted);
        client.call("user", async |mut raw| raw.user_add("root", "secret", None).await).await.unwrap();
        client.call("role", async |mut raw| raw.user_grant_role("root", "root").await).await.unwrap();
        client.call("auth", async |mut raw| raw.auth_enable().await).await.unwrap();
        let refused = client.confirm_quorum().await.unwrap_err();
        assert!(matches!(refused, Error::Denied), "{refused:?}");
        assert_eq!(client.prove_quorum().await.unwrap(), Permission::Denied);
        let status = client.status().await;
        assert!(matches!(status, Ok(_) | Err(Error::Denied)), "{status:?}");
    }
}

#[tokio::test]
async fn a_lock_keeps_others_out_while_its_holder_lives() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        let lock = locked(client, "etcd/0", 2).await.unwrap();
        let others = client.try_lock("lock", "etcd/1", 2, is_unit).await.unwrap();
        assert!(
            matches!(others, Taken::Elsewhere(holder) if holder.to_string() == "etcd/0 holds the lock lock")
        );
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(client.lock_holder("lock").await.unwrap().as_deref(), Some("etcd/0"), "it is renewed");
        lock.unlock().await.unwrap();
        assert_eq!(client.lock_holder("lock").await.unwrap(), None);

        drop(locked(client, "etcd/1", 60).await.unwrap());
        let again = locked(client, "etcd/1", 2).await.unwrap();
        drop(again);
        let deadline = Instant::now() + Duration::from_secs(15);
        while locked(client, "etcd/2", 60).await.is_none() {
            assert!(Instant::now() < deadline, "a dropped lock ends with its lease");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn is_unit(name: &str) -> bool {
    name.starts_with("etcd/")
}

async fn locked(client: &Client, holder: &str, ttl_s: i64) -> Option<Lock> {
    client.try_lock("lock", holder, ttl_s, is_unit).await.unwrap().held()
}

#[tokio::test]
async fn what_any_client_has_written_is_no_lock() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        for junk in ["", "etcd/1", "rolling upgrade, ask Bob"] {
            client.put(b"lock", junk.as_bytes()).await.unwrap();
            let lock = locked(client, "etcd/0", 60).await.unwrap();
            assert!(locked(client, "etcd/1", 60).await.is_none(), "{junk:?}");
            lock.unlock().await.unwrap();
            assert_eq!(client.lock_holder("lock").await.unwrap(), None);
        }
        // With a lease, but by nobody who takes locks.
        drop(client.try_lock("lock", "Bob", 60, |_| true).await.unwrap());
        assert!(locked(client, "etcd/0", 60).await.is_some());
    }
}

#[tokio::test]
async fn a_lock_survives_a_restart_of_the_server_it_was_taken_through() {
    let pki = Pki::new();
    for binaries in binaries() {
        let mut server = Server::alone(&binaries, &pki).await;
        let lock = locked(&server.client, "etcd/0", 60).await.unwrap();
        server.restart(&binaries).await;
        let fresh = Client::connect(&server.client_url, &pki.credentials).unwrap();
        eventually(|| fresh.confirm_quorum()).await.unwrap();
        assert_eq!(fresh.lock_holder("lock").await.unwrap().as_deref(), Some("etcd/0"));
        lock.unlock().await.unwrap();
        assert_eq!(fresh.lock_holder("lock").await.unwrap(), None);
    }
}

/// How a server says that it compares itself with the others before it serves: a flag up to 3.5, later a feature gate,
/// beside which the old flag is told as off.
fn corrupt_check_on(version: &Version) -> (&'static str, Value) {
    if (version.major, version.minor) < (3, 6) {
        ("initial-corrupt-check", json!(true))
    } else {
        ("feature-gates", json!("InitialCorruptCheck=true"))
    }
}

#[tokio::test]
async fn settings_take_effect() {
    let pki = Pki::new();
    for binaries in binaries() {
        let rule = Compaction { mode: "revision".to_owned(), retention: "1000".to_owned() };
        let wanted = Settings {
            heartbeat_interval_ms: 150,
            election_timeout_ms: 1500,
            snapshot_count: 12_345,
            quota_backend_bytes: 3_000_000_000,
            auto_compaction: Some(rule),
            ..settings("first", &pki)
        };
        let server = Server::start(&binaries, wanted, &pki).serving().await;
        let said = server.started_with();
        let expected = [
            ("heartbeat-interval", json!("150ms")),
            ("election-timeout", json!("1.5s")),
            ("snapshot-count", json!(12_345)),
            ("pre-vote", json!(true)),
            corrupt_check_on(&binaries.version),
            ("initial-cluster-token", json!("test")),
            ("auto-compaction-mode", json!("revision")),
            ("quota-backend-bytes", json!(3_000_000_000_u64)),
        ];
        for (key, value) in expected {
            assert_eq!(said[key], value, "{} {key}: {said}", binaries.version);
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_whole_or_refused() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        for place in 0..100_u32 {
            client.put(format!("key{place}").as_bytes(), &[7; 10_000]).await.unwrap();
        }
        let (mut file, mut seen) = (Vec::new(), 0);
        let summary = client.snapshot(&mut file, |bytes| seen = bytes).await.unwrap();
        assert_eq!((summary.bytes, seen), (file.len() as u64, file.len() as u64));
        assert!(summary.bytes > 1_000_000);
        assert_eq!(summary.revision, client.confirm_quorum().await.unwrap());
        assert_eq!(summary.version, binaries.version);
        assert_eq!(check_snapshot(file.as_slice()).unwrap(), (summary.bytes, summary.sha256));
        let middle = file.len() / 2;
        file[middle] ^= 1;
        assert!(matches!(check_snapshot(file.as_slice()), Err(Error::BrokenSnapshot { .. })));
    }
}

#[tokio::test]
async fn history_is_compacted_and_space_given_back() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        for _ in 0..200 {
            client.put(b"key", &[7; 20_000]).await.unwrap();
        }
        let revision = client.confirm_quorum().await.unwrap();
        let before = client.status().await.unwrap();
        client.compact(revision, true).await.unwrap();
        let refused = client.compact(revision, false).await.unwrap_err();
        assert!(matches!(refused, Error::Compacted), "{refused:?}");
        let refused = client.compact(revision + 100, false).await.unwrap_err();
        assert!(matches!(refused, Error::FutureRevision), "{refused:?}");
        client.defragment(Duration::from_secs(30)).await.unwrap();
        let after = client.status().await.unwrap();
        assert!(after.db_size_bytes < before.db_size_bytes / 10, "{before:?} {after:?}");
        let hash = client.hash_kv(0).await.unwrap();
        assert_eq!(hash.compacted_at, revision);
        let later = client.put(b"another", b"key").await.unwrap();
        assert_ne!(client.hash_kv(later).await.unwrap().hash, hash.hash);
        let refused = client.hash_kv(revision - 1).await.unwrap_err();
        assert!(matches!(refused, Error::Compacted), "{refused:?}");
    }
}

#[tokio::test]
async fn a_full_database_raises_an_alarm_that_can_be_cured() {
    let pki = Pki::new();
    for binaries in binaries() {
        let small = Settings { quota_backend_bytes: 2_000_000, ..settings("first", &pki) };
        let Server { client, .. } = &Server::start(&binaries, small, &pki).serving().await;
        let mut refused = None;
        for _ in 0..200 {
            refused = client.put(b"key", &[7; 50_000]).await.err();
            if refused.is_some() {
                break;
            }
        }
        assert!(matches!(refused, Some(Error::NoSpace)), "{refused:?}");
        let lock = client.try_lock("lock", "etcd/0", 2, is_unit).await;
        assert!(matches!(lock, Err(Error::NoSpace)), "{lock:?}");
        let status = client.status().await.unwrap();
        let alarm = Alarm { member: Some(status.member), kind: AlarmKind::NoSpace };
        assert_eq!(client.alarms().await.unwrap(), [alarm]);
        client.compact(status.revision, true).await.unwrap();
        client.defragment(Duration::from_secs(30)).await.unwrap();
        client.disarm(&alarm).await.unwrap();
        assert_eq!(client.alarms().await.unwrap(), []);
        client.put(b"key", b"small").await.unwrap();
    }
}

#[tokio::test]
async fn who_cannot_be_asked_is_told_apart() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let nobody = Client::connect(&free_url(), &pki.credentials).unwrap();
    let error = nobody.confirm_quorum().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");

    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", mute.local_addr().unwrap());
    let client =
        Client::connect(&endpoint, &pki.credentials).unwrap().with_timeout(Duration::from_millis(300));
    let started = Instant::now();
    let error = client.confirm_quorum().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { after_ms: 300.., .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));

    for binaries in binaries() {
        let server = Server::alone(&binaries, &pki).await;
        let trusts_another = stranger.credentials.clone();
        let comes_from_another =
            Credentials { ca_pem: pki.credentials.ca_pem.clone(), ..stranger.credentials.clone() };
        for credentials in [trusts_another, comes_from_another] {
            let client = Client::connect(&server.client_url, &credentials).unwrap();
            let error = client.confirm_quorum().await.unwrap_err();
            // A server that refuses a certificate may hang up before its reason has arrived.
            let hung_up = matches!(&error, Error::Unreachable { cause, .. }
                if cause.contains("broken pipe") || cause.contains("reset"));
            assert!(matches!(error, Error::TlsRefused { .. }) || hung_up, "{error:?}");
        }
    }
}
