//! Words of the command line that several commands take: `key=value` pairs, durations, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Splits `key=value` at the first `=`. The value may be empty, the key not.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("expected \"key=value\", got {text:?}"),
    }
}

/// Pairs as a map.
///
/// # Errors
/// One is no pair, or a key comes twice.
pub fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for text in texts {
        let (key, value) = pair(text)?;
        if map.insert(key.clone(), value).is_some() {
            bail!("key {key:?} specified more than once");
        }
    }
    Ok(map)
}

/// `name=file` pairs with absolute paths of existing files.
///
/// # Errors
/// One is no pair, or its file is not there.
pub fn files(texts: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    pairs(texts)?
        .into_iter()
        .map(|(name, file)| {
            let path = existing(Path::new(&file)).with_context(|| format!("resource {name:?}"))?;
            Ok((name, path))
        })
        .collect()
}

/// The absolute path of something that exists.
///
/// # Errors
/// It is not there.
pub fn existing(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| format!("cannot open {:?}", path.display().to_string()))
}

/// A duration in Go's form: `90s`, `1m30s`, `500ms`, `2h`; a bare number is seconds.
///
/// # Errors
/// The text is no duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration {text:?}: write it like 90s, 5m or 1m30s");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(unit_at);
        let next_at = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(next_at);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let seconds = number.parse::<f64>().map_err(|_| wrong())? * scale;
        total += Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Whole milliseconds, as requests carry durations.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Joins words so that a shell takes them apart again just as they were.
#[must_use]
pub fn shell_quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), String::new()));
        assert_eq!(pair("foo").unwrap_err().to_string(), "expected \"key=value\", got \"foo\"");
        assert!(pair("=x").is_err());
        assert!(pairs(&["a=1".into(), "a=2".into()]).is_err());
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let table =
            [("90", 90_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("1.5s", 1500), ("0", 0)];
        for (text, ms) in table {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for bad in ["", "s", "5x", "m5", "-1s", "1 s", "nans"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quoted_words_survive_a_shell() {
        let words: Vec<String> =
            ["printf", "%s|", "it's", "", "a b", "$HOME", "x\ny", "*"].map(ToOwned::to_owned).into();
        let output = std::process::Command::new("sh").arg("-c").arg(shell_quoted(&words)).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's||a b|$HOME|x\ny|*|");
    }
}
