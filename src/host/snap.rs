//! One snap of this machine. What is installed is read from snapd's own files, cheaply and without its daemon;
//! changes go through the `snap` command, whose refusals are told apart by their words.

mod channels;
mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::files;
use crate::process::{Output, ProcessError, Run};

pub use channels::Offer;

/// Downloads and the copy of a snap's data belong to a change; slow networks and large data need time.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// How long a change waits for another one to end, or for snapd to come back from its own refresh.
const BUSY_PATIENCE: Duration = Duration::from_secs(120);
/// First pause between two attempts; doubled up to 10 s.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Why a snap could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapError {
    /// The snap store does not answer: no network, no proxy set, or none intended.
    #[error("cannot reach the snap store: {message}")]
    StoreUnreachable {
        /// snapd's words.
        message: String,
    },
    /// The store has no such snap in that channel for this machine.
    #[error("cannot find that snap or channel in the store: {message}")]
    ChannelNotFound {
        /// snapd's words; they may name channels that exist.
        message: String,
    },
    /// The snap is not on this machine.
    #[error("cannot use snap {name}: it is not installed")]
    NotInstalled {
        /// The snap.
        name: String,
    },
    /// It is installed, and what it holds cannot be read yet: right after a boot its mount may still be on the way.
    #[error("the {name} snap (revision {revision}) is not mounted")]
    NotMounted {
        /// The snap.
        name: String,
        /// The revision in use.
        revision: String,
    },
    /// Revisions of it are there and none is in use: snapd is at work on it, or somebody has disabled it.
    #[error("no revision of the {name} snap is in use")]
    NotInUse {
        /// The snap.
        name: String,
    },
    /// Another change was still going on after two minutes, or snapd did not come back.
    #[error("cannot change the snap while snapd is busy: {message}")]
    Busy {
        /// snapd's words.
        message: String,
    },
    /// This snapd is too old for the request.
    #[error("cannot ask this version of snapd for that: {message}")]
    Unsupported {
        /// snapd's words.
        message: String,
    },
    /// snapd's files are there and cannot be understood.
    #[error("cannot read what is installed as snap {name}: {detail}")]
    Unreadable {
        /// The snap.
        name: String,
        /// Which file and why.
        detail: String,
    },
    /// Anything else.
    #[error("cannot change the snap: {message}")]
    Other {
        /// snapd's words.
        message: String,
    },
    /// The `snap` command did not run to its end.
    #[error("cannot run the snap command to its end")]
    Process(#[source] ProcessError),
}

impl SnapError {
    /// It may be over in a moment, without anybody's doing.
    pub fn passes(&self) -> bool {
        matches!(self, SnapError::Busy { .. } | SnapError::NotMounted { .. } | SnapError::NotInUse { .. })
    }
}

/// An installed snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The store's number, or `x1`, `x2`, … for one installed from a file.
    pub revision: String,
    /// The version that the snap names itself.
    pub version: String,
}

impl Installed {
    /// Whether it was installed from a file and not from the store.
    pub fn is_from_file(&self) -> bool {
        self.revision.starts_with('x')
    }
}

/// A snap by its name.
#[derive(Debug, Clone)]
pub struct Snap {
    name: String,
    mounts: PathBuf,
    program: OsString,
    patience: Duration,
}

impl Snap {
    /// The snap of that name, installed or not.
    pub fn new(name: &str) -> Snap {
        Snap {
            name: name.to_owned(),
            mounts: PathBuf::from("/snap"),
            program: "snap".into(),
            patience: BUSY_PATIENCE,
        }
    }

    /// What is installed; `None` only if nothing is. Starts no program.
    ///
    /// # Errors
    /// [`SnapError::Unreadable`], [`SnapError::NotMounted`], [`SnapError::NotInUse`].
    pub fn installed(&self) -> Result<Option<Installed>, SnapError> {
        #[derive(Deserialize)]
        struct Meta {
            version: Version,
        }
        /// Unquoted versions such as 3.4 are numbers to a YAML reader.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Version {
            Text(String),
            Whole(u64),
            Number(f64),
        }
        let unreadable = |path: &Path, error: &dyn std::fmt::Display| SnapError::Unreadable {
            name: self.name.clone(),
            detail: format!("{}: {error}", path.display()),
        };
        let link = self.mounts.join(&self.name).join("current");
        let revision = match std::fs::read_link(&link) {
            Ok(target) => {
                target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let home = self.mounts.join(&self.name);
                let has_revisions = has_revisions(&home).map_err(|error| unreadable(&home, &error))?;
                let name = self.name.clone();
                return if has_revisions { Err(SnapError::NotInUse { name }) } else { Ok(None) };
            }
            Err(error) => return Err(unreadable(&link, &error)),
        };
        let path = link.join("meta/snap.yaml");
        let text = files::read(&path).map_err(|error| unreadable(&path, &error))?;
        let Some(text) = text else {
            return Err(SnapError::NotMounted { name: self.name.clone(), revision });
        };
        let meta: Meta = crate::yaml::from_str(&String::from_utf8_lossy(&text))
            .map_err(|error| unreadable(&path, &error))?;
        let version = match meta.version {
            Version::Text(text) => text,
            Version::Whole(number) => number.to_string(),
            Version::Number(number) => number.to_string(),
        };
        Ok(Some(Installed { revision, version }))
    }

    /// Installs it from the store. Fine if it is installed, whatever its channel.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn install(&self, channel: &str) -> Result<(), SnapError> {
        self.change(["install", &self.name, &format!("--channel={channel}")]).await
    }

    /// Installs it from a file that nobody has signed; over an installed one this is its refresh, and its data is kept.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn install_file(&self, file: impl AsRef<Path>) -> Result<(), SnapError> {
        // With a bare file name, snapd would look for a snap of that name in the store.
        let file =
            std::path::absolute(file).map_err(|error| SnapError::Other { message: error.to_string() })?;
        self.change([OsString::from("install"), "--dangerous".into(), file.into()]).await
    }

    /// Moves it to a channel and its newest revision, and follows that channel from now on.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn refresh(&self, channel: &str) -> Result<(), SnapError> {
        // snap itself says "not installed" with exit code 0.
        if self.installed()?.is_none() {
            return Err(SnapError::NotInstalled { name: self.name.clone() });
        }
        self.change(["refresh", &self.name, &format!("--channel={channel}")]).await
    }

    /// Goes back to the revision before, and to its data as it was then.
    ///
    /// # Errors
    /// [`SnapError`]; there may be no revision before.
    pub async fn revert(&self) -> Result<(), SnapError> {
        self.change(["revert", &self.name]).await
    }

    /// Connects a plug to the system's slot of that name.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn connect(&self, plug: &str) -> Result<(), SnapError> {
        self.change(["connect", &format!("{}:{plug}", self.name)]).await
    }

    /// Removes it; with `purge` without the copy of its data that snapd otherwise keeps for a while. Fine if it is not
    /// installed.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn remove(&self, purge: bool) -> Result<(), SnapError> {
        if self.installed()?.is_none() {
            return Ok(());
        }
        let flag = purge.then_some("--purge");
        self.change(["remove"].into_iter().chain(flag).chain([self.name.as_str()])).await
    }

    /// Gives snapd a file of signed statements.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn acknowledge(file: &Path) -> Result<(), SnapError> {
        Snap::new("system").change([OsString::from("ack"), file.into()]).await
    }

    /// Whether snapd is at work on it right now, asked by whomever; the one who asked may be gone.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn is_changing(&self) -> Result<bool, SnapError> {
        let output = self.command(["changes", &self.name]).status().await.map_err(SnapError::Process)?;
        if output.code != Some(0) {
            return Err(refusal(&self.name, words(&output)));
        }
        Ok(is_changing(&output.text()))
    }

    fn command(&self, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Run {
        Run::new(&self.program).args(args).env("LC_ALL", "C.UTF-8")
    }

    /// Runs a change; tries again while another change holds it up, up to two minutes.
    async fn change(
        &self,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Result<(), SnapError> {
        let run = self.command(args).timeout(CHANGE_TIMEOUT);
        let deadline = Instant::now() + self.patience;
        let mut pause = BUSY_PAUSE;
        loop {
            let output = run.clone().status().await.map_err(SnapError::Process)?;
            if output.code == Some(0) {
                return Ok(());
            }
            match refusal(&self.name, words(&output)) {
                SnapError::Busy { message } if Instant::now() + pause < deadline => {
                    tracing::info!(snap = self.name, message, "waiting for snapd");
                }
                error => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }
}

/// Whether there is any: each is mounted in a directory of its own.
fn has_revisions(home: &Path) -> std::io::Result<bool> {
    let names = files::list(home)?;
    Ok(names.iter().any(|name| home.join(name).join("meta/snap.yaml").exists()))
}

/// `snap changes`: a number, then the state of each. "Wait" is for a reboot, and "Hold" was given up.
fn is_changing(table: &str) -> bool {
    let at_work = |line: &str| {
        matches!(line.split_whitespace().nth(1), Some("Do" | "Doing" | "Undo" | "Undoing" | "Abort"))
    };
    table.lines().skip(1).any(at_work)
}

/// What `snap` said, on one line: it wraps its messages to the width of a terminal.
fn words(output: &Output) -> String {
    let said = if output.stderr.trim().is_empty() { output.text() } else { output.stderr.clone() };
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

/// snapd's refusals by their words, which its command has kept for years; there is no machine-readable form of them
/// but the daemon's own socket.
fn refusal(name: &str, message: String) -> SnapError {
    let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if says(&[
        "change in progress",
        "too early for operation",
        "cannot communicate with server",
        "daemon is stopping",
        "daemon is restarting",
    ]) {
        SnapError::Busy { message }
    } else if says(&["is not installed", "not installed (see", "no matching snaps installed"]) {
        SnapError::NotInstalled { name: name.to_owned() }
    } else if says(&["unknown flag", "unknown command"]) {
        SnapError::Unsupported { message }
    } else if says(&[
        "not available on",
        "not available as specified",
        "no snap revision available",
        "non-existing branch",
        "requested channel",
        "channel name has too many components",
    ]) || (message.starts_with("snap ") && message.ends_with("not found"))
    {
        SnapError::ChannelNotFound { message }
    } else if says(&[
        "unable to contact snap store",
        "persistent network error",
        "dial tcp",
        "no such host",
        "Temporary failure in name resolution",
        "proxyconnect",
        "Client.Timeout",
        "i/o timeout",
        "cannot query the store",
    ]) {
        SnapError::StoreUnreachable { message }
    } else {
        SnapError::Other { message }
    }
}

#[cfg(test)]
mod tests;
