//! JSON schema, draft 4, as far as action parameters use it. Error texts are those that Juju shows.
//! Invariant: a schema that passed [`check`] holds no draft-4 constraint that [`violations`] would silently ignore.

use anyhow::{Result, bail};
use regex::Regex;
use serde_json::{Map, Value};

/// Checks a schema itself, deeply.
///
/// # Errors
/// `$ref` or `$schema` (Juju refuses them), a draft-4 constraint that is not supported here, a wrong pattern.
pub fn check(schema: &Value) -> Result<()> {
    let Value::Object(schema) = schema else { bail!("a schema must be a map, got {schema}") };
    for (keyword, value) in schema {
        match keyword.as_str() {
            "$ref" | "$schema" => bail!("schema key {keyword:?} not compatible with this version of juju"),
            "dependencies" | "additionalItems" => bail!("schema key {keyword:?} is not supported"),
            "properties" | "patternProperties" => {
                let Value::Object(properties) = value else { bail!("{keyword} must be a map, got {value}") };
                properties.values().try_for_each(check)?;
            }
            "items" | "not" => check(value)?,
            "additionalProperties" if value.is_object() => check(value)?,
            "allOf" | "anyOf" | "oneOf" => {
                let Value::Array(parts) = value else { bail!("{keyword} must be a list, got {value}") };
                parts.iter().try_for_each(check)?;
            }
            "pattern" => {
                let pattern = value.as_str().unwrap_or_default();
                Regex::new(pattern)
                    .map_err(|_| anyhow::anyhow!("pattern {pattern:?} is no regular expression"))?;
            }
            "type" => types(value)
                .iter()
                .try_for_each(|word| if is_type(word) { Ok(()) } else { bail!("unknown type {word:?}") })?,
            _ => {}
        }
    }
    Ok(())
}

fn is_type(word: &str) -> bool {
    matches!(word, "array" | "boolean" | "integer" | "null" | "number" | "object" | "string")
}

fn types(value: &Value) -> Vec<&str> {
    match value {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// Everything that is wrong with `value`, each as Juju prints it; empty when it conforms.
#[must_use]
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, value, "(root)", &mut found);
    found
}

fn visit(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let Value::Object(schema) = schema else { return };
    let mut wrong = |text: String| found.push(format!("{place} : {text}, given {value}"));
    if let Some(wanted) = schema.get("type") {
        let wanted = types(wanted);
        if !wanted.is_empty() && !wanted.iter().any(|word| has_type(value, word)) {
            // A value of another type breaks every other keyword too: one error is enough.
            wrong(format!("must be of type {}", wanted.join(" or ")));
            return;
        }
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.iter().any(|one| same(one, value))
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        wrong(format!("must match one of the enum values [{}]", allowed.join(", ")));
    }
    let plain = match value {
        Value::Number(number) => number.as_f64().map_or_else(Vec::new, |number| of_number(schema, number)),
        Value::String(text) => of_text(schema, text),
        Value::Array(items) => of_list(schema, items),
        Value::Object(map) => of_map(schema, map),
        Value::Null | Value::Bool(_) => Vec::new(),
    };
    plain.into_iter().for_each(&mut wrong);
    combined(schema, value).into_iter().for_each(&mut wrong);
    descend(schema, value, place, found);
}

fn has_type(value: &Value, word: &str) -> bool {
    match word {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        _ => value.is_string(),
    }
}

/// Equality in JSON's sense: `1` and `1.0` are the same number.
fn same(left: &Value, right: &Value) -> bool {
    left == right || matches!((left.as_f64(), right.as_f64()), (Some(l), Some(r)) if l == r)
}

fn number_of(schema: &Map<String, Value>, keyword: &str) -> Option<f64> {
    schema.get(keyword).and_then(Value::as_f64)
}

fn count_of(schema: &Map<String, Value>, keyword: &str) -> Option<usize> {
    schema.get(keyword).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok())
}

fn of_number(schema: &Map<String, Value>, number: f64) -> Vec<String> {
    let set = |keyword: &str| schema.get(keyword) == Some(&Value::Bool(true));
    let mut found = Vec::new();
    if let Some(least) = number_of(schema, "minimum") {
        if set("exclusiveMinimum") && number <= least {
            found.push(format!("must be greater than {least}"));
        } else if number < least {
            found.push(format!("must be greater than or equal to {least}"));
        }
    }
    if let Some(most) = number_of(schema, "maximum") {
        if set("exclusiveMaximum") && number >= most {
            found.push(format!("must be lower than {most}"));
        } else if number > most {
            found.push(format!("must be lower than or equal to {most}"));
        }
    }
    if let Some(step) = number_of(schema, "multipleOf").filter(|step| *step > 0.0)
        && (number / step).fract() != 0.0
    {
        found.push(format!("must be a multiple of {step}"));
    }
    found
}

fn of_text(schema: &Map<String, Value>, text: &str) -> Vec<String> {
    let length = text.chars().count();
    let mut found = Vec::new();
    if let Some(least) = count_of(schema, "minLength").filter(|least| length < *least) {
        found.push(format!("length must be greater than or equal to {least}"));
    }
    if let Some(most) = count_of(schema, "maxLength").filter(|most| length > *most) {
        found.push(format!("length must be lower than or equal to {most}"));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        found.push(format!("does not match pattern {pattern}"));
    }
    found
}

fn of_list(schema: &Map<String, Value>, items: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(least) = count_of(schema, "minItems").filter(|least| items.len() < *least) {
        found.push(format!("must have at least {least} items"));
    }
    if let Some(most) = count_of(schema, "maxItems").filter(|most| items.len() > *most) {
        found.push(format!("must have at most {most} items"));
    }
    let repeated = items.iter().enumerate().any(|(at, item)| items[..at].iter().any(|one| same(one, item)));
    if repeated && schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        found.push("items must be unique".to_owned());
    }
    found
}

fn of_map(schema: &Map<String, Value>, map: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !map.contains_key(name) {
            found.push(format!("{name:?} property is missing and required"));
        }
    }
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        for name in map.keys().filter(|name| declared(schema, name).is_empty()) {
            found.push(format!("additional property {name:?} is not allowed"));
        }
    }
    if let Some(least) = count_of(schema, "minProperties").filter(|least| map.len() < *least) {
        found.push(format!("must have at least {least} properties"));
    }
    if let Some(most) = count_of(schema, "maxProperties").filter(|most| map.len() > *most) {
        found.push(format!("must have at most {most} properties"));
    }
    found
}

/// The schemas that name a property, plainly or by pattern.
fn declared<'a>(schema: &'a Map<String, Value>, name: &str) -> Vec<&'a Value> {
    let plain = schema.get("properties").and_then(|properties| properties.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    let matching = patterns
        .filter(|(pattern, _)| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name)))
        .map(|(_, schema)| schema);
    plain.into_iter().chain(matching).collect()
}

fn combined(schema: &Map<String, Value>, value: &Value) -> Vec<String> {
    let conforming = |keyword: &str| {
        let parts = schema.get(keyword).and_then(Value::as_array)?;
        let good = parts.iter().filter(|part| violations(part, value).is_empty()).count();
        Some((good, parts.len()))
    };
    let mut found = Vec::new();
    if conforming("allOf").is_some_and(|(good, all)| good < all) {
        found.push("must validate all the schemas (allOf)".to_owned());
    }
    if conforming("anyOf").is_some_and(|(good, _)| good == 0) {
        found.push("must validate at least one schema (anyOf)".to_owned());
    }
    if conforming("oneOf").is_some_and(|(good, _)| good != 1) {
        found.push("must validate one and only one schema (oneOf)".to_owned());
    }
    if schema.get("not").is_some_and(|part| violations(part, value).is_empty()) {
        found.push("must not validate the schema (not)".to_owned());
    }
    found
}

fn descend(schema: &Map<String, Value>, value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let mut schemas = declared(schema, name);
                if schemas.is_empty() {
                    schemas.extend(schema.get("additionalProperties").filter(|extra| extra.is_object()));
                }
                for schema in schemas {
                    visit(schema, value, &format!("{place}.{name}"), found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (at, item) in items.iter().enumerate() {
                    visit(schema, item, &format!("{place}.{at}"), found);
                }
            }
        }
        _ => {}
    }
}

/// Puts declared defaults where a property is absent, in nested maps that are present too.
pub fn insert_defaults(schema: &Value, value: &mut Value) {
    let (Some(Value::Object(properties)), Value::Object(map)) = (schema.get("properties"), value) else {
        return;
    };
    for (name, property) in properties {
        match map.get_mut(name) {
            Some(present) => insert_defaults(property, present),
            None => {
                if let Some(default) = property.get("default") {
                    map.insert(name.clone(), default.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_keyword_accepts_and_refuses() {
        let table = [
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"type": "integer"}), json!(3.0), json!(3.5)),
            (json!({"enum": ["v2", "v3", 1]}), json!(1.0), json!("v4")),
            (json!({"minimum": 1, "exclusiveMinimum": true}), json!(1.1), json!(1)),
            (json!({"maximum": 1}), json!(1), json!(2)),
            (json!({"multipleOf": 5}), json!(10), json!(11)),
            (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!("ä")),
            (json!({"pattern": "^a+$"}), json!("aa"), json!("ab")),
            (json!({"items": {"type": "string"}, "minItems": 1}), json!(["a"]), json!([])),
            (json!({"items": {"type": "string"}}), json!(["a"]), json!([1])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({})),
            (json!({"additionalProperties": {"type": "string"}}), json!({"a": "b"}), json!({"a": 1})),
            (
                json!({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false}),
                json!({"x1": "b"}),
                json!({"y": "b"}),
            ),
            (json!({"anyOf": [{"type": "string"}, {"minimum": 3}]}), json!(3), json!(2)),
            (json!({"oneOf": [{"minimum": 1}, {"minimum": 3}]}), json!(2), json!(4)),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 3}]}), json!(2), json!(4)),
            (json!({"not": {"type": "string"}}), json!(2), json!("x")),
        ];
        for (schema, good, bad) in table {
            assert!(check(&schema).is_ok(), "{schema}");
            assert_eq!(violations(&schema, &good), Vec::<String>::new(), "{schema}");
            assert!(!violations(&schema, &bad).is_empty(), "{schema} accepts {bad}");
        }
    }

    #[test]
    fn schemas_that_juju_refuses_are_refused() {
        for schema in
            [json!({"$schema": "x"}), json!({"properties": {"a": {"$ref": "x"}}}), json!({"type": "int"})]
        {
            assert!(check(&schema).is_err(), "{schema}");
        }
    }
}
