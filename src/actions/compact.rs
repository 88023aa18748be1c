//! `compact`: forget the history of all keys before a revision. Doing it twice is doing it once.

use anyhow::{Context as _, Result, anyhow, bail};

use super::cluster::Cluster;
use super::parameters::Parameters;
use super::{Report, Results};
use crate::etcd::{Error, patience};
use crate::juju::UnitName;
use crate::observe::Local;

pub(super) async fn run(unit: &UnitName, look: &Local, parameters: &Parameters) -> Result<Report> {
    let (revision, physical) = (parameters.positive("revision")?, parameters.flag("physical")?);
    let cluster = Cluster::reach(look).await?;
    let exclusive = cluster.exclusively(unit).await?;
    let compacted = match revision {
        Some(revision) => compact(&cluster, revision, physical).await,
        None => compact_all(&cluster, physical).await,
    };
    exclusive.release().await;
    let compacted = compacted?;
    Ok(Report::of(Results::from([
        ("revision".to_owned(), compacted.revision.to_string()),
        ("physical".to_owned(), physical.to_string()),
        ("already-compacted".to_owned(), compacted.already.to_string()),
        ("output".to_owned(), format!("compacted revision {}", compacted.revision)),
    ])))
}

/// What a compaction has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// History before it is gone.
    pub revision: i64,
    /// It was so before.
    pub already: bool,
}

/// Up to the present revision.
pub(super) async fn compact_all(cluster: &Cluster, physical: bool) -> Result<Compacted> {
    let revision = cluster.client.confirm_quorum().await.context("cannot learn the present revision")?;
    compact(cluster, revision, physical).await
}

pub(super) async fn compact(cluster: &Cluster, revision: i64, physical: bool) -> Result<Compacted> {
    let status = cluster.client.status().await.context("cannot learn the size of the database")?;
    let limit = patience(status.db_size_bytes);
    match cluster.client.clone().with_timeout(limit).compact(revision, physical).await {
        Ok(()) => Ok(Compacted { revision, already: false }),
        // Also when somebody else, etcd's own compaction for one, was faster.
        Err(Error::Compacted) => Ok(Compacted { revision, already: true }),
        Err(Error::FutureRevision) => {
            let present =
                cluster.client.confirm_quorum().await.context("cannot learn the present revision")?;
            bail!("revision: {revision} has not been reached; the present revision is {present}")
        }
        Err(Error::TimedOut { .. }) => Err(anyhow!(
            "the compaction has not ended within {} s; etcd goes on with it, and it may be run again",
            limit.as_secs()
        )),
        Err(error) => Err(error).context("cannot compact"),
    }
}
