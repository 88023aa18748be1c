//! Snap channels. Invariant: a channel that was parsed names a track and one of the four risks.

use std::fmt;

use super::{Done, error};

/// Most to least stable; a risk without a release of its own follows the one before it.
pub const RISKS: [&str; 4] = ["stable", "candidate", "beta", "edge"];

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub track: String,
    pub risk: String,
    pub branch: Option<String>,
}

impl Channel {
    /// Read `3.4`, `3.4/stable`, `edge`, `latest/edge/branch`. A risk alone keeps the track of `current`.
    pub fn parse(text: &str, current: Option<&Channel>) -> Done<Self> {
        let invalid = || error(format!("invalid channel name: \"{text}\""));
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || part.chars().any(char::is_whitespace)) {
            return Err(invalid());
        }
        let track_now = current.map_or("latest", |channel| channel.track.as_str());
        let is_risk = |word: &&str| RISKS.contains(word);
        let (track, risk, branch) = match parts.as_slice() {
            [risk] if is_risk(risk) => (track_now, *risk, None),
            [track] => (*track, "stable", None),
            [risk, branch] if is_risk(risk) => (track_now, *risk, Some(*branch)),
            [track, risk] if is_risk(risk) => (*track, *risk, None),
            [track, risk, branch] if is_risk(risk) => (*track, *risk, Some(*branch)),
            _ => return Err(invalid()),
        };
        Ok(Self { track: track.to_owned(), risk: risk.to_owned(), branch: branch.map(str::to_owned) })
    }

    /// The risks to look for, the wanted one first.
    pub fn risks(&self) -> impl Iterator<Item = &'static str> {
        let position = RISKS.iter().position(|risk| *risk == self.risk).unwrap_or(0);
        RISKS[..=position].iter().rev().copied()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.track, self.risk)?;
        self.branch.iter().try_for_each(|branch| write!(formatter, "/{branch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        Channel::parse(text, None).unwrap().to_string()
    }

    #[test]
    fn what_is_left_out_is_latest_and_stable() {
        assert_eq!(full("3.4"), "3.4/stable");
        assert_eq!(full("edge"), "latest/edge");
        assert_eq!(full("latest/edge/fix"), "latest/edge/fix");
        assert!(Channel::parse("3.4/firm", None).is_err());
        assert!(Channel::parse("3.4//stable", None).is_err());
        assert!(Channel::parse("a/b/c/d", None).is_err());
    }

    #[test]
    fn a_risk_alone_keeps_the_track() {
        let current = Channel::parse("3.5/stable", None).unwrap();
        assert_eq!(Channel::parse("edge", Some(&current)).unwrap().to_string(), "3.5/edge");
        assert_eq!(Channel::parse("3.4", Some(&current)).unwrap().to_string(), "3.4/stable");
    }

    #[test]
    fn an_unstable_channel_follows_the_stabler_ones() {
        let channel = Channel::parse("3.4/beta", None).unwrap();
        assert_eq!(channel.risks().collect::<Vec<_>>(), vec!["beta", "candidate", "stable"]);
    }
}
