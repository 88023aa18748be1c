//! relation-set: collects writes to the own bags; nothing is sent until the hook succeeds.

use super::relation::relation_id;
use super::{Answer, Call, ToolError, keyvalue};

pub(super) fn set(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let id = relation_id(call)?;
    let arguments = keyvalue::parse_words(&call.parsed.positionals)?;
    let mut writes = match call.parsed.value("file") {
        Some(path) => keyvalue::parse_file(&call.file_text(path)?)?,
        None => Default::default(),
    };
    writes.extend(arguments);
    if call.parsed.is_on("app") {
        if !call.is_leader() {
            return Err(ToolError::failed("cannot write relation settings"));
        }
        call.context.application_writes.entry(id).or_default().extend(writes);
    } else {
        if !call.version().has_private_address() {
            // Juju 4 keeps these two to itself and drops what a charm writes there.
            writes.retain(|key, _| key != "ingress-address" && key != "egress-subnets");
        }
        call.context.unit_writes.entry(id).or_default().extend(writes);
    }
    Ok(match call.parsed.value("format") {
        Some(_) => Answer::Note("--format flag deprecated for command \"relation-set\"\n".to_owned()),
        None => Answer::Nothing,
    })
}
