//! The leader signs what the others have asked for and writes it into the application's peer databag.

use anyhow::{Context as _, Result};

use crate::decide::authority::{Issue, to_issue};
use crate::issuing;
use crate::juju::Tools;
use crate::relations::authority::KEY;
use crate::relations::changes;
use crate::world::World;

/// Everything takes effect when the hook succeeds, or is done again.
///
/// # Errors
/// The authority's key cannot be read or kept; the others go on waiting.
pub(super) async fn issue(world: &World, tools: &Tools) -> Result<()> {
    let (Some(issue), Some(relation)) = (to_issue(world), &world.peers.relation) else { return Ok(()) };
    let Issue { mut record, units, client, keep } = issue;
    let mut key = None;
    if keep || client || !units.is_empty() {
        let authority = issuing::at_hand(world, tools).await?;
        if client {
            record.client = Some(issuing::client_pair(&authority)?);
        }
        for (tag, request) in &units {
            record.issued.insert(tag.clone(), issuing::member(&authority, request)?);
        }
        if keep {
            key = Some((KEY.to_owned(), issuing::keep(&authority, world, tools).await?));
        }
    }
    let mut wanted = record.write(&world.peers.application);
    wanted.extend(key);
    let changes = changes(&world.peers.application, &wanted);
    if changes.is_empty() {
        return Ok(());
    }
    tools.relation_set_app(relation, &changes).await.context("cannot write the issued certificates")?;
    tracing::info!(units = units.len(), "Issued certificates");
    Ok(())
}
