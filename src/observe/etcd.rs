//! What etcd says, here and elsewhere. Every question is bounded in time: a server without quorum accepts
//! connections and answers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::future::join_all;

use crate::etcd::{self, Alarm, Client, ClusterId, Member, MemberId, MemberStatus, Permission, Version};
use crate::juju::UnitName;
use crate::world::{Data, Door, Etcd, Health, Host, Peers, Reading, Roster, Service, V2Store};

/// A healthy server answers in milliseconds, also on a busy machine.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Where servers can be asked.
pub(super) struct Doors {
    /// This unit's own server, present address first.
    pub own: Vec<String>,
    /// Client URLs of other units.
    pub others: Vec<String>,
    /// The cluster that counts, where the application has agreed on one: a restore replaces it.
    pub cluster: Option<ClusterId>,
}

/// Where this unit's server answers, as its file says and, while a restart is due, as it was started: on loopback, or at
/// an address of this machine where the earlier charm let it listen there alone or has a certificate that does not name
/// loopback.
pub fn own_endpoints(host: &Host) -> Vec<String> {
    let config = host.config.as_deref().and_then(|config| etcd::read_config(config).ok()).unwrap_or_default();
    let named: Vec<IpAddr> =
        host.standing.iter().flat_map(|standing| standing.addresses.iter().copied()).collect();
    let listeners: Vec<SocketAddr> =
        config.listen_client_urls.iter().filter_map(|url| listener(url)).collect();
    let all = answers_at(&listeners, &named);
    let here = all.iter().filter(|at| is_here(at.ip()));
    let mut endpoints: Vec<String> = here.map(|at| format!("https://{at}")).collect();
    endpoints.extend(host.restart_due.clone());
    endpoints.dedup();
    endpoints
}

/// One with TLS; etcd listens at addresses, not at names.
fn listener(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("https://")?.trim_end_matches('/').parse().ok()
}

/// Where to ask: on loopback if the server's certificate names that too, else where it does. `named`: what it names; of one
/// that cannot be read nobody knows.
fn answers_at(listeners: &[SocketAddr], named: &[IpAddr]) -> Vec<SocketAddr> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let by_loopback = named.is_empty() || named.contains(&loopback);
    let of = |listener: &SocketAddr| -> Vec<SocketAddr> {
        let at = |address: &IpAddr| SocketAddr::new(*address, listener.port());
        match listener.ip().is_unspecified() {
            true if by_loopback => vec![at(&loopback)],
            true => named.iter().map(at).collect(),
            false => vec![*listener],
        }
    };
    let (near, far): (Vec<SocketAddr>, Vec<SocketAddr>) =
        listeners.iter().flat_map(of).partition(|at| at.ip().is_loopback());
    let is_near = far.is_empty() || (by_loopback && !near.is_empty());
    if is_near { near } else { far }
}

/// Another machine may have an address by now that this one once had.
fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

pub(super) async fn look(host: &Host, doors: &Doors) -> Etcd {
    let Some(credentials) = host.credentials.as_ref().map(etcd::Credentials::from) else {
        return Etcd {
            door: Door::Closed,
            roster: Roster::NobodyToAsk,
            permission: Permission::Granted,
            health: BTreeMap::new(),
            versions: BTreeMap::new(),
            rivals: BTreeSet::new(),
            alarms: Reading::Unknown("this unit has no certificates yet".to_owned()),
            v2_store: V2Store::not_asked(),
        };
    };
    let (door, own) = knock(host, doors, &credentials).await;
    let (roster, asked, permission) = roster(&door, own, doors, &credentials).await;
    let members = match &roster {
        Roster::Confirmed(members) => members.as_slice(),
        Roster::Unconfirmed { remembered, .. } => remembered.as_slice(),
        Roster::NobodyToAsk => &[],
    };
    let cluster = doors.cluster.or_else(|| own_cluster(&door));
    let (answers, alarms) = tokio::join!(answers(members, cluster, &door, &credentials), alarms(asked));
    let version = |(id, answer): (&MemberId, &Answer)| Some((*id, answer.1.clone()?));
    let versions = answers.iter().filter_map(version).collect();
    let health = answers.into_iter().map(|(id, (health, _))| (id, health)).collect();
    Etcd {
        door,
        health,
        versions,
        alarms,
        roster,
        permission,
        rivals: BTreeSet::new(),
        v2_store: V2Store::not_asked(),
    }
}

/// Units that say they are members of this very cluster, are not listed by its quorum here, and prove a quorum that does not
/// list this one.
pub(super) async fn rivals(etcd: &Etcd, host: &Host, peers: &Peers) -> BTreeSet<UnitName> {
    let (Door::Open(own), Roster::Confirmed(members)) = (&etcd.door, &etcd.roster) else {
        return BTreeSet::new();
    };
    let Some(credentials) = host.credentials.as_ref().map(etcd::Credentials::from) else {
        return BTreeSet::new();
    };
    let is_listed = |id: MemberId| members.iter().any(|member| member.id == id);
    let strangers = peers.units.iter().filter(|(_, peer)| {
        peer.record.cluster == Some(own.cluster) && peer.record.member.is_some_and(|id| !is_listed(id))
    });
    let asked = strangers.map(|(unit, peer)| async {
        let url = [peer.record.client_url.clone()?];
        let client = etcd::reach(&url, &credentials, Some(own.cluster)).await.ok()?;
        let theirs = client.with_timeout(PATIENCE).members().await.ok()?;
        (!theirs.iter().any(|member| member.id == own.member)).then(|| unit.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Ask this unit's own server how it is. From 3.5.28 to 3.5.31 and 3.6.9 to 3.6.11 one with users and roles tells only those who
/// have all rights; it is mute then, and may still prove its quorum.
async fn knock(host: &Host, doors: &Doors, credentials: &etcd::Credentials) -> (Door, Option<Client>) {
    if host.service != Service::Running {
        return (Door::Closed, None);
    }
    let (mut says, mut refuses) = ("it has no configuration yet".to_owned(), None);
    for endpoint in &doors.own {
        match ask_status(endpoint, credentials).await {
            Ok((status, client)) => return (Door::Open(Box::new(status)), Some(client)),
            Err(error) => {
                if matches!(error, etcd::Error::Denied) {
                    let client = Client::connect(endpoint, credentials).ok();
                    refuses = client.map(|client| client.with_timeout(PATIENCE).of_cluster(doors.cluster));
                }
                says = error.to_string();
            }
        }
    }
    if host.data == Data::Empty { (Door::Closed, None) } else { (Door::Mute(says), refuses) }
}

async fn ask_status(
    endpoint: &str,
    credentials: &etcd::Credentials,
) -> Result<(MemberStatus, Client), etcd::Error> {
    let client = Client::connect(endpoint, credentials)?.with_timeout(PATIENCE);
    let status = client.status().await?;
    Ok((status, client))
}

/// What one member says of itself, if it answers.
pub async fn status_of(member: &Member, host: &Host) -> Option<MemberStatus> {
    status_at(member.client_urls.first()?, host).await.ok()
}

/// What the server behind a client URL says of itself.
///
/// # Errors
/// Why it says nothing.
pub async fn status_at(url: &str, host: &Host) -> Result<MemberStatus, String> {
    let Some(credentials) = host.credentials.as_ref().map(etcd::Credentials::from) else {
        return Err("this unit has no certificates yet".to_owned());
    };
    ask_status(url, &credentials).await.map(|(status, _)| status).map_err(|error| error.to_string())
}

/// The members, by a server that proves within this question that a quorum stands behind it, and what this charm may do there.
async fn roster(
    door: &Door,
    own: Option<Client>,
    doors: &Doors,
    credentials: &etcd::Credentials,
) -> (Roster, Option<Client>, Permission) {
    let counts = |own: &MemberStatus| doors.cluster.is_none_or(|cluster| cluster == own.cluster);
    let cluster = doors.cluster.or_else(|| own_cluster(door));
    // A learner answers no linearizable read.
    let refuses = matches!(door, Door::Mute(_)) && own.is_some();
    let voter = refuses || matches!(door, Door::Open(status) if !status.learner && counts(status));
    let mut cause = String::new();
    if let (true, Some(client)) = (voter, &own) {
        match confirmed_members(client).await {
            Ok((members, permission)) => return (Roster::Confirmed(members), own, permission),
            Err(error) => cause = format!("own server: {error}"),
        }
    }
    let own_counts = refuses || matches!(door, Door::Open(status) if counts(status));
    if doors.others.is_empty() && !own_counts {
        return (Roster::NobodyToAsk, None, Permission::Granted);
    }
    if !doors.others.is_empty() {
        match etcd::reach(&doors.others, credentials, cluster).await {
            Ok(client) => match confirmed_members(&client).await {
                Ok((members, permission)) => return (Roster::Confirmed(members), Some(client), permission),
                Err(error) => cause = error,
            },
            Err(error) => cause = error.to_string(),
        }
    }
    let remembered = match &own {
        Some(client) => client.members().await.unwrap_or_default(),
        None => Vec::new(),
    };
    (Roster::Unconfirmed { cause, remembered }, own, Permission::Granted)
}

/// A server of before a restore is of a cluster that counts no more; nobody asks then without the agreed one.
fn own_cluster(door: &Door) -> Option<ClusterId> {
    match door {
        Door::Open(status) => Some(status.cluster),
        Door::Closed | Door::Mute(_) => None,
    }
}

/// The list itself is a local one in every etcd; the linearizable read on the same connection confirms it.
async fn confirmed_members(client: &Client) -> Result<(Vec<Member>, Permission), String> {
    let permission = client.prove_quorum().await.map_err(|error| error.to_string())?;
    Ok((client.members().await.map_err(|error| error.to_string())?, permission))
}

/// What a member answered, and its version if it did.
type Answer = (Health, Option<Version>);

async fn answers(
    members: &[Member],
    cluster: Option<ClusterId>,
    door: &Door,
    credentials: &etcd::Credentials,
) -> BTreeMap<MemberId, Answer> {
    let own = match door {
        Door::Open(status) => Some((status.member, (judge(status), Some(status.version.clone())))),
        Door::Closed | Door::Mute(_) => None,
    };
    let others = members.iter().filter(|member| own.as_ref().is_none_or(|(id, _)| *id != member.id));
    let asked = others.map(|member| async move {
        let health = match member.client_urls.first() {
            None => (Health::Unhealthy("has not started".to_owned()), None),
            Some(url) => match ask_status(url, credentials).await {
                Ok((status, _)) => match stranger(&status, member, cluster) {
                    Some(who) => (Health::Unhealthy(format!("unreachable, {who} answers there")), None),
                    None => (judge(&status), Some(status.version)),
                },
                Err(etcd::Error::Denied) => (Health::Unhealthy("does not say how it is".to_owned()), None),
                Err(_) => (Health::Unhealthy("unreachable".to_owned()), None),
            },
        };
        (member.id, health)
    });
    join_all(asked).await.into_iter().chain(own).collect()
}

/// Who else has the member's address by now.
fn stranger(status: &MemberStatus, member: &Member, cluster: Option<ClusterId>) -> Option<String> {
    if cluster.is_some_and(|cluster| cluster != status.cluster) {
        return Some(format!("another cluster ({})", status.cluster));
    }
    (status.member != member.id).then(|| format!("another member ({})", status.member))
}

fn judge(status: &MemberStatus) -> Health {
    match status.raft_leader {
        Some(_) => Health::Healthy,
        None => Health::Unhealthy("sees no raft leader".to_owned()),
    }
}

async fn alarms(client: Option<Client>) -> Reading<Vec<Alarm>> {
    let Some(client) = client else { return Reading::Unknown("no member can be asked".to_owned()) };
    match client.alarms().await {
        Ok(alarms) => Reading::Known(alarms),
        Err(error) => Reading::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a server is asked that listens there, under a certificate that names these addresses.
    fn asked(listeners: &[&str], named: &[&str]) -> Vec<String> {
        let named: Vec<IpAddr> = named.iter().map(|address| address.parse().unwrap()).collect();
        let listeners: Vec<SocketAddr> = listeners.iter().filter_map(|url| listener(url)).collect();
        answers_at(&listeners, &named).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_that_has_changed_hands_makes_nobody_healthy() {
        use crate::decide::worlds::{CLUSTER, member, status};
        let (own, other) = (member(0, false), member(1, false));
        assert_eq!(stranger(&status(&own), &own, Some(CLUSTER)), None);
        assert_eq!(stranger(&status(&own), &own, None), None);
        assert_eq!(stranger(&status(&other), &own, None), Some("another member (65)".to_owned()));
        let known = Some(ClusterId(0xd2));
        assert_eq!(stranger(&status(&own), &own, known), Some("another cluster (c1)".to_owned()));
    }

    #[test]
    fn a_server_is_asked_where_its_certificate_lets_it_be_believed() {
        let everywhere = ["http://127.0.0.1:4001", "https://0.0.0.0:2379"];
        assert_eq!(asked(&everywhere, &["10.0.0.1", "127.0.0.1"]), ["127.0.0.1:2379"]);
        assert_eq!(asked(&everywhere, &[]), ["127.0.0.1:2379"]);
        // The earlier charm's certificates name no loopback address, and it may let etcd listen at one address alone.
        assert_eq!(asked(&everywhere, &["10.0.0.1", "fd00::1"]), ["10.0.0.1:2379", "[fd00::1]:2379"]);
        assert_eq!(asked(&["https://10.0.0.1:2379/"], &["10.0.0.1"]), ["10.0.0.1:2379"]);
        // After its first restart it listens on loopback as well, and may still have the old certificate.
        let both = ["https://10.0.0.1:2379", "https://127.0.0.1:2379"];
        assert_eq!(asked(&both, &["10.0.0.1"]), ["10.0.0.1:2379"]);
        assert_eq!(asked(&both, &["10.0.0.1", "127.0.0.1"]), ["127.0.0.1:2379"]);
        assert_eq!(asked(&both[1..], &["10.0.0.1"]), ["127.0.0.1:2379"]);
    }
}
