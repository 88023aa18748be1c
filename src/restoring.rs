//! Taking a database from outside into use: what may be taken ([`archive`]), a backup of the v2 store ([`v2`]), how the data of a member is exchanged
//! for it ([`swap`]), and the journal that tells a later run how far an exchange that was cut off has come.
//!
//! The data of before is renamed, never deleted, and whatever happens the member's directory holds one of the two.

pub mod archive;
mod bounded;
mod journal;
pub mod swap;
pub mod v2;

pub use journal::{Journal, Phase};
