//! open-port, close-port and opened-ports.

use crate::agent::context::PortChange;
use crate::model::PortRange;

use super::format::Printed;
use super::{Answer, Call, ToolError};

/// Reads `80`, `80/udp`, `8000-8010`, `8000-8010/tcp` or `icmp`.
fn parse_range(text: &str) -> Result<PortRange, ToolError> {
    let lower = text.trim().to_ascii_lowercase();
    if lower == "icmp" {
        return Ok(PortRange { protocol: lower, first: 0, last: 0 });
    }
    let (ports, protocol) = lower.split_once('/').unwrap_or((lower.as_str(), "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "icmp") {
        return Err(ToolError::usage(format!(
            "invalid protocol {protocol:?}, expected \"tcp\", \"udp\", or \"icmp\""
        )));
    }
    let number = |port: &str| {
        port.parse::<u16>().map_err(|error| {
            let reason = if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() {
                "value out of range".to_owned()
            } else {
                error.to_string()
            };
            ToolError::usage(format!("invalid port {port:?}: {reason}"))
        })
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if first > last {
        return Err(ToolError::usage(format!("invalid port range {first}-{last}/{protocol}")));
    }
    Ok(PortRange { protocol: protocol.to_owned(), first, last })
}

fn change(call: &mut Call<'_>, open: bool) -> Result<Answer, ToolError> {
    let Some(text) = call.parsed.positional(0) else {
        return Err(ToolError::usage("no port or range specified"));
    };
    let range = parse_range(text)?;
    call.parsed.at_most(1)?;
    let listed = call.parsed.value("endpoints").unwrap_or_default();
    let endpoints: Vec<String> = listed
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "*")
        .map(str::to_owned)
        .collect();
    let unit = call.context.unit.clone();
    call.store.read(|model| {
        let record = model.units.get(&unit);
        let declared = record.and_then(|record| model.applications.get(&record.application));
        if let Some(application) = declared {
            let metadata = &application.charm.declared.metadata;
            let is_known = |name: &String| {
                metadata.endpoints.contains_key(name) || metadata.extra_bindings.contains(name)
            };
            if let Some(unknown) = endpoints.iter().find(|name| !is_known(name)) {
                let word = if open { "open" } else { "close" };
                return Err(ToolError::failed(format!(
                    "cannot {word} {range} (unit {unit:?}): endpoint {unknown:?} not found"
                )));
            }
        }
        if !open {
            return Ok(());
        }
        let machine = record.map(|record| record.machine.as_str());
        for other in model.units.values().filter(|other| Some(other.machine.as_str()) == machine) {
            for taken in other.ports.values().flatten() {
                let is_conflict = taken.overlaps(&range) && (*taken != range || other.name != unit);
                if is_conflict {
                    return Err(ToolError::failed(format!(
                        "cannot open {range} (unit {unit:?}): port range conflicts with {taken} (unit {:?})",
                        other.name
                    )));
                }
            }
        }
        Ok(())
    })?;
    call.context.ports.push(PortChange { endpoints, range, open });
    Ok(Answer::Nothing)
}

pub(super) fn open(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    change(call, true)
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    change(call, false)
}

pub(super) fn opened(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    call.parsed.at_most(0)?;
    let (store, unit) = (call.store, call.context.unit.clone());
    let ports = call.context.caches.ports.get_or_insert_with(|| {
        store.read(|model| model.units.get(&unit).map(|unit| unit.ports.clone())).unwrap_or_default()
    });
    let mut ranges: Vec<&PortRange> = ports.values().flatten().collect();
    ranges.sort();
    ranges.dedup();
    let lines = ranges.into_iter().map(|range| {
        if !call.parsed.is_on("endpoints") {
            return range.to_string();
        }
        let names: Vec<&str> =
            ports.iter().filter(|(_, open)| open.contains(range)).map(|(name, _)| name.as_str()).collect();
        let names = if names.contains(&"") { "*".to_owned() } else { names.join(", ") };
        format!("{range} ({names})")
    });
    Ok(Answer::Value(Printed::Strings(lines.collect())))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_read_and_shown_as_juju_does() {
        for (text, shown) in
            [("80", "80/tcp"), ("80-90/UDP", "80-90/udp"), ("ICMP", "icmp"), ("80-80", "80/tcp")]
        {
            assert_eq!(parse_range(text).unwrap().to_string(), shown);
        }
        for (text, message) in [
            ("x", "invalid port \"x\": "),
            ("65536", "invalid port \"65536\": "),
            ("90-80", "invalid port range "),
            ("80/sctp", "invalid protocol \"sctp\", expected \"tcp\", \"udp\", or \"icmp\""),
        ] {
            let error = parse_range(text).unwrap_err();
            assert!(error.message.starts_with(message) && error.code == 2, "{}", error.message);
        }
    }
}
