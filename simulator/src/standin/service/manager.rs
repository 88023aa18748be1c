//! Answers `systemctl`. Invariant: a request that waits never keeps another from being answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::life::Life;
use super::protocol::{Problem, ProblemKind, Reply, Request};
use super::state::Active;
use super::unit::{Control, Host, JobResult, Unit};
use super::{mount, processes, properties};
use crate::standin::fstab;
use crate::standin::units::escape_path;
use crate::standin::units::files::Found;
use crate::standin::units::spec::{MountSpec, UnitSpec, What};

/// How deep units may need each other.
const DEPTH: u32 = 8;

/// The service manager; clones share everything.
#[derive(Debug, Clone)]
pub struct Manager {
    pub host: Rc<Host>,
}

impl Manager {
    /// Answer the one request of a connection.
    pub async fn serve(self, stream: UnixStream) -> anyhow::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).await?;
        let reply = self.answer(serde_json::from_str(&line)?).await;
        let mut text = serde_json::to_string(&reply)?;
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
        Ok(())
    }

    async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Start { units, wait } => {
                self.each(&units, wait, |manager, unit| async move { manager.start(&unit, DEPTH).await })
                    .await
            }
            Request::Stop { units, wait } => self.stop_all(&units, wait).await,
            Request::Restart { units, wait, only_active } => {
                self.each(&units, wait, move |manager, unit| async move {
                    manager.restart(&unit, only_active).await
                })
                .await
            }
            Request::Reload { units, or_restart } => {
                self.each(&units, true, move |manager, unit| async move {
                    manager.reload(&unit, or_restart).await
                })
                .await
            }
            Request::Show { units } => {
                let units =
                    units.iter().map(|name| properties::of(&self.host, name, &self.known(name))).collect();
                Reply { units, ..Reply::default() }
            }
            Request::List => self.list(),
            Request::DaemonReload => self.daemon_reload(),
            Request::ResetFailed { units } => self.reset_failed(&units),
            Request::Kill { units, signal, main_only } => self.kill(&units, signal, main_only),
        }
    }

    /// Do the same to several units at once; with `wait` until all are done.
    async fn each<F>(&self, names: &[String], wait: bool, job: impl Fn(Self, Rc<Unit>) -> F) -> Reply
    where
        F: Future<Output = JobResult> + 'static,
    {
        let mut reply = Reply::default();
        let mut jobs = Vec::new();
        for name in names {
            match self.usable(name) {
                Ok(unit) => {
                    if properties::is_stale(&self.host, &unit) {
                        reply.stale.push(name.clone());
                    }
                    jobs.push((name.clone(), tokio::task::spawn_local(job(self.clone(), unit))));
                }
                Err(kind) => reply.problems.push(Problem { unit: name.clone(), kind }),
            }
        }
        for (unit, job) in jobs.into_iter().filter(|_| wait) {
            if let Ok(Some(kind)) = job.await {
                reply.problems.push(Problem { unit, kind });
            }
        }
        reply
    }

    /// The unit of this name, its file read if that was not done yet.
    pub fn known(&self, name: &str) -> Rc<Unit> {
        let unit = self
            .host
            .units
            .borrow_mut()
            .entry(name.to_owned())
            .or_insert_with(|| Rc::new(Unit::new(name)))
            .clone();
        // Nothing holds a unit in memory that is at rest and that no target wants: its files are read anew.
        let resting =
            matches!(unit.state.borrow().active, Active::Inactive) && unit.control.borrow().is_none();
        let forgotten = resting && self.host.files.enabled_state(name) != Some("enabled");
        if unit.loaded.borrow().is_none() || forgotten {
            self.read(&unit);
        }
        unit
    }

    fn read(&self, unit: &Unit) {
        let loaded = match self.host.files.load(&unit.name) {
            Found::Loaded(loaded) => Some(*loaded),
            Found::Masked(_) | Found::NotFound => None,
        };
        *unit.loaded.borrow_mut() = loaded;
    }

    /// The unit, if it can be started.
    fn usable(&self, name: &str) -> Result<Rc<Unit>, ProblemKind> {
        let unit = self.known(name);
        if self.host.files.enabled_state(name) == Some("masked") {
            return Err(ProblemKind::Masked);
        }
        let problem = match unit.loaded.borrow().as_ref().map(|loaded| &loaded.spec) {
            None if is_builtin(name) => None,
            None => Some(ProblemKind::NotFound),
            Some(Err(reason)) => Some(ProblemKind::BadSetting(reason.clone())),
            Some(Ok(_)) => None,
        };
        problem.map_or(Ok(unit), Err)
    }

    /// Start a unit with what it needs.
    pub async fn start(&self, unit: &Rc<Unit>, depth: u32) -> JobResult {
        let Some(spec) = unit.spec() else { return None };
        if unit.state.borrow().active == Active::Active {
            return None;
        }
        if !Box::pin(self.start_needs(unit, &spec, depth)).await {
            self.host.log(&unit.name, format!("Dependency failed for {}.", spec.description));
            return Some(ProblemKind::Dependency);
        }
        let failed = spec.conditions.iter().find(|(path, absent)| path.exists() == *absent);
        unit.state.borrow_mut().condition_failed = failed.is_some();
        if let Some((path, absent)) = failed {
            let mark = if *absent { "!" } else { "" };
            let text = format!(
                "{} was skipped because of a failed condition check (ConditionPathExists={mark}{}).",
                spec.description,
                path.display()
            );
            self.host.log(&unit.name, text);
            return None;
        }
        match &spec.what {
            What::Service(_) => self.start_service(unit).await,
            What::Mount(mount) => self.start_mount(unit, mount).await,
            What::Other => {
                unit.state.borrow_mut().set(Active::Active, "active");
                None
            }
        }
    }

    /// Start the units and mount the file systems that a unit needs; `false` when one that it cannot do without failed.
    async fn start_needs(&self, unit: &Rc<Unit>, spec: &UnitSpec, depth: u32) -> bool {
        if depth == 0 {
            return true;
        }
        for (name, needed) in &spec.wants {
            let started = match self.usable(name) {
                Ok(other) => self.start(&other, depth - 1).await.is_none(),
                Err(_) => false,
            };
            if !started && *needed {
                return false;
            }
        }
        let table = std::fs::read_to_string("/etc/fstab").unwrap_or_default();
        for path in &spec.mounts_for {
            for place in path.ancestors() {
                let name = format!("{}.mount", escape_path(&place.display().to_string()));
                if let Ok(other) = self.usable(&name)
                    && self.start(&other, depth - 1).await.is_some()
                {
                    return false;
                }
            }
            for place in mount::needed_entries(&table, path) {
                if !mount::mount_entry(&self.host, &unit.name, &place).await {
                    return false;
                }
            }
        }
        true
    }

    async fn start_mount(&self, unit: &Rc<Unit>, spec: &MountSpec) -> JobResult {
        let _guard = unit.mounting.lock().await;
        let mounted = mount::mount(&self.host, &unit.name, spec).await;
        let (active, sub) = if mounted { (Active::Active, "mounted") } else { (Active::Failed, "failed") };
        unit.state.borrow_mut().set(active, sub);
        (!mounted).then(|| ProblemKind::Job("exit-code".to_owned()))
    }

    async fn start_service(&self, unit: &Rc<Unit>) -> JobResult {
        if unit.state.borrow().active == Active::Deactivating {
            self.stop(unit).await;
        }
        let (sender, receiver) = oneshot::channel();
        unit.waiting.borrow_mut().push(sender);
        let control = unit.control.borrow().clone();
        match control {
            Some(control) => drop(control.send(Control::StartNow)),
            None => {
                unit.state.borrow_mut().restarts = 0;
                Life::begin(&self.host, unit);
            }
        }
        receiver.await.unwrap_or(Some(ProblemKind::Canceled))
    }

    /// Stop a unit; returns when it is at rest.
    pub async fn stop(&self, unit: &Rc<Unit>) -> JobResult {
        if let Some(What::Mount(spec)) = unit.spec().map(|spec| spec.what) {
            let _guard = unit.mounting.lock().await;
            let gone = mount::unmount(&self.host, &unit.name, &spec).await;
            if gone {
                unit.state.borrow_mut().set(Active::Inactive, "dead");
            }
            return (!gone).then(|| ProblemKind::Job("exit-code".to_owned()));
        }
        let control = unit.control.borrow().clone();
        match control {
            Some(control) => {
                let (sender, receiver) = oneshot::channel();
                if control.send(Control::Stop(sender)).is_ok() {
                    drop(receiver.await);
                }
            }
            None if unit.state.borrow().active == Active::Active => {
                unit.state.borrow_mut().set(Active::Inactive, "dead")
            }
            None => {}
        }
        None
    }

    async fn stop_all(&self, names: &[String], wait: bool) -> Reply {
        let mut reply = Reply::default();
        let mut jobs = Vec::new();
        for name in names {
            let unit = self.known(name);
            if unit.loaded.borrow().is_none() && unit.control.borrow().is_none() && !is_builtin(name) {
                reply.problems.push(Problem { unit: name.clone(), kind: ProblemKind::NotLoaded });
                continue;
            }
            let manager = self.clone();
            jobs.push((name.clone(), tokio::task::spawn_local(async move { manager.stop(&unit).await })));
        }
        for (unit, job) in jobs.into_iter().filter(|_| wait) {
            if let Ok(Some(kind)) = job.await {
                reply.problems.push(Problem { unit, kind });
            }
        }
        reply
    }

    async fn restart(&self, unit: &Rc<Unit>, only_active: bool) -> JobResult {
        let running = unit.control.borrow().is_some() || unit.state.borrow().active == Active::Active;
        if only_active && !running {
            return None;
        }
        self.stop(unit).await;
        self.start(unit, DEPTH).await
    }

    async fn reload(&self, unit: &Rc<Unit>, or_restart: bool) -> JobResult {
        let can = matches!(unit.spec().map(|spec| spec.what), Some(What::Service(service)) if !service.reload.is_empty());
        let control = unit.control.borrow().clone();
        match control {
            Some(control) if can => {
                let (sender, receiver) = oneshot::channel();
                drop(control.send(Control::Reload(sender)));
                receiver.await.unwrap_or(Some(ProblemKind::Canceled))
            }
            _ if or_restart => self.restart(unit, false).await,
            _ => Some(ProblemKind::NotReloadable),
        }
    }

    fn list(&self) -> Reply {
        let mut names = self.host.files.enabled_units();
        names.extend(self.host.units.borrow().keys().cloned());
        names.sort();
        names.dedup();
        let units: Vec<BTreeMap<String, String>> = names
            .iter()
            .map(|name| properties::of(&self.host, name, &self.known(name)))
            .filter(is_present)
            .collect();
        Reply { units, ..Reply::default() }
    }

    fn daemon_reload(&self) -> Reply {
        let units: Vec<Rc<Unit>> = self.host.units.borrow().values().cloned().collect();
        for unit in units {
            self.read(&unit);
        }
        Reply::default()
    }

    fn reset_failed(&self, names: &[String]) -> Reply {
        let all: Vec<String> = self.host.units.borrow().keys().cloned().collect();
        let mut reply = Reply::default();
        for name in if names.is_empty() { &all } else { names } {
            let unit = self.known(name);
            if unit.loaded.borrow().is_none()
                && !names.is_empty()
                && unit.state.borrow().active == Active::Inactive
            {
                reply.problems.push(Problem { unit: name.clone(), kind: ProblemKind::NotLoaded });
            }
            unit.limit.borrow_mut().reset();
            let mut state = unit.state.borrow_mut();
            state.restarts = 0;
            if state.active == Active::Failed {
                state.outcome = super::limits::Outcome::Success;
                state.set(Active::Inactive, "dead");
            }
        }
        reply
    }

    fn kill(&self, names: &[String], signal: i32, main_only: bool) -> Reply {
        let mut reply = Reply::default();
        for name in names {
            let unit = self.known(name);
            let (main, last) = (unit.state.borrow().main_pid, unit.state.borrow().exec_main_pid);
            let all = || processes::of_invocation(&unit.invocation.borrow(), last);
            let targets = match unit.control.borrow().as_ref() {
                None => Vec::new(),
                Some(_) if main_only => [main].into_iter().filter(|pid| *pid > 0).collect(),
                Some(_) => all(),
            };
            if targets.is_empty() {
                let kind = if unit.loaded.borrow().is_none() {
                    ProblemKind::NotLoaded
                } else {
                    ProblemKind::NoProcess
                };
                reply.problems.push(Problem { unit: name.clone(), kind });
            }
            processes::signal(&targets, signal);
        }
        reply
    }

    /// Mount what `/etc/fstab` lists; the first place that cannot be mounted and must be.
    pub async fn mount_all(&self) -> Option<String> {
        let table = std::fs::read_to_string("/etc/fstab").unwrap_or_default();
        for entry in fstab::parse(&table).into_iter().filter(|entry| entry.automatic) {
            if !mount::mount_entry(&self.host, "local-fs.target", &entry.path).await && !entry.may_fail {
                return Some(entry.path.display().to_string());
            }
        }
        None
    }

    /// Start what is enabled.
    pub fn start_enabled(&self) {
        for name in self.host.files.enabled_units() {
            if let Ok(unit) = self.usable(&name) {
                let manager = self.clone();
                tokio::task::spawn_local(async move { manager.start(&unit, DEPTH).await });
            }
        }
    }

    /// Stop everything, in no particular order.
    pub async fn stop_everything(&self) {
        let units: Vec<Rc<Unit>> = self.host.units.borrow().values().cloned().collect();
        let (services, mounts): (Vec<_>, Vec<_>) =
            units.into_iter().partition(|unit| !unit.name.ends_with(".mount"));
        let stop = |unit: Rc<Unit>| {
            let manager = self.clone();
            tokio::task::spawn_local(async move { manager.stop(&unit).await })
        };
        let jobs: Vec<_> = services.into_iter().map(stop).collect();
        for job in jobs {
            drop(job.await);
        }
        for unit in mounts {
            drop(stop(unit).await);
        }
    }
}

/// Whether a unit, by its properties, has a file or runs; the others were only asked about.
fn is_present(properties: &BTreeMap<String, String>) -> bool {
    let is = |key: &str, value: &str| properties.get(key).is_some_and(|found| found == value);
    !(is("LoadState", "not-found") && is("ActiveState", "inactive"))
}

/// Units that are always there although no file says so.
fn is_builtin(name: &str) -> bool {
    name.ends_with(".target") || name.ends_with(".slice") || Path::new(name) == Path::new("-.mount")
}
