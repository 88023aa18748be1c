//! The etcd snap where it cannot be used just now, and what snapd itself says of what it was told.

use std::collections::BTreeMap;

use super::Reading;

/// Why the snap that is on this machine cannot be used just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// Its revision is not mounted, as right after a boot: which.
    NotMounted(String),
    /// None of its revisions is in use: snapd is at work on it, or it was disabled.
    NotInUse,
}

/// snapd's own word. Others change its options too: Juju's machine agent does at every start. Asked once a run, before this
/// run has told snapd anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapdSays {
    /// Its options, by their full names.
    pub options: Reading<BTreeMap<String, String>>,
    /// Whether it leaves etcd's snap alone.
    pub held: Reading<bool>,
    /// Its version; only asked where an earlier one could not do something.
    pub version: Reading<String>,
}

impl SnapdSays {
    /// Nothing, for this reason.
    pub fn nothing(why: &str) -> SnapdSays {
        let why = || why.to_owned();
        SnapdSays {
            options: Reading::Unknown(why()),
            held: Reading::Unknown(why()),
            version: Reading::Unknown(why()),
        }
    }
}
