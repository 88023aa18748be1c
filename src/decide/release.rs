//! Upstream releases, run instead of the snap: fetched while the old one runs, then switched to, one unit at a time and
//! one minor version at a time. A unit stays with the kind of installation that it began with.

use std::cmp::Ordering;
use std::path::Path;

use super::minors::NotYet;
use super::status::AGAIN;
use super::{Next, minors, service, upgrade};
use crate::etcd::{Minor, Version};
use crate::host::Release;
use crate::juju::Status;
use crate::options::{Options, WantedRelease};
use crate::step::Step;
use crate::storage;
use crate::world::{Data, Door, Place, Service, World};

/// The link that [`crate::host::Releases`] keeps.
pub(super) const CURRENT: &str = "/opt/etcd-releases/current";

/// The service of releases is ours, so its unit file is too.
pub(super) fn unit_file(w: &World) -> Option<Next> {
    let template = include_str!("../../templates/etcd-release.service");
    let text = template.replace("{current}", CURRENT).replace("{common}", service::COMMON);
    let text = text.replace("{data}", &writable(&w.host.place));
    (w.host.releases.unit.as_ref() != Some(&text)).then_some(Next::Do(Step::WriteReleaseUnit(text)))
}

/// Where its service may write: both places that data can move between, and what an operator's file names beside them.
fn writable(place: &Place) -> String {
    let usual = [service::REVISIONS, storage::MOUNT];
    let is_usual = |path: &&str| usual.iter().any(|place| Path::new(path).starts_with(place));
    let others = [Some(place.data.as_str()), place.log.as_deref()].into_iter().flatten();
    let paths = usual.into_iter().chain(others.filter(|path| !is_usual(path)));
    paths.map(|path| format!("-{path}")).collect::<Vec<_>>().join(" ")
}

/// A server that does not run at all has nobody to wait for: another release may be the cure.
pub(super) fn mend(w: &World) -> Option<Next> {
    let is_down = matches!(w.host.service, Service::Failing(_)) && !matches!(w.etcd.door, Door::Open(_));
    // It may have turned out not to fit to the members.
    if is_down || minors::is_fresh(w) { follow(w) } else { None }
}

/// A running voter follows the options.
pub(super) fn next(w: &World) -> Option<Next> {
    let votes = matches!(&w.etcd.door, Door::Open(status) if !status.learner);
    if votes { follow(w) } else { None }
}

fn follow(w: &World) -> Option<Next> {
    let wanted = other_release(w)?;
    let step = bring(w, wanted);
    let is_refused =
        w.tried.in_vain(step.name()).is_some() || why_not(w, wanted).is_some() || refusal(w).is_some();
    (!is_refused).then_some(Next::Do(step))
}

/// Fetched if it is not here, else switched to.
pub(super) fn bring(w: &World, wanted: &WantedRelease) -> Step {
    match ready(w, wanted) {
        Some(release) => Step::SwitchRelease(release.clone()),
        None => Step::PrepareRelease { wanted: Box::new(wanted.clone()), proxies: w.proxies.clone() },
    }
}

/// The release that is wanted, if another one is installed.
fn other_release(w: &World) -> Option<&WantedRelease> {
    let current = w.host.releases.current.as_ref()?;
    let wanted = w.options.as_ref().ok()?.release.as_ref()?;
    (!current.is_from(wanted.sum.digits())).then_some(wanted)
}

/// This unit runs the release that the operator names.
pub(super) fn is_followed(w: &World) -> bool {
    let is_named = w.options.as_ref().is_ok_and(|options| options.release.is_some());
    w.host.releases.current.is_some() && is_named && other_release(w).is_none()
}

fn ready<'a>(w: &'a World, wanted: &WantedRelease) -> Option<&'a Release> {
    w.host.releases.ready.iter().find(|release| release.is_from(wanted.sum.digits()))
}

/// etcd moves up one minor at a time and not down; a machine without data may take any.
fn why_not(w: &World, wanted: &WantedRelease) -> Option<NotYet> {
    if w.host.data == Data::Empty {
        return None;
    }
    let installed = w.installed_version()?.minor_version();
    let wanted = ready(w, wanted)?.version.parse::<Version>().ok()?;
    let (minor, next) = (wanted.minor_version(), installed.next());
    match minor.cmp(&installed) {
        Ordering::Less => Some(NotYet::Refused(format!(
            "bin-source: {wanted} is below the installed {installed}, and etcd does not move down: name a release of {installed}"
        ))),
        Ordering::Greater if minor > next => Some(NotYet::Refused(format!(
            "bin-source: {wanted} skips {next}: name a release of {next} first"
        ))),
        _ => minors::why_not_yet(w, &format!("bin-source: {wanted}"), minor),
    }
}

/// The minor version of the release that the operator names, once it is here.
pub(super) fn goal(w: &World) -> Option<Minor> {
    let wanted = ready(w, other_release(w)?).filter(|_| refusal(w).is_none())?;
    wanted.version.parse().ok().map(|version: Version| version.minor_version())
}

/// Why the release that is wanted now was tried and left again, or why it is there and does not serve.
pub(super) fn refusal(w: &World) -> Option<&str> {
    let wanted = w.options.as_ref().ok()?.release.as_ref()?;
    let (named, why) = upgrade::refused(w)?;
    let serves = other_release(w).is_none() && matches!(w.etcd.door, Door::Open(_));
    (!serves && ready(w, wanted)?.to_string() == named).then_some(why)
}

/// Why the release that the operator names is not the one that runs.
pub(super) fn why_it_waits(w: &World, options: &Options) -> Option<Status> {
    const REPLACE: &str = "replace the unit (juju add-unit, then juju remove-unit)";
    let release = &w.host.releases.current;
    match (release, &options.release) {
        (None, None) => None,
        (None, Some(_)) => Some(Status::blocked(format!(
            "bin-source: this unit runs the snap of etcd: reset it, or {REPLACE}"
        ))),
        (Some(release), None) => Some(Status::blocked(format!(
            "bin-source: this unit runs etcd {} from a release and not the snap: set it again, or {REPLACE}",
            release.version
        ))),
        (Some(_), Some(_)) => {
            let wanted = other_release(w)?;
            let in_vain = w.tried.in_vain("prepare-release").or(w.tried.in_vain("switch-release"));
            let refused = refusal(w)
                .map(|why| format!("bin-source: {why}: set the release before again, or a later one"));
            let tried = || in_vain.map(|why| format!("bin-source: {why}; {AGAIN}"));
            let why = || refused.or_else(tried).map(Status::blocked);
            why_not(w, wanted).map(NotYet::status).or_else(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::next;
    use super::super::worlds::{converge_files, done, member, settled};
    use super::*;
    use crate::world::Reading;

    const SUM: &str = "abcdef0123456789abcdef0123456789abcdef01";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

    /// A settled member on release 3.4.23, told to run the tarball with this sum.
    fn wants(sum: &str, ready: &[Release]) -> World {
        let mut w = settled(0, &[0, 1, 2].map(|number| member(number, false)));
        let current = Release::new("3.4.23", SUM);
        w.host.snap = Reading::Known(None);
        w.host.releases.ready = [std::slice::from_ref(&current), ready].concat();
        w.host.releases.current = Some(current);
        if let Some(Next::Do(Step::WriteReleaseUnit(text))) = unit_file(&w) {
            w.host.releases.unit = Some(text);
        }
        let options = json!({"bin-source": "/srv/etcd.tar.gz", "source-sum": sum});
        w.options = Options::parse(options.as_object().unwrap());
        w
    }

    #[test]
    fn another_release_is_fetched_first_and_then_switched_to() {
        assert!(matches!(next(&wants(OTHER, &[])), Next::Do(Step::PrepareRelease { .. })));
        let new = Release::new("3.5.16", OTHER);
        assert_eq!(next(&wants(OTHER, std::slice::from_ref(&new))), Next::Do(Step::SwitchRelease(new)));
        let same = next(&wants(SUM, &[]));
        assert!(!matches!(same, Next::Do(Step::PrepareRelease { .. } | Step::SwitchRelease(_))), "{same:?}");
    }

    #[test]
    fn what_etcd_cannot_follow_is_told_and_not_done() {
        let refusals = [
            ("3.3.27", "bin-source: 3.3.27 is below the installed 3.4"),
            ("3.6.1", "bin-source: 3.6.1 skips 3.5: name a release of 3.5 first"),
        ];
        for (version, why) in refusals {
            let w = wants(OTHER, &[Release::new(version, OTHER)]);
            let told = why_it_waits(&w, w.options.as_ref().unwrap()).unwrap().to_string();
            assert!(told.starts_with(&format!("blocked {why}")), "{told}");
            assert!(!matches!(next(&w), Next::Do(Step::SwitchRelease(_))));
        }
    }

    #[test]
    fn what_did_not_serve_is_not_tried_again_until_another_is_named() {
        let new = Release::new("3.5.16", OTHER);
        let mut w = wants(OTHER, std::slice::from_ref(&new));
        w.host.upgrade_refused = Some(format!("{new}\nit did not serve\n"));
        converge_files(&mut w);
        assert_eq!(
            done(next(&w)).to_string(),
            "blocked bin-source: it did not serve: set the release before again, or a later one"
        );
        assert!(mend(&w).is_none());
        w.host.releases.current = Some(new);
        w.etcd.door = Door::Closed;
        assert_eq!(super::super::upgrade::why_it_is_down(&w).unwrap(), "bin-source: it did not serve");
        w.etcd.door = wants(OTHER, &[]).etcd.door;
        let forgets =
            |w: &World| super::super::upgrade::next(w) == Some(Next::Do(Step::ForgetRefusedUpgrade));
        assert!(forgets(&w), "it serves after all");
        let mut w = World { options: wants(SUM, &[]).options, ..w };
        w.host.releases.current = Some(Release::new("3.4.23", SUM));
        assert!(forgets(&w), "another one is wanted");
    }

    #[test]
    fn nothing_is_done_beside_the_package() {
        for mut w in [wants(OTHER, &[]), settled(0, &[member(0, false)]), super::super::worlds::first_hook(0)]
        {
            w.host.package = true;
            let blocked = Status::blocked("Manual migration required: run the snap-upgrade action");
            assert_eq!(next(&w), Next::Done(blocked));
        }
    }
}
