//! The verbs that only tell. Invariant: they never start, load or change anything but the manager's knowledge of unit files.

use std::collections::BTreeMap;

use anyhow::Result;

use super::arguments::Arguments;
use super::jobs;
use crate::standin::journal;
use crate::standin::output;
use crate::standin::service::properties::timestamp;
use crate::standin::service::protocol::{self, Request};
use crate::standin::units::files::{Found, UnitFiles};

/// Properties of one unit.
type Properties = BTreeMap<String, String>;

fn properties_of(units: &[String]) -> Result<Vec<Properties>> {
    Ok(protocol::ask(&Request::Show { units: units.to_vec() })?.units)
}

fn value<'a>(properties: &'a Properties, key: &str) -> &'a str {
    properties.get(key).map_or("", String::as_str)
}

/// `is-active`: 0 when any of the units is.
pub fn is_active(arguments: &Arguments) -> Result<u8> {
    states(arguments, &["active", "reloading"], 3)
}

/// `is-failed`: 0 when any of the units is.
pub fn is_failed(arguments: &Arguments) -> Result<u8> {
    states(arguments, &["failed"], 1)
}

fn states(arguments: &Arguments, good: &[&str], otherwise: u8) -> Result<u8> {
    let mut code = otherwise;
    for properties in properties_of(&arguments.units)? {
        let state = value(&properties, "ActiveState");
        if good.contains(&state) {
            code = 0;
        }
        if !arguments.quiet {
            output::line(state);
        }
    }
    Ok(code)
}

/// `is-enabled`.
pub fn is_enabled(arguments: &Arguments) -> u8 {
    let files = UnitFiles::system();
    let mut code = 1;
    for unit in &arguments.units {
        match files.enabled_state(unit) {
            Some(state) => {
                if matches!(state, "enabled" | "static") {
                    code = 0;
                }
                if !arguments.quiet {
                    output::line(state);
                }
            }
            None => output::error_line(&format!(
                "Failed to get unit file state for {unit}: No such file or directory"
            )),
        }
    }
    code
}

/// `is-system-running`.
pub fn is_system_running() -> Result<u8> {
    let units = protocol::ask(&Request::List)?.units;
    let degraded = units.iter().any(|unit| value(unit, "ActiveState") == "failed");
    output::line(if degraded { "degraded" } else { "running" });
    Ok(u8::from(degraded))
}

/// `show`.
pub fn show(arguments: &Arguments) -> Result<u8> {
    if arguments.units.is_empty() {
        output::line("Version=249.11-juju-sim\nSystemState=running");
        return Ok(0);
    }
    for (position, properties) in properties_of(&arguments.units)?.iter().enumerate() {
        if position > 0 {
            output::line("");
        }
        let asked = |key: &str| {
            arguments.properties.is_empty() || arguments.properties.iter().any(|name| name == key)
        };
        for (key, value) in properties.iter().filter(|(key, _)| asked(key)) {
            output::line(&if arguments.value_only { value.clone() } else { format!("{key}={value}") });
        }
    }
    Ok(0)
}

/// `status`.
pub fn status(arguments: &Arguments) -> Result<u8> {
    if arguments.units.is_empty() {
        return list_units(arguments);
    }
    let mut code = 0;
    for properties in properties_of(&arguments.units)? {
        let name = value(&properties, "Id");
        if value(&properties, "LoadState") == "not-found" {
            output::error_line(&format!("Unit {name} could not be found."));
            code = 4;
            continue;
        }
        if value(&properties, "NeedDaemonReload") == "yes" {
            output::error_line(&jobs::stale(name));
        }
        if !matches!(value(&properties, "ActiveState"), "active" | "reloading") {
            code = code.max(3);
        }
        output::text(&describe(&properties));
        let lines = journal::read(journal::PATH.as_ref());
        let own: Vec<_> = lines.into_iter().filter(|line| line.unit == name).collect();
        let count = arguments.lines.unwrap_or(10);
        if !own.is_empty() && count > 0 {
            output::line("");
        }
        for line in own.iter().skip(own.len().saturating_sub(count)) {
            output::line(&format!("{} {}[{}]: {}", timestamp(line.time_us), line.name, line.pid, line.text));
        }
    }
    Ok(code)
}

fn describe(properties: &Properties) -> String {
    let of = |key: &str| value(properties, key);
    let mark = match of("ActiveState") {
        "active" => "●",
        "failed" => "×",
        _ => "○",
    };
    let mut text = format!("{mark} {} - {}\n", of("Id"), of("Description"));
    let loaded = match of("LoadState") {
        "loaded" => format!("loaded ({}; {})", of("FragmentPath"), of("UnitFileState")),
        other => other.to_owned(),
    };
    text.push_str(&format!("     Loaded: {loaded}\n"));
    if !of("DropInPaths").is_empty() {
        text.push_str(&format!("    Drop-In: {}\n", of("DropInPaths")));
    }
    let result = if of("ActiveState") == "failed" {
        format!("Result: {}", of("Result"))
    } else {
        of("SubState").to_owned()
    };
    let since = match of("StateChangeTimestamp") {
        "" => String::new(),
        moment => format!(" since {moment}"),
    };
    text.push_str(&format!("     Active: {} ({result}){since}\n", of("ActiveState")));
    if !matches!(of("MainPID"), "" | "0") {
        text.push_str(&format!("   Main PID: {}\n", of("MainPID")));
    } else if !matches!(of("ExecMainPID"), "" | "0") {
        let code = ["", "exited", "killed", "dumped"];
        let code = of("ExecMainCode").parse::<usize>().ok().and_then(|index| code.get(index)).unwrap_or(&"");
        text.push_str(&format!(
            "   Main PID: {} (code={code}, status={})\n",
            of("ExecMainPID"),
            of("ExecMainStatus")
        ));
    }
    if !of("StatusText").is_empty() {
        text.push_str(&format!("     Status: \"{}\"\n", of("StatusText")));
    }
    text
}

/// `cat`.
pub fn cat(arguments: &Arguments) -> u8 {
    let files = UnitFiles::system();
    let mut code = 0;
    for unit in &arguments.units {
        let Found::Loaded(loaded) = files.load(unit) else {
            output::error_line(&format!("No files found for {unit}."));
            code = 1;
            continue;
        };
        let all = std::iter::once(&loaded.fragment).chain(&loaded.drop_ins);
        let texts: Vec<String> = all
            .map(|path| {
                format!("# {}\n{}", path.display(), std::fs::read_to_string(path).unwrap_or_default())
            })
            .collect();
        output::text(&texts.join("\n"));
    }
    code
}

/// `list-units`.
pub fn list_units(arguments: &Arguments) -> Result<u8> {
    let units = protocol::ask(&Request::List)?.units;
    let wanted = |unit: &&Properties| {
        let (name, active) = (value(unit, "Id"), value(unit, "ActiveState"));
        let state = arguments.states.is_empty()
            || [active, value(unit, "SubState"), value(unit, "LoadState")]
                .iter()
                .any(|word| arguments.states.iter().any(|state| state == word));
        let shown = arguments.all || active != "inactive" || !arguments.states.is_empty();
        state && shown && is_named(arguments, name)
    };
    let found: Vec<&Properties> = units.iter().filter(wanted).collect();
    let width = found.iter().map(|unit| value(unit, "Id").len()).max().unwrap_or(0).max(4);
    if !arguments.no_legend {
        output::line(&format!("{:width$} {:9} {:12} {:12} DESCRIPTION", "UNIT", "LOAD", "ACTIVE", "SUB"));
    }
    for unit in &found {
        let of = |key: &str| value(unit, key);
        let (name, load, active, sub) = (of("Id"), of("LoadState"), of("ActiveState"), of("SubState"));
        output::line(&format!("{name:width$} {load:9} {active:12} {sub:12} {}", of("Description")));
    }
    if !arguments.no_legend {
        output::line(&format!("\n{} loaded units listed.", found.len()));
    }
    Ok(0)
}

/// `list-unit-files`.
pub fn list_unit_files(arguments: &Arguments) -> u8 {
    let files = UnitFiles::system();
    let names: Vec<String> = files.names().into_iter().filter(|name| is_named(arguments, name)).collect();
    if !arguments.no_legend {
        output::line("UNIT FILE STATE");
    }
    for name in &names {
        let state = files.enabled_state(name).unwrap_or("bad");
        if arguments.states.is_empty() || arguments.states.iter().any(|wanted| wanted == state) {
            output::line(&format!("{name} {state}"));
        }
    }
    if !arguments.no_legend {
        output::line(&format!("\n{} unit files listed.", names.len()));
    }
    0
}

/// Whether a unit is one of those named on the command line, or of a kind asked for.
fn is_named(arguments: &Arguments, name: &str) -> bool {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    let kind_fits = arguments.kinds.is_empty() || arguments.kinds.iter().any(|wanted| wanted == kind);
    kind_fits && (arguments.units.is_empty() || arguments.units.iter().any(|pattern| fits(pattern, name)))
}

/// A shell pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            name.char_indices()
                .map(|(position, _)| position)
                .chain([name.len()])
                .any(|position| fits(rest, &name[position..]))
        }
        Some('?') => {
            name.chars().next().is_some_and(|letter| fits(&pattern[1..], &name[letter.len_utf8()..]))
        }
        Some(letter) => {
            name.strip_prefix(letter).is_some_and(|rest| fits(&pattern[letter.len_utf8()..], rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_any_letters_or_one() {
        assert!(fits("snap.*.service", "snap.etcd.etcd.service"));
        assert!(fits("a?c", "abc"));
        assert!(!fits("snap.*.service", "snap.etcd.mount"));
    }
}
