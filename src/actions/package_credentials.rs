//! `package-client-credentials`: what a person needs to reach this cluster from elsewhere, in one private archive.

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};

use super::{Report, Results};
use crate::host::files;
use crate::juju::UnitName;
use crate::observe::Local;
use crate::world::Roster;

/// Kept from the earlier charm: `juju scp etcd/0:etcd_credentials.tar.gz .` finds it.
const ARCHIVE: &str = "/home/ubuntu/etcd_credentials.tar.gz";

pub(super) fn run(unit: &UnitName, look: &Local) -> Result<Report> {
    let Some(credentials) = &look.host.credentials else {
        bail!(
            "this unit has no certificates yet; relate etcd to a certificate authority and wait until it is active"
        );
    };
    let Roster::Confirmed(members) = &look.etcd.roster else {
        bail!("the cluster does not answer, so its addresses are not known; run the health action");
    };
    let mut endpoints: Vec<String> = members
        .iter()
        .filter(|member| !member.learner)
        .filter_map(|member| member.client_urls.first().cloned())
        .collect();
    endpoints.sort();
    let readme = readme(&endpoints.join(","));
    let archive = pack(&[
        ("client.key", &credentials.client_key),
        ("client.crt", &credentials.client_certificate),
        ("ca.crt", &credentials.ca),
        ("README.txt", &readme),
    ])
    .context("cannot pack the credentials")?;
    files::make_dir("/home/ubuntu", 0o755).context("cannot make /home/ubuntu")?;
    files::write_atomic(ARCHIVE, &archive, 0o600).with_context(|| format!("cannot write {ARCHIVE}"))?;
    files::give_to("ubuntu", ARCHIVE).with_context(|| format!("cannot give {ARCHIVE} to user ubuntu"))?;
    Ok(Report::of(Results::from([
        ("path".to_owned(), ARCHIVE.to_owned()),
        ("sha256".to_owned(), hex(&Sha256::digest(&archive))),
        ("endpoints".to_owned(), endpoints.join(",")),
        ("copy.cmd".to_owned(), format!("juju scp {unit}:etcd_credentials.tar.gz .")),
    ])))
}

/// All entries belong to root and are private; fixed times make equal content an equal archive.
fn pack(entries: &[(&str, &str)]) -> Result<Vec<u8>> {
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

/// The commands are to be copied into a shell in the folder where the archive was unpacked.
fn readme(endpoints: &str) -> String {
    include_str!("../../templates/credentials-README.txt").replace("{endpoints}", endpoints)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_archive_holds_what_was_put_in_and_nothing_others_can_read() {
        let archive = pack(&[("client.key", "KEY\n"), ("README.txt", "read\n")]).unwrap();
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

    #[test]
    fn the_commands_are_left_for_the_readers_shell_to_expand() {
        let text = readme("https://10.0.0.1:2379");
        assert!(text.contains("export ETCDCTL_CACERT=\"$(pwd)/ca.crt\""));
        assert!(text.contains("export ETCDCTL_ENDPOINTS=https://10.0.0.1:2379\n"));
    }
}
