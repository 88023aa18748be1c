//! Where this unit's server listens, and where others think it is. Invariants:
//!
//! - The peer URL that the cluster knows is listened to at every moment. Another port is opened beside the old one first,
//!   then the cluster is told, and only then the old one is closed.
//! - A client port that consumers were given stays open beside the new one until they were given that.
//!
//! Each opening and closing is a restart in its turn.

use super::{Next, addresses, membership, service};
use crate::etcd::{OnDisk, read_config};
use crate::juju::Status;
use crate::options::Options;
use crate::step::Step;
use crate::world::{Data, Host, World};

/// The name of the step, to ask whether it was tried.
const STEP: &str = "move-peer-url";

/// The ports of this unit's server: one of each kind, or two while it moves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// For clients; they are told of the first.
    pub client: Vec<u16>,
    /// For members.
    pub peer: Vec<u16>,
}

/// The server still listens on a port that it is to leave.
pub fn is_moving(host: &Host) -> bool {
    let peer = on_disk(host).map(|file| ports_of(&file.listen_peer_urls)).unwrap_or_default();
    client_ports(host).len() > 1 || peer.len() > 1
}

/// The client ports in etcd's file.
pub(super) fn client_ports(host: &Host) -> Vec<u16> {
    on_disk(host).map(|file| ports_of(&file.listen_client_urls)).unwrap_or_default()
}

/// Where this unit's member is in the cluster; where it will be if it has none yet.
pub fn peer_url(w: &World) -> Option<String> {
    if w.host.data == Data::Empty {
        return registered(w).or_else(|| wanted_peer_url(w));
    }
    registered(w)
        .or_else(|| on_disk(&w.host)?.initial_advertise_peer_urls.into_iter().next())
        .or_else(|| w.own_record().peer_url)
        .or_else(|| wanted_peer_url(w))
}

/// What the server is to listen on. It follows the options as far as nobody loses sight of the member.
pub(super) fn ports(w: &World, options: &Options) -> Option<Ports> {
    let now = port_of(&peer_url(w)?)?;
    let client = client(w, options, now);
    if w.host.data != Data::Empty && registered(w).is_none() {
        // Without a word from the cluster nothing moves.
        let listened = on_disk(&w.host).map(|file| ports_of(&file.listen_peer_urls)).unwrap_or_default();
        return Some(Ports { client, peer: if listened.is_empty() { vec![now] } else { listened } });
    }
    let wanted = options.management_port;
    let moves = w.host.data != Data::Empty && wanted != now && !client.contains(&wanted);
    Some(Ports { client, peer: if moves { vec![now, wanted] } else { vec![now] } })
}

/// The new port may be the one that the members are about to give up: it waits for that.
fn client(w: &World, options: &Options, peer: u16) -> Vec<u16> {
    let wanted = options.port;
    let told = on_disk(&w.host).and_then(|file| Some((port_of(file.advertise_client_urls.first()?)?, file)));
    let Some((told, file)) = told.filter(|_| w.host.data != Data::Empty) else { return vec![wanted] };
    if wanted == peer {
        return vec![told];
    }
    let kept = if told == wanted { ports_of(&file.listen_client_urls) } else { vec![told] };
    let kept = kept.into_iter().filter(|port| *port != wanted && !everybody_knows(w, wanted));
    [wanted].into_iter().chain(kept).collect()
}

/// Nobody needs this unit's old client port: every other member was published with the new one by an earlier hook, or, where
/// there is no other, this one was.
fn everybody_knows(w: &World, wanted: u16) -> bool {
    let is_new = |url: &str| port_of(url) == Some(wanted);
    let others: Vec<_> = w.peers.units.values().filter(|peer| peer.record.member.is_some()).collect();
    if !w.has_clients() {
        return true;
    }
    if others.is_empty() {
        let given = w.consumers.iter().filter_map(|one| one.published.get("connection_string"));
        return given.flat_map(|urls| urls.split(',')).all(is_new);
    }
    others.iter().all(|peer| peer.record.client_url.as_deref().is_some_and(is_new))
}

/// The cluster is told once the server listens where it is to be found. Never of a learner: etcd would make it
/// something that cannot be promoted.
pub(super) fn next(w: &World, options: &Options) -> Option<Next> {
    let (wanted, member) = (wanted_peer_url(w)?, w.own_status().filter(|status| !status.learner)?.member);
    let members = w.members()?;
    let own = members.iter().find(|other| other.id == member)?;
    if own.peer_urls == [wanted.clone()] {
        return None;
    }
    if !ports(w, options)?.peer.contains(&options.management_port) {
        return Some(Next::Done(why_taken(options, &own.peer_urls)));
    }
    Some(match w.tried.in_vain(STEP) {
        Some(why) => Next::Done(why_not_moved(&own.peer_urls, &wanted, why)),
        None => Next::Do(Step::MovePeerUrl { member, peer_url: wanted }),
    })
}

/// What is to move is named: the port, which an option asks for, or the address, which Juju does.
fn why_not_moved(now: &[String], wanted: &str, why: &str) -> Status {
    let is_port = now.iter().all(|url| port_of(url) != port_of(wanted));
    let (what, to) =
        if is_port { ("management_port", wanted) } else { ("address", service::host_of(wanted)) };
    Status::waiting(format!("{what}: waiting until members reach this one at {to}: {why}"))
}

/// Clients have the port that the members are to get.
fn why_taken(options: &Options, peer_urls: &[String]) -> Status {
    let wanted = options.management_port;
    if peer_urls.iter().any(|url| port_of(url) == Some(options.port)) {
        return Status::blocked(format!(
            "management_port: {wanted} is the client port until that has moved: set port to a third one first"
        ));
    }
    Status::waiting(format!("management_port: waiting until clients have left {wanted}"))
}

/// Where this unit's member is by the word of a quorum.
pub(super) fn registered(w: &World) -> Option<String> {
    membership::own_entry(w, w.members()?)?.peer_urls.first().cloned()
}

fn wanted_peer_url(w: &World) -> Option<String> {
    Some(service::url(&addresses::peer(w)?, w.options.as_ref().ok()?.management_port))
}

pub(super) fn on_disk(host: &Host) -> Option<OnDisk> {
    read_config(host.config.as_ref()?).ok()
}

/// The ports of the listeners with TLS, each once.
fn ports_of(urls: &[String]) -> Vec<u16> {
    let mut ports: Vec<u16> =
        urls.iter().filter(|url| url.starts_with("https://")).filter_map(|url| port_of(url)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port in a URL.
pub(super) fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, member, settled};
    use super::*;
    use crate::etcd::Settings;
    use crate::world::{Consumer, Roster};

    /// Unit 0 of three, told to listen elsewhere.
    fn told(port: u16, management_port: u16) -> World {
        let mut w = settled(0, &[0, 1, 2].map(|number| member(number, false)));
        let options = w.options.as_mut().unwrap();
        (options.port, options.management_port) = (port, management_port);
        w
    }

    /// The file that is written next, and the restart that it causes.
    fn follow(w: &mut World) -> Settings {
        let Next::Do(Step::WriteConfig { settings, version, restart: true }) = next(w) else {
            panic!("{:?}", next(w))
        };
        w.host.config = Some(settings.render(&version));
        w.host.restart_due = Some("https://127.0.0.1:2379".into());
        assert_eq!(next(w), Next::Do(Step::RestartService));
        w.host.restart_due = None;
        *settings
    }

    fn consumer(w: &mut World) {
        let published = [("connection_string".to_owned(), "https://10.0.0.1:2379".to_owned())].into();
        w.consumers = vec![Consumer { published, ..super::super::worlds::consumer("db:7") }];
    }

    #[test]
    fn consumers_keep_the_old_port_until_they_were_given_the_new_ones() {
        let mut w = told(3379, 2380);
        consumer(&mut w);
        let both = follow(&mut w);
        assert_eq!(both.listen_client_urls, ["https://0.0.0.0:3379", "https://0.0.0.0:2379"]);
        assert_eq!(both.advertise_client_urls, ["https://10.0.0.1:3379"]);
        let is_config = |next: &Next| matches!(next, Next::Do(Step::WriteConfig { .. }));
        assert!(!is_config(&next(&w)), "the others have not moved");
        for peer in w.peers.units.values_mut() {
            let url = peer.record.client_url.as_mut().unwrap();
            *url = url.replace("2379", "3379");
        }
        assert_eq!(follow(&mut w).listen_client_urls, ["https://0.0.0.0:3379"]);
    }

    #[test]
    fn a_single_member_closes_the_old_port_in_a_later_hook() {
        let mut w = settled(0, &[member(0, false)]);
        w.options.as_mut().unwrap().port = 3379;
        consumer(&mut w);
        assert_eq!(follow(&mut w).listen_client_urls.len(), 2);
        w.consumers[0].published.insert("connection_string".into(), "https://10.0.0.1:3379".into());
        assert_eq!(follow(&mut w).listen_client_urls, ["https://0.0.0.0:3379"]);
    }

    fn tell_the_cluster(w: &mut World, url: &str) {
        let own = member(0, false);
        assert_eq!(next(w), Next::Do(Step::MovePeerUrl { member: own.id, peer_url: url.into() }));
        let Roster::Confirmed(members) = &mut w.etcd.roster else { panic!() };
        members[0].peer_urls = vec![url.into()];
    }

    #[test]
    fn a_new_peer_port_is_opened_then_told_then_the_old_one_is_closed() {
        let mut w = told(2379, 3380);
        let both = follow(&mut w);
        assert_eq!(both.listen_peer_urls, ["https://0.0.0.0:2380", "https://0.0.0.0:3380"]);
        assert_eq!(both.initial_advertise_peer_urls, ["https://10.0.0.1:2380"]);
        tell_the_cluster(&mut w, "https://10.0.0.1:3380");
        let alone = follow(&mut w);
        assert_eq!(alone.listen_peer_urls, ["https://0.0.0.0:3380"]);
        assert_eq!(alone.initial_advertise_peer_urls, ["https://10.0.0.1:3380"]);
        assert_eq!(done(next(&w)).to_string(), "active Healthy with 3 known peers");
    }

    #[test]
    fn without_a_word_from_the_cluster_nothing_moves() {
        let mut w = told(2379, 3380);
        w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: vec![] };
        assert!(!matches!(next(&w), Next::Do(_)), "{:?}", next(&w));
        let mut w = told(2379, 3380);
        follow(&mut w);
        w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: vec![] };
        assert!(!matches!(next(&w), Next::Do(_)), "both stay open: {:?}", next(&w));
    }

    #[test]
    fn clients_may_have_the_port_that_the_members_leave() {
        let mut w = told(2380, 3380);
        let first = follow(&mut w);
        assert_eq!(first.listen_client_urls, ["https://0.0.0.0:2379"]);
        tell_the_cluster(&mut w, "https://10.0.0.1:3380");
        let last = follow(&mut w);
        assert_eq!(last.listen_client_urls, ["https://0.0.0.0:2380"]);
        assert_eq!(last.listen_peer_urls, ["https://0.0.0.0:3380"]);
    }

    #[test]
    fn members_may_have_the_port_that_clients_leave_but_both_cannot_change_places() {
        let mut w = told(3379, 2379);
        let first = follow(&mut w);
        assert_eq!(first.listen_client_urls, ["https://0.0.0.0:3379"]);
        assert_eq!(first.listen_peer_urls, ["https://0.0.0.0:2380", "https://0.0.0.0:2379"]);
        let mut w = told(3379, 2379);
        consumer(&mut w);
        assert_eq!(follow(&mut w).listen_client_urls, ["https://0.0.0.0:3379", "https://0.0.0.0:2379"]);
        assert_eq!(
            done(next(&w)).to_string(),
            "waiting management_port: waiting until clients have left 2379"
        );
        let status = done(next(&told(2380, 2379)));
        assert_eq!(
            status.to_string(),
            "blocked management_port: 2379 is the client port until that has moved: set port to a third one first"
        );
    }

    #[test]
    fn a_member_that_cannot_move_says_what_was_to_move() {
        let mut w = told(2379, 2380);
        w.addresses.peer = Some("10.0.0.9".into());
        w.host.standing.as_mut().unwrap().addresses.insert("10.0.0.9".parse().unwrap());
        w.tried.in_vain.insert(STEP, "another member has it".into());
        let said = done(next(&w)).to_string();
        assert_eq!(
            said,
            "waiting address: waiting until members reach this one at 10.0.0.9: another member has it"
        );
        let mut w = told(2379, 3380);
        follow(&mut w);
        w.tried.in_vain.insert(STEP, "another member has it".into());
        let said = done(next(&w)).to_string();
        assert!(
            said.starts_with("waiting management_port: waiting until members reach this one at https://"),
            "{said}"
        );
    }

    #[test]
    fn a_member_at_another_address_tells_the_cluster_without_a_restart() {
        let mut w = told(2379, 2380);
        w.addresses.peer = Some("10.0.0.9".into());
        w.host.standing.as_mut().unwrap().addresses.insert("10.0.0.9".parse().unwrap());
        tell_the_cluster(&mut w, "https://10.0.0.9:2380");
        let Next::Do(Step::WriteConfig { restart, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert!(!restart, "a member with data does not read its advertised URL");
    }
}
