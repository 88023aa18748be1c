//! What etcd says when it cannot use the data on its disk. Only words that nothing else brings about are known here: a full
//! disk, missing rights, or a wrong option are no damage.

/// Begins what one start of the server says. Source: etcd's `embed` package, the same from 3.4 to 3.6.
const START: &str = "starting an etcd server";

/// A line of the log that has all of one entry's words tells of damage; then what that is, for people.
///
/// Seen with etcd 3.4 and 3.5 on files that were cut off, zeroed and overwritten; the last one is raft's on data that is older
/// than what the member has promised.
const KNOWN: [(&[&str], &str); 10] = [
    (&["failed to open database", "invalid database"], "the database is invalid"),
    (&["failed to open database", "checksum error"], "the database has a wrong checksum"),
    (&["panic: freepages: "], "the database's pages are damaged"),
    (&["panic: assertion failed: Page expected to be"], "the database's pages are damaged"),
    (&["signal SIGBUS: bus error"], "the database is cut off or cannot be read"),
    (&["panic: failed to recover v3 backend from snapshot"], "the database is older than its raft snapshot"),
    (&["\"level\":\"fatal\"", "crc mismatch"], "the log has a wrong checksum"),
    (&["\"level\":\"fatal\"", "max entry size limit exceeded"], "the log is damaged"),
    (&["panic: cannot use none as id"], "the log has lost its beginning"),
    (&["Was the raft log corrupted, truncated, or lost?"], "the log has lost its end"),
];

/// What the last start of a server has found damaged, by the end of its log. A start whose beginning is not in it counts too.
pub fn damage(log: &str) -> Option<&'static str> {
    let last = log.rfind(START).map_or(log, |start| &log[start..]);
    let tells = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    KNOWN.iter().find(|(words, _)| last.lines().any(|line| tells(line, words))).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: &str = r#"{"level":"info","caller":"embed/etcd.go:311","msg":"starting an etcd server"}"#;

    #[test]
    fn damage_is_known_by_its_words() {
        let of = |words: &str| damage(&format!("{STARTS}\n{words}\ngoroutine 1 [running]:\n"));
        for words in [
            r#"{"level":"panic","msg":"failed to open database","path":"d/member/snap/db","error":"invalid database"}"#,
            "panic: freepages: failed to get all reachable pages (page 0: invalid type: unknown<00>)",
            "panic: assertion failed: Page expected to be: 23, but self identifies as 0",
            "[signal SIGBUS: bus error code=0x2 addr=0x7fbf2c024000 pc=0x8fc635]",
            "panic: failed to recover v3 backend from snapshot",
            r#"{"level":"fatal","msg":"discovery failed","error":"walpb: crc mismatch"}"#,
            r#"{"level":"fatal","msg":"discovery failed","error":"wal: max entry size limit exceeded"}"#,
            "panic: cannot use none as id",
            "panic: tocommit(9) is out of range [lastIndex(5)]. Was the raft log corrupted, truncated, or lost?",
        ] {
            assert!(of(words).is_some(), "{words}");
        }
    }

    #[test]
    fn other_troubles_are_none() {
        let of = |words: &str| damage(&format!("{STARTS}\n{words}\n"));
        for words in [
            r#"{"level":"panic","msg":"failed to open database","error":"open d/member/snap/db: permission denied"}"#,
            r#"{"level":"fatal","msg":"discovery failed","error":"write d/member/wal/0.tmp: no space left on device"}"#,
            r#"{"level":"fatal","msg":"discovery failed","error":"listen tcp 10.0.0.1:2380: bind: address already in use"}"#,
            r#"{"level":"info","msg":"repaired WAL","error":"unexpected EOF: [wal] max entry size limit exceeded"}"#,
            r#"{"level":"warn","msg":"failed to read a snap file","error":"snap: crc mismatch"}"#,
            "the member has been permanently removed from the cluster",
        ] {
            assert_eq!(of(words), None, "{words}");
        }
    }

    #[test]
    fn what_an_earlier_start_has_said_is_past() {
        let damaged = "panic: cannot use none as id";
        assert_eq!(damage(&format!("{STARTS}\n{damaged}\n{STARTS}\nready\n")), None);
        assert!(damage(&format!("{damaged}\n")).is_some());
    }
}
