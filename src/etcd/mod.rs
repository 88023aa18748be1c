//! The port to etcd: its API over gRPC, its configuration file and its versions.
//!
//! It knows nothing of Juju nor of the charm. Every call is bounded in time: a server without quorum accepts
//! connections and may answer nothing for ever.

#[cfg(test)]
mod against_etcd;
mod alone;
mod channel;
pub mod cipher_suites;
mod client;
mod config;
mod damage;
mod error;
mod lock;
mod log;
mod maintenance;
mod member;
mod reach;
mod snapshot;
mod support;
#[cfg(test)]
pub(crate) mod test_server;
mod url;
mod version;
mod wal;

pub use alone::{loopback, replaced_by_start_alone, start_alone, start_beside};
pub use channel::{Channel, ChannelError, Risk, Track};
pub use cipher_suites::{CipherSuiteError, check_cipher_suites};
pub use client::{Client, Credentials, Permission};
pub use config::{
    ClientTls, ClusterState, Compaction, ConfigError, OnDisk, Settings, knows_min_version, read_config,
    same_at_run_time,
};
pub use damage::damage;
pub use error::Error;
pub use lock::{Holder, Lock, Taken};
pub use log::telling;
pub use maintenance::{KvHash, patience};
pub use member::{Alarm, AlarmKind, ClusterId, IdError, Member, MemberId, MemberStatus};
pub use reach::reach;
pub use snapshot::{SnapshotStream, SnapshotSummary, check_snapshot, has_digest};
pub use support::concern;
pub use url::{host_of, url};
pub use version::{Minor, Version, VersionError};
#[cfg(test)]
pub(crate) use wal::log_that_sets;
pub use wal::{Identity, LogEnd, OldRecords, agreed_version, commit_all, identity, log_end, old_records};

/// The result of asking etcd.
pub type Result<T> = std::result::Result<T, Error>;
