//! A certificate with what leads from it to its authority, in the order that TLS wants: leaf first, each one followed by
//! the one that signed it.

use super::certificate::{Certificate, PemError};

/// The leaf in `certificate_pem` and, of everything else there and in `others_pem`, what leads upwards from it, in
/// order. Authorities that signed themselves are left out: whoever trusts them has them.
///
/// # Errors
/// [`PemError`] when a text is no certificate.
pub fn in_order(certificate_pem: &str, others_pem: &[String]) -> Result<String, PemError> {
    let mut rest = Certificate::parse_chain(certificate_pem)?;
    let mut ordered = vec![rest.remove(0)];
    for pem in others_pem {
        rest.extend(Certificate::parse_chain(pem)?);
    }
    rest.retain(|certificate| certificate.subject != certificate.issuer);
    while let Some(next) = ordered.last().and_then(|last| {
        let signed = |one: &Certificate| one.subject == last.issuer && !ordered.contains(one);
        rest.iter().find(|one| signed(one)).cloned()
    }) {
        ordered.push(next);
    }
    Ok(ordered.iter().map(Certificate::to_pem).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A certificate with this name, signed by `issuer` or by itself.
    fn made(name: &str, issuer: Option<&Issuer<'static, KeyPair>>) -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        (certificate.unwrap().pem().replace("\r\n", "\n"), Issuer::new(params, key))
    }

    #[test]
    fn the_leaf_comes_first_and_the_root_not_at_all() {
        let (root_pem, root) = made("root", None);
        let (upper_pem, upper) = made("upper", Some(&root));
        let (lower_pem, lower) = made("lower", Some(&upper));
        let (leaf_pem, _) = made("leaf", Some(&lower));
        let wanted = [leaf_pem.clone(), lower_pem.clone(), upper_pem.clone()].concat();
        let others = [root_pem.clone(), upper_pem.clone(), lower_pem.clone(), leaf_pem.clone()];
        assert_eq!(in_order(&leaf_pem, &others).unwrap(), wanted, "the other way round");
        let bundle = [leaf_pem.clone(), upper_pem, root_pem, lower_pem].concat();
        assert_eq!(in_order(&bundle, &[]).unwrap(), wanted, "all in one text");
        let (foreign, _) = made("foreign", Some(&root));
        assert_eq!(in_order(&leaf_pem, &[foreign]).unwrap(), leaf_pem, "it leads nowhere");
        assert!(in_order(&leaf_pem, &["nonsense".to_owned()]).is_err());
        assert!(in_order("", &[]).is_err());
    }
}
