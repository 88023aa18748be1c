//! Which relations an endpoint has.

use crate::juju::{Context, RelationId, ToolError, Tools};

/// The relations of an endpoint, but the one that this hook ends: it may still be listed.
pub(super) async fn alive(
    context: &Context,
    tools: &Tools,
    endpoint: &str,
) -> Result<Vec<RelationId>, ToolError> {
    let ids = listed(context, tools, endpoint).await?;
    let ending = context.relation.as_ref().filter(|_| context.hook().ends_with("-relation-broken"));
    Ok(ids.into_iter().filter(|id| ending.is_none_or(|relation| relation.id != *id)).collect())
}

/// A unit that is being installed has no relation yet.
pub(super) async fn listed(
    context: &Context,
    tools: &Tools,
    endpoint: &str,
) -> Result<Vec<RelationId>, ToolError> {
    if context.hook() == "hooks/install" {
        return Ok(Vec::new());
    }
    tools.relation_ids(endpoint).await
}
