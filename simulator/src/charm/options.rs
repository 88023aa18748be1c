//! `config.yaml` and the values of options. Invariant: an [`OptionSpec`]'s default has the declared type.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::yaml;

/// Declared type of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptionType {
    /// Any text.
    String,
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Boolean,
    /// The id of a secret, `secret:…` (a charm that has one does not load on Juju 2.9 and 3.0).
    Secret,
}

impl OptionType {
    /// The word of `config.yaml`, which is also the word in error texts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Secret => "secret",
        }
    }
}

/// A declared option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: OptionType,
    /// For people.
    pub description: String,
    /// The value while none is set; `null` when there is none.
    pub default: Value,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    options: Option<BTreeMap<String, OptionText>>,
}

#[derive(Debug, Deserialize)]
struct OptionText {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    default: Value,
}

/// Reads `config.yaml`.
///
/// # Errors
/// The text is no YAML of the right shape, or an option has an unknown type or a default of another type.
pub fn parse(text: &str) -> Result<BTreeMap<String, OptionSpec>> {
    let document: Option<Document> = yaml::read(text).context("cannot parse config.yaml")?;
    let mut options = BTreeMap::new();
    for (name, text) in document.and_then(|d| d.options).unwrap_or_default() {
        let kind = match text.kind.as_deref() {
            Some("string") | None => OptionType::String,
            Some("int") => OptionType::Int,
            Some("float") => OptionType::Float,
            Some("boolean") => OptionType::Boolean,
            Some("secret") => OptionType::Secret,
            Some(other) => bail!("invalid config: option {name:?} has unknown type {other:?}"),
        };
        let default = match typed(kind, &text.default) {
            Some(value) => value,
            None => bail!("invalid config default: {}", mismatch(&name, kind, &text.default.to_string())),
        };
        options.insert(name, OptionSpec { kind, description: text.description.unwrap_or_default(), default });
    }
    Ok(options)
}

/// The value as one of the type, or nothing when it is of another.
fn typed(kind: OptionType, value: &Value) -> Option<Value> {
    match (kind, value) {
        (_, Value::Null) => Some(Value::Null),
        (OptionType::String | OptionType::Secret, Value::String(_))
        | (OptionType::Boolean, Value::Bool(_))
        | (OptionType::Float, Value::Number(_)) => Some(value.clone()),
        (OptionType::Int, Value::Number(number)) if number.is_i64() => Some(value.clone()),
        _ => None,
    }
}

fn mismatch(name: &str, kind: OptionType, given: &str) -> String {
    format!("option {name:?} expected {}, got {given}", kind.word())
}

/// A value from the command line, by the declared type. Words for booleans are those of Go's `strconv.ParseBool`.
///
/// # Errors
/// Juju's text, e.g. `option "port" expected int, got "x"`.
pub fn parse_option(name: &str, kind: OptionType, text: &str) -> Result<Value, String> {
    let wrong = || mismatch(name, kind, &format!("{text:?}"));
    match kind {
        OptionType::String => Ok(Value::from(text)),
        OptionType::Secret if text.is_empty() || text.starts_with("secret:") => Ok(Value::from(text)),
        OptionType::Secret => Err(wrong()),
        OptionType::Int => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
        OptionType::Float => {
            let number = text.parse::<f64>().map_err(|_| wrong())?;
            serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(wrong)
        }
        OptionType::Boolean => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_keep_type_description_and_default() {
        let options = parse(
            "options:\n  port: {type: int, default: 2379, description: Client port}\n  name: {default: ''}\n  ratio: {type: float, default: 1}\n  on: {type: boolean}\n",
        )
        .unwrap();
        assert_eq!(options["port"].default, json!(2379));
        assert_eq!(options["port"].description, "Client port");
        assert_eq!((options["name"].kind, &options["name"].default), (OptionType::String, &json!("")));
        assert_eq!(options["on"].default, Value::Null);
    }

    #[test]
    fn a_default_of_another_type_is_refused_with_the_option_named() {
        let error = parse("options:\n  port: {type: int, default: abc}\n").unwrap_err().to_string();
        assert_eq!(error, "invalid config default: option \"port\" expected int, got \"abc\"");
        assert!(
            parse("options:\n  port: {type: number}\n").unwrap_err().to_string().contains("unknown type")
        );
    }

    #[test]
    fn text_becomes_a_value_of_the_declared_type() {
        assert_eq!(parse_option("o", OptionType::Int, "-7"), Ok(json!(-7)));
        assert_eq!(parse_option("o", OptionType::Float, "1.5"), Ok(json!(1.5)));
        assert_eq!(parse_option("o", OptionType::Boolean, "T"), Ok(json!(true)));
        assert_eq!(parse_option("o", OptionType::String, ""), Ok(json!("")));
        let table = [
            (OptionType::Int, "1.0", "option \"o\" expected int, got \"1.0\""),
            (OptionType::Int, "", "option \"o\" expected int, got \"\""),
            (OptionType::Boolean, "yes", "option \"o\" expected boolean, got \"yes\""),
            (OptionType::Float, "inf", "option \"o\" expected float, got \"inf\""),
            (OptionType::Secret, "abc", "option \"o\" expected secret, got \"abc\""),
        ];
        for (kind, text, error) in table {
            assert_eq!(parse_option("o", kind, text), Err(error.to_owned()));
        }
    }

    #[test]
    fn an_empty_file_declares_nothing() {
        assert!(parse("").unwrap().is_empty());
        assert!(parse("options:\n").unwrap().is_empty());
    }
}
