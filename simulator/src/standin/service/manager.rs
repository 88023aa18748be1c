//! Answers `systemctl`. Invariant: a request that waits never keeps another from being answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::protocol::{Problem, ProblemKind, Reply, Request};
use super::state::Activity;
use super::unit::{Host, JobResult, Unit};
use super::{processes, properties};
use crate::standin::units::files::Found;

/// How deep units may need each other.
pub const DEPTH: u32 = 8;

/// The service manager; clones share everything.
#[derive(Debug, Clone)]
pub struct Manager {
    pub host: Rc<Host>,
}

impl Manager {
    /// Answer the one request of a connection. Only root may change anything: others get no answer.
    pub async fn serve(self, stream: UnixStream) -> anyhow::Result<()> {
        let is_root = stream.peer_cred()?.uid() == 0;
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).await?;
        let request: Request = serde_json::from_str(&line)?;
        anyhow::ensure!(is_root || request.only_asks(), "a user who is not root may not do this");
        let reply = self.answer(request).await;
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
                    jobs.push((name.clone(), self.host.run_job(&unit, job(self.clone(), unit.clone()))));
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
        let is_kept = self.is_kept(&unit);
        if !is_kept {
            unit.forget();
        }
        if unit.loaded.borrow().is_none() || !is_kept {
            self.read(&unit);
        }
        unit
    }

    /// Whether systemd keeps a unit in memory. One that is at rest, that no target wants and that no unit in memory refers to
    /// is forgotten; to show it, its files are read anew.
    fn is_kept(&self, unit: &Unit) -> bool {
        let holds = |unit: &Unit| !unit.is_at_rest() || self.host.files.is_wanted(&unit.name);
        let units: Vec<Rc<Unit>> = self.host.units.borrow().values().cloned().collect();
        holds(unit)
            || is_builtin(&unit.name)
            || units
                .iter()
                .any(|other| other.name != unit.name && other.refers_to(&unit.name) && holds(other))
    }

    /// The unit of this name, if it is in memory.
    fn kept(&self, name: &str) -> Option<Rc<Unit>> {
        let unit = self.known(name);
        self.is_kept(&unit).then_some(unit)
    }

    fn read(&self, unit: &Unit) {
        let loaded = match self.host.files.load(&unit.name) {
            Found::Loaded(loaded) => Some(*loaded),
            Found::Masked(_) | Found::Missing => None,
        };
        if let Some(Err(reason)) = loaded.as_ref().map(|loaded| &loaded.spec) {
            self.host.log(&unit.name, format!("{}: {reason}. Refusing.", unit.name));
        }
        *unit.loaded.borrow_mut() = loaded;
    }

    /// The unit, if it can be started.
    pub fn usable(&self, name: &str) -> Result<Rc<Unit>, ProblemKind> {
        let unit = self.known(name);
        if self.host.files.is_masked(name) {
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

    async fn stop_all(&self, names: &[String], wait: bool) -> Reply {
        let mut reply = Reply::default();
        let mut jobs = Vec::new();
        for name in names {
            let unit = self.known(name);
            let active = unit.state.borrow().active;
            let is_masked = self.host.files.is_masked(name);
            // What cannot be read cannot be loaded; that it is masked can be, and a failure is kept.
            let is_unreadable = unit.loaded.borrow().as_ref().is_none_or(|loaded| loaded.spec.is_err());
            if is_unreadable && !is_masked && active == Activity::Inactive && !is_builtin(name) {
                reply.problems.push(Problem { unit: name.clone(), kind: ProblemKind::NotLoaded });
                continue;
            }
            let manager = self.clone();
            let own = unit.clone();
            jobs.push((name.clone(), self.host.run_job(&unit, async move { manager.stop(&own).await })));
        }
        for (unit, job) in jobs.into_iter().filter(|_| wait) {
            if let Ok(Some(kind)) = job.await {
                reply.problems.push(Problem { unit, kind });
            }
        }
        reply
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
            // systemd does not take the count of starts over.
            unit.limit.borrow_mut().reset();
        }
        Reply::default()
    }

    fn reset_failed(&self, names: &[String]) -> Reply {
        let all: Vec<String> = self.host.units.borrow().keys().cloned().collect();
        let mut reply = Reply::default();
        for name in if names.is_empty() { &all } else { names } {
            let Some(unit) = self.kept(name) else {
                if !names.is_empty() {
                    reply.problems.push(Problem { unit: name.clone(), kind: ProblemKind::NotLoaded });
                }
                continue;
            };
            unit.limit.borrow_mut().reset();
            let mut state = unit.state.borrow_mut();
            state.restarts = 0;
            state.outcome = super::limits::Outcome::Success;
            if state.active == Activity::Failed {
                state.set(Activity::Inactive, "dead");
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
                let kind = if self.is_kept(&unit) { ProblemKind::NoProcess } else { ProblemKind::NotLoaded };
                reply.problems.push(Problem { unit: name.clone(), kind });
            }
            processes::signal(&targets, signal);
        }
        reply
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
