//! How hook tools print values: Juju's `smart`, `yaml` and `json` forms, byte for byte where its formatter
//! is known. Invariant: every output that is not empty ends in exactly one newline.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::ToolError;

/// A value together with what JSON alone does not tell: whether a list is one of strings, and which kind of nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Printed {
    /// Any value; lists in it print as YAML.
    Value(Value),
    /// A list of strings, one a line in the smart form.
    Strings(Vec<String>),
    /// A list that was never made (`null` in JSON).
    NilStrings,
    /// A map that was never made (`null` in JSON).
    NilMap,
    /// A value whose YAML form has more keys than its JSON form, for old clients: `(json, yaml)`.
    Different(Value, Value),
}

/// An output form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text as it is, everything else as YAML.
    Smart,
    /// YAML.
    Yaml,
    /// JSON on one line.
    Json,
}

impl Format {
    /// Reads a form's name; `None` when there is none like it. `smart` only where the tool has it.
    pub fn from_name(name: &str, has_smart: bool) -> Option<Self> {
        match name {
            "smart" if has_smart => Some(Self::Smart),
            "yaml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Prints a value.
    pub fn print(self, printed: &Printed) -> Result<String, ToolError> {
        let text = match self {
            Self::Smart => smart(printed),
            Self::Yaml => match printed {
                Printed::Value(Value::Null) => String::new(),
                other => yaml(&yaml_value(other)),
            },
            Self::Json => json(&json_value(printed))?,
        };
        Ok(if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" })
    }
}

fn yaml_value(printed: &Printed) -> Value {
    match printed {
        Printed::Different(_, yaml) => yaml.clone(),
        Printed::NilStrings => Value::Array(Vec::new()),
        Printed::NilMap => Value::Object(Map::new()),
        other => json_value(other),
    }
}

fn json_value(printed: &Printed) -> Value {
    match printed {
        Printed::Value(value) | Printed::Different(value, _) => value.clone(),
        Printed::Strings(items) => Value::Array(items.iter().cloned().map(Value::String).collect()),
        Printed::NilStrings | Printed::NilMap => Value::Null,
    }
}

fn smart(printed: &Printed) -> String {
    match printed {
        Printed::Strings(items) => items.join("\n"),
        Printed::NilStrings | Printed::Value(Value::Null) => String::new(),
        Printed::Value(Value::String(text)) if text.is_empty() => String::new(),
        Printed::Value(Value::String(text)) => format!("{text}\n"),
        Printed::Value(Value::Bool(true)) => "True".to_owned(),
        Printed::Value(Value::Bool(false)) => "False".to_owned(),
        other => yaml(&yaml_value(other)),
    }
}

/// JSON as Go writes it: `<`, `>` and `&` escaped.
fn json(value: &Value) -> Result<String, ToolError> {
    let text = serde_json::to_string(value)
        .map_err(|error| ToolError::failed(format!("cannot write JSON: {error}")))?;
    // These characters occur in JSON inside of strings only.
    Ok(text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// YAML as yaml.v2 writes it: keys in natural order, lists not indented below their key.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    emit(&mut out, value, 0);
    out
}

fn emit(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by(|(left, _), (right, _)| natural_order(left, right));
            for (position, (key, entry)) in entries.into_iter().enumerate() {
                if position > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&scalar(key));
                out.push(':');
                emit_entry(out, entry, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                emit(out, item, indent + 2);
            }
        }
        Value::String(text) => {
            emit_text(out, text, indent);
            out.push('\n');
        }
        other => {
            out.push_str(&plain(other));
            out.push('\n');
        }
    }
}

fn emit_entry(out: &mut String, entry: &Value, indent: usize) {
    let nested = match entry {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        let deeper = if entry.is_array() { indent } else { indent + 2 };
        out.push('\n');
        out.push_str(&" ".repeat(deeper));
        emit(out, entry, deeper);
    } else {
        out.push(' ');
        emit(out, entry, indent + 2);
    }
}

fn emit_text(out: &mut String, text: &str, indent: usize) {
    let can_be_block = text.contains('\n') && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    if !can_be_block {
        out.push_str(&scalar(text));
        return;
    }
    let indent = indent.max(2);
    let body = text.strip_suffix('\n').unwrap_or(text);
    out.push('|');
    if text.starts_with(' ') {
        out.push('2');
    }
    match (text.ends_with('\n'), body.ends_with('\n')) {
        (false, _) => out.push('-'),
        (true, true) => out.push('+'),
        (true, false) => {}
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Number(number) => go_number(number),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Numbers reach the formatter as floating point, which Go prints with an exponent from 21 bits on.
fn go_number(number: &Number) -> String {
    let float = number.as_f64().unwrap_or_default();
    if float != 0.0 && (float.abs() >= 1e6 || float.abs() < 1e-4) {
        let text = format!("{float:e}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            return format!("{mantissa}e{sign}{digits:0>2}");
        }
    }
    if float.fract() == 0.0 { format!("{float:.0}") } else { float.to_string() }
}

/// A string as a YAML scalar: bare where it reads back as the same string, else quoted.
fn scalar(text: &str) -> String {
    if text.is_empty() || reads_as_other_type(text) || text.chars().any(char::is_control) {
        return double_quoted(text);
    }
    if needs_quotes(text) { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control.is_control() => out.push_str(&format!("\\x{:02X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out + "\""
}

fn reads_as_other_type(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
    let lower = text.to_ascii_lowercase();
    let is_date = text.len() >= 8
        && text
            .split(['-', 'T', ' '])
            .next()
            .is_some_and(|y| y.len() == 4 && y.bytes().all(|b| b.is_ascii_digit()))
        && text.as_bytes().get(4) == Some(&b'-');
    WORDS.contains(&lower.as_str())
        || is_date
        || matches!(lower.trim_start_matches(['+', '-']), ".inf" | ".nan")
        || looks_like_number(&lower)
}

fn looks_like_number(lower: &str) -> bool {
    let digits = lower.trim_start_matches(['+', '-']).replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || is_decimal(&digits)
}

fn is_decimal(digits: &str) -> bool {
    digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte))
        && digits.parse::<f64>().is_ok()
}

fn needs_quotes(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    "!&*{}[]|>'\"%@`,#=".contains(first)
        || text.starts_with("- ")
        || text.starts_with("? ")
        || text.starts_with("---")
        || matches!(text, "-" | "?" | ":" | "<<")
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.contains(": ")
        || text.ends_with(':')
        || text.contains(" #")
}

/// Runs of digits compare as numbers: `k2` before `k10`.
fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let (Some(a), Some(b)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len());
        };
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (a, left_rest) = split_number(left);
            let (b, right_rest) = split_number(right);
            let order = a.cmp(&b);
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left_rest, right_rest);
        } else if a == b {
            (left, right) = (&left[a.len_utf8()..], &right[b.len_utf8()..]);
        } else {
            // Letters sort behind everything else.
            return (a.is_alphabetic(), a).cmp(&(b.is_alphabetic(), b));
        }
    }
}

fn split_number(text: &str) -> (u128, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    (digits.parse().unwrap_or(u128::MAX), rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_prints_as_in_juju() {
        let text = |text: &str| Printed::Value(json!(text));
        let strings =
            |items: &[&str]| Printed::Strings(items.iter().map(|item| (*item).to_owned()).collect());
        let rows = [
            (Printed::Value(Value::Null), "", "", "null\n"),
            (text(""), "", "\"\"\n", "\"\"\n"),
            (text("a"), "a\n", "a\n", "\"a\"\n"),
            (text("12"), "12\n", "\"12\"\n", "\"12\"\n"),
            (text("true"), "true\n", "\"true\"\n", "\"true\"\n"),
            (text("a\nb"), "a\nb\n", "|-\n  a\n  b\n", "\"a\\nb\"\n"),
            (text("a\nb\n"), "a\nb\n\n", "|\n  a\n  b\n", "\"a\\nb\\n\"\n"),
            (Printed::Value(json!(true)), "True\n", "true\n", "true\n"),
            (Printed::Value(json!(2379)), "2379\n", "2379\n", "2379\n"),
            (Printed::Value(json!(1_000_000)), "1e+06\n", "1e+06\n", "1000000\n"),
            (Printed::Value(json!(1_234_567)), "1.234567e+06\n", "1.234567e+06\n", "1234567\n"),
            (strings(&[]), "", "[]\n", "[]\n"),
            (Printed::NilStrings, "", "[]\n", "null\n"),
            (strings(&["a", "b"]), "a\nb\n", "- a\n- b\n", "[\"a\",\"b\"]\n"),
            (Printed::Value(json!(["a", "b"])), "- a\n- b\n", "- a\n- b\n", "[\"a\",\"b\"]\n"),
            (Printed::Value(json!({})), "{}\n", "{}\n", "{}\n"),
            (Printed::NilMap, "{}\n", "{}\n", "null\n"),
            (
                Printed::Value(json!({"k10": "<", "k2": 1})),
                "k2: 1\nk10: <\n",
                "k2: 1\nk10: <\n",
                "{\"k10\":\"\\u003c\",\"k2\":1}\n",
            ),
        ];
        for (printed, smart, yaml, json) in rows {
            assert_eq!(Format::Smart.print(&printed).unwrap(), smart, "smart {printed:?}");
            assert_eq!(Format::Yaml.print(&printed).unwrap(), yaml, "yaml {printed:?}");
            assert_eq!(Format::Json.print(&printed).unwrap(), json, "json {printed:?}");
        }
    }

    #[test]
    fn yaml_reads_back_as_what_was_written() {
        let value = json!({
            "list": ["x", {"a": 1, "b": ["- y", "z: w"]}], "empty": {}, "none": [], "text": "line\n  more\n\nend\n",
            "date": "2024-01-02", "hash": "a #b", "quote": "it's", "tab": "a\tb", "null": "null", "colon": "a:", "e": "1e3",
            "pem": "-----BEGIN X-----\nabc=\n-----END X-----\n", "deep": {"a": {"b": {"c": "x\ny"}}}
        });
        let back: Value = crate::yaml::read(&yaml(&value)).unwrap();
        assert_eq!(back, value);
    }
}
