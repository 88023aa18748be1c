//! etcd never runs without TLS: credentials come before membership.
//!
//! Leaf certificates may be replaced under a running server (etcd reads them at every handshake); its trusted
//! authorities may not (they are read once at start), so another authority's certificates are not taken here.

use super::Next;
use crate::juju::Status;
use crate::step::Step;
use crate::world::{Answered, World};

pub(super) fn next(w: &World) -> Option<Next> {
    match (&w.host.credentials, &w.authority.answer) {
        (None, Answered::Usable(new)) => Some(Next::Do(Step::WriteCredentials(new.clone()))),
        (Some(old), Answered::Usable(new)) if old != new && old.ca == new.ca => {
            Some(Next::Do(Step::WriteCredentials(new.clone())))
        }
        (Some(_), _) => None,
        (None, _) => Some(Next::Done(trouble(w).unwrap_or_else(|| asking(w)))),
    }
}

/// What is wrong with the authority, whether or not etcd runs already.
pub(super) fn trouble(w: &World) -> Option<Status> {
    let Some((_, authority)) = &w.authority.relation else {
        return Some(Status::blocked("Missing relation to certificate authority."));
    };
    match (&w.authority.answer, &w.host.credentials) {
        (Answered::Refused(why), _) => {
            Some(Status::blocked(format!("Certificate from {authority} cannot be used: {why}")))
        }
        (Answered::Usable(new), Some(old)) if new.ca != old.ca => Some(Status::blocked(format!(
            "{authority} signs with another CA; changing the CA of a running cluster is not available yet"
        ))),
        _ => None,
    }
}

fn asking(w: &World) -> Status {
    let authority = w.authority.relation.as_ref().map_or("the certificate authority", |(_, app)| app);
    Status::waiting(format!("Requesting TLS certificates from {authority}"))
}
