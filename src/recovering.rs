//! The mark of a quorum that is rebuilt from one survivor: written before etcd is stopped, removed after the last change.
//! Invariant: whatever ends the run, a later one finishes the rebuilding or puts the data of before back, and never starts
//! that member as if nothing had happened.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::etcd::MemberId;
use crate::juju::UnitName;
use crate::state::StateFile;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The data is as it was; a copy of it may be half made.
    Copying,
    /// The copy is whole. The data itself is changed, and etcd may have run on it alone.
    Alone,
    /// It did not serve: the data of before is put back.
    GoingBack,
    /// It has served alone: what is in place counts from now on.
    Recovered,
}

/// All of them.
#[cfg(test)]
pub(crate) const PHASES: [Phase; 4] = [Phase::Copying, Phase::Alone, Phase::GoingBack, Phase::Recovered];

/// Which recovery a member is of: etcd itself knows no difference, cluster and members keep their ids. As text it is
/// `2 etcd/0 8211f1d0f64f3269,91bc3c398fb3c146`: number, unit and what it replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Generation {
    /// One higher than every earlier one's.
    pub number: u64,
    /// Where the quorum was recovered.
    pub unit: UnitName,
    /// Members of before, which are not to serve again: all that its unit knew of, but its own. Whoever joins afterwards has a
    /// new id.
    pub replaces: BTreeSet<MemberId>,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replaces: Vec<String> = self.replaces.iter().map(MemberId::to_string).collect();
        let text = format!("{} {} {}", self.number, self.unit, replaces.join(","));
        f.write_str(text.trim_end())
    }
}

impl FromStr for Generation {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Generation> {
        let (number, rest) = text.split_once(' ').context("a generation is a number and a unit")?;
        let (unit, replaces) = rest.split_once(' ').unwrap_or((rest, ""));
        let ids = replaces.split(',').filter(|id| !id.is_empty());
        Ok(Generation {
            number: number.parse()?,
            unit: unit.parse()?,
            replaces: ids.map(|id| Ok(id.parse()?)).collect::<Result<_>>()?,
        })
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> String {
        generation.to_string()
    }
}

impl TryFrom<String> for Generation {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Generation> {
        text.parse()
    }
}

/// One rebuilding of the quorum from this unit's member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// How far it has come.
    pub phase: Phase,
    /// Path, in the data directory, under which the data of before is kept.
    pub kept: PathBuf,
    /// Which one it is.
    pub generation: Generation,
}

impl Recovery {
    /// Where the member's data belongs.
    pub fn member(&self) -> PathBuf {
        self.kept.with_file_name("member")
    }

    /// A copy on its way.
    pub fn partial(&self) -> PathBuf {
        self.kept.with_file_name("member.recovery.partial")
    }

    /// The one on this machine; `None` when none is under way.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> Result<Option<Recovery>> {
        StateFile::Recovery.record()
    }

    /// One of the member's data in this data directory that has changed nothing yet. `kept` must be free.
    pub fn of(kept: &Path, generation: Generation) -> Recovery {
        Recovery { phase: Phase::Copying, kept: kept.to_owned(), generation }
    }

    /// It has come so far, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn reach(&mut self, phase: Phase) -> Result<()> {
        self.phase = phase;
        StateFile::Recovery.write_record(self)
    }

    /// Whether the data in place may be of no use yet: no ordinary start on it.
    pub fn is_half_done(&self) -> bool {
        self.phase != Phase::Recovered
    }

    /// It is an earlier unit's of this machine.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn set_aside() -> Result<()> {
        StateFile::Recovery.set_aside()
    }

    /// It is over.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn end() -> Result<()> {
        StateFile::Recovery.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_file_and_a_generation_the_databag() {
        let generation: Generation = "2 etcd/0".parse().unwrap();
        assert_eq!((generation.number, generation.to_string().as_str()), (2, "2 etcd/0"));
        let replacing: Generation = "3 etcd/1 1f,20".parse().unwrap();
        assert_eq!(replacing.replaces, [MemberId(0x1f), MemberId(0x20)].into());
        assert_eq!(replacing.to_string().parse::<Generation>().unwrap(), replacing);
        for odd in ["", "2", "etcd/0", "x etcd/0", "2 etcd", "2 etcd/0 member"] {
            assert!(odd.parse::<Generation>().is_err(), "{odd}");
        }
        let recovery = Recovery::of(Path::new("/d/member.before-recovery-1"), generation);
        let text = serde_json::to_string(&recovery).unwrap();
        assert_eq!(serde_json::from_str::<Recovery>(&text).unwrap(), recovery);
        assert_eq!(recovery.member(), Path::new("/d/member"));
    }
}
