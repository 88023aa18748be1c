//! Snapshots: streamed to a file, hashed on the way, compared with the digest that the server puts at the end.
//!
//! The file is the database followed by the SHA-256 of it; the database is whole pages, multiples of 512 bytes. Saving
//! with etcdctl does not compare the digest, and a damaged file passes its status report: here both are refused.

use std::io::{Read, Write};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Result;
use super::client::Client;
use super::error::Error;
use super::member::MemberStatus;
use super::version::Version;

/// Bytes of the SHA-256 behind the database.
const DIGEST: usize = 32;
/// The pages of the database are multiples of this many bytes.
const PAGE: u64 = 512;
/// A server that sends nothing for so long has stopped sending.
const SILENCE: Duration = Duration::from_secs(30);

/// A snapshot that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Bytes of the file, digest included.
    pub bytes: u64,
    /// SHA-256 of the whole file, lower-case hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
    /// The member's KV revision when the snapshot was asked for: the file holds this one or a later one.
    pub revision: i64,
    /// The server's version.
    pub version: Version,
}

/// A snapshot that a server has begun to send. Its size is known before its first byte is taken.
pub struct SnapshotStream {
    client: Client,
    stream: etcd_client::SnapshotStreaming,
    first: etcd_client::SnapshotResponse,
    bytes: u64,
    revision: i64,
    version: Version,
}

impl std::fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotStream")
            .field("client", &self.client)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Asks this member for its database. It is the member's own state, also without quorum:
    /// [`confirm_quorum`](Client::confirm_quorum) first for the cluster's. The server keeps the state of this moment
    /// for as long as the stream lives.
    ///
    /// # Errors
    /// [`Error::BrokenSnapshot`] when the server sends nothing; see [`Error`] for the rest.
    pub async fn open_snapshot(&self) -> Result<SnapshotStream> {
        let status = self.status().await?;
        let mut stream = self.call("snapshot", async |mut client| client.snapshot().await).await?;
        let first = self.call_within(SILENCE, "snapshot", async |_| stream.message().await).await?;
        let first = first.ok_or_else(|| broken("the server sent nothing"))?;
        // Every part says what remains of the database; the digest comes on top.
        let bytes = first.blob().len() as u64 + first.remaining_bytes() + DIGEST as u64;
        let MemberStatus { revision, version, .. } = status;
        Ok(SnapshotStream { client: self.clone(), stream, first, bytes, revision, version })
    }

    /// [`open_snapshot`](Client::open_snapshot) and [`save`](SnapshotStream::save) in one.
    ///
    /// # Errors
    /// As both.
    pub async fn snapshot(
        &self,
        sink: &mut impl Write,
        progress: impl FnMut(u64),
    ) -> Result<SnapshotSummary> {
        self.open_snapshot().await?.save(sink, progress).await
    }
}

impl SnapshotStream {
    /// Bytes of the whole file, digest included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Streams the snapshot into `sink`, which never gets more than [`bytes`](SnapshotStream::bytes); `progress` is
    /// told the bytes so far after each part. Making the file durable is the caller's business. Memory use is
    /// constant.
    ///
    /// # Errors
    /// [`Error::BrokenSnapshot`] when stream, digest and size disagree, [`Error::SnapshotFile`] when `sink` fails,
    /// [`Error::TimedOut`] when the server falls silent for 30 s; see [`Error`] for the rest.
    pub async fn save(
        mut self,
        sink: &mut impl Write,
        mut progress: impl FnMut(u64),
    ) -> Result<SnapshotSummary> {
        let mut reader = Digester::default();
        let mut part = Some(self.first);
        // To the end of the stream: the part before the digest may also announce that nothing remains.
        while let Some(now) = part {
            if reader.bytes + now.blob().len() as u64 > self.bytes {
                return Err(broken("it is longer than the server announced"));
            }
            sink.write_all(now.blob()).map_err(Error::SnapshotFile)?;
            reader.add(now.blob());
            progress(reader.bytes);
            let next = async |_| self.stream.message().await;
            part = self.client.call_within(SILENCE, "snapshot", next).await?;
        }
        sink.flush().map_err(Error::SnapshotFile)?;
        let (bytes, sha256) = reader.finish()?;
        if bytes != self.bytes {
            return Err(broken("it is shorter than the server announced"));
        }
        Ok(SnapshotSummary { bytes, sha256, revision: self.revision, version: self.version })
    }
}

fn broken(why: &str) -> Error {
    Error::BrokenSnapshot { why: why.to_owned() }
}

/// Checks a snapshot file against its own digest. Yields its size in bytes and the SHA-256 of the whole file. Memory
/// use is constant. A plain copy of a database file has no digest and is refused.
///
/// # Errors
/// [`Error::BrokenSnapshot`], [`Error::SnapshotFile`].
pub fn check_snapshot(mut file: impl Read) -> Result<(u64, String)> {
    let mut reader = Digester::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return reader.finish(),
            Ok(count) => reader.add(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::SnapshotFile(error)),
        }
    }
}

/// Whether a snapshot file of so many bytes ends with a digest: a database alone is whole pages. Source: etcd's own
/// restore tells them apart like this.
pub fn has_digest(bytes: u64) -> bool {
    bytes % PAGE == DIGEST as u64
}

/// Hashes all but the last 32 bytes seen so far, since those may be the digest.
#[derive(Default)]
struct Digester {
    hash: Sha256,
    tail: Vec<u8>,
    bytes: u64,
}

impl Digester {
    fn add(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        if part.len() >= DIGEST {
            let (database, tail) = part.split_at(part.len() - DIGEST);
            self.hash.update(&self.tail);
            self.hash.update(database);
            self.tail.clear();
            self.tail.extend_from_slice(tail);
        } else {
            self.tail.extend_from_slice(part);
            let surplus = self.tail.len().saturating_sub(DIGEST);
            self.hash.update(&self.tail[..surplus]);
            self.tail.drain(..surplus);
        }
    }

    fn finish(self) -> Result<(u64, String)> {
        if self.bytes <= DIGEST as u64 {
            return Err(broken("it is empty"));
        }
        if !has_digest(self.bytes) {
            return Err(broken(
                "it does not end with a digest: it is cut off, or a plain copy of a database",
            ));
        }
        if self.hash.clone().finalize().as_slice() != self.tail {
            return Err(broken("its digest does not fit its content"));
        }
        let whole = self.hash.chain_update(&self.tail).finalize();
        Ok((self.bytes, hex(&whole)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shaped as etcd's: pages, then the digest of them.
    fn snapshot(pages: usize) -> Vec<u8> {
        let mut file: Vec<u8> = (0..pages * 512).map(|place| (place % 251) as u8).collect();
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        file
    }

    #[test]
    fn a_whole_file_passes_in_parts_of_any_size() {
        let file = snapshot(9);
        let whole = check_snapshot(file.as_slice()).unwrap();
        assert_eq!(whole, (file.len() as u64, hex(&Sha256::digest(&file))));
        for size in [1, 7, 31, 32, 33, 512, 1000] {
            let mut reader = Digester::default();
            file.chunks(size).for_each(|part| reader.add(part));
            assert_eq!(reader.finish().unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn one_flipped_bit_is_found_wherever_it_is() {
        let file = snapshot(2);
        for place in [0, 700, 1023, 1024, file.len() - 1] {
            let mut damaged = file.clone();
            damaged[place] ^= 1;
            assert!(
                matches!(check_snapshot(damaged.as_slice()), Err(Error::BrokenSnapshot { .. })),
                "{place}"
            );
        }
    }

    #[test]
    fn a_file_without_its_end_is_refused() {
        let file = snapshot(4);
        for size in [0, 1, 31, 32, 512, 1024, 1056, file.len() - 32, file.len() - 1] {
            assert!(matches!(check_snapshot(&file[..size]), Err(Error::BrokenSnapshot { .. })), "{size}");
        }
    }
}
