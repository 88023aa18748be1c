//! Stand-ins for the programs of an Ubuntu machine that a light machine does not have: the service manager with
//! `systemctl` and `journalctl`, and `snap`. Invariant: they are reached by their real names and speak as the real ones do, so
//! nothing that calls them can tell.

mod fstab;
pub mod init;
mod journal;
pub mod journalctl;
mod output;
mod service;
pub mod snap;
pub mod systemctl;
mod units;
