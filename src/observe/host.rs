//! What stands on this machine: the snap, its service, the charm's files and etcd's data directory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::{certificates, kept, place, storage};
use crate::decide::{COMMANDS, COMMON, DATA, PLUGINS, SERVICES, is_own_check};
use crate::etcd;
use crate::healed::Healed;
use crate::host::{self, Active, Installed, Load, files};
use crate::json;
use crate::moving::Moving;
use crate::restoring::Journal;
use crate::state::StateFile;
use crate::storage::Owner;
use crate::world::{Checks, Credentials, Following, Host, Place, Reading, Releases, Service};

/// A program that panics names every thread of its own.
const LOG_LINES: usize = 400;
/// Where its last words are looked for.
const LAST_LINES: usize = 20;

/// Where to install from is not this machine's knowledge and stays open.
pub(super) async fn look() -> Result<Host> {
    let snap = match host::Snap::new("etcd").installed() {
        Ok(installed) => Reading::Known(installed),
        Err(error) => Reading::Unknown(error.to_string()),
    };
    let releases = releases()?;
    let (root_data, volume) = (place::data(&Place::whole(DATA)), storage::volume()?);
    let config = text(format!("{COMMON}/etcd.conf.yml"))?;
    let Found { service, runs_in, damage } = service(&snap, &releases).await?;
    let place = place::place(config.as_deref(), &root_data, &volume, runs_in.as_ref());
    let credentials = credentials()?;
    Ok(Host {
        source: None,
        package: host::package::is_installed().context("cannot tell whether Debian's etcd is installed")?,
        service,
        drop_in: text(host::etcd_service().dropin_path("charm"))?,
        config,
        standing: credentials.as_ref().and_then(certificates::standing),
        credentials,
        request: private(host::OWN_REQUEST)?,
        draft: private(host::DRAFT)?,
        trusted: host::trust_store::current("etcd-charm").context("cannot read the host's trust store")?,
        shell_profile: text(host::SHELL_PROFILE)?,
        data: match place.data.as_str() {
            crate::storage::DATA => storage::data(&volume),
            _ => place::data(&place),
        },
        usual_is_newer: place::usual_is_newer(&place),
        kept: kept::kept(),
        owner: StateFile::Owner.text()?.as_deref().map(Owner::parse),
        identity: place::identity(&place),
        damage,
        healed: Healed::read()?,
        place,
        runs_in,
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

/// etcd's service.
struct Found {
    service: Service,
    /// Where it has its data open.
    runs_in: Option<Place>,
    /// What it has found damaged.
    damage: Option<&'static str>,
}

async fn service(snap: &Reading<Option<Installed>>, releases: &Releases) -> Result<Found> {
    if matches!(snap, Reading::Known(None)) && releases.current.is_none() {
        return Ok(Found { service: Service::Missing, runs_in: None, damage: None });
    }
    let service = host::etcd_service();
    let state = service.state().await.context("cannot read the state of etcd's service")?;
    let runs_in = state.main_pid.and_then(runs_in);
    // With Restart=always a server that exits at once is always about to be started again.
    let fails = state.active == Active::Failed || (state.active == Active::Activating && state.restarts > 2);
    let log = if fails { Some(service.journal_tail(LOG_LINES).await.unwrap_or_default()) } else { None };
    let service = match (state.load, state.active, &log) {
        (Load::NotFound, ..) => Service::Missing,
        (_, _, Some(log)) => Service::Failing(last_words(log)),
        (_, Active::Active | Active::Reloading | Active::Activating, None) => Service::Running,
        (_, _, None) => Service::Stopped,
    };
    let damage = log.as_deref().and_then(etcd::damage);
    Ok(Found { service, runs_in, damage })
}

/// A server that has just ended, or has not opened its data yet, is nowhere.
fn runs_in(pid: u32) -> Option<Place> {
    let open = host::open_files(pid);
    let open = open.inspect_err(|error| tracing::debug!(pid, error = %error, "its open files are not seen"));
    place::of_open_files(&open.ok()?)
}

fn last_words(log: &str) -> String {
    let telling = |line: &&str| ["error", "fatal", "panic", "cannot"].iter().any(|word| line.contains(word));
    let last = || log.lines().rev().take(LAST_LINES);
    last().find(telling).or(last().next()).unwrap_or("no reason in its log").to_owned()
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
    Ok(parsed
        .inspect_err(|error| tracing::warn!(path, error = json::why(error), "a file is not understood"))
        .ok())
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
            // The agent's user can put a link or a pipe there: that is replaced like a file with another text.
            let there = text(&path).unwrap_or_else(|error| {
                tracing::warn!(error = %format!("{error:#}"), "a check is not the file that was written");
                Some(String::new())
            });
            checks.files.extend(there.map(|text| (path, text)));
        }
    }
    Ok(checks)
}
