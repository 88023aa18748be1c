//! The one place where a model is changed. Invariant: when a change returns, it is on disk, and everyone who waits
//! for changes has been told.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::Model;

/// A model, its file and those who wait for it.
#[derive(Debug)]
pub struct Store {
    model: Mutex<Model>,
    file: PathBuf,
    changes: watch::Sender<u64>,
}

impl Store {
    /// Takes a model into keeping and writes it to `file`.
    pub fn new(model: Model, file: PathBuf) -> Result<Self> {
        write(&model, &file)?;
        Ok(Self { model: Mutex::new(model), file, changes: watch::Sender::new(0) })
    }

    /// The model in `file`; `None` when there is no such file. Charms are not in it and need be read again.
    pub fn load(file: &Path) -> Result<Option<Model>> {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let model = serde_json::from_slice(&bytes)
            .with_context(|| format!("cannot read the model in {}", file.display()))?;
        Ok(Some(model))
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        // A panic while the lock was held cannot leave half a change: changes are made on a copy or are single steps.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the model.
    pub fn read<R>(&self, look: impl FnOnce(&Model) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the model.
    pub fn update<R>(&self, change: impl FnOnce(&mut Model) -> R) -> R {
        let mut model = self.lock();
        let result = change(&mut model);
        self.publish(&model);
        result
    }

    /// Changes the model, or leaves it as it was when the change fails.
    pub fn try_update<R, E>(&self, change: impl FnOnce(&mut Model) -> Result<R, E>) -> Result<R, E> {
        let mut model = self.lock();
        let mut copy = model.clone();
        let result = change(&mut copy)?;
        *model = copy;
        self.publish(&model);
        Ok(result)
    }

    /// Brings the model up to date with itself; tells and writes only when the change says that it changed something.
    pub fn settle(&self, change: impl FnOnce(&mut Model) -> bool) -> bool {
        let mut model = self.lock();
        let changed = change(&mut model);
        if changed {
            self.publish(&model);
        }
        changed
    }

    /// Writes the model down and wakes everyone who waits.
    fn publish(&self, model: &Model) {
        if let Err(error) = write(model, &self.file) {
            tracing::error!(error = format!("{error:#}"), "cannot keep the model");
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Wakes everyone who waits although nothing in the model changed.
    pub fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// A receiver that sees every later change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Replaces the file in one step, so that a reader or a killed writer never leaves half of it. It is not synced to the
/// disk: it must outlive this process, not the computer.
fn write(model: &Model, file: &Path) -> Result<()> {
    let bytes = serde_json::to_vec(model).context("cannot write the model as JSON")?;
    let partial = file.with_extension("json.partial");
    let mut out =
        fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    out.write_all(&bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, file).with_context(|| format!("cannot replace {}", file.display()))
}
