//! The etcd charm as a library: what `dispatch` runs, open to tests, benchmarks and fuzzers. ARCHITECTURE.md says
//! how the modules fit and which of them may know which.

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
pub mod state;
pub mod step;
pub mod storage;
pub mod tls;
pub mod world;
pub mod yaml;
