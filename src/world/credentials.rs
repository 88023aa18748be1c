//! The files that etcd and its clients live on.

use std::fmt;

/// The five files etcd and its clients live on, PEM, each ending with a newline.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Trusted authorities.
    pub ca: String,
    /// Server and peer certificate, chain behind it.
    pub server_certificate: String,
    /// Its key.
    pub server_key: String,
    /// Client certificate.
    pub client_certificate: String,
    /// Its key.
    pub client_key: String,
}

impl From<&Credentials> for crate::etcd::Credentials {
    /// What this charm's own client needs of them.
    fn from(pem: &Credentials) -> crate::etcd::Credentials {
        crate::etcd::Credentials {
            ca_pem: pem.ca.clone().into_bytes(),
            cert_pem: pem.client_certificate.clone().into_bytes(),
            key_pem: pem.client_key.clone().into_bytes(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
