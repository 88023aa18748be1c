//! The snap's channel on a running cluster: one minor version up, one unit after the other in the order of their
//! numbers. A unit that failed keeps its old etcd, and those behind it stay where they are.

use std::cmp::Ordering;

use super::Next;
use crate::etcd::{Channel, Minor, Track};
use crate::juju::{Status, UnitName};
use crate::options::{Options, WantedChannel};
use crate::step::Step;
use crate::world::{Door, Reading, World};

/// The name of the step, to ask whether it was tried.
const STEP: &str = "upgrade-snap";

/// A running voter follows the channel when it is its turn.
pub(super) fn next(w: &World) -> Option<Next> {
    if w.host.upgrade_refused.is_some() && refusal(w).is_none() {
        return Some(Next::Do(Step::ForgetRefusedUpgrade));
    }
    let votes = matches!(&w.etcd.door, Door::Open(status) if !status.learner);
    let options = w.options.as_ref().ok()?;
    let (channel, minor) = one_up(w, options)?;
    let stays = !votes || is_from_file(w) || refusal(w).is_some() || w.tried.in_vain(STEP).is_some();
    if stays || whose_turn(w, minor).is_some() {
        return None;
    }
    Some(Next::Do(Step::UpgradeSnap { channel: channel.clone(), save_first: is_first(w, minor) }))
}

/// Why the unit does not run what the operator's channel names.
pub(super) fn why_it_waits(w: &World, options: &Options) -> Option<Status> {
    let channel = wanted(w, options)?;
    let Track::Minor(minor) = channel.track else { return None };
    let installed = w.installed_version()?.minor_version();
    let (next, stay) = (Channel::stable(installed.next()), Channel::stable(installed));
    match minor.cmp(&installed) {
        Ordering::Equal => None,
        Ordering::Less => Some(Status::blocked(format!(
            "channel {channel} is below the installed {installed}, and etcd does not move down: set channel={stay}"
        ))),
        Ordering::Greater if minor > installed.next() => Some(Status::blocked(format!(
            "channel {channel} skips {}: set channel={next} first",
            installed.next()
        ))),
        Ordering::Greater => why_not_now(w, channel, minor, &stay),
    }
}

fn why_not_now(w: &World, channel: &Channel, minor: Minor, stay: &Channel) -> Option<Status> {
    if is_from_file(w) {
        return Some(Status::blocked(format!(
            "channel {channel}: etcd comes from the attached resource: attach another and run install, or set channel={stay}"
        )));
    }
    if let Some(why) = refusal(w) {
        return Some(Status::blocked(format!(
            "channel {channel}: {why}: set channel={stay}, then try again"
        )));
    }
    if let Some(why) = w.tried.in_vain(STEP) {
        let told = format!("channel {channel}: {why}");
        return Some(if w.tried.not_yet(STEP) { Status::waiting(told) } else { Status::blocked(told) });
    }
    let first = whose_turn(w, minor)?;
    Some(Status::waiting(format!("channel {channel}: waiting until {first} has moved to {minor}")))
}

/// The channel, where it counts: a unit that runs a release has none.
fn wanted<'a>(w: &World, options: &'a Options) -> Option<&'a Channel> {
    match &options.channel {
        WantedChannel::Named(channel) if w.host.releases.current.is_none() => Some(channel),
        WantedChannel::Named(_) | WantedChannel::Auto => None,
    }
}

/// The channel if it is exactly one minor up.
fn one_up<'a>(w: &World, options: &'a Options) -> Option<(&'a Channel, Minor)> {
    let channel = wanted(w, options)?;
    let Track::Minor(minor) = channel.track else { return None };
    (minor == w.installed_version()?.minor_version().next()).then_some((channel, minor))
}

/// snapd numbers what was installed from a file `x1`, `x2`, …: the attached resource goes before the store.
fn is_from_file(w: &World) -> bool {
    matches!(&w.host.snap, Reading::Known(Some(snap)) if snap.revision.starts_with('x'))
}

/// Why the channel that is wanted now was tried and left again.
fn refusal(w: &World) -> Option<&str> {
    let options = w.options.as_ref().ok()?;
    let (channel, why) = w.host.upgrade_refused.as_deref()?.split_once('\n')?;
    (wanted(w, options)?.to_string() == channel).then_some(why.trim_end())
}

/// A unit with a lower number that has not moved yet. Units without a member have nothing to move.
fn whose_turn(w: &World, minor: Minor) -> Option<&UnitName> {
    let peers = w.peers.units.iter().filter(|(unit, peer)| {
        unit.number() < w.unit.number() && peer.record.member.is_some() && !w.peers.leaving.contains(unit)
    });
    let mut behind =
        peers.filter(|(_, peer)| peer.record.version.as_ref().is_none_or(|v| v.minor_version() < minor));
    behind.next().map(|(unit, _)| unit)
}

/// No unit runs the new version yet: what is saved now can be restored by the old one.
fn is_first(w: &World, minor: Minor) -> bool {
    let mut versions = w.peers.units.values().filter_map(|peer| peer.record.version.as_ref());
    versions.all(|version| version.minor_version() < minor)
}
