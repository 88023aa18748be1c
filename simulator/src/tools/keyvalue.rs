//! `key=value` words and the YAML mapping behind `--file`, as relation-set, leader-set and state-set read them.

use std::collections::BTreeMap;

use super::ToolError;

/// Reads `key=value` words: split at the first `=`, white space around both trimmed, empty words skipped.
pub fn parse_words(words: &[String]) -> Result<BTreeMap<String, String>, ToolError> {
    let mut map = BTreeMap::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let Some((key, value)) = pair else {
            return Err(ToolError::usage(format!("expected \"key=value\", got {word:?}")));
        };
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if map.contains_key(&key) {
            return Err(ToolError::usage(format!("key {key:?} specified more than once")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// Reads a YAML mapping of scalars into text to text. Scalars keep their source spelling; null becomes empty.
pub fn parse_file(text: &str) -> Result<BTreeMap<String, String>, ToolError> {
    let mismatch =
        |error: &dyn std::fmt::Display| ToolError::failed(format!("yaml: unmarshal errors:\n  {error}"));
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    refuse_json_only_spelling(text)?;
    let entries: Entries = crate::yaml::read(text).map_err(|error| mismatch(&error))?;
    Ok(entries.0)
}

/// Juju reads JSON here only as far as it is YAML 1.1: no `\/`, no surrogate pairs, no raw control characters.
fn refuse_json_only_spelling(text: &str) -> Result<(), ToolError> {
    if text.chars().any(|c| c == '\u{7f}' || (c.is_control() && !"\n\r\t\u{85}".contains(c))) {
        return Err(ToolError::failed("yaml: control characters are not allowed"));
    }
    if text.trim_start().starts_with('{') {
        if text.contains("\\/") {
            return Err(ToolError::failed("yaml: found unknown escape character"));
        }
        if ["\\ud8", "\\ud9", "\\uda", "\\udb"].iter().any(|half| text.to_ascii_lowercase().contains(half)) {
            return Err(ToolError::failed("yaml: invalid Unicode character escape code"));
        }
    }
    Ok(())
}

/// A mapping in which the last of equal keys wins; every scalar is taken as text.
struct Entries(BTreeMap<String, String>);

impl<'de> serde::Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> serde::de::Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a mapping of strings")
    }

    fn visit_unit<E>(self) -> Result<Entries, E> {
        Ok(Entries(BTreeMap::new()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Entries, A::Error> {
        let mut map = BTreeMap::new();
        // Asking for a string makes the YAML reader hand out the source text of any plain scalar (`1.50`, `0x10`).
        while let Some(key) = access.next_key::<String>()? {
            let value: Option<String> = access.next_value()?;
            map.insert(key, value.unwrap_or_default());
        }
        Ok(Entries(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse_words(&owned).map_err(|error| error.message)
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn words_are_split_at_the_first_equals_sign_and_trimmed() {
        assert_eq!(words(&["a= b=c \n", "", "k="]).unwrap(), map(&[("a", "b=c"), ("k", "")]));
    }

    #[test]
    fn malformed_and_repeated_words_are_refused() {
        assert_eq!(words(&["foo"]).unwrap_err(), r#"expected "key=value", got "foo""#);
        assert_eq!(words(&["=x"]).unwrap_err(), r#"expected "key=value", got "=x""#);
        assert_eq!(words(&["a=1", "a=2"]).unwrap_err(), r#"key "a" specified more than once"#);
    }

    #[test]
    fn scalars_in_a_file_keep_their_spelling() {
        let text = "a: 1.50\nb: 0x10\nc: yes\nd: ~\ne:\nf: null\ng: |\n  x\n  y\nh: \"12\"\n";
        let expected = map(&[
            ("a", "1.50"),
            ("b", "0x10"),
            ("c", "yes"),
            ("d", ""),
            ("e", ""),
            ("f", ""),
            ("g", "x\ny\n"),
            ("h", "12"),
        ]);
        assert_eq!(parse_file(text).unwrap(), expected);
    }

    #[test]
    fn a_file_must_be_one_flat_mapping() {
        assert_eq!(parse_file("").unwrap(), map(&[]));
        for text in ["a: {b: c}", "a: [b]", "- a"] {
            let error = parse_file(text).unwrap_err();
            assert_eq!(error.code, 1, "{text}");
            assert!(error.message.starts_with("yaml: unmarshal errors:"), "{text}");
        }
    }

    #[test]
    fn json_beyond_yaml_is_refused() {
        assert_eq!(parse_file(r#"{"a":"é/<"}"#).unwrap(), map(&[("a", "é/<")]));
        for text in [r#"{"a":"\/"}"#, r#"{"a":"\ud83d\ude00"}"#, "{\"a\":\"\u{7f}\"}"] {
            assert_eq!(parse_file(text).unwrap_err().code, 1, "{text}");
        }
    }

    #[test]
    fn of_equal_keys_in_a_file_the_last_one_counts() {
        assert_eq!(parse_file("a: 1\na: 2\n").unwrap(), map(&[("a", "2")]));
    }
}
