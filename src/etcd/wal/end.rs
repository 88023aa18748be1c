//! How far a log goes: of two members' logs the one whose last entry has the later term, or of one term the higher index, holds
//! all that was ever acknowledged to clients. Raft itself elects by this rule.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Result};
use std::path::Path;
use std::str::FromStr;

use super::{Log, files, odd};

/// The last entry of a log. Ordered as raft compares logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// In which term it was written.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.term, self.index)
    }
}

impl FromStr for LogEnd {
    type Err = std::io::Error;

    fn from_str(text: &str) -> Result<LogEnd> {
        let numbers =
            text.split_once(' ').and_then(|(term, index)| term.parse().ok().zip(index.parse().ok()));
        numbers
            .map(|(term, index)| LogEnd { term, index })
            .ok_or_else(|| odd("its end is a term and an index"))
    }
}

/// Reads it from the newest files in `directory` on; its server may run. What a snapshot from another member has replaced counts.
///
/// # Errors
/// There is no log, it cannot be read, or it is not as etcd writes it: torn, for example, or just being written.
pub fn log_end(directory: &Path) -> Result<LogEnd> {
    let mut snapshot = None;
    for (_, first, path) in files(directory)?.into_iter().rev() {
        let mut log = Log::new(first);
        let mut file = BufReader::new(File::open(&path)?);
        while log.read(&mut file)? {}
        snapshot = snapshot.into_iter().chain(log.snapshot).max_by_key(|end: &LogEnd| end.index);
        if let Some(entry) = log.entry {
            return Ok(snapshot.filter(|snapshot| snapshot.index > entry.index).unwrap_or(entry));
        }
    }
    snapshot.filter(|snapshot| snapshot.index > 0).ok_or_else(|| odd("it holds no entry"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{frame, message};
    use super::super::{ENTRY, SNAPSHOT, STATE, SUM};
    use super::*;

    /// One file of a log, with these records.
    fn written(directory: &Path, name: &str, records: &[(u64, [u64; 3])]) {
        let mut sum = 0;
        let mut file = frame(&mut sum, SUM, &[]);
        for (kind, numbers) in records {
            file.extend(frame(&mut sum, *kind, &message(*numbers)));
        }
        file.resize(file.len() + 512, 0);
        std::fs::write(directory.join(format!("{name}.wal")), file).unwrap();
    }

    const FIRST: &str = "0000000000000000-0000000000000000";
    const SECOND: &str = "0000000000000001-000000000000000a";

    fn end(term: u64, index: u64) -> LogEnd {
        LogEnd { term, index }
    }

    #[test]
    fn the_last_entry_counts_wherever_it_is() {
        let home = tempfile::tempdir().unwrap();
        assert!(log_end(home.path()).is_err(), "no log");
        let entries = [(ENTRY, [0, 2, 8]), (ENTRY, [0, 2, 9]), (STATE, [7, 0, 8])];
        written(home.path(), FIRST, &entries);
        assert_eq!(log_end(home.path()).unwrap(), end(2, 9), "not what it voted or has committed");
        // etcd has just begun another file.
        written(home.path(), SECOND, &[(STATE, [7, 0, 8]), (SNAPSHOT, [5, 2, 0])]);
        assert_eq!(log_end(home.path()).unwrap(), end(2, 9));
        // A raft leader has replaced the end of the log.
        written(home.path(), SECOND, &[(ENTRY, [0, 7, 10]), (ENTRY, [0, 8, 9])]);
        assert_eq!(log_end(home.path()).unwrap(), end(8, 9));
        written(home.path(), SECOND, &[(ENTRY, [0, 7, 10]), (SNAPSHOT, [500, 8, 0])]);
        assert_eq!(log_end(home.path()).unwrap(), end(8, 500), "another member's snapshot");
        std::fs::write(home.path().join(format!("{SECOND}.wal")), [0x55; 64]).unwrap();
        assert!(log_end(home.path()).is_err());
    }

    #[test]
    fn the_later_term_goes_before_the_higher_index() {
        assert!(end(3, 9) > end(2, 100) && end(2, 100) > end(2, 99));
        assert_eq!(end(3, 9).to_string().parse::<LogEnd>().unwrap(), end(3, 9));
        assert!("3".parse::<LogEnd>().is_err() && "x 9".parse::<LogEnd>().is_err());
    }
}
