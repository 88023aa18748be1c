//! etcd's versions. Only the three numbers count; what follows them (`-rc.1`, `+dfsg`) never changes a decision.

use std::fmt;
use std::str::FromStr;

/// A server's version, `3.5.16`, in order of age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// The minor version that this is a patch of.
    pub fn minor_version(&self) -> Minor {
        Minor { major: self.major, minor: self.minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {text:?} as an etcd version; accepted: three numbers as in 3.5.16")]
pub struct VersionError {
    text: String,
}

impl FromStr for Version {
    type Err = VersionError;

    /// `3.5.16`, `v3.5.16`, `3.5.16-rc.1`, `3.4.23+dfsg-4`.
    fn from_str(text: &str) -> Result<Version, VersionError> {
        let error = || VersionError { text: text.to_owned() };
        let bare = text.trim();
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let bare = bare.split(['-', '+', '~']).next().unwrap_or(bare);
        let mut numbers = bare.split('.').map(number);
        let mut next = || numbers.next().flatten();
        let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else { return Err(error()) };
        if numbers.next().is_some() {
            return Err(error());
        }
        Ok(Version { major, minor, patch })
    }
}

/// Digits only: `u32::from_str` would also take a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A minor version, `3.5`: what upgrades count in, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Minor {
    /// The only minor that a cluster of this one can be upgraded to.
    #[must_use]
    pub fn next(self) -> Minor {
        Minor { major: self.major, minor: self.minor.saturating_add(1) }
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Minor {
    type Err = VersionError;

    /// `3.5`.
    fn from_str(text: &str) -> Result<Minor, VersionError> {
        let numbers = text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let (major, minor) = numbers.ok_or_else(|| VersionError { text: text.to_owned() })?;
        Ok(Minor { major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_and_suffixes_are_left_out() {
        for text in ["3.5.16", "v3.5.16", "3.5.16-rc.1", "3.5.16+dfsg-4", " 3.5.16\n", "3.5.16~1"] {
            assert_eq!(version(text).to_string(), "3.5.16", "{text:?}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "3.5", "3.5.x", "3.5.1.2", "+3.5.1", "3.-5.1", "latest", "99999999999.1.1"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn order_is_numeric() {
        assert!(version("3.5.9") < version("3.5.16"));
        assert!(version("3.10.0") > version("3.9.9"));
        assert!(version("3.4.35").minor_version() < version("3.5.0").minor_version());
    }

    #[test]
    fn the_next_minor_is_one_up() {
        let minor: Minor = "3.4".parse().unwrap();
        assert_eq!(minor.next().to_string(), "3.5");
        assert!("3".parse::<Minor>().is_err());
        assert!("3.4.1".parse::<Minor>().is_err());
    }
}
