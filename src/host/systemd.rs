//! One service of this machine's systemd. Its state comes from the `key=value` properties of `systemctl show`; text
//! made for people is never parsed.

use std::collections::BTreeMap;
use std::ffi::OsString;
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
    "LoadState,ActiveState,ActiveEnterTimestampMonotonic,MainPID,NRestarts,Result,UnitFileState,Job";
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
    /// When it was last up, in µs of the clock that systemd calls monotonic; 0: never, as far as systemd remembers.
    pub active_since_us: u64,
    /// The main process, while it runs.
    pub main_pid: Option<u32>,
    /// Automatic restarts since it was last started on request.
    pub restarts: u32,
    /// Why it ended: `success`, `exit-code`, `start-limit-hit`, `timeout`, …
    pub result: String,
    /// It starts at boot.
    pub enabled: bool,
    /// The job that systemd has for it, such as a start that waits for a mount; its number.
    pub job: Option<u32>,
}

impl ServiceState {
    /// Nothing of it runs, and nothing is on the way.
    fn is_at_rest(&self) -> bool {
        matches!(self.active, Active::Inactive | Active::Failed) && self.job.is_none()
    }
}

/// A service by its unit's name.
#[derive(Debug, Clone)]
pub struct Service {
    unit: String,
    units: PathBuf,
    program: OsString,
}

impl Service {
    /// `name` with or without `.service`.
    pub fn new(name: &str) -> Service {
        let name = name.strip_suffix(".service").unwrap_or(name);
        Service { unit: format!("{name}.service"), units: PathBuf::from(UNITS), program: "systemctl".into() }
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
        let run = self.systemctl().args(["show", &property, "--", &self.unit]);
        let output = run.output().await.map_err(|source| self.failed("look at", source))?;
        parse_state(&self.unit, &output.text())
    }

    /// Starts it and waits until it runs; for a unit that reports its readiness, until then.
    pub async fn start(&self) -> Result<(), ServiceError> {
        self.tell("start", &[]).await
    }

    /// From whatever it went through to a start, now and at every boot. The start is not waited for: a member without quorum
    /// may take very long to report its readiness. One that runs already is left alone.
    pub async fn bring_up(&self) -> Result<(), ServiceError> {
        self.reset_failed().await?;
        self.enable().await?;
        self.tell("start", &["--no-block"]).await
    }

    /// Stops it and waits until it has ended. Of a unit that systemd does not know nothing runs.
    pub async fn stop(&self) -> Result<(), ServiceError> {
        self.bring_about("stop", &[], ServiceState::is_at_rest).await
    }

    /// Stops it if it runs, then starts it.
    pub async fn restart(&self) -> Result<(), ServiceError> {
        self.tell("restart", &[]).await
    }

    /// Makes it start at boot.
    pub async fn enable(&self) -> Result<(), ServiceError> {
        self.tell("enable", &[]).await
    }

    /// Stops it, and keeps it from starting at boot. What has no unit file does neither.
    pub async fn disable_now(&self) -> Result<(), ServiceError> {
        self.bring_about("disable", &["--now"], |state| !state.enabled && state.is_at_rest()).await
    }

    /// Forgets failures and the count of recent starts: without this a service that has hit its start limit is
    /// refused another start. systemd keeps neither of a unit that is stopped and that nothing refers to: it does not even
    /// have it in memory, and refuses.
    pub async fn reset_failed(&self) -> Result<(), ServiceError> {
        self.bring_about("reset-failed", &[], |state| state.active != Active::Failed).await
    }

    /// Makes systemd read all unit files and drop-ins again. It does not restart anything.
    pub async fn daemon_reload(&self) -> Result<(), ServiceError> {
        let run = self.systemctl().arg("daemon-reload").output().await;
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

    /// What is so already needs no doing: systemd refuses some verbs of a unit that it has not loaded, and its exit codes do
    /// not tell this refusal from the others.
    async fn bring_about(
        &self,
        verb: &str,
        flags: &[&str],
        is_so: impl Fn(&ServiceState) -> bool,
    ) -> Result<(), ServiceError> {
        let Err(refused) = self.tell(verb, flags).await else { return Ok(()) };
        match self.state().await {
            Ok(state) if is_so(&state) => {
                tracing::debug!(unit = self.unit, verb, "systemd refuses what is so already");
                Ok(())
            }
            _ => Err(refused),
        }
    }

    async fn tell(&self, verb: &str, flags: &[&str]) -> Result<(), ServiceError> {
        let run = self.systemctl().arg(verb).args(flags).args(["--", &self.unit]);
        run.output().await.map(drop).map_err(|source| self.failed(verb, source))
    }

    fn systemctl(&self) -> Run {
        Run::new(&self.program).env("LC_ALL", "C.UTF-8").timeout(TIMEOUT)
    }

    fn failed(&self, verb: &str, source: ProcessError) -> ServiceError {
        ServiceError::Command { verb: verb.to_owned(), unit: self.unit.clone(), source: Box::new(source) }
    }
}

fn parse_state(unit: &str, text: &str) -> Result<ServiceState, ServiceError> {
    let properties: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let unreadable = |property, value: &str| ServiceError::Unreadable {
        unit: unit.to_owned(),
        property,
        value: value.to_owned(),
    };
    let word = |property| properties.get(property).copied().ok_or_else(|| unreadable(property, ""));
    // Units that were never loaded have empty numbers on some versions, and so has a unit without a job.
    let number = |property| match word(property)? {
        "" => Ok(0_u64),
        value => value.parse().map_err(|_| unreadable(property, value)),
    };
    // Older versions may leave out a property that has nothing to tell.
    let job = match properties.get("Job") {
        None => 0,
        Some(_) => number("Job")?,
    };
    let small = |property| number(property).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
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
        active_since_us: number("ActiveEnterTimestampMonotonic")?,
        main_pid: Some(small("MainPID")?).filter(|pid| *pid != 0),
        // Since systemd 235: Ubuntu 18.04 has it.
        restarts: small("NRestarts")?,
        result: word("Result")?.to_owned(),
        enabled: word("UnitFileState")?.starts_with("enabled"),
        job: u32::try_from(job).ok().filter(|job| *job != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `systemctl show -p …` of systemd 252.
    const RUNNING: &str = "Result=success\nNRestarts=2\nMainPID=4711\nLoadState=loaded\nActiveState=active\n\
                           UnitFileState=enabled\nActiveEnterTimestampMonotonic=4500123\nJob=\n";
    const ABSENT: &str = "Result=success\nNRestarts=0\nMainPID=0\nLoadState=not-found\nActiveState=inactive\n\
                          UnitFileState=\nActiveEnterTimestampMonotonic=0\nJob=\n";
    const GIVEN_UP: &str = "Result=start-limit-hit\nNRestarts=5\nMainPID=0\nLoadState=loaded\nActiveState=failed\n\
                            UnitFileState=disabled\nActiveEnterTimestampMonotonic=4500123\nJob=\n";

    #[test]
    fn running_absent_and_given_up_services_are_told_apart() {
        let running = parse_state("a.service", RUNNING).unwrap();
        assert_eq!(
            (running.active, running.active_since_us, running.restarts),
            (Active::Active, 4_500_123, 2)
        );
        assert!(running.enabled && running.main_pid == Some(4711));
        let absent = parse_state("a.service", ABSENT).unwrap();
        assert_eq!((&absent.load, &absent.active, absent.job), (&Load::NotFound, &Active::Inactive, None));
        assert!(absent.is_at_rest());
        assert_eq!(parse_state("a.service", &ABSENT.replace("Job=\n", "")).unwrap(), absent);
        let given_up = parse_state("a.service", GIVEN_UP).unwrap();
        assert_eq!((given_up.active, given_up.result.as_str()), (Active::Failed, "start-limit-hit"));
        assert!(!given_up.enabled);
        let queued = parse_state("a.service", &ABSENT.replace("Job=", "Job=812")).unwrap();
        assert_eq!((queued.job, queued.is_at_rest()), (Some(812), false));
    }

    /// A service whose systemd refuses every verb but `show`, which answers this.
    fn refused(home: &tempfile::TempDir, shown: &str) -> Service {
        let program = home.path().join("systemctl");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = show ] && {{ printf '%s' '{shown}'; exit; }}\necho \"Failed to $1\" >&2; exit 1\n"
        );
        // By another process: a file that a forking test may hold open for writing cannot be run.
        let written = std::process::Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .args([program.as_os_str(), script.as_ref()])
            .status();
        assert!(written.unwrap().success());
        Service { program: program.into(), ..Service::new("a") }
    }

    /// systemd 252: `reset-failed` of a unit that it has not loaded, `stop` and `disable` of one without a file.
    #[tokio::test]
    async fn what_is_so_already_is_no_failure() {
        let home = tempfile::tempdir().unwrap();
        let stopped = RUNNING.replace("=active", "=inactive").replace("enabled", "disabled");
        for shown in [stopped.as_str(), ABSENT] {
            let service = refused(&home, shown);
            service.reset_failed().await.unwrap();
            service.stop().await.unwrap();
            service.disable_now().await.unwrap();
            assert!(service.start().await.is_err(), "a start is what it says");
        }
        let service = refused(&home, GIVEN_UP);
        let error = service.reset_failed().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot reset-failed service a.service");
        let service = refused(&home, RUNNING);
        assert!(service.stop().await.is_err() && service.disable_now().await.is_err());
        let service = refused(&home, &ABSENT.replace("Job=", "Job=7"));
        assert!(service.stop().await.is_err(), "it is about to start");
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
