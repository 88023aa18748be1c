//! Every call of an outside program that the charm makes, in every state that the thing behind it can be in: on a light machine,
//! where `systemctl`, `journalctl` and `snap` are juju-sim's own, and on a booted one, where they are real. Exit code, words
//! and effect must be the same. `shapes` fails for a call of the charm that has no row here.
//!
//! A row is one of a table's calls in one of its states. Look for the program (`services`, `mounts`, `snaps`, `devices`,
//! `tools`), then for the call.

mod devices;
mod machines;
mod mounts;
mod services;
mod shapes;
mod snaps;
mod table;
mod tools;

use table::Table;

/// All of them.
const TABLES: [&Table; 5] = [&services::TABLE, &mounts::TABLE, &snaps::TABLE, &devices::TABLE, &tools::TABLE];
