//! The charm as a library; `src/main.rs` is the program `dispatch`, which Juju runs for every hook and action.
//!
//! # A tour
//!
//! A run begins with what Juju says in its environment ([`juju::Context`]), which becomes an [`event::Event`]. An action goes to
//! [`actions`], one file each. Any other event goes to [`reconcile::run`], the one way through the charm:
//!
//! 1. [`checkup`]: if this is the regular check and all is well as it was, that is all.
//! 2. [`observe`] asks Juju (once a run), this machine and etcd, and fills a [`world::World`]: plain data, in which what cannot
//!    be read is unknown with its cause, never absent. [`options`] has the operator's options, checked.
//! 3. [`decide::next`] looks at that world alone and says what comes next: a [`step::Step`], a wait, or a status and no more. It
//!    does no I/O, so that tests ask it about any world. Read its runbook first, then the rule that you are after.
//! 4. [`act`] performs that one step. Then all is observed anew, until nothing is left to do or the run's bounds are reached.
//! 5. [`publish`] writes what differs into databags, ports and status.
//!
//! A run may die anywhere. The next one goes on from what it sees, and from a few marks for what no look can tell: [`moving`],
//! [`restoring`], [`recovering`], [`healed`], [`state`].
//!
//! The outside is reached through four ports, which know nothing of the charm or of each other: [`juju`] (hook tools), [`host`]
//! (snap, systemd, files), [`mod@etcd`] (its API, its file, its log) and [`tls`] (certificates). What goes over each relation is
//! in [`relations`], as types. Programs are started by [`process`] and nowhere else; time is told by [`clock`].
//!
//! [`release`], [`storage`], [`backup`], `issuing`, [`archive`], [`json`] and [`yaml`] are what the name says.
//!
//! ARCHITECTURE.md has the invariants, what is remembered where, and which module may use which; CONTRIBUTING.md the way to
//! change something.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "clippy looks at what is shipped without the tests")
)]

pub mod act;
pub mod actions;
pub mod archive;
pub mod backup;
pub mod checkup;
pub mod clock;
pub mod decide;
pub mod etcd;
pub mod event;
pub mod healed;
pub mod host;
mod issuing;
pub mod json;
pub mod juju;
pub mod moving;
pub mod observe;
pub mod options;
pub mod process;
pub mod publish;
pub mod reconcile;
pub mod recovering;
pub mod relations;
pub mod release;
pub mod remembered;
pub mod restoring;
pub mod rollout;
pub mod state;
pub mod step;
pub mod storage;
pub mod tls;
pub mod world;
pub mod yaml;
