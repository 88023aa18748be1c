//! What a step does to a machine and to the cluster.

use super::super::{Company, Errand, company, may_retire};
use super::model::Model;
use super::observing::{endpoints, machine_at, peers};
use super::raft::{Entry, Machine};
use crate::etcd::{MemberId, read_config};
use crate::step::{Removal, Step};
use crate::world::{Door, Health, Inherited, World};

/// Why a step was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may work in a moment.
    NotYet(String),
    Failed(String),
}

type Outcome = Result<(), Trouble>;

pub(super) fn perform(model: &mut Model, number: Machine, step: &Step, w: &World) -> Outcome {
    match step {
        Step::WriteConfig { settings, version, restart } => {
            let unit = model.units.get_mut(&number).ok_or_else(gone)?;
            if *restart {
                unit.host.restart_due = Some("https://127.0.0.1:2379".into());
            }
            unit.host.config = Some(settings.render(version));
            Ok(())
        }
        Step::WriteShellProfile(text) => {
            model.units.get_mut(&number).ok_or_else(gone)?.host.shell_profile = Some(text.clone());
            Ok(())
        }
        Step::RemoveLeftovers(_) => {
            model.units.get_mut(&number).ok_or_else(gone)?.host.inherited = Inherited::default();
            Ok(())
        }
        Step::ClaimMachine(owner) => {
            model.units.get_mut(&number).ok_or_else(gone)?.host.owner = Some(owner.clone());
            Ok(())
        }
        Step::StartService => start(model, number),
        Step::StopService => {
            model.servers.stop(number);
            if let Some(server) = model.servers.all.get_mut(&number) {
                server.was_removed = false;
            }
            Ok(())
        }
        Step::RestartService => restart(model, number, w),
        Step::MoveDataAside { .. } => {
            model.servers.all.remove(&number);
            Ok(())
        }
        Step::AddLearner { peer_url } => {
            let through = cluster(model, number, w)?;
            model.servers.add_learner(through, peer_url).map_err(Trouble::NotYet)
        }
        Step::Promote(member) => promote(model, number, *member, w),
        Step::MovePeerUrl { member, peer_url } => {
            let through = cluster(model, number, w)?;
            let moved = Entry::Moved { member: *member, peer_url: peer_url.clone() };
            model.servers.append(through, moved).map_err(Trouble::NotYet)
        }
        Step::MoveLeadership { to } => model.servers.lead(number, *to).map_err(Trouble::Failed),
        Step::NoteDispensable(member) => {
            model.units.get_mut(&number).ok_or_else(gone)?.host.dispensable = Some(*member);
            Ok(())
        }
        Step::RemoveMember { reason: Removal::UnitGone, member }
            if !may_retire(&asked_again(model, number, w)?, *member) =>
        {
            Err(Trouble::Failed("Juju names its unit by now".into()))
        }
        Step::RemoveMember { member, .. } => {
            let through = cluster(model, number, w)?;
            model.servers.remove(through, *member).map_err(Trouble::Failed)
        }
        _ => panic!("no machine of this model needs this: {step}"),
    }
}

fn asked_again(model: &Model, number: Machine, w: &World) -> Result<World, Trouble> {
    let unit = model.units.get(&number).ok_or_else(gone)?;
    let (mut now, peers) = (w.clone(), peers(model, unit));
    now.leadership = model.leadership(number);
    (now.peers.expected, now.peers.leaving) = (peers.expected, peers.leaving);
    Ok(now)
}

fn gone() -> Trouble {
    Trouble::Failed("the unit is gone".into())
}

/// A server through which the cluster is changed: the own one if it votes, else another's.
fn cluster(model: &Model, number: Machine, w: &World) -> Result<Machine, Trouble> {
    let votes = matches!(&w.etcd.door, Door::Open(own) if !own.learner);
    let own = Some(number).filter(|_| votes);
    let by_roster = w.members().unwrap_or_default().iter().filter(|member| !member.learner);
    let by_roster = by_roster.flat_map(|member| &member.client_urls).filter_map(|url| machine_at(model, url));
    let mut all = own.into_iter().chain(endpoints(model, &w.peers)).chain(by_roster);
    let found = all.find(|machine| model.servers.quorum_of(*machine).is_some());
    found.ok_or_else(|| Trouble::NotYet("no member proves a quorum".into()))
}

/// With its data, or as its file says where there is none.
fn start(model: &mut Model, number: Machine) -> Outcome {
    let unit = model.units.get_mut(&number).ok_or_else(gone)?;
    unit.host.restart_due = None;
    if model.servers.start(number).is_some() {
        return Ok(());
    }
    let text = unit.host.config.clone().unwrap_or_default();
    let file = read_config(&text).map_err(|error| Trouble::Failed(error.to_string()))?;
    let first = |urls: Vec<String>| urls.into_iter().next().unwrap_or_default();
    let name = file.name.unwrap_or_default();
    let (peer, client) = (first(file.initial_advertise_peer_urls), first(file.advertise_client_urls));
    if text.contains("initial-cluster-state: new") {
        model.servers.begin(number, (&name, &peer, &client));
        return Ok(());
    }
    model.servers.join(number, (&name, &peer, &client)).map_err(Trouble::Failed)
}

/// One at a time: whoever restarts has the lock for as long as this lasts.
fn restart(model: &mut Model, number: Machine, w: &World) -> Outcome {
    match company(w, Errand::Restart) {
        Company::Alone => {}
        Company::Unknown(why) => return Err(Trouble::NotYet(why)),
        Company::Others => {
            let own = w.own_status().map(|own| own.member);
            let sick =
                w.etcd.health.iter().find(|(id, health)| Some(**id) != own && **health != Health::Healthy);
            if let Some((id, _)) = sick {
                return Err(Trouble::NotYet(format!("member {id} is not healthy")));
            }
        }
    }
    model.servers.stop(number);
    start(model, number)
}

/// Once it has caught up, which it has as soon as it runs.
fn promote(model: &mut Model, number: Machine, member: MemberId, w: &World) -> Outcome {
    let by_roster = w.members().into_iter().flatten().filter_map(|one| one.client_urls.first());
    let by_roster = by_roster.filter_map(|url| machine_at(model, url));
    let through = endpoints(model, &w.peers)
        .chain(by_roster)
        .find(|machine| *machine != number && model.servers.quorum_of(*machine).is_some());
    let through = through.ok_or_else(|| Trouble::NotYet("no voter can be asked".into()))?;
    model.servers.append(through, Entry::Promoted(member)).map_err(Trouble::NotYet)
}
