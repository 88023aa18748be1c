//! The channel that the snap follows, beside the one that the operator names.

use super::Reading;
use crate::etcd::Channel;
use crate::host::Offer;

/// The channel that the snap follows, beside the one that the operator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// Nobody asked: no channel is named, the snap is not from the store, or no voter runs here.
    Unasked,
    /// The named one, or snapd's table does not tell.
    Named,
    /// snapd does not answer yet, as after a boot: why.
    Busy(String),
    /// snapd could not be asked: why.
    Unknown(String),
    /// Another one, or the named one, of which the operator wants what the store has now.
    Another {
        /// What the store has in the named one; `None` for a branch, of which it tells nothing.
        offer: Option<Reading<Offer>>,
    },
}

/// Whether snapd's word for what it follows means this channel. A branch may be cut short, `latest/edge/…`.
pub fn is_followed(channel: &Channel, tracked: &str) -> bool {
    match (tracked.strip_suffix('…'), tracked.parse::<Channel>()) {
        (Some(begin), _) => channel.to_string().starts_with(begin),
        (None, Ok(tracked)) => tracked == *channel,
        // A track that nobody would name here.
        (None, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_snapd_says_is_compared_by_its_meaning() {
        let is = |named: &str, tracked: &str| is_followed(&named.parse().unwrap(), tracked);
        assert!(is("latest", "latest/stable") && is("latest", "stable") && is("3.4", "3.4/stable"));
        assert!(!is("3.4/edge", "3.4/stable") && !is("latest", "3.5/stable") && !is("3.4", "classic/stable"));
        assert!(is("3.5/edge/fix-1", "3.5/edge/…") && !is("3.5/edge", "3.5/edge/…"));
    }
}
