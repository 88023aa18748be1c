//! Storage `data` as this charm uses it: where it is mounted, how a file system of ours is known, and whose data is on it. The
//! machine's own disk has the same record.
//!
//! A file system is ours by its label: the charm gives it to a device that was empty, an operator may give it to another. One that
//! was mounted before this charm came is adopted, and known by its UUID from then on.

use std::collections::BTreeSet;
use std::fmt;

use crate::etcd::ClusterId;
use crate::host::volume::Device;
use crate::juju::{RelationId, UnitName};
use crate::world::{Data, Reading};

/// Where it is mounted (kept from the earlier charm).
pub const MOUNT: &str = "/media/etcd";
/// etcd's data directory on it.
pub const DATA: &str = "/media/etcd/data";
/// The file on it that says whose the data is.
pub const OWNER: &str = "/media/etcd/etcd-charm.owner";
/// Label of a file system that this charm may use.
pub const LABEL: &str = "etcd-data";

/// What Juju has attached to this unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The instance, such as `data/0`.
    pub id: String,
    /// Its device, as it is now.
    pub device: Reading<Device>,
}

/// How storage is used on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// What is mounted at [`MOUNT`].
    pub mounted: Option<Mounted>,
    /// The text of the mount unit.
    pub unit: Option<String>,
    /// The text of the rules that keep etcd from starting without its storage.
    pub rules: Option<String>,
    /// UUIDs of file systems that were mounted here before this charm came, and that it uses.
    pub adopted: BTreeSet<String>,
    /// The instance that was found empty and is being formatted.
    pub formatting: Option<String>,
}

/// What is mounted at [`MOUNT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Major and minor number of its device.
    pub number: (u64, u64),
    /// What it was mounted from, for people.
    pub source: String,
    /// What is on it.
    pub inside: Reading<Inside>,
}

/// What a mounted file system holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The state of [`DATA`].
    pub data: Data,
    /// Whose it is; nobody's if the file is missing.
    pub owner: Option<Owner>,
}

/// Whose data is on a file system, and what its server knew when it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The unit, such as `etcd/0`.
    pub unit: String,
    /// UUID of its model; empty if Juju did not say.
    pub model: String,
    /// The peer relation of its application, where that was noted: no other application ever has the same.
    pub relation: Option<RelationId>,
    /// The cluster.
    pub cluster: Option<ClusterId>,
    /// How many members voted, this one included.
    pub voters: Option<usize>,
}

impl Owner {
    /// From the file's text. What cannot be read is left out, and then nothing certain is known.
    pub fn parse(text: &str) -> Owner {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Owner {
            unit: value("unit").unwrap_or_default().to_owned(),
            model: value("model").unwrap_or_default().to_owned(),
            relation: value("relation").and_then(|id| id.parse().ok()),
            cluster: value("cluster").and_then(|id| id.parse().ok()),
            voters: value("voters").and_then(|count| count.parse().ok()),
        }
    }

    /// Whether it is this unit of this model.
    pub fn is(&self, unit: &UnitName, model: &str) -> bool {
        self.unit == unit.to_string() && self.model == model
    }
}

impl fmt::Display for Owner {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written by the etcd charm: whose data this is.")?;
        write!(f, "unit={}\nmodel={}\n", self.unit, self.model)?;
        if let Some(relation) = &self.relation {
            writeln!(f, "relation={relation}")?;
        }
        if let Some(cluster) = self.cluster {
            writeln!(f, "cluster={cluster}")?;
        }
        match self.voters {
            Some(voters) => writeln!(f, "voters={voters}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_was_written() {
        let owner = Owner {
            unit: "etcd/3".into(),
            model: "0a1b".into(),
            relation: "cluster:3".parse().ok(),
            cluster: Some(ClusterId(0xc1)),
            voters: Some(3),
        };
        assert_eq!(Owner::parse(&owner.to_string()), owner);
        let new = Owner { relation: None, cluster: None, voters: None, ..owner };
        assert_eq!(Owner::parse(&new.to_string()), new);
        assert!(new.is(&"etcd/3".parse().unwrap(), "0a1b"));
        assert!(!new.is(&"etcd/3".parse().unwrap(), "another model"));
        assert_eq!(Owner::parse("voters=many\nnonsense"), Owner::default());
    }
}
