//! Relations: who is in them, and the databags of units and applications.
//! Invariant: a bag's version changes exactly when its content does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::charm::Role;

use super::{Life, Model};

/// A databag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bag {
    /// Keys and values; never an empty value.
    pub settings: BTreeMap<String, String>,
    /// 0 until first written, then a number that differs after each change.
    pub version: u64,
}

impl Bag {
    /// Applies writes (an empty value deletes) and returns whether anything changed; then it has `version`.
    pub fn apply(&mut self, writes: &BTreeMap<String, String>, version: u64) -> bool {
        let mut settings = self.settings.clone();
        overlay(&mut settings, writes);
        if settings == self.settings {
            return false;
        }
        self.settings = settings;
        self.version = version;
        true
    }
}

/// Lays writes over settings; an empty value deletes its key.
pub fn overlay(settings: &mut BTreeMap<String, String>, writes: &BTreeMap<String, String>) {
    for (key, value) in writes {
        if value.is_empty() {
            settings.remove(key);
        } else {
            settings.insert(key.clone(), value.clone());
        }
    }
}

/// One side of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationEnd {
    /// Application.
    pub application: String,
    /// Name of the endpoint in its metadata.
    pub endpoint: String,
    /// What it does.
    pub role: Role,
    /// Interface name.
    pub interface: String,
}

/// A unit in a relation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RelationUnit {
    /// Its bag; it outlives the unit.
    pub bag: Bag,
    /// Whether it has entered and not left.
    pub in_scope: bool,
    /// Whether the others are told that it is leaving.
    pub is_departing: bool,
    /// Whether the unit is gone and the others were never told (Juju 4.0).
    pub is_ghost: bool,
}

/// A relation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relation {
    /// Never given twice.
    pub id: u64,
    /// One side for a peer relation, else two.
    pub ends: Vec<RelationEnd>,
    /// Whether it joins units on one machine only (principal and subordinate).
    pub is_container_scoped: bool,
    /// Whether it is to stay.
    pub life: Life,
    /// The controller answers no question about it any more, as after `remove-saas --force`; agents still know it.
    #[serde(default)]
    pub is_hidden: bool,
    /// Units that were ever in it.
    pub units: BTreeMap<String, RelationUnit>,
    /// Application bags.
    pub applications: BTreeMap<String, Bag>,
}

impl Relation {
    /// Whether it is a peer relation.
    pub fn is_peer(&self) -> bool {
        self.ends.len() == 1
    }

    /// The side of an application. Both sides may be the same application; then the first is meant.
    pub fn end_of(&self, application: &str) -> Option<&RelationEnd> {
        self.ends.iter().find(|end| end.application == application)
    }

    /// The other side as `application` sees it; its own for a peer relation.
    pub fn remote_end_of(&self, application: &str) -> Option<&RelationEnd> {
        if self.is_peer() {
            return self.end_of(application);
        }
        self.ends.iter().find(|end| end.application != application)
    }

    /// `etcd:cluster` or `easyrsa:client etcd:certificates`, as in Juju's messages.
    pub fn key(&self) -> String {
        let mut names: Vec<String> =
            self.ends.iter().map(|end| format!("{}:{}", end.application, end.endpoint)).collect();
        if let [first, second] = self.ends.as_slice()
            && first.role == Role::Provider
            && second.role == Role::Requirer
        {
            names.reverse();
        }
        names.join(" ")
    }

    /// How many units are in it, ghosts not counted.
    pub fn count_in_scope(&self) -> usize {
        self.units.values().filter(|unit| unit.in_scope && !unit.is_ghost).count()
    }
}

/// What the controller tells one unit about one relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Remote units in scope and their bag versions.
    pub units: BTreeMap<String, u64>,
    /// Remote application (own application for peers) and its bag version, once it was ever written.
    pub applications: BTreeMap<String, u64>,
    /// Whether the relation is being removed.
    pub is_dying: bool,
    /// Whether it is a peer relation.
    pub is_peer: bool,
    /// Name of this unit's endpoint.
    pub endpoint: String,
    /// The remote application; own application for peers.
    pub remote_application: String,
}

impl Model {
    /// The relations that an application takes part in, by id.
    pub fn relations_of<'a>(&'a self, application: &'a str) -> impl Iterator<Item = &'a Relation> + 'a {
        self.relations.values().filter(move |relation| relation.end_of(application).is_some())
    }

    /// What the controller tells `unit` about `relation` now. `known` are the members that its agent knows of.
    pub fn offer(&self, relation: u64, unit: &str, known: &BTreeMap<String, u64>) -> Option<Offer> {
        let relation = self.relations.get(&relation)?;
        let application = &self.units.get(unit)?.application;
        let own_end = relation.end_of(application)?;
        let remote_end = relation.remote_end_of(application)?;
        let is_visible = |name: &str, member: &RelationUnit| {
            let is_of_remote = application_of(name) == remote_end.application && name != unit;
            let is_here = !relation.is_container_scoped || self.are_attached(unit, name);
            let stays =
                member.in_scope && !member.is_departing && (!member.is_ghost || known.contains_key(name));
            is_of_remote && is_here && stays
        };
        let units = relation
            .units
            .iter()
            .filter(|(name, member)| is_visible(name, member))
            .map(|(name, member)| (name.clone(), member.bag.version))
            .collect();
        let applications = relation
            .applications
            .get(&remote_end.application)
            .filter(|bag| bag.version > 0)
            .map(|bag| (remote_end.application.clone(), bag.version))
            .into_iter()
            .collect();
        Some(Offer {
            units,
            applications,
            is_dying: relation.life == Life::Dying,
            is_peer: relation.is_peer(),
            endpoint: own_end.endpoint.clone(),
            remote_application: remote_end.application.clone(),
        })
    }

    /// Whether one of two units is the other's subordinate.
    fn are_attached(&self, left: &str, right: &str) -> bool {
        let is_principal = |of: &str, principal: &str| {
            self.units.get(of).is_some_and(|unit| unit.principal.as_deref() == Some(principal))
        };
        is_principal(left, right) || is_principal(right, left)
    }

    /// The address keys that the agent keeps in a unit's own bags.
    pub fn address_settings(&self, unit: &str) -> BTreeMap<String, String> {
        let Some(address) = self.address_of(unit) else { return BTreeMap::new() };
        let mut settings = BTreeMap::from([
            ("ingress-address".to_owned(), address.to_string()),
            ("egress-subnets".to_owned(), format!("{address}/32")),
        ]);
        if self.version.has_private_address() {
            settings.insert("private-address".to_owned(), address.to_string());
        }
        settings
    }

    /// A unit enters a relation: from now on the others see it, with a fresh bag.
    pub fn enter_scope(&mut self, relation: u64, unit: &str) {
        let settings = self.address_settings(unit);
        let version = self.next_version();
        if let Some(relation) = self.relations.get_mut(&relation) {
            let bag = Bag { settings, version };
            relation
                .units
                .insert(unit.to_owned(), RelationUnit { bag, in_scope: true, ..RelationUnit::default() });
        }
    }

    /// A unit leaves a relation; the last one takes a dying relation with it.
    pub fn leave_scope(&mut self, relation: u64, unit: &str) {
        if let Some(relation) = self.relations.get_mut(&relation)
            && let Some(member) = relation.units.get_mut(unit)
        {
            member.in_scope = member.is_ghost;
        }
        self.drop_relation_if_over(relation);
    }

    /// Forgets a dying relation that nobody is in any more.
    pub fn drop_relation_if_over(&mut self, id: u64) {
        let is_over = |relation: &Relation| relation.life == Life::Dying && relation.count_in_scope() == 0;
        if !self.relations.get(&id).is_some_and(is_over) {
            return;
        }
        self.relations.remove(&id);
        // A grant lasts as long as the relation that carries it.
        for secret in self.secrets.values_mut() {
            secret.grants.retain(|_, relation| *relation != id);
        }
    }
}

/// `etcd/0` → `etcd`.
pub fn application_of(unit: &str) -> &str {
    unit.split_once('/').map_or(unit, |(application, _)| application)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_value_deletes_and_equal_values_change_nothing() {
        let mut bag = Bag::default();
        assert!(bag.apply(&map(&[("a", "1"), ("b", "2")]), 5));
        assert!(!bag.apply(&map(&[("a", "1"), ("c", "")]), 6));
        assert_eq!(bag.version, 5);
        assert!(bag.apply(&map(&[("a", "")]), 7));
        assert_eq!((bag.settings, bag.version), (map(&[("b", "2")]), 7));
    }
}
