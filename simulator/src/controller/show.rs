//! Juju's `show-unit --format json`.

use serde_json::{Map, Value, json};

use crate::model::{Bag, Life, Model, Relation, Unit, application_of};

use super::requests::no_unit;

/// One unit with its relations and databags.
pub fn unit(model: &Model, name: &str) -> Result<Value, String> {
    let name = match name.strip_suffix("/leader") {
        Some(application) => {
            let lease = model.applications.get(application).and_then(|record| record.lease.as_ref());
            lease.map_or(name, |lease| lease.holder.as_str())
        }
        None => name,
    };
    let unit = model.units.get(name).ok_or_else(|| no_unit(name))?;
    let application = model.applications.get(&unit.application);
    let charm = application.map(|a| format!("local:{}-{}", a.charm.declared.metadata.name, a.charm.revision));
    let ports: Vec<String> = super::report::open_ports(unit);
    let relations: Vec<Value> = model
        .relations_of(&unit.application)
        .filter_map(|relation| relation_info(model, unit, relation))
        .collect();
    let address = model.address_of(name).map(|address| address.to_string()).unwrap_or_default();
    let body = json!({
        "workload-version": unit.workload_version,
        "machine": unit.machine,
        "opened-ports": ports,
        "public-address": address,
        "address": address,
        "charm": charm.unwrap_or_default(),
        "leader": model.is_leader(name),
        "life": if unit.life == Life::Alive { "alive" } else { "dying" },
        "relation-info": relations,
    });
    Ok(json!({ name: body }))
}

fn relation_info(model: &Model, unit: &Unit, relation: &Relation) -> Option<Value> {
    let own = relation.end_of(&unit.application)?;
    let remote = relation.remote_end_of(&unit.application)?;
    let settings = |bag: Option<&Bag>| bag.map(|bag| json!(bag.settings)).unwrap_or_else(|| json!({}));
    let data = |name: &str| {
        let member = relation.units.get(name);
        let in_scope = member.is_some_and(|member| member.in_scope);
        json!({"in-scope": in_scope, "data": settings(member.map(|member| &member.bag))})
    };
    let related: Map<String, Value> = relation
        .units
        .keys()
        .filter(|name| application_of(name) == remote.application && **name != unit.name)
        .filter(|name| model.units.contains_key(*name))
        .map(|name| (name.clone(), data(name)))
        .collect();
    Some(json!({
        "relation-id": relation.id,
        "endpoint": own.endpoint,
        "related-endpoint": remote.endpoint,
        "application-data": settings(relation.applications.get(&remote.application)),
        "local-unit": data(&unit.name),
        "related-units": related,
    }))
}
