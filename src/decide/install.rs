//! etcd must be there before anything else can happen, and its service must be under our rules before it runs.

use super::{Next, minors, release};
use crate::juju::Status;
use crate::options::Options;
use crate::step::Step;
use crate::world::{Reading, World};

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
        Reading::Unknown(cause) => {
            Some(Next::Done(Status::blocked(format!("Cannot tell whether etcd is installed: {cause}"))))
        }
        Reading::Known(None) => Some(install(w)),
        Reading::Known(Some(_)) => restart_rules(w).or_else(|| minors::fit_in(w)),
    }
}

fn restart_rules(w: &World) -> Option<Next> {
    (w.host.drop_in.as_deref() != Some(DROP_IN)).then_some(Next::Do(Step::WriteDropIn(DROP_IN)))
}

fn install(w: &World) -> Next {
    if let Some(error) = w.tried.in_vain("install-snap").or(w.tried.in_vain("prepare-release")) {
        let status = format!("Cannot install etcd: {error}; trying again at the next hook");
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
