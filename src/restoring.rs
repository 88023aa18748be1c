//! Taking a database from outside into use: what may be taken ([`archive`]), how the data of a member is exchanged
//! for it ([`swap`]), and the journal that tells a later run how far an exchange that was cut off has come.
//!
//! The data of before is renamed, never deleted, and whatever happens the member's directory holds one of the two.

pub mod archive;
mod journal;
pub mod swap;

pub use journal::{Journal, Phase};
