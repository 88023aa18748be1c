//! snapd's own options: its timer and its proxies; and that it leaves etcd's snap alone. Invariants: two units of the
//! application never refresh in one window, and only what this charm has set is ever taken back; the machine's other settings
//! are somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use super::Next;
use crate::host::RefreshTimer;
use crate::juju::{Status, UnitName};
use crate::options::{Options, SnapdRefresh, is_plain_url};
use crate::step::Step;
use crate::world::{Reading, World};

/// The name of the step, to ask whether it was tried.
const STEP: &str = "set-snapd";
/// snapd's name for its timer.
pub(super) const TIMER: &str = "refresh.timer";
/// snapd's name for a store proxy; here by its URL.
pub const STORE: &str = "proxy.store";
/// Remembered among them: the name by which snapd knows the store proxy.
pub const STORE_ID: &str = "store-id";
/// Remembered among them: how snapd answered when it was told not to refresh etcd by itself.
pub const HOLD: &str = "hold";

/// The proxies' names.
const HTTP: &str = "proxy.http";
const HTTPS: &str = "proxy.https";
const DIRECT: &str = "proxy.no-proxy";

/// Whether something is remembered under this name.
pub fn is_option(key: &str) -> bool {
    [TIMER, HTTP, HTTPS, DIRECT, STORE, STORE_ID, HOLD].contains(&key)
}

/// Before anything is installed: the store may be behind a proxy. And whenever somebody else has told snapd otherwise.
pub(super) fn next(w: &World) -> Option<Next> {
    let wanted = wanted(w, w.options.as_ref().ok()?);
    let is_so = wanted == w.host.snapd && !overruled(w).any(|key| wanted.contains_key(key));
    (!is_so && w.tried.in_vain(STEP).is_none()).then_some(Next::Do(Step::SetSnapd(wanted)))
}

/// Options that this charm has set and that are not so any more. While snapd does not say, they are as they were set.
fn overruled(w: &World) -> impl Iterator<Item = &str> {
    let now = w.host.snapd_says.options.known();
    let noted = w.host.snapd.iter().filter(|(key, _)| ![HOLD, STORE_ID].contains(&key.as_str()));
    noted.filter_map(move |(key, value)| {
        let is = now?.get(key);
        let set = if key == STORE { w.host.snapd.get(STORE_ID) } else { Some(value) };
        (is != set).then_some(key.as_str())
    })
}

/// Whoever installed etcd's snap: snapd would refresh, and so restart, all members in one window.
pub(super) fn hold(w: &World) -> Option<Next> {
    let is_snap = matches!(w.host.snap, Reading::Known(Some(_))) && w.host.releases.current.is_none();
    let is_tried = w.tried.in_vain("hold-snap").is_some();
    (is_snap && !is_held(w) && !is_tried).then_some(Next::Do(Step::HoldSnap))
}

/// As far as snapd says now: somebody may have taken the hold back, or brought a snapd that knows the word.
fn is_held(w: &World) -> bool {
    let says = &w.host.snapd_says;
    match (w.host.snapd.get(HOLD).map(String::as_str), says.version.known()) {
        (None, _) => false,
        (Some("held"), _) => says.held.known() != Some(&false),
        (Some(_), None) => true,
        (Some(noted), Some(version)) => noted == unsupported(version),
    }
}

/// What is noted of a snapd that cannot.
pub fn unsupported(version: &str) -> String {
    format!("unsupported by {version}")
}

/// What snapd did not take.
pub(super) fn why_it_waits(w: &World) -> Option<Status> {
    let why = w.tried.in_vain(STEP)?;
    Some(Status::blocked(format!(
        "snapd_refresh, snap_proxy, snap_proxy_url: correct the option, or see to snapd (snap changes): {why}"
    )))
}

fn wanted(w: &World, options: &Options) -> BTreeMap<String, String> {
    let held = w.host.snapd.get(HOLD).cloned();
    // A release does not come from snapd.
    if options.release.is_some() || w.host.releases.current.is_some() {
        return held.map(|held| (HOLD.to_owned(), held)).into_iter().collect();
    }
    let usable = |url: &Option<String>| url.clone().filter(|url| is_plain_url(url));
    let (http, https, direct) = match &options.snap_proxy {
        Some(url) => (Some(url.clone()), Some(url.clone()), None),
        None => (usable(&w.proxies.http), usable(&w.proxies.https), w.proxies.no.clone()),
    };
    let direct = direct.filter(|_| http.is_some() || https.is_some());
    let store = &options.snap_store_proxy;
    let store_id = w.host.snapd.get(STORE_ID).filter(|_| store.as_ref() == w.host.snapd.get(STORE)).cloned();
    let all = [
        (STORE_ID, store_id),
        (TIMER, timer(w, &options.snapd_refresh)),
        (HTTP, http),
        (HTTPS, https),
        (DIRECT, direct),
        (STORE, store.clone()),
        (HOLD, held),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// This unit's part. While Juju does not say who the others are, it stays.
fn timer(w: &World, refresh: &SnapdRefresh) -> Option<String> {
    if *refresh == SnapdRefresh::Default {
        return None;
    }
    let Some(units) = &w.peers.expected else { return w.host.snapd.get(TIMER).cloned() };
    let mut units: Vec<&UnitName> =
        units.iter().chain([&w.unit]).collect::<BTreeSet<_>>().into_iter().collect();
    units.sort_by_key(|unit| unit.number());
    let place = units.iter().position(|unit| **unit == w.unit).unwrap_or_default();
    match refresh {
        SnapdRefresh::Default => None,
        SnapdRefresh::Monthly => Some(RefreshTimer::monthly(place)),
        SnapdRefresh::Timer(timer) => Some(timer.part(place, units.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{first_hook, member, settled};
    use super::*;
    use crate::world::Leadership;

    fn options_of(values: serde_json::Value) -> Options {
        Options::parse(values.as_object().unwrap()).unwrap()
    }

    #[test]
    fn proxies_are_set_before_the_store_is_asked() {
        let mut w = first_hook(0);
        w.options =
            Ok(options_of(serde_json::json!({"snap_proxy": "http://10.0.0.9:3128", "snapd_refresh": ""})));
        let Next::Do(Step::SetSnapd(set)) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(set["proxy.http"], "http://10.0.0.9:3128");
        assert_eq!(set.len(), 2, "{set:?}");
        w.host.snapd = set;
        assert!(matches!(next(&w), Next::Do(Step::InstallSnap(_))));
    }

    /// Of a snap that the earlier charm installed too.
    #[test]
    fn the_snap_is_held_once_whoever_installed_it() {
        let mut w = settled(0, &[member(0, false)]);
        w.host.snapd = BTreeMap::new();
        assert_eq!(next(&w), Next::Do(Step::HoldSnap));
        w.tried.in_vain.insert("hold-snap", "snapd is busy".into());
        assert!(matches!(next(&w), Next::Done(_)), "{:?}", next(&w));
        w.tried = crate::world::Tried::default();
        w.host.snapd.insert(HOLD.into(), "unsupported".into());
        assert!(matches!(next(&w), Next::Done(_)), "{:?}", next(&w));
        w.options =
            Ok(options_of(serde_json::json!({"snap_proxy": "http://10.0.0.9:3128", "snapd_refresh": ""})));
        let Next::Do(Step::SetSnapd(set)) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(set[HOLD], "unsupported", "it stays as it is");
        w.host.snapd = set;
        w.options = Ok(options_of(serde_json::json!({"snapd_refresh": ""})));
        let Next::Do(Step::SetSnapd(set)) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(set, BTreeMap::from([(HOLD.to_owned(), "unsupported".to_owned())]));
    }

    /// A member whose proxies and hold were told to snapd.
    fn told() -> World {
        let mut w = settled(0, &[member(0, false)]);
        let options = serde_json::json!({
            "snap_proxy": "http://10.0.0.9:3128", "snap_proxy_url": "http://10.0.0.8", "snapd_refresh": ""
        });
        w.options = Ok(options_of(options));
        let told = [
            ("proxy.http", "http://10.0.0.9:3128"),
            ("proxy.https", "http://10.0.0.9:3128"),
            (STORE, "http://10.0.0.8"),
            (STORE_ID, "of-this-house"),
            (HOLD, "held"),
        ];
        w.host.snapd = told.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        w.host.snapd_says.options = Reading::Known(BTreeMap::from([
            ("proxy.http".to_owned(), "http://10.0.0.9:3128".to_owned()),
            ("proxy.https".to_owned(), "http://10.0.0.9:3128".to_owned()),
            (STORE.to_owned(), "of-this-house".to_owned()),
            ("refresh.timer".to_owned(), "fri".to_owned()),
        ]));
        w.host.snapd_says.held = Reading::Known(true);
        w
    }

    #[test]
    fn what_somebody_else_has_told_snapd_since_is_told_anew() {
        assert!(matches!(next(&told()), Next::Done(_)), "{:?}", next(&told()));
        for (key, value) in
            [("proxy.https", Some("http://other:1")), ("proxy.http", None), (STORE, Some("other"))]
        {
            let mut w = told();
            let Reading::Known(now) = &mut w.host.snapd_says.options else { panic!() };
            now.remove(key);
            now.extend(value.map(|value| (key.to_owned(), value.to_owned())));
            assert_eq!(next(&w), Next::Do(Step::SetSnapd(w.host.snapd.clone())), "{key}");
            w.tried.in_vain.insert(STEP, "no snapd".into());
            assert!(matches!(next(&w), Next::Done(_)), "{:?}", next(&w));
            w.tried = crate::world::Tried::default();
            w.host.snapd_says.options = Reading::Unknown("it does not answer".into());
            assert!(matches!(next(&w), Next::Done(_)), "unknown is not otherwise");
        }
    }

    #[test]
    fn the_snap_is_held_again_where_that_was_taken_back_or_becomes_possible() {
        let mut w = told();
        w.host.snapd_says.held = Reading::Known(false);
        assert_eq!(next(&w), Next::Do(Step::HoldSnap));
        w.host.snapd_says.held = Reading::Unknown("it does not answer".into());
        assert!(matches!(next(&w), Next::Done(_)));
        w.host.snapd.insert(HOLD.into(), unsupported("2.57.6"));
        for (version, holds) in [("2.57.6", false), ("2.63", true)] {
            w.host.snapd_says.version = Reading::Known(version.into());
            assert_eq!(next(&w) == Next::Do(Step::HoldSnap), holds, "{version}");
        }
        w.host.snapd.insert(HOLD.into(), "unsupported".into());
        assert_eq!(next(&w), Next::Do(Step::HoldSnap), "noted without a version");
    }

    #[test]
    fn a_snapd_that_takes_nothing_keeps_nobody_waiting() {
        let mut w = first_hook(0);
        w.tried.in_vain.insert(STEP, "no snapd".into());
        assert!(matches!(next(&w), Next::Do(Step::InstallSnap(_))));
    }

    #[test]
    fn the_models_proxies_serve_where_no_other_is_named() {
        let mut w = first_hook(0);
        w.proxies.https = Some("http://10.0.0.9:3128".into());
        w.proxies.no = Some("10.0.0.0/8".into());
        let wanted = wanted(&w, w.options.as_ref().unwrap());
        assert_eq!(wanted["proxy.no-proxy"], "10.0.0.0/8");
        assert_eq!(wanted.get("proxy.http"), None);
        w.proxies.https = Some("http://user:secret@10.0.0.9:3128".into());
        assert!(
            !super::wanted(&w, w.options.as_ref().unwrap()).contains_key("proxy.https"),
            "it would be shown to everybody"
        );
    }

    #[test]
    fn no_two_units_have_one_window() {
        let three = [0, 1, 2].map(|number| member(number, false));
        for refresh in ["max", "sun5,23:00-01:00"] {
            let timers: BTreeSet<String> = (0..3)
                .map(|number| {
                    let mut w = settled(number, &three);
                    w.leadership = Leadership::Follower;
                    let options = options_of(serde_json::json!({"snapd_refresh": refresh}));
                    super::wanted(&w, &options).remove(TIMER).unwrap()
                })
                .collect();
            assert_eq!(timers.len(), 3, "{timers:?}");
        }
    }
}
