//! `maintain`: the whole cure for a full database in its only right order: compact, defragment every member, disarm.
//! Each part is safe to repeat, so the whole is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::alarms::{disarm_all, in_words, of_kind};
use super::cluster::{Cluster, Exclusive, LOOK_FIRST, why_not_busy};
use super::{Report, Results, compact, defrag, tell};
use crate::etcd::{AlarmKind, Client, patience};
use crate::juju::{Tools, UnitName};
use crate::observe::Local;

/// etcd removes old revisions in batches with shorter pauses than this between them.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(unit: &UnitName, look: &Local, tools: &Tools) -> Result<Report> {
    maintain(&Cluster::reach(look).await?, unit, tools).await
}

pub(super) async fn maintain(cluster: &Cluster, unit: &UnitName, tools: &Tools) -> Result<Report> {
    let alarms = cluster.client.alarms().await.context("cannot list the alarms")?;
    if !of_kind(&alarms, AlarmKind::Corrupt).is_empty() {
        bail!(
            "the members disagree about the data (CORRUPT), which maintenance cannot cure: take a snapshot of each member and restore the right one"
        );
    }
    // Before anything is changed: what could not be finished is not begun.
    if let Some(why) = why_not_busy(&cluster.survey().await?) {
        bail!("no member may be busy with its database now: {why}; {LOOK_FIRST}");
    }
    let exclusive = cluster.exclusively(unit).await?;
    let outcome = under_lock(cluster, &exclusive, unit, tools).await;
    exclusive.release().await;
    outcome
}

async fn under_lock(
    cluster: &Cluster,
    exclusive: &Exclusive,
    unit: &UnitName,
    tools: &Tools,
) -> Result<Report> {
    tell(tools, "compacting").await;
    let compacted = compact::compact_all(cluster, true).await?;
    for (member, _) in cluster.survey().await? {
        space_is_freed_inside(&cluster.client_of(&member)?).await?;
    }
    let rolled = defrag::roll(cluster, exclusive, tools).await;
    let mut results = rolled.results();
    results.insert("revision".to_owned(), compacted.revision.to_string());
    if rolled.failure.is_some() {
        return Ok(Report { results, failure: rolled.failure });
    }
    let failure = disarm(cluster, unit, &mut results).await.err().map(|error| format!("{error:#}"));
    Ok(Report { results, failure })
}

/// Members compact for themselves, also after the one that was asked has answered; what they have not removed yet
/// would survive the defragmentation. Ends when nothing more becomes free, or after a while: it costs only space.
async fn space_is_freed_inside(client: &Client) -> Result<()> {
    let mut status = client.status().await.context("cannot learn the size of the database")?;
    let deadline = Instant::now() + patience(status.db_size_bytes);
    while Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        let now = client.status().await.context("cannot learn the size of the database")?;
        if now.db_in_use_bytes >= status.db_in_use_bytes {
            break;
        }
        status = now;
    }
    Ok(())
}

async fn disarm(cluster: &Cluster, unit: &UnitName, results: &mut Results) -> Result<()> {
    let raised = cluster.client.alarms().await.context("cannot list the alarms")?;
    let raised = of_kind(&raised, AlarmKind::NoSpace);
    results.insert("disarmed".to_owned(), in_words(&raised));
    if raised.is_empty() {
        return Ok(());
    }
    disarm_all(cluster, &raised).await?;
    // A database that is still too full raises its alarm with the next write: better with this one than a client's.
    if let Err(error) = prove_writes(cluster, unit).await {
        let left = cluster.client.alarms().await.context("cannot list the alarms again")?;
        results.insert("alarms".to_owned(), in_words(&left));
        bail!(
            "the database takes no write after all: {error:#}; delete keys or raise quota_backend_bytes, and run it again"
        );
    }
    Ok(())
}

/// A lock is a lease and a key: what a full database refuses.
async fn prove_writes(cluster: &Cluster, unit: &UnitName) -> Result<()> {
    let proof = format!("etcd-charm/proof-of-writes/{unit}");
    let taken = cluster.client.try_lock(&proof, &unit.to_string(), 10, |_| false).await?;
    if let Some(lock) = taken.held() {
        lock.unlock().await?;
    }
    Ok(())
}
