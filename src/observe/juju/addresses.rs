//! Where this unit is, for members and for clients, and what its certificate has to name.
//!
//! An address that others know this unit by is kept as long as the machine has it: whatever else comes up on the interface, a
//! virtual address of a load balancer or one of another family, moves no member.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};

use crate::etcd::host_of;
use crate::host::files;
use crate::juju::{Host as JujuHost, Network, RelationId, ToolError, Tools, UnitName};
use crate::options::Options;
use crate::relations::Endpoint;
use crate::relations::certificates::Request;
use crate::relations::cluster::UnitRecord;
use crate::world::{Addresses, Consumer, Reading};

/// What Juju says of the bindings of `cluster` and `db`.
pub(super) struct Bindings {
    cluster: Reading<Network>,
    db: Reading<Network>,
    hostname: String,
}

/// A unit without an address yet is a fact, not a failure.
pub(super) async fn read(tools: &Tools) -> Result<Bindings> {
    let (cluster, db) = tokio::join!(tools.network("cluster", None), tools.network("db", None));
    let hostname = files::read("/proc/sys/kernel/hostname").context("cannot read the host name")?;
    let hostname = hostname.map(|name| String::from_utf8_lossy(&name).trim().to_owned()).unwrap_or_default();
    Ok(Bindings { cluster: readable(cluster, "cluster"), db: readable(db, "db"), hostname })
}

fn readable(network: Result<Network, ToolError>, what: &str) -> Reading<Network> {
    match network {
        Ok(network) => Reading::Known(network),
        Err(error) => {
            tracing::warn!(what, error = %error, "no address");
            Reading::Unknown(format!("{what}: {error}"))
        }
    }
}

/// Where the other side of one relation finds this unit: across models that may be another address than the binding's.
pub(super) async fn ingress(
    tools: &Tools,
    endpoint: Endpoint,
    relation: &RelationId,
) -> Reading<Option<String>> {
    if !matches!(endpoint, Endpoint::Db | Endpoint::Proxy) {
        return Reading::Known(None);
    }
    match readable(tools.network(endpoint.name(), Some(relation)).await, &relation.to_string()) {
        Reading::Known(network) => Reading::Known(network.reached_at(None)),
        Reading::Unknown(why) => Reading::Unknown(why),
    }
}

impl Bindings {
    /// `known`: where others know this unit. Beside the addresses stands why some could not be read.
    pub(super) fn choose(self, known: &UnitRecord, consumers: &[Consumer]) -> (Addresses, Option<String>) {
        let told = consumers.iter().filter_map(|one| one.ingress.why_unknown());
        let unknown = self.cluster.why_unknown().or(self.db.why_unknown()).or_else(|| told.min());
        let unknown = unknown.map(ToOwned::to_owned);
        let (cluster, db) = (self.cluster.known_or_default(), self.db.known_or_default());
        let told = consumers.iter().filter_map(|one| one.ingress.known()?.clone());
        let all = [&cluster, &db].into_iter().flat_map(every_address).chain(told).collect();
        let peer = cluster.reached_at(known.peer_url.as_deref().map(host_of));
        let client = db.reached_at(known.client_url.as_deref().map(host_of).or(known.address.as_deref()));
        let addresses = Addresses {
            peer_bind: cluster.listens_at(peer.as_deref()),
            client_bind: db.listens_at(client.as_deref()),
            peer,
            client,
            all,
            hostname: self.hostname,
        };
        (addresses, unknown)
    }
}

/// A member is checked by the address its connections come from, so egress counts too where it is one address.
fn every_address(network: &Network) -> BTreeSet<String> {
    let single = |subnet: &String| {
        let address = subnet.strip_suffix("/32").or_else(|| subnet.strip_suffix("/128"))?;
        address.parse::<IpAddr>().ok().map(|address| address.to_string())
    };
    let bind = network.bind.iter().map(|one| one.address.to_string());
    let ingress = network.ingress.iter().map(JujuHost::to_string);
    bind.chain(ingress).chain(network.egress.iter().filter_map(single)).collect()
}

/// What a certificate has to name. A request with fewer names than the last one would take them from the certificate, so there
/// is none while options or addresses cannot be read. `unknown`: why some address could not be.
pub(super) fn request(
    unit: &UnitName,
    addresses: &Addresses,
    unknown: Option<&str>,
    options: Option<&Options>,
) -> Option<Request> {
    let is_known = addresses.peer.is_some() && unknown.is_none();
    let names = options.filter(|_| is_known)?.extra_sans.iter().chain([&addresses.hostname]);
    Some(Request::new(unit, &addresses.all, &names.cloned().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::juju::Bound;

    fn network(bind: &str, ingress: &str, egress: &str) -> Network {
        Network {
            bind: vec![Bound { address: bind.parse().unwrap(), is_single: false }],
            ingress: vec![JujuHost::Address(ingress.parse().unwrap())],
            egress: vec![egress.to_owned()],
        }
    }

    fn cluster() -> Reading<Network> {
        Reading::Known(network("10.1.0.1", "10.1.0.2", "10.1.0.3/32"))
    }

    fn db() -> Reading<Network> {
        Reading::Known(network("10.2.0.1", "10.2.0.2", "10.2.0.0/16"))
    }

    fn chosen(cluster: Reading<Network>, db: Reading<Network>) -> (Addresses, Option<String>) {
        Bindings { cluster, db, hostname: "machine".to_owned() }.choose(&UnitRecord::default(), &[])
    }

    #[test]
    fn members_and_clients_are_met_in_their_own_spaces() {
        let (addresses, unread) = chosen(cluster(), db());
        assert_eq!(unread, None);
        let all = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.2.0.1", "10.2.0.2"];
        assert_eq!(
            addresses,
            Addresses {
                peer: Some("10.1.0.2".to_owned()),
                client: Some("10.2.0.2".to_owned()),
                peer_bind: Some("10.1.0.1".to_owned()),
                client_bind: Some("10.2.0.1".to_owned()),
                all: all.map(str::to_owned).into(),
                hostname: "machine".to_owned(),
            }
        );
    }

    #[test]
    fn no_name_is_taken_from_a_certificate_because_something_cannot_be_read() {
        let unit: UnitName = "etcd/0".parse().unwrap();
        let set = |name: &str, value: &str| {
            Options::parse(&serde_json::Map::from_iter([(name.to_owned(), value.into())])).ok()
        };
        let options = set("extra_sans", "etcd.example.com");
        let (addresses, _) = chosen(cluster(), db());
        let sans = request(&unit, &addresses, None, options.as_ref()).unwrap().sans;
        for name in ["10.1.0.3", "10.2.0.1", "machine", "etcd.example.com"] {
            assert!(sans.contains(name), "{name}: {sans:?}");
        }
        assert_eq!(request(&unit, &addresses, None, set("enable_v2", "maybe").as_ref()), None);
        let unread = || Reading::Unknown("no network config found".to_owned());
        for (addresses, unread) in [chosen(cluster(), unread()), chosen(unread(), db())] {
            assert!(unread.is_some());
            assert_eq!(request(&unit, &addresses, unread.as_deref(), options.as_ref()), None);
        }
    }

    /// Several addresses in one space, in Juju's order, all of the machine.
    fn several(all: &[(&str, bool)]) -> Reading<Network> {
        let bind = all
            .iter()
            .map(|(address, is_single)| Bound { address: address.parse().unwrap(), is_single: *is_single });
        let bind: Vec<Bound> = bind.collect();
        let ingress = bind.iter().map(|one| JujuHost::Address(one.address)).collect();
        Reading::Known(Network { bind, ingress, egress: vec![] })
    }

    fn at(all: &[(&str, bool)], known: &UnitRecord) -> Addresses {
        let bindings = Bindings { cluster: several(all), db: several(all), hostname: String::new() };
        bindings.choose(known, &[]).0
    }

    #[test]
    fn a_virtual_or_a_link_local_address_comes_last() {
        let nobody = UnitRecord::default();
        let vip = ("10.0.0.100", true);
        for first in [vip, ("fd00::100", true), ("169.254.7.7", false)] {
            let addresses = at(&[first, ("10.0.0.5", false)], &nobody);
            assert_eq!(addresses.peer.as_deref(), Some("10.0.0.5"), "{first:?}");
            assert_eq!(addresses.client_bind.as_deref(), Some("10.0.0.5"), "{first:?}");
            assert_eq!(addresses.all.len(), 2, "the certificate names both");
        }
        assert_eq!(at(&[vip], &nobody).peer.as_deref(), Some("10.0.0.100"), "some clouds know no other");
        assert_eq!(at(&[("fd00::5", false), ("10.0.0.5", false)], &nobody).peer.as_deref(), Some("fd00::5"));
    }

    #[test]
    fn an_address_that_others_know_is_kept_as_long_as_it_is_there() {
        let known = UnitRecord {
            peer_url: Some("https://10.0.0.5:2380".to_owned()),
            client_url: Some("https://[fd00::5]:2379".to_owned()),
            ..UnitRecord::default()
        };
        let all = [("10.0.0.4", false), ("10.0.0.5", false), ("fd00::5", true)];
        let addresses = at(&all, &known);
        assert_eq!(addresses.peer.as_deref(), Some("10.0.0.5"));
        assert_eq!(addresses.peer_bind.as_deref(), Some("10.0.0.5"));
        assert_eq!(addresses.client.as_deref(), Some("fd00::5"));
        assert_eq!(at(&all[..1], &known).peer.as_deref(), Some("10.0.0.4"), "it is gone");
    }
}
