//! etcd must be there before anything else can happen, and its service must be under our rules before it runs.

use super::{Next, Waiting, minors, release};
use crate::juju::Status;
use crate::options::Options;
use crate::step::{Source, Step};
use crate::world::{Reading, Unready, World};

/// Restarts without limit: a server that cannot reach its peers yet must be tried again for as long as it
/// takes, while the unconfigured snap must not use up systemd's start limit (it exits at once without a file).
const DROP_IN: &str = include_str!("../../templates/restart.conf");

pub(super) fn next(w: &World) -> Option<Next> {
    if w.host.package {
        // Two servers must not meet, and nobody but an operator says when this one may stop.
        return Some(Next::Done(Status::blocked("Manual migration required: run the snap-upgrade action")));
    }
    if w.host.releases.current.is_some() {
        return release::unit_file(w).or_else(|| restart_rules(w));
    }
    match &w.host.snap {
        Reading::Unknown(cause) => Some(match &w.host.unready {
            Some(unready) => Next::Wait(Waiting::Snap(not_usable(w, unready))),
            None => {
                let see = "see snap list etcd on this unit";
                Next::Done(Status::blocked(format!("Cannot tell whether etcd is installed: {cause}: {see}")))
            }
        }),
        Reading::Known(None) => Some(install(w)),
        Reading::Known(Some(_)) => restart_rules(w).or_else(|| minors::fit_in(w)),
    }
}

/// What the operator sees if that does not pass.
fn not_usable(w: &World, unready: &Unready) -> Status {
    let run = format!("juju exec --unit {} --", w.unit);
    Status::blocked(match unready {
        Unready::NotMounted(revision) => format!(
            "The etcd snap (revision {revision}) is not mounted: {run} systemctl restart snap-etcd-{revision}.mount"
        ),
        Unready::NotInUse => format!(
            "The etcd snap is disabled, or snapd is at work on it: see {run} snap changes etcd, and enable it with {run} snap enable etcd"
        ),
    })
}

fn restart_rules(w: &World) -> Option<Next> {
    (w.host.drop_in.as_deref() != Some(DROP_IN)).then_some(Next::Do(Step::WriteDropIn(DROP_IN)))
}

fn install(w: &World) -> Next {
    if let Some(error) = w.tried.in_vain("install-snap").or(w.tried.in_vain("prepare-release")) {
        let hint = why_proxy(w).unwrap_or_default();
        let status = format!("Cannot install etcd: {error}; {hint}trying again at the next hook");
        return Next::Done(Status::blocked(status));
    }
    match (&w.host.source, &w.options) {
        (_, Ok(Options { release: Some(wanted), .. })) => Next::Do(release::bring(w, wanted)),
        // Whoever wants a release, however wrongly written, does not want the snap.
        (_, Err(errors))
            if errors.iter().any(|error| ["bin-source", "source-sum"].contains(&error.option)) =>
        {
            Next::Done(super::status::wrong_options(errors))
        }
        (Some(source), _) => Next::Do(Step::InstallSnap(source.clone())),
        (None, Err(errors)) => Next::Done(super::status::wrong_options(errors)),
        (None, Ok(_)) => Next::Done(Status::blocked("No source to install etcd from: set channel")),
    }
}

/// What comes over the network does not come where a proxy is needed and none is known.
fn why_proxy(w: &World) -> Option<&'static str> {
    let is_fetched = matches!(w.host.source, Some(Source::Channel(_)));
    let is_known = w.proxies.http.is_some() || w.proxies.https.is_some();
    let is_set = w.options.as_ref().is_ok_and(|options| options.snap_proxy.is_some());
    (is_fetched && !is_known && !is_set).then_some("if it is reached by a proxy only, set snap_proxy; ")
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, first_hook};

    #[test]
    fn a_proxy_is_named_where_the_store_is_not_reached_and_none_is_known() {
        let mut w = first_hook(0);
        w.host.snapd = [(super::super::HOLD.to_owned(), "held".to_owned())].into();
        w.tried.in_vain.insert("install-snap", "cannot reach the store".into());
        let told = "blocked Cannot install etcd: cannot reach the store; ";
        let named = "if it is reached by a proxy only, set snap_proxy; trying again at the next hook";
        assert_eq!(done(next(&w)).to_string(), format!("{told}{named}"));
        w.proxies.http = Some("http://10.0.0.9:3128".into());
        w.tried.in_vain.insert("set-snapd", "not here".into());
        assert_eq!(done(next(&w)).to_string(), format!("{told}trying again at the next hook"));
    }
}
