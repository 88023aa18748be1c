//! Command lines and values of unit files: quoting, escapes, variables, times. Invariant: pure text in, text out.

use std::collections::BTreeMap;
use std::time::Duration;

/// Split like a unit file does: blanks separate, quotes join, backslash escapes. `None` when a quote is left open.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (_, '\\') => {
                let escaped = unescape(&mut letters)?;
                word.get_or_insert_default().push(escaped);
            }
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn unescape(letters: &mut std::str::Chars<'_>) -> Option<char> {
    let letter = letters.next()?;
    Some(match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        's' => ' ',
        'x' => {
            let code: String = letters.by_ref().take(2).collect();
            char::from(u8::from_str_radix(&code, 16).ok()?)
        }
        other => other,
    })
}

/// Put variables in: a word that is `$NAME` becomes any number of words, `${NAME}` stays within its word, `$$` is a dollar.
pub fn expand(words: &[String], variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut expanded = Vec::new();
    for word in words {
        let name = word.strip_prefix('$').filter(|name| is_name(name));
        match name {
            Some(name) => {
                let value = variables.get(name).map_or("", String::as_str);
                expanded.extend(value.split_whitespace().map(str::to_owned));
            }
            None => expanded.push(expand_braces(word, variables)),
        }
    }
    expanded
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn expand_braces(word: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = word;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        let tail = &rest[position + 1..];
        if let Some(after) = tail.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = tail.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            result.push_str(variables.get(name).map_or("", String::as_str));
            rest = after;
        } else {
            result.push('$');
            rest = tail;
        }
    }
    result.push_str(rest);
    result
}

/// The variables of an environment file: `NAME=value` lines, quotes taken off, comments left out.
pub fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        variables.push((name.trim().to_owned(), value.to_owned()));
    }
    variables
}

/// A time span (`systemd.time`): `90`, `5s`, `1min 30s`, `100ms`; `infinity` is [`Duration::MAX`]. `None` when unreadable.
pub fn time_span(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 16] = [
        ("usec", 1),
        ("us", 1),
        ("msec", 1_000),
        ("ms", 1_000),
        ("seconds", 1_000_000),
        ("second", 1_000_000),
        ("sec", 1_000_000),
        ("s", 1_000_000),
        ("minutes", 60_000_000),
        ("minute", 60_000_000),
        ("min", 60_000_000),
        ("m", 60_000_000),
        ("hours", 3_600_000_000),
        ("hr", 3_600_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ];
    let text = text.trim();
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        let after = rest[end..].trim_start();
        let end = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let scale = match &after[..end] {
            "" => 1_000_000,
            name => UNITS.iter().find(|(unit, _)| *unit == name)?.1,
        };
        total += Duration::from_micros(scale).mul_f64(number);
        rest = after[end..].trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// A truth value as systemd reads it.
pub fn boolean(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn quotes_join_and_backslashes_escape() {
        assert_eq!(
            words(r#"/bin/sh -c "echo 'a b'  c" d\x20e '' f"#),
            vec!["/bin/sh", "-c", "echo 'a b'  c", "d e", "", "f"]
        );
        assert_eq!(split("/bin/sh \"open"), None);
    }

    #[test]
    fn a_bare_variable_becomes_words_and_a_braced_one_stays_in_its_word() {
        let variables = BTreeMap::from([("ARGS".to_owned(), "a b".to_owned())]);
        let given = words("p $ARGS x${ARGS}y $$HOME $NONE");
        assert_eq!(expand(&given, &variables), vec!["p", "a", "b", "xa by", "$HOME"]);
    }

    #[test]
    fn time_spans_add_up() {
        assert_eq!(time_span("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(time_span("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(time_span("0"), Some(Duration::ZERO));
        assert_eq!(time_span("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(time_span("infinity"), Some(Duration::MAX));
        assert_eq!(time_span("3 fortnights"), None);
        assert_eq!(time_span(""), None);
    }

    #[test]
    fn an_environment_file_is_read_without_its_quotes() {
        let text = "# c\nA=1\nB=\"two words\"\nC='x'\nnonsense\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "x")];
        assert_eq!(environment_file(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
