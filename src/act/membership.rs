//! Changes to the cluster, by its own API.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Trouble, files};
use crate::decide::{self, Company, Errand};
use crate::etcd::{self, Client, Credentials, Lock, MemberId, Taken};
use crate::healed::Healed;
use crate::host::{self, Active};
use crate::juju::Tools;
use crate::observe;
use crate::step::Removal;
use crate::world::{Door, World};

/// Etcd holds the lock under a lease, so a holder that dies keeps nobody waiting longer than this.
const LOCK_TTL_S: i64 = 60;
/// One restart at a time over the whole cluster.
const RESTART_LOCK: &str = "etcd-charm/restart";
/// A server that has ended this often since its start does not get any further.
const RESTARTS_MAX: u32 = 4;

/// Changes go through a server that has a quorum behind it: this unit's own if it votes, else another's.
async fn cluster(world: &World) -> Result<Client, Trouble> {
    let own = match &world.etcd.door {
        Door::Open(status) if !status.learner => observe::own_endpoints(&world.host),
        _ => Vec::new(),
    };
    first_of(own.into_iter().chain(others(world)), world).await
}

/// Where other voters are, as they say and as the cluster says.
fn others(world: &World) -> impl Iterator<Item = String> {
    let own = world.own_status().map(|status| status.member);
    let told = world.peers.all().filter_map(|peer| peer.record.client_url.clone());
    let by_roster = world.members().unwrap_or_default().iter();
    let by_roster = by_roster.filter(move |member| !member.learner && Some(member.id) != own);
    told.chain(by_roster.flat_map(|member| member.client_urls.clone()))
}

async fn first_of(endpoints: impl Iterator<Item = String>, world: &World) -> Result<Client, Trouble> {
    let endpoints: Vec<String> = endpoints.collect();
    Ok(etcd::reach(&endpoints, &credentials(world)?, world.cluster()).await?)
}

fn credentials(world: &World) -> Result<Credentials, Trouble> {
    let pem = world.host.credentials.as_ref();
    pem.map(Credentials::from)
        .ok_or_else(|| Trouble::Failed("cannot reach etcd without credentials".to_owned()))
}

pub(super) async fn add_learner(world: &World, peer_url: &str) -> Result<(), Trouble> {
    match cluster(world).await?.add_learner(peer_url).await {
        Ok(_) => Ok(()),
        // etcd's own rule: every voter must have been connected for 5 s. Right after a join that is the normal case.
        Err(etcd::Error::UnhealthyCluster) => {
            Err(Trouble::NotYet("Joining: waiting until all members have been connected for 5 s".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// A learner cannot be asked to promote itself; a voter forwards the request to the raft leader.
pub(super) async fn promote(world: &World, member: MemberId) -> Result<(), Trouble> {
    match cluster(world).await?.promote(member).await {
        // Another run was faster.
        Ok(()) | Err(etcd::Error::NotALearner) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn remove(
    (member, reason): (MemberId, Removal),
    world: &World,
    tools: &Tools,
) -> Result<(), Trouble> {
    match reason {
        Removal::DataLost => Healed::begin(member, world.now_s)?,
        // What Juju said at the begin of a long run is older than the newest members.
        Removal::UnitGone => {
            let now = observe::asked_again(world, tools).await?;
            if !decide::may_retire(&now, member) {
                return Err(Trouble::Failed("Juju names its unit, or another leader, by now".to_owned()));
            }
        }
        Removal::Leaving => {}
    }
    match cluster(world).await?.remove(member).await {
        Ok(()) | Err(etcd::Error::MemberNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn move_peer_url(world: &World, member: MemberId, peer_url: &str) -> Result<(), Trouble> {
    Ok(cluster(world).await?.update_peer_urls(member, &[peer_url.to_owned()]).await?)
}

/// Only the raft leader itself can hand over.
pub(super) async fn move_leadership(world: &World, to: MemberId) -> Result<(), Trouble> {
    match own(world).await?.move_leader(to).await {
        // An election was faster: somebody else leads, as was wanted.
        Ok(()) | Err(etcd::Error::NotLeader) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn own(world: &World) -> Result<Client, Trouble> {
    let credentials = credentials(world)?;
    let own_cluster = world.own_status().map(|status| status.cluster);
    for endpoint in observe::own_endpoints(&world.host) {
        let client = Client::connect(&endpoint, &credentials)?.of_cluster(own_cluster);
        if client.status().await.is_ok() {
            return Ok(client);
        }
    }
    Err(Trouble::NotYet("cannot reach this unit's own server".to_owned()))
}

/// One member at a time: hold the cluster's lock, see the others healthy, hand over raft leadership, restart,
/// wait until this member serves again. A single member has nobody to protect.
pub(super) async fn rolling_restart(world: &World) -> Result<(), Trouble> {
    rolling(world, Errand::Restart, async || restart(world).await).await
}

/// The same around what changes etcd or its data: never without a quorum.
pub(super) async fn moving(
    world: &World,
    change: impl AsyncFnOnce() -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    rolling(world, Errand::Change, change).await
}

/// For restarts that are not among the steps. `client`: another member's, which stays.
///
/// # Errors
/// Another unit has it, or the cluster does not give it.
pub async fn restart_lock(client: &Client, world: &World) -> anyhow::Result<Lock> {
    match take_restart_lock(client, world).await.context("cannot take the restart lock")? {
        Taken::Held(lock) => Ok(lock),
        Taken::Elsewhere(holder) => anyhow::bail!("{holder}"),
    }
}

async fn take_restart_lock(client: &Client, world: &World) -> Result<Taken, etcd::Error> {
    let may_hold = |name: &str| decide::may_hold_lock(world, name);
    client.try_lock(RESTART_LOCK, &world.unit.to_string(), LOCK_TTL_S, may_hold).await
}

async fn rolling(
    world: &World,
    errand: Errand,
    restart: impl AsyncFnOnce() -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    match decide::company(world, errand) {
        Company::Alone => return restart().await,
        Company::Unknown(why) => return Err(Trouble::NotYet(why)),
        Company::Others => {}
    }
    // Not by this unit's own server, which is about to go away and may come back elsewhere: the lock could not be
    // renewed meanwhile nor given back afterwards, and everybody would wait for the end of its lease.
    let client = first_of(others(world), world).await?;
    let lock = match take_restart_lock(&client, world).await {
        Ok(Taken::Held(lock)) => Some(lock),
        Ok(Taken::Elsewhere(holder)) => return Err(Trouble::NotYet(holder.to_string())),
        // It has just answered: a connection that closes under the request is a server that is being restarted.
        Err(error @ etcd::Error::TlsRefused { .. }) => return Err(Trouble::NotYet(error.to_string())),
        // The others' databags, which tell whose turn it is, are read once a run: their change brings the next one.
        Err(etcd::Error::NoSpace) => match decide::why_not_without_lock(world) {
            Some(why) => return Err(Trouble::Failed(why)),
            None => None,
        },
        Err(error) => return Err(error.into()),
    };
    let outcome = match why_not_restart(world) {
        Some(why) => Err(Trouble::NotYet(why)),
        None => match hand_over(world).await {
            Ok(()) => restart().await,
            Err(trouble) => Err(trouble),
        },
    };
    if let Some(lock) = lock
        && let Err(error) = lock.unlock().await
    {
        tracing::warn!(%error, "the restart lock was not given back and ends with its lease");
    }
    outcome
}

/// A run of this unit that was killed has left its lock: nobody else should have to wait for the end of the lease.
///
/// # Errors
/// The other members cannot be asked.
pub async fn give_back_left_lock(world: &World) -> Result<(), Trouble> {
    if others(world).next().is_none() {
        return Ok(());
    }
    let client = first_of(others(world), world).await?;
    if let Taken::Held(lock) = take_restart_lock(&client, world).await? {
        lock.unlock().await?;
    }
    Ok(())
}

fn why_not_restart(world: &World) -> Option<String> {
    let own = world.own_status()?.member;
    let sick = world
        .etcd
        .health
        .iter()
        .find(|(id, health)| **id != own && **health != crate::world::Health::Healthy);
    sick.map(|(id, _)| format!("member {id} is not healthy"))
}

async fn hand_over(world: &World) -> Result<(), Trouble> {
    let status = world.own_status();
    let leads = status.is_some_and(|status| status.raft_leader == Some(status.member));
    let other = world
        .members()
        .unwrap_or_default()
        .iter()
        .find(|member| !member.learner && status.is_some_and(|status| status.member != member.id));
    if let (true, Some(other)) = (leads, other) {
        move_leadership(world, other.id).await?;
    }
    Ok(())
}

/// Restarts this unit's server and waits until it serves in its cluster.
pub(super) async fn restart(world: &World) -> Result<(), Trouble> {
    host::etcd_service().restart().await.map_err(anyhow::Error::from)?;
    serve_again(world).await
}

/// Waits until this unit's server, which was just started, serves in its cluster.
pub(super) async fn serve_again(world: &World) -> Result<(), Trouble> {
    let service = host::etcd_service();
    // A large database takes its time to be read. One that is not there yet is small.
    let database = Path::new(&world.host.place.data).join("member/snap/db");
    let bytes = std::fs::metadata(database).map_or(0, |meta| meta.len());
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let deadline = Instant::now() + etcd::patience(bytes);
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let state = service.state().await.map_err(anyhow::Error::from)?;
        if state.restarts > RESTARTS_MAX || state.active == Active::Failed {
            let words = observe::last_words().await;
            return Err(Trouble::Failed(format!("etcd does not start: {words}")));
        }
        if let Ok(client) = own(world).await
            && client.prove_quorum().await.is_ok()
        {
            return Ok(files::restart_is_done()?);
        }
    }
    let words = observe::last_words().await;
    Err(Trouble::Failed(format!("etcd did not serve again after its restart; its last words: {words}")))
}
