//! TLS cipher suites by the names that Go, and therefore etcd, gives them.
//!
//! The list limits TLS 1.2 only: TLS 1.3 has its own suites, which cannot be configured.

/// What the charm offers unless told otherwise: Mozilla's intermediate recommendation, as far as etcd can serve it.
pub const DEFAULT: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// HTTP/2 demands one of these; without it etcd 3.5 refuses to start and 3.4 crashes.
const REQUIRED: [&str; 2] =
    ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];

/// What Go knows for TLS 1.2 beside [`DEFAULT`], weak ones included: they are the operator's to choose.
const OTHERS: [&str; 14] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
];

/// Shorter names that every etcd from 3.4 on also takes.
const SHORT: [(&str, &str); 2] = [
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Why a list cannot be given to etcd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CipherSuiteError {
    /// Names that Go does not know.
    #[error("cannot use {}: not a TLS 1.2 cipher suite that Go knows; accepted: names as in {}", .0.join(", "), DEFAULT[0])]
    Unknown(Vec<String>),
    /// Nothing that HTTP/2 could use.
    #[error("cannot serve HTTP/2 without {} or {}: add one of them", REQUIRED[0], REQUIRED[1])]
    NotForHttp2,
}

/// Checks a list and puts it into the form that every version of etcd takes; the order stays.
///
/// # Errors
/// [`CipherSuiteError`], with every unknown name at once.
pub fn check_cipher_suites(wanted: &[String]) -> Result<Vec<String>, CipherSuiteError> {
    let unknown: Vec<String> = wanted.iter().filter(|name| canonical(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(CipherSuiteError::Unknown(unknown));
    }
    let mut suites: Vec<String> = Vec::new();
    for name in wanted.iter().filter_map(|name| canonical(name)) {
        if !suites.iter().any(|suite| suite == name) {
            suites.push(name.to_owned());
        }
    }
    if REQUIRED.iter().any(|required| suites.iter().any(|suite| suite == required)) {
        Ok(suites)
    } else {
        Err(CipherSuiteError::NotForHttp2)
    }
}

fn canonical(name: &str) -> Option<&'static str> {
    let full = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full);
    DEFAULT.iter().chain(&OTHERS).find(|known| **known == full).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str]) -> Result<Vec<String>, CipherSuiteError> {
        check_cipher_suites(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_default_passes_its_own_check() {
        assert_eq!(check(&DEFAULT).unwrap(), DEFAULT);
    }

    #[test]
    fn the_order_stays_and_doubles_go() {
        let wanted = [DEFAULT[3], DEFAULT[1], DEFAULT[3]];
        assert_eq!(check(&wanted).unwrap(), [DEFAULT[3], DEFAULT[1]]);
    }

    #[test]
    fn unknown_names_are_named() {
        let error =
            check(&["TLS_AES_128_GCM_SHA256", DEFAULT[0], "ECDHE-RSA-AES128-GCM-SHA256"]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot use TLS_AES_128_GCM_SHA256, ECDHE-RSA-AES128-GCM-SHA256: "),
            "{text}"
        );
    }

    #[test]
    fn a_list_that_http2_cannot_use_is_refused() {
        assert_eq!(check(&["TLS_RSA_WITH_AES_256_CBC_SHA"]), Err(CipherSuiteError::NotForHttp2));
        assert_eq!(check(&[]), Err(CipherSuiteError::NotForHttp2));
    }

    #[test]
    fn short_names_become_full_ones() {
        let suites = check(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", DEFAULT[0]]).unwrap();
        assert_eq!(suites[0], "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
    }
}
