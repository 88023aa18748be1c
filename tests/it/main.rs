//! Whole models: the packed charm with real etcd, real TLS and a real easy-rsa, on the local Juju.
//!
//! What depends on Juju runs on every kind of model: all supported generations of Juju, etcd 3.4 and 3.5. What depends on
//! etcd alone runs once on each of these two. What may be another thing on etcd 3.6 and 3.7 stands in `newer`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

mod actions;
mod bad_archives;
mod bad_inputs;
mod booted;
mod budgets;
mod certificates;
mod crashes;
mod csr;
mod dashboards;
mod deploying;
mod documentation;
mod echoes;
mod elsewhere;
mod endpoints;
mod faults;
mod hostile;
mod internal_authority;
mod locks;
mod losing;
mod machine_calls;
mod maintenance;
mod migrating;
mod monitoring;
mod newer;
mod options;
mod owners;
mod pages;
mod patches;
mod quorum;
mod reference;
mod removing;
mod replacing;
mod restoring;
mod scaling;
mod sim;
mod snapshots;
mod sources;
mod starting;
mod storage;
mod taking_over;
mod unreadable;
mod upgrading;
mod users;
mod walking;

use sim::Kind;

/// Juju 2.9 with etcd 3.4.
pub const OLD: Kind = Kind { juju: "2.9", channel: "3.4/stable", machines: None };
/// Juju 3.6 with etcd 3.5.
pub const PRESENT: Kind = Kind { juju: "3.6", channel: "3.5/stable", machines: None };
/// Juju 4.0 with etcd 3.5.
pub const COMING: Kind = Kind { juju: "4.0", channel: "3.5/stable", machines: None };

/// Juju 3.6 with etcd 3.6.
pub const NEXT: Kind = Kind { juju: "3.6", channel: "3.6/stable", machines: None };
/// Juju 4.0 with etcd 3.7.
pub const NEWEST: Kind = Kind { juju: "4.0", channel: "3.7/stable", machines: None };

/// Makes one test of each scenario (a function of a [`Kind`]) for each kind of model.
#[macro_export]
macro_rules! on_every_kind {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn juju_2_9_etcd_3_4() {
                super::$scenario($crate::OLD);
            }

            #[test]
            fn juju_3_6_etcd_3_5() {
                super::$scenario($crate::PRESENT);
            }

            #[test]
            fn juju_4_0_etcd_3_5() {
                super::$scenario($crate::COMING);
            }
        }
    )+};
}

/// Makes one test of each scenario (a function of a [`Kind`]) for each version of etcd.
#[macro_export]
macro_rules! on_both_etcds {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn etcd_3_4() {
                super::$scenario($crate::OLD);
            }

            #[test]
            fn etcd_3_5() {
                super::$scenario($crate::PRESENT);
            }
        }
    )+};
}
