//! The snap's channel on a running cluster: within its minor version or one up, one unit after the other. A unit that failed
//! keeps its old etcd, and those with higher numbers stay where they are.

use std::cmp::Ordering;

use super::minors::NotYet;
use super::status::AGAIN;
use super::{Next, minors, release};
use crate::etcd::{Channel, Minor, Track, Version};
use crate::host::Offer;
use crate::juju::{Status, UnitName};
use crate::options::{Options, WantedChannel};
use crate::rollout::Rollout;
use crate::step::Step;
use crate::world::{Door, Following, Host, Peers, Reading, World};

/// The names of the steps, to ask whether they were tried.
const STEPS: [&str; 2] = ["upgrade-snap", "switch-channel"];

/// Where the operator's channel leads from here.
enum Way<'a> {
    /// It holds what is installed; the snap follows another one.
    Switch(&'a Channel),
    /// It holds something that etcd can move to.
    Move(Target<'a>),
    /// etcd does not go there: why, and what to do.
    No(String),
    /// It cannot go there yet: what is waited for.
    NotYet(String),
}

/// What to move to.
struct Target<'a> {
    channel: &'a Channel,
    minor: Minor,
    /// As far as the store was asked.
    version: Option<Version>,
}

/// A move that was broken off comes before everything else: while snapd is at work the snap may even seem to be absent, and
/// its service must not be started over data that is being copied.
pub(super) fn unfinished(w: &World) -> Option<Next> {
    let moving = w.host.moving.as_ref()?;
    Some(match w.tried.in_vain("finish-move") {
        Some(why) => Next::Done(Status::waiting(format!("Moving etcd to {}: {why}", moving.channel))),
        None => Next::Do(Step::FinishMove(moving.clone())),
    })
}

/// A running voter follows the channel when it is its turn.
pub(super) fn next(w: &World) -> Option<Next> {
    let is_past = match w.host.releases.current {
        Some(_) => release::refusal(w).is_none(),
        None => refusal(w).is_none() || is_mended(w),
    };
    if w.host.upgrade_refused.is_some() && is_past {
        return Some(Next::Do(Step::ForgetRefusedUpgrade));
    }
    let votes = matches!(&w.etcd.door, Door::Open(status) if !status.learner);
    // snapd copies what is in the usual place alone, and the way back needs that copy.
    let is_elsewhere = super::storage::is_elsewhere(w);
    let stays =
        !votes || is_elsewhere || is_from_file(w) || refusal(w).is_some() || tried_in_vain(w).is_some();
    if stays {
        return None;
    }
    match way(w, w.options.as_ref().ok()?)? {
        Way::Switch(channel) => Some(Next::Do(Step::SwitchChannel(channel.clone()))),
        Way::Move(target) if whose_turn(w, &target).is_none() => Some(Next::Do(Step::UpgradeSnap {
            channel: target.channel.clone(),
            name: name(w, target.channel),
            minor: target.minor,
            save_first: minors::is_first_on(w, target.minor),
        })),
        Way::Move(_) | Way::No(_) | Way::NotYet(_) => None,
    }
}

/// What could not be taken back has come to serve after all.
fn is_mended(w: &World) -> bool {
    let is_there = |options| w.host.following == Following::Named && way(w, options).is_none();
    matches!(w.etcd.door, Door::Open(_)) && w.options.as_ref().is_ok_and(is_there)
}

/// The other half of the story of a server that does not start.
pub(super) fn why_it_is_down(w: &World) -> Option<String> {
    if let Some(why) = release::refusal(w) {
        return Some(format!("bin-source: {why}"));
    }
    let (options, why) = (w.options.as_ref().ok()?, refusal(w)?);
    Some(format!("channel {}: {why}", name(w, wanted(w, options)?)))
}

/// Why the unit does not run what the operator's channel names.
pub(super) fn why_it_waits(w: &World, options: &Options) -> Option<Status> {
    let channel = wanted(w, options)?;
    let stay = Channel::stable(w.installed_version()?.minor_version());
    if let Some(why) = refusal(w) {
        let again = match rollout(&w.peers, &w.host, channel) {
            Some(_) => "run the action upgrade on the leader to try again".to_owned(),
            None => format!("set channel={stay}, then try again"),
        };
        return Some(Status::blocked(format!("channel {}: {why}: {again}", name(w, channel))));
    }
    let way = way(w, options)?;
    match &way {
        Way::No(why) => return Some(Status::blocked(why.clone())),
        Way::NotYet(why) => return Some(Status::waiting(why.clone())),
        Way::Move(_) if is_from_file(w) => {
            return Some(Status::blocked(format!(
                "channel {channel}: etcd comes from the attached resource: attach another and run install, or set channel={stay}"
            )));
        }
        Way::Move(_) | Way::Switch(_) => {}
    }
    if let Some((step, why)) = tried_in_vain(w) {
        let told = format!("channel {channel}: {why}");
        return Some(if w.tried.not_yet(step) {
            Status::waiting(told)
        } else {
            Status::blocked(format!("{told}; {AGAIN}"))
        });
    }
    let Way::Move(target) = way else { return None };
    let first = whose_turn(w, &target)?;
    let to = match &target.version {
        Some(version) if is_same_minor(w, target.minor) => version.to_string(),
        _ => target.minor.to_string(),
    };
    Some(Status::waiting(format!("channel {channel}: waiting until {first} has moved to {to}")))
}

/// The channel, where it counts: a unit that runs a release has none.
fn wanted<'a>(w: &World, options: &'a Options) -> Option<&'a Channel> {
    match &options.channel {
        WantedChannel::Named(channel) if w.host.releases.current.is_none() => Some(channel),
        WantedChannel::Named(_) | WantedChannel::Auto => None,
    }
}

/// What the operator wants of the channel that the snap follows already.
pub fn rollout<'a>(peers: &'a Peers, host: &Host, channel: &Channel) -> Option<&'a Rollout> {
    let Reading::Known(Some(snap)) = &host.snap else { return None };
    peers.cluster.rollout.as_ref().filter(|rollout| rollout.concerns(channel, snap))
}

/// What a move there is known by.
fn name(w: &World, channel: &Channel) -> String {
    rollout(&w.peers, &w.host, channel).map_or_else(|| channel.to_string(), Rollout::name)
}

/// Why the whole application cannot move to what the store has in the channel that this unit follows.
pub fn why_no_rollout(w: &World, offer: Offer) -> Option<String> {
    let following = Following::Another { offer: Some(Reading::Known(offer)) };
    let host = Host { following, ..w.host.clone() };
    let w = World { host, ..w.clone() };
    match way(&w, w.options.as_ref().ok()?)? {
        Way::No(why) | Way::NotYet(why) => Some(why),
        Way::Move(_) | Way::Switch(_) => None,
    }
}

/// The minor version that the operator's channel leads to, if it leads anywhere.
pub(super) fn goal(w: &World) -> Reading<Option<Minor>> {
    let Some(channel) = w.options.as_ref().ok().and_then(|options| wanted(w, options)) else {
        return Reading::Known(None);
    };
    let minor = match (channel.track, &w.host.following) {
        (Track::Minor(minor), _) => Some(minor),
        (Track::Latest, Following::Named) => None,
        (Track::Latest, Following::Another { offer: Some(Reading::Known(offer)) }) => {
            offer.version.parse().ok().map(|version: Version| version.minor_version())
        }
        (Track::Latest, Following::Busy(why) | Following::Unknown(why))
        | (Track::Latest, Following::Another { offer: Some(Reading::Unknown(why)) }) => {
            return Reading::Unknown(why.clone());
        }
        (Track::Latest, Following::Unasked | Following::Another { offer: None }) => {
            return Reading::Unknown("the store was not asked".to_owned());
        }
    };
    Reading::Known(minor.filter(|_| refusal(w).is_none()))
}

/// Nothing where the snap follows the channel already.
fn way<'a>(w: &World, options: &'a Options) -> Option<Way<'a>> {
    let channel = wanted(w, options)?;
    let installed = w.installed_version()?.minor_version();
    match channel.track {
        // Its name says enough.
        Track::Minor(minor) if minor != installed => Some(by_minor(w, channel, minor, None)),
        Track::Minor(_) | Track::Latest => by_offer(w, channel, installed),
    }
}

fn by_offer<'a>(w: &World, channel: &'a Channel, installed: Minor) -> Option<Way<'a>> {
    let offer = match &w.host.following {
        Following::Unasked | Following::Named => return None,
        Following::Busy(why) | Following::Unknown(why) => {
            return Some(Way::No(format!("channel {channel}: {why}: see snap list etcd on this unit")));
        }
        Following::Another { offer } => offer,
    };
    Some(match (offer, channel.track) {
        (Some(Reading::Unknown(why)), _) => Way::No(format!("channel {channel}: {why}; {AGAIN}")),
        // The move itself will tell.
        (None, Track::Minor(minor)) => Way::Move(Target { channel, minor, version: None }),
        (None, Track::Latest) => Way::No(format!(
            "channel {channel}: the store does not tell which etcd is in a branch of latest: set channel={}",
            Channel::stable(installed)
        )),
        (Some(Reading::Known(offer)), track) => {
            if matches!(&w.host.snap, Reading::Known(Some(snap)) if snap.revision == offer.revision) {
                return Some(Way::Switch(channel));
            }
            match (offer.version.parse::<Version>(), track) {
                (Err(error), _) => {
                    Way::No(format!("channel {channel}: {error}: set channel={}", Channel::stable(installed)))
                }
                (Ok(version), Track::Minor(minor)) if version.minor_version() != minor => Way::No(format!(
                    "channel {channel}: the store has etcd {version} there: set channel={}",
                    Channel::stable(installed)
                )),
                (Ok(version), _) => by_minor(w, channel, version.minor_version(), Some(version)),
            }
        }
    })
}

/// etcd moves up one minor version at a time and not down.
fn by_minor<'a>(w: &World, channel: &'a Channel, minor: Minor, version: Option<Version>) -> Way<'a> {
    let target = Target { channel, minor, version };
    let Some(installed) = w.installed_version().map(|version| version.minor_version()) else {
        return Way::Move(target);
    };
    let (next, stay) = (Channel::stable(installed.next()), Channel::stable(installed));
    let named = match (&target.version, channel.track) {
        (Some(version), Track::Latest) => format!("{channel} (etcd {version})"),
        _ => channel.to_string(),
    };
    match minor.cmp(&installed) {
        Ordering::Less => Way::No(format!(
            "channel {named} is below the installed {installed}, and etcd does not move down: set channel={stay}"
        )),
        Ordering::Greater if minor > installed.next() => {
            Way::No(format!("channel {named} skips {}: set channel={next} first", installed.next()))
        }
        _ => match minors::why_not_yet(w, &format!("channel {named}"), minor) {
            Some(NotYet::Refused(why)) => Way::No(why),
            Some(NotYet::Preparing(why)) => Way::NotYet(why),
            None => Way::Move(target),
        },
    }
}

/// snapd numbers what was installed from a file `x1`, `x2`, …: the attached resource goes before the store.
fn is_from_file(w: &World) -> bool {
    matches!(&w.host.snap, Reading::Known(Some(snap)) if snap.is_from_file())
}

fn tried_in_vain(w: &World) -> Option<(&'static str, &str)> {
    STEPS.iter().find_map(|step| Some((*step, w.tried.in_vain(step)?)))
}

/// What was moved to and left again, and why.
pub(super) fn refused(w: &World) -> Option<(&str, &str)> {
    let (named, why) = w.host.upgrade_refused.as_deref()?.split_once('\n')?;
    Some((named, why.trim_end()))
}

/// Why the channel that is wanted now was tried and left again.
fn refusal(w: &World) -> Option<&str> {
    let options = w.options.as_ref().ok()?;
    let (channel, why) = refused(w)?;
    (name(w, wanted(w, options)?) == channel).then_some(why)
}

fn is_same_minor(w: &World, minor: Minor) -> bool {
    w.installed_version().is_some_and(|version| version.minor_version() == minor)
}

/// A unit with a lower number that has not moved yet. Units without a member have nothing to move.
fn whose_turn<'a>(w: &'a World, target: &Target<'_>) -> Option<&'a UnitName> {
    let installed = w.installed_version();
    let is_behind = |theirs: Option<&Version>| {
        if !is_same_minor(w, target.minor) {
            return theirs.is_none_or(|theirs| theirs.minor_version() < target.minor);
        }
        // Of two builds of one version nobody can tell who has which.
        let is_told = target.version.is_some() && target.version != installed;
        is_told && theirs == installed.as_ref()
    };
    let mut behind = w.peers.units.iter().filter(|(unit, peer)| {
        let moves = unit.number() < w.unit.number() && peer.record.member.is_some();
        moves && !w.peers.leaving.contains(unit) && is_behind(peer.record.version.as_ref())
    });
    behind.next().map(|(unit, _)| unit)
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, settled, three};
    use super::*;
    use crate::host::Installed;
    use crate::world::V2Store;

    /// Unit `number` of three on 3.4.23 from the store, told to follow another channel.
    fn told(number: u32, channel: &str, offer: Option<Reading<Offer>>) -> World {
        let mut w = settled(number, &three());
        w.host.snap = Reading::Known(Some(Installed { revision: "230".into(), version: "3.4.23".into() }));
        w.options.as_mut().unwrap().channel = WantedChannel::Named(channel.parse().unwrap());
        w.host.following = Following::Another { offer };
        w
    }

    fn has(version: &str, revision: &str) -> Option<Reading<Offer>> {
        Some(Reading::Known(Offer { version: version.into(), revision: revision.into() }))
    }

    fn moves(channel: &str, minor: &str, save_first: bool) -> Next {
        let channel: Channel = channel.parse().unwrap();
        let minor = minor.parse().unwrap();
        Next::Do(Step::UpgradeSnap { name: channel.to_string(), channel, minor, save_first })
    }

    #[test]
    fn within_its_minor_a_channel_is_followed_and_restarts_only_for_another_revision() {
        let switch = |channel: &str| Next::Do(Step::SwitchChannel(channel.parse().unwrap()));
        assert_eq!(next(&told(0, "3.4/edge", has("3.4.23", "230"))), switch("3.4/edge"));
        assert_eq!(next(&told(2, "stable", has("3.4.23", "230"))), switch("latest/stable"));
        assert_eq!(next(&told(0, "3.4/edge", has("3.4.30", "240"))), moves("3.4/edge", "3.4", false));
        assert_eq!(next(&told(1, "3.4/edge", has("3.4.23", "240"))), moves("3.4/edge", "3.4", false));
        assert_eq!(next(&told(2, "3.4/edge/fix", None)), moves("3.4/edge/fix", "3.4", false));
        for following in [Following::Named, Following::Unasked] {
            let w = World {
                host: crate::world::Host { following, ..told(0, "3.4", None).host },
                ..told(0, "3.4", None)
            };
            assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers");
        }
    }

    #[test]
    fn a_version_without_the_old_store_waits_for_its_end() {
        let mut w = told(0, "3.6/stable", None);
        w.host.snap = Reading::Known(Some(Installed { revision: "240".into(), version: "3.5.30".into() }));
        for peer in w.peers.units.values_mut() {
            peer.record.version = "3.5.30".parse().ok();
        }
        w.options.as_mut().unwrap().enable_v2 = crate::options::EnableV2::On;
        w.etcd.v2_store = V2Store::Unknown("it was not asked".into());
        let way = |w: &World| match way(w, w.options.as_ref().unwrap()) {
            Some(Way::No(why)) => why,
            _ => String::new(),
        };
        assert!(way(&w).starts_with("channel 3.6/stable: etcd 3.6 does not start on v2 keys: "));
        w.etcd.v2_store = V2Store::Off;
        assert_eq!(way(&w), "");
    }

    #[test]
    fn another_patch_is_taken_in_the_order_of_the_numbers() {
        let mut w = told(1, "3.4/edge", has("3.4.30", "240"));
        let waits = "waiting channel 3.4/edge: waiting until etcd/0 has moved to 3.4.30";
        assert_eq!(done(next(&w)).to_string(), waits);
        w.peers.units.get_mut(&"etcd/0".parse().unwrap()).unwrap().record.version = "3.4.30".parse().ok();
        assert_eq!(next(&w), moves("3.4/edge", "3.4", false));
    }

    /// The channel is the one that the snap follows, and the leader's action has asked for what it has now.
    #[test]
    fn a_rollout_moves_each_unit_once_and_is_tried_again_when_it_is_asked_for_again() {
        let asked = |number: u32, attempt: u32| {
            let mut w = told(number, "3.4/stable", has("3.4.30", "240"));
            w.peers.cluster.rollout = format!("3.4/stable 240 3.4.30 {attempt}").parse().ok();
            w
        };
        let (channel, minor) = ("3.4/stable".parse().unwrap(), "3.4".parse().unwrap());
        let move_of = |name: &str| {
            let (channel, name) = (Clone::clone(&channel), name.to_owned());
            Next::Do(Step::UpgradeSnap { channel, name, minor, save_first: false })
        };
        assert_eq!(next(&asked(0, 1)), move_of("3.4/stable (revision 240)"));
        let waits = "waiting channel 3.4/stable: waiting until etcd/0 has moved to 3.4.30";
        assert_eq!(done(next(&asked(1, 1))).to_string(), waits);

        let refused = |attempt: u32| {
            let mut w = asked(0, attempt);
            w.host.upgrade_refused = Some("3.4/stable (revision 240)\nit did not serve\n".into());
            w
        };
        let told = "blocked channel 3.4/stable (revision 240): it did not serve: run the action upgrade on the leader to try again";
        assert_eq!(done(next(&refused(1))).to_string(), told);
        assert_eq!(next(&refused(2)), Next::Do(Step::ForgetRefusedUpgrade));
        let mut moved = refused(1);
        moved.host.snap =
            Reading::Known(Some(Installed { revision: "240".into(), version: "3.4.30".into() }));
        moved.host.following = Following::Named;
        assert_eq!(next(&moved), Next::Do(Step::ForgetRefusedUpgrade), "it serves after all");
    }

    #[test]
    fn latest_moves_up_one_minor_and_says_what_it_holds_where_it_cannot() {
        assert_eq!(next(&told(0, "latest", has("3.5.16", "240"))), moves("latest/stable", "3.5", true));
        let unreachable = Some(Reading::Unknown("cannot reach the snap store".into()));
        for (channel, offer, why) in [
            (
                "latest",
                has("3.6.1", "250"),
                "channel latest/stable (etcd 3.6.1) skips 3.5: set channel=3.5/stable first",
            ),
            (
                "latest",
                has("3.3.27", "20"),
                "channel latest/stable (etcd 3.3.27) is below the installed 3.4, and etcd does not move down: set channel=3.4/stable",
            ),
            (
                "3.4/edge",
                has("3.5.16", "240"),
                "channel 3.4/edge: the store has etcd 3.5.16 there: set channel=3.4/stable",
            ),
            (
                "latest/edge",
                unreachable,
                "channel latest/edge: cannot reach the snap store; see to that, every hook tries again",
            ),
            (
                "latest/edge/fix",
                None,
                "channel latest/edge/fix: the store does not tell which etcd is in a branch of latest: set channel=3.4/stable",
            ),
        ] {
            assert_eq!(done(next(&told(0, channel, offer))), Status::blocked(why));
        }
    }
}
