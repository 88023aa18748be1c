//! The model's log: one JSON document a line in a file, and a channel to those who follow it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::broadcast;

use crate::api::LogLine;

use super::wall_ms;

/// How many lines a slow follower may lag behind before it loses some.
const FOLLOWER_LAG_MAX: usize = 16_384;

/// The log of a model.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Mutex<File>,
    followers: broadcast::Sender<LogLine>,
}

impl Log {
    /// Opens or makes the log.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, file: Mutex::new(file), followers: broadcast::Sender::new(FOLLOWER_LAG_MAX) })
    }

    /// Writes a line. `entity` is like `unit-etcd-0`, `level` like `INFO`, `module` like `unit.etcd/0.juju-log`.
    pub fn write(&self, entity: &str, level: &str, module: &str, message: &str) {
        let line = LogLine {
            time_ms: wall_ms(),
            entity: entity.to_owned(),
            level: level.to_owned(),
            module: module.to_owned(),
            message: message.to_owned(),
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(mut text) = serde_json::to_string(&line) {
            text.push('\n');
            if let Err(error) = file.write_all(text.as_bytes()) {
                tracing::error!(%error, "cannot write to the model's log");
            }
        }
        // Sent under the lock, so that `follow` sees each line exactly once. Nobody listening is no failure.
        let _ = self.followers.send(line);
    }

    /// The lines so far, and a receiver of those that follow.
    pub fn follow(&self) -> Result<(Vec<LogLine>, broadcast::Receiver<LogLine>)> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.followers.subscribe();
        Ok((read(&self.path)?, receiver))
    }
}

fn read(path: &Path) -> Result<Vec<LogLine>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    Ok(lines.filter_map(|line| serde_json::from_str(&line).ok()).collect())
}
