//! The port to this machine: files, snaps, systemd's services and the store of trusted authorities. It knows nothing
//! of Juju and takes no decisions; what it cannot read is an error, never "not there".

pub mod files;
mod snap;
mod systemd;
pub mod trust_store;

pub use files::Written;
pub use snap::{Installed, Snap};
pub use systemd::{Active, Load, Service};

/// What every login shell reads, so that etcdctl works in a root shell; nobody's own files are touched.
pub const SHELL_PROFILE: &str = "/etc/profile.d/etcd.sh";

/// Name of the mark beside etcd's configuration that its server still runs with the previous one.
pub const RESTART_DUE: &str = "restart-due";

/// The service that snapd makes for etcd's snap.
pub fn etcd_service() -> Service {
    Service::new("snap.etcd.etcd")
}
