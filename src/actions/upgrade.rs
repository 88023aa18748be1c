//! `upgrade`: the whole application moved to what the store has now in the channel that it follows. The action only says so in
//! the application's databag; each unit moves by the same rules as for another channel, in the order of the numbers.

use anyhow::{Context as _, Result, bail};

use super::parameters::Parameters;
use super::{Report, Results, tell, tell_what_stands_now};
use crate::decide;
use crate::etcd::{Channel, Version};
use crate::event::Event;
use crate::host::{Installed, Offer};
use crate::juju::{Context, Tools};
use crate::observe;
use crate::options::WantedChannel;
use crate::relations::cluster::ROLLOUT;
use crate::rollout::Rollout;
use crate::world::{Leadership, Reading, Tried, World};

pub(super) async fn run(context: &Context, parameters: &Parameters, tools: &Tools) -> Result<Report> {
    let only_look = parameters.flag("check")?;
    let facts = observe::facts(context, Event::Look("upgrade".to_owned()), tools).await?;
    let world = observe::world(&facts, tools, &Tried::default()).await?;
    if !only_look && world.leadership != Leadership::Leader {
        bail!("only the leader can tell all units: juju run {}/leader upgrade", context.unit.application());
    }
    let (channel, installed) = followed(&world)?;
    tell(tools, &format!("asking the store for what it has in {channel}")).await;
    let offer = match observe::offer(channel).await {
        Some(Reading::Known(offer)) => offer,
        Some(Reading::Unknown(why)) => bail!("cannot tell what the store has in {channel}: {why}"),
        None => {
            bail!("{channel} is a branch, and the store does not tell what it has there: set another channel")
        }
    };
    if let Some(why) = decide::why_no_rollout(&world, offer.clone()) {
        bail!(why);
    }
    let rollout = rollout(&world, channel, &offer)?;
    let mut results = tell_of(&world, installed, &rollout);
    if !only_look && results.contains_key("moves") {
        let relation = world.peers.relation.as_ref().context("Juju names no peer relation; try again")?;
        let change = [(ROLLOUT.to_owned(), Some(rollout.to_string()))].into();
        tools.relation_set_app(relation, &change).await.context("cannot tell the other units")?;
        results.insert("next".to_owned(), "juju status shows each unit as it moves".to_owned());
        // What the leader writes brings no hook to its own unit.
        tell(tools, &format!("all units are told to move to etcd {}, one after the other", rollout.version))
            .await;
        tell_what_stands_now("upgrade", context, tools).await;
    }
    Ok(Report::of(results))
}

/// The channel that the snap follows, and what is installed.
fn followed(world: &World) -> Result<(&Channel, &Installed)> {
    if let Some(release) = &world.host.releases.current {
        bail!(
            "this unit runs etcd {} from bin-source: set bin-source and source-sum to another release, and all units follow",
            release.version
        );
    }
    let installed = match &world.host.snap {
        Reading::Unknown(cause) => bail!("cannot tell what is installed: {cause}"),
        Reading::Known(None) => {
            bail!("etcd is not installed yet; the charm does that by itself: see its status")
        }
        Reading::Known(Some(snap)) if snap.is_from_file() => bail!(
            "etcd comes from the attached resource: attach another and run install on one unit after the other"
        ),
        Reading::Known(Some(snap)) => snap,
    };
    let Ok(options) = &world.options else { bail!("an option is wrong: see the unit's status") };
    match &options.channel {
        WantedChannel::Named(channel) => Ok((channel, installed)),
        WantedChannel::Auto => {
            let version: Version = installed.version.parse()?;
            let channel = Channel::stable(version.minor_version());
            bail!("channel=auto follows no channel: set channel={channel}, then try again")
        }
    }
}

/// What is asked for: anew, where the same was asked for before.
fn rollout(world: &World, channel: &Channel, offer: &Offer) -> Result<Rollout> {
    let revision = offer.revision.parse();
    let revision = revision.with_context(|| format!("the store has no numbered revision in {channel}"))?;
    let before = world.peers.cluster.rollout.as_ref();
    let before = before.filter(|before| before.channel == *channel && before.revision == revision);
    Ok(Rollout {
        channel: channel.clone(),
        revision,
        version: offer.version.parse()?,
        attempt: before.map_or(1, |before| before.attempt.saturating_add(1)),
    })
}

fn tell_of(world: &World, installed: &Installed, rollout: &Rollout) -> Results {
    let Rollout { channel, revision, version, .. } = rollout;
    let mut results = Results::from([
        ("channel".to_owned(), channel.to_string()),
        ("offered.version".to_owned(), version.to_string()),
        ("offered.revision".to_owned(), revision.to_string()),
    ]);
    let own = rollout.concerns(channel, installed).then(|| (&world.unit, installed.version.clone()));
    // Of the others only their versions are known.
    let others = world.peers.units.iter().filter_map(|(unit, peer)| {
        let theirs = peer.record.version.as_ref().filter(|theirs| *theirs < version)?;
        Some((unit, theirs.to_string()))
    });
    let mut moves: Vec<_> = own.into_iter().chain(others).collect();
    moves.sort_by_key(|(unit, _)| unit.number());
    let lines: Vec<String> = moves
        .iter()
        .map(|(unit, from)| format!("{unit}: {from} to {version} (revision {revision})"))
        .collect();
    if lines.is_empty() {
        let told =
            format!("all units have what the store has in {channel}: etcd {version} (revision {revision})");
        results.insert("output".to_owned(), told);
    } else {
        let units: Vec<String> = moves.iter().map(|(unit, _)| unit.to_string()).collect();
        results.insert("moves".to_owned(), units.join(" "));
        results.insert("output".to_owned(), lines.join("\n"));
    }
    results
}
