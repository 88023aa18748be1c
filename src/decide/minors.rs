//! Versions side by side in one cluster. Invariant: no server is started that is more than one minor version ahead of any
//! member, or on data that it does not start on. The first member or learner two ahead makes all running ones end.

use super::{Next, preparing, release, upgrade};
use crate::etcd::{Channel, MemberId, Minor, OldRecords, Track, Version};
use crate::juju::Status;
use crate::relations::cluster::UnitRecord;
use crate::step::{Source, Step};
use crate::world::{Data, Peers, Reading, V2Store, World};

/// The first minor version that has no old store, and that reads the members from another place than those before.
pub(super) const WITHOUT_V2: Minor = Minor { major: 3, minor: 6 };
/// The first version before it that keeps its members correctly in both places. Source: etcd's upgrade guide to 3.6.
const KEEPS_MEMBERS: Version = Version { major: 3, minor: 5, patch: 26 };

/// Another member, by its unit's or its own name, and its version if it is known.
type Other = (String, Option<Version>);

/// The version of a member, if it is known. One that was asked in this run knows better than the databag, which was read at
/// its begin.
pub(super) fn version_of<'a>(
    w: &'a World,
    member: MemberId,
    told: Option<&'a UnitRecord>,
) -> Option<&'a Version> {
    w.etcd.versions.get(&member).or_else(|| told?.version.as_ref())
}

/// The other members.
fn others(w: &World) -> impl Iterator<Item = Other> {
    let units = w.peers.units.iter().filter_map(move |(unit, peer)| {
        let version = version_of(w, peer.record.member?, Some(&peer.record));
        Some((unit.to_string(), version.cloned()))
    });
    let own = w.own_status().map(|status| status.member);
    let has_unit = |id| w.peers.units.values().any(|peer| peer.record.member == Some(id));
    // Units of the earlier charm do not say which member is theirs.
    let without = w.members().unwrap_or_default().iter().filter_map(move |member| {
        let is_told = Some(member.id) == own || has_unit(member.id);
        let version = version_of(w, member.id, None).filter(|_| !is_told)?;
        Some((member.name.clone(), Some(version.clone())))
    });
    units.chain(without)
}

/// The lowest minor version that members publish: what a newcomer can be without harm.
pub fn lowest_published(peers: &Peers) -> Option<Minor> {
    let published = peers.units.values().filter(|peer| peer.record.member.is_some());
    published.filter_map(|peer| peer.record.version.as_ref()).map(Version::minor_version).min()
}

/// The member that etcd `minor` would leave two behind: what is to be said of it.
fn who_is_behind(w: &World, minor: Minor) -> Option<String> {
    others(w).find_map(|(who, version)| match version {
        None => Some(format!("{who} does not tell its version yet")),
        Some(version) if version.minor_version().next() < minor => {
            Some(format!("{who} still runs {version}"))
        }
        Some(_) => None,
    })
}

/// Why a running member is not moved now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotYet {
    /// The operator has to do something first: the cause and what.
    Refused(String),
    /// The charm is making it possible: what is waited for.
    Preparing(String),
}

impl NotYet {
    /// What the operator sees.
    pub fn status(self) -> Status {
        match self {
            NotYet::Refused(why) => Status::blocked(why),
            NotYet::Preparing(why) => Status::waiting(why),
        }
    }
}

/// Why a running member cannot become etcd `minor`, one up or the same, now. `named`: the operator's words for it.
pub fn why_not_yet(w: &World, named: &str, minor: Minor) -> Option<NotYet> {
    if let Some(why) = why_never(w, named, minor) {
        return Some(NotYet::Refused(why));
    }
    let installed = w.installed_version()?.minor_version();
    if installed >= minor || !preparing::needs_it(minor) {
        return None;
    }
    let who = preparing::who_is_not_ready(w, minor)?;
    Some(NotYet::Preparing(format!(
        "{named}: each unit restarts once more on {installed} first, so that {minor} finds nothing of the v2 store: waiting for {who}"
    )))
}

/// Why time alone does not help: the cause and what to do first.
pub(super) fn why_never(w: &World, named: &str, minor: Minor) -> Option<String> {
    let installed = w.installed_version()?;
    if minor <= installed.minor_version() {
        return None;
    }
    if let Some(behind) = who_is_behind(w, minor) {
        let installed = installed.minor_version();
        return Some(format!("{named}: {behind}: let all units run {installed} first"));
    }
    if minor < WITHOUT_V2 {
        return None;
    }
    if w.etcd.v2_store != V2Store::Off {
        return Some(format!(
            "{named}: etcd {minor} does not start on v2 keys: move them to v3, delete them, set enable_v2=false, then try again"
        ));
    }
    if w.host.old_records == Reading::Known(OldRecords::Keys) {
        return Some(format!(
            "{named}: etcd {minor} does not start on v2 keys, and this unit's data holds some: set enable_v2=true, move them to v3, delete them with their directories, set enable_v2=false, then try again"
        ));
    }
    let own = (w.unit.to_string(), Some(installed));
    let is_older = |(_, version): &Other| version.as_ref().is_some_and(|version| *version < KEEPS_MEMBERS);
    let (who, version) = std::iter::once(own).chain(others(w)).find(is_older)?;
    let version = version.map(|version| version.to_string()).unwrap_or_default();
    Some(format!(
        "{named}: {who} runs {version}, which can lose members on the way to {minor}: bring all units to {KEEPS_MEMBERS} or later first"
    ))
}

/// No member runs this minor version yet, which is above the installed one: what is saved now can be restored by the old one.
pub fn is_first_on(w: &World, minor: Minor) -> bool {
    let is_above = w.installed_version().is_some_and(|version| version.minor_version() < minor);
    is_above && others(w).filter_map(|(_, version)| version).all(|version| version.minor_version() < minor)
}

/// Why etcd `minor` cannot join the cluster: `installed` says what it is.
fn why_not_beside(w: &World, installed: &str, minor: Minor) -> Option<String> {
    if let Some(behind) = who_is_behind(w, minor) {
        return Some(format!("{installed} cannot join: {behind}"));
    }
    // The raft leader may send it its log from the first entry on.
    let is_older = |(_, version): &Other| version.as_ref().is_some_and(|one| one.minor_version() < minor);
    if let Some((who, Some(version))) = others(w).find(is_older).filter(|_| preparing::needs_it(minor)) {
        return Some(format!("{installed} cannot join: {who} still runs {version}"));
    }
    let known: Option<Vec<Minor>> = others(w).map(|(_, version)| Some(version?.minor_version())).collect();
    let lowest = known?.into_iter().min()?;
    (minor < lowest).then(|| format!("{installed} cannot join: the members run {lowest}"))
}

/// Why what is installed cannot join, and what to do.
pub(super) fn why_not_join(w: &World) -> Option<Status> {
    let installed = w.installed_version()?;
    let why = why_not_beside(w, &format!("etcd {installed}"), installed.minor_version())?;
    if is_on_its_way(w, &installed) {
        return Some(Status::waiting(format!("Joining: {why}")));
    }
    let remedy = match (lowest_published(&w.peers), is_from_store(w)) {
        (Some(lowest), true) => format!("set channel={}", Channel::stable(lowest)),
        (Some(lowest), false) => format!("give it etcd {lowest}, or replace the unit"),
        (None, _) => return Some(Status::waiting(why)),
    };
    Some(Status::blocked(format!("{why}: {remedy}")))
}

/// The members are about to become what is installed here.
fn is_on_its_way(w: &World, installed: &Version) -> bool {
    let minor = installed.minor_version();
    let is_next = lowest_published(&w.peers).is_some_and(|lowest| lowest.next() == minor);
    is_next && (upgrade::goal(w) == Reading::Known(Some(minor)) || release::is_followed(w))
}

/// A member that has no old store any more: with it in the cluster nobody may serve that.
pub(super) fn who_has_none(w: &World) -> Option<(String, Version)> {
    let has_none = |version: &Version| version.minor_version() >= WITHOUT_V2;
    others(w).find_map(|(who, version)| Some((who, version.filter(has_none)?)))
}

fn is_from_store(w: &World) -> bool {
    matches!(&w.host.snap, Reading::Known(Some(snap)) if !snap.is_from_file())
}

/// No server has run here yet that could have promised anything.
pub(super) fn is_fresh(w: &World) -> bool {
    w.host.data == Data::Empty && w.host.config.is_none()
}

/// A snap without data has promised nothing: it may still become what the cluster needs, up or down.
pub(super) fn fit_in(w: &World) -> Option<Next> {
    let is_fresh = is_fresh(w) && is_from_store(w);
    let Some(Source::Channel(channel)) = w.host.source.as_ref().filter(|_| is_fresh) else { return None };
    let Track::Minor(minor) = channel.track else { return None };
    let helps = Some(minor) != w.installed_version().map(|version| version.minor_version())
        && why_not_beside(w, "", minor).is_none();
    let step = Step::InstallSnap(Source::Channel(channel.clone()));
    let is_new = w.tried.in_vain(step.name()).is_none();
    (helps && is_new && why_not_join(w).is_some()).then_some(Next::Do(step))
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, member, peer_of, ready, settled, three};
    use super::*;
    use crate::host::Installed;
    use crate::options::WantedChannel;
    use crate::world::{Health, Roster};

    fn run(w: &mut World, unit: &str, version: Option<&str>) {
        let peer = w.peers.units.get_mut(&unit.parse().unwrap()).unwrap();
        peer.record.version = version.map(|version| version.parse().unwrap());
    }

    fn install(w: &mut World, version: &str) {
        let installed = Installed { revision: "240".into(), version: version.into() };
        w.host.snap = Reading::Known(Some(installed));
    }

    /// etcd/0 of three on one version, the others on another.
    fn mixed(own: &str, theirs: &str) -> World {
        let mut w = settled(0, &three());
        install(&mut w, own);
        for unit in ["etcd/1", "etcd/2"] {
            run(&mut w, unit, Some(theirs));
        }
        w
    }

    fn why(w: &World, minor: &str) -> String {
        why_never(w, "X", minor.parse().unwrap()).unwrap_or_default()
    }

    #[test]
    fn nobody_moves_two_ahead_of_the_last_one() {
        let mut w = mixed("3.5.30", "3.5.30");
        assert_eq!(why(&w, "3.6"), "");
        run(&mut w, "etcd/2", Some("3.4.23"));
        assert_eq!(why(&w, "3.6"), "X: etcd/2 still runs 3.4.23: let all units run 3.5 first");
        assert_eq!(why(&w, "3.5"), "");
        run(&mut w, "etcd/2", None);
        assert_eq!(why(&w, "3.6"), "X: etcd/2 does not tell its version yet: let all units run 3.5 first");
        w.etcd.versions.insert(member(2, false).id, "3.5.30".parse().unwrap());
        assert_eq!(why(&w, "3.6"), "", "what was asked now counts");
        w.peers.units.remove(&"etcd/2".parse().unwrap());
        w.etcd.versions.insert(member(2, false).id, "3.4.23".parse().unwrap());
        assert_eq!(why(&w, "3.6"), "X: etcd2 still runs 3.4.23: let all units run 3.5 first");
    }

    #[test]
    fn only_the_way_from_the_old_store_is_prepared() {
        let prepares = |own: &str, minor: &str| {
            matches!(why_not_yet(&mixed(own, own), "X", minor.parse().unwrap()), Some(NotYet::Preparing(_)))
        };
        assert!(prepares("3.5.30", "3.6") && prepares("3.6.16", "3.7"));
        assert!(!prepares("3.4.30", "3.5") && !prepares("3.7.3", "3.8") && !prepares("3.5.30", "3.5"));
    }

    #[test]
    fn only_the_first_that_moves_up_saves_what_the_old_one_can_restore() {
        for (minor, theirs, is_first) in
            [("3.5", "3.4.23", true), ("3.5", "3.5.30", false), ("3.4", "3.4.23", false)]
        {
            assert_eq!(is_first_on(&mixed("3.4.23", theirs), minor.parse().unwrap()), is_first);
        }
    }

    #[test]
    fn the_way_to_3_6_begins_where_members_are_kept_correctly() {
        let keeps = "which can lose members on the way to 3.6: bring all units to 3.5.26 or later first";
        assert_eq!(why(&mixed("3.5.16", "3.5.30"), "3.6"), format!("X: etcd/0 runs 3.5.16, {keeps}"));
        assert_eq!(why(&mixed("3.5.26", "3.5.25"), "3.6"), format!("X: etcd/1 runs 3.5.25, {keeps}"));
        let mut w = mixed("3.5.26", "3.6.1");
        assert_eq!(why(&w, "3.6"), "");
        w.etcd.v2_store = V2Store::Used;
        assert!(why(&w, "3.6").starts_with("X: etcd 3.6 does not start on v2 keys: "));
        assert_eq!(why(&mixed("3.4.23", "3.4.23"), "3.5"), "");
    }

    /// Unit 3 with this snap beside three members of another version, `channel` being what it would be installed from.
    fn newcomer(installed: &str, theirs: &str, channel: &str) -> World {
        let mut w = ready(3);
        install(&mut w, installed);
        w.peers.cluster.cluster = Some(super::super::worlds::CLUSTER);
        w.etcd.roster = Roster::Confirmed(three());
        for number in 0..3 {
            let unit = format!("etcd/{number}");
            w.peers.units.insert(unit.parse().unwrap(), peer_of(&unit.parse().unwrap()));
            run(&mut w, &unit, Some(theirs));
            w.etcd.health.insert(member(number, false).id, Health::Healthy);
        }
        w.host.source = Some(Source::Channel(channel.parse().unwrap()));
        w
    }

    #[test]
    fn a_newcomer_is_no_more_than_one_ahead_and_never_behind() {
        assert!(matches!(next(&newcomer("3.4.23", "3.4.23", "3.4")), Next::Do(Step::AddLearner { .. })));
        assert!(matches!(next(&newcomer("3.5.16", "3.4.23", "3.5")), Next::Do(Step::AddLearner { .. })));
        let refused = |w: &World| done(next(w)).to_string();
        assert_eq!(
            refused(&newcomer("3.6.1", "3.4.23", "3.6")),
            "blocked etcd 3.6.1 cannot join: etcd/0 still runs 3.4.23: set channel=3.4/stable"
        );
        assert_eq!(
            refused(&newcomer("3.4.23", "3.5.16", "3.4")),
            "blocked etcd 3.4.23 cannot join: the members run 3.5: set channel=3.5/stable"
        );
    }

    /// It may be sent the leader's log from the first entry on, with all that the old store has left there.
    #[test]
    fn a_newcomer_without_the_old_store_waits_until_all_have_moved() {
        let mut w = newcomer("3.6.16", "3.5.30", "3.6");
        w.options.as_mut().unwrap().channel = WantedChannel::Named("3.6/stable".parse().unwrap());
        assert_eq!(
            done(next(&w)).to_string(),
            "waiting Joining: etcd 3.6.16 cannot join: etcd/0 still runs 3.5.30"
        );
        w.options.as_mut().unwrap().channel = WantedChannel::Auto;
        assert_eq!(
            done(next(&w)).to_string(),
            "blocked etcd 3.6.16 cannot join: etcd/0 still runs 3.5.30: set channel=3.5/stable"
        );
        assert!(matches!(next(&newcomer("3.6.16", "3.6.1", "3.6")), Next::Do(Step::AddLearner { .. })));
    }

    #[test]
    fn a_newcomer_takes_another_channel_that_fits() {
        let becomes = |channel: &str| Next::Do(Step::InstallSnap(Source::Channel(channel.parse().unwrap())));
        assert_eq!(next(&newcomer("3.4.23", "3.5.16", "3.5")), becomes("3.5/stable"));
        assert_eq!(next(&newcomer("3.6.1", "3.4.23", "3.4")), becomes("3.4/stable"));
        let mut w = newcomer("3.4.23", "3.5.16", "3.5");
        w.tried.in_vain.insert("install-snap", "cannot reach the store".into());
        assert!(done(next(&w)).to_string().starts_with("blocked etcd 3.4.23 cannot join"));
        w = newcomer("3.4.23", "3.5.16", "3.5");
        w.host.data = Data::Present;
        assert_ne!(next(&w), becomes("3.5/stable"));
    }

    #[test]
    fn what_members_publish_names_the_version_of_newcomers() {
        let mut w = mixed("3.5.30", "3.6.1");
        assert_eq!(lowest_published(&w.peers), "3.6".parse().ok());
        run(&mut w, "etcd/2", Some("3.5.30"));
        assert_eq!(lowest_published(&w.peers), "3.5".parse().ok());
        w.peers.units.values_mut().for_each(|peer| peer.record.member = None);
        assert_eq!(lowest_published(&w.peers), None);
    }
}
