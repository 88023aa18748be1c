//! The port to TLS material: certificates, keys, bundles, requests and the charm's own authority, all as PEM text.
//!
//! It knows nothing of Juju nor of the charm, and touches neither files nor the clock: times are handed in.

mod authority;
mod bundle;
mod certificate;
mod chain;
mod request;
mod usable;

pub use authority::{Authority, AuthorityError, Validity};
pub use bundle::Bundle;
pub use certificate::{Certificate, PemError, key_matches};
pub use chain::in_order;
pub use request::{Asked, Request, RequestError, asked};
pub use usable::{Reason, issuers, why_not_usable};
