//! `debug`: what a person far away needs to understand this unit, in one private archive without secrets. What cannot
//! be collected is told in its place.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use time::OffsetDateTime;

use super::redact::redact;
use super::{HOME, Report, Results, alarms, cannot_write, cluster};
use crate::decide::{COMMON, DATA};
use crate::host::{self, files};
use crate::juju::Context;
use crate::observe::{self, Local};
use crate::tls::{Certificate, key_matches};
use crate::world::{Credentials, Door, Roster};
use crate::{archive, backup, clock, etcd, state};

/// Lines of the service's log.
const LINES: usize = 2000;
/// Entries of one directory tree: etcd's own has a few dozen.
const ENTRIES: usize = 2000;

pub(super) async fn run(context: &Context, look: &Result<Local>) -> Result<Report> {
    let now_s = clock::now_s();
    let path = format!("{HOME}/etcd-debug-{}.tar.gz", backup::stamp(now_s));
    let packed = pack(&parts(context, look, now_s).await, &secrets(look))?;
    files::make_missing_dir(HOME, 0o755).with_context(|| format!("cannot make {HOME}"))?;
    files::write_atomic(&path, &packed, 0o600).with_context(|| cannot_write(&path))?;
    files::give_to("ubuntu", &path).with_context(|| format!("cannot give {path} to user ubuntu"))?;
    Ok(Report::of(Results::from([
        ("sha256".to_owned(), archive::sha256(&packed)),
        ("copy.cmd".to_owned(), format!("juju scp {}:{path} .", context.unit)),
        ("path".to_owned(), path),
    ])))
}

/// A name in the archive, and its text.
type Part = (&'static str, String);

async fn parts(context: &Context, look: &Result<Local>, now_s: u64) -> Vec<Part> {
    let service = host::etcd_service();
    let state = match service.state().await {
        Ok(state) => format!("{state:#?}\n"),
        Err(error) => format!("cannot be asked: {error}\n"),
    };
    let log = service.journal_tail(LINES).await.unwrap_or_else(|error| format!("cannot be read: {error}\n"));
    let (etcd, certificates, config) = match look {
        Ok(look) => (members(look).await, certificates(look.host.credentials.as_ref()), config(look)),
        Err(error) => {
            let why = format!("this machine cannot be looked at: {error:#}\n");
            (why.clone(), why.clone(), why)
        }
    };
    vec![
        ("versions.txt", versions(context, look, now_s)),
        ("members.txt", etcd),
        ("certificates.txt", certificates),
        ("etcd.conf.yml", config),
        ("service.txt", state),
        ("journal.txt", log),
        ("files.txt", listing(&[COMMON, DATA, &data_dir(look), state::HOME])),
    ]
}

/// Nothing goes in unredacted; a private key that gets past that keeps everything back.
fn pack(parts: &[Part], secrets: &[&str]) -> Result<Vec<u8>> {
    let clean: Vec<Part> = parts.iter().map(|(name, text)| (*name, redact(text, secrets))).collect();
    if let Some((name, _)) = clean.iter().find(|(_, text)| text.contains("PRIVATE KEY")) {
        bail!("cannot make the bundle: {name} would hold a private key");
    }
    archive::pack(clean.iter().map(|(name, text)| (*name, text.as_str()))).context("cannot pack the bundle")
}

fn secrets(look: &Result<Local>) -> Vec<&str> {
    let config = look.as_ref().ok().and_then(|look| look.host.config.as_deref()).unwrap_or_default();
    config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("initial-cluster-token:"))
        .map(|value| value.trim().trim_matches(['"', '\'']))
        .collect()
}

fn versions(context: &Context, look: &Result<Local>, now_s: u64) -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| format!("{path}: {error}\n"));
    let snap = match look {
        Ok(look) => format!("{:?}; releases: {:?}", look.host.snap, look.host.releases),
        Err(_) => "unknown".to_owned(),
    };
    format!(
        "time: {}\nunit: {}\njuju: {}\ncharm: {}\nsnap: {snap}\nadvice: {}\nkernel: {}\n{}",
        utc(i64::try_from(now_s).unwrap_or(0)),
        context.unit,
        context.juju,
        env!("CARGO_PKG_VERSION"),
        advice(look).unwrap_or_else(|| "none".to_owned()),
        file("/proc/sys/kernel/osrelease"),
        file("/etc/os-release"),
    )
}

/// What speaks against the etcd that runs.
fn advice(look: &Result<Local>) -> Option<String> {
    match &look.as_ref().ok()?.etcd.door {
        Door::Open(status) => etcd::concern(&status.version),
        Door::Closed | Door::Mute(_) => None,
    }
}

async fn members(look: &Local) -> String {
    let (members, mut text) = match &look.etcd.roster {
        Roster::Confirmed(members) => (members.as_slice(), "members, confirmed by a quorum:\n".to_owned()),
        Roster::Unconfirmed { cause, remembered } => {
            (remembered.as_slice(), format!("no quorum: {cause}\nmembers as remembered:\n"))
        }
        Roster::NobodyToAsk => (&[][..], "nobody to ask\n".to_owned()),
    };
    for member in members {
        let status = observe::status_of(member, &look.host).await;
        let health = look.etcd.health.get(&member.id);
        let _ = writeln!(text, "\n{}: {health:?}\n{member:#?}\n{status:#?}", cluster::name(member));
    }
    let _ = writeln!(text, "\nalarms: {}", alarms::told(&look.etcd.alarms));
    let _ = writeln!(text, "own server: {:#?}", look.etcd.door);
    let host = &look.host;
    let _ = writeln!(
        text,
        "service: {:?}\nplace: {}\ndata: {:?}\nold data: {:?}\nowner: {:?}\nrestart due: {:?}",
        host.service, host.place, host.data, host.kept, host.owner, host.restart_due
    );
    text
}

fn config(look: &Local) -> String {
    look.host.config.clone().unwrap_or_else(|| "there is none\n".to_owned())
}

fn certificates(credentials: Option<&Credentials>) -> String {
    let Some(pem) = credentials else { return "there are none, or not all of them\n".to_owned() };
    let mut text = String::new();
    for (name, chain) in [
        ("ca.crt", &pem.ca),
        ("server.crt", &pem.server_certificate),
        ("client.crt", &pem.client_certificate),
    ] {
        match Certificate::parse_chain(chain) {
            Ok(chain) => chain.iter().for_each(|certificate| text.push_str(&describe(name, certificate))),
            Err(error) => {
                let _ = writeln!(text, "{name}: {error}\n");
            }
        }
    }
    for (name, certificate, key) in [
        ("server.key", &pem.server_certificate, &pem.server_key),
        ("client.key", &pem.client_certificate, &pem.client_key),
    ] {
        let fits = key_matches(certificate, key);
        let fits = fits.map_or_else(|error| error.to_string(), |()| "belongs to its certificate".to_owned());
        let _ = writeln!(text, "{name}: {fits}");
    }
    text
}

fn describe(name: &str, certificate: &Certificate) -> String {
    let addresses: Vec<String> = certificate.addresses.iter().map(ToString::to_string).collect();
    format!(
        "{name}: {}\n  issuer: {}\n  valid: {} to {}\n  names: {}\n  addresses: {}\n  for servers: {}, for clients: {}, authority: {}\n  sha256: {}\n\n",
        certificate.subject,
        certificate.issuer,
        utc(certificate.not_before_s),
        utc(certificate.not_after_s),
        certificate.dns_names.join(" "),
        addresses.join(" "),
        certificate.for_servers,
        certificate.for_clients,
        certificate.is_ca,
        certificate.fingerprint,
    )
}

fn utc(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn data_dir(look: &Result<Local>) -> String {
    let config = look.as_ref().ok().and_then(|look| look.host.config.as_deref());
    let on_disk = config.and_then(|config| etcd::read_config(config).ok());
    on_disk.and_then(|on_disk| on_disk.data_dir).unwrap_or_else(|| DATA.to_owned())
}

/// Names, modes, owners and sizes, never content.
fn listing(roots: &[&str]) -> String {
    let mut text = String::new();
    let mut left = ENTRIES;
    for (place, root) in roots.iter().enumerate() {
        if roots[..place].contains(root) {
            continue;
        }
        match files::free_bytes(root) {
            Ok(free) => {
                let _ = writeln!(text, "{root} ({} MiB free)", free >> 20);
            }
            Err(error) => {
                let _ = writeln!(text, "{root}: {error}");
            }
        }
        walk(Path::new(root), &mut text, &mut left);
    }
    text
}

fn walk(directory: &Path, text: &mut String, left: &mut usize) {
    for name in files::list(directory).unwrap_or_default() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = directory.join(&name);
        match fs::symlink_metadata(&path) {
            Ok(meta) => {
                let (mode, owner, size) = (meta.mode() & 0o7777, meta.uid(), meta.size());
                let end = if meta.is_dir() { "/" } else { "" };
                let _ = writeln!(text, "{mode:04o} {owner:>5} {size:>12} {}{end}", path.display());
                if meta.is_dir() {
                    walk(&path, text, left);
                }
            }
            Err(error) => {
                let _ = writeln!(text, "{}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    const KEY: &str = include_str!("../tls/fixtures/rsa.pkcs1.key");

    fn unpacked(packed: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn no_key_and_no_token_leaves_the_machine() {
        let config = "name: etcd0\ninitial-cluster-token: Tok-3n\n";
        let journal = format!("started with Tok-3n\n{KEY}{{\"initial-cluster-token\":\"another\"}}\n");
        let packed = pack(&[("etcd.conf.yml", config.to_owned()), ("journal.txt", journal)], &["Tok-3n"]);
        let text = unpacked(&packed.unwrap());
        assert!(text.contains("name: etcd0") && text.contains("started with <redacted>"), "{text}");
        for secret in ["PRIVATE KEY", KEY.lines().nth(1).unwrap(), "Tok-3n", "another"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn certificates_are_told_without_what_belongs_to_them() {
        let text = certificates(Some(&Credentials {
            ca: include_str!("../tls/fixtures/ecdsa.crt").to_owned(),
            server_certificate: include_str!("../tls/fixtures/rsa.crt").to_owned(),
            server_key: KEY.to_owned(),
            client_certificate: "nonsense".to_owned(),
            client_key: KEY.to_owned(),
        }));
        assert!(text.contains("addresses: 10.0.0.1 fd00::1"), "{text}");
        assert!(text.contains("server.key: belongs to its certificate"), "{text}");
        assert!(text.contains("client.crt: cannot find a PEM certificate in it"), "{text}");
        assert!(!text.contains("-----"), "{text}");
    }

    #[tokio::test]
    async fn a_machine_that_cannot_be_looked_at_still_gets_its_bundle() {
        let variable = |name: &str| match name {
            "JUJU_UNIT_NAME" => Some("etcd/0".to_owned()),
            "JUJU_VERSION" => Some("3.6.0".to_owned()),
            "JUJU_CHARM_DIR" => Some("/tmp".to_owned()),
            "JUJU_DISPATCH_PATH" => Some("actions/debug".to_owned()),
            _ => None,
        };
        let context = Context::parse(variable, "dispatch").unwrap();
        let blind = Err(anyhow::anyhow!("no disk"));
        let parts = parts(&context, &blind, 0).await;
        let text = unpacked(&pack(&parts, &secrets(&blind)).unwrap());
        assert!(text.contains("unit: etcd/0") && text.contains("time: 1970-01-01"), "{text}");
        assert!(text.contains("this machine cannot be looked at: no disk"), "{text}");
    }

    #[test]
    fn a_listing_has_names_and_sizes_and_no_content() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("member")).unwrap();
        std::fs::write(home.path().join("member/db"), "content").unwrap();
        let root = home.path().display().to_string();
        let text = listing(&[&root, &root, "/no/such/place"]);
        assert_eq!(text.matches(" 7 ").count(), 1, "{text}");
        assert!(text.contains("/member/db\n") && !text.contains("content"), "{text}");
        assert!(text.contains("/no/such/place: "), "{text}");
    }
}
