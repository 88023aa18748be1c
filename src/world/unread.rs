//! A relation that Juju lists and does not let this unit read. Invariant: it is neither absent nor empty, so nothing that it
//! stands for is taken back.

use std::fmt;

use crate::juju::RelationId;
use crate::relations::Endpoint;

/// A relation that Juju lists and does not let this unit read, as after `juju remove-saas --force`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The relation.
    pub relation: RelationId,
    /// Juju's words.
    pub why: String,
}

impl Unread {
    /// What it is for, if it is one that this charm provides.
    pub fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == self.relation.endpoint())
    }
}

/// By this a status of an unreadable relation is known.
pub const CANNOT_BE_READ: &str = "cannot be read";

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unread { relation, why } = self;
        let number = relation.number();
        write!(
            f,
            "relation {relation} {CANNOT_BE_READ}: {why}; if its other side is gone: juju remove-relation {number} --force"
        )
    }
}
