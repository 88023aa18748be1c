//! Juju's names as types: a unit such as `etcd/0`, a relation such as `cluster:3`. Both sort by number, where Juju's
//! own lists sort as text (`etcd/10` before `etcd/2`).

use std::fmt;
use std::str::FromStr;

/// A name that does not have Juju's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{text}` as {form}")]
pub struct NameError {
    text: String,
    form: &'static str,
}

/// A unit's name: application and number, `etcd/0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    application: String,
    number: u32,
}

impl UnitName {
    /// The application's name: `etcd`.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The unit's number within its application; Juju never gives one out twice.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The name of this unit's etcd member, `etcd0`: kept from the earlier charm, whose clusters already use it.
    pub fn member_name(&self) -> String {
        format!("{}{}", self.application, self.number)
    }

    /// Whether this names a unit of the same application, this one included.
    pub fn has_sibling(&self, name: &str) -> bool {
        name.parse::<UnitName>().is_ok_and(|other| other.application == self.application)
    }

    /// A form for file names and TLS request keys: `etcd_0`.
    pub fn tag(&self) -> String {
        format!("{}_{}", self.application, self.number)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.application, self.number)
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<UnitName, NameError> {
        let refused = || NameError { text: text.to_owned(), form: "a unit's name, like etcd/0" };
        let (application, number) = text.split_once('/').ok_or_else(refused)?;
        if application.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        Ok(UnitName { application: application.to_owned(), number: number.parse().map_err(|_| refused())? })
    }
}

/// A relation's id: the endpoint's name and a number that Juju never uses twice, `cluster:3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId {
    endpoint: String,
    number: u64,
}

impl RelationId {
    /// The endpoint's name in the charm's metadata: `cluster`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number that tells relations apart.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A form for databag keys and common names: `cluster-3`.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.endpoint, self.number)
    }
}

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.endpoint, self.number)
    }
}

impl FromStr for RelationId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<RelationId, NameError> {
        let refused = || NameError { text: text.to_owned(), form: "a relation's id, like cluster:3" };
        let (endpoint, number) = text.rsplit_once(':').ok_or_else(refused)?;
        if endpoint.is_empty() {
            return Err(refused());
        }
        Ok(RelationId { endpoint: endpoint.to_owned(), number: number.parse().map_err(|_| refused())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_name_gives_its_parts_and_derived_names() {
        let unit: UnitName = "my-etcd/12".parse().unwrap();
        assert_eq!((unit.application(), unit.number()), ("my-etcd", 12));
        assert_eq!((unit.member_name(), unit.tag()), ("my-etcd12".into(), "my-etcd_12".into()));
        assert_eq!(unit.to_string(), "my-etcd/12");
        assert!(unit.has_sibling("my-etcd/3") && !unit.has_sibling("etcd/12") && !unit.has_sibling("Bob"));
    }

    #[test]
    fn units_and_relations_sort_by_number() {
        let mut units: Vec<UnitName> = ["etcd/10", "etcd/2", "db/3"].map(|name| name.parse().unwrap()).into();
        units.sort();
        assert_eq!(units.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db/3", "etcd/2", "etcd/10"]);
        let mut ids: Vec<RelationId> = ["db:10", "db:9"].map(|id| id.parse().unwrap()).into();
        ids.sort();
        assert_eq!(ids[0].to_string(), "db:9");
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_expected_form() {
        for text in ["", "etcd", "/0", "etcd/", "etcd/x", "etcd/-1", "etcd/+1", "etcd/99999999999"] {
            assert!(text.parse::<UnitName>().is_err(), "{text}");
        }
        for text in ["", "3", ":3", "db:", "db:x"] {
            assert!(text.parse::<RelationId>().is_err(), "{text}");
        }
        let error = "db/x".parse::<UnitName>().unwrap_err();
        assert_eq!(error.to_string(), "cannot read `db/x` as a unit's name, like etcd/0");
    }
}
