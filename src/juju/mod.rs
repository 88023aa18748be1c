//! The port to Juju: the hook's environment and the hook tools, as types. It knows nothing of etcd, and nothing else
//! in the charm starts a hook tool or reads the environment.

mod context;
mod log;
mod memory;
mod names;
mod network;
mod parse;
mod shown;
mod status;
mod tools;

pub use context::{Context, JujuVersion, Proxies};
pub use log::{LogBuffer, StandardOutput, complain};
pub use memory::{Answers, Memory};
pub use names::{RelationId, UnitName};
pub use network::{Bound, Host, Network};
pub use shown::line as one_line;
pub use status::{Status, StatusKind};
#[cfg(test)]
pub(crate) use tools::fake::FakeTools;
pub use tools::{Databag, GoalState, SecretOwner, ToolError, Tools};
