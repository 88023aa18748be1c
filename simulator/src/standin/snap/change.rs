//! `install`, `refresh`, `remove`, `revert`, `switch`. Invariant: a change that fails leaves the revision in use that was in use before.

use std::path::Path;

use super::arguments::Arguments;
use super::channel::Channel;
use super::meta::Meta;
use super::state::{Installed, Revision, State, Store, not_installed, place};
use super::unpack::{self, Unpacked};
use super::{Done, Failure, activate, error, settings, store};
use crate::standin::output;

/// How many revisions of a snap are kept, the one in use counted.
const KEPT: usize = 2;

/// Where a revision comes from.
struct Source {
    unpacked: Unpacked,
    /// The store's number; none for a local file.
    number: Option<String>,
    tracking: Option<Channel>,
}

/// `snap install`.
pub fn install(store: &Store, arguments: &Arguments) -> Done {
    if arguments.words.is_empty() {
        return Err(error("the required argument `<snap>` was not provided"));
    }
    for word in &arguments.words {
        let is_file = word.contains('/') || word.ends_with(".snap");
        let summary = format!("Install \"{word}\" snap");
        let text = store.change(&summary, |state| {
            if is_file {
                install_file(state, Path::new(word), arguments)
            } else {
                install_named(state, word, arguments)
            }
        })?;
        output::line(&text);
    }
    Ok(())
}

fn install_file(state: &mut State, file: &Path, arguments: &Arguments) -> Done<String> {
    if !file.exists() {
        return Err(error(format!(
            "cannot open \"{0}\": open {0}: no such file or directory",
            file.display()
        )));
    }
    if !arguments.dangerous && !arguments.devmode {
        return Err(error(format!(
            "cannot find signatures with metadata for snap/component \"{}\"",
            file.display()
        )));
    }
    let unpacked = unpack::unpack(Path::new(unpack::CACHE), file)?;
    let meta = Meta::read(&unpacked.directory)?;
    let source = Source { unpacked, number: None, tracking: None };
    put_to_use(state, &meta, source, arguments)?;
    Ok(format!("{} {} installed", meta.name, meta.version))
}

fn install_named(state: &mut State, name: &str, arguments: &Arguments) -> Done<String> {
    if state.snaps.contains_key(name) {
        return Err(Failure::Nothing(format!(
            "snap \"{name}\" is already installed, see 'snap help refresh'"
        )));
    }
    let channel = Channel::parse(arguments.channel.as_deref().unwrap_or("stable"), None)?;
    let source = from_store(name, channel, arguments)?;
    let meta = Meta::read(&source.unpacked.directory)?;
    let text = told(&meta.name, &meta.version, source.tracking.as_ref(), "installed");
    put_to_use(state, &meta, source, arguments)?;
    Ok(text)
}

fn from_store(name: &str, channel: Channel, arguments: &Arguments) -> Done<Source> {
    let release = store::find(Path::new(store::DIRECTORY), name, &channel)?;
    let unpacked = unpack::unpack(Path::new(unpack::CACHE), &release.file)?;
    let number = release.number.unwrap_or_else(|| store::number_from_hash(&unpacked.hash));
    if let Some(wanted) = arguments.revision.as_ref().filter(|wanted| **wanted != number) {
        return Err(error(format!("snap \"{name}\" not available at revision {wanted}")));
    }
    Ok(Source { unpacked, number: Some(number), tracking: Some(channel) })
}

/// What `snap` says of a change that was done.
pub fn told(name: &str, version: &str, channel: Option<&Channel>, done: &str) -> String {
    let shown = channel.map(ToString::to_string).filter(|channel| channel != "latest/stable");
    let shown = shown.map(|channel| format!(" ({channel})")).unwrap_or_default();
    format!("{name}{shown} {version} from Canonical** {done}")
}

/// Check what a revision asks for, then make it the one in use, and on failure put the old one back.
fn put_to_use(state: &mut State, meta: &Meta, source: Source, arguments: &Arguments) -> Done {
    check(meta, state.snaps.get(&meta.name), arguments)?;
    let mut snap = state.snaps.get(&meta.name).cloned().unwrap_or_default();
    let number = source.number.unwrap_or_else(|| {
        snap.local_count += 1;
        format!("x{}", snap.local_count)
    });
    let revision = Revision {
        number,
        version: meta.version.clone(),
        hash: source.unpacked.hash,
        size: source.unpacked.size,
    };
    let before = state.snaps.get(&meta.name).map(|_| state.meta(&meta.name)).transpose()?;
    let old = snap.current.clone();
    if let Err(failure) = change_over(meta, &revision, before.as_ref().map(|before| (before, old.as_str()))) {
        undo(state, meta, &revision, before.as_ref())?;
        return Err(failure);
    }
    snap.current.clone_from(&revision.number);
    snap.revisions.retain(|kept| kept.number != revision.number);
    snap.revisions.push(revision);
    // A file changes nothing in what is followed.
    snap.tracking = source.tracking.map(|channel| channel.to_string()).or(snap.tracking);
    snap.classic = arguments.classic || snap.classic;
    snap.devmode = arguments.devmode || snap.devmode;
    while snap.revisions.len() > KEPT {
        let surplus = snap.revisions.remove(0);
        activate::unmount(&meta.name, &surplus.number)?;
    }
    state.snaps.insert(meta.name.clone(), snap);
    Ok(())
}

fn check(meta: &Meta, installed: Option<&Installed>, arguments: &Arguments) -> Done {
    let name = &meta.name;
    let classic = arguments.classic || installed.is_some_and(|snap| snap.classic);
    if meta.confinement == "classic" && !classic && !arguments.devmode {
        return Err(error(format!(
            "This revision of snap \"{name}\" was published using classic confinement and thus may perform\n       \
             arbitrary system changes outside of the security sandbox that snaps are usually confined to,\n       \
             which may put your system at risk.\n\n       \
             If you understand and want to proceed repeat the command including --classic."
        )));
    }
    if meta.confinement != "classic" && arguments.classic {
        return Err(error(format!("snap \"{name}\" is not compatible with --classic")));
    }
    let ours = settings::architecture();
    let fits = |name: &String| name == ours || name == "all";
    if !meta.architectures.is_empty() && !meta.architectures.iter().any(fits) {
        let theirs = meta.architectures.join(", ");
        return Err(error(format!(
            "snap \"{name}\" supported architectures ({theirs}) are incompatible with this system ({ours})"
        )));
    }
    Ok(())
}

/// From the revision in use, if any, to another.
fn change_over(meta: &Meta, revision: &Revision, before: Option<(&Meta, &str)>) -> Done {
    activate::mount(meta, revision)?;
    if let Some((old, number)) = before {
        activate::stop_services(old)?;
        if number != revision.number {
            activate::copy_data(&meta.name, number, &revision.number)?;
        }
        for (app, settings) in &old.apps {
            // What the new revision no longer has goes; what stays keeps being enabled or disabled.
            if meta.apps.get(app).is_none_or(|new| new.daemon.is_some() != settings.daemon.is_some()) {
                let gone = Meta { apps: [(app.clone(), settings.clone())].into(), ..old.clone() };
                activate::unlink(&gone)?;
            }
        }
    }
    activate::link(meta, revision)?;
    activate::start_services(meta, &revision.number, before.is_none())
}

fn undo(state: &State, meta: &Meta, revision: &Revision, before: Option<&Meta>) -> Done {
    activate::stop_services(meta)?;
    let Some(before) = before else {
        activate::unlink(meta)?;
        activate::unmount(&meta.name, &revision.number)?;
        activate::remove(&Path::new("/snap").join(&meta.name))?;
        return activate::remove(&Path::new("/var/snap").join(&meta.name));
    };
    let old = state.snap(&meta.name)?;
    activate::link(before, old.revision()?)?;
    if !old.revisions.iter().any(|kept| kept.number == revision.number) {
        activate::unmount(&meta.name, &revision.number)?;
    }
    activate::start_services(before, &old.current, false)
}

/// `snap refresh`.
pub fn refresh(store: &Store, arguments: &Arguments) -> Done {
    if arguments.time {
        settings::show_timer(store);
        return Ok(());
    }
    if arguments.hold.is_some() || arguments.unhold {
        return settings::hold(store, arguments);
    }
    let named = !arguments.words.is_empty();
    let state = store.read();
    let names: Vec<String> =
        if named { arguments.words.clone() } else { state.snaps.keys().cloned().collect() };
    let mut done = 0;
    for name in &names {
        let result =
            store.change(&format!("Refresh \"{name}\" snap"), |state| refresh_one(state, name, arguments));
        match result {
            Ok(text) => {
                output::line(&text);
                done += 1;
            }
            Err(failure) if named => return Err(failure),
            // Without names, what has nothing newer or is local is passed over.
            Err(Failure::Nothing(_)) => {}
            Err(failure) => {
                if state.snaps.get(name).is_some_and(|snap| !snap.is_local()) {
                    return Err(failure);
                }
            }
        }
    }
    if done == 0 && !named {
        return Err(Failure::Nothing("All snaps up to date.".to_owned()));
    }
    Ok(())
}

fn refresh_one(state: &mut State, name: &str, arguments: &Arguments) -> Done<String> {
    let snap = state.snaps.get(name).ok_or_else(|| not_installed(name))?;
    let is_local = snap.is_local();
    if snap.disabled {
        return Err(error(format!(
            "cannot refresh \"{name}\": refreshing disabled snap \"{name}\" not supported"
        )));
    }
    if is_local && !arguments.amend {
        return Err(error(format!(
            "local snap \"{name}\" is unknown to the store, use --amend to proceed anyway"
        )));
    }
    let current = Channel::parse(snap.tracking.as_deref().unwrap_or("latest/stable"), None)?;
    let channel = match &arguments.channel {
        Some(text) => Channel::parse(text, Some(&current))?,
        None => current.clone(),
    };
    let hash = snap.revision()?.hash.clone();
    let source = from_store(name, channel.clone(), arguments)?;
    let meta = Meta::read(&source.unpacked.directory)?;
    if source.unpacked.hash == hash && !is_local {
        if channel == current {
            return Err(Failure::Nothing(format!("snap \"{name}\" has no updates available")));
        }
        if let Some(snap) = state.snaps.get_mut(name) {
            snap.tracking = Some(channel.to_string());
        }
        return Ok(told(name, &meta.version, Some(&channel), "refreshed"));
    }
    put_to_use(state, &meta, source, arguments)?;
    Ok(told(name, &meta.version, Some(&channel), "refreshed"))
}

/// `snap switch`.
pub fn switch(store: &Store, arguments: &Arguments) -> Done {
    let [name] = arguments.words.as_slice() else {
        return Err(error("the required argument `<snap>` was not provided"));
    };
    let Some(text) = &arguments.channel else {
        return Err(error("missing --channel=<channel-name> parameter"));
    };
    let channel = store.change(&format!("Switch \"{name}\" snap"), |state| {
        let snap = state.snaps.get_mut(name).ok_or_else(|| not_installed(name))?;
        let current = Channel::parse(snap.tracking.as_deref().unwrap_or("latest/stable"), None)?;
        let channel = Channel::parse(text, Some(&current))?.to_string();
        snap.tracking = Some(channel.clone());
        Ok(channel)
    })?;
    output::line(&format!("\"{name}\" switched to the \"{channel}\" channel"));
    Ok(())
}

/// `snap revert`.
pub fn revert(store: &Store, arguments: &Arguments) -> Done {
    let [name] = arguments.words.as_slice() else {
        return Err(error("the required argument `<snap>` was not provided"));
    };
    let version = store.change(&format!("Revert \"{name}\" snap"), |state| {
        let nowhere = || error(format!("cannot revert \"{name}\": no revision to revert to"));
        let snap = state.snaps.get(name).ok_or_else(nowhere)?;
        let before = state.meta(name)?;
        let position = snap.revisions.iter().position(|revision| revision.number == snap.current);
        let earlier = position
            .and_then(|position| position.checked_sub(1))
            .and_then(|position| snap.revisions.get(position));
        let revision = earlier.ok_or_else(nowhere)?.clone();
        let meta = Meta::read(&place(name, &revision.number))?;
        activate::stop_services(&before)?;
        activate::link(&meta, &revision)?;
        activate::start_services(&meta, &revision.number, false)?;
        if let Some(snap) = state.snaps.get_mut(name) {
            snap.current.clone_from(&revision.number);
        }
        Ok(revision.version)
    })?;
    output::line(&format!("{name} reverted to {version}"));
    Ok(())
}

/// `snap enable` and `snap disable`.
pub fn set_enabled(store: &Store, arguments: &Arguments) -> Done {
    let verb = arguments.verb.as_str();
    for name in &arguments.words {
        store.change(&format!("{verb} \"{name}\" snap"), |state| {
            let (meta, snap) = (state.meta(name)?, state.snap(name)?);
            if snap.disabled == (verb == "disable") {
                return Err(error(format!("cannot {verb} \"{name}\": snap \"{name}\" already {verb}d")));
            }
            if snap.disabled {
                activate::link(&meta, snap.revision()?)?;
                activate::start_services(&meta, &snap.current, true)?;
            } else {
                activate::stop_services(&meta)?;
                activate::unlink(&meta)?;
                activate::unpoint(name)?;
            }
            if let Some(snap) = state.snaps.get_mut(name) {
                snap.disabled = verb == "disable";
            }
            Ok(())
        })?;
        output::line(&format!("{name} {verb}d"));
    }
    Ok(())
}

/// `snap remove`.
pub fn remove(store: &Store, arguments: &Arguments) -> Done {
    for name in &arguments.words {
        store.change(&format!("Remove \"{name}\" snap"), |state| {
            let Some(snap) = state.snaps.get(name).cloned() else {
                return Err(Failure::Nothing(format!("snap \"{name}\" is not installed")));
            };
            let meta = state.meta(name)?;
            activate::stop_services(&meta)?;
            activate::unlink(&meta)?;
            for alias in snap.aliases.keys() {
                activate::remove(&Path::new("/snap/bin").join(alias))?;
            }
            for revision in &snap.revisions {
                activate::unmount(name, &revision.number)?;
            }
            activate::remove(&Path::new("/snap").join(name))?;
            activate::remove(&Path::new("/var/snap").join(name))?;
            state.snaps.remove(name);
            Ok(())
        })?;
        output::line(&format!("{name} removed"));
    }
    Ok(())
}
