//! The only place that reads the clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The clock that nobody sets, by which systemd tells when it did something; in µs.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec / 1000));
    seconds.unwrap_or_default().saturating_mul(1_000_000).saturating_add(rest.unwrap_or_default())
}
