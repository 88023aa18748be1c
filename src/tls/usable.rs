//! Whether a certificate and key can serve etcd, judged before anything relies on them. A pair that passes here is
//! accepted by etcd at start, by its members and by its clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};

use super::bundle::Bundle;
use super::certificate::{Certificate, PemError, key_matches, provider};

const DAY_S: i64 = 86_400;

/// Why a certificate cannot be used. The text goes on from "certificate: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Something is not what it should be.
    NotPem {
        /// What: the certificate, the key, the CA.
        what: &'static str,
        /// What is wrong with it.
        cause: PemError,
    },
    /// The key belongs to another certificate.
    WrongKey,
    /// Its time is over.
    Expired {
        /// Whole days since then.
        days: i64,
    },
    /// Its time has not come: one of the clocks is wrong.
    NotYetValid {
        /// Seconds until then.
        in_s: i64,
    },
    /// Names or addresses it does not cover.
    MissingSan(Vec<String>),
    /// The extended key usage forbids servers.
    NotForServers,
    /// The extended key usage forbids clients.
    NotForClients,
    /// No chain of signatures leads to the authorities.
    NotSignedByCa,
    /// It was signed by an authority whose time is over.
    AuthorityExpired {
        /// Whole days since then.
        days: i64,
    },
    /// TLS libraries refuse it for another reason, in their words.
    Refused(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotPem { what, cause } => write!(f, "its {what} is not usable PEM: {cause}"),
            Reason::WrongKey => f.write_str("its key belongs to another certificate"),
            Reason::Expired { days } => write!(f, "it expired {days} days ago"),
            Reason::NotYetValid { in_s } => {
                write!(f, "it becomes valid in {in_s} s only; check the machines' clocks")
            }
            Reason::MissingSan(names) => write!(f, "it does not cover {}", names.join(", ")),
            Reason::NotForServers => f.write_str("its extended key usage forbids servers"),
            Reason::NotForClients => {
                f.write_str("its extended key usage forbids clients, which members are to each other")
            }
            Reason::NotSignedByCa => f.write_str("it was not signed by the CA that came with it"),
            Reason::AuthorityExpired { days } => write!(f, "the CA that signed it expired {days} days ago"),
            Reason::Refused(cause) => write!(f, "TLS refuses it: {cause}"),
        }
    }
}

/// Why this certificate (chain, leaf first) and key cannot be used at `now_s` (Unix time) by those who trust
/// `ca_pem`; `None`: they can. With `wanted_sans` it must also serve under all of them; without, it is for clients
/// only. Every certificate must be good for clients: members dial each other with the one they serve with.
pub fn why_not_usable(
    certificate_pem: &str,
    key_pem: &str,
    ca_pem: &str,
    wanted_sans: &[String],
    now_s: u64,
) -> Option<Reason> {
    judge(certificate_pem, key_pem, ca_pem, wanted_sans, i64::try_from(now_s).unwrap_or(i64::MAX)).err()
}

/// Those of `authorities` that a certificate (chain, leaf first) leads to by signatures, whether or not its time is
/// over.
pub fn issuers(certificate_pem: &str, authorities: &Bundle) -> Bundle {
    let chain = Certificate::parse_chain(certificate_pem).unwrap_or_default();
    let Some((leaf, intermediates)) = chain.split_first() else { return Bundle::default() };
    let then_s = leaf.not_before_s.midpoint(leaf.not_after_s);
    let leads_to = |authority: &&Certificate| signed(leaf, intermediates, &[authority], then_s).is_ok();
    authorities.certificates().iter().filter(leads_to).cloned().collect()
}

fn judge(certificate: &str, key: &str, ca: &str, wanted_sans: &[String], now_s: i64) -> Result<(), Reason> {
    let unreadable = |what| move |cause| Reason::NotPem { what, cause };
    let chain = Certificate::parse_chain(certificate).map_err(unreadable("certificate"))?;
    let authorities = Certificate::parse_chain(ca).map_err(unreadable("CA"))?;
    key_matches(certificate, key).map_err(|cause| match cause {
        PemError::WrongKey => Reason::WrongKey,
        cause => Reason::NotPem { what: "key", cause },
    })?;
    let (leaf, intermediates) = chain.split_first().ok_or(Reason::NotSignedByCa)?;
    if now_s > leaf.not_after_s {
        return Err(Reason::Expired { days: (now_s - leaf.not_after_s) / DAY_S });
    }
    if now_s < leaf.not_before_s {
        return Err(Reason::NotYetValid { in_s: leaf.not_before_s - now_s });
    }
    if !leaf.for_clients {
        return Err(Reason::NotForClients);
    }
    if !wanted_sans.is_empty() && !leaf.for_servers {
        return Err(Reason::NotForServers);
    }
    let missing: Vec<String> = wanted_sans.iter().filter(|name| !leaf.covers(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Reason::MissingSan(missing));
    }
    trusted(leaf, intermediates, &authorities, now_s)
}

/// rustls ignores the time of an authority; Go, and so etcd, does not.
fn trusted(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    now_s: i64,
) -> Result<(), Reason> {
    let alive: Vec<&Certificate> = authorities.iter().filter(|ca| now_s <= ca.not_after_s).collect();
    let outcome = signed(leaf, intermediates, &alive, now_s);
    let expired = authorities.iter().filter(|ca| now_s > ca.not_after_s);
    for ca in expired {
        if outcome.is_err() && signed(leaf, intermediates, &[ca], now_s).is_ok() {
            return Err(Reason::AuthorityExpired { days: (now_s - ca.not_after_s) / DAY_S });
        }
    }
    outcome
}

fn signed(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[&Certificate],
    now_s: i64,
) -> Result<(), Reason> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let mut roots = RootCertStore::empty();
    // What cannot sign is no authority to Go either.
    roots.add_parsable_certificates(authorities.iter().filter(|ca| ca.is_ca).map(|ca| der(ca)));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .build()
        .map_err(|_| Reason::NotSignedByCa)?;
    let between: Vec<_> = intermediates.iter().map(der).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s.unsigned_abs()));
    match verifier.verify_client_cert(&der(leaf), &between, now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Err(Reason::NotSignedByCa),
        Err(error) => Err(Reason::Refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use time::OffsetDateTime;

    use super::*;

    const NOW_S: i64 = 2_000_000_000;
    const BOTH: [ExtendedKeyUsagePurpose; 2] =
        [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

    struct Ca {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    struct Made {
        certificate: String,
        key: String,
    }

    fn window(params: &mut CertificateParams, from_s: i64, to_s: i64) {
        params.not_before = OffsetDateTime::from_unix_timestamp(from_s).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(to_s).unwrap();
    }

    fn ca(is_ca: IsCa, to_s: i64) -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = is_ca;
        window(&mut params, NOW_S - 1000 * DAY_S, to_s);
        Ca { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn authority() -> Ca {
        ca(IsCa::Ca(BasicConstraints::Unconstrained), NOW_S + 1000 * DAY_S)
    }

    fn leaf(ca: &Ca, usages: &[ExtendedKeyUsagePurpose], from_s: i64, to_s: i64) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["10.0.0.1".to_owned(), "etcd-0".to_owned()]).unwrap();
        params.extended_key_usages = usages.to_vec();
        window(&mut params, from_s, to_s);
        Made { certificate: params.signed_by(&key, &ca.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    fn good(ca: &Ca) -> Made {
        leaf(ca, &BOTH, NOW_S - DAY_S, NOW_S + DAY_S)
    }

    fn judged(made: &Made, ca_pem: &str, sans: &[&str]) -> Option<Reason> {
        let sans: Vec<String> = sans.iter().map(|&name| name.to_owned()).collect();
        why_not_usable(&made.certificate, &made.key, ca_pem, &sans, NOW_S.unsigned_abs())
    }

    #[test]
    fn a_good_pair_is_usable() {
        let ca = authority();
        assert_eq!(judged(&good(&ca), &ca.pem, &["10.0.0.1", "etcd-0"]), None);
        let bundle = format!("{}{}", authority().pem, ca.pem);
        assert_eq!(judged(&good(&ca), &bundle, &["10.0.0.1"]), None, "one of several authorities is enough");
    }

    #[test]
    fn times_are_judged_by_the_clock_handed_in() {
        let ca = authority();
        let old = leaf(&ca, &BOTH, NOW_S - 9 * DAY_S, NOW_S - 3 * DAY_S);
        assert_eq!(judged(&old, &ca.pem, &[]), Some(Reason::Expired { days: 3 }));
        let early = leaf(&ca, &BOTH, NOW_S + 60, NOW_S + DAY_S);
        assert_eq!(judged(&early, &ca.pem, &[]), Some(Reason::NotYetValid { in_s: 60 }));
    }

    #[test]
    fn usages_and_names_are_judged() {
        let ca = authority();
        let server = leaf(&ca, &BOTH[..1], NOW_S - DAY_S, NOW_S + DAY_S);
        assert_eq!(judged(&server, &ca.pem, &["etcd-0"]), Some(Reason::NotForClients));
        let client = leaf(&ca, &BOTH[1..], NOW_S - DAY_S, NOW_S + DAY_S);
        assert_eq!(judged(&client, &ca.pem, &["etcd-0"]), Some(Reason::NotForServers));
        assert_eq!(judged(&client, &ca.pem, &[]), None, "it is a client's");
        let missing = vec!["10.0.0.2".to_owned(), "etcd-1".to_owned()];
        let wanted = ["10.0.0.2", "etcd-0", "etcd-1"];
        assert_eq!(judged(&good(&ca), &ca.pem, &wanted), Some(Reason::MissingSan(missing)));
        assert_eq!(
            judged(&leaf(&ca, &[], NOW_S - 1, NOW_S + 1), &ca.pem, &["etcd-0"]),
            None,
            "none means both"
        );
    }

    #[test]
    fn signatures_are_followed_to_a_living_authority() {
        let (ca, stranger) = (authority(), authority());
        assert_eq!(judged(&good(&stranger), &ca.pem, &[]), Some(Reason::NotSignedByCa));
        let expired = self::ca(IsCa::Ca(BasicConstraints::Unconstrained), NOW_S - 5 * DAY_S);
        let bundle = format!("{}{}", ca.pem, expired.pem);
        assert_eq!(judged(&good(&expired), &bundle, &[]), Some(Reason::AuthorityExpired { days: 5 }));
        let no_authority = self::ca(IsCa::ExplicitNoCa, NOW_S + DAY_S);
        assert_eq!(judged(&good(&no_authority), &no_authority.pem, &[]), Some(Reason::NotSignedByCa));
    }

    #[test]
    fn an_intermediate_must_come_along() {
        let root = authority();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(rcgen::DnType::CommonName, "between");
        window(&mut params, NOW_S - DAY_S, NOW_S + DAY_S);
        let pem = params.signed_by(&key, &root.issuer).unwrap().pem();
        let between = Ca { pem, issuer: Issuer::new(params, key) };
        let mut made = good(&between);
        assert_eq!(judged(&made, &root.pem, &[]), Some(Reason::NotSignedByCa));
        made.certificate.push_str(&between.pem);
        assert_eq!(judged(&made, &root.pem, &[]), None);
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        let ca = authority();
        let (one, other) = (good(&ca), good(&ca));
        let mixed = Made { certificate: one.certificate.clone(), key: other.key };
        assert_eq!(judged(&mixed, &ca.pem, &[]), Some(Reason::WrongKey));
        let text = judged(&one, "nonsense", &[]).unwrap().to_string();
        assert_eq!(text, "its CA is not usable PEM: cannot find a PEM certificate in it");
        let text =
            judged(&Made { certificate: String::new(), key: one.key }, &ca.pem, &[]).unwrap().to_string();
        assert!(text.starts_with("its certificate is not usable PEM"), "{text}");
    }
}
