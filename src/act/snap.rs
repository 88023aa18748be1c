//! etcd's snap and its service.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::Trouble;
use crate::decide::{self, HOLD, STORE_ID, STORE_PROXY};
use crate::etcd::{Channel, Track, Version};
use crate::host::{self, Snap, SnapError, Written, files};
use crate::juju::{Status, Tools};
use crate::release;
use crate::state::{self, StateFile};
use crate::step::Source;
use crate::world::{Reading, World};

/// A snapd that has not answered for so long, in seconds, is not just coming up.
const SNAPD_COMES_UP_S: u64 = 20;

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

/// A snapd before 2.58 cannot, and says so once; its version is noted.
pub(super) async fn hold(world: &World) -> Result<()> {
    let answer = match Snap::new("etcd").hold().await {
        Ok(()) => "held".to_owned(),
        Err(error @ SnapError::Unsupported { .. }) => {
            tracing::warn!(error = %error, "automatic refreshes of the etcd snap cannot be held");
            let version = Snap::daemon_version().await.context("cannot ask snapd for its version")?;
            decide::hold_unsupported(&version.unwrap_or_default())
        }
        Err(error) => return Err(error).context("cannot hold automatic refreshes of the etcd snap"),
    };
    let mut options = world.host.snapd.clone();
    options.insert(HOLD.to_owned(), answer);
    keep(&options)
}

/// What is about to change is noted before snapd hears of it, without a value: whoever is killed in between neither takes
/// it for done nor forgets to take it back.
pub(super) async fn set_snapd(wanted: &BTreeMap<String, String>, world: &World) -> Result<()> {
    let (old, now) = (&world.host.snapd, world.host.snapd_says.options.known());
    let mut changes = changes(wanted, old, now);
    let mut noted = old.clone();
    noted.extend(changes.keys().map(|key| (key.clone(), String::new())));
    keep(&noted)?;
    let mut wanted = wanted.clone();
    if let Some(url) = changes.get_mut(STORE_PROXY)
        && !url.is_empty()
    {
        *url = store_behind(url, world).await?;
        wanted.insert(STORE_ID.to_owned(), url.clone());
    }
    Snap::set_system(&changes).await.context("cannot set snapd's options")?;
    keep(&wanted)
}

/// What snapd is to be told: what is wanted and was not told or is not so any more, and an empty value for what was told and
/// is not wanted any more. What somebody else has set over that is theirs. `now`: what snapd says, if it does.
fn changes(
    wanted: &BTreeMap<String, String>,
    old: &BTreeMap<String, String>,
    now: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let is_set = |key: &str, value: &String| {
        let set = if key == STORE_PROXY { old.get(STORE_ID) } else { Some(value) };
        now.is_none_or(|now| now.get(key) == set)
    };
    let is_option = |key: &&String| ![HOLD, STORE_ID].contains(&key.as_str());
    let change = |key: &String| match (old.get(key), wanted.get(key)) {
        (Some(old), Some(wanted)) if old == wanted && is_set(key, old) => None,
        (_, Some(wanted)) => Some(wanted.clone()),
        // Begun by a run that was killed: nobody knows what came of it.
        (Some(old), None) if old.is_empty() || is_set(key, old) => Some(String::new()),
        (_, None) => None,
    };
    let keys = old.keys().chain(wanted.keys()).filter(is_option);
    keys.filter_map(|key| Some((key.clone(), change(key)?))).collect()
}

fn keep(options: &BTreeMap<String, String>) -> Result<()> {
    let text: String = options.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    StateFile::SnapdOptions.write_text(&text)
}

/// A store proxy says who it is, signed by the public store; snapd wants that said before it uses one.
/// Source: snapd's and the Snap Store Proxy's documentation.
async fn store_behind(url: &str, world: &World) -> Result<String> {
    let path = state::scratch("store-proxy.assert")?;
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
    if matches!(world.host.snap, Reading::Known(Some(_))) {
        match Snap::new("etcd").is_changing().await {
            Ok(false) => {}
            Ok(true) => return Err(Trouble::NotYet("snapd is at work on the etcd snap".to_owned())),
            // After a boot it goes on with what it was at before.
            Err(error) if error.passes() && world.tried.lasted_s < SNAPD_COMES_UP_S => {
                return Err(Trouble::NotYet(error.to_string()));
            }
            // One that does not answer at all copies nothing.
            Err(error) => {
                tracing::warn!(error = %error, "snapd does not tell whether it is at work on etcd");
            }
        }
    }
    Ok(start().await?)
}

/// A server that has given up too. One that runs already, or that snapd has started, is left alone.
pub(super) async fn start() -> Result<()> {
    host::etcd_service().bring_up().await.context("cannot start etcd's service")
}

pub(super) async fn stop_service() -> Result<()> {
    host::etcd_service().disable_now().await.context("cannot stop etcd's service")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_is_still_this_charms_is_taken_back() {
        let old = map(&[
            ("proxy.http", "http://a"),
            ("proxy.store", "http://s"),
            ("store-id", "s"),
            ("hold", "held"),
        ]);
        let set = map(&[("proxy.http", "http://a"), ("proxy.store", "s")]);
        let of_others = map(&[("proxy.http", "http://theirs"), ("proxy.store", "theirs")]);
        let gone = map(&[("proxy.http", ""), ("proxy.store", "")]);
        let none = map(&[("hold", "held")]);
        assert_eq!(changes(&none, &old, Some(&set)), gone);
        assert_eq!(changes(&none, &old, None), gone);
        assert_eq!(changes(&none, &old, Some(&of_others)), map(&[]));
        assert_eq!(changes(&none, &map(&[("proxy.http", "")]), Some(&of_others)), map(&[("proxy.http", "")]));
    }

    #[test]
    fn what_is_wanted_is_told_where_it_is_not_so() {
        let old = map(&[("proxy.http", "http://a"), ("proxy.store", "http://s"), ("store-id", "s")]);
        let set = map(&[("proxy.http", "http://a"), ("proxy.store", "s")]);
        assert_eq!(changes(&old, &old, Some(&set)), map(&[]));
        let told = map(&[("proxy.http", "http://a"), ("proxy.store", "http://s")]);
        assert_eq!(changes(&old, &old, Some(&map(&[]))), told);
        let new = map(&[("proxy.http", "http://b"), ("proxy.store", "http://s"), ("store-id", "s")]);
        assert_eq!(changes(&new, &old, Some(&set)), map(&[("proxy.http", "http://b")]));
    }
}
