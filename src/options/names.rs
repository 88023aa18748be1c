//! Names and addresses for certificates. An authority may sign anything; a name that no client can ask for helps nobody.

use std::net::IpAddr;

/// Whether a client can ask for it: an IP address, or a host name whose first label may be a wildcard.
pub(super) fn can_be_certified(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host_name(text)
}

/// Labels of letters, digits, hyphens and underscores.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len())
            && label.chars().all(usual)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_from_everything_else() {
        for good in ["etcd.example.com", "*.example.com", "a_b", "10.0.0.1", "fd00::1"] {
            assert!(can_be_certified(good), "{good}");
        }
        for bad in ["a b", "-a", "a..b", "https://a", "a*", "10.0.0.1:2379", "ä", "", "*."] {
            assert!(!can_be_certified(bad), "{bad}");
        }
    }
}
