//! network-get and unit-get. Every endpoint is bound to the one space of the model, `alpha`; addresses are IPv4.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::format::Printed;
use super::relation::relation_id;
use super::{Answer, Call, ToolError};

pub(super) fn unit_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let Some(setting) = call.parsed.positional(0) else {
        return Err(ToolError::usage("no setting specified"));
    };
    if setting != "private-address" && setting != "public-address" {
        return Err(ToolError::usage(format!("unknown setting {setting:?}")));
    }
    call.parsed.at_most(1)?;
    let missing = format!("{} not found", setting.replace('-', " "));
    let address = call.store.read(|model| model.address_of(&call.context.unit));
    let address = address.ok_or_else(|| ToolError::failed(missing))?;
    Ok(Answer::Value(Printed::Value(json!(address.to_string()))))
}

pub(super) fn network_get(call: &mut Call<'_>) -> Result<Answer, ToolError> {
    let Some(binding) = call.parsed.positional(0).map(str::to_owned) else {
        return Err(ToolError::usage("no arguments specified"));
    };
    if binding.is_empty() {
        return Err(ToolError::usage("no binding name specified"));
    }
    if call.parsed.value("r").is_some() {
        let id = relation_id(call)?;
        let is_hidden =
            |model: &crate::model::Model| model.relations.get(&id).is_some_and(|relation| relation.is_hidden);
        if call.store.read(is_hidden) {
            return Err(ToolError::failed(format!("relation {id} not found")));
        }
    }
    call.parsed.at_most(1)?;
    let found = call.store.read(|model| {
        let unit = model.units.get(&call.context.unit)?;
        let metadata = &model.applications.get(&unit.application)?.charm.declared.metadata;
        let is_declared = metadata.endpoints.contains_key(&binding)
            || metadata.extra_bindings.contains(&binding)
            || binding == "juju-info";
        let address = model.address_of(&unit.name)?;
        is_declared.then(|| (address, model.network.cidr()))
    });
    let Some((address, cidr)) = found else {
        return Err(ToolError::failed(format!("no network config found for binding {binding:?}")));
    };
    if call.parsed.is_on("primary-address") {
        return Ok(Answer::Value(Printed::Value(json!(address.to_string()))));
    }
    let selected: Vec<(&str, Value)> = [
        ("bind-address", json!(address.to_string())),
        ("egress-subnets", json!([format!("{address}/32")])),
        ("ingress-address", json!(address.to_string())),
    ]
    .into_iter()
    .filter(|(name, _)| call.parsed.is_on(name))
    .collect();
    Ok(Answer::Value(match selected.as_slice() {
        [] => Printed::Different(structure(address, &cidr, false), structure(address, &cidr, true)),
        [(_, Value::Array(_))] => Printed::Strings(vec![format!("{address}/32")]),
        [(_, one)] => Printed::Value(one.clone()),
        several => {
            let map: Map<String, Value> =
                several.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            Printed::Value(Value::Object(map))
        }
    }))
}

/// The full answer; `for_yaml` with the duplicate keys that old clients read.
fn structure(address: Ipv4Addr, cidr: &str, for_yaml: bool) -> Value {
    let [a, b, c, d] = address.octets();
    let mac = format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    let mut entry = json!({"hostname": "", "value": address.to_string(), "cidr": cidr});
    let mut interface = json!({"mac-address": mac, "interface-name": "eth0"});
    if for_yaml && let (Value::Object(entry), Value::Object(interface)) = (&mut entry, &mut interface) {
        entry.insert("address".to_owned(), json!(address.to_string()));
        interface.insert("macaddress".to_owned(), json!(mac));
        interface.insert("interfacename".to_owned(), json!("eth0"));
    }
    if let Value::Object(interface) = &mut interface {
        interface.insert("addresses".to_owned(), json!([entry]));
    }
    json!({
        "bind-addresses": [interface],
        "egress-subnets": [format!("{address}/32")],
        "ingress-addresses": [address.to_string()],
    })
}
