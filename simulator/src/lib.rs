//! juju-sim, a small local Juju. The program's `main.rs` only chooses by its name and arguments which of these
//! modules does the work; tests use them directly.

pub mod api;
pub mod charm;
pub mod machine;
pub mod standin;
pub mod status;
pub mod yaml;
