//! `install`, `refresh`, `revert`, `remove`, `enable`, `disable`. Invariant: what is about to come from the store is on record before
//! snapd hears of it, and snapd finds its own links while it works.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::arguments::Arguments;
use super::super::channel::Channel;
use super::super::meta::Meta;
use super::super::store::{self, Release};
use super::super::{Done, Failure, error};
use super::links::Links;
use super::real::Row;
use super::record::{Lock, Pending, Record};
use super::{Front, is_file, relay};
use crate::standin::output;

/// How long the helper waits for snapd to end a change, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
const PAUSE: Duration = Duration::from_millis(200);

/// Carry out what was asked for.
pub fn run(front: &Front, arguments: &Arguments, given: &[String]) -> Done<u8> {
    let lock = match front.records.try_lock()? {
        Some(lock) => lock,
        None => {
            let busy = front.records.read()?.pending;
            if let Some(pending) = busy.filter(|pending| arguments.words.contains(&pending.name)) {
                return Err(in_progress(&pending));
            }
            front.records.lock()?
        }
    };
    let mut record = settle(front)?;
    if let Some(pending) = &record.pending
        && arguments.words.contains(&pending.name)
    {
        return Err(in_progress(pending));
    }
    let change = Change { front, arguments, given, lock: &lock };
    let code = match arguments.verb.as_str() {
        "install" if !arguments.words.iter().any(|word| is_file(word)) => change.install(&mut record),
        "refresh" => change.refresh(&mut record),
        _ => change.pass_on(&record),
    };
    settle(front)?;
    drop(lock);
    code
}

/// `snap switch`: snapd's own work, but for the name that it has for a change under way.
pub fn switch(front: &Front, arguments: &Arguments, given: &[String]) -> Done<u8> {
    match front.records.read()?.pending.filter(|pending| arguments.words.contains(&pending.name)) {
        Some(pending) if front.real.is_changing(&pending.name)? => Err(in_progress(&pending)),
        _ => Err(front.real.become_it(given)),
    }
}

fn in_progress(pending: &Pending) -> Failure {
    error(format!("snap \"{}\" has \"{}\" change in progress", pending.name, pending.kind))
}

/// One call.
struct Change<'a> {
    front: &'a Front,
    arguments: &'a Arguments,
    given: &'a [String],
    lock: &'a Lock,
}

impl Change<'_> {
    /// snapd does it alone, and finds its own links and revisions.
    fn pass_on(&self, record: &Record) -> Done<u8> {
        let is_removal = self.given.iter().any(|word| word == "remove");
        let mut words = self.given.to_vec();
        for (name, numbers) in &record.snaps {
            let links = Links { root: &self.front.root, name };
            links.hide(numbers)?;
            let named = self.given.contains(name);
            let mut asked_for_revision = false;
            for (revision, number) in numbers.iter().filter(|_| named) {
                for word in &mut words {
                    if *word == format!("--revision={number}") {
                        *word = format!("--revision={revision}");
                        asked_for_revision = true;
                    }
                }
            }
            if named && is_removal && !asked_for_revision {
                numbers.iter().try_for_each(|(revision, number)| links.remove(revision, number))?;
            }
        }
        Ok(relay(&self.front.real.change(&words, self.lock)?))
    }

    /// `snap install NAME…`.
    fn install(&self, record: &mut Record) -> Done<u8> {
        if self.arguments.words.is_empty() {
            return Err(self.front.real.become_it(self.given));
        }
        for name in &self.arguments.words {
            if !self.front.real.revisions(name)?.is_empty() {
                output::error_line(&format!("snap \"{name}\" is already installed, see 'snap help refresh'"));
                continue;
            }
            let channel = Channel::parse(self.arguments.channel.as_deref().unwrap_or("stable"), None)?;
            let release = self.find(name, &channel)?;
            let code = self.bring_in(record, &Wanted { name, release, channel, kind: "install" })?;
            if code != 0 {
                return Ok(code);
            }
        }
        Ok(0)
    }

    /// By the channel, or by the number wherever it was released.
    fn find(&self, name: &str, channel: &Channel) -> Done<Release> {
        let Some(wanted) = &self.arguments.revision else {
            return store::find(&self.front.store, name, channel);
        };
        for release in store::releases(&self.front.store, name)? {
            if release.number()? == *wanted {
                return Ok(release);
            }
        }
        Err(error(format!("snap \"{name}\" not available at revision {wanted}")))
    }

    /// `snap refresh [NAME…]`.
    fn refresh(&self, record: &mut Record) -> Done<u8> {
        let mut names = self.arguments.words.clone();
        let everything = names.is_empty();
        if everything {
            names.extend(record.snaps.keys().cloned());
        }
        let mut moved = 0;
        for name in &names {
            let rows = self.front.real.revisions(name)?;
            let numbers = record.snaps.get(name).cloned().unwrap_or_default();
            let Some(row) = rows.iter().find(|row| !row.is_disabled) else {
                // Not installed, or disabled.
                return self.pass_on(record);
            };
            let number = numbers.get(&row.revision);
            if number.is_none() && !self.arguments.amend {
                if everything {
                    continue;
                }
                return self.pass_on(record);
            }
            match self.refresh_one(record, name, row, number)? {
                Some(0) => moved += 1,
                Some(code) => return Ok(code),
                None if everything => {}
                None => output::error_line(&format!("snap \"{name}\" has no updates available")),
            }
        }
        if everything && moved == 0 {
            output::error_line("All snaps up to date.");
        }
        Ok(0)
    }

    /// The exit code of what was done; `None`: there is nothing to do.
    fn refresh_one(
        &self,
        record: &mut Record,
        name: &str,
        row: &Row,
        number: Option<&String>,
    ) -> Done<Option<u8>> {
        let current = Channel::parse(row.tracking.as_deref().unwrap_or("latest/stable"), None)?;
        let channel = match &self.arguments.channel {
            Some(text) => Channel::parse(text, Some(&current))?,
            None => current.clone(),
        };
        let release = self.find(name, &channel)?;
        if number != Some(&release.number()?) {
            let wanted = Wanted { name, release, channel, kind: "refresh" };
            return self.bring_in(record, &wanted).map(Some);
        }
        if channel == current {
            return Ok(None);
        }
        let answer = self.front.real.run(&["switch", name, &format!("--channel={channel}")])?;
        if answer.code != 0 {
            return Ok(Some(relay(&answer)));
        }
        output::line(&told(name, &channel, &row.version, "refresh"));
        Ok(Some(0))
    }

    /// Give a file of the store to snapd.
    fn bring_in(&self, record: &mut Record, wanted: &Wanted<'_>) -> Done<u8> {
        let name = wanted.name;
        let version = Meta::of_file(&wanted.release.file)?.version;
        let before = self.front.real.revisions(name)?.into_iter().map(|row| row.revision).collect();
        record.pending = Some(Pending {
            name: name.to_owned(),
            number: wanted.release.number()?,
            tracking: wanted.channel.to_string(),
            before,
            kind: format!("{}-snap", wanted.kind),
        });
        self.front.records.write(record)?;
        if self.front.helped {
            start_helper()?;
        }
        if let Some(numbers) = record.snaps.get(name) {
            Links { root: &self.front.root, name }.hide(numbers)?;
        }
        let file = wanted.release.file.to_string_lossy();
        let mut words = vec!["install", "--dangerous"];
        let flags = [("--classic", self.arguments.classic), ("--devmode", self.arguments.devmode)];
        words.extend(flags.iter().filter(|(_, wanted)| *wanted).map(|(flag, _)| *flag));
        words.push(&file);
        let answer = self.front.real.change(&words, self.lock)?;
        *record = settle(self.front)?;
        if answer.code != 0 {
            return Ok(relay(&answer));
        }
        output::line(&told(name, &wanted.channel, &version, wanted.kind));
        Ok(0)
    }
}

/// A release that a snap is to become.
struct Wanted<'a> {
    name: &'a str,
    release: Release,
    channel: Channel,
    /// `install` or `refresh`.
    kind: &'static str,
}

fn told(name: &str, channel: &Channel, version: &str, kind: &str) -> String {
    let done = if kind == "install" { "installed" } else { "refreshed" };
    super::super::change::told(name, version, Some(channel), done)
}

/// It outlives this process and whoever kills it: a change that snapd goes on with is shown by its number all the same.
fn start_helper() -> Done {
    let failed = |reason: std::io::Error| error(format!("cannot start juju-sim beside snap: {reason}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new("setsid");
    command.arg("--fork").arg(program).arg(super::SETTLE).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop).map_err(failed)
}

/// Wait until nobody makes a change any more, then show what has become of it.
pub fn settle_in_time(front: &Front) -> Done {
    let end = Instant::now() + PATIENCE;
    loop {
        let lock = front.records.lock()?;
        let settled = settle(front);
        drop(lock);
        match settled {
            Ok(record) if record.pending.is_none() => return Ok(()),
            Ok(_) if Instant::now() > end => return Err(error("snapd does not end its change")),
            // snapd may not be up yet.
            Err(failure) if Instant::now() > end => return Err(failure),
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// Bring the record and the links up to what snapd has; under the lock.
pub fn settle(front: &Front) -> Done<Record> {
    let mut record = front.records.read()?;
    let found = record.clone();
    if let Some(pending) = &record.pending {
        if front.real.is_changing(&pending.name)? {
            return Ok(record);
        }
        let pending = pending.clone();
        end(front, &mut record, &pending)?;
    }
    for (name, numbers) in &mut record.snaps {
        let links = Links { root: &front.root, name };
        for (revision, number) in numbers.clone() {
            if !links.has(&revision) {
                links.remove(&revision, &number)?;
                numbers.remove(&revision);
            }
        }
        links.show(numbers)?;
    }
    record.snaps.retain(|_, numbers| !numbers.is_empty());
    if record != found {
        front.records.write(&record)?;
    }
    Ok(record)
}

/// snapd has ended a change: with another revision in use, or with the one of before.
fn end(front: &Front, record: &mut Record, pending: &Pending) -> Done {
    let links = Links { root: &front.root, name: &pending.name };
    let numbers = record.snaps.entry(pending.name.clone()).or_default();
    record.pending = None;
    let Some(revision) = links.in_use(numbers)?.filter(|revision| !pending.before.contains(revision)) else {
        return Ok(());
    };
    // The store has a number once, so what had it before is taken for the same and its place is free.
    let earlier: Vec<String> =
        numbers.iter().filter(|(_, number)| **number == pending.number).map(|(old, _)| old.clone()).collect();
    for old in earlier {
        links.remove(&old, &pending.number)?;
        numbers.remove(&old);
        // What cannot be removed is an operator's `x` revision from now on, as little as that is right.
        front.real.run(&["remove", &pending.name, &format!("--revision={old}")])?;
    }
    numbers.insert(revision, pending.number.clone());
    links.show(numbers)?;
    let answer = front.real.run(&["switch", &pending.name, &format!("--channel={}", pending.tracking)])?;
    if answer.code == 0 { Ok(()) } else { Err(error(answer.stderr.trim().trim_start_matches("error: "))) }
}
