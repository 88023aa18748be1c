//! Small `.tar.gz` archives made in memory: every entry is private and belongs to root, and equal content makes an
//! equal archive.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// An archive of these files, each a name and its text.
///
/// # Errors
/// A name does not fit into the format.
pub fn pack<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<u8>> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for (name, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(0);
        tar.append_data(&mut header, name, text.as_bytes()).with_context(|| format!("cannot add {name}"))?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_archive_holds_what_was_put_in_and_nothing_others_can_read() {
        let archive = pack([("client.key", "KEY\n"), ("README.txt", "read\n")]).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), text));
        }
        let expected = [("client.key", 0o600, "KEY\n"), ("README.txt", 0o600, "read\n")];
        assert_eq!(found, expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned())));
    }
}
