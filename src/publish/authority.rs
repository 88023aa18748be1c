//! The leader signs what the others have asked for and writes it into the application's peer databag.

use anyhow::{Context as _, Result};

use crate::decide::authority::{Issue, to_issue};
use crate::issuing;
use crate::juju::Tools;
use crate::relations::authority::{AuthorityRecord, KEY};
use crate::relations::changes;
use crate::world::World;

/// Everything takes effect when the hook succeeds, or is done again. The answer is what the databag holds then: its own
/// writes bring the leader no hook.
///
/// # Errors
/// The authority's key cannot be read or kept; the others go on waiting.
pub(super) async fn issue(world: &World, tools: &Tools) -> Result<Option<AuthorityRecord>> {
    let (Some(issue), Some(relation)) = (to_issue(world), &world.peers.relation) else { return Ok(None) };
    let Issue { mut record, units, client, consumers, keep } = issue;
    let mut key = None;
    if keep || client || !units.is_empty() || !consumers.is_empty() {
        let authority = issuing::at_hand(world, tools).await?;
        if client {
            record.client = Some(issuing::client_pair(&authority, issuing::CLIENT)?);
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
    let mut wanted = record.write(&world.peers.application);
    wanted.extend(key);
    let changes = changes(&world.peers.application, &wanted);
    if !changes.is_empty() {
        tools.relation_set_app(relation, &changes).await.context("cannot write the issued certificates")?;
        tracing::info!(units = units.len(), "Issued certificates");
    }
    Ok(Some(record))
}
