//! `snap run`: from the name of an app to its program. Invariant: the environment is the one snapd makes, and of confinement what
//! operators trip over is kept: a strict snap has its own `/tmp`, and without `removable-media` sees nothing in `/media` and `/mnt`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

use super::meta::{App, Meta};
use super::state::{Installed, Store, place};
use super::{Done, activate, error, settings};
use crate::machine::local::mounts;
use crate::standin::units::words;

/// `run [--command=WHICH] SNAP[.APP] ARGUMENT…`: comes back only when it failed.
pub fn run(given: &[String]) -> Done {
    let mut which = "command";
    let mut given = given;
    while let Some((option, rest)) = given.split_first().filter(|(word, _)| word.starts_with('-')) {
        which = match option.as_str() {
            "--command=stop" => "stop",
            "--command=reload" => "reload",
            "--command=post-stop" => "post-stop",
            "--shell" => "shell",
            other => return Err(error(format!("unknown flag `{}'", other.trim_start_matches('-')))),
        };
        given = rest;
    }
    let (name, arguments) =
        given.split_first().ok_or_else(|| error("need the application to run as argument"))?;
    let (snap, app) = name.split_once('.').unwrap_or((name, name));
    let installed = &linked(snap)?;
    let meta = Meta::read(&place(snap, &installed.current))?;
    let settings =
        meta.apps.get(app).ok_or_else(|| error(format!("cannot find app \"{app}\" in \"{snap}\"")))?;
    let variables = environment(&meta, settings, installed)?;
    let words = command_words(settings, which, &place(snap, &installed.current), &variables)?;
    if meta.confinement == "strict" && !installed.devmode {
        confine(snap, installed)?;
    }
    let (program, rest) = words.split_first().ok_or_else(|| error("cannot run an empty command"))?;
    let failure = Command::new(program).args(rest).args(arguments).envs(&variables).exec();
    Err(error(format!("cannot run {program}: {failure}")))
}

/// What the link to the revision in use says: while a change is going on, it knows more than the state, which is written at
/// its end, and services are started in between.
fn linked(snap: &str) -> Done<Installed> {
    let link = place(snap, "current");
    let target = std::fs::read_link(&link).map_err(|_| {
        error(format!(
            "cannot find current revision for snap {snap}: readlink {}: no such file or directory",
            link.display()
        ))
    })?;
    let noted = Store::open()?.read().snaps.get(snap).cloned();
    Ok(Installed { current: target.display().to_string(), ..noted.unwrap_or_default() })
}

/// The words of one of the app's commands, variables put in and the program within the snap.
fn command_words(
    app: &App,
    which: &str,
    snap: &Path,
    variables: &BTreeMap<String, String>,
) -> Done<Vec<String>> {
    let text = match which {
        "stop" => app.stop_command.as_deref(),
        "reload" => app.reload_command.as_deref(),
        "post-stop" => app.post_stop_command.as_deref(),
        "shell" => return Ok(vec!["/bin/bash".to_owned()]),
        _ => Some(app.command.as_str()),
    };
    let text = text.ok_or_else(|| error(format!("the app has no {which} command")))?;
    let split = words::split(text).ok_or_else(|| error(format!("cannot read the command \"{text}\"")))?;
    let mut words: Vec<String> = split.iter().map(|word| put_in(word, variables)).collect();
    if let Some(program) = words.first_mut().filter(|program| !program.starts_with('/')) {
        *program = snap.join(&*program).display().to_string();
    }
    Ok(words)
}

/// Put in `$NAME` and `${NAME}`.
fn put_in(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, left) = braced.unwrap_or_else(|| {
            let end = after
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(after.len());
            after.split_at(end)
        });
        result.push_str(variables.get(name).map_or("", String::as_str));
        rest = left;
    }
    result + rest
}

fn environment(meta: &Meta, app: &App, installed: &Installed) -> Done<BTreeMap<String, String>> {
    let name = &meta.name;
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let user = PathBuf::from(&home).join("snap").join(name);
    let (user_data, user_common) = (user.join(&installed.current), user.join("common"));
    for directory in [&user_data, &user_common] {
        // A home that cannot be written to only matters to an app that uses it.
        drop(std::fs::create_dir_all(directory));
    }
    let text = |path: &Path| path.display().to_string();
    let own_home = if meta.confinement == "classic" { home.clone() } else { text(&user_data) };
    let mut variables: BTreeMap<String, String> = [
        ("SNAP", text(&place(name, &installed.current))),
        ("SNAP_NAME", name.clone()),
        ("SNAP_INSTANCE_NAME", name.clone()),
        ("SNAP_INSTANCE_KEY", String::new()),
        ("SNAP_REVISION", installed.current.clone()),
        ("SNAP_VERSION", meta.version.clone()),
        ("SNAP_ARCH", settings::architecture().to_owned()),
        ("SNAP_DATA", text(&activate::data(name, &installed.current))),
        ("SNAP_COMMON", text(&activate::data(name, "common"))),
        ("SNAP_USER_DATA", text(&user_data)),
        ("SNAP_USER_COMMON", text(&user_common)),
        ("SNAP_REAL_HOME", home),
        ("SNAP_REEXEC", String::new()),
        ("HOME", own_home),
        ("TMPDIR", "/tmp".to_owned()),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games"
                .to_owned(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let mut own = meta.environment.clone();
    own.extend(app.environment.clone());
    for (key, value) in own {
        let value = put_in(&value, &variables);
        variables.insert(key, value);
    }
    Ok(variables)
}

fn confine(snap: &str, installed: &Installed) -> Done {
    if !nix::unistd::geteuid().is_root() {
        // The real one has a set-uid helper for this. For other users the app sees what they see.
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|reason| error(format!("cannot make a mount namespace: {reason}")))?;
    mounts::cut_from_host(true)?;
    let private = PathBuf::from(format!("/tmp/snap-private-tmp/snap.{snap}/tmp"));
    std::fs::create_dir_all(&private)
        .and_then(|()| std::fs::set_permissions("/tmp/snap-private-tmp", PermissionsExt::from_mode(0o700)))
        .and_then(|()| std::fs::set_permissions(&private, PermissionsExt::from_mode(0o1777)))
        .map_err(|reason| error(format!("cannot make {}: {reason}", private.display())))?;
    mounts::bind(&private, Path::new("/tmp"))?;
    if !installed.is_connected("removable-media") {
        for hidden in ["/media", "/mnt"] {
            mounts::filesystem("tmpfs", Path::new(hidden), MsFlags::MS_RDONLY, "size=4k,mode=755")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_in_the_snap_with_its_variables_put_in() {
        let app = App { command: "bin/a $SNAP_DATA/x \"two ${SNAP_NAME}s\"".into(), ..App::default() };
        let variables = [("SNAP_DATA", "/var/snap/t/1"), ("SNAP_NAME", "t")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let words = command_words(&app, "command", Path::new("/snap/t/1"), &variables.into()).unwrap();
        assert_eq!(words, vec!["/snap/t/1/bin/a", "/var/snap/t/1/x", "two ts"]);
        assert!(command_words(&app, "stop", Path::new("/snap/t/1"), &BTreeMap::new()).is_err());
    }
}
