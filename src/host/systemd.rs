//! One service of this machine's systemd. Its state comes from the `key=value` properties of `systemctl show`; text
//! made for people is never parsed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::files::{self, Written};
use crate::process::{ProcessError, Run};

/// Stopping may take `TimeoutStopSec` (30 s for snaps, 90 s by default) before systemd kills, and a start as long.
const TIMEOUT: Duration = Duration::from_secs(200);
/// Where an administrator's units and drop-ins are.
const UNITS: &str = "/etc/systemd/system";
/// Properties to ask for.
const PROPERTIES: &str =
    "LoadState,ActiveState,SubState,MainPID,NRestarts,ExecMainStatus,Result,UnitFileState";
/// Longest piece of a service's log to hand on, for each line asked for.
const LINE_BYTES: usize = 800;

/// Why systemd could not be asked or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// `systemctl` or `journalctl` failed.
    #[error("cannot {verb} service {unit}")]
    Command {
        /// What was wanted.
        verb: String,
        /// Of which unit.
        unit: String,
        /// What went wrong.
        source: Box<ProcessError>,
    },
    /// A property is missing or not of its kind.
    #[error("cannot read property {property} of service {unit}: `{value}`")]
    Unreadable {
        /// The unit.
        unit: String,
        /// The property.
        property: &'static str,
        /// Its value, empty when missing.
        value: String,
    },
}

/// Whether systemd has the unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// Yes.
    Loaded,
    /// There is none.
    NotFound,
    /// It was switched off for good by an administrator.
    Masked,
    /// Another word, such as `bad-setting` or `error`.
    Other(String),
}

/// What the service is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Active {
    /// Running.
    Active,
    /// Running and reading its configuration again.
    Reloading,
    /// Starting; between two automatic restarts too.
    Activating,
    /// Stopping.
    Deactivating,
    /// Not running.
    Inactive,
    /// Not running after a failure that systemd has given up on.
    Failed,
    /// Another word.
    Other(String),
}

/// A service as systemd sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// Whether there is a unit file.
    pub load: Load,
    /// What it does.
    pub active: Active,
    /// The same in more detail: `running`, `auto-restart`, `dead`, …
    pub sub: String,
    /// The main process, while it runs.
    pub main_pid: Option<u32>,
    /// Automatic restarts since it was last started on request.
    pub restarts: u32,
    /// Exit code or signal number of the last main process.
    pub exit_status: i32,
    /// Why it ended: `success`, `exit-code`, `start-limit-hit`, `timeout`, …
    pub result: String,
    /// It starts at boot.
    pub enabled: bool,
}

/// A service by its unit's name.
#[derive(Debug, Clone)]
pub struct Service {
    unit: String,
    units: PathBuf,
}

impl Service {
    /// `name` with or without `.service`.
    pub fn new(name: &str) -> Service {
        let name = name.strip_suffix(".service").unwrap_or(name);
        Service { unit: format!("{name}.service"), units: PathBuf::from(UNITS) }
    }

    /// The unit's full name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Its state now; a unit that does not exist has one too.
    ///
    /// # Errors
    /// systemd cannot be asked, or its answer misses a property.
    pub async fn state(&self) -> Result<ServiceState, ServiceError> {
        let property = format!("--property={PROPERTIES}");
        let run = systemctl().args(["show", &property, "--", &self.unit]);
        let output = run.output().await.map_err(|source| self.failed("look at", source))?;
        parse_state(&self.unit, &output.text())
    }

    /// Starts it and waits until it runs; for a unit that reports its readiness, until then.
    pub async fn start(&self) -> Result<(), ServiceError> {
        self.tell("start", &[]).await
    }

    /// Asks for a start and does not wait: a member without quorum may take very long to report its readiness.
    pub async fn start_no_block(&self) -> Result<(), ServiceError> {
        self.tell("start", &["--no-block"]).await
    }

    /// Stops it and waits until it has ended.
    pub async fn stop(&self) -> Result<(), ServiceError> {
        self.tell("stop", &[]).await
    }

    /// Stops it if it runs, then starts it.
    pub async fn restart(&self) -> Result<(), ServiceError> {
        self.tell("restart", &[]).await
    }

    /// Stops it if it runs and asks for its start without waiting for that.
    pub async fn restart_no_block(&self) -> Result<(), ServiceError> {
        self.tell("restart", &["--no-block"]).await
    }

    /// Makes it start at boot.
    pub async fn enable(&self) -> Result<(), ServiceError> {
        self.tell("enable", &[]).await
    }

    /// Keeps it from starting at boot.
    pub async fn disable(&self) -> Result<(), ServiceError> {
        self.tell("disable", &[]).await
    }

    /// Stops it, and keeps it from starting at boot.
    pub async fn disable_now(&self) -> Result<(), ServiceError> {
        self.tell("disable", &["--now"]).await
    }

    /// Forgets failures and the count of recent starts: without this a service that has hit its start limit is
    /// refused another start.
    pub async fn reset_failed(&self) -> Result<(), ServiceError> {
        self.tell("reset-failed", &[]).await
    }

    /// Makes systemd read all unit files and drop-ins again. It does not restart anything.
    pub async fn daemon_reload(&self) -> Result<(), ServiceError> {
        let run = systemctl().arg("daemon-reload").output().await;
        run.map(drop).map_err(|source| self.failed("reload the unit files for", source))
    }

    /// Where a drop-in of this name is.
    pub fn dropin_path(&self, name: &str) -> PathBuf {
        self.units.join(format!("{}.d", self.unit)).join(format!("{name}.conf"))
    }

    /// Writes a drop-in. It counts after [`Service::daemon_reload`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_dropin(&self, name: &str, text: &str) -> std::io::Result<Written> {
        let path = self.dropin_path(name);
        if let Some(directory) = path.parent() {
            files::make_dir(directory, 0o755)?;
        }
        files::write_atomic(path, text.as_bytes(), 0o644)
    }

    /// Removes a drop-in, if it is there. It counts after [`Service::daemon_reload`].
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove_dropin(&self, name: &str) -> std::io::Result<()> {
        files::remove_if_exists(self.dropin_path(name))
    }

    /// The last lines of its log, at most 800 bytes for each on average: for people, not for decisions.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn journal_tail(&self, lines: usize) -> Result<String, ServiceError> {
        let count = lines.to_string();
        let args = ["-u", &self.unit, "-n", &count, "--no-pager", "-o", "cat"];
        let output = Run::new("journalctl").args(args).output().await;
        let text = output.map_err(|source| self.failed("read the log of", source))?.text();
        Ok(text[text.ceil_char_boundary(text.len().saturating_sub(lines * LINE_BYTES))..].to_owned())
    }

    async fn tell(&self, verb: &str, flags: &[&str]) -> Result<(), ServiceError> {
        let run = systemctl().arg(verb).args(flags).args(["--", &self.unit]);
        run.output().await.map(drop).map_err(|source| self.failed(verb, source))
    }

    fn failed(&self, verb: &str, source: ProcessError) -> ServiceError {
        ServiceError::Command { verb: verb.to_owned(), unit: self.unit.clone(), source: Box::new(source) }
    }
}

fn systemctl() -> Run {
    Run::new("systemctl").env("LC_ALL", "C.UTF-8").timeout(TIMEOUT)
}

fn parse_state(unit: &str, text: &str) -> Result<ServiceState, ServiceError> {
    let properties: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let unreadable = |property, value: &str| ServiceError::Unreadable {
        unit: unit.to_owned(),
        property,
        value: value.to_owned(),
    };
    let word = |property| properties.get(property).copied().ok_or_else(|| unreadable(property, ""));
    // Units that were never loaded have empty numbers on some versions.
    let number = |property| match word(property)? {
        "" => Ok(0_i64),
        value => value.parse().map_err(|_| unreadable(property, value)),
    };
    Ok(ServiceState {
        load: match word("LoadState")? {
            "loaded" => Load::Loaded,
            "not-found" => Load::NotFound,
            "masked" => Load::Masked,
            other => Load::Other(other.to_owned()),
        },
        active: match word("ActiveState")? {
            "active" => Active::Active,
            "reloading" => Active::Reloading,
            "activating" => Active::Activating,
            "deactivating" => Active::Deactivating,
            "inactive" => Active::Inactive,
            "failed" => Active::Failed,
            other => Active::Other(other.to_owned()),
        },
        sub: word("SubState")?.to_owned(),
        main_pid: u32::try_from(number("MainPID")?).ok().filter(|pid| *pid != 0),
        // Since systemd 235: Ubuntu 18.04 has it.
        restarts: u32::try_from(number("NRestarts")?).unwrap_or(u32::MAX),
        exit_status: i32::try_from(number("ExecMainStatus")?).unwrap_or(i32::MAX),
        result: word("Result")?.to_owned(),
        enabled: word("UnitFileState")?.starts_with("enabled"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `systemctl show -p …` of systemd 252.
    const RUNNING: &str = "Result=success\nNRestarts=2\nMainPID=4711\nExecMainStatus=0\nLoadState=loaded\n\
                           ActiveState=active\nSubState=running\nUnitFileState=enabled\n";
    const ABSENT: &str = "Result=success\nNRestarts=0\nMainPID=0\nExecMainStatus=0\nLoadState=not-found\n\
                          ActiveState=inactive\nSubState=dead\nUnitFileState=\n";
    const GIVEN_UP: &str = "Result=start-limit-hit\nNRestarts=5\nMainPID=0\nExecMainStatus=1\nLoadState=loaded\n\
                            ActiveState=failed\nSubState=failed\nUnitFileState=disabled\n";

    #[test]
    fn running_absent_and_given_up_services_are_told_apart() {
        let running = parse_state("a.service", RUNNING).unwrap();
        assert_eq!((running.active, running.main_pid, running.restarts), (Active::Active, Some(4711), 2));
        assert!(running.enabled);
        let absent = parse_state("a.service", ABSENT).unwrap();
        assert_eq!((absent.load, absent.active, absent.main_pid), (Load::NotFound, Active::Inactive, None));
        let given_up = parse_state("a.service", GIVEN_UP).unwrap();
        assert_eq!((given_up.active, given_up.result.as_str()), (Active::Failed, "start-limit-hit"));
        assert!(!given_up.enabled);
    }

    #[test]
    fn an_answer_without_a_property_is_not_a_state() {
        let error = parse_state("a.service", "LoadState=loaded\n").unwrap_err();
        assert_eq!(error.to_string(), "cannot read property ActiveState of service a.service: ``");
    }

    #[test]
    fn drop_ins_have_their_place_and_are_written_once() {
        let home = tempfile::tempdir().unwrap();
        let service = Service { units: home.path().to_owned(), ..Service::new("snap.etcd.etcd") };
        assert_eq!(service.write_dropin("charm", "[Service]\n").unwrap(), Written::Changed);
        assert_eq!(service.write_dropin("charm", "[Service]\n").unwrap(), Written::Same);
        assert!(home.path().join("snap.etcd.etcd.service.d/charm.conf").is_file());
        service.remove_dropin("charm").unwrap();
        assert!(!service.dropin_path("charm").exists());
        let path = Service::new("a.service").dropin_path("b");
        assert_eq!(path, PathBuf::from("/etc/systemd/system/a.service.d/b.conf"));
    }
}
