//! What stands on this machine: the snap, its service, the charm's files and etcd's data directory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::{certificates, inherited, kept, place, service, snapd, storage};
use crate::decide::{COMMANDS, COMMON, DATA, PLUGINS, SERVICES, is_own_check};
use crate::healed::Healed;
use crate::host::{self, files};
use crate::json;
use crate::moving::Moving;
use crate::recovering::Recovery;
use crate::restoring::Journal;
use crate::state::StateFile;
use crate::storage::Owner;
use crate::world::{Checks, Credentials, Following, Host, Lifetime, Place, Reading, Releases, SnapdSays};

/// Where to install from is not this machine's knowledge and stays open.
pub(super) async fn look() -> Result<Host> {
    let (snap, unready) = snapd::installed();
    let releases = releases()?;
    let (root_data, volume) = (place::data(&Place::whole(DATA)), storage::volume()?);
    let config = text(format!("{COMMON}/etcd.conf.yml"))?;
    let service::Found { service, lifetime, runs_in, damage } = service::look(&snap, &releases).await?;
    let place = place::place(config.as_deref(), &root_data, &volume, runs_in.as_ref());
    let credentials = credentials()?;
    Ok(Host {
        source: None,
        package: host::package::is_installed().context("cannot tell whether Debian's etcd is installed")?,
        service,
        lifetime: Lifetime { reading_s: service::reading_s(&place), ..lifetime },
        drop_in: text(host::etcd_service().dropin_path("charm"))?,
        config,
        standing: credentials.as_ref().and_then(certificates::standing),
        credentials,
        request: private(StateFile::OwnRequest)?,
        draft: private(StateFile::Draft)?,
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
        log_end: Reading::Unknown("it was not read".to_owned()),
        old_records: Reading::Unknown("it was not read".to_owned()),
        damage,
        healed: Healed::read()?,
        dispensable: StateFile::Dispensable.record()?,
        place,
        runs_in,
        root_data,
        volume,
        inherited: inherited::look(),
        checks: checks()?,
        following: Following::Unasked,
        moving: Moving::read()?,
        restart_due: StateFile::RestartDue.text()?,
        upgrade_refused: StateFile::UpgradeRefused.text()?,
        snapd: told()?,
        snapd_says: SnapdSays::nothing("it was not asked"),
        restore: Journal::read()?,
        recovery: Recovery::read()?,
        releases,
        snap,
        unready,
    })
}

fn told() -> Result<BTreeMap<String, String>> {
    let text = StateFile::SnapdOptions.text()?.unwrap_or_default();
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

pub(super) fn text(path: impl AsRef<Path>) -> Result<Option<String>> {
    let path = path.as_ref();
    let bytes = files::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A file of the charm's own. One that cannot be understood is made anew: nothing depends on it yet.
fn private<T: DeserializeOwned>(file: StateFile) -> Result<Option<T>> {
    let Some(text) = file.text()? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    Ok(parsed
        .inspect_err(|error| tracing::warn!(?file, error = json::why(error), "a file is not understood"))
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
