//! The quick way through `update-status`: when everything is as it was and well, one hook tool call tells so; two where this
//! unit has asked monitoring charms for something, which only a leader may.
//!
//! Every hook tool costs a process, and this hook runs every few minutes on every unit. Whatever is not plainly
//! well takes the full way.

use std::collections::BTreeSet;

use crate::clock;
use crate::decide;
use crate::etcd::Permission;
use crate::host::files;
use crate::juju::{Context, Status, Tools};
use crate::observe;
use crate::world::{CANNOT_BE_READ, Door, Health, Roster, World};

/// Lost at every boot, as it should be: the first check after one is a full one.
const REMEMBERED: &str = "/run/etcd-charm.status";

/// Stands behind the status of a unit that spoke for the application: it has something to take back when it leads no more,
/// and no hook tells it so.
const SPOKE: &str = "\nspeaks for the application\n";

/// Begins a line with the time, Unix time in seconds, from which on a quick look is not enough, whatever the status.
const LOOK_AGAIN: &str = "\nlook again at ";

/// Keeps the status that was last shown for this world. Without it the next check is a full one, nothing worse.
pub fn remember(world: &World, status: &Status) {
    let look_again =
        decide::look_again_s(world).map(|at_s| format!("{LOOK_AGAIN}{at_s}")).unwrap_or_default();
    let text = format!("{status}{look_again}{}", if decide::speaks(world) { SPOKE } else { "" });
    if let Err(error) = files::write_atomic(REMEMBERED, text.as_bytes(), 0o644) {
        tracing::debug!(error = %error, "the status could not be remembered");
    }
}

fn is_time(last: &str, now_s: u64) -> bool {
    let at_s = last.split_once(LOOK_AGAIN).and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    at_s.is_some_and(|at_s: u64| at_s <= now_s)
}

/// Makes the next check a full one: something has changed that no status shows.
///
/// # Errors
/// The remembered status cannot be removed.
pub fn forget() -> std::io::Result<()> {
    files::remove_if_exists(REMEMBERED)
}

/// Whether the last status was healthy and everything it stands for still holds.
pub async fn all_is_well(context: &Context, tools: &Tools) -> bool {
    let Ok(Some(last)) = files::read(REMEMBERED) else { return false };
    let Ok(look) = observe::local().await else { return false };
    let Roster::Confirmed(members) = &look.etcd.roster else { return false };
    let healthy = matches!(look.etcd.door, Door::Open(_))
        && look.etcd.permission == Permission::Granted
        && decide::is_quiet(&look.etcd)
        && look.host.restart_due.is_none()
        && look.host.restore.is_none()
        && look.host.recovery.is_none()
        && look.host.moving.is_none()
        && !decide::certificates_need_a_look(&look.host, clock::now_s())
        && !decide::is_moving(&look.host)
        && decide::filling(&look.host, &look.etcd).is_none()
        && members.iter().all(|member| !member.learner)
        && members.iter().all(|member| look.etcd.health.get(&member.id) == Some(&Health::Healthy));
    let as_remembered = Status::active(decide::healthy_with(members.len())).to_string();
    let last = String::from_utf8_lossy(&last);
    if is_time(&last, clock::now_s())
        || !healthy
        || !last.starts_with(&as_remembered)
        || last.contains(decide::OF_ITS_QUOTA)
        || last.contains(CANNOT_BE_READ)
    {
        return false;
    }
    if last.ends_with(SPOKE) && !matches!(tools.is_leader().await, Ok(true)) {
        return false;
    }
    let Ok(goal) = tools.goal_state().await else { return false };
    let units: BTreeSet<String> = goal.units.keys().map(|unit| unit.member_name()).collect();
    let names: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
    units == names && names.contains(&context.unit.member_name())
}
