//! Fills a [`World`]: the only reader. Juju's facts are read once a run; the host's and etcd's again after every
//! step, since steps change them.

mod certificates;
mod channel;
mod etcd;
mod host;
mod inherited;
mod juju;
mod kept;
mod place;
mod service;
mod snapd;
mod storage;
mod v2_store;

pub use channel::offer;
pub use etcd::{own_endpoints, status_at, status_of};
pub use juju::Facts;
pub use service::last_words;

use anyhow::Result;

use crate::clock;
use crate::decide::{followed, lowest_published, prepares_for, seems_of_before};
use crate::etcd::{ClusterId, Member, OldRecords};
use crate::event::Event;
use crate::juju::{Context, Tools};
use crate::recovering::Recovery;
use crate::relations::cluster::UnitRecord;
use crate::world::{Data, Etcd, Host, Reading, Roster, Tried, World};

/// Everything Juju knows that this charm needs.
///
/// # Errors
/// When a hook tool fails in a way that no later hook of this run could mend; Juju then retries the hook.
pub async fn facts(context: &Context, event: Event, tools: &Tools) -> Result<Facts> {
    juju::facts(context, event, tools).await
}

/// This world with what Juju says now of its units and of leadership.
///
/// # Errors
/// When Juju does not say.
pub async fn asked_again(world: &World, tools: &Tools) -> Result<World> {
    juju::asked_again(world, tools).await
}

/// This machine and its server, without a word from Juju.
#[derive(Debug)]
pub struct Local {
    /// This machine.
    pub host: Host,
    /// etcd as this unit's own server sees it.
    pub etcd: Etcd,
}

/// Looks at this machine and its own server only.
///
/// # Errors
/// When this machine's own files or service cannot be read at all.
pub async fn local() -> Result<Local> {
    let mut host = host::look().await?;
    let doors = etcd::Doors { own: own_endpoints(&host), others: Vec::new(), cluster: None };
    let mut etcd = etcd::look(&host, &doors).await;
    service::judge(&mut host, &mut etcd).await;
    Ok(Local { host, etcd })
}

/// What a server says on data that may not count in the end proves nothing, nor do members of before a recovery of the quorum.
async fn look(facts: &Facts, host: &Host, cluster: Option<ClusterId>) -> Etcd {
    let others = facts.member_endpoints(cluster, &followed(&facts.peers, host));
    let is_half_done = host.recovery.as_ref().is_some_and(Recovery::is_half_done);
    let is_doubtful = is_half_done || seems_of_before(&facts.peers, host);
    let own = if is_doubtful { Vec::new() } else { own_endpoints(host) };
    let mut doors = etcd::Doors { own, others, cluster };
    let mut etcd = etcd::look(host, &doors).await;
    let own = host.identity.map(|identity| identity.member);
    // It has joined since, and the hook that would have told so was cut off.
    let is_listed = |members: &[Member]| members.iter().any(|member| Some(member.id) == own);
    if is_doubtful && !is_half_done && matches!(&etcd.roster, Roster::Confirmed(all) if is_listed(all)) {
        doors.own = own_endpoints(host);
        etcd = etcd::look(host, &doors).await;
    }
    etcd.rivals = etcd::rivals(&etcd, host, &facts.peers).await;
    etcd
}

/// The world as it is now.
///
/// # Errors
/// When this machine's own files or service cannot be read at all.
pub async fn world(facts: &Facts, tools: &Tools, tried: &Tried) -> Result<World> {
    let mut host = host::look().await?;
    // What has no data yet may still become another version.
    let has_begun = host.data != Data::Empty || host.config.is_some();
    let has_members = lowest_published(&facts.peers).is_some();
    let is_open = match &host.snap {
        Reading::Known(None) => host.releases.current.is_none(),
        Reading::Known(Some(snap)) => !has_begun && !snap.is_from_file() && has_members,
        Reading::Unknown(_) => false,
    };
    if is_open && !facts.event.is_leaving() {
        host.source = juju::source(facts, tools).await;
    }
    // While a restore is under way its journal knows better than the databags which cluster counts, and before that its server.
    let agreed = facts.peers.cluster.cluster.or_else(|| UnitRecord::read(&facts.peers.own).cluster);
    let cluster = match &host.restore {
        Some(journal) => journal.cluster(),
        None => agreed,
    };
    if !facts.event.is_leaving() {
        host.snapd_says = snapd::look(&host, tried, &facts.snapd_says).await;
    }
    let mut etcd = look(facts, &host, cluster).await;
    if host.data == Data::Present && !matches!(etcd.roster, Roster::Confirmed(_)) && !facts.event.is_leaving()
    {
        host.log_end = facts.log_end.get_or_init(|| place::log_end(&host.place)).await.clone();
    }
    service::judge(&mut host, &mut etcd).await;
    etcd.v2_store = v2_store::look(facts, &host, &etcd.door).await;
    host.following = channel::following(facts, &host, &etcd).await;
    let now_s = clock::now_s();
    let mut world = World {
        authority: certificates::authority(facts, &host, now_s),
        now_s,
        event: facts.event.clone(),
        unit: facts.unit.clone(),
        juju: facts.juju,
        leadership: facts.leadership,
        options: facts.options.clone(),
        proxies: facts.proxies.clone(),
        addresses: facts.addresses.clone(),
        peers: facts.peers.clone(),
        consumers: facts.consumers.clone(),
        unread: facts.unread.clone(),
        model: facts.model.clone(),
        storage: storage::attached(facts.storage.as_ref()).await,
        host,
        etcd,
        tried: tried.clone(),
    };
    if prepares_for(&world).is_some() {
        world.host.old_records = old_records(&world.host).await;
    }
    Ok(world)
}

/// What etcd's old store has left in this member's log and raft snapshots, while its server runs.
pub async fn old_records(host: &Host) -> Reading<OldRecords> {
    place::old_records(&host.place).await
}
