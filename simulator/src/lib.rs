//! juju-sim, a small local Juju. The program's `main.rs` only chooses by its name and arguments which of these
//! modules does the work; tests use them directly.

pub mod agent;
pub mod api;
pub mod charm;
pub mod cli;
pub mod controller;
pub mod machine;
pub mod model;
pub mod standin;
pub mod status;
pub mod tools;
pub mod yaml;
