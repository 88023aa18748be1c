//! etcd never runs without TLS: credentials come before membership.
//!
//! What is needed for the first start is here; what changes under a running server is in `trust`.

use super::status::AGAIN;
use super::{Next, authority, csr, status, trust};
use crate::juju::Status;
use crate::relations::changes;
use crate::relations::csr::Answers;
use crate::step::Step;
use crate::world::{Answered, Credentials, Unread, World};

pub(super) fn next(w: &World) -> Option<Next> {
    authority::next(w).filter(|next| !was_in_vain(w, next)).or_else(|| csr::next(w)).or_else(|| take(w))
}

/// Without a certificate nothing else can go on; with one, the rest does not wait for its successor.
fn was_in_vain(w: &World, next: &Next) -> bool {
    matches!(next, Next::Do(step) if w.host.credentials.is_some() && w.tried.in_vain(step.name()).is_some())
}

fn take(w: &World) -> Option<Next> {
    match (&w.host.credentials, &w.authority.answer) {
        // The others may be changing their authority at this moment.
        (None, Answered::Usable(new)) => Some(Next::Do(Step::WriteCredentials(Credentials {
            ca: trust::needed(w).to_pem(),
            ..new.clone()
        }))),
        // Files that are no certificates serve nobody.
        (Some(_), Answered::Usable(new)) if w.host.standing.is_none() => {
            Some(Next::Do(Step::WriteCredentials(Credentials {
                ca: trust::needed(w).to_pem(),
                ..new.clone()
            })))
        }
        (Some(_), _) => trust::next(w),
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
    match &w.authority.answer {
        // Told beside what is well: etcd runs on with what it has.
        Answered::Refused(_) if unread(w).is_some() => None,
        // This very hook asks for it.
        Answered::Refused(_) if is_news(w) => None,
        Answered::Refused(why) => {
            Some(Status::blocked(format!("Certificate from {authority} cannot be used: {why}; {AGAIN}")))
        }
        Answered::Usable(_) => {
            trust::why_it_waits(w).or_else(|| withdrawn(w, authority)).or_else(|| refused(w, authority))
        }
        Answered::Nothing | Answered::Incomplete(_) => {
            withdrawn(w, authority).or_else(|| refused(w, authority))
        }
    }
}

/// In the authority's words.
fn refused(w: &World, authority: &str) -> Option<Status> {
    let what = csr::refused(w).filter(|_| !authority::is_internal(w))?;
    Some(Status::blocked(format!("{authority} refuses {what}; correct the authority or the option it names")))
}

/// The related authority, if it counts and cannot be read.
fn unread(w: &World) -> Option<&Unread> {
    w.why_unread("certificates").filter(|_| !authority::is_internal(w))
}

/// What is in use stays: etcd asks no authority whether it still stands by a certificate.
fn withdrawn(w: &World, authority: &str) -> Option<Status> {
    let whose = csr::withdrawn(w).filter(|_| !authority::is_internal(w))?;
    Some(Status::blocked(format!(
        "Certificate of {whose} was withdrawn by {authority}, and is used until there is another one; relate {authority} anew"
    )))
}

/// An authority of the older protocol has not heard yet of what this unit asks for now.
fn is_news(w: &World) -> bool {
    let asked = w.authority.request.as_ref().filter(|_| w.authority.signed == Answers::Silent);
    asked.is_some_and(|request| !changes(&w.authority.published, &request.write()).is_empty())
}

/// Who is to sign.
pub(super) fn authority(w: &World) -> &str {
    let related = w.authority.relation.as_ref().map_or("the certificate authority", |(_, app)| app);
    if authority::is_internal(w) { "the application's leader" } else { related }
}

fn asking(w: &World) -> Status {
    if let Err(errors) = &w.options {
        // Nothing is asked for under these.
        return status::wrong_options(errors);
    }
    if let Some(unread) = unread(w) {
        return Status::blocked(format!("No TLS certificates: {unread}"));
    }
    let authority = authority(w);
    let trouble = w.tried.in_vain("make-request").map(|error| format!(": {error}"));
    let missing = match &w.authority.answer {
        Answered::Incomplete(what) => Some(format!(": waiting for {what}")),
        Answered::Nothing | Answered::Refused(_) | Answered::Usable(_) => None,
    };
    let why = trouble.or(missing).unwrap_or_default();
    Status::waiting(format!("Requesting TLS certificates from {authority}{why}"))
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{done, ready, settled, three};
    use super::*;
    use crate::options::Options;

    #[test]
    fn an_authority_that_cannot_be_read_is_named_and_takes_nothing_away() {
        let why = "permission denied".to_owned();
        let unread = |mut w: World| {
            w.authority.answer = Answered::Refused("cannot use relation-get: permission denied".into());
            w.authority.signed = Answers::Unreadable("permission denied".into());
            w.unread = vec![Unread { relation: "certificates:1".parse().unwrap(), why: why.clone() }];
            w
        };
        let told = "relation certificates:1 cannot be read: permission denied; if its other side is gone: juju remove-relation 1 --force";
        let mut w = unread(ready(0));
        w.host.credentials = None;
        assert_eq!(done(super::super::next(&w)).to_string(), format!("blocked No TLS certificates: {told}"));
        let w = unread(settled(0, &three()));
        assert_eq!(
            done(super::super::next(&w)).to_string(),
            format!("active Healthy with 3 known peers ({told})")
        );
    }

    #[test]
    fn under_wrong_options_nobody_waits_for_an_authority_that_was_not_asked() {
        let mut w = ready(0);
        w.host.credentials = None;
        w.authority.answer = Answered::Nothing;
        let serde_json::Value::Object(values) = serde_json::json!({"port": 0}) else { panic!() };
        w.options = Options::parse(&values);
        let told = "blocked port: 0 is not a port; accepted: 1 to 65535";
        assert_eq!(done(super::super::next(&w)).to_string(), told);
    }
}
