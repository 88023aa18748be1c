//! Putting a revision of a snap to use, and out of it: mounts, links, data, wrappers, services. Invariant: every step may be done
//! twice, so a command that died half-way can be repeated.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::meta::Meta;
use super::state::{Revision, place};
use super::{Done, error, services, units};
use crate::standin::service::protocol::Request;
use crate::standin::units::files::UnitFiles;

/// An error of a task, as a change of snapd reports it.
pub fn task(name: &str, reason: impl std::fmt::Display) -> super::Failure {
    error(format!("cannot perform the following tasks:\n- {name} ({reason})"))
}

/// Where a revision keeps its data.
pub fn data(snap: &str, revision: &str) -> PathBuf {
    Path::new("/var/snap").join(snap).join(revision)
}

/// Make a revision appear under `/snap`.
pub fn mount(meta: &Meta, revision: &Revision) -> Done {
    let failed =
        |reason: String| task(&format!("Mount snap \"{}\" ({})", meta.name, revision.number), reason);
    let unit = units::mount_name(&meta.name, &revision.number);
    let source = format!("{}/{}", super::unpack::CACHE, revision.hash);
    write(&unit_path(&unit), &units::mount(meta, &revision.number, &source), 0o644)?;
    UnitFiles::system().enable(&unit).map_err(failed)?;
    services::ask(&Request::DaemonReload)?;
    let reply = services::ask(&Request::Start { units: vec![unit.clone()], wait: true })?;
    if reply.problems.is_empty() { Ok(()) } else { Err(failed(format!("cannot start {unit}"))) }
}

/// Take a revision away, its data too.
pub fn unmount(snap: &str, revision: &str) -> Done {
    let unit = units::mount_name(snap, revision);
    services::ask(&Request::Stop { units: vec![unit.clone()], wait: true })?;
    // One that is not enabled has nothing to disable.
    drop(UnitFiles::system().disable(&unit));
    remove(&unit_path(&unit))?;
    remove(&place(snap, revision))?;
    remove(&data(snap, revision))
}

/// Let the new revision have a copy of the old one's data.
pub fn copy_data(snap: &str, old: &str, new: &str) -> Done {
    let (from, to) = (data(snap, old), data(snap, new));
    remove(&to)?;
    let output = Command::new("cp").arg("-a").arg(&from).arg(&to).output();
    let reason = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(reason) => reason.to_string(),
    };
    remove(&to)?;
    let what = format!("failed to copy \"{}\" to \"{}\": {reason}", from.display(), to.display());
    Err(task(&format!("Copy snap \"{snap}\" data"), what))
}

/// Make a mounted revision the one in use: links, wrappers and units; services are not started.
pub fn link(meta: &Meta, revision: &Revision) -> Done {
    let (name, number) = (&meta.name, &revision.number);
    for directory in [data(name, number), data(name, "common")] {
        fs::create_dir_all(&directory)
            .map_err(|reason| error(format!("cannot make {}: {reason}", directory.display())))?;
    }
    replace_link(&place(name, "current"), number)?;
    replace_link(&data(name, "current"), number)?;
    fs::create_dir_all("/snap/bin").map_err(|reason| error(format!("cannot make /snap/bin: {reason}")))?;
    for (app, settings) in &meta.apps {
        if settings.daemon.is_some() {
            let unit = units::service_name(name, app);
            write(&unit_path(&unit), &units::service(meta, app, settings, number), 0o644)?;
        } else {
            wrapper(&meta.command_name(app), &meta.command_name(app))?;
        }
    }
    services::ask(&Request::DaemonReload).map(drop)
}

/// Take the wrappers and units of a revision away; its services must be stopped.
pub fn unlink(meta: &Meta) -> Done {
    let files = UnitFiles::system();
    for (app, settings) in &meta.apps {
        if settings.daemon.is_some() {
            let unit = units::service_name(&meta.name, app);
            // One that is not enabled has nothing to disable.
            drop(files.disable(&unit));
            remove(&unit_path(&unit))?;
        } else {
            remove(&Path::new("/snap/bin").join(meta.command_name(app)))?;
        }
    }
    services::ask(&Request::DaemonReload).map(drop)
}

/// Let no revision be the one in use.
pub fn unpoint(snap: &str) -> Done {
    remove(&place(snap, "current"))?;
    remove(&data(snap, "current"))
}

/// Let `/snap/bin/<name>` run a command of a snap.
pub fn wrapper(name: &str, command: &str) -> Done {
    // The real ones are links to /usr/bin/snap, which goes by the name it was called by.
    let text = format!("#!/bin/sh\nexec /usr/bin/snap run {command} \"$@\"\n");
    write(&Path::new("/snap/bin").join(name), &text, 0o755)
}

/// Start the services of a snap that are enabled; with `fresh` they are enabled first, as at an install.
pub fn start_services(meta: &Meta, revision: &str, fresh: bool) -> Done {
    let files = UnitFiles::system();
    let mut to_start = Vec::new();
    for (app, settings) in meta.services() {
        let unit = units::service_name(&meta.name, app);
        if fresh && settings.install_mode.as_deref() != Some("disable") {
            files.enable(&unit).map_err(|reason| task("Start snap services", reason))?;
        }
        if files.enabled_state(&unit) == Some("enabled") {
            to_start.push(unit);
        }
    }
    services::ask(&Request::DaemonReload)?;
    let reply = services::ask(&Request::Start { units: to_start, wait: true })?;
    match reply.problems.first() {
        None => Ok(()),
        Some(problem) => {
            let name = format!("Start snap \"{}\" ({revision}) services", meta.name);
            let unit = &problem.unit;
            Err(task(
                &name,
                format!("systemctl command [start {unit}] failed with exit status 1: Job for {unit} failed."),
            ))
        }
    }
}

/// Stop the services of a snap.
pub fn stop_services(meta: &Meta) -> Done {
    let units: Vec<String> = meta.services().map(|(app, _)| units::service_name(&meta.name, app)).collect();
    services::ask(&Request::Stop { units, wait: true }).map(drop)
}

fn unit_path(unit: &str) -> PathBuf {
    Path::new(units::DIRECTORY).join(unit)
}

fn write(path: &Path, text: &str, mode: u32) -> Done {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|reason| error(format!("cannot write {}: {reason}", path.display())))
}

fn replace_link(link: &Path, target: &str) -> Done {
    let beside = link.with_extension("new");
    drop(fs::remove_file(&beside));
    symlink(target, &beside)
        .and_then(|()| fs::rename(&beside, link))
        .map_err(|reason| error(format!("cannot make {}: {reason}", link.display())))
}

/// Remove a file or a whole directory, if it is there.
pub fn remove(path: &Path) -> Done {
    let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(reason) if reason.kind() != ErrorKind::NotFound => {
            Err(error(format!("cannot remove {}: {reason}", path.display())))
        }
        _ => Ok(()),
    }
}
