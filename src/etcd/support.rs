//! What speaks against running a version of etcd for long. Source: etcd's changelogs and release announcements.

use super::Version;

/// The first patches without the holes that every earlier one of their minor versions has.
const MENDED: [Version; 2] =
    [Version { major: 3, minor: 5, patch: 33 }, Version { major: 3, minor: 6, patch: 14 }];

/// The reason, and what to move to; `None` where nothing is known.
pub fn concern(version: &Version) -> Option<String> {
    if (version.major, version.minor) < (3, 4) {
        return Some(format!("etcd {version}: upstream has ended its support; move to a later one"));
    }
    if (version.major, version.minor) == (3, 4) {
        return Some(format!(
            "etcd {version}: upstream's support of 3.4 ended on 2026-06-01; move to 3.5, then on"
        ));
    }
    let mended = MENDED.iter().find(|mended| mended.minor_version() == version.minor_version())?;
    (version < mended).then(|| {
        format!(
            "etcd {version}: before {mended} a watch passes over permissions and TLS handshakes have no time limit; move to {mended} or later"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_mends_no_more_is_named_with_its_date() {
        let told = |version: &str| concern(&version.parse().unwrap()).unwrap_or_default();
        assert!(told("3.4.45").contains("on 2026-06-01"));
        assert!(told("3.3.27").contains("upstream has ended"));
        assert!(told("3.5.16").contains("move to 3.5.33 or later"));
        assert!(told("3.6.4").contains("move to 3.6.14 or later"));
        for version in ["3.5.33", "3.6.16", "3.7.0", "4.0.0"] {
            assert_eq!(told(version), "", "{version}");
        }
    }
}
