//! The IPv4 network of a model. Invariant: an address handed out is never the network's own nor its broadcast address.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// An IPv4 network, `10.213.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// Length of the network part, in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address of the machine with this number: `.10`, `.11`, … `None` when the network is too small for it.
    pub fn machine_address(self, number: u32) -> Option<Ipv4Addr> {
        let offset = number.checked_add(10)?;
        let size = 1_u32 << (32 - u32::from(self.prefix));
        (offset < size - 1).then(|| Ipv4Addr::from(u32::from(self.base) + offset))
    }
}

impl Default for Subnet {
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 213, 0, 0), prefix: 24 }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (base, prefix) =
            text.split_once('/').context("cannot read the subnet: write it like 10.213.0.0/24")?;
        let base: Ipv4Addr = base.parse().with_context(|| format!("cannot read the subnet {text}"))?;
        let prefix: u8 = prefix.parse().with_context(|| format!("cannot read the subnet {text}"))?;
        if !(8..=28).contains(&prefix) {
            bail!("cannot use the subnet {text}: its prefix must be between 8 and 28");
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Self { base: Ipv4Addr::from(u32::from(base) & mask), prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_numbered_from_ten_upwards() {
        let subnet = Subnet::default();
        assert_eq!(subnet.machine_address(0), Some(Ipv4Addr::new(10, 213, 0, 10)));
        assert_eq!(subnet.machine_address(244), Some(Ipv4Addr::new(10, 213, 0, 254)));
        assert_eq!(subnet.machine_address(245), None);
    }

    #[test]
    fn a_subnet_reads_back_as_written_with_its_host_bits_cleared() {
        assert_eq!("10.1.2.3/16".parse::<Subnet>().unwrap().to_string(), "10.1.0.0/16");
        assert!("10.1.2.3".parse::<Subnet>().is_err());
        assert!("10.1.2.0/30".parse::<Subnet>().is_err());
    }
}
