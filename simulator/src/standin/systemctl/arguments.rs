//! The command line of `systemctl`. Invariant: options may stand anywhere, and an unknown one is refused.

use crate::standin::units::full_name;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    pub verb: String,
    /// Full unit names; patterns as they were given.
    pub units: Vec<String>,
    pub properties: Vec<String>,
    pub value_only: bool,
    pub quiet: bool,
    pub now: bool,
    /// Until the next boot only.
    pub runtime: bool,
    pub no_block: bool,
    pub no_legend: bool,
    pub all: bool,
    /// `--type` and `--state`.
    pub kinds: Vec<String>,
    pub states: Vec<String>,
    pub signal: Option<String>,
    pub kill_main: bool,
    pub lines: Option<usize>,
}

/// Read a command line.
///
/// # Errors
/// systemctl's own message.
pub fn parse(given: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words: Vec<String> = Vec::new();
    let mut rest = given.iter();
    let mut only_words = false;
    while let Some(word) = rest.next() {
        if only_words || !word.starts_with('-') || word == "-" {
            words.push(word.clone());
        } else if word == "--" {
            only_words = true;
        } else {
            option(&mut arguments, word, &mut rest)?;
        }
    }
    let mut words = words.into_iter();
    if arguments.verb.is_empty() {
        arguments.verb = words.next().unwrap_or_else(|| "list-units".to_owned());
    }
    let pattern = |word: &String| word.contains(['*', '?', '[']);
    arguments.units = words.map(|word| if pattern(&word) { word } else { full_name(&word) }).collect();
    let needs_unit = [
        "start",
        "stop",
        "restart",
        "enable",
        "disable",
        "is-active",
        "is-enabled",
        "mask",
        "unmask",
        "cat",
        "kill",
    ];
    if arguments.units.is_empty() && needs_unit.contains(&arguments.verb.as_str()) {
        return Err("Too few arguments.".to_owned());
    }
    Ok(arguments)
}

fn option(
    arguments: &mut Arguments,
    word: &str,
    rest: &mut std::slice::Iter<'_, String>,
) -> Result<(), String> {
    let (name, inline) = split(word);
    let mut value = || {
        let next = inline.clone().or_else(|| rest.next().cloned());
        next.ok_or_else(|| format!("systemctl: option '{name}' requires an argument"))
    };
    let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match name.as_str() {
        "-p" | "--property" => arguments.properties.extend(list(value()?)),
        "-P" => {
            arguments.properties.extend(list(value()?));
            arguments.value_only = true;
        }
        "--value" => arguments.value_only = true,
        "-q" | "--quiet" => arguments.quiet = true,
        "--now" => arguments.now = true,
        "--runtime" => arguments.runtime = true,
        "--no-block" => arguments.no_block = true,
        "--no-legend" | "--legend" => arguments.no_legend = true,
        "-a" | "--all" => arguments.all = true,
        "-t" | "--type" => arguments.kinds.extend(list(value()?)),
        "--state" => arguments.states.extend(list(value()?)),
        "-s" | "--signal" => arguments.signal = Some(value()?),
        "--kill-who" | "--kill-whom" => arguments.kill_main = value()? == "main",
        "-n" | "--lines" => arguments.lines = value()?.parse().ok(),
        "-o" | "--output" | "--job-mode" | "--preset-mode" => drop(value()?),
        // Packages name the root that they are unpacked into; any other than the machine's own is not supported.
        "--root" => match value()?.as_str() {
            "" | "/" => {}
            other => return Err(format!("systemctl: cannot work on the root {other}")),
        },
        "--failed" => arguments.states.push("failed".to_owned()),
        "--version" => arguments.verb = name,
        "--no-pager" | "-l" | "--full" | "--system" | "-f" | "--force" | "--plain" | "--no-reload"
        | "--no-wall" | "--no-ask-password" | "--wait" => {}
        other => return Err(format!("systemctl: unrecognized option '{other}'")),
    }
    Ok(())
}

/// `--name=value` and `-pName` as name and value.
fn split(word: &str) -> (String, Option<String>) {
    if let Some((name, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        return (name.to_owned(), Some(value.to_owned()));
    }
    let takes_value = ["-p", "-P", "-t", "-s", "-n", "-o"].iter().any(|name| word.starts_with(name));
    if takes_value && !word.starts_with("--") && word.len() > 2 {
        return (word[..2].to_owned(), Some(word[2..].to_owned()));
    }
    (word.to_owned(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere_and_names_are_completed() {
        let arguments = parsed("show --value snap.etcd.etcd -pMainPID,Result -p SubState").unwrap();
        assert_eq!(arguments.verb, "show");
        assert_eq!(arguments.units, vec!["snap.etcd.etcd.service"]);
        assert_eq!(arguments.properties, vec!["MainPID", "Result", "SubState"]);
        assert!(arguments.value_only);
        assert!(parsed("--no-block start x").unwrap().no_block);
    }

    #[test]
    fn what_is_not_known_or_missing_is_refused() {
        assert_eq!(parsed("start").unwrap_err(), "Too few arguments.");
        assert_eq!(parsed("start x --frob").unwrap_err(), "systemctl: unrecognized option '--frob'");
        assert!(parsed("show x -p").is_err());
    }
}
