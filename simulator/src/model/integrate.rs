//! Which endpoints two words of `integrate` mean, and the relation that comes of it; texts as Juju's.

use crate::charm::{Endpoint, Role, Scope};

use super::{Life, Model, Relation, RelationEnd};

/// `application` or `application:endpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointName {
    /// Application.
    pub application: String,
    /// Endpoint, if it was given.
    pub endpoint: Option<String>,
}

impl EndpointName {
    /// Splits at the colon.
    pub fn parse(text: &str) -> Result<Self, IntegrateError> {
        let (application, endpoint) = match text.split_once(':') {
            Some((application, endpoint)) => (application, Some(endpoint)),
            None => (text, None),
        };
        if application.is_empty()
            || endpoint.is_some_and(|endpoint| endpoint.is_empty() || endpoint.contains(':'))
        {
            return Err(IntegrateError::Invalid(text.to_owned()));
        }
        Ok(Self { application: application.to_owned(), endpoint: endpoint.map(str::to_owned) })
    }
}

/// Why two endpoints cannot be related.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is by its message")]
pub enum IntegrateError {
    #[error("invalid endpoint {0:?}")]
    Invalid(String),
    #[error("application {0:?} not found")]
    NoApplication(String),
    #[error("application {0:?} has no {1:?} relation")]
    NoEndpoint(String, String),
    #[error("no relations found")]
    NoneFound,
    #[error("ambiguous relation: {left:?} could refer to {pairs}", left = .0, pairs = .1)]
    Ambiguous(String, String),
    #[error("cannot add relation {0:?}: relation {0} already exists")]
    Exists(String),
    #[error("relation {0:?} not found")]
    NotFound(String),
    #[error("application {0:?} is not alive")]
    NotAlive(String),
}

/// A possible relation: a providing and a requiring end.
type Pair = (RelationEnd, RelationEnd, bool);

impl Model {
    /// All endpoints that a name can mean.
    fn candidates(&self, name: &EndpointName) -> Result<Vec<Endpoint>, IntegrateError> {
        let application = self
            .applications
            .get(&name.application)
            .ok_or_else(|| IntegrateError::NoApplication(name.application.clone()))?;
        let mut endpoints: Vec<Endpoint> =
            application.charm.declared.metadata.endpoints.values().cloned().collect();
        // Every application can be watched over this endpoint without declaring it.
        endpoints.push(Endpoint {
            name: "juju-info".to_owned(),
            role: Role::Provider,
            interface: "juju-info".to_owned(),
            scope: Scope::Global,
            limit: None,
            optional: true,
        });
        if let Some(wanted) = &name.endpoint {
            endpoints.retain(|endpoint| endpoint.name == *wanted);
            if endpoints.is_empty() {
                return Err(IntegrateError::NoEndpoint(name.application.clone(), wanted.clone()));
            }
        }
        endpoints.retain(|endpoint| endpoint.role != Role::Peer);
        Ok(endpoints)
    }

    fn pairs(&self, left: &EndpointName, right: &EndpointName) -> Result<Vec<Pair>, IntegrateError> {
        let (lefts, rights) = (self.candidates(left)?, self.candidates(right)?);
        let end = |name: &EndpointName, endpoint: &Endpoint| RelationEnd {
            application: name.application.clone(),
            endpoint: endpoint.name.clone(),
            role: endpoint.role,
            interface: endpoint.interface.clone(),
        };
        let mut pairs = Vec::new();
        for a in &lefts {
            for b in &rights {
                let is_container = a.scope == Scope::Container || b.scope == Scope::Container;
                if a.interface != b.interface || left.application == right.application {
                    continue;
                }
                match (a.role, b.role) {
                    (Role::Provider, Role::Requirer) => {
                        pairs.push((end(left, a), end(right, b), is_container))
                    }
                    (Role::Requirer, Role::Provider) => {
                        pairs.push((end(right, b), end(left, a), is_container))
                    }
                    _ => {}
                }
            }
        }
        // The implicit endpoint counts only when nothing else fits.
        if pairs.iter().any(|(provider, ..)| provider.endpoint != "juju-info") {
            pairs.retain(|(provider, ..)| provider.endpoint != "juju-info");
        }
        Ok(pairs)
    }

    fn the_pair(&self, left: &str, right: &str) -> Result<Pair, IntegrateError> {
        let (left_name, right_name) = (EndpointName::parse(left)?, EndpointName::parse(right)?);
        let mut pairs = self.pairs(&left_name, &right_name)?;
        if pairs.len() > 1 {
            let mut names: Vec<String> = pairs
                .iter()
                .map(|(provider, requirer, _)| {
                    format!(
                        "\"{}:{} {}:{}\"",
                        requirer.application, requirer.endpoint, provider.application, provider.endpoint
                    )
                })
                .collect();
            names.sort();
            return Err(IntegrateError::Ambiguous(format!("{left} {right}"), names.join("; ")));
        }
        pairs.pop().ok_or(IntegrateError::NoneFound)
    }

    /// Relates two endpoints and returns the relation's id.
    pub fn integrate(&mut self, left: &str, right: &str) -> Result<u64, IntegrateError> {
        let (provider, requirer, is_container_scoped) = self.the_pair(left, right)?;
        for name in [&provider.application, &requirer.application] {
            if self.applications.get(name).is_some_and(|application| application.life == Life::Dying) {
                return Err(IntegrateError::NotAlive(name.clone()));
            }
        }
        let ends = vec![provider, requirer];
        if let Some(existing) = self.relations.values().find(|relation| relation.ends == ends) {
            return Err(IntegrateError::Exists(existing.key()));
        }
        Ok(self.add_relation(ends, is_container_scoped))
    }

    /// Makes the peer relations of a new application.
    pub fn add_peer_relations(&mut self, application: &str) {
        let Some(record) = self.applications.get(application) else { return };
        let peers: Vec<RelationEnd> = record
            .charm
            .declared
            .metadata
            .endpoints
            .values()
            .filter(|endpoint| endpoint.role == Role::Peer)
            .map(|endpoint| RelationEnd {
                application: application.to_owned(),
                endpoint: endpoint.name.clone(),
                role: Role::Peer,
                interface: endpoint.interface.clone(),
            })
            .collect();
        for peer in peers {
            let exists = self.relations.values().any(|relation| relation.ends.contains(&peer));
            if !exists {
                self.add_relation(vec![peer], false);
            }
        }
    }

    fn add_relation(&mut self, ends: Vec<RelationEnd>, is_container_scoped: bool) -> u64 {
        let id = self.sequence.relations;
        self.sequence.relations += 1;
        let relation = Relation {
            id,
            ends,
            is_container_scoped,
            life: Life::Alive,
            is_hidden: false,
            units: Default::default(),
            applications: Default::default(),
        };
        self.relations.insert(id, relation);
        id
    }

    /// Asks for the end of a relation; its units run their last hooks first.
    pub fn remove_relation(&mut self, left: &str, right: &str) -> Result<(), IntegrateError> {
        let (left_name, right_name) = (EndpointName::parse(left)?, EndpointName::parse(right)?);
        let fits = |end: &RelationEnd, name: &EndpointName| {
            end.application == name.application
                && name.endpoint.as_ref().is_none_or(|endpoint| *endpoint == end.endpoint)
        };
        for name in [&left_name, &right_name] {
            self.candidates(name)?;
        }
        let found: Vec<u64> = self
            .relations
            .values()
            .filter(|relation| match relation.ends.as_slice() {
                [a, b] => {
                    (fits(a, &left_name) && fits(b, &right_name))
                        || (fits(b, &left_name) && fits(a, &right_name))
                }
                _ => false,
            })
            .map(|relation| relation.id)
            .collect();
        match found.as_slice() {
            [] => Err(IntegrateError::NotFound(format!("{left} {right}"))),
            [id] => {
                self.end_relation(*id);
                Ok(())
            }
            several => {
                let keys: Vec<String> = several
                    .iter()
                    .filter_map(|id| self.relations.get(id))
                    .map(|r| format!("{:?}", r.key()))
                    .collect();
                Err(IntegrateError::Ambiguous(format!("{left} {right}"), keys.join("; ")))
            }
        }
    }

    /// Marks a relation as dying, or forgets it when nobody ever entered.
    pub fn end_relation(&mut self, id: u64) {
        if let Some(relation) = self.relations.get_mut(&id) {
            relation.life = Life::Dying;
        }
        self.drop_relation_if_over(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[test]
    fn endpoints_are_found_and_refused_as_juju_does() {
        let mut model = testing::model(&[
            "{name: db, provides: {sql: sql, admin: sql}}",
            "{name: web, requires: {store: sql, cache: redis}, peers: {ring: ring}}",
            "{name: log, requires: {host: {interface: juju-info, scope: container}}, subordinate: true}",
        ]);
        let refused = |model: &mut super::Model, left: &str, right: &str| {
            model.integrate(left, right).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&mut model, "web", "db"),
            "ambiguous relation: \"web db\" could refer to \"web:store db:admin\"; \"web:store db:sql\""
        );
        assert_eq!(refused(&mut model, "web", "nothing"), "application \"nothing\" not found");
        assert_eq!(refused(&mut model, "web:cache", "db"), "no relations found");
        assert_eq!(refused(&mut model, "web:none", "db"), "application \"web\" has no \"none\" relation");
        assert_eq!(refused(&mut model, "web:", "db"), "invalid endpoint \"web:\"");
        let id = model.integrate("web", "db:sql").unwrap();
        assert_eq!(model.relations[&id].key(), "web:store db:sql");
        assert_eq!(
            refused(&mut model, "db:sql", "web"),
            "cannot add relation \"web:store db:sql\": relation web:store db:sql already exists"
        );
        let id = model.integrate("log", "web").unwrap();
        assert!(model.relations[&id].is_container_scoped);
        assert_eq!(model.remove_relation("web", "log:host"), Ok(()));
        assert!(!model.relations.contains_key(&id), "nobody had entered");
        assert!(model.remove_relation("web", "log").unwrap_err().to_string().contains("not found"));
    }
}
