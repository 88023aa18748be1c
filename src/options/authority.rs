//! The `certificate_authority` option.

use super::OptionError;

/// Who signs the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateAuthority {
    /// The application behind the `certificates` endpoint.
    Relation,
    /// The application's own.
    Internal,
}

pub(super) fn read(text: &str) -> Result<CertificateAuthority, OptionError> {
    match text {
        "" | "relation" => Ok(CertificateAuthority::Relation),
        "internal" => Ok(CertificateAuthority::Internal),
        _ => Err(OptionError {
            option: "certificate_authority",
            problem: format!("{text:?}; accepted: relation, internal"),
        }),
    }
}
