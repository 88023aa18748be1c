//! The mark of a member that was replaced because its data was damaged: written before anything is changed. Invariant: a disk
//! that damages every copy it is given does not make a unit join again and again.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::etcd::MemberId;
use crate::state::StateFile;

/// Once in this time a unit replaces its member by itself, in seconds.
const PERIOD_S: u64 = 86_400;

/// A replacement that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// When, Unix time in seconds.
    pub at_s: u64,
    /// Which member was given up.
    pub member: MemberId,
}

impl Healed {
    /// Whether `member` may not be given up at this time, for it came in the place of another one.
    pub fn forbids(&self, member: MemberId, now_s: u64) -> bool {
        self.member != member && self.is_recent(now_s)
    }

    /// Whether it is less than a day ago. A clock that was set back counts as that.
    pub fn is_recent(&self, now_s: u64) -> bool {
        now_s < self.forgotten_s()
    }

    /// From when on it says nothing any more, Unix time in seconds.
    pub fn forgotten_s(&self) -> u64 {
        self.at_s.saturating_add(PERIOD_S)
    }

    /// The last one on this machine.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> Result<Option<Healed>> {
        StateFile::Healed.record()
    }

    /// Makes it durable. One that was begun before is the same one still.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(member: MemberId, now_s: u64) -> Result<()> {
        let before = Healed::read()?.filter(|before| before.member == member && before.is_recent(now_s));
        StateFile::Healed.write_record(&before.unwrap_or(Healed { at_s: now_s, member }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_member_waits_for_a_day_and_the_same_one_does_not() {
        let healed = Healed { at_s: 1_000_000, member: MemberId(5) };
        assert!(!healed.forbids(MemberId(5), 1_000_100), "killed in the middle");
        assert!(healed.forbids(MemberId(6), 1_000_100));
        assert!(healed.forbids(MemberId(6), 10), "a clock that was set back");
        assert!(!healed.forbids(MemberId(6), 1_086_400));
    }
}
