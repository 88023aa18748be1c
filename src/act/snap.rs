//! etcd's snap and its service.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Trouble;
use crate::decide::{COMMON, HOLD, STORE_PROXY};
use crate::etcd::{Channel, Track, Version};
use crate::host::{self, Snap, SnapError, Written, files};
use crate::juju::{Status, Tools};
use crate::release;
use crate::step::Source;
use crate::world::{Reading, World};

/// The snap starts its service at once, without a configuration: it is stopped until it has one.
pub(super) async fn install(source: &Source, tools: &Tools) -> Result<()> {
    // Unpacking takes a while; without this the operator would look at Juju's own "installing charm software".
    let status = Status::maintenance(format!("Installing etcd from {source}"));
    tools.status_set(&status).await.context("cannot set the status")?;
    let etcd = Snap::new("etcd");
    match source {
        Source::Channel(channel) if etcd.installed()?.is_some() => become_another(&etcd, channel).await?,
        Source::Channel(channel) => etcd.install(&channel.to_string()).await?,
        Source::Files { etcd: file, core } => {
            if let Some(core) = core {
                Snap::new("core").install_file(core).await?;
            }
            etcd.install_file(file).await?;
        }
    }
    host::etcd_service().disable_now().await.context("cannot stop the freshly installed service")
}

/// Of a snap that has no data yet.
async fn become_another(etcd: &Snap, channel: &Channel) -> Result<()> {
    etcd.refresh(&channel.to_string()).await?;
    let version = etcd.installed()?.map(|snap| snap.version).unwrap_or_default();
    let minor: Version = version.parse()?;
    let is_it = channel.track == Track::Minor(minor.minor_version());
    ensure!(is_it, "the store has etcd {version} in {channel}: set another channel");
    Ok(())
}

/// A snapd before 2.58 cannot, and says so once.
pub(super) async fn hold(world: &World) -> Result<()> {
    let answer = match Snap::new("etcd").hold().await {
        Ok(()) => "held",
        Err(error @ SnapError::Unsupported { .. }) => {
            tracing::warn!(error = %error, "automatic refreshes of the etcd snap cannot be held");
            "unsupported"
        }
        Err(error) => return Err(error).context("cannot hold automatic refreshes of the etcd snap"),
    };
    let mut options = world.host.snapd.clone();
    options.insert(HOLD.to_owned(), answer.to_owned());
    keep(&options)
}

/// What is about to change is noted before snapd hears of it, without a value: whoever is killed in between neither takes
/// it for done nor forgets to take it back.
pub(super) async fn set_snapd(wanted: &BTreeMap<String, String>, world: &World) -> Result<()> {
    let old = &world.host.snapd;
    let value = |key: &String| wanted.get(key).cloned().unwrap_or_default();
    let mut changes: BTreeMap<String, String> = old
        .keys()
        .chain(wanted.keys())
        .filter(|key| old.get(*key) != wanted.get(*key))
        .map(|key| (key.clone(), value(key)))
        .collect();
    let mut noted = old.clone();
    noted.extend(changes.keys().map(|key| (key.clone(), String::new())));
    keep(&noted)?;
    if let Some(url) = changes.get_mut(STORE_PROXY)
        && !url.is_empty()
    {
        *url = store_behind(url, world).await?;
    }
    Snap::set_system(&changes).await.context("cannot set snapd's options")?;
    keep(wanted)
}

fn keep(options: &BTreeMap<String, String>) -> Result<()> {
    files::make_dir(COMMON, 0o755).with_context(|| format!("cannot make {COMMON}"))?;
    let path = Path::new(COMMON).join(host::SNAPD_OPTIONS);
    let text: String = options.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    files::write_atomic(&path, text.as_bytes(), 0o600)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A store proxy says who it is, signed by the public store; snapd wants that said before it uses one.
/// Source: snapd's and the Snap Store Proxy's documentation.
async fn store_behind(url: &str, world: &World) -> Result<String> {
    let path = Path::new(COMMON).join("store-proxy.assert");
    files::remove_if_exists(&path).context("cannot remove an earlier answer of the store proxy")?;
    release::download(&format!("{url}/v2/auth/store/assertions"), &world.proxies, &path)
        .await
        .context("cannot ask the store proxy who it is")?;
    let text = files::read(&path).context("cannot read the store proxy's answer")?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let store = text.lines().find_map(|line| line.strip_prefix("store: "));
    let store = store.context("the store proxy does not say who it is")?.trim().to_owned();
    Snap::acknowledge(&path).await.context("snapd does not take the store proxy's word")?;
    files::remove_if_exists(&path).context("cannot remove the store proxy's answer")?;
    Ok(store)
}

pub(super) async fn write_drop_in(text: &str) -> Result<()> {
    let service = host::etcd_service();
    if service.write_dropin("charm", text).context("cannot write the restart rules")? == Written::Changed {
        service.daemon_reload().await.context("cannot reload systemd")?;
    }
    Ok(())
}

/// systemd is not waited for: a member without quorum may not be ready for a long time, and its own answers say
/// more than the service's state.
///
/// snapd stops the service, copies its data and starts it on the copy: one that is started in between writes what the copy
/// does not have, and its member forgets what it has promised.
pub(super) async fn start_service(world: &World) -> Result<(), Trouble> {
    if matches!(world.host.snap, Reading::Known(Some(_))) && is_changing().await {
        return Err(Trouble::NotYet("snapd is at work on the etcd snap".to_owned()));
    }
    Ok(start().await?)
}

/// A snapd that does not answer copies nothing.
async fn is_changing() -> bool {
    Snap::new("etcd").is_changing().await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "snapd does not tell whether it is at work on etcd");
        false
    })
}

/// A server that has given up too. One that runs already, or that snapd has started, is left alone.
pub(super) async fn start() -> Result<()> {
    let service = host::etcd_service();
    service.reset_failed().await.context("cannot reset the service's failures")?;
    service.enable().await.context("cannot enable etcd's service")?;
    service.start_no_block().await.context("cannot start etcd's service")
}

pub(super) async fn stop_service() -> Result<()> {
    host::etcd_service().disable_now().await.context("cannot stop etcd's service")
}
