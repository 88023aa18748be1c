//! The leader signs what the others have asked for, or takes what the related authority has signed for clients, and writes it
//! into the application's peer databag.

use anyhow::{Context as _, Result};

use crate::decide::authority::{Issue, to_issue};
use crate::decide::{forgets_authority, to_share};
use crate::issuing;
use crate::juju::Tools;
use crate::relations::authority::{AuthorityRecord, KEY, SHARED_NAME};
use crate::relations::changes;
use crate::world::World;

/// Everything takes effect when the hook succeeds, or is done again. The answer is what the databag holds then: its own
/// writes bring the leader no hook.
///
/// # Errors
/// The authority's key cannot be read or kept; the others go on waiting.
pub(super) async fn issue(world: &World, tools: &Tools) -> Result<Option<AuthorityRecord>> {
    if let Some(record) = to_share(world) {
        return share(record, world, tools).await.map(Some);
    }
    let Some(issue) = to_issue(world) else { return Ok(None) };
    let Issue { mut record, units, client, consumers, keep } = issue;
    let mut key = None;
    if keep || client || !units.is_empty() || !consumers.is_empty() {
        let authority = issuing::at_hand(world, tools).await?;
        if client {
            record.client = Some(issuing::client_pair(&authority, SHARED_NAME)?);
        }
        for (tag, request) in &units {
            record.issued.insert(tag.clone(), issuing::member(&authority, request)?);
        }
        for (tag, name) in consumers {
            record.consumers.insert(tag, issuing::client_pair(&authority, &name)?);
        }
        if keep {
            key = Some((KEY.to_owned(), issuing::keep(&authority, world, tools).await?));
        }
    }
    if write(&record, key, world, tools).await? {
        tracing::info!(units = units.len(), "Issued certificates");
    }
    Ok(Some(record))
}

/// Under a related authority. The application's own, which nobody trusts any more, goes with its key.
async fn share(record: AuthorityRecord, world: &World, tools: &Tools) -> Result<AuthorityRecord> {
    let mut key = None;
    if forgets_authority(world, &record) {
        issuing::forget(world, tools).await?;
        key = Some((KEY.to_owned(), None));
    }
    if write(&record, key, world, tools).await? {
        tracing::info!(clients = record.consumers.len(), "Shared client certificates");
    }
    Ok(record)
}

/// Whether there was a difference to write; `key`: the authority's, as databag key and value.
async fn write(
    record: &AuthorityRecord,
    key: Option<(String, Option<String>)>,
    world: &World,
    tools: &Tools,
) -> Result<bool> {
    let Some(relation) = &world.peers.relation else { return Ok(false) };
    let mut wanted = record.write(&world.peers.application);
    wanted.extend(key);
    let changes = changes(&world.peers.application, &wanted);
    if changes.is_empty() {
        return Ok(false);
    }
    tools
        .relation_set_app(relation, &changes)
        .await
        .context("cannot write certificates to the application's databag")?;
    Ok(true)
}
