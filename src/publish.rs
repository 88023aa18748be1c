//! Tells Juju what this run has come to: databags, ports, version, status. Only differences are written.

mod authority;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::decide::serving::{self, Publication};
use crate::juju::{RelationId, Status, Tools};
use crate::options::CertificateAuthority;
use crate::recovering::Generation;
use crate::relations::Changes;
use crate::relations::cluster::{LOG, RECOVERY};
use crate::world::{Leadership, Reading, World};

/// What came of it.
#[derive(Debug)]
pub enum Published {
    /// The world with what the leader has shared, since its own writes bring it no hook, and the status that is shown.
    Told(Box<World>, Status),
    /// What is remembered of this unit's databag on this relation does not hold: all is to be looked at anew.
    Doubtful(RelationId),
}

/// Writes everything. Databags and ports take effect when the hook succeeds, the rest at once.
///
/// # Errors
/// When a hook tool fails; Juju then retries the hook and drops what was not yet in effect.
pub async fn publish(mut world: World, status: Status, tools: &Tools) -> Result<Published> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let issued = authority::issue(&world, tools).await.map_err(|error| {
        tracing::error!(error = %format!("{error:#}"), "no certificates were issued or shared");
        let whose = match world.authority.kind {
            CertificateAuthority::Internal => "The application's own authority",
            CertificateAuthority::Relation => "Clients' certificates",
        };
        Status::blocked(format!("{whose}: {error:#}"))
    });
    if let Ok(Some(record)) = &issued {
        world.peers.authority = record.clone();
    }
    let publication = serving::publication(&world, &token);
    for (relation, _) in &publication.unit {
        if !tools.confirms(relation, &world.unit).await {
            return Ok(Published::Doubtful(relation.clone()));
        }
    }
    databags(&publication, tools).await?;
    let status = issued.err().unwrap_or(status);
    if !publication.settings.is_empty() {
        leader_settings(&publication.settings, tools).await?;
    }
    if !publication.ports.is_empty() {
        only_open_ports(&publication.ports, tools).await?;
    }
    if let Some(version) = &publication.version {
        tools.workload_version_set(version).await.context("cannot set the workload version")?;
    }
    statuses(&world, &status, tools).await?;
    Ok(Published::Told(Box::new(world), status))
}

/// Says of which recovery of the quorum this unit's member is, before anything else is told of it.
///
/// # Errors
/// Juju does not take it.
pub async fn generation(world: &World, generation: Option<&Generation>, tools: &Tools) -> Result<()> {
    let Some(relation) = &world.peers.relation else { return Ok(()) };
    let change = [(RECOVERY.to_owned(), generation.map(ToString::to_string))].into();
    let told = tools.relation_set(relation, &change).await;
    told.context("cannot tell the other units of the recovery")
}

/// Says how far this unit's log goes, for the survivors that have to be compared.
///
/// # Errors
/// Juju does not take it.
pub async fn log_end(world: &World, tools: &Tools) -> Result<()> {
    let (Some(relation), Reading::Known(end)) = (&world.peers.relation, &world.host.log_end) else {
        return Ok(());
    };
    let told = tools.relation_set(relation, &[(LOG.to_owned(), Some(end.to_string()))].into()).await;
    told.context("cannot tell the other units how far this unit's log goes")
}

async fn databags(publication: &Publication, tools: &Tools) -> Result<()> {
    for (relation, changes) in &publication.unit {
        tools.relation_set(relation, changes).await.with_context(|| format!("cannot write to {relation}"))?;
    }
    for (relation, changes) in publication.application.iter().chain(&publication.shared) {
        let written = tools.relation_set_app(relation, changes).await;
        written.with_context(|| format!("cannot write the application's data to {relation}"))?;
    }
    Ok(())
}

/// Leadership may have been lost since it was asked for; the next leader writes the same.
async fn leader_settings(settings: &Changes, tools: &Tools) -> Result<()> {
    if let Err(error) = tools.leader_set(settings).await {
        tracing::warn!(error = %error, "the leader settings were not written");
    }
    Ok(())
}

async fn only_open_ports(ports: &BTreeSet<u16>, tools: &Tools) -> Result<()> {
    let opened = tools.opened_ports().await.context("cannot list the opened ports")?;
    let tcp: BTreeSet<u16> =
        opened.iter().filter_map(|port| port.strip_suffix("/tcp")?.parse().ok()).collect();
    for stale in tcp.difference(ports) {
        tools.close_port(*stale).await.context("cannot close a port")?;
    }
    for new in ports.difference(&tcp) {
        tools.open_port(*new).await.context("cannot open the client port")?;
    }
    Ok(())
}

/// The leader's unit speaks for the application: its status is about the whole cluster.
async fn statuses(world: &World, status: &Status, tools: &Tools) -> Result<()> {
    tools.status_set(status).await.context("cannot set the status")?;
    if world.leadership == Leadership::Leader
        && let Err(error) = tools.application_status_set(status).await
    {
        tracing::warn!(error = %error, "the application's status was not set");
    }
    Ok(())
}
