//! What the certificates on this machine stand for, and until when.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::tls::{Bundle, Certificate};

const DAY_S: i64 = 86_400;

/// What the certificates on this machine stand for, as far as they can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The authorities in the file that etcd trusts, in the order of their fingerprints.
    pub trusted: Bundle,
    /// Those of them that signed the server's and the client's certificate.
    pub issuers: Bundle,
    /// Where the server may be, by its certificate.
    pub addresses: BTreeSet<IpAddr>,
    /// When the first of the two certificates ends, Unix time in seconds.
    pub not_after_s: u64,
    /// When the first of the two begins the last third of its life, Unix time in seconds.
    pub due_s: u64,
}

impl Standing {
    /// From PEM: the trusted authorities, and the leaves (their chains behind them), the server's first; `None` when
    /// something is no certificate.
    pub fn read(authorities: &str, leaves: &[&str]) -> Option<Standing> {
        let trusted = Bundle::parse(authorities).ok()?.sorted();
        let first = |pem: &&str| Certificate::parse_chain(pem).ok()?.into_iter().next();
        let own = leaves.iter().map(first).collect::<Option<Vec<_>>>()?;
        let issuers = leaves.iter().map(|leaf| crate::tls::issuers(leaf, &trusted));
        let earliest = |time: fn(&Certificate) -> i64| {
            own.iter().map(time).min().and_then(|time_s| u64::try_from(time_s).ok()).unwrap_or(0)
        };
        Some(Standing {
            issuers: issuers.fold(Bundle::default(), |all, more| all.union(&more)).sorted(),
            addresses: own
                .first()
                .map(|server| server.addresses.iter().copied().collect())
                .unwrap_or_default(),
            not_after_s: earliest(|certificate| certificate.not_after_s),
            due_s: earliest(Certificate::due_s),
            trusted,
        })
    }

    /// Whether a certificate is well into the last third of its life: one that is renewed never comes so far.
    pub fn is_late(&self, now_s: u64) -> bool {
        now_s >= self.due_s.midpoint(self.not_after_s)
    }

    /// Whole days until the first certificate or authority in use ends; negative when that is over.
    pub fn days_left(&self, now_s: u64) -> i64 {
        days(seconds(self.not_after_s), now_s).min(self.days_left_of_authorities(now_s))
    }

    /// The same of the authorities alone.
    pub fn days_left_of_authorities(&self, now_s: u64) -> i64 {
        let ends = self.issuers.certificates().iter().map(|authority| authority.not_after_s);
        days(ends.min().unwrap_or(i64::MAX), now_s)
    }
}

fn seconds(time_s: u64) -> i64 {
    i64::try_from(time_s).unwrap_or(i64::MAX)
}

/// Whole days from now until then; negative when that is over.
fn days(end_s: i64, now_s: u64) -> i64 {
    end_s.saturating_sub(seconds(now_s)).div_euclid(DAY_S)
}
