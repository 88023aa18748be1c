//! The charm's own certificate authority: a key and certificate in memory that sign what they are told to.
//!
//! It takes nothing but the public key from a request: names and usages are the caller's to decide.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::certificate::{PemError, key_matches};
use super::request::{RequestError, params};

/// From when to when, Unix time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second. A little in the past bears with clocks that differ.
    pub not_before_s: i64,
    /// Last second.
    pub not_after_s: i64,
}

/// An authority that cannot work, or a request it cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Certificate and key of the authority.
    #[error("cannot use the authority's certificate and key")]
    Pair(#[source] PemError),
    /// The names.
    #[error("cannot put these names into a certificate")]
    Names(#[source] RequestError),
    /// The times are in no calendar.
    #[error("cannot use {0} as a time")]
    Time(i64),
    /// The request is not a request, or is not signed with its own key.
    #[error("cannot read the signing request")]
    Request(#[source] rcgen::Error),
    /// The signature.
    #[error("cannot sign")]
    Sign(#[source] rcgen::Error),
}

/// A certificate authority. Whoever has its key can make members and clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// Its key, PKCS#8 PEM.
    pub key_pem: String,
}

impl fmt::Debug for Authority {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = &self.certificate_pem;
        f.debug_struct("Authority")
            .field("certificate_pem", certificate)
            .field("key_pem", &"(not shown)")
            .finish()
    }
}

impl Authority {
    /// A new authority, ECDSA P-256, that may sign leaves only.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn create(common_name: &str, validity: Validity) -> Result<Authority, AuthorityError> {
        let mut params = params(common_name, &[]).map_err(AuthorityError::Names)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        limit(&mut params, validity, key.der_bytes())?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Ok(Authority { certificate_pem: unix(&certificate.pem()), key_pem: key.serialize_pem() })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// [`AuthorityError::Pair`] when the two do not belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Authority, AuthorityError> {
        key_matches(certificate_pem, key_pem).map_err(AuthorityError::Pair)?;
        Ok(Authority { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned() })
    }

    /// A certificate for a member: it serves under `sans` and dials other members.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn sign_member(
        &self,
        csr_pem: &str,
        common_name: &str,
        sans: &[String],
        validity: Validity,
    ) -> Result<String, AuthorityError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(csr_pem, common_name, sans, usages, validity)
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn sign_client(
        &self,
        csr_pem: &str,
        common_name: &str,
        validity: Validity,
    ) -> Result<String, AuthorityError> {
        self.sign(csr_pem, common_name, &[], vec![ExtendedKeyUsagePurpose::ClientAuth], validity)
    }

    fn sign(
        &self,
        csr_pem: &str,
        common_name: &str,
        sans: &[String],
        usages: Vec<ExtendedKeyUsagePurpose>,
        validity: Validity,
    ) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(AuthorityError::Request)?;
        let mut params = params(common_name, sans).map_err(AuthorityError::Names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, validity, request.public_key.der_bytes())?;
        let key = KeyPair::from_pem(&self.key_pem).map_err(AuthorityError::Sign)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, key).map_err(AuthorityError::Sign)?;
        let certificate = params.signed_by(&request.public_key, &issuer).map_err(AuthorityError::Sign)?;
        Ok(unix(&certificate.pem()))
    }
}

/// Times, and a serial number that differs whenever anything does: the library's own is the same for every
/// certificate of one key.
fn limit(
    params: &mut CertificateParams,
    validity: Validity,
    public_key: &[u8],
) -> Result<(), AuthorityError> {
    let time = |at: i64| OffsetDateTime::from_unix_timestamp(at).map_err(|_| AuthorityError::Time(at));
    params.not_before = time(validity.not_before_s)?;
    params.not_after = time(validity.not_after_s)?;
    let content = format!(
        "{:?}{:?}{:?}",
        params.distinguished_name, params.subject_alt_names, params.extended_key_usages
    );
    let hash = Sha256::new()
        .chain_update(public_key)
        .chain_update(content)
        .chain_update(validity.not_before_s.to_be_bytes())
        .chain_update(validity.not_after_s.to_be_bytes())
        .finalize();
    // At most 20 bytes, positive.
    let mut serial = hash[..20].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    Ok(())
}

fn unix(pem: &str) -> String {
    pem.replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::super::{Certificate, Request, why_not_usable};
    use super::*;

    const VALIDITY: Validity = Validity { not_before_s: 2_000_000_000, not_after_s: 2_000_086_400 };

    fn authority() -> Authority {
        Authority::create("etcd", VALIDITY).unwrap()
    }

    #[test]
    fn what_it_signs_can_be_used() {
        let made = authority();
        let authority = Authority::from_pem(&made.certificate_pem, &made.key_pem).unwrap();
        let sans = ["10.0.0.1".to_owned(), "etcd-0".to_owned()];
        let request = Request::new("etcd/0", &sans).unwrap();
        let member = authority.sign_member(&request.csr_pem, "etcd/0", &sans, VALIDITY).unwrap();
        let now_s = VALIDITY.not_before_s.unsigned_abs() + 1;
        assert_eq!(why_not_usable(&member, &request.key_pem, &authority.certificate_pem, &sans, now_s), None);
        let client = authority.sign_client(&request.csr_pem, "client", VALIDITY).unwrap();
        assert_eq!(why_not_usable(&client, &request.key_pem, &authority.certificate_pem, &[], now_s), None);
        let certificate = &Certificate::parse_chain(&client).unwrap()[0];
        assert!(certificate.for_clients && !certificate.for_servers && !certificate.is_ca);
        assert_eq!(certificate.common_name.as_deref(), Some("client"));
    }

    #[test]
    fn names_in_a_request_count_for_nothing() {
        let request = Request::new("etcd/0", &["other.example".to_owned()]).unwrap();
        let signed =
            authority().sign_member(&request.csr_pem, "etcd/1", &["etcd-1".to_owned()], VALIDITY).unwrap();
        let certificate = &Certificate::parse_chain(&signed).unwrap()[0];
        assert_eq!(certificate.dns_names, ["etcd-1"]);
        assert_eq!(certificate.common_name.as_deref(), Some("etcd/1"));
    }

    #[test]
    fn it_says_that_it_is_one() {
        let authority = authority();
        let certificate = &Certificate::parse_chain(&authority.certificate_pem).unwrap()[0];
        assert!(certificate.is_ca);
        assert_eq!((certificate.not_before_s, certificate.not_after_s), (2_000_000_000, 2_000_086_400));
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, other) = (authority(), authority());
        assert!(matches!(
            Authority::from_pem(&one.certificate_pem, &other.key_pem),
            Err(AuthorityError::Pair(_))
        ));
        assert!(matches!(one.sign_client("nonsense", "client", VALIDITY), Err(AuthorityError::Request(_))));
        let never = Validity { not_before_s: i64::MAX, ..VALIDITY };
        assert!(matches!(Authority::create("etcd", never), Err(AuthorityError::Time(_))));
    }
}
