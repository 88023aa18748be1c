//! Snapshot archives against real servers: whole, private, readable by tar, and nothing left behind on failure.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use super::*;
use crate::etcd::test_server::{Pki, Server, binaries};

/// 2024-02-29 12:34:56 UTC.
const NOW_S: u64 = 1_709_210_096;

async fn filled(client: &Client, keys: u32) {
    for place in 0..keys {
        // Incompressible, so that the archive cannot be small by chance.
        let value: Vec<u8> = Sha256::digest(place.to_be_bytes()).repeat(300);
        client.put(format!("key{place}").as_bytes(), &value).await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_is_saved_whole_and_private() {
    let pki = Pki::new();
    for binaries in binaries() {
        let Server { client, .. } = &Server::alone(&binaries, &pki).await;
        filled(client, 150).await;
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(PARTIAL), "of a run that was killed").unwrap();
        let progress = Progress::default();
        let saved = save(client, home.path(), NOW_S, &progress).await.unwrap();
        assert_eq!(saved.path, home.path().join("etcd-snapshot-2024-02-29-12.34.56.tar.gz"));
        assert_eq!(files::list(home.path()).unwrap(), ["etcd-snapshot-2024-02-29-12.34.56.tar.gz"]);
        let meta = std::fs::metadata(&saved.path).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.size()), (0o600, saved.bytes));
        let sum = Command::new("sha256sum").arg(&saved.path).output().unwrap().stdout;
        assert!(String::from_utf8(sum).unwrap().starts_with(&saved.sha256));
        assert!(progress.to_string().starts_with("checked 1 of 1 MiB"), "{progress}");

        let listed = Command::new("tar").arg("-tzf").arg(&saved.path).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "./db\n", "{:?}", listed.stderr);
        let unpacked = Command::new("tar").arg("-xzf").arg(&saved.path).arg("-C").arg(home.path()).status();
        assert!(unpacked.unwrap().success());
        let db = std::fs::read(home.path().join("db")).unwrap();
        assert_eq!(
            (db.len() as u64, hex(&Sha256::digest(&db))),
            (saved.snapshot.bytes, saved.snapshot.sha256)
        );
    }
}

#[tokio::test]
async fn no_second_snapshot_takes_the_first_ones_place() {
    let pki = Pki::new();
    let Server { client, .. } = &Server::alone(&binaries()[0], &pki).await;
    let home = tempfile::tempdir().unwrap();
    let first = save(client, home.path(), NOW_S, &Progress::default()).await.unwrap();
    let before = std::fs::read(&first.path).unwrap();
    let second = save(client, home.path(), NOW_S, &Progress::default()).await.unwrap();
    assert_eq!(second.path, home.path().join("etcd-snapshot-2024-02-29-12.34.57.tar.gz"));
    assert_eq!(files::list(home.path()).unwrap().len(), 2);
    assert_eq!(std::fs::read(&first.path).unwrap(), before);
}

#[tokio::test]
async fn a_failure_leaves_nothing_behind() {
    let pki = Pki::new();
    let server = Server::alone(&binaries()[0], &pki).await;
    // More than a connection holds in flight: nothing may be left to read from when the server is gone.
    filled(&server.client, 800).await;
    let home = tempfile::tempdir().unwrap();
    // The stream breaks in its middle.
    let stream = server.client.open_snapshot().await.unwrap();
    let partial = Partial(home.path().join(PARTIAL));
    drop(server);
    assert!(write(stream, &partial.0, NOW_S, &Progress::default()).await.is_err());
    assert!(partial.0.exists());
    drop(partial);
    assert!(files::list(home.path()).unwrap().is_empty());
    // Nobody answers, or there is no such directory.
    let nobody = Client::connect(&crate::etcd::test_server::free_url(), &pki.credentials).unwrap();
    assert!(save(&nobody, home.path(), NOW_S, &Progress::default()).await.is_err());
    assert!(save(&nobody, Path::new("/no/such/place"), NOW_S, &Progress::default()).await.is_err());
    assert!(files::list(home.path()).unwrap().is_empty());
}

#[tokio::test]
async fn damage_on_the_disk_is_found_before_success_is_told() {
    let pki = Pki::new();
    let Server { client, .. } = &Server::alone(&binaries()[0], &pki).await;
    filled(client, 5).await;
    let home = tempfile::tempdir().unwrap();
    let saved = save(client, home.path(), NOW_S, &Progress::default()).await.unwrap();
    let whole = std::fs::read(&saved.path).unwrap();
    // A stretch, not a bit: among the many zeros of a small database one flipped bit can mean the same zeros again.
    for place in [10..26, whole.len() / 2..whole.len() / 2 + 32, whole.len() - 8..whole.len() - 4] {
        let mut damaged = whole.clone();
        damaged[place.clone()].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(&saved.path, &damaged).unwrap();
        assert!(check(&saved.path, &Progress::default()).is_err(), "{place:?}");
    }
    std::fs::write(&saved.path, &whole[..whole.len() - 4]).unwrap();
    assert!(check(&saved.path, &Progress::default()).is_err());
    std::fs::write(&saved.path, &whole).unwrap();
    let another = SnapshotSummary { sha256: "0".repeat(64), ..saved.snapshot.clone() };
    assert!(read_again(&saved.path, &another, &Progress::default()).await.is_err());
    assert!(read_again(&saved.path, &saved.snapshot, &Progress::default()).await.is_ok());
}

#[test]
fn space_is_judged_before_anything_is_written() {
    let place = Path::new("/home/ubuntu/etcd-snapshots");
    assert!(check_space(1 << 30, 2 << 30, place).is_ok());
    let error = check_space(1 << 30, 1 << 30, place).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot save a snapshot in /home/ubuntu/etcd-snapshots: 1024 MiB are free, 1042 MiB are needed; make space or name another directory"
    );
}
