//! etcd must be there before anything else can happen, and its service must be under our rules before it runs.

use super::Next;
use crate::juju::Status;
use crate::step::Step;
use crate::world::{Reading, World};

/// Restarts without limit: a server that cannot reach its peers yet must be tried again for as long as it
/// takes, while the unconfigured snap must not use up systemd's start limit (it exits at once without a file).
const DROP_IN: &str = include_str!("../../templates/restart.conf");

pub(super) fn next(w: &World) -> Option<Next> {
    match &w.host.snap {
        Reading::Unknown(cause) => {
            Some(Next::Done(Status::blocked(format!("Cannot tell whether etcd is installed: {cause}"))))
        }
        Reading::Known(None) => Some(install(w)),
        Reading::Known(Some(_)) if w.host.drop_in.as_deref() != Some(DROP_IN) => {
            Some(Next::Do(Step::WriteDropIn(DROP_IN)))
        }
        Reading::Known(Some(_)) => None,
    }
}

fn install(w: &World) -> Next {
    if let Some(error) = w.tried.in_vain("install-snap") {
        let status = format!("Cannot install etcd: {error}; trying again at the next hook");
        return Next::Done(Status::blocked(status));
    }
    match (&w.host.source, &w.options) {
        (Some(source), _) => Next::Do(Step::InstallSnap(source.clone())),
        (None, Err(errors)) => Next::Done(super::status::wrong_options(errors)),
        (None, Ok(_)) => Next::Done(Status::blocked("No source to install etcd from: set channel")),
    }
}
