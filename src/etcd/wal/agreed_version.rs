//! The version that a cluster has agreed on, as one member's files tell it. While it is the old minor, a newer server writes
//! nothing that an old one does not read: this is how a cluster of both works. Once it has moved, an old server ends at its
//! start. Source: etcd's `server/etcdserver/api/membership/cluster.go` (`SetVersion`, `mustDetectDowngrade`).

use std::io::Result;
use std::path::Path;

use super::old_records::{Request, newest_snapshot, requests, store};
use super::{last_file, odd};
use crate::etcd::{Minor, Version};

/// What the files below a stopped member's directories say last, in the log or in the newest raft snapshot; none where a
/// cluster has not agreed yet. An entry that is not committed counts as if it were.
///
/// # Errors
/// Something cannot be read, or is not as etcd writes it.
pub fn agreed_version(log: &Path, snapshots: &Path) -> Result<Option<Minor>> {
    last_file(log)?;
    let newest = newest_snapshot(snapshots)?;
    let requests = requests(log, newest.as_ref().map_or(0, |(index, _)| *index))?;
    let set = |request| match request {
        Request::OwnVersion(version) | Request::Version(version) => Some(version),
        Request::Own | Request::Other(_) => None,
    };
    let mut agreed = requests.into_values().filter_map(set).next_back();
    if agreed.is_none()
        && let Some((_, name)) = newest
    {
        let store = store(&std::fs::read(snapshots.join(name))?)?;
        agreed = store["Root"]["Children"]["0"]["Children"]["version"]["Value"].as_str().map(str::to_owned);
    }
    let minor = |text: String| text.parse().map(|version: Version| version.minor_version());
    agreed.map(minor).transpose().map_err(|_| odd("the cluster's version is none"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::{entry, field, frame, message};
    use super::super::{ENTRY, SNAPSHOT, SUM};
    use super::*;

    /// A log's only file, whose one entry sets this version.
    pub(crate) fn log_that_sets(version: &str) -> Vec<u8> {
        let mut sum = 0;
        let sums = frame(&mut sum, SUM, &[]);
        [sums, frame(&mut sum, ENTRY, &entry(1, &by_request(version)))].concat()
    }

    fn by_old_store(version: &str) -> Vec<u8> {
        [&[1 << 3, 7][..], &field(2, b"PUT"), &field(3, b"/0/version"), &field(4, version.as_bytes())]
            .concat()
    }

    fn by_request(version: &str) -> Vec<u8> {
        let set = field(1, version.as_bytes());
        [&[1 << 3, 7, 0xa2, 0x51, u8::try_from(set.len()).unwrap()][..], &set].concat()
    }

    /// What is agreed after these entries from the first on, with a raft snapshot that ends with entry 1.
    fn agreed(entries: &[Vec<u8>], store: &str) -> Result<Option<Minor>> {
        let home = tempfile::tempdir().unwrap();
        let (log, snapshots) = (home.path().join("wal"), home.path().join("snap"));
        std::fs::create_dir(&log).unwrap();
        std::fs::create_dir(&snapshots).unwrap();
        let mut sum = 0;
        let mut file = frame(&mut sum, SUM, &[]);
        for (index, data) in (1..).zip(entries) {
            file.extend(frame(&mut sum, ENTRY, &entry(index, data)));
        }
        file.extend(frame(&mut sum, SNAPSHOT, &message([1, 3, 0])));
        std::fs::write(log.join("0-0.wal"), file).unwrap();
        let snapshot = field(2, &field(1, store.as_bytes()));
        std::fs::write(snapshots.join("0000000000000003-0000000000000001.snap"), snapshot).unwrap();
        agreed_version(&log, &snapshots)
    }

    const OF_3_5: &str = r#"{"Root":{"Children":{"0":{"Children":{"version":{"Value":"3.5.0"}}}}}}"#;

    #[test]
    fn the_last_word_counts_whoever_has_said_it() {
        let minor = |minor| Some(Minor { major: 3, minor });
        assert_eq!(
            agreed(&[by_old_store("3.4.0")], OF_3_5).unwrap(),
            minor(5),
            "the snapshot has the first entry"
        );
        assert_eq!(agreed(&[vec![], by_request("3.6.0")], OF_3_5).unwrap(), minor(6));
        assert_eq!(agreed(&[vec![], by_request("3.6.0"), by_request("3.5.0")], OF_3_5).unwrap(), minor(5));
        assert_eq!(agreed(&[vec![], by_old_store("3.4.0")], OF_3_5).unwrap(), minor(4));
        assert_eq!(agreed(&[], r#"{"Root":{}}"#).unwrap(), None);
        assert!(agreed(&[vec![], by_request("")], OF_3_5).is_err(), "whoever does not know says so");
    }
}
