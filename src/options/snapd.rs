//! What snapd is to be told: when it looks for updates, and by which proxies.

use super::OptionError;
use crate::host::RefreshTimer;

/// The `snapd_refresh` option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapdRefresh {
    /// As snapd does by itself.
    Default,
    /// Once a month, each unit on a day of its own.
    Monthly,
    /// At these times, which the units share.
    Timer(RefreshTimer),
}

pub(super) fn refresh(text: &str) -> Result<SnapdRefresh, OptionError> {
    match text {
        "" => Ok(SnapdRefresh::Default),
        "max" => Ok(SnapdRefresh::Monthly),
        _ => RefreshTimer::parse(text).map(SnapdRefresh::Timer).ok_or_else(|| OptionError {
            option: "snapd_refresh",
            problem: format!("{text:?}; accepted: max, empty, or a snapd timer such as sun5,23:00-01:00"),
        }),
    }
}

/// A proxy's address. snapd shows it to every program of the machine, so there is no password in it.
pub(super) fn proxy(option: &'static str, text: &str) -> Result<Option<String>, OptionError> {
    if text.is_empty() {
        return Ok(None);
    }
    if is_plain_url(text) {
        return Ok(Some(text.trim_end_matches('/').to_owned()));
    }
    Err(OptionError {
        option,
        problem:
            "not the address of a proxy; accepted: http://HOST:PORT or https://HOST:PORT, without a password"
                .to_owned(),
    })
}

/// `http://HOST` or `https://HOST`, a port perhaps, and nothing else.
pub fn is_plain_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_ipv6 = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let fits = !host.is_empty() && (is_ipv6 || host.chars().all(usual));
    fits && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port() {
        for good in
            ["http://10.0.0.9:3128", "https://proxy.example.com", "http://proxy/", "http://[fd00::1]:3128"]
        {
            assert!(is_plain_url(good), "{good}");
        }
        for bad in [
            "10.0.0.9:3128",
            "http://",
            "http://a:b@c:1",
            "http://a:0",
            "http://a/b",
            "ftp://a",
            "http://a b",
        ] {
            assert!(!is_plain_url(bad), "{bad}");
        }
    }
}
