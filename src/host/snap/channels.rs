//! The channels of a snap: which one it follows, what the store has in one, and another one to follow. Read from tables that
//! `snap` prints for people: what cannot be found in them is never guessed.

use super::{Snap, SnapError, refusal, words};

/// From the least to the most stable; one without a release of its own holds what the next one holds.
const RISKS: [&str; 4] = ["edge", "beta", "candidate", "stable"];

/// What the store has in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The version that the snap names itself.
    pub version: String,
    /// The store's number.
    pub revision: String,
}

impl Snap {
    /// The channel that it follows, as far as `snap list` tells: nothing for a snap from a file, or where the column is
    /// missing. A branch is cut short there: `latest/edge/…`.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn tracking(&self) -> Result<Option<String>, SnapError> {
        Ok(self.table().await?.and_then(|table| tracking(&self.name, &table)))
    }

    /// What the store has now in the channel `track/risk`. Asks the store, and changes nothing.
    ///
    /// # Errors
    /// [`SnapError::StoreUnreachable`] when `snap info` shows no channels at all, [`SnapError::ChannelNotFound`].
    pub async fn offer(&self, track: &str, risk: &str) -> Result<Offer, SnapError> {
        let output = self.command(["info", &self.name]).status().await.map_err(SnapError::Process)?;
        if output.code != Some(0) {
            return Err(refusal(&self.name, words(&output)));
        }
        let table = output.text();
        let mut channels = channels(&table).peekable();
        if channels.peek().is_none() {
            let message = format!("snap info shows no channels of {}", self.name);
            return Err(SnapError::StoreUnreachable { message });
        }
        offer(channels, track, risk).ok_or_else(|| SnapError::ChannelNotFound {
            message: format!("snap info shows no release of {} in {track}/{risk}", self.name),
        })
    }

    /// Follows another channel from now on; what is installed stays.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn switch(&self, channel: &str) -> Result<(), SnapError> {
        self.change(["switch", &self.name, &format!("--channel={channel}")]).await
    }
}

/// The channel from `snap list NAME`, by the column's heading: columns have come and gone over the years.
fn tracking(name: &str, table: &str) -> Option<String> {
    let mut lines = table.lines();
    let column = lines.next()?.split_whitespace().position(|heading| heading == "Tracking")?;
    let row = lines.find(|line| line.split_whitespace().next() == Some(name))?;
    let channel = row.split_whitespace().nth(column)?;
    (channel != "-" && channel != "–").then(|| channel.to_owned())
}

/// The lines below `channels:` in `snap info`, as channel and what is in it.
fn channels(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = table.lines().skip_while(|line| !line.starts_with("channels:")).skip(1);
    let lines = lines.take_while(|line| line.starts_with(' '));
    lines.filter_map(|line| line.trim().split_once(':')).map(|(channel, held)| (channel, held.trim()))
}

/// `VERSION [DATE] (REVISION) SIZE NOTES`; an arrow, or no line at all, stands for what the more stable one holds, a dash for
/// nothing.
fn offer<'a>(channels: impl Iterator<Item = (&'a str, &'a str)>, track: &str, risk: &str) -> Option<Offer> {
    let all: Vec<(&str, &str)> = channels.collect();
    let from = RISKS.iter().position(|known| *known == risk)?;
    for risk in RISKS.get(from..)? {
        let held = all.iter().find(|(channel, _)| *channel == format!("{track}/{risk}"));
        let Some((_, held)) = held.filter(|(_, held)| *held != "↑" && *held != "^") else { continue };
        let mut held = held.split_whitespace();
        let version = held.next()?.to_owned();
        let revision = held.find_map(|word| word.strip_prefix('(')?.strip_suffix(')'))?.to_owned();
        return Some(Offer { version, revision });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_found_by_its_heading_or_not_at_all() {
        let new = "Name  Version  Rev  Tracking    Publisher  Notes\netcd  3.4.36   248  3.4/stable  juju-qa    -\n";
        let old = "Name  Version  Rev  Developer  Notes\netcd  3.4.36   248  juju-qa    -\n";
        let file =
            "Name  Version  Rev  Tracking  Publisher  Notes\netcd  3.5.16   x1   -         -          -\n";
        let cut = "Name  Version  Rev  Tracking       Publisher  Notes\netcd  3.5.16   9    latest/edge/…  juju-qa    -\n";
        assert_eq!(tracking("etcd", new).as_deref(), Some("3.4/stable"));
        assert_eq!(tracking("etcd", cut).as_deref(), Some("latest/edge/…"));
        for table in [old, file, "", new.lines().next().unwrap()] {
            assert_eq!(tracking("etcd", table), None, "{table}");
        }
    }

    const INFO: &str = "name:      etcd
summary:   Resilient key-value store by CoreOS
publisher: Canonical**
description: |
  channels: of a river
services:
  etcd: simple, enabled, active
tracking:     3.4/stable
refresh-date: today at 10:00 UTC
channels:
  latest/stable:    3.5.16 2024-10-01 (231) 14MB -
  latest/candidate: ^
  latest/beta:      ↑
  latest/edge:      3.6.1  2024-11-01 (240) 15MB -
  3.4/stable:       3.4.36 (230) 14MB -
  3.5/stable:       --
  3.5/candidate:    –
installed:          3.4.36            (230) 14MB held
";

    #[test]
    fn what_the_store_has_is_read_with_and_without_dates_and_through_arrows() {
        let held = |track: &str, risk: &str| {
            offer(channels(INFO), track, risk).map(|offer| format!("{} {}", offer.version, offer.revision))
        };
        assert_eq!(held("latest", "stable").as_deref(), Some("3.5.16 231"));
        assert_eq!(held("latest", "beta").as_deref(), Some("3.5.16 231"));
        assert_eq!(held("latest", "edge").as_deref(), Some("3.6.1 240"));
        assert_eq!(held("3.4", "edge").as_deref(), Some("3.4.36 230"));
        for (track, risk) in [("3.5", "stable"), ("3.5", "candidate"), ("3.7", "stable")] {
            assert_eq!(held(track, risk), None, "{track}/{risk}");
        }
        assert_eq!(channels("name: etcd\ninstalled: 3.4.36 (230) 14MB -\n").next(), None);
    }
}
