//! The write-ahead log of a stopped member, for the one thing that etcd does not do itself: to record that everything in
//! it is committed.
//!
//! What a member has recorded as committed lags behind what it has acknowledged: the record is flushed with the next
//! write only. A start with `force-new-cluster` discards all entries past it, acknowledged ones too; and where the
//! database has them already, 3.5 then passes over its own removal of the other members there, which 3.6 would count
//! again. Raft itself would keep them all: a survivor that is elected commits what its log holds.
//!
//! Format (etcd's package `wal`, the same from 3.4 to 3.6): frames of a length, a protobuf record and padding to
//! 8 bytes; the sums of the records' data run on through the file; zeros follow the last frame.

mod agreed_version;
mod end;
mod identity;
mod old_records;

pub use agreed_version::agreed_version;
#[cfg(test)]
pub(crate) use agreed_version::tests::log_that_sets;
pub use end::{LogEnd, log_end};
pub use identity::{Identity, identity};
pub use old_records::{OldRecords, old_records};

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Kinds of records.
const METADATA: u64 = 1;
const ENTRY: u64 = 2;
const STATE: u64 = 3;
const SUM: u64 = 4;
const SNAPSHOT: u64 = 5;
/// No record is larger: etcd's own limit of a request is far below.
const RECORD_MAX: u64 = 256 << 20;

/// Records in the log in `directory` that all its entries are committed; its server must not run. Yields how many were
/// not. To repeat it is safe, and a crash on the way leaves the log as it was or a torn end, which etcd cuts off.
///
/// # Errors
/// The log cannot be read or written, or is not as etcd writes it; it is as before then.
pub fn commit_all(directory: &Path) -> Result<u64> {
    let (path, first) = last_file(directory)?;
    let mut log = Log::new(first);
    let mut file = BufReader::new(File::open(&path)?);
    while log.read(&mut file)? {}
    let Some(state) = log.state.clone() else { return Err(odd("it holds no state")) };
    let missing = log.last.saturating_sub(state.commit);
    if missing > 0 {
        let frame = log.frame_of(&State { commit: log.last, ..state });
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.seek(SeekFrom::Start(log.end))?;
        file.write_all(&frame)?;
        file.sync_all()?;
    }
    Ok(missing)
}

/// The newest file, and the index of the first entry that it may hold: both are in its name.
fn last_file(directory: &Path) -> Result<(PathBuf, u64)> {
    let newest = files(directory)?.pop().ok_or_else(|| odd("there is none"))?;
    Ok((newest.2, newest.1))
}

/// All of them in order: the number, the index of the first entry, the path.
fn files(directory: &Path) -> Result<Vec<(u64, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let numbers = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
            let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
            Some((u64::from_str_radix(sequence, 16).ok()?, u64::from_str_radix(index, 16).ok()?))
        });
        found.extend(numbers.map(|(sequence, index)| (sequence, index, path)));
    }
    found.sort();
    Ok(found)
}

/// What a member has recorded of its part in raft.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    term: u64,
    vote: u64,
    commit: u64,
}

/// What was read of a file so far.
struct Log {
    /// Where the next frame begins.
    end: u64,
    /// The running sum.
    sum: u32,
    /// Index of the last entry.
    last: u64,
    state: Option<State>,
    /// The last entry.
    entry: Option<LogEnd>,
    /// The snapshot that goes farthest.
    snapshot: Option<LogEnd>,
    /// Requests by their entries' indexes, where somebody asks for them.
    requests: Option<BTreeMap<u64, old_records::Request>>,
}

impl Log {
    /// Of a file whose first entry has this index.
    fn new(first: u64) -> Log {
        Log {
            end: 0,
            sum: 0,
            last: first.saturating_sub(1),
            state: None,
            entry: None,
            snapshot: None,
            requests: None,
        }
    }

    /// Takes one frame; false at the end.
    fn read(&mut self, file: &mut impl Read) -> Result<bool> {
        let mut length = [0; 8];
        if !filled(file, &mut length)? {
            return Ok(false);
        }
        let field = u64::from_le_bytes(length);
        if field == 0 {
            nothing_but_zeros(file)?;
            return Ok(false);
        }
        let size = field & !(0xff << 56);
        let padding = if field >> 63 == 1 { (field >> 56) & 7 } else { 0 };
        if size > RECORD_MAX {
            return Err(odd("a record is too large"));
        }
        let mut record = vec![0; usize::try_from(size + padding).map_err(|_| odd("a record is too large"))?];
        file.read_exact(&mut record)?;
        record.truncate(record.len() - usize::try_from(padding).unwrap_or(0));
        self.take(&record)?;
        self.end += 8 + size + padding;
        Ok(true)
    }

    fn take(&mut self, record: &[u8]) -> Result<()> {
        let (mut kind, mut sum, mut data) = (0, 0, &[][..]);
        for (field, value) in fields(record)? {
            match (field, value) {
                (1, Value::Number(number)) => kind = number,
                (2, Value::Number(number)) => sum = number,
                (3, Value::Bytes(bytes)) => data = bytes,
                _ => {}
            }
        }
        let sum = u32::try_from(sum).map_err(|_| odd("a sum is no sum"))?;
        if kind == SUM {
            if self.sum != 0 && self.sum != sum {
                return Err(odd("the sums do not match"));
            }
            self.sum = sum;
            return Ok(());
        }
        self.sum = crc32c(self.sum, data);
        if self.sum != sum {
            return Err(odd("the sums do not match"));
        }
        let number = |field| -> Result<u64> {
            let found = fields(data)?.into_iter().find_map(|found| match found {
                (name, Value::Number(number)) if name == field => Some(number),
                _ => None,
            });
            Ok(found.unwrap_or(0))
        };
        match kind {
            // A later entry of the same index replaces the earlier one and all after it.
            ENTRY => {
                self.last = number(3)?;
                self.entry = Some(LogEnd { term: number(2)?, index: self.last });
                if let Some(requests) = &mut self.requests {
                    requests.split_off(&self.last);
                    requests.extend(old_records::of_entry(data)?.map(|request| (self.last, request)));
                }
            }
            STATE => {
                self.state = Some(State { term: number(1)?, vote: number(2)?, commit: number(3)? });
            }
            SNAPSHOT => {
                let found = LogEnd { term: number(2)?, index: number(1)? };
                self.snapshot = self.snapshot.into_iter().chain([found]).max_by_key(|end| end.index);
            }
            METADATA => {}
            _ => return Err(odd("a record is of no known kind")),
        }
        Ok(())
    }

    /// The frame to put at the end.
    fn frame_of(&self, state: &State) -> Vec<u8> {
        let mut data = Vec::new();
        for (field, number) in [(1, state.term), (2, state.vote), (3, state.commit)] {
            data.push(field << 3);
            varint(&mut data, number);
        }
        let mut record = vec![1 << 3];
        varint(&mut record, STATE);
        record.push(2 << 3);
        varint(&mut record, u64::from(crc32c(self.sum, &data)));
        record.push((3 << 3) | 2);
        varint(&mut record, data.len() as u64);
        record.extend(data);
        let padding = (8 - record.len() % 8) % 8;
        let mark = if padding == 0 { 0 } else { (0x80 | padding as u64) << 56 };
        let mut frame = (record.len() as u64 | mark).to_le_bytes().to_vec();
        frame.extend(record);
        frame.resize(frame.len() + padding, 0);
        frame
    }
}

fn odd(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the log is not as etcd writes it: {why}"))
}

/// False when the file ends before the first byte.
fn filled(file: &mut impl Read, buffer: &mut [u8; 8]) -> Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A torn record, which etcd would cut off, is better left to etcd.
fn nothing_but_zeros(file: &mut impl Read) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count if buffer[..count].iter().any(|byte| *byte != 0) => return Err(odd("its end is torn")),
            _ => {}
        }
    }
}

/// A protobuf field's value.
#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message with numbers and bytes only.
fn fields(mut message: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(number(&mut message)?),
            2 => {
                let length = usize::try_from(number(&mut message)?).unwrap_or(usize::MAX);
                let (bytes, rest) =
                    message.split_at_checked(length).ok_or_else(|| odd("a field is cut off"))?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(odd("a field is of no known kind")),
        };
        found.push((key >> 3, value));
    }
    Ok(found)
}

/// The first field of this number that has bytes.
fn bytes(message: &[u8], wanted: u64) -> Result<Option<&[u8]>> {
    Ok(fields(message)?.into_iter().find_map(|field| match field {
        (name, Value::Bytes(bytes)) if name == wanted => Some(bytes),
        _ => None,
    }))
}

fn number(message: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (byte, rest) = message.split_first().ok_or_else(|| odd("a number is cut off"))?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(odd("a number has no end"))
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// CRC-32C (Castagnoli), continued from `sum`.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC[usize::from((crc as u8) ^ byte)] ^ (crc >> 8);
    !bytes.iter().fold(!sum, step)
}

/// The sum of each byte.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    }

    pub(super) fn entry(index: u64, data: &[u8]) -> Vec<u8> {
        [message([0, 3, index]), field(4, data)].concat()
    }

    pub(super) fn frame(sum: &mut u32, kind: u64, data: &[u8]) -> Vec<u8> {
        *sum = crc32c(*sum, data);
        let mut record = vec![1 << 3];
        varint(&mut record, kind);
        record.push(2 << 3);
        varint(&mut record, u64::from(*sum));
        if kind != SUM {
            record.push((3 << 3) | 2);
            varint(&mut record, data.len() as u64);
            record.extend(data);
        }
        let padding = (8 - record.len() % 8) % 8;
        let mark = if padding == 0 { 0 } else { (0x80 | padding as u64) << 56 };
        let mut frame = (record.len() as u64 | mark).to_le_bytes().to_vec();
        frame.extend(record);
        frame.resize(frame.len() + padding, 0);
        frame
    }

    pub(super) fn message(numbers: [u64; 3]) -> Vec<u8> {
        let mut message = Vec::new();
        for (field, number) in (1_u8..).zip(numbers) {
            message.push(field << 3);
            varint(&mut message, number);
        }
        message
    }

    /// A log whose entries go up to 9 and whose state says 7, and a file before it.
    fn log(directory: &Path) -> (PathBuf, Vec<u8>) {
        std::fs::write(directory.join("0000000000000000-0000000000000000.wal"), "older").unwrap();
        std::fs::write(directory.join("1.tmp"), "allotted").unwrap();
        let path = directory.join("0000000000000001-0000000000000008.wal");
        let mut sum = 0;
        let mut file = frame(&mut sum, SUM, &[]);
        for (kind, numbers) in [(STATE, [3, 5, 7]), (ENTRY, [0, 3, 8]), (ENTRY, [0, 3, 9])] {
            file.extend(frame(&mut sum, kind, &message(numbers)));
        }
        let written = file.clone();
        file.resize(4096, 0);
        std::fs::write(&path, file).unwrap();
        (path, written)
    }

    #[test]
    fn sums_are_castagnolis() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xe306_9283);
    }

    #[test]
    fn what_the_log_holds_is_recorded_as_committed_once() {
        let home = tempfile::tempdir().unwrap();
        let (path, written) = log(home.path());
        assert_eq!(commit_all(home.path()).unwrap(), 2);
        let after = std::fs::read(&path).unwrap();
        assert_eq!((after.len(), &after[..written.len()]), (4096, &*written));
        assert_eq!(commit_all(home.path()).unwrap(), 0);
        assert_eq!(std::fs::read(&path).unwrap(), after);
    }

    #[test]
    fn a_log_that_is_not_understood_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (path, written) = log(home.path());
        let whole = std::fs::read(&path).unwrap();
        for place in [9, 20, written.len() - 9, written.len() + 20] {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x55;
            std::fs::write(&path, &damaged).unwrap();
            assert!(commit_all(home.path()).is_err(), "{place}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(commit_all(home.path()).is_err());
        assert!(commit_all(&home.path().join("none")).is_err());
    }
}
