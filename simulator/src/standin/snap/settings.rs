//! Connections, options, holds and aliases. Invariant: what is set here is only remembered and shown; nothing refreshes by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::state::{State, Store, not_installed};
use super::{Done, activate, error, timer};
use crate::standin::output;
use crate::standin::service::properties::timestamp;
use crate::standin::service::state::wall_clock_us;
use crate::standin::units::words;

/// The architecture in Debian's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// `snap connect|disconnect SNAP:PLUG`.
pub fn connect(store: &Store, arguments: &Arguments) -> Done {
    let word = arguments.words.first().map_or("", String::as_str);
    let (snap, plug) = word
        .split_once(':')
        .ok_or_else(|| error(format!("invalid value: \"{word}\" (want snap:name or :name)")))?;
    let wanted = arguments.verb == "connect";
    store.change(&format!("{} {word}", if wanted { "Connect" } else { "Disconnect" }), |state| {
        let plugs = state.meta(snap).map_err(|_| not_installed(snap))?.all_plugs();
        if !plugs.iter().any(|known| known == plug) {
            return Err(error(format!("snap \"{snap}\" has no plug named \"{plug}\"")));
        }
        if let Some(installed) = state.snaps.get_mut(snap) {
            installed.connected.insert(plug.to_owned(), wanted);
        }
        Ok(())
    })
}

/// `snap connections`.
pub fn connections(store: &Store, arguments: &Arguments) -> Done {
    let state = store.read();
    if let Some(name) = arguments.words.iter().find(|name| !state.snaps.contains_key(*name)) {
        return Err(not_installed(name));
    }
    let mut rows = vec![["Interface", "Plug", "Slot", "Notes"].map(str::to_owned)];
    for (name, snap) in &state.snaps {
        // Of one that is disabled snapd shows none.
        if snap.disabled || !arguments.words.is_empty() && !arguments.words.contains(name) {
            continue;
        }
        for plug in state.meta(name)?.all_plugs() {
            let connected = snap.is_connected(&plug);
            let slot = if connected { format!(":{plug}") } else { "-".to_owned() };
            let notes = if connected && snap.connected.contains_key(&plug) { "manual" } else { "-" };
            if connected || arguments.all || !arguments.words.is_empty() {
                rows.push([plug.clone(), format!("{name}:{plug}"), slot, notes.to_owned()]);
            }
        }
    }
    super::query::table(&rows);
    Ok(())
}

/// `snap set|unset system KEY=VALUE…`.
pub fn set(store: &Store, arguments: &Arguments) -> Done {
    let Some((name, options)) = arguments.words.split_first() else {
        return Err(error("the required arguments were not provided"));
    };
    store.change(&format!("Change configuration of \"{name}\" snap"), |state| {
        check_configurable(state, name)?;
        for option in options {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, value),
                None if arguments.verb == "unset" || option.ends_with('!') => (option.as_str(), ""),
                None => return Err(error(format!("invalid configuration: \"{option}\" (want key=value)"))),
            };
            let key = key.trim_end_matches('!');
            if value.is_empty() {
                state.system.remove(key);
                continue;
            }
            let unquoted = value.trim_matches('"');
            check_option(key, unquoted, &state.stores).map_err(|reason| {
                activate::task(
                    "Run configure hook of \"core\" snap",
                    format!("run hook \"configure\": {reason}"),
                )
            })?;
            state.system.insert(key.to_owned(), unquoted.to_owned());
        }
        Ok(())
    })
}

fn check_configurable(state: &State, name: &str) -> Done {
    if matches!(name, "system" | "core") {
        return Ok(());
    }
    state.snap(name)?;
    Err(activate::task(
        &format!("Run configure hook of \"{name}\" snap"),
        format!("snap \"{name}\" has no \"configure\" hook"),
    ))
}

fn check_option(key: &str, value: &str, stores: &BTreeSet<String>) -> Result<(), String> {
    match key {
        "proxy.store" if !stores.contains(value) => {
            Err(format!("cannot set proxy.store to \"{value}\" without a matching store assertion"))
        }
        "refresh.timer" if value != "managed" => timer::check(value),
        "refresh.hold" => {
            hold_until(value).map(drop).ok_or_else(|| format!("cannot parse \"{value}\" as a time"))
        }
        "refresh.retain" if !value.parse::<u32>().is_ok_and(|count| (2..=20).contains(&count)) => {
            Err(format!("retain must be a number between 2 and 20, not \"{value}\""))
        }
        "proxy.http" | "proxy.https" | "proxy.no-proxy" | "proxy.store" | "refresh.timer"
        | "refresh.retain" | "refresh.metered" | "refresh.rate-limit" | "refresh.schedule" => Ok(()),
        other => Err(format!("cannot set \"core.{other}\": unsupported system option")),
    }
}

/// `snap get system [KEY]`.
pub fn get(store: &Store, arguments: &Arguments) -> Done {
    let Some((name, keys)) = arguments.words.split_first() else {
        return Err(error("the required argument `<snap>` was not provided"));
    };
    let state = store.read();
    if !matches!(name.as_str(), "system" | "core") {
        state.snap(name)?;
        return Err(error(format!("snap \"{name}\" has no configuration")));
    }
    let missing = |key: &str| error(format!("snap \"core\" has no \"{key}\" configuration option"));
    if arguments.document {
        let text = serde_json::to_string_pretty(&document(&state.system));
        output::line(&text.map_err(|reason| error(reason.to_string()))?);
        return Ok(());
    }
    if let [key] = keys {
        output::line(state.system.get(key).ok_or_else(|| missing(key))?);
        return Ok(());
    }
    let mut rows = vec![["Key", "Value"].map(str::to_owned)];
    for (key, value) in &state.system {
        if keys.is_empty() || keys.contains(key) {
            rows.push([key.clone(), value.clone()]);
        }
    }
    super::query::table(&rows);
    Ok(())
}

/// `proxy.http` as `{"proxy": {"http": …}}`. What is JSON by itself, such as a number, is no text. snapd's own note that it is ready is
/// always among them.
fn document(options: &BTreeMap<String, String>) -> Value {
    let mut document = Map::from_iter([("seed".to_owned(), serde_json::json!({"loaded": true}))]);
    for (key, text) in options {
        let (group, name) = key.split_once('.').unwrap_or((key, ""));
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        if let Value::Object(group) = document.entry(group).or_insert_with(|| Value::Object(Map::new())) {
            group.insert(name.to_owned(), value);
        }
    }
    Value::Object(document)
}

/// The end of a hold: `forever` or a moment in snapd's words; `None` when it cannot be read.
fn hold_until(text: &str) -> Option<String> {
    if text == "forever" {
        return Some("forever".to_owned());
    }
    if let Some(span) = words::time_span(text) {
        let end = wall_clock_us().saturating_add(u64::try_from(span.as_micros()).ok()?);
        return Some(timestamp(end));
    }
    text.contains('T').then(|| text.to_owned())
}

/// `snap refresh --hold[=TIME] [NAME…]` and `--unhold`.
pub fn hold(store: &Store, arguments: &Arguments) -> Done {
    let until = match &arguments.hold {
        Some(text) => {
            let invalid = || {
                error(format!(
                    "hold value must be a number of hours, minutes or seconds, or \"forever\": \"{text}\""
                ))
            };
            Some(hold_until(text).ok_or_else(invalid)?)
        }
        None => None,
    };
    let lasting = until
        .as_deref()
        .map(|until| if until == "forever" { "indefinitely".to_owned() } else { format!("until {until}") });
    store.change("Hold refreshes", |state| {
        for name in &arguments.words {
            state.snaps.get_mut(name).ok_or_else(|| not_installed(name))?.held.clone_from(&until);
        }
        if arguments.words.is_empty() {
            match &until {
                Some(until) => drop(state.system.insert("refresh.hold".to_owned(), until.clone())),
                None => drop(state.system.remove("refresh.hold")),
            }
        }
        Ok(())
    })?;
    let names: Vec<String> = arguments.words.iter().map(|name| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    output::line(&match (lasting, names.is_empty()) {
        (Some(lasting), true) => format!("Auto-refresh of all snaps held {lasting}"),
        (Some(lasting), false) => format!("General refreshes of {names} held {lasting}"),
        (None, true) => "Removed auto-refresh hold on all snaps".to_owned(),
        (None, false) => format!("Removed general refresh hold of {names}"),
    });
    Ok(())
}

/// `snap refresh --time`.
pub fn show_timer(store: &Store) {
    let state = store.read();
    let of = |key: &str, otherwise: &str| state.system.get(key).map_or(otherwise, String::as_str).to_owned();
    output::line(&format!("timer: {}", of("refresh.timer", "00:00~24:00/4")));
    output::line("last: n/a");
    if let Some(until) = state.system.get("refresh.hold") {
        output::line(&format!("hold: {until}"));
    }
    output::line("next: n/a");
}

/// `snap ack FILE`: assertions are the store's signatures, and whatever has the form of one is trusted here.
pub fn acknowledge(store: &Store, arguments: &Arguments) -> Done {
    let [file] = arguments.words.as_slice() else {
        return Err(error("the required argument `<assertion file>` was not provided"));
    };
    let text = std::fs::read_to_string(file)
        .map_err(|_| error(format!("cannot assert: open {file}: no such file or directory")))?;
    if text.contains("\n\n") && text.starts_with("type: ") {
        let named = text.lines().filter_map(|line| line.strip_prefix("store: ")).map(str::to_owned);
        return store.change("Acknowledge assertions", |state| {
            state.stores.extend(named);
            Ok(())
        });
    }
    Err(error("cannot assert: cannot decode request body into assertions: unexpected EOF"))
}

/// `snap alias SNAP.APP ALIAS` and `snap unalias ALIAS`.
pub fn alias(store: &Store, arguments: &Arguments) -> Done {
    let adding = arguments.verb == "alias";
    match arguments.words.as_slice() {
        [command, alias] if adding => {
            let (snap, app) = command.split_once('.').unwrap_or((command, command));
            store.change(&format!("Setup alias \"{alias}\""), |state| {
                if !state.meta(snap)?.apps.contains_key(app) {
                    return Err(error(format!(
                        "cannot enable alias \"{alias}\" for \"{snap}\", no app \"{app}\""
                    )));
                }
                activate::wrapper(alias, command)?;
                if let Some(installed) = state.snaps.get_mut(snap) {
                    installed.aliases.insert(alias.clone(), command.clone());
                }
                Ok(())
            })?;
            output::line(&format!("Added:\n  - {command} as {alias}"));
            Ok(())
        }
        [alias] if !adding => store.change(&format!("Remove alias \"{alias}\""), |state| {
            let owner = state.snaps.values_mut().find(|snap| snap.aliases.contains_key(alias));
            let owner =
                owner.ok_or_else(|| error(format!("cannot find manual alias \"{alias}\" in any snap")))?;
            owner.aliases.remove(alias);
            activate::remove(&std::path::Path::new("/snap/bin").join(alias))
        }),
        _ => Err(error("the required arguments were not provided")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_options_are_checked_as_snapd_does() {
        let check = |key, value| check_option(key, value, &BTreeSet::from(["ours".to_owned()]));
        assert_eq!(check("refresh.timer", "4:00-7:00"), Ok(()));
        assert_eq!(check("proxy.http", "http://10.0.0.1:3128"), Ok(()));
        assert_eq!(check("proxy.store", "ours"), Ok(()));
        assert!(check("proxy.store", "theirs").is_err());
        assert!(check("refresh.timer", "never").is_err());
        assert!(check("refresh.retain", "1").is_err());
        assert!(check("no.such", "1").is_err());
    }

    #[test]
    fn options_are_shown_as_a_document_of_groups() {
        let options = [("proxy.http", "http://a"), ("proxy.no-proxy", "b"), ("refresh.retain", "3")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let shown =
            r#"{"proxy":{"http":"http://a","no-proxy":"b"},"refresh":{"retain":3},"seed":{"loaded":true}}"#;
        assert_eq!(document(&options).to_string(), shown);
    }

    #[test]
    fn a_hold_lasts_for_ever_or_until_a_moment() {
        assert_eq!(hold_until("forever").as_deref(), Some("forever"));
        assert_eq!(hold_until("2030-01-01T00:00:00Z").as_deref(), Some("2030-01-01T00:00:00Z"));
        assert!(hold_until("24h").unwrap().ends_with("UTC"));
        assert_eq!(hold_until("soon"), None);
    }
}
