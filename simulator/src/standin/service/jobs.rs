//! What the manager does with units: start with all they need, stop, restart, and all of them at boot and shutdown. Invariant: a
//! unit is started only when everything it cannot do without is up.

use std::path::Path;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::life::Life;
use super::limits::Outcome;
use super::manager::{DEPTH, Manager};
use super::mount::{self, Attempt};
use super::protocol::ProblemKind;
use super::state::Activity;
use super::unit::{Control, JobResult, Unit};
use crate::standin::fstab;
use crate::standin::units::escape_path;
use crate::standin::units::spec::{MountSpec, UnitSpec, What};

impl Manager {
    /// Start a unit with what it needs.
    pub async fn start(&self, unit: &Rc<Unit>, depth: u32) -> JobResult {
        let spec = unit.spec()?;
        // Whoever runs umount by hand does not tell.
        let is_gone = matches!(&spec.what, What::Mount(mount) if !fstab::is_mounted(&mount.place));
        if unit.state.borrow().active == Activity::Active && !is_gone {
            return None;
        }
        if !Box::pin(self.start_needs(unit, &spec, depth)).await {
            self.host.log(&unit.name, format!("Dependency failed for {}.", unit.label_by(&spec)));
            return Some(ProblemKind::Dependency);
        }
        let failed = spec.failed_condition();
        unit.state.borrow_mut().condition_failed = failed.is_some_and(|failed| !failed.assertion);
        if let Some(failed) = failed {
            return self.host.refuse(unit, &unit.label_by(&spec), failed);
        }
        match &spec.what {
            What::Service(_) => self.start_service(unit).await,
            What::Mount(mount) => self.start_mount(unit, mount).await,
            What::Other => {
                unit.state.borrow_mut().set(Activity::Active, "active");
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
        let attempt = mount::mount(&self.host, &unit.name, spec).await;
        let mut state = unit.state.borrow_mut();
        match attempt {
            Attempt::Mounted => {
                state.outcome = Outcome::Success;
                state.set(Activity::Active, "mounted");
                None
            }
            Attempt::Refused => {
                state.outcome = Outcome::ExitCode;
                state.set(Activity::Failed, "failed");
                Some(ProblemKind::Job(Outcome::ExitCode.text().to_owned()))
            }
            Attempt::WithoutDevice => Some(ProblemKind::Dependency),
        }
    }

    async fn start_service(&self, unit: &Rc<Unit>) -> JobResult {
        if unit.state.borrow().active == Activity::Deactivating {
            self.stop(unit).await;
        }
        let (sender, receiver) = oneshot::channel();
        unit.waiting.borrow_mut().push(sender);
        let control = unit.control.borrow().clone();
        match control {
            Some(control) => drop(control.send(Control::StartNow)),
            None => Life::begin(&self.host, unit),
        }
        receiver.await.unwrap_or(Some(ProblemKind::Canceled))
    }

    /// Stop a unit; returns when it is at rest.
    pub async fn stop(&self, unit: &Rc<Unit>) -> JobResult {
        if let Some(What::Mount(spec)) = unit.spec().map(|spec| spec.what) {
            self.stop_all_that_need(&spec.place).await;
            let _guard = unit.mounting.lock().await;
            let gone = mount::unmount(&self.host, &unit.name, &spec).await;
            let mut state = unit.state.borrow_mut();
            if gone {
                state.set(Activity::Inactive, "dead");
            } else {
                state.outcome = Outcome::ExitCode;
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
            None if unit.state.borrow().active == Activity::Active => {
                unit.state.borrow_mut().set(Activity::Inactive, "dead")
            }
            None => {}
        }
        None
    }

    /// Whatever needs a mount is stopped with it, and before it.
    async fn stop_all_that_need(&self, place: &Path) {
        let needs_it = |unit: &&Rc<Unit>| {
            let spec = unit.spec();
            spec.is_some_and(|spec| spec.mounts_for.iter().any(|path| path.starts_with(place)))
        };
        let units: Vec<Rc<Unit>> = self.host.units.borrow().values().filter(needs_it).cloned().collect();
        for unit in units {
            Box::pin(self.stop(&unit)).await;
        }
    }

    /// Stop and start it again.
    pub async fn restart(&self, unit: &Rc<Unit>, only_active: bool) -> JobResult {
        let running = unit.control.borrow().is_some() || unit.state.borrow().active == Activity::Active;
        if only_active && !running {
            return None;
        }
        self.stop(unit).await;
        self.start(unit, DEPTH).await
    }

    /// Reload it, or restart what cannot be reloaded.
    pub async fn reload(&self, unit: &Rc<Unit>, or_restart: bool) -> JobResult {
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
                let (manager, own) = (self.clone(), unit.clone());
                drop(self.host.run_job(&unit, async move { manager.start(&own, DEPTH).await }));
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
