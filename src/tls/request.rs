//! Keys that never leave their machine, and signing requests for them.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::certificate::address;

/// X.520 allows a common name so many characters.
const COMMON_NAME_CHARACTERS: usize = 64;

/// A request that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The common name is empty or too long.
    #[error("cannot use {0:?} as a common name; accepted: 1 to 64 characters")]
    CommonName(String),
    /// A name is no DNS name, or the key cannot be used.
    #[error("cannot make the signing request")]
    Make(#[source] rcgen::Error),
}

/// A key and the request for a certificate for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// PKCS#8 PEM, ECDSA P-256.
    pub key_pem: String,
    /// PKCS#10 PEM. Making it again gives other text: signatures are random.
    pub csr_pem: String,
}

impl fmt::Debug for Request {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("key_pem", &"(not shown)").field("csr_pem", &self.csr_pem).finish()
    }
}

impl Request {
    /// A new key, and a request for these names and addresses.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn new(common_name: &str, sans: &[String]) -> Result<Request, RequestError> {
        make(&KeyPair::generate().map_err(RequestError::Make)?, common_name, sans)
    }

    /// Whether this request, once made, still asks for exactly these names in any order.
    pub fn asks_for(&self, common_name: &str, sans: &[String]) -> bool {
        let Some(mut asked) = asked(&self.csr_pem) else { return false };
        let mut wanted: Vec<String> = sans.iter().map(|name| normal(name)).collect();
        for names in [&mut asked.sans, &mut wanted] {
            names.sort();
            names.dedup();
        }
        asked.common_name == common_name && asked.sans == wanted
    }
}

fn make(key: &KeyPair, common_name: &str, sans: &[String]) -> Result<Request, RequestError> {
    let params = params(common_name, sans)?;
    let csr = params.serialize_request(key).and_then(|csr| csr.pem()).map_err(RequestError::Make)?;
    Ok(Request { key_pem: key.serialize_pem(), csr_pem: csr.replace("\r\n", "\n") })
}

/// What requests and certificates have in common: the names.
pub(super) fn params(common_name: &str, sans: &[String]) -> Result<CertificateParams, RequestError> {
    if !(1..=COMMON_NAME_CHARACTERS).contains(&common_name.chars().count()) {
        return Err(RequestError::CommonName(common_name.to_owned()));
    }
    let mut params = CertificateParams::new(sans.to_vec()).map_err(RequestError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// What a signing request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The subject's common name.
    pub common_name: String,
    /// Names and addresses.
    pub sans: Vec<String>,
    /// The subject's public key information, DER.
    pub public_key: Vec<u8>,
}

/// Reads a request (PKCS#10 PEM); `None` when it is none.
pub fn asked(csr_pem: &str) -> Option<Asked> {
    let der = pem::parse(csr_pem).ok()?.into_contents();
    let (_, csr) = X509CertificationRequest::from_der(&der).ok()?;
    let info = &csr.certification_request_info;
    let common_name = info.subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let alternative =
        csr.requested_extensions().into_iter().flatten().find_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(names),
            _ => None,
        });
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(dns) => Some(normal(dns)),
        other => address(other).map(|address| address.to_string()),
    };
    Some(Asked {
        common_name,
        sans: alternative
            .map(|names| names.general_names.iter().filter_map(text).collect())
            .unwrap_or_default(),
        public_key: info.subject_pki.raw.to_vec(),
    })
}

/// One form for each name and address.
fn normal(name: &str) -> String {
    name.parse::<std::net::IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sans(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_request_asks_for_what_was_given() {
        let names = sans(&["10.0.0.1", "fd00::1", "etcd-0"]);
        let request = Request::new("etcd/0", &names).unwrap();
        assert!(request.csr_pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
        assert!(request.asks_for("etcd/0", &sans(&["ETCD-0", "fd00:0::1", "10.0.0.1", "10.0.0.1"])));
        assert!(!request.asks_for("etcd/1", &names));
        assert!(!request.asks_for("etcd/0", &names[..2]));
        assert!(Request::new("client", &[]).unwrap().asks_for("client", &[]));
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        assert!(matches!(Request::new("", &[]), Err(RequestError::CommonName(_))));
        assert!(matches!(Request::new(&"x".repeat(65), &[]), Err(RequestError::CommonName(_))));
        assert!(matches!(Request::new("a", &sans(&["ümlaut"])), Err(RequestError::Make(_))));
    }

    #[test]
    fn a_key_is_never_shown() {
        let request = Request::new("etcd/0", &[]).unwrap();
        assert!(!format!("{request:?}").contains("PRIVATE"));
    }
}
