//! Whose a log is: etcd writes its member and cluster at the beginning of each of its files.

use std::fs::File;
use std::io::{BufReader, Read as _, Result};
use std::path::Path;

use super::{METADATA, Value, bytes, fields, filled, last_file, odd};
use crate::etcd::member::{ClusterId, MemberId};

/// The identity stands behind the sum of the file before.
const FIRST_FRAMES: usize = 4;
/// No identity is larger.
const IDENTITY_MAX: u64 = 4096;

/// A member of a cluster, by its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// Reads it from the newest file in `directory`; its server may run.
///
/// # Errors
/// There is no log, it cannot be read, or it is not as etcd writes it.
pub fn identity(directory: &Path) -> Result<Identity> {
    let (path, _) = last_file(directory)?;
    let mut file = BufReader::new(File::open(path)?);
    for _ in 0..FIRST_FRAMES {
        let mut length = [0; 8];
        if !filled(&mut file, &mut length)? {
            break;
        }
        let field = u64::from_le_bytes(length);
        let padding = if field >> 63 == 1 { (field >> 56) & 7 } else { 0 };
        let size = field & !(0xff << 56);
        if size == 0 || size > IDENTITY_MAX {
            break;
        }
        let mut record = Vec::new();
        (&mut file).take(size + padding).read_to_end(&mut record)?;
        record.truncate(usize::try_from(size).unwrap_or(0));
        if let Some(found) = of_record(&record)? {
            return Ok(found);
        }
    }
    Err(odd("it does not say whose it is"))
}

fn of_record(record: &[u8]) -> Result<Option<Identity>> {
    let parts = fields(record)?;
    let is_it = parts.iter().any(|part| matches!(part, (1, Value::Number(METADATA))));
    let Some(data) = bytes(record, 3)?.filter(|_| is_it) else { return Ok(None) };
    let numbers = fields(data)?;
    let number = |name| {
        numbers.iter().find_map(|part| match part {
            (field, Value::Number(number)) if *field == name => Some(*number),
            _ => None,
        })
    };
    Ok(number(1)
        .zip(number(2))
        .map(|(member, cluster)| Identity { member: MemberId(member), cluster: ClusterId(cluster) }))
}

#[cfg(test)]
mod tests {
    use super::super::SUM;
    use super::super::tests::{frame, message};
    use super::*;

    fn written(directory: &Path, name: &str, frames: &[Vec<u8>]) {
        std::fs::write(directory.join(name), frames.concat()).unwrap();
    }

    #[test]
    fn the_newest_file_tells_whose_it_is() {
        let home = tempfile::tempdir().unwrap();
        assert!(identity(home.path()).is_err(), "no log");
        let of = |member, cluster| {
            let mut sum = 0;
            let mut data = message([member, cluster, 0]);
            data.truncate(data.len() - 2);
            vec![frame(&mut sum, SUM, &[]), frame(&mut sum, METADATA, &data)]
        };
        written(home.path(), "0000000000000000-0000000000000000.wal", &of(1, 2));
        written(home.path(), "0000000000000001-0000000000000005.wal", &of(0x8e9e_05c5_2164_694d, 0xc1));
        let found = Identity { member: MemberId(0x8e9e_05c5_2164_694d), cluster: ClusterId(0xc1) };
        assert_eq!(identity(home.path()).unwrap(), found);
        written(home.path(), "0000000000000002-0000000000000009.wal", &[vec![0; 64]]);
        assert!(identity(home.path()).is_err(), "allotted and not begun");
        written(home.path(), "0000000000000002-0000000000000009.wal", &[vec![0x55; 64]]);
        assert!(identity(home.path()).is_err());
    }
}
