//! The service manager of a light machine: runs what unit files describe. One task per running unit owns everything that
//! happens to it. Invariant: a unit's state only ever changes in its own task, so it never contradicts its processes.

pub mod activate;
pub mod jobs;
pub mod life;
pub mod limits;
pub mod manager;
pub mod mount;
pub mod notify;
pub mod processes;
pub mod properties;
pub mod protocol;
pub mod shutdown;
pub mod spawn;
pub mod state;
pub mod unit;
