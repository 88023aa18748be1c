//! Certificates as they are, parsed once. A [`Certificate`] always comes from valid DER, so what it says can be relied
//! on; whether to trust it is another question.

use std::net::IpAddr;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No certificate in it.
    #[error("cannot find a PEM certificate in it")]
    NoCertificate,
    /// Broken PEM, or no X.509 inside.
    #[error("cannot read the certificate: {0}")]
    BadCertificate(String),
    /// No usable private key in it; encrypted keys are none.
    #[error("cannot read the private key: {0}")]
    BadKey(String),
    /// Key and certificate belong to different pairs.
    #[error("cannot use the key: it does not belong to the certificate")]
    WrongKey,
}

/// One X.509 certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The common name, if there is one. Nothing is ever verified by it.
    pub common_name: Option<String>,
    /// The whole subject, for people.
    pub subject: String,
    /// The whole issuer, for people.
    pub issuer: String,
    /// Names it is valid for, as written; may begin with `*.`.
    pub dns_names: Vec<String>,
    /// Addresses it is valid for.
    pub addresses: Vec<IpAddr>,
    /// First second of validity, Unix time.
    pub not_before_s: i64,
    /// Last second of validity, Unix time.
    pub not_after_s: i64,
    /// A server may show it: extended key usage `serverAuth`, or none at all.
    pub for_servers: bool,
    /// A client may show it: extended key usage `clientAuth`, or none at all.
    pub for_clients: bool,
    /// It may sign others.
    pub is_ca: bool,
    /// SHA-256 over the DER, lower-case hexadecimal.
    pub fingerprint: String,
    /// The subject's public key information, DER.
    pub public_key: Vec<u8>,
    der: Vec<u8>,
}

impl Certificate {
    /// All certificates in `pem`, in its order: for a chain, the leaf first.
    ///
    /// # Errors
    /// [`PemError`], also when there is none.
    pub fn parse_chain(pem: &str) -> Result<Vec<Certificate>, PemError> {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Certificate::parse(&der.map_err(|error| PemError::BadCertificate(error.to_string()))?))
            .collect::<Result<Vec<_>, _>>()?;
        if chain.is_empty() { Err(PemError::NoCertificate) } else { Ok(chain) }
    }

    fn parse(der: &[u8]) -> Result<Certificate, PemError> {
        let bad = |cause: String| PemError::BadCertificate(cause);
        let (_, x509) = X509Certificate::from_der(der).map_err(|error| bad(error.to_string()))?;
        let usage = x509.extended_key_usage().map_err(|error| bad(error.to_string()))?;
        let alternative = x509.subject_alternative_name().map_err(|error| bad(error.to_string()))?;
        let names = alternative.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        let common_name = x509.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Certificate {
            common_name: common_name.map(str::to_owned),
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            dns_names: names.iter().filter_map(dns).collect(),
            addresses: names.iter().filter_map(address).collect(),
            not_before_s: x509.validity().not_before.timestamp(),
            not_after_s: x509.validity().not_after.timestamp(),
            for_servers: usage.as_ref().is_none_or(|usage| usage.value.server_auth),
            for_clients: usage.as_ref().is_none_or(|usage| usage.value.client_auth),
            is_ca: x509.is_ca(),
            fingerprint: Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect(),
            public_key: x509.public_key().raw.to_vec(),
            der: der.to_vec(),
        })
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As PEM, with line feeds, ending with one.
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.as_slice()), config)
    }

    /// Whether two thirds of its life are over: time to ask for the next one.
    pub fn is_due(&self, now_s: i64) -> bool {
        now_s >= self.due_s()
    }

    /// When the last third of its life begins, Unix time in seconds.
    pub fn due_s(&self) -> i64 {
        let life = self.not_after_s.saturating_sub(self.not_before_s);
        self.not_before_s.saturating_add(life / 3 * 2)
    }

    /// Whether a TLS library would accept it for this name or address.
    pub fn covers(&self, name: &str) -> bool {
        match name.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns_names.iter().any(|pattern| matches(pattern, name)),
        }
    }
}

pub(super) fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()
}

/// A star stands for exactly one label.
fn matches(pattern: &str, name: &str) -> bool {
    let wild = pattern.strip_prefix("*.").zip(name.split_once('.'));
    pattern.eq_ignore_ascii_case(name)
        || wild.is_some_and(|(suffix, (label, rest))| !label.is_empty() && suffix.eq_ignore_ascii_case(rest))
}

/// Whether the key belongs to the first certificate of the chain. RSA (PKCS#1, PKCS#8), ECDSA (SEC1, PKCS#8) and
/// Ed25519 keys are understood.
///
/// # Errors
/// [`PemError`]; [`PemError::WrongKey`] when both can be read and do not fit.
pub fn key_matches(certificate_pem: &str, key_pem: &str) -> Result<(), PemError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| PemError::BadKey(error.to_string()))?;
    let chain = Certificate::parse_chain(certificate_pem)?;
    let chain = chain.into_iter().map(|certificate| CertificateDer::from(certificate.der)).collect();
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PemError::WrongKey),
        Err(error) => Err(PemError::BadKey(error.to_string())),
    }
}

/// The cryptography behind every check here.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with openssl for these tests alone; valid for a hundred years.
    const PAIRS: [(&str, &str, &str); 5] = [
        ("RSA PKCS#1", include_str!("fixtures/rsa.crt"), include_str!("fixtures/rsa.pkcs1.key")),
        ("RSA PKCS#8", include_str!("fixtures/rsa.crt"), include_str!("fixtures/rsa.pkcs8.key")),
        ("ECDSA SEC1", include_str!("fixtures/ecdsa.crt"), include_str!("fixtures/ecdsa.sec1.key")),
        ("ECDSA PKCS#8", include_str!("fixtures/ecdsa.crt"), include_str!("fixtures/ecdsa.pkcs8.key")),
        ("Ed25519", include_str!("fixtures/ed25519.crt"), include_str!("fixtures/ed25519.key")),
    ];

    #[test]
    fn every_kind_of_key_is_matched_with_its_certificate() {
        for (kind, certificate, key) in PAIRS {
            assert_eq!(key_matches(certificate, key), Ok(()), "{kind}");
            for (other, other_certificate, _) in PAIRS.iter().filter(|(_, other, _)| *other != certificate) {
                assert_eq!(key_matches(other_certificate, key), Err(PemError::WrongKey), "{kind} {other}");
            }
        }
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let [certificate] = &Certificate::parse_chain(PAIRS[0].1).unwrap()[..] else {
            panic!("one is in it")
        };
        assert_eq!(certificate.common_name.as_deref(), Some("etcd/0"));
        assert_eq!(certificate.dns_names, ["etcd-0", "*.example.com"]);
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(certificate.addresses, addresses);
        assert!(certificate.for_servers && certificate.for_clients && !certificate.is_ca);
        assert!(certificate.not_after_s - certificate.not_before_s >= 36_500 * 86_400);
        assert_eq!(certificate.fingerprint.len(), 64);
        assert_eq!(certificate.to_pem(), PAIRS[0].1);
    }

    #[test]
    fn usages_are_told_apart_and_none_means_both() {
        let usages = |pem: &str| {
            let certificate = &Certificate::parse_chain(pem).unwrap()[0];
            (certificate.for_servers, certificate.for_clients)
        };
        assert_eq!(usages(include_str!("fixtures/ecdsa.crt")), (false, true));
        assert_eq!(usages(include_str!("fixtures/ed25519.crt")), (true, true));
    }

    #[test]
    fn names_are_covered_as_tls_sees_it() {
        let certificate = &Certificate::parse_chain(PAIRS[0].1).unwrap()[0];
        for name in ["10.0.0.1", "fd00::1", "fd00:0:0:0:0:0:0:1", "etcd-0", "ETCD-0", "a.example.com"] {
            assert!(certificate.covers(name), "{name}");
        }
        for name in ["10.0.0.2", "etcd-1", "example.com", "a.b.example.com", ".example.com", "etcd/0", ""] {
            assert!(!certificate.covers(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_or_key_is_told() {
        assert_eq!(Certificate::parse_chain(""), Err(PemError::NoCertificate));
        assert_eq!(Certificate::parse_chain(PAIRS[0].2), Err(PemError::NoCertificate));
        let cut = &PAIRS[0].1[..200];
        assert!(matches!(Certificate::parse_chain(cut), Err(PemError::BadCertificate(_))));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Certificate::parse_chain(nonsense), Err(PemError::BadCertificate(_))));
        for key in ["", "nonsense", include_str!("fixtures/encrypted.key")] {
            assert!(matches!(key_matches(PAIRS[0].1, key), Err(PemError::BadKey(_))), "{key}");
        }
    }
}
