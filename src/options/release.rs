//! `bin-source` and `source-sum`: which upstream release to run instead of the snap. Nothing is trusted without a sum.

use std::fmt;
use std::path::PathBuf;

use super::OptionError;

/// A release tarball, and how to recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRelease {
    /// Where it is.
    pub source: ReleaseSource,
    /// What it must be.
    pub sum: Checksum,
}

/// Where a release tarball is.
#[derive(Clone, PartialEq, Eq)]
pub enum ReleaseSource {
    /// `http://…` or `https://…`; may hold a user's password.
    Url(String),
    /// Absolute path on the unit.
    File(PathBuf),
}

/// A checksum, lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// 64 digits.
    Sha256(String),
    /// 40 digits.
    Sha1(String),
}

impl Checksum {
    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Checksum::Sha256(digits) | Checksum::Sha1(digits) => digits,
        }
    }

    fn parse(text: &str) -> Option<Checksum> {
        let digits = text.to_ascii_lowercase();
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.len() {
            64 if hexadecimal => Some(Checksum::Sha256(digits)),
            40 if hexadecimal => Some(Checksum::Sha1(digits)),
            _ => None,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(digits) => write!(f, "SHA-256 {digits}"),
            Checksum::Sha1(digits) => write!(f, "SHA-1 {digits}"),
        }
    }
}

impl fmt::Display for ReleaseSource {
    /// Without a user's name and password: this is for logs and statuses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseSource::File(path) => write!(f, "{}", path.display()),
            ReleaseSource::Url(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                let path = path.split(['?', '#']).next().unwrap_or_default();
                write!(f, "{scheme}://{host}{path}")
            }
        }
    }
}

impl fmt::Debug for ReleaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseSource({self})")
    }
}

/// Both options together: neither works alone.
pub(super) fn read(source: &str, sum: &str) -> Result<Option<WantedRelease>, OptionError> {
    let wrong = |option, problem: String| Err(OptionError { option, problem });
    const SUMS: &str = "the file's SHA-256 (64 hexadecimal digits) or SHA-1 (40)";
    match (source.is_empty(), sum.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => {
            return wrong(
                "bin-source",
                "needed with source-sum; accepted: the URL or path of a tarball".into(),
            );
        }
        (false, true) => return wrong("source-sum", format!("needed with bin-source; accepted: {SUMS}")),
        (false, false) => {}
    }
    let Some(source) = location(source) else {
        return wrong(
            "bin-source",
            "not an address of a tarball; accepted: http://…, https://…, file:///… or an absolute path"
                .into(),
        );
    };
    match Checksum::parse(sum) {
        Some(sum) => Ok(Some(WantedRelease { source, sum })),
        None => wrong("source-sum", format!("{sum:?}; accepted: {SUMS}")),
    }
}

fn location(text: &str) -> Option<ReleaseSource> {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    let after =
        |scheme| text.strip_prefix(scheme).filter(|rest: &&str| !rest.starts_with('/') && !rest.is_empty());
    if plain && (after("http://").is_some() || after("https://").is_some()) {
        return Some(ReleaseSource::Url(text.to_owned()));
    }
    path.starts_with('/').then(|| ReleaseSource::File(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

    #[test]
    fn every_form_of_address_and_sum_is_read() {
        let read = |source: &str, sum: &str| read(source, sum).unwrap().unwrap();
        let file = ReleaseSource::File("/srv/etcd.tar.gz".into());
        for text in ["/srv/etcd.tar.gz", "file:/srv/etcd.tar.gz", "file:///srv/etcd.tar.gz"] {
            assert_eq!(read(text, SUM).source, file, "{text}");
        }
        let url = "https://host/etcd-v3.5.16-linux-amd64.tar.gz";
        assert_eq!(read(url, SUM).source, ReleaseSource::Url(url.into()));
        assert_eq!(read(url, SUM).sum, Checksum::Sha256(SUM.to_lowercase()));
        assert_eq!(read(url, &SUM[..40]).sum, Checksum::Sha1(SUM[..40].to_lowercase()));
        assert_eq!(super::read("", ""), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_told_by_option() {
        let refused = |source: &str, sum: &str| read(source, sum).unwrap_err().to_string();
        assert!(refused("/x", "").starts_with("source-sum: needed with bin-source; accepted: "));
        assert!(refused("", SUM).starts_with("bin-source: needed with source-sum; accepted: "));
        for source in ["etcd.tar.gz", "ftp://x/y", "http://", "https:///x", "http://a b/", "file:x"] {
            assert!(
                refused(source, SUM).starts_with("bin-source: not an address of a tarball; "),
                "{source}"
            );
        }
        for sum in ["abc", &SUM[..63], &format!("{}g", &SUM[..63])] {
            assert!(refused("/x", sum).starts_with("source-sum: "), "{sum}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let source = ReleaseSource::Url("https://user:secret@host:8443/a/b.tgz?token=secret".into());
        assert_eq!(source.to_string(), "https://host:8443/a/b.tgz");
        assert!(!format!("{source:?}").contains("secret"));
    }
}
