//! What etcd's old store has left in a member's files. Later versions panic on its requests in the log: etcd 3.6 on all but those by
//! which etcd itself told of its members, 3.7 on these too. They are there where nobody ever wrote a key: a mere `GET /health`
//! is one on 3.4, and each start up to 3.5 makes one. Nor do they start on keys of clients in a raft snapshot.
//! Source: etcd's `server/etcdserver/apply_v2.go` and `server/storage/util.go` of 3.6, `server/etcdserver/apply/apply.go` of 3.7.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Result};
use std::path::Path;

use super::{Log, Value, bytes, fields, files, odd};

/// The methods of the old store's requests.
const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "QGET", "SYNC", "HEAD"];
/// Where it keeps what etcd writes itself.
const OWN: &str = "0";
/// Where it kept users and roles: the places for them stay.
const USERS: &str = "2";
/// `InternalRaftRequest.cluster_version_set` in etcd's `raft_internal.proto`.
const VERSION_SET: u64 = 1300;

/// What keeps a later etcd from starting on a member's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRecords {
    /// Nothing does.
    None,
    /// Requests to the old store since the newest raft snapshot, all of them of etcd itself: 3.6 takes them, 3.7 does not.
    Own,
    /// Among them one that 3.6 does not take either: its method and path.
    Request(String),
    /// Keys in the old store, in the newest raft snapshot, and nobody has deleted them since.
    Keys,
}

/// What an entry of the log asks for, as far as anybody here wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// To the old store, by which etcd tells of its members.
    Own,
    /// To the old store, that the cluster's version be this.
    OwnVersion(String),
    /// To the old store, any other: its method and path.
    Other(String),
    /// That the cluster's version be this, as from 3.5 on.
    Version(String),
}

/// Looks into the log and the raft snapshots below a member's directories; its server may run.
///
/// # Errors
/// Something cannot be read, or is not as etcd writes it: torn, for example, or just being written.
pub fn old_records(log: &Path, snapshots: &Path) -> Result<OldRecords> {
    let newest = newest_snapshot(snapshots)?;
    let mut requests = requests(log, newest.as_ref().map_or(0, |(index, _)| *index))?;
    requests.retain(|_, request| !matches!(request, Request::Version(_)));
    let is_empty = requests.is_empty();
    // It may be the one that has deleted the keys of the snapshot: the next one tells.
    let other = |request| if let Request::Other(request) = request { Some(request) } else { None };
    if let Some(request) = requests.into_values().find_map(other) {
        return Ok(OldRecords::Request(request));
    }
    if let Some((_, name)) = newest
        && holds_keys(&store(&std::fs::read(snapshots.join(name))?)?)
    {
        return Ok(OldRecords::Keys);
    }
    Ok(if is_empty { OldRecords::None } else { OldRecords::Own })
}

/// Index and file name of the last one.
pub(super) fn newest_snapshot(directory: &Path) -> Result<Option<(u64, String)>> {
    let mut newest: Option<(u64, String)> = None;
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let numbers = name.strip_suffix(".snap").and_then(|stem| stem.split_once('-'));
        let index = numbers.and_then(|(_, index)| u64::from_str_radix(index, 16).ok());
        newest = newest.into_iter().chain(index.map(|index| (index, name))).max();
    }
    Ok(newest)
}

/// Those that came after the entry that the newest snapshot ends with.
pub(super) fn requests(directory: &Path, snapshot: u64) -> Result<BTreeMap<u64, Request>> {
    let files = files(directory)?;
    // A file is named for its first entry, and the record of a snapshot follows the entry that it ends with.
    let begin = files.iter().rposition(|(_, first, _)| *first <= snapshot).unwrap_or(0);
    let mut requests = BTreeMap::new();
    let mut is_recorded = snapshot == 0;
    for (_, first, path) in &files[begin..] {
        let mut log = Log { requests: Some(requests), ..Log::new(*first) };
        let mut file = BufReader::new(File::open(path)?);
        while log.read(&mut file)? {}
        is_recorded |= log.snapshot.is_some_and(|found| found.index >= snapshot);
        requests = log.requests.unwrap_or_default();
    }
    if !is_recorded {
        return Err(odd("it does not know the newest raft snapshot"));
    }
    Ok(requests.split_off(&(snapshot + 1)))
}

/// The request that an entry holds.
pub(super) fn of_entry(entry: &[u8]) -> Result<Option<Request>> {
    let is_normal =
        fields(entry)?.iter().all(|field| !matches!(field, (1, Value::Number(kind)) if *kind != 0));
    let Some(data) = bytes(entry, 4)?.filter(|_| is_normal) else { return Ok(None) };
    if let Some(set) = bytes(data, VERSION_SET)? {
        return Ok(Some(Request::Version(text(bytes(set, 1)?))));
    }
    // Where other requests have a message for the old store, its own have their method.
    let Some(second) = bytes(data, 2)? else { return Ok(None) };
    let is_bare = METHODS.iter().any(|method| method.as_bytes() == second);
    let request = if is_bare { data } else { second };
    let (method, path) = (text(bytes(request, 2)?), text(bytes(request, 3)?));
    Ok(Some(match (method.as_str(), path.as_str()) {
        ("PUT", "/0/version") => Request::OwnVersion(text(bytes(request, 4)?)),
        ("PUT", path) if is_attributes(path) => Request::Own,
        _ => Request::Other(format!("{method} {path}")),
    }))
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn is_attributes(path: &str) -> bool {
    let id = path.strip_prefix("/0/members/").and_then(|rest| rest.strip_suffix("/attributes"));
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The old store that a raft snapshot's file holds; later versions go on to write their members and version there.
pub(super) fn store(file: &[u8]) -> Result<serde_json::Value> {
    let nothing = || odd("a raft snapshot holds no store");
    let snapshot = bytes(file, 2)?.ok_or_else(nothing)?;
    serde_json::from_slice(bytes(snapshot, 1)?.ok_or_else(nothing)?).map_err(|_| nothing())
}

/// Whether it holds keys of clients, or mere directories. By the rule of 3.6 (`IsMetaStoreOnly`), which does not see what is
/// hidden.
fn holds_keys(store: &serde_json::Value) -> bool {
    let children = |node: &serde_json::Value| node["Children"].as_object().cloned().unwrap_or_default();
    children(&store["Root"]).iter().any(|(name, node)| match name.as_str() {
        OWN => false,
        USERS => children(node).values().any(|part| !children(part).is_empty()),
        hidden if hidden.starts_with('_') => false,
        _ => !children(node).is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, field, frame, message};
    use super::super::{ENTRY, SNAPSHOT, STATE, SUM};
    use super::*;

    /// As members propose it: an identity, the method, the path.
    fn request(method: &str, path: &str) -> Vec<u8> {
        [&[1 << 3, 7][..], &field(2, method.as_bytes()), &field(3, path.as_bytes())].concat()
    }

    fn says(method: &str, path: &str) -> Option<Request> {
        of_entry(&entry(5, &request(method, path))).unwrap()
    }

    fn other(text: &str) -> Option<Request> {
        Some(Request::Other(text.to_owned()))
    }

    #[test]
    fn requests_of_etcd_itself_are_told_from_others() {
        assert_eq!(says("QGET", ""), other("QGET "));
        assert_eq!(says("PUT", "/1/key"), other("PUT /1/key"));
        assert_eq!(says("DELETE", "/0/version"), other("DELETE /0/version"));
        assert_eq!(says("PUT", "/0/version"), Some(Request::OwnVersion(String::new())));
        assert_eq!(says("PUT", "/0/members/8e9e05c52164694d/attributes"), Some(Request::Own));
        assert_eq!(says("PUT", "/0/members//attributes"), other("PUT /0/members//attributes"));
        let within = [&[1 << 3, 7][..], &field(2, &request("SYNC", ""))].concat();
        assert_eq!(of_entry(&entry(5, &within)).unwrap(), other("SYNC "));
        let put = [&[1 << 3, 7][..], &field(4, &field(1, b"key"))].concat();
        assert_eq!(of_entry(&entry(5, &put)).unwrap(), None);
        assert_eq!(of_entry(&message([0, 3, 9])).unwrap(), None, "a new raft leader's own entry");
        let change = [message([1, 3, 9]), field(4, b"\x12\x03PUT")].concat();
        assert_eq!(of_entry(&change).unwrap(), None, "a change of the membership");
    }

    /// A member's directories: a request in entry 8 of the first file, 9 without, then a second file from 10 on.
    fn member(snapshot: Option<u64>) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("snap")).unwrap();
        std::fs::create_dir(home.path().join("wal")).unwrap();
        let mut sum = 0;
        let mut first = frame(&mut sum, SUM, &[]);
        first.extend(frame(&mut sum, STATE, &message([3, 5, 9])));
        first.extend(frame(&mut sum, ENTRY, &entry(8, &request("QGET", "/1/a"))));
        first.extend(frame(&mut sum, ENTRY, &message([0, 3, 9])));
        let mut second = frame(&mut sum, SUM, &[]);
        second.extend(frame(&mut sum, ENTRY, &message([0, 3, 10])));
        if let Some(index) = snapshot {
            second.extend(frame(&mut sum, SNAPSHOT, &message([index, 3, 0])));
        }
        for (name, file) in [("0-0", first), ("1-a", second)] {
            std::fs::write(home.path().join(format!("wal/{name}.wal")), file).unwrap();
        }
        home
    }

    /// The same with these entries in one file, and nothing else.
    fn holding(entries: &[Vec<u8>]) -> tempfile::TempDir {
        let home = member(None);
        let mut sum = 0;
        let mut file = frame(&mut sum, SUM, &[]);
        file.extend(entries.iter().flat_map(|entry| frame(&mut sum, ENTRY, entry)));
        std::fs::remove_file(home.path().join("wal/1-a.wal")).unwrap();
        std::fs::write(home.path().join("wal/0-0.wal"), file).unwrap();
        home
    }

    fn keep_snapshot(home: &tempfile::TempDir, index: u64, store: &str) {
        let file = field(2, &field(1, store.as_bytes()));
        std::fs::write(home.path().join(format!("snap/0000000000000003-{index:016x}.snap")), file).unwrap();
    }

    fn look(home: &tempfile::TempDir) -> Result<OldRecords> {
        old_records(&home.path().join("wal"), &home.path().join("snap"))
    }

    #[test]
    fn only_what_came_after_the_newest_snapshot_counts() {
        assert_eq!(look(&member(None)).unwrap(), OldRecords::Request("QGET /1/a".into()));
        let empty = r#"{"Root":{"Children":{"0":{"Children":{"members":{}}},"1":{"Children":{}}}}}"#;
        for (index, expected) in [(7, OldRecords::Request("QGET /1/a".into())), (8, OldRecords::None)] {
            let home = member(Some(index));
            keep_snapshot(&home, 3, "is not looked at");
            keep_snapshot(&home, index, empty);
            assert_eq!(look(&home).unwrap(), expected, "{index}");
        }
        let home = member(None);
        keep_snapshot(&home, 8, empty);
        assert!(look(&home).is_err(), "a snapshot that the log does not know yet");
    }

    #[test]
    fn keys_of_clients_in_the_snapshot_are_found() {
        for store in [
            r#"{"Root":{"Children":{"0":{},"1":{"Children":{"key":{"Value":"v"}}}}}}"#,
            r#"{"Root":{"Children":{"0":{},"2":{"Children":{"users":{"Children":{"root":{}}}}}}}}"#,
        ] {
            let home = member(Some(9));
            keep_snapshot(&home, 9, store);
            assert_eq!(look(&home).unwrap(), OldRecords::Keys);
        }
        let home = member(Some(7));
        let keys = r#"{"Root":{"Children":{"1":{"Children":{"key":{}}}}}}"#;
        keep_snapshot(&home, 7, keys);
        assert!(matches!(look(&home).unwrap(), OldRecords::Request(_)), "which may have deleted them");
        let home = member(Some(9));
        keep_snapshot(&home, 9, "no JSON");
        assert!(look(&home).is_err());
    }

    #[test]
    fn what_etcd_itself_has_asked_is_told_apart() {
        let home = holding(&[entry(8, &request("PUT", "/0/version"))]);
        assert_eq!(look(&home).unwrap(), OldRecords::Own);
    }

    #[test]
    fn an_entry_that_was_replaced_is_gone() {
        let home = holding(&[entry(8, &request("QGET", "/1/a")), message([0, 4, 8])]);
        assert_eq!(look(&home).unwrap(), OldRecords::None);
    }
}
