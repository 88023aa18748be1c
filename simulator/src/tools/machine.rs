//! juju-log, juju-reboot and resource-get: what a hook does with its agent and its machine.

use std::fs;

use crate::agent::context::Reboot;

use super::{Answer, Call, ToolError};

pub(super) fn juju_log(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    if call.parsed.positionals.is_empty() {
        return Err(ToolError::usage("no message specified"));
    }
    let message = call.parsed.positionals.join(" ");
    let relation = call.context.hook.as_ref().and_then(|hook| hook.relation.as_ref());
    let prefix =
        relation.map(|relation| format!("{}:{}: ", relation.endpoint, relation.id)).unwrap_or_default();
    let wanted = call.parsed.value("l").unwrap_or("INFO").to_ascii_uppercase();
    let level = match wanted.as_str() {
        _ if call.parsed.is_on("debug") => "DEBUG",
        "TRACE" => "TRACE",
        "DEBUG" => "DEBUG",
        "INFO" => "INFO",
        "WARNING" | "WARN" => "WARNING",
        "ERROR" => "ERROR",
        "CRITICAL" => "CRITICAL",
        _ => {
            write(call, "WARNING", &format!("Specified log level of {wanted:?} is not valid; using INFO"));
            "INFO"
        }
    };
    write(call, level, &format!("{prefix}{message}"));
    Ok(Answer::Nothing)
}

fn write(call: &Call<'_>, level: &str, message: &str) {
    let unit = &call.context.unit;
    call.log.write(&crate::model::unit_tag(unit), level, &format!("unit.{unit}.juju-log"), message);
}

pub(super) fn juju_reboot(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    if call.context.action.is_some() {
        return Err(ToolError::failed("juju-reboot is not supported when running an action."));
    }
    call.context.reboot = if call.parsed.is_on("now") { Reboot::Now } else { Reboot::After };
    Ok(Answer::Nothing)
}

pub(super) fn resource_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let Some(name) = call.parsed.positional(0).map(str::to_owned) else {
        return Err(ToolError::usage("missing required resource name"));
    };
    call.parsed.at_most(1)?;
    let refused =
        |cause: &str| ToolError::failed(format!("could not download resource: HTTP request failed: {cause}"));
    let found = call.store.read(|model| {
        let application = model.applications.get(&model.units.get(&call.context.unit)?.application)?;
        let declared = application.charm.declared.metadata.resources.get(&name)?;
        let upload = application.resources.get(&name).cloned();
        Some((declared.filename.clone(), upload))
    });
    let Some((filename, Some(upload))) = found else {
        return Err(refused(&format!("resource {name:?} not found")));
    };
    let directory = call.unit_directory.join("resources");
    let target = directory.join(&filename);
    // Juju downloads on a difference of content only; the length and the copied time stand in for a hash here.
    let is_same = fs::metadata(&target)
        .and_then(|old| Ok((old, fs::metadata(&upload.file)?)))
        .is_ok_and(|(old, new)| old.len() == new.len() && old.modified().ok() == new.modified().ok());
    if !is_same {
        let copy = || -> std::io::Result<()> {
            fs::create_dir_all(&directory)?;
            let mut source = fs::File::open(&upload.file)?;
            let mut out = fs::File::create(&target)?;
            std::io::copy(&mut source, &mut out)?;
            out.set_modified(source.metadata()?.modified()?)
        };
        copy().map_err(|error| refused(&error.to_string()))?;
    }
    let agent = crate::model::unit_tag(&call.context.unit);
    Ok(Answer::Text(format!("/var/lib/juju/agents/{agent}/resources/{filename}")))
}
