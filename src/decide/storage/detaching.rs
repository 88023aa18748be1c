//! Storage that is taken away. Invariants: the hook that takes it does not succeed while the storage is mounted, so that Juju
//! tries it again before the device goes; a member that the quorum needs keeps its data until that has been moved.

use super::super::status::AGAIN;
use super::super::{Next, Waiting, leaving, quorum, status};
use super::{DATA, aside, is_on_storage, is_set_up, move_to};
use crate::event::{DETACHING, Event};
use crate::juju::Status;
use crate::step::Step;
use crate::storage::{self, Inside, MOUNT, Mounted};
use crate::world::{Data, Door, Moved, Reading, Service, World};

/// A server that has not answered for so long is not waited for where the others do without it. In seconds.
const MUTE_S: u64 = 50;

/// Why the hook must not succeed: the storage that it gives away is still in use. `status` says how the run has ended.
pub fn why_hook_fails(w: &World, status: &Status) -> Option<String> {
    let is_asked_for = match &w.event {
        Event::Detaching(_) => true,
        Event::Leaving(hook) => hook == DETACHING,
        _ => false,
    };
    (is_asked_for && keeps(w)).then(|| {
        format!(
            "cannot give the storage at {MOUNT} back yet: {}; Juju tries again by itself; to let it go all the same: juju resolved --no-retry {}",
            status.message, w.unit
        )
    })
}

/// Storage that this charm has mounted; what others mount there is theirs.
pub(in super::super) fn keeps(w: &World) -> bool {
    w.host.volume.mounted.is_some() && w.host.volume.unit.is_some()
}

/// Juju wants the storage back from a unit that stays: its member goes on where it was before the storage came.
pub(super) fn give_back(w: &World) -> Option<Next> {
    let Some(mounted) = &w.host.volume.mounted else { return give_up_rules(w) };
    if is_on_storage(w) {
        return take_along(w, mounted).or_else(|| leaving::stop(w)).or_else(|| give_up_rules(w));
    }
    if let Reading::Known(Inside { data: Data::Present, owner: Some(owner) }) = &mounted.inside
        && owner.is(&w.unit, &w.model)
        && w.host.data == Data::Present
    {
        // Two copies of one member must never run: this one is not the present one any more.
        return Some(aside(Moved::ElsewhereNow, storage::DATA));
    }
    give_up_rules(w)
}

/// The data of this unit's own member; nothing is done for another one's.
fn take_along(w: &World, mounted: &Mounted) -> Option<Next> {
    let has_run = w.host.config.is_some();
    let is_own = match &mounted.inside {
        Reading::Known(Inside { data: Data::Empty, .. }) => false,
        Reading::Known(Inside { owner: Some(owner), .. }) => has_run && owner.is(&w.unit, &w.model),
        Reading::Known(Inside { owner: None, .. }) | Reading::Unknown(_) => has_run,
    };
    if is_own { move_home(w).or_else(|| keep(w)) } else { None }
}

/// A member that serves takes its data to the machine's own disk.
fn move_home(w: &World) -> Option<Next> {
    if w.tried.in_vain("move-data").is_some() {
        return None;
    }
    match (&w.etcd.door, &w.host.service) {
        (Door::Open(own), _) if own.learner => None,
        (Door::Open(_), _) if w.host.root_data != Data::Empty => Some(aside(Moved::ElsewhereNow, DATA)),
        (Door::Open(_), _) => Some(move_to(w, DATA).unwrap_or_else(|| match &w.options {
            Err(errors) => Next::Done(status::wrong_options(errors)),
            Ok(_) => no_quorum(),
        })),
        (Door::Mute(says), Service::Running) if w.tried.lasted_s < MUTE_S => {
            Some(Next::Wait(Waiting::Start(says.clone())))
        }
        // A move that was killed has stopped it.
        (Door::Closed, Service::Stopped)
            if w.host.data == Data::Present && w.tried.in_vain("start-service").is_none() =>
        {
            Some(Next::Do(Step::StartService))
        }
        _ => None,
    }
}

/// What could not be moved stays where the cluster needs it. Where it does without, the data goes with its storage.
fn keep(w: &World) -> Option<Next> {
    let kept = |why: &str| Next::Done(cannot_go(&format!("{why}; {AGAIN}")));
    let tried =
        ["move-data", "start-service"].into_iter().find_map(|step| Some((step, w.tried.in_vain(step)?)));
    if let Some((step, refusal)) = tried
        && w.tried.not_yet(step)
    {
        // Another member is at it, or not healthy yet.
        return Some(kept(refusal));
    }
    let Some(members) = w.members() else { return Some(no_quorum()) };
    let own = w.own_status().map(|status| status.member);
    let own = members.iter().find(|member| Some(member.id) == own || member.name == w.member_name())?;
    let why = quorum::why_not_stop(own.id, members, &w.etcd.health)?;
    Some(kept(&tried.map_or(why.clone(), |(_, error)| format!("{error}; {why}"))))
}

fn no_quorum() -> Next {
    Next::Wait(Waiting::Quorum(cannot_go("no quorum says that the others do without it: bring them back")))
}

fn cannot_go(why: &str) -> Status {
    Status::blocked(format!("etcd's data cannot leave its storage: {why}"))
}

/// What the operator does about storage that cannot be unmounted.
pub(super) fn still_in_use(error: &str) -> Status {
    Status::blocked(format!(
        "Storage cannot be unmounted: {error}: end what uses it (fuser -vm {MOUNT} names it)"
    ))
}

fn give_up_rules(w: &World) -> Option<Next> {
    if let Some(error) = w.tried.in_vain("release-storage") {
        return Some(Next::Done(still_in_use(error)));
    }
    if is_set_up(w) {
        return Some(Next::Do(Step::ReleaseStorage));
    }
    let stranded = is_on_storage(w) && w.host.config.is_some();
    let why = w.tried.in_vain("move-data").map(|error| format!(" ({error})")).unwrap_or_default();
    stranded.then(|| {
        Next::Done(Status::blocked(format!(
            "etcd's data has left with its storage{why}: attach it again (juju attach-storage {}), or replace this unit",
            w.unit
        )))
    })
}
