//! What an agent puts on its machine: the charm, the hook tools and the storage.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::charm::{Charm, StorageKind};
use crate::model::unit_tag;
use crate::tools;

use super::state::{Hook, HookKind, Stage};
use super::{Agent, log};

/// The list of files that came with the charm, beside the charm's directory.
const CHARM_FILES: &str = "charm-files.json";

impl Agent {
    /// The unit's directory, on the host.
    pub(super) fn directory(&self) -> PathBuf {
        self.machine.juju_dir().join("agents").join(unit_tag(&self.unit))
    }

    /// Puts everything in place that a hook needs. Does only what an earlier agent has not done.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        let directory = self.directory();
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        self.install_tools()?;
        if !directory.join(CHARM_FILES).exists() {
            self.write_charm()?;
        }
        self.engine.store.settle(|model| {
            let now = model.now_ms();
            let Some(unit) = model.units.get_mut(&self.unit) else { return false };
            if unit.workload_was_set {
                return false;
            }
            unit.workload = crate::model::StatusEntry::new("waiting", "agent initialising", now);
            true
        });
        Ok(())
    }

    fn install_tools(&self) -> Result<()> {
        let tools = self.machine.juju_dir().join("tools");
        let own = tools.join(unit_tag(&self.unit));
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        let program = tools.join(format!("juju-sim-{}", unit_tag(&self.unit)));
        // A link costs nothing; a copy is for a program on another file system. Made anew, so that it is never older
        // than this agent.
        let _ = fs::remove_file(&program);
        fs::hard_link(&self.engine.tool_program, &program)
            .or_else(|_| fs::copy(&self.engine.tool_program, &program).map(|_| ()))
            .with_context(|| {
                format!("cannot install hook tools from {}", self.engine.tool_program.display())
            })?;
        let target = Path::new("..").join(format!("juju-sim-{}", unit_tag(&self.unit)));
        for name in tools::names_for(self.engine.store.read(|model| model.version)) {
            let link = own.join(name);
            if !link.is_symlink() {
                symlink(&target, &link).with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
        Ok(())
    }

    /// Writes the files of the application's charm, and removes those of an earlier one that it lacks. What the charm
    /// made by itself in its directory stays.
    fn write_charm(&self) -> Result<u64> {
        let (source, version) = self
            .engine
            .store
            .read(|model| {
                let application = model.applications.get(&model.units.get(&self.unit)?.application)?;
                Some((application.charm.directory.clone(), application.charm_modified_version))
            })
            .context("cannot find the unit's application")?;
        let directory = self.directory();
        let charm_directory = directory.join("charm");
        let charm = Charm::load(&source)?;
        let list = directory.join(CHARM_FILES);
        let old: BTreeSet<PathBuf> =
            fs::read(&list).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let new = charm.unpack_to(&charm_directory)?;
        for gone in old.difference(&new) {
            // It may have been removed by the charm.
            let _ = fs::remove_file(charm_directory.join(gone));
        }
        let bytes = serde_json::to_vec(&new).context("cannot list the charm's files")?;
        fs::write(&list, bytes).with_context(|| format!("cannot write {}", list.display()))?;
        Ok(version)
    }

    pub(super) async fn upgrade(&mut self) {
        match self.write_charm() {
            Ok(version) => {
                let _ = self.run_hook(Hook { version, ..Hook::plain(HookKind::UpgradeCharm) }).await;
            }
            Err(error) => self.complain_and_wait(&format!("cannot upgrade the charm: {error:#}")).await,
        }
    }

    /// `refresh --force-units` while a hook has failed: the new files come under it; there is no upgrade-charm.
    pub(super) fn replace_files_under_hook(&mut self) {
        let written = self.write_charm();
        if let Err(error) = &written {
            log(
                &self.engine,
                &self.unit,
                "ERROR",
                "juju.worker.uniter",
                &format!("cannot replace the charm: {error:#}"),
            );
        }
        self.engine.store.update(|model| {
            if let Some(unit) = model.units.get_mut(&self.unit) {
                unit.agent.wants_files = false;
                if let Ok(version) = written {
                    unit.agent.charm_seen = version;
                }
            }
        });
    }

    /// Takes up what an earlier agent left: ends its run, and counts a hook or action that ran as failed.
    pub(super) fn recover(&mut self) {
        let context = self.engine.store.read(|model| model.units.get(&self.unit)?.agent.context.clone());
        if let Some(context) = &context {
            super::process::kill_remains(context);
        }
        self.engine.store.settle(|model| {
            let now = model.now_ms();
            let mut changed = false;
            for record in model.tasks.values_mut().filter(|record| record.task.unit == self.unit) {
                if record.task.status == "running" {
                    record.task.status = "failed".to_owned();
                    record.task.message = "action terminated".to_owned();
                    record.task.completed = crate::status::format_time(now);
                    changed = true;
                }
            }
            let Some(unit) = model.units.get_mut(&self.unit) else { return changed };
            changed |= unit.agent.context.take().is_some();
            if let Some(pending) =
                unit.agent.pending.as_mut().filter(|pending| pending.stage == Stage::Running)
            {
                pending.stage = Stage::Failed;
                pending.failures += 1;
                pending.failed_ms = now;
                changed = true;
            }
            changed
        });
        let failures = self.engine.store.read(|model| {
            model
                .units
                .get(&self.unit)
                .and_then(|unit| unit.agent.failed_hook().map(|pending| pending.failures))
        });
        if let Some(failures) = failures {
            self.plan_retry(failures);
        }
    }

    /// Makes a storage instance ready on the machine, and says why when it cannot.
    pub(super) async fn provision(&mut self, id: &str) {
        if let Err(error) = self.make_ready(id).await {
            self.complain_and_wait(&format!("cannot attach storage {id}: {error:#}")).await;
        }
    }

    /// Makes storage ready while the unit is at something else, as Juju's machine agent does. What fails is tried again, and
    /// told, when it is the unit's turn.
    pub(super) async fn provision_meanwhile(&self) {
        let wanted = self.engine.store.read(|model| {
            let unit = model.units.get(&self.unit)?;
            model.storage_of(&self.unit).find(|one| one.is_wanted_by(unit)).map(|one| one.id.clone())
        });
        if let Some(id) = wanted {
            let _ = self.make_ready(&id).await;
        }
    }

    async fn make_ready(&self, id: &str) -> Result<()> {
        let Some(instance) = self.engine.store.read(|model| model.storage.get(id).cloned()) else {
            return Ok(());
        };
        let location = match instance.kind {
            StorageKind::Block => {
                let device = self.machine.attach_block(&block_name(id), instance.size_mib).await?;
                device.display().to_string()
            }
            StorageKind::Filesystem => self.make_directory(&instance.wanted_location).await?,
        };
        self.engine.store.update(|model| {
            if let Some(instance) = model.storage.get_mut(id) {
                instance.location = Some(location);
            }
        });
        Ok(())
    }

    async fn make_directory(&self, path: &str) -> Result<String> {
        let status = self
            .machine
            .command(Path::new("/bin/mkdir"), Path::new("/"))
            .args(["-p", path])
            .env("PATH", "/usr/bin:/bin")
            .status()
            .await
            .context("cannot run mkdir")?;
        anyhow::ensure!(status.success(), "cannot make {path}");
        Ok(path.to_owned())
    }

    /// Takes a block device away after its storage-detaching.
    pub(super) async fn detach(&self, id: &str) {
        if let Err(error) = self.machine.detach_block(&block_name(id)).await {
            log(
                &self.engine,
                &self.unit,
                "WARNING",
                "juju.worker.storage",
                &format!("cannot detach {id}: {error:#}"),
            );
        }
    }

    /// Takes away all devices that are left when the unit goes.
    pub(super) async fn detach_all(&self) {
        let left: Vec<String> = self.engine.store.read(|model| {
            let is_block = |instance: &&crate::model::StorageInstance| {
                instance.kind == StorageKind::Block && instance.location.is_some()
            };
            model.storage_of(&self.unit).filter(is_block).map(|instance| instance.id.clone()).collect()
        });
        for id in left {
            self.detach(&id).await;
        }
    }

    /// Says what went wrong and waits a little, so that what cannot be done is not tried in a circle without pause.
    async fn complain_and_wait(&mut self, message: &str) {
        log(&self.engine, &self.unit, "ERROR", "juju.worker.uniter", message);
        self.show("failed", message);
        let pause = tokio::time::sleep(std::time::Duration::from_secs(2));
        pause.await;
    }
}

/// `data/0` → `data-0`, the name of a device on its machine.
pub(super) fn block_name(id: &str) -> String {
    id.replace('/', "-")
}
