//! What Juju knows, read once a run and in parallel: every call starts a process.

mod addresses;
mod related;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use tokio::sync::OnceCell;

use crate::decide::{Followed, lowest_published};
use crate::etcd::{Channel, ClusterId, LogEnd};
use crate::event::Event;
use crate::host::Offer;
use crate::juju::{
    Context, Databag, GoalState, JujuVersion, Proxies, RelationId, ToolError, Tools, UnitName,
};
use crate::options::{OptionError, Options, WantedChannel};
use crate::relations::Endpoint;
use crate::relations::authority::{AuthorityRecord, REQUEST};
use crate::relations::certificates::{Answer, Request};
use crate::relations::cluster::{ClusterRecord, UnitRecord};
use crate::relations::csr::{Answers, Refusals};
use crate::relations::trust::UnitTrust;
use crate::step::Source;
use crate::world::{Addresses, Consumer, Leadership, Peer, Peers, Reading, SnapdSays, Unread, World};

/// Everything read from Juju in this run. Fields mean what they do in [`crate::world::World`].
#[derive(Debug, Clone)]
pub struct Facts {
    /// What Juju asked for.
    pub event: Event,
    /// This unit.
    pub unit: UnitName,
    /// The agent's version.
    pub juju: JujuVersion,
    /// Whether this unit may speak for the application.
    pub leadership: Leadership,
    /// The operator's options, or all that is wrong with them.
    pub options: Result<Options, Vec<OptionError>>,
    /// The model's proxies.
    pub proxies: Proxies,
    /// Where this unit is reached.
    pub addresses: Addresses,
    /// The peer relation.
    pub peers: Peers,
    /// The relation to a certificate authority: its id and the application behind it.
    pub authority: Option<(RelationId, String)>,
    /// What this unit's databag on it holds now.
    pub requested: Databag,
    /// The names this unit wants to ask for.
    pub request: Option<Request>,
    /// What the related authority has answered in the older protocol, unchecked: each of its units, and all together at last.
    pub answers: Vec<Answer>,
    /// What it has signed in the newer one, for all units, unchecked.
    pub signed: Answers,
    /// What it has refused to sign.
    pub refusals: Refusals,
    /// Everyone related to an endpoint that this charm provides.
    pub consumers: Vec<Consumer>,
    /// Relations that cannot be read.
    pub unread: Vec<Unread>,
    /// UUID of the model; empty if Juju does not say.
    pub model: String,
    /// The attached instance of storage `data`, and its device.
    pub storage: Option<(String, Reading<PathBuf>)>,
    /// The files that are attached as etcd's snap and its base: asked once a run, and only before etcd is there.
    pub attached: OnceCell<Option<(PathBuf, Option<PathBuf>)>>,
    /// What the store has in the named channel: asked once a run, and only where it matters.
    pub offer: OnceCell<Option<Reading<Offer>>>,
    /// What snapd says of what it was told.
    pub snapd_says: OnceCell<SnapdSays>,
    /// How far this unit's log goes: it may be long.
    pub log_end: OnceCell<Reading<LogEnd>>,
}

impl Facts {
    /// The channel for a first install; absent while the options cannot be used.
    pub fn channel(&self) -> Option<Channel> {
        Some(match &self.options.as_ref().ok()?.channel {
            // An older server than the members cannot join them.
            WantedChannel::Auto => {
                lowest_published(&self.peers).map_or_else(Channel::first_install, Channel::stable)
            }
            WantedChannel::Named(channel) => channel.clone(),
        })
    }

    /// Client URLs of other units that say they are members, of `cluster` if it is given, and whose word counts.
    pub fn member_endpoints(&self, cluster: Option<ClusterId>, followed: &Followed) -> Vec<String> {
        let port = self.options.as_ref().map_or(2379, |options| options.port);
        let endpoint = |peer: &Peer| {
            // Units of the earlier charm publish a bare address only.
            let bare = peer.record.address.as_ref().map(|address| format!("https://{address}:{port}"));
            peer.record.client_url.clone().or(bare)
        };
        let counts = |peer: &&Peer| match (peer.record.cluster, cluster) {
            (Some(theirs), Some(wanted)) => theirs == wanted,
            // Units of the earlier charm do not say.
            _ => true,
        };
        let of_it = |peer: &&Peer| followed.counts(&peer.record);
        self.peers.all().filter(counts).filter(of_it).filter_map(endpoint).collect()
    }
}

pub(super) async fn facts(context: &Context, event: Event, tools: &Tools) -> Result<Facts> {
    let unit = &context.unit;
    let (leader, config, addresses, peers, authority, consumers, storage, goal) = tokio::join!(
        tools.is_leader(),
        tools.config(),
        addresses::read(tools),
        peers(context, tools),
        authority(context, tools),
        consumers(context, tools),
        storage(tools),
        tools.goal_state(),
    );
    let goal = usable_goal(goal, unit);
    let leadership = leadership(leader.context("cannot ask for leadership")?);
    let options = Options::parse(&config.context("cannot read the options")?);
    let (mut consumers, mut unread) = consumers?;
    if leadership == Leadership::Leader {
        unread.extend(read_shared(&mut consumers, context, tools).await);
    }
    let mut authority = authority?;
    unread.extend(authority.unread.take());
    for one in &unread {
        tracing::warn!("{one}");
    }
    let mut peers = peers?;
    if let Some(goal) = &goal {
        compare(&mut peers, goal, unit, tools).await;
    }
    let (addresses, unknown) = addresses?.choose(&UnitRecord::read(&peers.own), &consumers);
    let request = addresses::request(unit, &addresses, unknown.as_deref(), options.as_ref().ok());
    peers.leaving = goal.as_ref().map(dying).unwrap_or_default();
    let event = if peers.leaving.contains(unit) { Event::Leaving(event.to_string()) } else { event };
    peers.expected = goal.map(|goal| goal.units.into_keys().collect());
    if leadership == Leadership::Leader || peers.application.is_empty() {
        peers.settings = leader_settings(context, tools).await?;
    }
    peers.cluster = ClusterRecord::read(&peers.application, &peers.settings);
    // What is being taken away is not to be used any more.
    let storage = storage?.filter(|_| !matches!(event, Event::Detaching(_)));
    Ok(Facts {
        event,
        unit: unit.clone(),
        juju: context.juju,
        leadership,
        options,
        proxies: context.proxies.clone(),
        answers: Answer::read_all(unit, &authority.units),
        signed: authority.signed,
        refusals: authority.refusals,
        authority: authority.relation,
        requested: authority.published,
        request,
        addresses,
        peers,
        consumers,
        unread,
        model: context.model_uuid.clone().unwrap_or_default(),
        storage,
        attached: OnceCell::new(),
        offer: OnceCell::new(),
        snapd_says: OnceCell::new(),
        log_end: OnceCell::new(),
    })
}

/// Attached files win over the store: whoever attaches them has no store.
pub(super) async fn source(facts: &Facts, tools: &Tools) -> Option<Source> {
    let attached = facts.attached.get_or_init(|| async {
        let etcd = tools.resource("etcd").await.into_path()?;
        Some((etcd, tools.resource("core").await.into_path()))
    });
    match attached.await.clone() {
        Some((etcd, core)) => Some(Source::Files { etcd, core }),
        None => facts.channel().map(Source::Channel),
    }
}

/// There is one at most.
async fn storage(tools: &Tools) -> Result<Option<(String, Reading<PathBuf>)>> {
    let ids = tools.storage_ids("data").await.context("cannot list the storage")?;
    let Some(id) = ids.into_iter().next() else { return Ok(None) };
    let device = match tools.storage(&id).await {
        Ok(storage) if !storage.location.as_os_str().is_empty() => Reading::Known(storage.location),
        Ok(_) => Reading::Unknown("it has no device yet".to_owned()),
        Err(error) => Reading::Unknown(error.to_string()),
    };
    Ok(Some((id, device)))
}

async fn leader_settings(context: &Context, tools: &Tools) -> Result<Databag> {
    if !context.juju.has_leader_settings() {
        return Ok(Databag::new());
    }
    tools.leader_get().await.context("cannot read the leader settings")
}

/// Asks again for what may have changed while this run lasted.
pub(super) async fn asked_again(world: &World, tools: &Tools) -> Result<World> {
    let (leader, goal) = tokio::join!(tools.is_leader(), tools.goal_state());
    let goal = usable_goal(goal, &world.unit);
    let mut now = world.clone();
    now.leadership = leadership(leader.context("cannot ask for leadership")?);
    now.peers.leaving = goal.as_ref().map(dying).unwrap_or_default();
    now.peers.expected = goal.map(|goal| goal.units.into_keys().collect());
    Ok(now)
}

fn leadership(is_leader: bool) -> Leadership {
    if is_leader { Leadership::Leader } else { Leadership::Follower }
}

/// One that does not name this very unit is no word on who there is.
fn usable_goal(goal: Result<GoalState, ToolError>, unit: &UnitName) -> Option<GoalState> {
    let goal = goal.inspect_err(|error| {
        tracing::warn!(error = %error, "the goal state cannot be read; no member will be retired");
    });
    let goal = goal.ok()?;
    if !goal.units.contains_key(unit) {
        tracing::warn!("the goal state does not name {unit} itself; no member will be retired");
        return None;
    }
    Some(goal)
}

/// Juju 4 goes on listing units that are gone. Before it, nobody is told of a unit any more that is being removed, though its
/// member may be the only one yet: what it has published can still be read by its name.
async fn compare(peers: &mut Peers, goal: &GoalState, unit: &UnitName, tools: &Tools) {
    peers.units.retain(|other, _| goal.units.contains_key(other));
    let Some(relation) = &peers.relation else { return };
    let unseen = dying(goal).into_iter().filter(|other| other != unit && !peers.units.contains_key(other));
    peers.departing = each_peer(tools, relation, unseen.collect()).await;
}

/// A unit that is being removed runs many hooks, and only few of them name it as the one that departs. The others
/// must not undo what those did. Source: the unit status `dying` of Juju's `goal-state`.
fn dying(goal: &GoalState) -> BTreeSet<UnitName> {
    goal.units.iter().filter(|(_, status)| *status == "dying").map(|(unit, _)| unit.clone()).collect()
}

async fn peers(context: &Context, tools: &Tools) -> Result<Peers> {
    let ids = related::listed(context, tools, "cluster").await.context("cannot list the peer relation")?;
    let Some(relation) = ids.into_iter().next() else { return Ok(Peers::default()) };
    let (own, application, units) = tokio::join!(
        tools.relation_get_own(&relation, &context.unit),
        tools.relation_get_app(&relation, context.unit.application()),
        tools.relation_units(&relation),
    );
    let units = units.context("cannot list the units of the peer relation")?;
    let application = application.context("cannot read the application's peer databag")?;
    Ok(Peers {
        own: own.context("cannot read this unit's peer databag")?,
        settings: Databag::new(),
        cluster: ClusterRecord::default(),
        authority: AuthorityRecord::read(&application),
        application,
        units: each_peer(tools, &relation, units).await,
        departing: BTreeMap::new(),
        expected: None,
        leaving: BTreeSet::new(),
        relation: Some(relation),
    })
}

/// One whose databag cannot be read stays among them: it may have the only data.
async fn each_peer(tools: &Tools, relation: &RelationId, units: Vec<UnitName>) -> BTreeMap<UnitName, Peer> {
    let read = units.into_iter().map(|unit| async move {
        let read = tools.relation_get(relation, &unit).await.map(|bag| peer(&bag));
        let peer = read.unwrap_or_else(|error| {
            tracing::warn!(unit = %unit, error = %error, "a peer's databag cannot be read");
            Peer { unread: Some(error.reason()), ..Peer::default() }
        });
        (unit, peer)
    });
    join_all(read).await.into_iter().collect()
}

fn peer(bag: &Databag) -> Peer {
    let ingress = bag.get("ingress-address").or_else(|| bag.get("private-address"));
    Peer {
        record: UnitRecord::read(bag),
        ingress: ingress.filter(|address| !address.is_empty()).cloned(),
        trust: UnitTrust::read(bag),
        request: bag.get(REQUEST).filter(|request| !request.is_empty()).cloned(),
        unread: None,
    }
}

async fn said(tools: &Tools, relation: &RelationId) -> Result<Vec<Databag>, ToolError> {
    let units = tools.relation_units(relation).await?;
    Ok(bags(tools, relation, units).await.into_values().collect())
}

/// The databags of remote units. One that cannot be read (its unit may be going) counts as one that says nothing.
async fn bags(tools: &Tools, relation: &RelationId, units: Vec<UnitName>) -> BTreeMap<UnitName, Databag> {
    let read = units.into_iter().map(|unit| async move {
        let bag = tools.relation_get(relation, &unit).await.unwrap_or_else(|error| {
            tracing::warn!(unit = %unit, error = %error, "a databag cannot be read");
            Databag::new()
        });
        (unit, bag)
    });
    join_all(read).await.into_iter().collect()
}

/// The relation to the authority: who it is, what this unit has written there, and what it says.
#[derive(Default)]
struct AuthorityBags {
    relation: Option<(RelationId, String)>,
    published: Databag,
    units: Vec<Databag>,
    signed: Answers,
    refusals: Refusals,
    unread: Option<Unread>,
}

/// Of one that cannot be read nothing is known, and nothing is written there; an earlier one that can be does not count: what
/// the latest one has signed may be in use.
async fn authority(context: &Context, tools: &Tools) -> Result<AuthorityBags> {
    let ids = related::alive(context, tools, "certificates")
        .await
        .context("cannot list the certificates relation")?;
    // While two are related, one takes over from the other. Juju sorts ids as texts.
    let Some(relation) = ids.into_iter().max_by_key(RelationId::number) else {
        return Ok(AuthorityBags::default());
    };
    let (published, units, application) = tokio::join!(
        tools.relation_get_own(&relation, &context.unit),
        tools.relation_units(&relation),
        tools.relation_app(&relation),
    );
    let read = published.and_then(|published| Ok((published, units?, application?)));
    let (published, units, name) = match read {
        Ok(read) => read,
        Err(error) => return Ok(AuthorityBags::unread(relation, &error)),
    };
    let (units, application) = tokio::join!(bags(tools, &relation, units), async {
        match &name {
            Some(name) => tools.relation_get_app(&relation, name).await,
            None => Ok(Databag::new()),
        }
    });
    Ok(AuthorityBags {
        published,
        units: units.into_values().collect(),
        refusals: application.as_ref().map(Refusals::read).unwrap_or_default(),
        // Its application may be going; what stands here goes on.
        signed: application.map_or_else(
            |error| Answers::Unreadable(format!("its databag cannot be read: {error}")),
            |bag| Answers::read(&bag),
        ),
        relation: Some((relation, name.unwrap_or_else(|| UNNAMED.to_owned()))),
        unread: None,
    })
}

/// An authority whose name Juju does not tell.
const UNNAMED: &str = "the CA";

impl AuthorityBags {
    fn unread(relation: RelationId, error: &ToolError) -> AuthorityBags {
        AuthorityBags {
            signed: Answers::Unreadable(error.to_string()),
            relation: Some((relation.clone(), UNNAMED.to_owned())),
            unread: Some(unread(relation, error)),
            ..AuthorityBags::default()
        }
    }
}

fn unread(relation: RelationId, error: &ToolError) -> Unread {
    Unread { relation, why: error.reason() }
}

/// Those that can be read, and those that cannot.
type Consumers = (Vec<Consumer>, Vec<Unread>);

async fn consumers(context: &Context, tools: &Tools) -> Result<Consumers> {
    let all = Endpoint::ALL.into_iter().map(|endpoint| consumers_of(endpoint, context, tools));
    let read: Result<Vec<Consumers>> = join_all(all).await.into_iter().collect();
    let (consumers, unread): (Vec<_>, Vec<_>) = read?.into_iter().unzip();
    Ok((consumers.concat(), unread.concat()))
}

/// The application's databags where they are used; others than the leader may not read them. The answer is what cannot be
/// read; it stays as it is.
async fn read_shared(consumers: &mut [Consumer], context: &Context, tools: &Tools) -> Vec<Unread> {
    let mut failed = Vec::new();
    for one in consumers.iter_mut().filter(|one| one.endpoint == Endpoint::Prometheus) {
        match tools.relation_get_app(&one.relation, context.unit.application()).await {
            Ok(bag) => one.shared = Some(bag),
            // Leadership was lost since it was asked for.
            Err(error) if error.is_permission_denied() => {}
            Err(error) => failed.push(unread(one.relation.clone(), &error)),
        }
    }
    failed
}

async fn consumers_of(endpoint: Endpoint, context: &Context, tools: &Tools) -> Result<Consumers> {
    let name = endpoint.name();
    let ids = related::alive(context, tools, name)
        .await
        .with_context(|| format!("cannot list who is related to {name}"))?;
    let read = ids.into_iter().map(|relation| async move {
        let read = consumer(endpoint, relation.clone(), context, tools).await;
        read.map_err(|error| unread(relation, &error))
    });
    let (mut consumers, mut unread) = Consumers::default();
    for one in join_all(read).await {
        match one {
            Ok(consumer) => consumers.push(consumer),
            Err(one) => unread.push(one),
        }
    }
    Ok((consumers, unread))
}

async fn consumer(
    endpoint: Endpoint,
    relation: RelationId,
    context: &Context,
    tools: &Tools,
) -> Result<Consumer, ToolError> {
    let (published, application, ingress) = tokio::join!(
        tools.relation_get_own(&relation, &context.unit),
        tools.relation_app(&relation),
        addresses::ingress(tools, endpoint, &relation),
    );
    let said = if endpoint.listens() { said(tools, &relation).await? } else { Vec::new() };
    Ok(Consumer {
        endpoint,
        published: published?,
        shared: None,
        said,
        application: application?.unwrap_or_default(),
        ingress,
        relation,
    })
}

#[cfg(test)]
mod tests;
