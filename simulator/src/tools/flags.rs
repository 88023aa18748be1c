//! The flag syntax that all hook tools share: one table-driven parser, and nothing that knows a single tool.
//! Its invariant: what it refuses, it refuses with the text and the exit code 2 of Juju's own parser.

use std::collections::BTreeMap;

use super::ToolError;

/// One flag of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// All its spellings without dashes; one letter means one dash. The first one is its key in [`Parsed`].
    pub names: &'static [&'static str],
    /// Whether a value follows. Without one it is a boolean.
    pub takes_value: bool,
}

/// A boolean flag.
pub const fn switch(names: &'static [&'static str]) -> Flag {
    Flag { names, takes_value: false }
}

/// A flag with a value.
pub const fn value(names: &'static [&'static str]) -> Flag {
    Flag { names, takes_value: true }
}

/// What a command line said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    switches: BTreeMap<&'static str, bool>,
    /// Key of the flag to (spelling used, with its dashes; value); the last one given wins.
    values: BTreeMap<&'static str, (String, String)>,
    /// Everything that is not a flag.
    pub positionals: Vec<String>,
    /// `-h` or `--help` was given.
    pub help: bool,
}

impl Parsed {
    /// Whether a boolean flag is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.switches.get(name).copied().unwrap_or(false)
    }

    /// The value of a flag, if it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    /// `invalid value "x" for option -r: REASON` in the spelling that the caller used.
    pub fn invalid(&self, name: &str, reason: &str) -> ToolError {
        match self.values.get(name) {
            Some((spelling, value)) => {
                ToolError::usage(format!("invalid value {value:?} for option {spelling}: {reason}"))
            }
            None => ToolError::usage(format!("invalid value for option --{name}: {reason}")),
        }
    }

    /// Refuses positionals after the first `most`.
    pub fn at_most(&self, most: usize) -> Result<(), ToolError> {
        match self.positionals.get(most..) {
            Some(rest) if !rest.is_empty() => {
                let quoted: Vec<String> = rest.iter().map(|word| format!("{word:?}")).collect();
                Err(ToolError::usage(format!("unrecognized args: [{}]", quoted.join(" "))))
            }
            _ => Ok(()),
        }
    }

    /// The positional at `index`.
    pub fn positional(&self, index: usize) -> Option<&str> {
        self.positionals.get(index).map(String::as_str)
    }

    fn set_switch(&mut self, flag: &Flag, spelling: &str, text: Option<&str>) -> Result<(), ToolError> {
        let on = match text {
            None => true,
            Some(text) => parse_bool(text).ok_or_else(|| {
                ToolError::usage(format!(
                    "invalid value {text:?} for option {spelling}: strconv.ParseBool: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        if let Some(key) = flag.names.first() {
            self.switches.insert(key, on);
        }
        Ok(())
    }

    fn set_value(&mut self, flag: &Flag, spelling: String, text: String) {
        if let Some(key) = flag.names.first() {
            self.values.insert(key, (spelling, text));
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses the words after the tool's name. Flags may stand before, between and after positionals; `--` ends them.
pub fn parse(flags: &[Flag], words: &[String]) -> Result<Parsed, ToolError> {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.positionals.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            parse_long(flags, long, &mut words, &mut parsed)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            parse_short(flags, letters, &mut words, &mut parsed)?;
        } else {
            parsed.positionals.push(word.clone());
        }
        if parsed.help {
            break;
        }
    }
    Ok(parsed)
}

fn find<'a>(flags: &'a [Flag], name: &str) -> Option<&'a Flag> {
    flags.iter().find(|flag| flag.names.contains(&name))
}

fn parse_long<'a>(
    flags: &[Flag],
    long: &str,
    words: &mut impl Iterator<Item = &'a String>,
    parsed: &mut Parsed,
) -> Result<(), ToolError> {
    let (name, attached) = match long.split_once('=') {
        Some((name, text)) => (name, Some(text)),
        None => (long, None),
    };
    let spelling = format!("--{name}");
    let flag = find(flags, name).filter(|_| name.chars().count() > 1);
    let Some(flag) = flag else {
        if name == "help" {
            parsed.help = true;
            return Ok(());
        }
        return Err(undefined(&spelling));
    };
    if !flag.takes_value {
        return parsed.set_switch(flag, &spelling, attached);
    }
    match attached {
        Some(text) => parsed.set_value(flag, spelling, text.to_owned()),
        None => match words.next() {
            Some(text) => parsed.set_value(flag, spelling, text.clone()),
            None => return Err(missing_value(&spelling)),
        },
    }
    Ok(())
}

fn parse_short<'a>(
    flags: &[Flag],
    letters: &str,
    words: &mut impl Iterator<Item = &'a String>,
    parsed: &mut Parsed,
) -> Result<(), ToolError> {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        let (name, after) = rest.split_at(letter.len_utf8());
        let spelling = format!("-{name}");
        let Some(flag) = find(flags, name) else {
            if name == "h" {
                parsed.help = true;
                return Ok(());
            }
            return Err(undefined(&spelling));
        };
        if flag.takes_value {
            // Everything after the letter is the value, an equals sign included: `-r=3` means "=3".
            match (after.is_empty(), words.next()) {
                (false, _) => parsed.set_value(flag, spelling, after.to_owned()),
                (true, Some(text)) => parsed.set_value(flag, spelling, text.clone()),
                (true, None) => return Err(missing_value(&spelling)),
            }
            return Ok(());
        }
        parsed.set_switch(flag, &spelling, None)?;
        rest = after;
    }
    Ok(())
}

fn undefined(spelling: &str) -> ToolError {
    ToolError::usage(format!("option provided but not defined: {spelling}"))
}

fn missing_value(spelling: &str) -> ToolError {
    ToolError::usage(format!("option needs an argument: {spelling}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[value(&["r", "relation"]), switch(&["app"]), value(&["format"])];

    fn run(line: &[&str]) -> Result<Parsed, String> {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        parse(FLAGS, &words).map_err(|error| {
            assert_eq!(error.code, 2);
            error.message
        })
    }

    #[test]
    fn flags_may_stand_anywhere_and_in_every_spelling() {
        for line in [
            &["-r", "db:3", "key"][..],
            &["key", "-rdb:3"],
            &["key", "--relation", "db:3"],
            &["--relation=db:3", "key"],
        ] {
            let parsed = run(line).unwrap();
            assert_eq!(parsed.value("r"), Some("db:3"), "{line:?}");
            assert_eq!(parsed.positionals, ["key"]);
        }
    }

    #[test]
    fn an_equals_sign_after_a_short_flag_belongs_to_the_value() {
        let parsed = run(&["-r=3"]).unwrap();
        assert_eq!(parsed.value("r"), Some("=3"));
        let message = parsed.invalid("r", "invalid relation id").message;
        assert_eq!(message, r#"invalid value "=3" for option -r: invalid relation id"#);
    }

    #[test]
    fn booleans_take_only_attached_values() {
        assert!(run(&["--app"]).unwrap().is_on("app"));
        assert!(!run(&["--app=false"]).unwrap().is_on("app"));
        let parsed = run(&["--app", "False"]).unwrap();
        assert!(parsed.is_on("app"));
        assert_eq!(parsed.positionals, ["False"]);
        assert!(run(&["--app=maybe"]).unwrap_err().starts_with(r#"invalid value "maybe" for option --app"#));
    }

    #[test]
    fn a_single_dash_is_a_positional_and_two_end_the_flags() {
        assert_eq!(run(&["-", "x"]).unwrap().positionals, ["-", "x"]);
        assert_eq!(run(&["--", "--foo", "-r"]).unwrap().positionals, ["--foo", "-r"]);
    }

    #[test]
    fn mistakes_have_jujus_texts() {
        assert_eq!(run(&["--foo"]).unwrap_err(), "option provided but not defined: --foo");
        assert_eq!(run(&["-z"]).unwrap_err(), "option provided but not defined: -z");
        assert_eq!(run(&["-r"]).unwrap_err(), "option needs an argument: -r");
        assert_eq!(run(&["a", "x"]).unwrap().at_most(1).unwrap_err().message, r#"unrecognized args: ["x"]"#);
    }

    #[test]
    fn help_is_not_a_mistake() {
        assert!(run(&["-h"]).unwrap().help);
        assert!(run(&["--help", "--foo"]).unwrap().help);
    }
}
