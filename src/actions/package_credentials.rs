//! `package-client-credentials`: what a person needs to reach this cluster from elsewhere, in one private archive.

use anyhow::{Context as _, Result, bail};

use super::cluster::why_silent;
use super::{HOME, Report, Results, cannot_write};
use crate::archive;
use crate::etcd::read_config;
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
        if let Some(why) = why_silent(&look.etcd.door) {
            bail!("{why}");
        }
        bail!("the cluster does not answer, so its addresses are not known; run the health action");
    };
    let mut endpoints: Vec<String> = members
        .iter()
        .filter(|member| !member.learner)
        .filter_map(|member| member.client_urls.first().cloned())
        .collect();
    endpoints.sort();
    let config = look.host.config.as_deref().and_then(|text| read_config(text).ok());
    let readme = readme(&endpoints.join(","), config.is_some_and(|config| config.enable_v2));
    let packed = archive::pack([
        ("client.key", credentials.client_key.as_str()),
        ("client.crt", &credentials.client_certificate),
        ("ca.crt", &credentials.ca),
        ("README.txt", &readme),
    ])
    .context("cannot pack the credentials")?;
    files::make_missing_dir(HOME, 0o755).with_context(|| format!("cannot make {HOME}"))?;
    files::write_atomic(ARCHIVE, &packed, 0o600).with_context(|| cannot_write(ARCHIVE))?;
    files::give_to("ubuntu", ARCHIVE).with_context(|| format!("cannot give {ARCHIVE} to user ubuntu"))?;
    Ok(Report::of(Results::from([
        ("path".to_owned(), ARCHIVE.to_owned()),
        ("sha256".to_owned(), archive::sha256(&packed)),
        ("endpoints".to_owned(), endpoints.join(",")),
        ("copy.cmd".to_owned(), format!("juju scp {unit}:etcd_credentials.tar.gz .")),
    ])))
}

/// The commands are to be copied into a shell in the folder where the archive was unpacked.
/// An etcdctl that speaks the v2 API alone gets nothing but 404 where that is not served.
fn readme(endpoints: &str, serves_v2: bool) -> String {
    let text = include_str!("../../templates/credentials-README.txt");
    let for_v2 = include_str!("../../templates/credentials-README-v2.txt");
    let not_served =
        "etcdctl 3.2 and earlier does not reach this cluster, which does not serve the v2 API.\n";
    let text = format!("{text}\n{}", if serves_v2 { for_v2 } else { not_served });
    text.replace("{endpoints}", endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_left_for_the_readers_shell_to_expand() {
        let text = readme("https://10.0.0.1:2379", true);
        assert!(text.contains("export ETCDCTL_CACERT=\"$(pwd)/ca.crt\""));
        assert!(text.contains("export ETCDCTL_ENDPOINTS=https://10.0.0.1:2379\n"));
    }

    #[test]
    fn only_a_cluster_that_serves_v2_is_for_an_old_etcdctl() {
        let (with, without) = (readme("https://a:1", true), readme("https://a:1", false));
        assert!(
            with.contains("export ETCDCTL_ENDPOINT=https://a:1\n") && with.contains("3.2 and earlier:\n")
        );
        assert!(!without.contains("ETCDCTL_ENDPOINT=") && without.ends_with("does not serve the v2 API.\n"));
        assert!(with.contains("\n\netcdctl 3.2") && without.contains("\n\netcdctl 3.2"));
    }
}
