//! The only place that asks what time it is. How long something takes is measured where it happens.

use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

/// Date and time.
#[expect(clippy::disallowed_methods, reason = "the one place that asks for it")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn now_s() -> u64 {
    u64::try_from(now().unix_timestamp()).unwrap_or_default()
}

/// The clock that nobody sets, by which systemd tells when it did something; in µs.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec / 1000));
    seconds.unwrap_or_default().saturating_mul(1_000_000).saturating_add(rest.unwrap_or_default())
}
