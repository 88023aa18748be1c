//! The heart of the charm: what to do next in a given [`World`]. Pure: no I/O, no clock, no randomness.
//!
//! Read it as a runbook. The rule sets stand in order; the first that has something to say decides. After every
//! step the world is looked at again, so no rule needs to know what another has done.

mod access;
mod addresses;
pub mod authority;
mod checks;
mod clients;
mod company;
mod csr;
mod generation;
mod healing;
mod inherited;
mod install;
mod kept;
mod leaving;
mod loss;
mod membership;
mod minors;
mod ownership;
mod ports;
mod preparing;
mod quorum;
mod recovering;
mod release;
mod requests;
mod restoring;
mod service;
pub mod serving;
mod snapd;
mod space;
mod starting;
mod status;
mod storage;
mod tls;
mod trust;
mod upgrade;
mod upkeep;

#[cfg(test)]
mod check;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenes;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod worlds;

pub use access::why_refused;
pub use checks::{COMMANDS, PLUGINS, SERVICES, is_own as is_own_check};
pub use clients::{forgets_authority, look_again_s, to_share};
pub use company::{Company, Errand, company, may_hold_lock};
pub use generation::{Followed, followed, later_unit, next_generation, rivals, seems_of_before};
pub use loss::{first_file, is_total as is_all_lost, who_may_have_data};
pub use membership::may_retire;
pub use minors::{NotYet, is_first_on, lowest_published, why_not_yet};
pub use ownership::{claim_of, foreign, was_of_another};
pub use ports::{is_moving, peer_url};
pub use preparing::{goal as prepares_for, needs_it as needs_preparation};
pub use requests::speaks;
pub use service::{COMMON, DATA, REVISIONS};
pub use snapd::{
    HOLD, STORE as STORE_PROXY, STORE_ID, is_option as is_snapd_option, unsupported as hold_unsupported,
};
pub use space::why_not_without_lock;
pub use status::{OF_ITS_QUOTA, alarm_first, certificates_need_a_look, filling, healthy_with, is_quiet};
pub use upgrade::{rollout, why_no_rollout};

use std::fmt;

use crate::event::Event;
use crate::juju::Status;
use crate::step::Step;
use crate::world::World;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Do this, then look again.
    Do(Step),
    /// Nothing can be done until this has changed by itself; look again soon, for a bounded time.
    Wait(Waiting),
    /// Nothing is left to do in this run; this is how things stand.
    Done(Status),
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// This unit's server was started and does not answer yet: what it says instead.
    Start(String),
    /// Its server has ended some times in a row and may come up yet: what the operator sees if it does not.
    Restarts(Status),
    /// It runs and is silent, and the others cannot prove a quorum either: what the operator sees if that lasts.
    Quorum(Status),
    /// Another unit is joining; etcd takes one learner at a time.
    Turn(String),
    /// The cluster cannot be asked right now: why.
    Cluster(String),
    /// This unit is leaving and the others cannot do without its member yet: why.
    Leave(String),
    /// A unit that is being removed has not yet taken its member out: how things stand until it has.
    Departure(Status),
    /// Clients learn of another certificate authority by hooks of their own.
    Clients,
    /// etcd's snap is there and cannot be used yet: what the operator sees if that lasts.
    Snap(Status),
    /// snapd does not answer yet: how things stand without its word.
    Snapd(Status),
    /// Members are unhealthy; they may just be restarting.
    Members(Status),
}

impl Waiting {
    /// How long it is worth waiting within one hook, in milliseconds. Afterwards the reason becomes the status
    /// and the next hook goes on.
    pub fn patience_ms(&self) -> u64 {
        match self {
            // One after the other: as long as a run may wait at all.
            Waiting::Turn(_) => 75_000,
            Waiting::Start(_) | Waiting::Snap(_) => 60_000,
            Waiting::Leave(_) | Waiting::Quorum(_) | Waiting::Restarts(_) => 30_000,
            Waiting::Cluster(_) | Waiting::Departure(_) | Waiting::Snapd(_) => 20_000,
            Waiting::Clients => 15_000,
            Waiting::Members(_) => 6_000,
        }
    }

    /// What is waited for, whatever is told of it meanwhile.
    pub fn name(&self) -> &'static str {
        match self {
            Waiting::Start(_) => "start",
            Waiting::Restarts(_) => "restarts",
            Waiting::Quorum(_) => "quorum",
            Waiting::Turn(_) => "turn",
            Waiting::Cluster(_) => "cluster",
            Waiting::Leave(_) => "leave",
            Waiting::Departure(_) => "departure",
            Waiting::Clients => "clients",
            Waiting::Snap(_) => "snap",
            Waiting::Snapd(_) => "snapd",
            Waiting::Members(_) => "members",
        }
    }

    /// What the operator sees if the wait was in vain.
    pub fn status(&self) -> Status {
        match self {
            Waiting::Start(says) => Status::waiting(format!("Waiting for etcd to start: {says}")),
            Waiting::Turn(who) => Status::waiting(format!("Joining: waiting until {who} has joined")),
            Waiting::Cluster(cause) => Status::waiting(format!("Joining: {cause}")),
            Waiting::Leave(why) => Status::waiting(format!("Leaving: {why}")),
            Waiting::Clients => {
                Status::waiting("Changing the CA: giving clients time to read what they were given")
            }
            Waiting::Quorum(status)
            | Waiting::Members(status)
            | Waiting::Departure(status)
            | Waiting::Restarts(status)
            | Waiting::Snap(status)
            | Waiting::Snapd(status) => status.clone(),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status().message)
    }
}

/// Why the hook must not succeed, with the status that its run has come to: what Juju takes after it is still needed.
pub fn why_hook_fails(w: &World, status: &Status) -> Option<String> {
    storage::why_hook_fails(w, status).or_else(|| leaving::why_hook_fails(w, status))
}

/// The runbook.
pub fn next(world: &World) -> Next {
    let next = decided(world);
    #[cfg(test)]
    check::enforce(world, &next);
    next
}

/// A recovery or a restore that was cut off.
fn half_done(world: &World) -> Option<Next> {
    if ownership::was_of_another(world) {
        return None;
    }
    recovering::next(world).or_else(|| restoring::next(world))
}

fn decided(world: &World) -> Next {
    if let Some(next) =
        ownership::next(world).or_else(|| inherited::kicker(world)).or_else(|| checks::next(world))
    {
        return next;
    }
    if world.event.is_leaving() {
        return restoring::before_leaving(world).unwrap_or_else(|| leaving::next(world));
    }
    // Storage goes with the one data that counts.
    let is_detaching = matches!(world.event, Event::Detaching(_));
    upgrade::unfinished(world)
        .or_else(|| membership::retire_members_without_unit(world))
        .or_else(|| snapd::next(world))
        .or_else(|| install::next(world))
        .or_else(|| if is_detaching { half_done(world) } else { None })
        .or_else(|| storage::next(world))
        .or_else(|| half_done(world))
        .or_else(|| tls::next(world))
        .or_else(|| release::mend(world))
        .or_else(|| storage::data(world))
        .or_else(|| upkeep::trust(world))
        .or_else(|| ownership::claim(world))
        .or_else(|| storage::why_not_start(world))
        .or_else(|| access::next(world))
        .or_else(|| membership::next(world))
        .or_else(|| release::next(world))
        .or_else(|| service::next(world))
        .or_else(|| preparing::next(world))
        .or_else(|| upgrade::next(world))
        .or_else(|| storage::move_in(world))
        .or_else(|| storage::move_home(world))
        .or_else(|| upkeep::next(world))
        .or_else(|| inherited::rest(world))
        .or_else(|| ownership::record(world))
        .or_else(|| kept::next(world))
        .unwrap_or_else(|| status::next(world))
}
