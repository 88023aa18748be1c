//! The port to this machine: files, snaps, systemd's services and the store of trusted authorities. It knows nothing
//! of Juju and takes no decisions; what it cannot read is an error, never "not there".

pub mod directory;
pub mod distrusted;
pub mod files;
mod open_files;
pub mod package;
pub mod record;
mod refresh_timer;
mod releases;
mod snap;
pub mod snap_file;
mod systemd;
pub mod trust_store;
mod v2_keys;
pub mod volume;

pub use files::Written;
pub use open_files::open_files;
pub use refresh_timer::RefreshTimer;
pub use releases::{Release, Releases};
pub use snap::{Installed, Offer, Snap, SnapError};
pub use systemd::{Active, Load, Service};
pub use v2_keys::v2_keys;

/// What every login shell reads, so that etcdctl works in a root shell; nobody's own files are touched.
pub const SHELL_PROFILE: &str = "/etc/profile.d/etcd.sh";

/// Where the unit file of [`etcd_service`] is when etcd comes from a release.
pub const RELEASE_UNIT: &str = "/etc/systemd/system/etcd-release.service";

/// Mark that the monitoring agent has not read its changed files yet. Lost at boot, when it reads them anyway.
pub const NRPE_DUE: &str = "/run/etcd-charm.nrpe-due";

/// The directory of the installed etcd's own programs: of the release if one is installed, else of the snap.
pub fn etcd_programs() -> std::path::PathBuf {
    let release = Releases::system().current_path();
    if release.is_symlink() { release } else { "/snap/etcd/current/bin".into() }
}

/// etcd's service: of the release if one is installed, else the one that snapd makes for etcd's snap.
pub fn etcd_service() -> Service {
    // A link that cannot be followed is there all the same.
    let has_release = Releases::system().current_path().is_symlink();
    Service::new(if has_release { "etcd-release" } else { "snap.etcd.etcd" })
}
