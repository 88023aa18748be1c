//! Storage `data`: a device of its own for etcd's data, at deploy or later.
//!
//! - Only an empty device is formatted, only a file system of ours is mounted; all else is left alone and told.
//! - etcd runs on the storage or, until its data has been moved there, where it always was; never on both, and never on
//!   the bare mount point.
//! - Another member's data on it is kept aside when a confirmed quorum does without it, and served when it is certain
//!   that there is no other copy. In between an operator decides.

mod detaching;
mod elsewhere;

pub(super) use detaching::keeps;
pub(super) use detaching::why_hook_fails;
pub(super) use elsewhere::{is_elsewhere, move_home, why_it_waits as why_it_is_elsewhere, why_not_start};

use super::service::{self, DATA};
use super::status::AGAIN;
use super::{Next, Waiting, membership};
use crate::event::Event;
use crate::host::volume::{Content, Device, MountUnit};
use crate::juju::Status;
use crate::step::Step;
use crate::storage::{self, Attached, Inside, LABEL, MOUNT, Owner};
use crate::world::{Data, Door, Moved, Place, Reading, Roster, Service, World};

/// Keeps etcd from starting without its storage.
const RULES: &str = include_str!("../../templates/storage.conf");
const UNIT: &str = include_str!("../../templates/media-etcd.mount");

/// How the attached device stands.
enum Use {
    /// Nothing is left to do for it.
    Settled,
    /// This brings it nearer.
    Do(Step),
    /// It cannot be used: why, and what to do.
    Refused(String),
}

/// The device: formatted, mounted, guarded. A running member does not wait for it.
pub(super) fn next(w: &World) -> Option<Next> {
    if let Event::Detaching(_) = w.event {
        return detaching::give_back(w);
    }
    match device(w) {
        Use::Settled => None,
        Use::Do(step) => Some(Next::Do(step)),
        Use::Refused(why) if needs_it(w) => Some(Next::Done(Status::blocked(why))),
        Use::Refused(_) => drop_idle_rules(w),
    }
}

/// A member whose data was never moved there must not depend on storage that cannot be used.
fn drop_idle_rules(w: &World) -> Option<Next> {
    let is_idle = is_set_up(w) && w.host.volume.mounted.is_none() && !is_on_storage(w);
    (is_idle && w.tried.in_vain("release-storage").is_none()).then_some(Next::Do(Step::ReleaseStorage))
}

/// The data on the storage: whose it is, and what is left of moves.
pub(super) fn data(w: &World) -> Option<Next> {
    let (attached, inside) = usable(w)?;
    let owner = inside.owner.as_ref();
    let is_own = owner.is_some_and(|owner| owner.is(&w.unit, &w.model));
    // The file is lost, or the earlier charm knew none; etcd's own file says that it is this member's.
    let is_adopted = owner.is_none() && w.host.config.is_some() && is_on_storage(w);
    if !is_own && !is_adopted && inside.data != Data::Empty {
        return foreign(w, attached, owner.cloned().unwrap_or_default());
    }
    if !is_own {
        return Some(Next::Do(Step::ClaimStorage(claim(w, None))));
    }
    if let Some(step) = adopt(w, attached) {
        return Some(Next::Do(step));
    }
    if is_on_storage(w) {
        return record(w, inside).or_else(|| clear_the_old_place(w));
    }
    // What a move left behind when it was cut off before its end.
    (inside.data != Data::Empty && w.host.data == Data::Present)
        .then(|| aside(Moved::Unfinished, storage::DATA))
}

/// What was mounted here before this charm came is ours once it says so: it is known again without its mount.
fn adopt(w: &World, attached: &Attached) -> Option<Step> {
    let device = attached.device.known()?;
    let Content::FileSystem { kind, label, uuid } = &device.content else { return None };
    let is_known = is_labelled(kind, label) || w.host.volume.adopted.contains(uuid);
    (!is_known && w.tried.in_vain("adopt-storage").is_none()).then(|| Step::AdoptStorage {
        device: device.path.clone(),
        uuid: uuid.clone(),
        // A label that it has may be in somebody's table of mounts.
        label: kind.starts_with("ext") && label.is_empty(),
    })
}

fn is_labelled(kind: &str, label: &str) -> bool {
    kind == "ext4" && label == LABEL
}

/// A settled member takes its data to the storage, when nothing else wants a restart.
pub(super) fn move_in(w: &World) -> Option<Next> {
    let (_, inside) = usable(w)?;
    if is_on_storage(w) || inside.data != Data::Empty || w.tried.in_vain("move-data").is_some() {
        return None;
    }
    move_to(w, storage::DATA)
}

/// Why storage is attached and not in use by a member that runs.
pub(super) fn why_it_waits(w: &World) -> Option<String> {
    if let Use::Refused(why) = device(w) {
        return Some(why);
    }
    let (attached, _) = usable(w)?;
    let error = w.tried.in_vain("move-data")?;
    Some(format!("etcd's data was not moved to storage {}: {error}; {AGAIN}", attached.id))
}

/// A leaving unit that has stopped gives its storage back with the data on it.
pub(super) fn leave(w: &World) -> Option<Next> {
    match w.tried.in_vain("release-storage") {
        None => is_set_up(w).then_some(Next::Do(Step::ReleaseStorage)),
        Some(error) => w.host.volume.mounted.as_ref().map(|_| Next::Done(detaching::still_in_use(error))),
    }
}

/// What the storage should say of its data: the last member's copy is the only one, and the storage tells whoever gets
/// it next.
pub(super) fn last_words(w: &World) -> Option<Next> {
    let (_, inside) = usable(w)?;
    let is_own = inside.owner.as_ref().is_some_and(|owner| owner.is(&w.unit, &w.model));
    if is_own && is_on_storage(w) { record(w, inside) } else { None }
}

fn is_on_storage(w: &World) -> bool {
    w.host.place == Place::whole(storage::DATA)
}

fn is_set_up(w: &World) -> bool {
    w.host.volume.unit.is_some() || w.host.volume.rules.is_some()
}

/// A unit that has its data there, or none yet, does not start without it. One that runs, runs on.
fn needs_it(w: &World) -> bool {
    let is_new = w.host.data != Data::Present && w.host.service != Service::Running;
    !matches!(w.etcd.door, Door::Open(_)) && (is_on_storage(w) || is_new)
}

/// Attached, mounted, guarded and readable.
fn usable(w: &World) -> Option<(&Attached, &Inside)> {
    if w.host.restore.is_some() {
        // The data is being exchanged where it is.
        return None;
    }
    let (Some(attached), Use::Settled, Some(mounted)) = (&w.storage, device(w), &w.host.volume.mounted)
    else {
        return None;
    };
    Some((attached, mounted.inside.known()?))
}

fn device(w: &World) -> Use {
    let volume = &w.host.volume;
    let Some(attached) = &w.storage else { return nothing_attached(w) };
    let id = &attached.id;
    let unusable = |how: &str, why: &str| {
        Use::Refused(format!(
            "storage {id} cannot be {how}: {why}; {AGAIN}, or detach it (juju detach-storage {id})"
        ))
    };
    let device = match &attached.device {
        Reading::Known(device) => device,
        Reading::Unknown(why) => return unusable("used", why),
    };
    if let Some(error) = w.tried.in_vain("format-storage").or(w.tried.in_vain("mount-storage")) {
        return unusable("used", error);
    }
    match &volume.mounted {
        Some(other) if other.number != device.number => {
            let source = &other.source;
            Use::Refused(format!("storage {id} cannot be used: {source} is mounted at {MOUNT}: unmount it"))
        }
        Some(mounted) => match &mounted.inside {
            Reading::Unknown(why) => unusable("read", why),
            Reading::Known(_) => guarded(w, device),
        },
        None => unmounted(w, attached, device),
    }
}

fn nothing_attached(w: &World) -> Use {
    let is_left_over = !is_on_storage(w) && is_set_up(w) && w.tried.in_vain("release-storage").is_none();
    if w.host.volume.mounted.is_some() {
        // A hook that could not unmount it was given up.
        return if is_left_over { Use::Do(Step::ReleaseStorage) } else { Use::Settled };
    }
    if is_on_storage(w) {
        return Use::Refused(format!(
            "etcd's data is on storage that is not attached: attach it again (juju attach-storage {}), or replace this unit",
            w.unit
        ));
    }
    // Rules for storage that is gone would keep etcd from starting where its data is.
    match drop_idle_rules(w) {
        Some(Next::Do(release)) => Use::Do(release),
        _ => Use::Settled,
    }
}

/// Mounted, by whomever; the rules for the next boot may still be missing.
fn guarded(w: &World, device: &Device) -> Use {
    let Content::FileSystem { uuid, .. } = &device.content else { return Use::Settled };
    let wanted = MountUnit::new(MOUNT).text(UNIT, uuid);
    if w.host.volume.unit.as_ref() == Some(&wanted) && w.host.volume.rules.as_deref() == Some(RULES) {
        return Use::Settled;
    }
    Use::Do(Step::MountStorage { unit: wanted, rules: RULES })
}

fn unmounted(w: &World, attached: &Attached, device: &Device) -> Use {
    let id = &attached.id;
    let expected = w.host.volume.unit.as_deref().and_then(MountUnit::uuid);
    let format = Step::FormatStorage { id: id.clone(), device: device.path.clone() };
    match &device.content {
        Content::FileSystem { kind, label, uuid }
            if is_labelled(kind, label)
                || expected == Some(uuid.as_str())
                || w.host.volume.adopted.contains(uuid) =>
        {
            if is_on_storage(w) && expected.is_some_and(|expected| expected != uuid) {
                return Use::Refused(another_device(id));
            }
            Use::Do(Step::MountStorage { unit: MountUnit::new(MOUNT).text(UNIT, uuid), rules: RULES })
        }
        Content::Blank | Content::Unrecognized if is_on_storage(w) => Use::Refused(another_device(id)),
        Content::Blank => Use::Do(format),
        // Found empty by an earlier run, which was killed while it formatted.
        Content::Unrecognized if w.host.volume.formatting.as_ref() == Some(id) => Use::Do(format),
        content => Use::Refused(not_ours(id, device, content)),
    }
}

fn another_device(id: &str) -> String {
    format!("storage {id} is not the one that etcd's data is on: attach that one, or replace this unit")
}

fn not_ours(id: &str, device: &Device, content: &Content) -> String {
    let path = device.path.display();
    let (what, remedy) = match content {
        Content::FileSystem { kind, .. } if kind == "ext4" => {
            (kind.as_str(), format!("to use it as it is: e2label {path} {LABEL}; "))
        }
        Content::FileSystem { kind, .. } => (kind.as_str(), String::new()),
        Content::Other(what) => (what.as_str(), String::new()),
        Content::Unrecognized | Content::Blank => ("unknown data", String::new()),
    };
    format!(
        "storage {id} ({path}) holds {what} and is left alone: detach it; {remedy}to lose it all: blkdiscard -z {path}"
    )
}

fn aside(why: Moved, directory: &'static str) -> Next {
    Next::Do(Step::MoveDataAside { why, place: Place::whole(directory) })
}

/// This unit's claim, with what its server knows now.
fn claim(w: &World, known: Option<Owner>) -> Owner {
    let known = known.unwrap_or_default();
    Owner {
        unit: w.unit.to_string(),
        model: w.model.clone(),
        relation: None,
        cluster: w.own_status().map(|status| status.cluster).or(known.cluster),
        voters: voters(w).or(known.voters),
    }
}

fn voters(w: &World) -> Option<usize> {
    Some(w.members()?.iter().filter(|member| !member.learner).count())
}

/// Keeps the file on the storage up to date. It may lag behind by a step: one more voter than it says still needs this
/// member for every write.
fn record(w: &World, inside: &Inside) -> Option<Next> {
    let status = w.own_status().filter(|status| !status.learner)?;
    voters(w)?;
    let known = Owner { cluster: Some(status.cluster), ..Owner::default() };
    let wanted = claim(w, Some(known));
    (inside.owner.as_ref() != Some(&wanted)).then_some(Next::Do(Step::ClaimStorage(wanted)))
}

/// The server has served from its storage: what is left where it was before is only in the way.
fn clear_the_old_place(w: &World) -> Option<Next> {
    let serves = w.own_status().is_some_and(|status| !status.learner) && w.members().is_some();
    (serves && w.host.root_data != Data::Empty).then(|| aside(Moved::ElsewhereNow, DATA))
}

/// Data that this unit has not written is on the storage.
fn foreign(w: &World, attached: &Attached, owner: Owner) -> Option<Next> {
    if !is_on_storage(w) && w.host.data == Data::Present {
        let serves = matches!(w.etcd.door, Door::Open(_)) && w.members().is_some();
        return serves.then(|| aside(Moved::OfAnother, storage::DATA));
    }
    let question = || question(&attached.id, &owner);
    match &w.etcd.roster {
        // systemd goes on trying to start it there.
        Roster::Confirmed(_) if matches!(w.host.service, Service::Failing(_)) => {
            Some(Next::Do(Step::StopService))
        }
        Roster::Confirmed(_) => Some(aside(Moved::OfAnother, storage::DATA)),
        Roster::Unconfirmed { .. } => Some(Next::Wait(Waiting::Members(question()))),
        Roster::NobodyToAsk if is_turn(w) => Some(if is_last_copy(w, &owner) {
            Next::Do(Step::ClaimStorage(claim(w, Some(owner))))
        } else {
            Next::Done(question())
        }),
        Roster::NobodyToAsk => Some(membership::bootstrap(w)),
    }
}

/// Only the named unit brings a cluster up where there was none.
fn is_turn(w: &World) -> bool {
    let cluster = &w.peers.cluster;
    w.was_started() || (cluster.bootstrap_unit.as_ref() == Some(&w.unit) && cluster.token.is_some())
}

/// The member was alone when it last said so: no write was ever acknowledged without it. Whatever started here before
/// must have been that very cluster. etcd itself has the last word: it serves such data only if its own list says so too.
fn is_last_copy(w: &World, owner: &Owner) -> bool {
    let same = owner.cluster.is_some() && owner.cluster == w.peers.cluster.cluster;
    owner.voters == Some(1) && (!w.was_started() || same)
}

fn question(id: &str, owner: &Owner) -> Status {
    let whose = if owner.unit.is_empty() { "an unknown member" } else { &owner.unit };
    let size = owner.voters.map(|voters| format!(" of {voters}")).unwrap_or_default();
    Status::blocked(format!(
        "storage {id} holds data of {whose}{size}, and no quorum says whether it is needed: bring the others back, or detach it (juju detach-storage {id})"
    ))
}

/// The server is stopped for the time of the copy, under the cluster's restart lock.
fn move_to(w: &World, to: &'static str) -> Option<Next> {
    let serves = w.own_status().is_some_and(|status| !status.learner) && w.members().is_some();
    let (settings, version) = service::settings_in(w, to)?;
    let from = w.host.place.clone();
    serves.then(|| Next::Do(Step::MoveData { from, to, settings: Box::new(settings), version }))
}

#[cfg(test)]
mod tests;
