//! The machine's journal: lines of JSON in one file, the older half of which is given up when it grows. Invariant: writing never
//! fails its caller; on a full disk lines are lost, as with the real one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where it is inside a machine.
pub const PATH: &str = "/var/log/journal/juju-sim.jsonl";
/// Size in bytes at which the file is set aside and the one set aside before is given up.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Wall clock in µs since the epoch.
    pub time_us: u64,
    /// The unit it is about or from.
    pub unit: String,
    /// Who said it: `systemd`, or the program's name.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    pub text: String,
}

/// Writes the journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Journal {
    /// The journal at `path`.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).ok();
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        Self { path: path.to_owned(), file, size }
    }

    /// Add a line.
    pub fn write(&mut self, line: &Line) {
        let Ok(mut text) = serde_json::to_string(line) else { return };
        text.push('\n');
        if self.size > LIMIT {
            drop(std::fs::rename(&self.path, set_aside(&self.path)));
            *self = Self::open(&self.path);
        }
        if let Some(file) = &mut self.file
            && file.write_all(text.as_bytes()).is_ok()
        {
            self.size += text.len() as u64;
        }
    }
}

fn set_aside(path: &Path) -> PathBuf {
    path.with_extension("old.jsonl")
}

/// All lines that are kept, oldest first. A line that was cut short is left out.
pub fn read(path: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in [set_aside(path), path.to_owned()] {
        let text = std::fs::read(&file).unwrap_or_default();
        lines.extend(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_in_order_even_after_a_torn_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("j.jsonl");
        let line = |text: &str| Line {
            time_us: 1,
            unit: "x.service".into(),
            name: "x".into(),
            pid: 2,
            text: text.into(),
        };
        Journal::open(&path).write(&line("one"));
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_us\":\n").unwrap();
        Journal::open(&path).write(&line("two"));
        assert_eq!(read(&path), vec![line("one"), line("two")]);
    }
}
