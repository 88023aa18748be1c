//! etcd's service: what systemd says of it, where its server has its data open, and what that said last where it is of interest.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::place;
use crate::clock;
use crate::etcd;
use crate::host::{self, Active, Installed, Load};
use crate::world::{Door, Etcd, Host, Lifetime, Place, Reading, Releases, Service};

/// A program that panics names every thread of its own.
const LINES: usize = 400;
/// A server that has been silent for so long, in seconds, is asked what it is about.
const SILENT_S: u64 = 5;

/// etcd's service.
pub(super) struct Found {
    pub(super) service: Service,
    pub(super) lifetime: Lifetime,
    /// Where it has its data open.
    pub(super) runs_in: Option<Place>,
    /// What it has found damaged.
    pub(super) damage: Option<&'static str>,
}

pub(super) async fn look(snap: &Reading<Option<Installed>>, releases: &Releases) -> Result<Found> {
    let mut lifetime = Lifetime::default();
    if matches!(snap, Reading::Known(None)) && releases.current.is_none() {
        return Ok(Found { service: Service::Missing, lifetime, runs_in: None, damage: None });
    }
    let service = host::etcd_service();
    let state = service.state().await.context("cannot read the state of etcd's service")?;
    let runs_in = state.main_pid.and_then(runs_in);
    let is_up = matches!(state.active, Active::Active | Active::Reloading);
    lifetime.restarts = state.restarts;
    lifetime.is_retried = is_up || state.active == Active::Activating;
    if is_up {
        lifetime.up_s = clock::monotonic_us().saturating_sub(state.active_since_us) / 1_000_000;
    }
    let is_given_up = state.active == Active::Failed && state.job.is_none();
    let log = if is_given_up || lifetime.is_short() { Some(log().await) } else { None };
    lifetime.words = log.as_deref().map(words);
    let unit = service.unit();
    let service = match (state.load, state.active) {
        (Load::NotFound, Active::Inactive | Active::Failed) => Service::Missing,
        // The one that is on its way down still writes to its data.
        (_, Active::Active | Active::Reloading | Active::Activating | Active::Deactivating) => {
            Service::Running
        }
        // A start that waits for a mount, or was only just asked for.
        _ if state.job.is_some() => Service::Running,
        (Load::Masked, _) => Service::Failing(format!("its service is masked: systemctl unmask {unit}")),
        (Load::Other(word), _) => {
            Service::Failing(format!("systemd does not take its unit file ({word}): systemctl status {unit}"))
        }
        (_, Active::Failed) => Service::Failing(lifetime.words.clone().unwrap_or_default()),
        (Load::Loaded | Load::NotFound, Active::Inactive | Active::Other(_)) => Service::Stopped,
    };
    Ok(Found { service, lifetime, runs_in, damage: log.as_deref().and_then(etcd::damage) })
}

/// A server that has just ended, or has not opened its data yet, is nowhere.
fn runs_in(pid: u32) -> Option<Place> {
    let open = host::open_files(pid);
    let open = open.inspect_err(|error| tracing::debug!(pid, error = %error, "its open files are not seen"));
    place::of_open_files(&open.ok()?)
}

/// A large database takes its time to be read; that of a server that has not begun is small.
pub(super) fn reading_s(place: &Place) -> u64 {
    let database = Path::new(&place.data).join("member/snap/db");
    let bytes = std::fs::metadata(database).map_or(0, |meta| meta.len());
    etcd::patience(i64::try_from(bytes).unwrap_or(i64::MAX)).as_secs()
}

/// Only now it is known whether the server answers: one that does not, and has ended again and again, will not.
pub(super) async fn judge(host: &mut Host, etcd: &mut Etcd) {
    if matches!(etcd.door, Door::Open(_)) || host.service != Service::Running {
        return;
    }
    let lifetime = &mut host.lifetime;
    if lifetime.is_short() {
        host.service = Service::Failing(lifetime.words.clone().unwrap_or_default());
        etcd.door = Door::Closed;
    } else if lifetime.up_s >= SILENT_S {
        lifetime.words = Some(last_words().await);
    }
}

/// What etcd's server said last, as far as it tells why it does not serve.
pub async fn last_words() -> String {
    words(&log().await)
}

fn words(log: &str) -> String {
    etcd::telling(log).unwrap_or_else(|| "no reason in its log".to_owned())
}

async fn log() -> String {
    let journal = host::etcd_service().journal_tail(LINES).await;
    journal.inspect_err(|error| tracing::warn!(%error, "etcd's log cannot be read")).unwrap_or_default()
}
