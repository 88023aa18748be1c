//! `list`, `info`, `refresh --list`, `download`: snapd's words with the store's numbers, and what the store has. Invariant: nothing
//! but a downloaded file is changed here, and nobody's change is waited for.

use std::path::Path;

use super::super::arguments::Arguments;
use super::super::channel::Channel;
use super::super::meta::Meta;
use super::super::query::table;
use super::super::store::{self, Release};
use super::super::{Done, error, query};
use super::real::Row;
use super::record::Record;
use super::{Front, relay};
use crate::standin::output;

/// `snap list`.
pub fn list(front: &Front, given: &[String]) -> Done<u8> {
    let record = front.records.read()?;
    let mut answer = front.real.run(given)?;
    if answer.code == 0 {
        answer.stdout = numbered(&answer.stdout, &record);
    }
    Ok(relay(&answer))
}

/// snapd's table as it would be had the store's revisions come from there.
fn numbered(listed: &str, record: &Record) -> String {
    let mut lines = listed.lines();
    let Some(headings) = lines.next() else { return listed.to_owned() };
    let headings: Vec<&str> = headings.split_whitespace().collect();
    let place = |heading| headings.iter().position(|known| *known == heading);
    let (Some(name), Some(revision), Some(publisher)) = (place("Name"), place("Rev"), place("Publisher"))
    else {
        return listed.to_owned();
    };
    let mut rows = vec![headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>()];
    for line in lines {
        let mut cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let numbers = cells.get(name).and_then(|name| record.snaps.get(name));
        let number = numbers.zip(cells.get(revision)).and_then(|(numbers, revision)| numbers.get(revision));
        if let Some(number) = number.cloned().filter(|_| publisher < cells.len()) {
            cells[revision] = number;
            "canonical**".clone_into(&mut cells[publisher]);
        }
        rows.push(cells);
    }
    query::aligned(&rows).into_iter().map(|line| line + "\n").collect()
}

/// `snap info`.
pub fn info(front: &Front, arguments: &Arguments, given: &[String]) -> Done<u8> {
    let [name] = arguments.words.as_slice() else { return Err(front.real.become_it(given)) };
    let rows = front.real.revisions(name)?;
    let releases = store::releases(&front.store, name).unwrap_or_default();
    if rows.is_empty() {
        let Some(newest) = releases.last() else {
            return Err(error(format!("no snap found for \"{name}\"")));
        };
        query::describe(&Meta::of_file(&newest.file)?);
        channels(&releases)?;
        return Ok(0);
    }
    let record = front.records.read()?;
    let numbers = record.snaps.get(name);
    let number = |row: &Row| numbers.and_then(|numbers| numbers.get(&row.revision)).cloned();
    let in_use = rows.iter().find(|row| !row.is_disabled).and_then(number);
    let answer = front.real.run(given)?;
    if answer.code != 0 {
        return Ok(relay(&answer));
    }
    let tracking = rows.iter().find_map(|row| row.tracking.clone());
    for line in answer.stdout.lines() {
        match line.split_once(':').map_or("", |(key, _)| key) {
            "publisher" if in_use.is_some() => output::line("publisher: Canonical**"),
            // Told below, wherever snapd has it.
            "tracking" => {}
            "installed" => {
                if let Some(tracking) = &tracking {
                    output::line(&format!("tracking:  {tracking}"));
                }
                channels(&releases)?;
                let number = in_use.as_deref();
                output::line(&number.map_or_else(|| line.to_owned(), |number| with_number(line, number)));
            }
            _ => output::line(line),
        }
    }
    Ok(0)
}

/// `installed:    3.4.23 (x1) 14MB -` with the store's number.
fn with_number(line: &str, number: &str) -> String {
    match (line.find('('), line.find(')')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{number}{}", &line[..=start], &line[end..])
        }
        _ => line.to_owned(),
    }
}

fn channels(releases: &[Release]) -> Done {
    if !releases.is_empty() {
        output::line("channels:");
    }
    for release in releases {
        let version = Meta::of_file(&release.file)?.version;
        query::channel(release, &version, &release.number()?, release.size());
    }
    Ok(())
}

/// `snap refresh --list`.
pub fn updates(front: &Front) -> Done<u8> {
    let mut rows = vec![["Name", "Version", "Rev", "Size", "Publisher", "Notes"].map(str::to_owned)];
    for (name, numbers) in front.records.read()?.snaps {
        let revisions = front.real.revisions(&name)?;
        let Some(row) = revisions.iter().find(|row| !row.is_disabled) else { continue };
        let Some(number) = numbers.get(&row.revision) else { continue };
        let channel = Channel::parse(row.tracking.as_deref().unwrap_or("latest/stable"), None)?;
        let release = store::find(&front.store, &name, &channel)?;
        if release.number()? != *number {
            let version = Meta::of_file(&release.file)?.version;
            let size = format!("{}MB", release.size() / 1_000_000);
            rows.push([name, version, release.number()?, size, "canonical**".into(), "-".into()]);
        }
    }
    if rows.len() == 1 {
        output::error_line("All snaps up to date.");
    } else {
        table(&rows);
    }
    Ok(0)
}

/// `snap download NAME`: the file alone, for nobody has signed it.
pub fn download(front: &Front, arguments: &Arguments) -> Done<u8> {
    let [name] = arguments.words.as_slice() else {
        return Err(error("the required argument `<snap>` was not provided"));
    };
    let channel = Channel::parse(arguments.channel.as_deref().unwrap_or("stable"), None)?;
    let release = store::find(&front.store, name, &channel)?;
    let number = release.number()?;
    if let Some(wanted) = arguments.revision.as_ref().filter(|wanted| **wanted != number) {
        return Err(error(format!("snap \"{name}\" not available at revision {wanted} in {channel}")));
    }
    let base = arguments.basename.clone().unwrap_or_else(|| format!("{name}_{number}"));
    let file = Path::new(arguments.target_directory.as_deref().unwrap_or(".")).join(format!("{base}.snap"));
    output::line(&format!("Fetching snap \"{name}\""));
    std::fs::copy(&release.file, &file)
        .map_err(|reason| error(format!("cannot write {}: {reason}", file.display())))?;
    output::line(&format!("Install the snap with:\n   snap install --dangerous {}", file.display()));
    Ok(0)
}
