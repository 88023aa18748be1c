//! Machines as they are: booted with root's rights on this host, and nothing left of them afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends so"
)]

mod life;
mod services;
mod snaps;
mod support;
