//! What an operator has told the whole application to move to: what the store has now in the channel that it follows already.
//! Automatic refreshes are held, so nothing else brings a patch to a unit.

use std::fmt;
use std::str::FromStr;

use crate::etcd::{Channel, Version};
use crate::host::Installed;

/// One of them; a unit moves to it when its turn has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The channel that had it.
    pub channel: Channel,
    /// The snap's revision.
    pub revision: u64,
    /// The etcd in it.
    pub version: Version,
    /// How often this revision was asked for: one that was left again is tried anew.
    pub attempt: u32,
}

impl Rollout {
    /// Whether `installed`, which follows `channel`, is older than what was asked for.
    pub fn concerns(&self, channel: &Channel, installed: &Installed) -> bool {
        let is_older = |revision: u64| revision < self.revision;
        self.channel == *channel && installed.revision.parse().is_ok_and(is_older)
    }

    /// For people, and to tell one that was tried in vain from the next.
    pub fn name(&self) -> String {
        let again = if self.attempt > 1 { format!(", try {}", self.attempt) } else { String::new() };
        format!("{} (revision {}{again})", self.channel, self.revision)
    }
}

impl fmt::Display for Rollout {
    /// As in the databag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.channel, self.revision, self.version, self.attempt)
    }
}

/// Text that names nothing to move to.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {0:?}; accepted: CHANNEL REVISION VERSION ATTEMPT")]
pub struct RolloutError(String);

impl FromStr for Rollout {
    type Err = RolloutError;

    fn from_str(text: &str) -> Result<Rollout, RolloutError> {
        let read = || {
            let mut words = text.split(' ');
            let rollout = Rollout {
                channel: words.next()?.parse().ok()?,
                revision: words.next()?.parse().ok()?,
                version: words.next()?.parse().ok()?,
                attempt: words.next()?.parse().ok()?,
            };
            words.next().is_none().then_some(rollout)
        };
        read().ok_or_else(|| RolloutError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_revision_of_the_same_channel_moves() {
        let rollout: Rollout = "3.5/stable 240 3.5.33 1".parse().unwrap();
        assert_eq!(rollout.to_string(), "3.5/stable 240 3.5.33 1");
        let concerns = |channel: &str, revision: &str| {
            let installed = Installed { revision: revision.into(), version: "3.5.16".into() };
            rollout.concerns(&channel.parse().unwrap(), &installed)
        };
        assert!(concerns("3.5/stable", "239") && concerns("3.5", "9"));
        assert!(!concerns("3.5/stable", "240") && !concerns("3.5/stable", "1000"));
        assert!(!concerns("3.5/edge", "239") && !concerns("3.5/stable", "x1"), "from elsewhere");
        for text in ["", "3.5/stable 240 3.5.33", "3.5/stable x1 3.5.33 1", "3.5/stable 240 3.5.33 1 2"] {
            assert!(text.parse::<Rollout>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn another_try_has_another_name() {
        let name = |text: &str| text.parse::<Rollout>().unwrap().name();
        assert_eq!(name("3.5/stable 240 3.5.33 1"), "3.5/stable (revision 240)");
        assert_eq!(name("3.5/stable 240 3.5.33 2"), "3.5/stable (revision 240, try 2)");
    }
}
