//! What `network-get` says of an endpoint: where to listen, and where others reach this unit. Addresses keep Juju's
//! order without repetitions; link-local IPv6 addresses are left out, as nobody else can use them.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

/// How Juju says where something is reached: an IP address, or a name where a cross-model relation or a cloud has only that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A DNS name.
    Name(String),
}

impl fmt::Display for Host {
    /// Without brackets, also for IPv6: a certificate's name, not a URL's host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// One of this machine's own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The address.
    pub address: IpAddr,
    /// Its subnet is this address alone: so are the virtual ones that move from machine to machine.
    pub is_single: bool,
}

/// The addresses of one endpoint's binding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// This machine's own addresses in that space.
    pub bind: Vec<Bound>,
    /// Where others reach this unit; may differ from `bind` across models.
    pub ingress: Vec<Host>,
    /// Networks this unit's own calls come from, as CIDR.
    pub egress: Vec<String>,
}

/// The tool's JSON: all three lists are left out when empty, names are hyphenated (the same from 2.9 to 4.0).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Answer {
    bind_addresses: Vec<Interface>,
    ingress_addresses: Vec<String>,
    egress_subnets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    #[serde(default)]
    addresses: Option<Vec<InterfaceAddress>>,
}

#[derive(Debug, Deserialize)]
struct InterfaceAddress {
    #[serde(default)]
    value: String,
    #[serde(default)]
    cidr: String,
}

impl InterfaceAddress {
    fn bound(&self) -> Option<Bound> {
        let address = self.value.parse().ok().filter(is_usable)?;
        Some(Bound { address, is_single: self.cidr.ends_with(single_suffix(&address)) })
    }
}

fn single_suffix(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "/32",
        IpAddr::V6(_) => "/128",
    }
}

/// How well an address does for others to know this unit by; the lower the better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Proper,
    /// It may move to another machine.
    Single,
    /// Not beyond its own link.
    LinkLocal,
}

impl Network {
    /// Where others reach this unit: where they know it already, if that is among the addresses still; else the first in
    /// Juju's order, with those last that may not stay or are not reached.
    pub fn reached_at(&self, known: Option<&str>) -> Option<String> {
        let mut texts = self.ingress.iter().map(ToString::to_string);
        if let Some(kept) = texts.find(|text| Some(text.as_str()) == known) {
            return Some(kept);
        }
        let rank = |host: &&Host| match host {
            Host::Address(address) => self.rank(address),
            Host::Name(_) => Rank::Proper,
        };
        self.ingress.iter().min_by_key(rank).map(ToString::to_string)
    }

    /// Where to listen to be reached at this address: there, if it is one of the machine's.
    pub fn listens_at(&self, reached_at: Option<&str>) -> Option<String> {
        let reached_at = reached_at.and_then(|text| text.parse::<IpAddr>().ok());
        let own = self.bind.iter().find(|one| Some(one.address) == reached_at);
        let best = || self.bind.iter().min_by_key(|one| self.rank(&one.address));
        own.or_else(best).map(|one| one.address.to_string())
    }

    fn rank(&self, address: &IpAddr) -> Rank {
        match address {
            IpAddr::V4(address) if address.is_link_local() => Rank::LinkLocal,
            _ if self.bind.iter().any(|one| one.address == *address && one.is_single) => Rank::Single,
            _ => Rank::Proper,
        }
    }
}

impl From<Answer> for Network {
    fn from(answer: Answer) -> Network {
        let bound =
            answer.bind_addresses.into_iter().flat_map(|interface| interface.addresses.unwrap_or_default());
        let mut bind: Vec<Bound> = Vec::new();
        for one in bound.filter_map(|address| address.bound()) {
            if bind.iter().all(|other| other.address != one.address) {
                bind.push(one);
            }
        }
        let ingress = answer.ingress_addresses.into_iter().filter(|text| !text.is_empty()).map(host);
        let ingress = ingress.filter(|host| !matches!(host, Host::Address(address) if !is_usable(address)));
        Network { bind, ingress: distinct(ingress), egress: distinct(answer.egress_subnets) }
    }
}

fn host(text: String) -> Host {
    text.parse().map_or(Host::Name(text), Host::Address)
}

/// An IPv6 link-local address needs a zone that only this machine knows.
fn is_usable(address: &IpAddr) -> bool {
    !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// First-seen order, each value once.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(json: &str) -> Network {
        serde_json::from_str::<Answer>(json).unwrap().into()
    }

    #[test]
    fn order_is_kept_and_repetitions_and_link_local_addresses_are_dropped() {
        // In the shape of a 3.6 agent's JSON, with two interfaces and an IPv6 address.
        let network = network(
            r#"{"bind-addresses":[
                 {"mac-address":"00:16:3e:11:22:33","interface-name":"eth0","addresses":[
                   {"hostname":"","value":"10.20.1.42","cidr":"10.20.1.0/24"},
                   {"hostname":"","value":"fe80::216:3eff:fe11:2233","cidr":"fe80::/64"},
                   {"hostname":"","value":"fd42::42","cidr":"fd42::/64"}]},
                 {"mac-address":"","interface-name":"","addresses":[
                   {"hostname":"","value":"10.20.1.42","cidr":""}]},
                 {"mac-address":"","interface-name":"fan","addresses":[]}],
                "egress-subnets":["10.20.1.42/32"],
                "ingress-addresses":["10.20.1.42","db.example.com","10.20.1.42"]}"#,
        );
        let bound = |address: &str, is_single| Bound { address: address.parse().unwrap(), is_single };
        assert_eq!(network.bind, [bound("10.20.1.42", false), bound("fd42::42", false)]);
        let ingress: Vec<String> = network.ingress.iter().map(ToString::to_string).collect();
        assert_eq!(ingress, ["10.20.1.42", "db.example.com"]);
        assert_eq!(network.egress, ["10.20.1.42/32"]);
    }

    #[test]
    fn a_subnet_of_one_address_is_known() {
        let network = network(
            r#"{"bind-addresses":[{"addresses":[
                 {"value":"10.0.0.100","cidr":"10.0.0.100/32"},{"value":"10.0.0.5","cidr":"10.0.0.0/24"},
                 {"value":"fd00::1","cidr":"fd00::1/128"},{"value":"fd00::32","cidr":"fd00::/32"}]}]}"#,
        );
        assert_eq!(
            network.bind.iter().map(|one| one.is_single).collect::<Vec<_>>(),
            [true, false, true, false]
        );
    }

    #[test]
    fn left_out_lists_are_empty_ones() {
        assert_eq!(network("{}"), Network::default());
        assert_eq!(network(r#"{"bind-addresses":[{"addresses":null}]}"#), Network::default());
    }
}
