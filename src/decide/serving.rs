//! What this unit tells the others: its databags, ports and version, as a pure function of the [`World`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    authority, clients, csr, generation, loss, ownership, ports, preparing, requests, restoring, service,
    snapd, space, trust,
};
use crate::etcd::{LogEnd, Member};
use crate::juju::{RelationId, UnitName};
use crate::relations::authority::REQUEST;
use crate::relations::certificates::{Pair, ask_for_clients};
use crate::relations::cluster::{ClusterRecord, UnitRecord, leader_settings};
use crate::relations::csr::Answers;
use crate::relations::db::{self, ClientData};
use crate::relations::{Changes, Endpoint, changes, nrpe, proxy};
use crate::tls;
use crate::world::{Consumer, Data, Door, Health, Leadership, Reading, V2Store, World};

/// What to write, already reduced to differences. Everything here takes effect when the hook succeeds, except
/// the leader settings, which do so at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Publication {
    /// This unit's databags: peer relation, certificate request, consumers.
    pub unit: Vec<(RelationId, Changes)>,
    /// The application's databag on the peer relation (leader only).
    pub application: Option<(RelationId, Changes)>,
    /// The application's databags on other relations (leader only).
    pub shared: Vec<(RelationId, Changes)>,
    /// Leader settings for units of the earlier charm (leader, Juju before 4).
    pub settings: Changes,
    /// The client ports to open; others that were opened before are closed. Empty: all stay as they are.
    pub ports: BTreeSet<u16>,
    /// Workload version: the lowest that serves. Juju shows one for the whole application, the last that a unit has set.
    pub version: Option<String>,
}

/// `token`: a fresh unique text for the case that a cluster is about to be named.
pub fn publication(w: &World, token: &str) -> Publication {
    if w.event.is_leaving() || ownership::foreign(w).is_some() {
        return Publication::default();
    }
    let own = own_record(w)
        .write(&w.own_record())
        .into_iter()
        .chain([own_request(w)])
        .chain(trust::own(w).write())
        .collect();
    let cluster = w.peers.relation.clone().map(|id| (id, changes(&w.peers.own, &own)));
    let request = certificate_request(w);
    let unit =
        cluster.into_iter().chain(request).chain(consumers(w)).filter(|(_, changes)| !changes.is_empty());
    Publication {
        unit: unit.collect(),
        application: application(w, token),
        shared: shared(w),
        settings: settings(w),
        ports: open_ports(w),
        version: oldest_version(w).or_else(|| service::version(w)).map(|version| version.to_string()),
    }
}

/// For the application's own authority.
fn own_request(w: &World) -> (String, Option<String>) {
    let request = w.host.request.as_ref().filter(|_| authority::is_internal(w));
    (REQUEST.to_owned(), request.map(|own| own.request.clone()))
}

/// In both protocols, until the authority has shown that it understands the newer one.
fn certificate_request(w: &World) -> Option<(RelationId, Changes)> {
    let (relation, _) = w.authority.relation.clone().filter(|_| !authority::is_internal(w))?;
    let request = w.authority.request.as_ref()?;
    let older: Changes = match &w.authority.signed {
        Answers::Silent => {
            request.write().into_iter().chain([ask_for_clients(&clients::asks_for(w))]).collect()
        }
        // An authority that understands requests needs to make no key.
        Answers::Said(_) => {
            let none = request.write().into_keys().map(|key| (key, None));
            none.chain([ask_for_clients(&BTreeSet::new())]).collect()
        }
        // What it understands cannot be told now: what was asked for stays.
        Answers::Unreadable(_) => return None,
    };
    let wanted = older.into_iter().chain([csr::shown(w)]).collect();
    Some((relation, changes(&w.authority.published, &wanted)))
}

/// Every consumer gets the same, but for its own client certificate. While nothing can be said for sure they keep what they
/// have: an older set beats none.
fn consumers(w: &World) -> Vec<(RelationId, Changes)> {
    let all = client_data(w);
    let data = |one: &Consumer| for_one(w, one, all.as_ref());
    let wanted = |one: &Consumer| match one.endpoint {
        Endpoint::Db => data(one).as_ref().map(db::publish),
        Endpoint::Proxy => data(one).as_ref().map(proxy::publish),
        Endpoint::Nrpe => Some(nrpe::publish(&one.published)),
        Endpoint::Prometheus | Endpoint::Grafana => requests::wanted(w, one, data(one).as_ref()),
    };
    let told = |one: &Consumer| Some((one.relation.clone(), changes(&one.published, &wanted(one)?)));
    w.consumers.iter().filter_map(told).collect()
}

/// With a client certificate of its own.
fn for_one(w: &World, one: &Consumer, all: Option<&ClientData>) -> Option<ClientData> {
    let Pair { certificate, key } = clients::pair(w, one)?;
    Some(ClientData { certificate, key, endpoints: endpoints(w, one), ..all?.clone() })
}

/// By the leader for the application.
fn shared(w: &World) -> Vec<(RelationId, Changes)> {
    let all = client_data(w);
    let told = |one: &Consumer| {
        let changes = requests::shared(w, one, for_one(w, one, all.as_ref()).as_ref())?;
        Some((one.relation.clone(), changes))
    };
    let read = w.consumers.iter().filter(|one| one.shared.is_some());
    read.filter_map(told).filter(|(_, changes)| !changes.is_empty()).collect()
}

/// A unit speaks of itself once it votes; a member that is only down for a moment is still a member.
fn own_record(w: &World) -> UnitRecord {
    match &w.etcd.door {
        Door::Open(status) if !status.learner => UnitRecord {
            address: w.addresses.client.clone(),
            peer_url: ports::peer_url(w),
            client_url: client_url(w),
            member: Some(status.member),
            cluster: Some(status.cluster),
            version: Some(status.version.clone()),
            quota: space::quota(w),
            serves_v2: w.etcd.v2_store != V2Store::Off,
            prepared_for: preparing::ready_for(w),
            generation: generation::of_voter(w),
            log: log_end(w, &w.own_record()),
            sees_quorum: sees_quorum(w),
            is_data_lost: false,
            reached_at: reached_at(w),
        },
        _ => {
            let record = w.own_record();
            let generation = generation::own_recovery(w).or(record.generation.clone());
            UnitRecord {
                generation,
                log: log_end(w, &record),
                sees_quorum: false,
                is_data_lost: loss::is_own(w),
                ..record
            }
        }
    }
}

/// How far a member's log goes, for whoever has to choose among survivors. What cannot be read now stays as it was told.
fn log_end(w: &World, before: &UnitRecord) -> Option<LogEnd> {
    let has_voted =
        matches!(&w.etcd.door, Door::Open(_)) || before.member.is_some() || before.address.is_some();
    if w.members().is_some() || w.host.data != Data::Present || !has_voted {
        return None;
    }
    match &w.host.log_end {
        Reading::Known(end) => Some(*end),
        Reading::Unknown(_) => before.log,
    }
}

/// Who sees none may only be cut off from the others: it must not be made a cluster of its own.
fn sees_quorum(w: &World) -> bool {
    w.members().is_some() && w.peers.units.values().any(|peer| peer.record.log.is_some())
}

/// Where consumers of another model reach this unit's server, by their relations' tags: where the certificate names it.
fn reached_at(w: &World) -> BTreeMap<String, String> {
    let before = w.own_record().reached_at;
    let address = |one: &Consumer| match &one.ingress {
        Reading::Known(address) => address
            .clone()
            .filter(|address| w.addresses.client.as_ref() != Some(address) && is_named(w, address)),
        Reading::Unknown(_) => before.get(&one.relation.tag()).cloned(),
    };
    let read = w.consumers.iter().filter_map(|one| Some((one.relation.tag(), address(one)?)));
    let unread = w.unread.iter().filter_map(|one| before.get_key_value(&one.relation.tag()));
    read.chain(unread.map(|(tag, address)| (tag.clone(), address.clone()))).collect()
}

fn is_named(w: &World, address: &str) -> bool {
    let Some(own) = &w.host.credentials else { return false };
    let wanted = [address.to_owned()];
    tls::why_not_usable(&own.server_certificate, &own.server_key, &own.ca, &wanted, w.now_s).is_none()
}

/// Where clients reach this unit's server as it runs now. An option that it has not followed yet changes nothing.
fn client_url(w: &World) -> Option<String> {
    let own = w.own_status()?.member;
    let member = w.members().and_then(|members| members.iter().find(|member| member.id == own));
    member
        .and_then(|member| member.client_urls.first().cloned())
        .or_else(|| w.own_record().client_url)
        .or_else(|| service::client_url(w))
}

/// While the port moves clients use the old one and the new one.
fn open_ports(w: &World) -> BTreeSet<u16> {
    let told = client_url(w).and_then(|url| ports::port_of(&url));
    let listened = told.filter(|_| w.host.restart_due.is_none()).map(|_| ports::client_ports(&w.host));
    told.into_iter().chain(listened.unwrap_or_default()).collect()
}

/// What the leader writes for all.
fn application(w: &World, token: &str) -> Option<(RelationId, Changes)> {
    let relation = w.peers.relation.clone().filter(|_| w.leadership == Leadership::Leader)?;
    let cluster = cluster_record(w, token).map(|record| record.write()).unwrap_or_default();
    let changes = changes(&w.peers.application, &cluster.into_iter().collect());
    (!changes.is_empty()).then_some((relation, changes))
}

/// The leader names the unit that starts the cluster, before anything is started, and records when it was.
fn cluster_record(w: &World, token: &str) -> Option<ClusterRecord> {
    match started_cluster(w) {
        Some(cluster) => Some(ClusterRecord {
            cluster: Some(cluster),
            generation: generation::agreed(w),
            token: w.host.restore.as_ref().map(|journal| journal.token.clone()).or(w
                .peers
                .cluster
                .token
                .clone()),
            ..w.peers.cluster.clone()
        }),
        None if w.was_started() || w.host.restore.is_some() => None,
        None if may_name_a_unit(w) => Some(ClusterRecord {
            token: Some(token.to_owned()),
            bootstrap_unit: Some(w.unit.clone()),
            ..ClusterRecord::default()
        }),
        None => None,
    }
}

/// Once written it stays, whoever leads, until a restore replaces the cluster.
fn started_cluster(w: &World) -> Option<crate::etcd::ClusterId> {
    let agreed = restoring::cluster(w);
    if agreed.is_some() || w.host.restore.is_some() {
        return agreed;
    }
    let own = w.own_status().filter(|status| !status.learner).map(|status| status.cluster);
    own.or_else(|| w.peers.units.values().find_map(|peer| peer.record.cluster))
}

/// Nobody was named yet, or the one who was is gone and no trace of a cluster was left.
fn may_name_a_unit(w: &World) -> bool {
    let exists = |unit: &UnitName| w.peers.expected.as_ref().is_none_or(|expected| expected.contains(unit));
    match &w.peers.cluster.bootstrap_unit {
        None => true,
        Some(unit) => !exists(unit),
    }
}

fn settings(w: &World) -> Changes {
    let (Some(token), Some(client_url), Some(members)) = (&w.peers.cluster.token, client_url(w), w.members())
    else {
        return Changes::new();
    };
    let keeps_settings = w.juju.has_leader_settings() && w.leadership == Leadership::Leader;
    if !keeps_settings || w.own_status().is_none_or(|status| status.learner) {
        return Changes::new();
    }
    let started = members.iter().filter(|member| member.is_started() && !member.learner);
    let urls: BTreeMap<String, String> =
        started.filter_map(|member| Some((member.name.clone(), member.peer_urls.first()?.clone()))).collect();
    changes(&w.peers.settings, &leader_settings(token, &client_url, &urls, w.host.snapd.get(snapd::TIMER)))
}

/// What consumers get, if a quorum has confirmed who the members are.
fn client_data(w: &World) -> Option<ClientData> {
    let credentials = w.host.credentials.as_ref()?;
    let members = w.members()?;
    let serving: Vec<&Member> = members.iter().filter(|member| serves(w, member)).collect();
    let endpoints: Vec<String> =
        serving.iter().filter_map(|member| member.client_urls.first().cloned()).collect();
    let named = |member: &&Member| Some((member.name.clone(), member.peer_urls.first()?.clone()));
    (!endpoints.is_empty()).then_some(())?;
    Some(ClientData {
        ca: credentials.ca.clone(),
        certificate: credentials.client_certificate.clone(),
        key: credentials.client_key.clone(),
        endpoints,
        peers: serving.iter().filter_map(named).collect(),
        version: oldest_version(w)?,
    })
}

/// Where this one reaches each member: as the member's unit says for its relation, else as the cluster does.
fn endpoints(w: &World, one: &Consumer) -> Vec<String> {
    let tag = one.relation.tag();
    let own = reached_at(w);
    let address = |member: &Member| {
        if member.name == w.member_name() {
            return own.get(&tag);
        }
        let (_, peer) = w.peers.units.iter().find(|(unit, _)| unit.member_name() == member.name)?;
        peer.record.reached_at.get(&tag)
    };
    let url = |member: &Member| {
        let told = member.client_urls.first()?;
        let there = address(member).and_then(|address| Some(service::url(address, ports::port_of(told)?)));
        Some(there.unwrap_or_else(|| told.clone()))
    };
    let serving = w.members().unwrap_or_default().iter().filter(|member| serves(w, member));
    serving.filter_map(url).collect()
}

/// A voter that has published itself. One that is down for a moment stays: every unit must publish the same
/// string, and their looks at a member's health may differ.
fn serves(w: &World, member: &Member) -> bool {
    let orphan = w
        .peers
        .expected
        .as_ref()
        .is_some_and(|expected| !expected.iter().any(|unit| unit.member_name() == member.name));
    !member.learner && member.is_started() && !(orphan && is_unhealthy(w, member))
}

fn is_unhealthy(w: &World, member: &Member) -> bool {
    matches!(w.etcd.health.get(&member.id), Some(Health::Unhealthy(_)))
}

/// The cluster offers what its oldest member offers; units in the middle of an upgrade agree on that.
fn oldest_version(w: &World) -> Option<crate::etcd::Version> {
    let others = w.peers.units.values().filter_map(|peer| peer.record.version.clone());
    others.chain(w.own_status().map(|status| status.version.clone())).min()
}

#[cfg(test)]
mod tests;
