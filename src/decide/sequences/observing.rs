//! What a hook sees, put together as the charm's own readers do it.

use std::collections::BTreeMap;

use super::super::worlds::{self, first_hook, peer_of};
use super::model::{Life, Model, Run, Unit, name};
use super::raft::{Disk, Machine};
use crate::etcd::{Identity, Member, MemberId, MemberStatus};
use crate::juju::Databag;
use crate::relations::cluster::{ClusterRecord, UnitRecord};
use crate::world::{
    Addresses, Answered, Data, Door, Etcd, Health, Host, Leadership, Peer, Peers, Roster, Service, World,
};

/// What Juju tells this unit at the begin of a hook. In the last one it sees nobody any more.
pub(super) fn peers(model: &Model, unit: &Unit) -> Peers {
    let units = || model.units.values();
    let expected = Some(units().map(|one| name(one.number)).collect());
    let leaving = units().filter(|one| one.life != Life::Stays).map(|one| name(one.number)).collect();
    // Nobody is told of a unit that is being removed; what it has published can be read by its name.
    let is_other = |one: &&Unit| one.number != unit.number && one.has_entered;
    let is_seen = |one: &&Unit| one.life == Life::Stays && unit.life != Life::Stops;
    let departing = units().filter(is_other).filter(|one| one.life != Life::Stays);
    let leads = model.leadership(unit.number) == Leadership::Leader;
    let settings =
        if leads || model.application.is_empty() { model.settings.clone() } else { Databag::new() };
    Peers {
        relation: "cluster:0".parse().ok(),
        own: unit.bag.clone(),
        cluster: ClusterRecord::read(&model.application, &settings),
        application: model.application.clone(),
        settings,
        units: units().filter(is_other).filter(is_seen).map(|one| (name(one.number), peer(one))).collect(),
        departing: departing.map(|one| (name(one.number), peer(one))).collect(),
        expected,
        leaving,
        ..Peers::default()
    }
}

fn peer(unit: &Unit) -> Peer {
    let record = UnitRecord::read(&unit.bag);
    Peer { record, ingress: Some(unit.address.clone()), ..peer_of(&name(unit.number)) }
}

/// The world in which the next decision falls.
pub(super) fn world(model: &Model, number: Machine, run: &Run) -> World {
    let unit = &model.units[&number];
    let mut w = first_hook(number);
    w.event = run.event.clone();
    w.leadership = run.leadership;
    w.peers = run.peers.clone();
    w.tried = run.tried.clone();
    w.now_s = model.now_s;
    if let Ok(options) = &mut w.options {
        options.heartbeat_interval_ms = model.heartbeat_ms;
    }
    w.addresses = Addresses {
        peer: Some(unit.address.clone()),
        client: Some(unit.address.clone()),
        all: [unit.address.clone()].into(),
        ..Addresses::default()
    };
    w.host = host(model, unit);
    w.authority.answer = w.host.credentials.clone().map_or(Answered::Nothing, Answered::Usable);
    w.etcd = etcd(model, unit, &w.peers, w.etcd);
    w
}

fn host(model: &Model, unit: &Unit) -> Host {
    let server = model.servers.all.get(&unit.number);
    let data = if server.is_some_and(|one| one.disk.is_some()) { Data::Present } else { Data::Empty };
    let service = match server {
        Some(one) if one.runs => Service::Running,
        Some(one) if one.was_removed => Service::Failing("the member has been permanently removed".into()),
        _ => Service::Stopped,
    };
    let disk = server.and_then(|one| one.disk.as_ref());
    let identity = disk.map(|disk| Identity { member: disk.member, cluster: disk.cluster });
    Host { service, root_data: data.clone(), data, identity, ..unit.host.clone() }
}

/// `quiet`: what nothing of this model is about.
fn etcd(model: &Model, unit: &Unit, peers: &Peers, quiet: Etcd) -> Etcd {
    let door = door(model, unit.number);
    let roster = roster(model, &door, unit, peers);
    let members = match &roster {
        Roster::Confirmed(members) => members.as_slice(),
        Roster::Unconfirmed { remembered, .. } => remembered.as_slice(),
        Roster::NobodyToAsk => &[],
    };
    let health: BTreeMap<MemberId, Health> =
        members.iter().map(|member| (member.id, health(model, member))).collect();
    Etcd { door, roster, health, ..quiet }
}

fn door(model: &Model, number: Machine) -> Door {
    let Some(server) = model.servers.all.get(&number).filter(|server| server.runs) else {
        return Door::Closed;
    };
    match &server.disk {
        Some(disk) if server.answers => Door::Open(Box::new(status(model, disk))),
        _ => Door::Mute("it waits for its quorum".into()),
    }
}

fn status(model: &Model, disk: &Disk) -> MemberStatus {
    let own = disk.members().into_iter().find(|member| member.id == disk.member);
    let index = u64::try_from(disk.log.len()).unwrap_or(u64::MAX);
    MemberStatus {
        member: disk.member,
        cluster: disk.cluster,
        raft_leader: model.servers.raft_leader(disk.cluster),
        raft_index: index,
        raft_applied_index: index,
        learner: own.is_some_and(|own| own.learner),
        ..worlds::status(&worlds::member(0, false))
    }
}

fn roster(model: &Model, door: &Door, unit: &Unit, peers: &Peers) -> Roster {
    let wanted = peers.cluster.cluster;
    let own = match door {
        Door::Open(status) => Some(status).filter(|own| wanted.is_none_or(|it| it == own.cluster)),
        Door::Closed | Door::Mute(_) => None,
    };
    if own.is_some_and(|own| !own.learner)
        && let Some((_, disk)) = model.servers.quorum_of(unit.number)
    {
        return Roster::Confirmed(disk.members());
    }
    let others: Vec<Machine> = endpoints(model, peers).collect();
    if others.is_empty() && own.is_none() {
        return Roster::NobodyToAsk;
    }
    match others.into_iter().find_map(|other| confirmed_by(model, other)) {
        Some(members) => Roster::Confirmed(members),
        None => Roster::Unconfirmed {
            cause: "no server proves a quorum".into(),
            remembered: own
                .and_then(|_| Some(model.servers.disk(unit.number)?.members()))
                .unwrap_or_default(),
        },
    }
}

/// The machines behind the client URLs that other units publish for this cluster. One that is lost is still asked.
pub(super) fn endpoints<'a>(model: &'a Model, peers: &'a Peers) -> impl Iterator<Item = Machine> + 'a {
    let wanted = peers.cluster.cluster;
    let counts = move |record: &&UnitRecord| match (record.cluster, wanted) {
        (Some(theirs), Some(wanted)) => theirs == wanted,
        _ => true,
    };
    let records = peers.all().map(|peer| &peer.record).filter(counts);
    records
        .filter_map(|record| record.client_url.as_ref())
        .map(|url| machine_at(model, url).unwrap_or(Machine::MAX))
}

/// Whose server answers at a URL.
pub(super) fn machine_at(model: &Model, url: &str) -> Option<Machine> {
    let is_there = |unit: &&Unit| !unit.is_lost && url.starts_with(&format!("https://{}:", unit.address));
    model.units.values().find(is_there).map(|unit| unit.number)
}

/// A learner answers no linearizable read.
fn confirmed_by(model: &Model, machine: Machine) -> Option<Vec<Member>> {
    let own = model.servers.disk(machine)?.member;
    let (_, disk) = model.servers.quorum_of(machine)?;
    let members = disk.members();
    let votes = members.iter().any(|member| member.id == own && !member.learner);
    votes.then_some(members)
}

fn health(model: &Model, member: &Member) -> Health {
    let Some(url) = member.client_urls.first() else { return Health::Unhealthy("has not started".into()) };
    let answers = |machine: Machine| {
        let server = model.servers.all.get(&machine).filter(|server| server.runs && server.answers);
        server.and_then(|server| server.disk.as_ref()).map(|disk| disk.cluster)
    };
    match machine_at(model, url).and_then(answers) {
        None => Health::Unhealthy("unreachable".into()),
        Some(cluster) if model.servers.raft_leader(cluster).is_some() => Health::Healthy,
        Some(_) => Health::Unhealthy("sees no raft leader".into()),
    }
}
