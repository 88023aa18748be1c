//! `actions.yaml`, and the check of parameters before an action may run.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{names, schema};
use crate::yaml;

/// A declared action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// For people.
    pub description: String,
    /// Whether it may run beside other work of the unit.
    pub parallel: bool,
    /// Actions of one group run one after the other even when parallel.
    pub execution_group: String,
    /// JSON schema (draft 4) of the whole parameter map. `additionalProperties` is there only when the charm
    /// declares it, because its default differs between Juju versions.
    pub schema: Value,
}

/// Reads `actions.yaml`.
///
/// # Errors
/// The text is no YAML of the right shape, a name is not allowed, or a schema uses `$ref` or `$schema`.
pub fn parse(text: &str) -> Result<BTreeMap<String, ActionSpec>> {
    let document: Option<BTreeMap<String, Option<Map<String, Value>>>> =
        yaml::read(text).context("cannot parse actions.yaml")?;
    let mut actions = BTreeMap::new();
    for (name, body) in document.unwrap_or_default() {
        check_name(&name)?;
        let spec = read(&name, body.unwrap_or_default())?;
        actions.insert(name, spec);
    }
    Ok(actions)
}

fn check_name(name: &str) -> Result<()> {
    if name == "juju" || name.starts_with("juju-") {
        bail!("cannot use action name {name}: \"juju\" and names starting with \"juju-\" are reserved");
    }
    if !names::is_action_word(name) {
        bail!("bad action name {name}");
    }
    Ok(())
}

fn read(name: &str, mut body: Map<String, Value>) -> Result<ActionSpec> {
    let text = |value: Option<Value>| value.and_then(|v| v.as_str().map(ToOwned::to_owned));
    let description = text(body.remove("description")).unwrap_or_else(|| "No description".to_owned());
    let parallel = match body.remove("parallel") {
        None => false,
        Some(Value::Bool(parallel)) => parallel,
        Some(other) => bail!("value for schema key \"parallel\" must be a bool, got {other}"),
    };
    let execution_group = text(body.remove("execution-group")).unwrap_or_default();
    let properties = match body.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => bail!("params failed to parse as a map"),
    };
    let mut schema = json!({
        "title": name, "description": description, "type": "object", "properties": properties
    });
    if let Value::Object(schema) = &mut schema {
        schema.extend(body);
    }
    schema::check(&schema).with_context(|| format!("invalid params schema for action schema {name}"))?;
    Ok(ActionSpec { description, parallel, execution_group, schema })
}

/// Checks parameters and fills in declared defaults, as Juju does before it queues an action.
/// `closed` is the Juju version's default of `additionalProperties: false` (Juju 4).
///
/// # Errors
/// Juju's text, e.g. `validation failed: (root) : "outfile" property is missing and required, given {}`.
pub fn validate_parameters(
    spec: &ActionSpec,
    parameters: Map<String, Value>,
    closed: bool,
) -> Result<Map<String, Value>, String> {
    let mut wanted = spec.schema.clone();
    if closed
        && let Value::Object(wanted) = &mut wanted
        && !wanted.contains_key("additionalProperties")
    {
        wanted.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    let mut given = Value::Object(parameters);
    let errors = schema::violations(&wanted, &given);
    if !errors.is_empty() {
        return Err(format!("validation failed: {}", errors.join("; ")));
    }
    schema::insert_defaults(&wanted, &mut given);
    match given {
        Value::Object(filled) => Ok(filled),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
snapshot:
  description: Take a snapshot
  params:
    target: {type: string, default: /home/ubuntu}
    quality: {type: integer, minimum: 0, maximum: 9}
    nested: {type: object, properties: {depth: {type: integer, default: 2}}}
  required: [quality]
health: {}
quiet:
  parallel: true
  execution-group: g
  additionalProperties: false
";

    fn parameters(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn declared_keys_become_one_schema() {
        let actions = parse(TEXT).unwrap();
        assert_eq!(actions["snapshot"].schema["required"], json!(["quality"]));
        assert_eq!(actions["health"].description, "No description");
        assert_eq!((actions["quiet"].parallel, actions["quiet"].execution_group.as_str()), (true, "g"));
    }

    #[test]
    fn defaults_are_filled_in_also_in_nested_maps_that_were_given() {
        let actions = parse(TEXT).unwrap();
        let filled =
            validate_parameters(&actions["snapshot"], parameters(r#"{"quality": 3, "nested": {}}"#), false)
                .unwrap();
        assert_eq!(
            Value::Object(filled),
            json!({"quality": 3, "target": "/home/ubuntu", "nested": {"depth": 2}})
        );
    }

    #[test]
    fn violations_read_as_juju_prints_them() {
        let actions = parse(TEXT).unwrap();
        let check =
            |given: &str| validate_parameters(&actions["snapshot"], parameters(given), false).unwrap_err();
        assert_eq!(
            check("{}"),
            "validation failed: (root) : \"quality\" property is missing and required, given {}"
        );
        assert_eq!(
            check(r#"{"quality": 1, "target": 5}"#),
            "validation failed: (root).target : must be of type string, given 5"
        );
        assert!(check(r#"{"quality": 10}"#).contains("(root).quality : must be lower than or equal to 9"));
    }

    #[test]
    fn extra_parameters_are_refused_where_the_charm_or_the_version_says_so() {
        let actions = parse(TEXT).unwrap();
        let extra = parameters(r#"{"x": 1}"#);
        assert!(validate_parameters(&actions["health"], extra.clone(), false).is_ok());
        let refused = "validation failed: (root) : additional property \"x\" is not allowed, given {\"x\":1}";
        assert_eq!(validate_parameters(&actions["health"], extra.clone(), true).unwrap_err(), refused);
        assert_eq!(validate_parameters(&actions["quiet"], extra, false).unwrap_err(), refused);
    }

    #[test]
    fn reserved_and_malformed_names_are_refused() {
        for text in ["juju-x: {}", "juju: {}", "Bad: {}", "a-: {}", "a: {params: {p: {$ref: '#/x'}}}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
