//! Snap channels as operators write them. A channel is canonical once read: track, risk and branch, nothing implied.

use std::fmt;
use std::str::FromStr;

use super::version::Minor;

/// Where to install etcd's snap from, `3.4/stable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The line of versions.
    pub track: Track,
    /// How well tried.
    pub risk: Risk,
    /// A temporary fix of one channel.
    pub branch: Option<String>,
}

/// A line of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// Whatever is newest; its minor can change with any refresh.
    Latest,
    /// Patches of one minor.
    Minor(Minor),
}

/// How well tried, in snapd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// For production.
    Stable,
    /// Nearly there.
    Candidate,
    /// For trying out.
    Beta,
    /// Fresh from the build.
    Edge,
}

/// Text that is not a channel of etcd's snap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use {text:?} as a channel; accepted: 3.4, 3.4/stable, latest/edge, stable, 3.5/edge/fix-1 (risks: stable, candidate, beta, edge)"
)]
pub struct ChannelError {
    text: String,
}

impl Channel {
    /// What a machine without etcd gets when nobody chose: what the earlier charm installed.
    pub fn first_install() -> Channel {
        Channel { track: Track::Minor(Minor { major: 3, minor: 4 }), risk: Risk::Stable, branch: None }
    }

    /// The stable channel of one minor: what to name when an operator must choose the next step.
    pub fn stable(minor: Minor) -> Channel {
        Channel { track: Track::Minor(minor), risk: Risk::Stable, branch: None }
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    /// `TRACK`, `RISK`, `TRACK/RISK`, `RISK/BRANCH` or `TRACK/RISK/BRANCH`, as snapd reads them.
    fn from_str(text: &str) -> Result<Channel, ChannelError> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        let channel = match parts.as_slice() {
            [one] => Risk::parse(one)
                .map(|risk| Channel { track: Track::Latest, risk, branch: None })
                .or_else(|| Some(Channel { track: Track::parse(one)?, risk: Risk::Stable, branch: None })),
            [one, two] => match (Risk::parse(one), Risk::parse(two)) {
                (Some(risk), _) => {
                    branch(two).map(|two| Channel { track: Track::Latest, risk, branch: Some(two) })
                }
                (None, Some(risk)) => Track::parse(one).map(|track| Channel { track, risk, branch: None }),
                (None, None) => None,
            },
            [one, two, three] => match (Track::parse(one), Risk::parse(two), branch(three)) {
                (Some(track), Some(risk), Some(three)) => Some(Channel { track, risk, branch: Some(three) }),
                _ => None,
            },
            _ => None,
        };
        channel.ok_or_else(|| ChannelError { text: text.to_owned() })
    }
}

/// The letters snapd allows in a branch.
fn branch(text: &str) -> Option<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(usual))
        .then(|| text.to_owned())
}

impl Track {
    fn parse(text: &str) -> Option<Track> {
        if text == "latest" { Some(Track::Latest) } else { text.parse().ok().map(Track::Minor) }
    }
}

impl Risk {
    fn parse(text: &str) -> Option<Risk> {
        match text {
            "stable" => Some(Risk::Stable),
            "candidate" => Some(Risk::Candidate),
            "beta" => Some(Risk::Beta),
            "edge" => Some(Risk::Edge),
            _ => None,
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Track::Latest => f.write_str("latest"),
            Track::Minor(minor) => minor.fmt(f),
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Risk::Stable => "stable",
            Risk::Candidate => "candidate",
            Risk::Beta => "beta",
            Risk::Edge => "edge",
        })
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.track, self.risk)?;
        match &self.branch {
            Some(branch) => write!(f, "/{branch}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_channel_has_one_canonical_form() {
        let cases = [
            ("3.4", "3.4/stable"),
            ("3.4/stable", "3.4/stable"),
            ("latest/stable", "latest/stable"),
            ("latest", "latest/stable"),
            ("stable", "latest/stable"),
            ("edge", "latest/edge"),
            ("3.5/edge", "3.5/edge"),
            ("latest/edge/branch", "latest/edge/branch"),
            ("edge/fix-1", "latest/edge/fix-1"),
            (" 3.6/candidate ", "3.6/candidate"),
        ];
        for (text, canonical) in cases {
            let channel: Channel = text.parse().unwrap();
            assert_eq!(channel.to_string(), canonical, "{text:?}");
            assert_eq!(canonical.parse(), Ok(channel), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_channel_is_refused_with_the_accepted_forms() {
        for text in [
            "",
            "/",
            "3",
            "3.4.1",
            "3.4/",
            "/stable",
            "3.4/nonsense",
            "three/stable",
            "3.4/stable/",
            "a/b/c/d",
            "3.4/stable/a b",
        ] {
            let error = text.parse::<Channel>().unwrap_err();
            assert!(error.to_string().contains("accepted: 3.4, 3.4/stable"), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_first_install_is_the_earlier_charms() {
        assert_eq!(Channel::first_install().to_string(), "3.4/stable");
    }
}
