//! What stands on this machine: the snap, its service, the charm's files and etcd's data directory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::{certificates, storage};
use crate::decide::{COMMANDS, COMMON, DATA, PLUGINS, SERVICES, is_own_check};
use crate::host::{self, Active, Installed, Load, files};
use crate::moving::Moving;
use crate::restoring::Journal;
use crate::world::{Checks, Credentials, Data, Following, Host, Reading, Releases, Service};

/// Where to install from is not this machine's knowledge and stays open.
pub(super) async fn look() -> Result<Host> {
    let snap = match host::Snap::new("etcd").installed() {
        Ok(installed) => Reading::Known(installed),
        Err(error) => Reading::Unknown(error.to_string()),
    };
    let releases = releases()?;
    let (root_data, volume) = (data(DATA)?, storage::volume()?);
    let config = text(format!("{COMMON}/etcd.conf.yml"))?;
    let data_dir = storage::data_dir(config.as_deref(), &root_data, &volume);
    let credentials = credentials()?;
    Ok(Host {
        source: None,
        package: host::package::is_installed().context("cannot tell whether Debian's etcd is installed")?,
        service: service(&snap, &releases).await?,
        drop_in: text(host::etcd_service().dropin_path("charm"))?,
        config,
        standing: credentials.as_ref().and_then(certificates::standing),
        credentials,
        request: private(host::OWN_REQUEST)?,
        draft: private(host::DRAFT)?,
        trusted: host::trust_store::current("etcd-charm").context("cannot read the host's trust store")?,
        shell_profile: text(host::SHELL_PROFILE)?,
        data_dir,
        data: if data_dir == DATA { root_data.clone() } else { storage::data(&volume) },
        root_data,
        volume,
        checks: checks()?,
        following: Following::Unasked,
        moving: Moving::read()?,
        restart_due: text(format!("{COMMON}/{}", host::RESTART_DUE))?,
        upgrade_refused: text(format!("{COMMON}/{}", host::UPGRADE_REFUSED))?,
        snapd: snapd()?,
        restore: Journal::read()?,
        releases,
        snap,
    })
}

fn snapd() -> Result<BTreeMap<String, String>> {
    let text = text(format!("{COMMON}/{}", host::SNAPD_OPTIONS))?.unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

fn releases() -> Result<Releases> {
    let releases = host::Releases::system();
    let home = releases.home().display();
    Ok(Releases {
        current: releases.current().with_context(|| format!("cannot tell which release in {home} runs"))?,
        ready: releases.all().with_context(|| format!("cannot list {home}"))?,
        unit: text(host::RELEASE_UNIT)?,
    })
}

async fn service(snap: &Reading<Option<Installed>>, releases: &Releases) -> Result<Service> {
    if matches!(snap, Reading::Known(None)) && releases.current.is_none() {
        return Ok(Service::Missing);
    }
    let service = host::etcd_service();
    let state = service.state().await.context("cannot read the state of etcd's service")?;
    Ok(match (state.load, state.active) {
        (Load::NotFound, _) => Service::Missing,
        (_, Active::Active | Active::Reloading) => Service::Running,
        // With Restart=always a server that exits at once is always about to be started again.
        (_, Active::Failed) => Service::Failing(last_words(&service).await),
        (_, Active::Activating) if state.restarts > 2 => Service::Failing(last_words(&service).await),
        (_, Active::Activating) => Service::Running,
        (_, Active::Inactive | Active::Deactivating | Active::Other(_)) => Service::Stopped,
    })
}

async fn last_words(service: &host::Service) -> String {
    let journal = service.journal_tail(20).await.unwrap_or_default();
    let telling = |line: &&str| ["error", "fatal", "panic", "cannot"].iter().any(|word| line.contains(word));
    journal
        .lines()
        .rev()
        .find(telling)
        .or(journal.lines().last())
        .unwrap_or("no reason in its log")
        .to_owned()
}

pub(super) fn text(path: impl AsRef<Path>) -> Result<Option<String>> {
    let path = path.as_ref();
    let bytes = files::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A file of the charm's own. One that cannot be understood is made anew: nothing depends on it yet.
fn private<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    let path = format!("{COMMON}/{name}");
    let Some(bytes) = files::read(&path).with_context(|| format!("cannot read {path}"))? else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(&bytes);
    Ok(parsed.inspect_err(|error| tracing::warn!(path, error = %error, "a file is not understood")).ok())
}

/// All five files, or none: half a set is of no use to etcd.
fn credentials() -> Result<Option<Credentials>> {
    let file = |name: &str| text(format!("{COMMON}/{name}"));
    let (ca, server_certificate, server_key) = (file("ca.crt")?, file("server.crt")?, file("server.key")?);
    let (client_certificate, client_key) = (file("client.crt")?, file("client.key")?);
    Ok((|| {
        Some(Credentials {
            ca: ca?,
            server_certificate: server_certificate?,
            server_key: server_key?,
            client_certificate: client_certificate?,
            client_key: client_key?,
        })
    })())
}

/// Only what this charm may have written; the directories are the agent's and may hold anything.
fn checks() -> Result<Checks> {
    let mut checks = Checks {
        takes_commands: Path::new(COMMANDS).is_dir(),
        takes_services: Path::new(SERVICES).is_dir(),
        restart_due: Path::new(host::NRPE_DUE).exists(),
        files: BTreeMap::new(),
    };
    for directory in [PLUGINS, COMMANDS, SERVICES] {
        let names = files::list(directory).with_context(|| format!("cannot list {directory}"))?;
        for name in names.into_iter().filter(|name| is_own_check(directory, name)) {
            let path = format!("{directory}/{name}");
            checks.files.extend(text(&path)?.map(|text| (path, text)));
        }
    }
    Ok(checks)
}

/// Log and database are judged by their files: etcd makes the empty directories before it has any data.
pub(super) fn data(directory: &str) -> Result<Data> {
    let member = format!("{directory}/member");
    let has_log = files::list(format!("{member}/wal")).context("cannot read etcd's log directory")?;
    let has_log = has_log.iter().any(|name| name.ends_with(".wal"));
    let has_database = Path::new(&format!("{member}/snap/db")).exists();
    Ok(match (has_log, has_database) {
        (false, false) => Data::Empty,
        (true, true) => Data::Present,
        (true, false) => Data::Partial("the database (member/snap/db)"),
        (false, true) => Data::Partial("the log (member/wal)"),
    })
}
