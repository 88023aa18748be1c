//! etcd never runs without TLS: credentials come before membership.
//!
//! Leaf certificates may be replaced under a running server (etcd reads them at every handshake); its trusted
//! authorities may not (they are read once at start), so another authority's certificates are not taken here.

use super::{Next, authority};
use crate::juju::Status;
use crate::step::Step;
use crate::world::{Answered, World};

pub(super) fn next(w: &World) -> Option<Next> {
    authority::next(w).filter(|next| !was_in_vain(w, next)).or_else(|| take(w))
}

/// Without a certificate nothing else can go on; with one, the rest does not wait for its successor.
fn was_in_vain(w: &World, next: &Next) -> bool {
    matches!(next, Next::Do(step) if w.host.credentials.is_some() && w.tried.in_vain(step.name()).is_some())
}

fn take(w: &World) -> Option<Next> {
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
    let authority = match &w.authority.relation {
        _ if authority::is_internal(w) => "the application's own authority",
        Some((_, authority)) => authority,
        None => return Some(Status::blocked("Missing relation to certificate authority.")),
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
    let related = w.authority.relation.as_ref().map_or("the certificate authority", |(_, app)| app);
    let authority = if authority::is_internal(w) { "the application's leader" } else { related };
    Status::waiting(format!("Requesting TLS certificates from {authority}"))
}
