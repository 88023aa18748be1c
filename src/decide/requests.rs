//! What the monitoring charms are asked for. Only the leader asks: members would ask for the same job many times over. The
//! next leader asks under the same id, and a unit that leads no more takes its request back.

use crate::juju::one_line;
use crate::relations::certificates::Pair;
use crate::relations::db::ClientData;
use crate::relations::prometheus::Origin;
use crate::relations::requests::{self, RequestId};
use crate::relations::{Changes, Endpoint, changes, grafana, prometheus};
use crate::world::{Consumer, Leadership, World};

/// What a status can hold of another charm's words.
const REASON_BYTES: usize = 120;

/// For this unit's databag, with what a client of etcd is to know; `None`: what is there stays, since nothing better is
/// known.
pub(super) fn wanted(w: &World, one: &Consumer, data: Option<&ClientData>) -> Option<Changes> {
    let withdrawn = requests::withdraw(&one.published);
    if w.leadership == Leadership::Follower {
        return Some(withdrawn);
    }
    let request = match one.endpoint {
        Endpoint::Prometheus => prometheus::request(data?, origin(w)),
        Endpoint::Grafana => match watcher(w) {
            Some(watcher) if watcher.application.is_empty() => return None,
            Some(watcher) => grafana::request(origin(w), &watcher.application)?,
            None if w.why_unread(Endpoint::Prometheus.name()).is_some() => return None,
            None => return Some(withdrawn),
        },
        Endpoint::Db | Endpoint::Proxy | Endpoint::Nrpe => return None,
    };
    Some(requests::ask(&one.published, id(w, one), request))
}

/// For the application's databag, where that can be read; it belongs to whoever leads, and so is never taken back.
pub(super) fn shared(w: &World, one: &Consumer, data: Option<&ClientData>) -> Option<Changes> {
    let published = one.shared.as_ref().filter(|_| w.leadership == Leadership::Leader)?;
    Some(changes(published, &prometheus::job(prometheus::request(data?, origin(w)))))
}

/// Whether this unit speaks to monitoring charms for the application, and has something to take back when it leads no more.
pub fn speaks(w: &World) -> bool {
    w.leadership == Leadership::Leader && askable(w).next().is_some()
}

/// Who does not do what it was asked, and why: for the operator.
pub(super) fn refused(w: &World) -> Option<String> {
    if w.leadership == Leadership::Follower {
        return None;
    }
    askable(w).find_map(|one| {
        let reason = one_line(&requests::refusal(&one.said, id(w, one))?, REASON_BYTES);
        Some(format!("{} refuses what {} asks: {reason}", one.application, one.endpoint.name()))
    })
}

/// The client pair that Prometheus was handed by this unit.
pub(super) fn handed(w: &World, one: &Consumer) -> Option<Pair> {
    prometheus::pair(&requests::asked(&one.published, id(w, one))?)
}

fn askable(w: &World) -> impl Iterator<Item = &Consumer> {
    w.consumers.iter().filter(|one| matches!(one.endpoint, Endpoint::Prometheus | Endpoint::Grafana))
}

fn id(w: &World, one: &Consumer) -> RequestId {
    RequestId::of(&w.model, w.unit.application(), &one.relation)
}

/// The Prometheus whose numbers the dashboard shows: of several the one that was related first.
fn watcher(w: &World) -> Option<&Consumer> {
    let all = w.consumers.iter().filter(|one| one.endpoint == Endpoint::Prometheus);
    all.min_by_key(|one| one.relation.number())
}

fn origin(w: &World) -> Origin<'_> {
    Origin { model: &w.model, application: w.unit.application() }
}

#[cfg(test)]
mod tests;
