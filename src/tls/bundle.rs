//! Sets of trusted authorities. No certificate is in a bundle twice, and equal operations give equal text: what was
//! there first stays first.

use super::certificate::{Certificate, PemError};

/// Trusted authorities in a stable order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    certificates: Vec<Certificate>,
}

impl Bundle {
    /// From PEM text; whatever stands between the certificates is dropped.
    ///
    /// # Errors
    /// [`PemError`], also when there is no certificate.
    pub fn parse(pem: &str) -> Result<Bundle, PemError> {
        Ok(Bundle::default().and(Certificate::parse_chain(pem)?))
    }

    /// This bundle, then what only `other` has.
    #[must_use]
    pub fn union(&self, other: &Bundle) -> Bundle {
        self.clone().and(other.certificates.iter().cloned())
    }

    /// The same in the order of the fingerprints, which is the same for everyone.
    #[must_use]
    pub fn sorted(mut self) -> Bundle {
        self.certificates.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        self
    }

    /// What `other` does not have.
    #[must_use]
    pub fn without(&self, other: &Bundle) -> Bundle {
        let kept = self.certificates.iter().filter(|certificate| !other.contains(certificate));
        Bundle { certificates: kept.cloned().collect() }
    }

    /// By the certificate itself, not by its name.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.certificates.iter().any(|own| own.fingerprint == certificate.fingerprint)
    }

    /// Whether every certificate of `other` is in this one.
    pub fn contains_all(&self, other: &Bundle) -> bool {
        other.certificates.iter().all(|certificate| self.contains(certificate))
    }

    /// The authorities.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// As PEM, ending with a newline; empty text for an empty bundle.
    pub fn to_pem(&self) -> String {
        self.certificates.iter().map(Certificate::to_pem).collect()
    }

    fn and(mut self, more: impl IntoIterator<Item = Certificate>) -> Bundle {
        for certificate in more {
            if !self.contains(&certificate) {
                self.certificates.push(certificate);
            }
        }
        self
    }
}

impl FromIterator<Certificate> for Bundle {
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Bundle {
        Bundle::default().and(certificates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = include_str!("fixtures/rsa.crt");
    const TWO: &str = include_str!("fixtures/ecdsa.crt");
    const THREE: &str = include_str!("fixtures/ed25519.crt");

    fn bundle(parts: &[&str]) -> Bundle {
        Bundle::parse(&parts.concat()).unwrap()
    }

    #[test]
    fn a_union_keeps_the_first_order_and_no_doubles() {
        let both = bundle(&[TWO, ONE]).union(&bundle(&[ONE, THREE]));
        assert_eq!(both, bundle(&[TWO, ONE, THREE]));
        assert_eq!(both.union(&both), both);
        assert_eq!(bundle(&[ONE, ONE]).certificates().len(), 1);
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let rest = bundle(&[ONE, TWO, THREE]).without(&bundle(&[TWO]));
        assert_eq!(rest, bundle(&[ONE, THREE]));
        assert!(!rest.contains(&bundle(&[TWO]).certificates()[0]));
        assert!(rest.contains_all(&bundle(&[THREE])) && !rest.contains_all(&bundle(&[TWO, THREE])));
        assert_eq!(rest.without(&rest).to_pem(), "");
    }

    #[test]
    fn the_text_is_canonical() {
        let untidy = format!("# a comment\n{}\n\n{}", ONE.replace('\n', "\r\n"), TWO.trim_end());
        let pem = Bundle::parse(&untidy).unwrap().to_pem();
        assert_eq!(pem, [ONE, TWO].concat());
        assert!(pem.ends_with("-----\n"));
        assert!(Bundle::parse("").is_err());
    }
}
