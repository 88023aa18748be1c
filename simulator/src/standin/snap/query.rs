//! `list`, `info`, `version`, `changes`: what is installed and what could be. Invariant: nothing is changed here.

use std::path::Path;

use super::arguments::Arguments;
use super::meta::Meta;
use super::state::{Installed, Revision, Store};
use super::{Done, error, store, unpack};
use crate::standin::output;
use crate::standin::service::properties::timestamp;

/// Print rows in aligned columns, two blanks between them.
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    for line in aligned(rows) {
        output::line(&line);
    }
}

/// The lines of such a table.
pub fn aligned<Row: AsRef<[String]>>(rows: &[Row]) -> Vec<String> {
    let count = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or_default();
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Row| {
        let cells: Vec<String> =
            row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// `snap list`.
pub fn list(store: &Store, arguments: &Arguments) -> Done {
    let state = store.read();
    let mut rows = vec![["Name", "Version", "Rev", "Tracking", "Publisher", "Notes"].map(str::to_owned)];
    for (name, snap) in &state.snaps {
        if arguments.words.is_empty() || arguments.words.contains(name) {
            let shown =
                snap.revisions.iter().filter(|revision| arguments.all || revision.number == snap.current);
            rows.extend(shown.map(|revision| row(name, snap, revision)));
        }
    }
    if rows.len() > 1 {
        table(&rows);
        return Ok(());
    }
    if arguments.words.is_empty() {
        output::error_line("No snaps are installed yet. Try 'snap install hello-world'.");
        return Ok(());
    }
    Err(error("no matching snaps installed"))
}

fn row(name: &str, snap: &Installed, revision: &Revision) -> [String; 6] {
    let mut notes = Vec::new();
    for (applies, note) in [
        (snap.classic, "classic"),
        (snap.devmode, "devmode"),
        (revision.number != snap.current || snap.disabled, "disabled"),
        (snap.held.is_some(), "held"),
    ] {
        if applies {
            notes.push(note);
        }
    }
    let local = revision.number.starts_with('x');
    [
        name.to_owned(),
        revision.version.clone(),
        revision.number.clone(),
        snap.tracking.clone().unwrap_or_else(|| "-".to_owned()),
        if local { "-" } else { "canonical**" }.to_owned(),
        if notes.is_empty() { "-".to_owned() } else { notes.join(",") },
    ]
}

/// `snap info`.
pub fn info(store: &Store, arguments: &Arguments) -> Done {
    let Some(name) = arguments.words.first() else {
        return Err(error("the required argument `<snap>` was not provided"));
    };
    let state = store.read();
    let releases = store::releases(Path::new(store::DIRECTORY), name).unwrap_or_default();
    let installed = state.snaps.get(name);
    let newest =
        releases.last().map(|release| unpack::unpack(Path::new(unpack::CACHE), &release.file)).transpose()?;
    let meta = match (installed, newest) {
        (Some(_), _) => state.meta(name)?,
        (None, Some(unpacked)) => Meta::read(&unpacked.directory)?,
        (None, None) => return Err(error(format!("no snap found for \"{name}\""))),
    };
    describe(&meta);
    if let Some(tracking) = installed.and_then(|snap| snap.tracking.as_ref()) {
        output::line(&format!("tracking:  {tracking}"));
    }
    if !releases.is_empty() {
        output::line("channels:");
    }
    for release in &releases {
        let unpacked = unpack::unpack(Path::new(unpack::CACHE), &release.file)?;
        let version = Meta::read(&unpacked.directory)?.version;
        let number = release.number.clone().unwrap_or_else(|| store::number_from_hash(&unpacked.hash));
        channel(release, &version, &number, unpacked.size);
    }
    if let Some(revision) = installed.map(Installed::revision).transpose()? {
        let size = revision.size / 1_000_000;
        output::line(&format!("installed:           {} ({}) {size}MB -", revision.version, revision.number));
    }
    Ok(())
}

/// What a snap says of itself, as `snap info` shows it.
pub fn describe(meta: &Meta) {
    output::line(&format!("name:      {}\nsummary:   {}\npublisher: Canonical**", meta.name, meta.summary));
    output::line("description: |");
    meta.description.trim_end().lines().for_each(|line| output::line(&format!("  {line}")));
    for (title, service) in [("commands", false), ("services", true)] {
        let apps: Vec<&String> =
            meta.apps.iter().filter(|(_, app)| app.daemon.is_some() == service).map(|(app, _)| app).collect();
        if !apps.is_empty() {
            output::line(&format!("{title}:"));
            apps.iter().for_each(|app| output::line(&format!("  - {}", meta.command_name(app))));
        }
    }
}

/// A line below `channels:`.
pub fn channel(release: &store::Release, version: &str, number: &str, size: u64) {
    let (name, size) = (format!("{}:", release.channel), size / 1_000_000);
    output::line(&format!("  {name:<18} {version} ({number}) {size}MB -"));
}

/// `snap version`.
pub fn version() {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    output::line(&format!(
        "snap    2.63-juju-sim\nsnapd   2.63-juju-sim\nseries  16\nkernel  {}",
        kernel.trim()
    ));
}

/// `snap changes`, of one snap if it is named.
pub fn changes(store: &Store, arguments: &Arguments) {
    let mut rows = vec![["ID", "Status", "Spawn", "Ready", "Summary"].map(str::to_owned)];
    let named =
        |summary: &str| arguments.words.first().is_none_or(|name| summary.contains(&format!("\"{name}\"")));
    for change in store.changes().into_iter().filter(|change| named(&change.summary)) {
        let time = timestamp(change.time_us);
        rows.push([change.id.to_string(), change.status, time.clone(), time, change.summary]);
    }
    table(&rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["Name", "Rev"], ["etcd", "x1"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), vec!["Name  Rev", "etcd  x1"]);
    }

    #[test]
    fn a_local_snap_follows_nothing_and_a_kept_revision_is_disabled() {
        let revision = |number: &str| Revision {
            number: number.into(),
            version: "3.4".into(),
            hash: String::new(),
            size: 0,
        };
        let snap = Installed { current: "x2".into(), ..Installed::default() };
        assert_eq!(
            row("etcd", &snap, &revision("x2")),
            ["etcd", "3.4", "x2", "-", "-", "-"].map(str::to_owned)
        );
        assert_eq!(row("etcd", &snap, &revision("x1"))[5], "disabled");
    }
}
