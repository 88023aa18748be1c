//! `services`, `start`, `stop`, `restart`, `logs`: the services of snaps by their snap names. Invariant: what runs is asked of the
//! service manager, never remembered.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::arguments::Arguments;
use super::state::{State, Store};
use super::{Done, error, units};
use crate::standin::output;
use crate::standin::service::protocol::{self, Reply, Request};
use crate::standin::units::files::UnitFiles;

/// Ask the service manager.
pub fn ask(request: &Request) -> Done<Reply> {
    protocol::ask(request).map_err(super::Failure::from)
}

/// A service: its snap, its app, its unit.
struct Service {
    snap: String,
    app: String,
    unit: String,
}

/// The services that a word names: a snap's, or one.
fn named(state: &State, word: &str) -> Done<Vec<Service>> {
    let (snap, app) = match word.split_once('.') {
        Some((snap, app)) => (snap, Some(app)),
        None => (word, None),
    };
    if !state.snaps.contains_key(snap) {
        return Err(error(format!("snap \"{snap}\" not found")));
    }
    let meta = state.meta(snap)?;
    let services: Vec<Service> = meta
        .services()
        .filter(|(name, _)| app.is_none_or(|app| app == name.as_str()))
        .map(|(name, _)| Service {
            snap: snap.to_owned(),
            app: name.clone(),
            unit: units::service_name(snap, name),
        })
        .collect();
    match app {
        Some(app) if services.is_empty() => Err(error(format!("snap \"{snap}\" has no service \"{app}\""))),
        None if services.is_empty() => Err(error(format!("snap \"{snap}\" has no services"))),
        _ => Ok(services),
    }
}

/// `snap services`.
pub fn list(store: &Store, arguments: &Arguments) -> Done {
    let state = store.read();
    let mut services = Vec::new();
    if arguments.words.is_empty() {
        for name in state.snaps.keys() {
            services.extend(named(&state, name).unwrap_or_default());
        }
    } else {
        for word in &arguments.words {
            services.extend(named(&state, word)?);
        }
    }
    if services.is_empty() {
        output::error_line("There are no services provided by installed snaps.");
        return Ok(());
    }
    let files = UnitFiles::system();
    let reply = ask(&Request::Show { units: services.iter().map(|service| service.unit.clone()).collect() })?;
    let mut rows = vec![["Service", "Startup", "Current", "Notes"].map(str::to_owned)];
    for (service, properties) in services.iter().zip(&reply.units) {
        let enabled = files.enabled_state(&service.unit) == Some("enabled");
        let active = properties.get("ActiveState").is_some_and(|state| state == "active");
        rows.push([
            format!("{}.{}", service.snap, service.app),
            if enabled { "enabled" } else { "disabled" }.to_owned(),
            if active { "active" } else { "inactive" }.to_owned(),
            "-".to_owned(),
        ]);
    }
    super::query::table(&rows);
    Ok(())
}

/// `snap start|stop|restart`.
pub fn control(store: &Store, arguments: &Arguments) -> Done {
    let state = store.read();
    let verb = arguments.verb.as_str();
    let files = UnitFiles::system();
    for word in &arguments.words {
        let services = named(&state, word)?;
        for service in &services {
            let changed = match verb {
                "start" if arguments.enable => files.enable(&service.unit),
                "stop" if arguments.disable => files.disable(&service.unit),
                _ => Ok(Vec::new()),
            };
            changed.map_err(error)?;
        }
        ask(&Request::DaemonReload)?;
        let units: Vec<String> = services.into_iter().map(|service| service.unit).collect();
        let request = match verb {
            "start" => Request::Start { units, wait: true },
            "stop" => Request::Stop { units, wait: true },
            _ => Request::Restart { units, wait: true, only_active: false },
        };
        if let Some(problem) = ask(&request)?.problems.first() {
            let unit = &problem.unit;
            let text = format!(
                "systemctl command [{verb} {unit}] failed with exit status 1: Job for {unit} failed."
            );
            return Err(super::activate::task(&format!("{verb} of [{word}]"), text));
        }
    }
    output::line(match verb {
        "start" => "Started.",
        "stop" => "Stopped.",
        _ => "Restarted.",
    });
    Ok(())
}

/// `snap logs`.
pub fn logs(store: &Store, arguments: &Arguments) -> Done {
    let state = store.read();
    let mut command = Command::new("/usr/bin/journalctl");
    command.args(["--no-pager", "-n", arguments.lines.as_deref().unwrap_or("10")]);
    for word in &arguments.words {
        for service in named(&state, word)? {
            command.args(["-u", &service.unit]);
        }
    }
    Err(error(format!("cannot run journalctl: {}", command.exec())))
}
