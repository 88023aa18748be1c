//! The command line of `snap`. Invariant: options may stand anywhere, and an unknown one is refused.

use super::{Done, error};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    pub verb: String,
    pub words: Vec<String>,
    pub channel: Option<String>,
    pub dangerous: bool,
    pub classic: bool,
    pub devmode: bool,
    pub amend: bool,
    pub purge: bool,
    pub revision: Option<String>,
    /// `--hold`: `forever` when no time was given.
    pub hold: Option<String>,
    pub unhold: bool,
    pub time: bool,
    pub list: bool,
    pub all: bool,
    /// `--enable` and `--disable` of `start` and `stop`.
    pub enable: bool,
    pub disable: bool,
    /// `-n` of `logs`.
    pub lines: Option<String>,
    /// `-d` of `get`.
    pub document: bool,
    /// Of `download`.
    pub basename: Option<String>,
    pub target_directory: Option<String>,
}

/// Read a command line.
pub fn parse(given: &[String]) -> Done<Arguments> {
    let mut arguments = Arguments::default();
    let mut rest = given.iter();
    let mut only_words = false;
    while let Some(word) = rest.next() {
        if only_words || !word.starts_with('-') || word == "-" {
            arguments.words.push(word.clone());
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let mut value = || {
            let next = inline.clone().or_else(|| rest.next().cloned());
            next.ok_or_else(|| error(format!("expected argument for flag `{name}'")))
        };
        match name {
            "--" => only_words = true,
            "--channel" => arguments.channel = Some(value()?),
            "--stable" | "--candidate" | "--beta" | "--edge" => {
                arguments.channel = Some(name[2..].to_owned())
            }
            "--revision" => arguments.revision = Some(value()?),
            "--dangerous" | "--force-dangerous" => arguments.dangerous = true,
            "--classic" => arguments.classic = true,
            "--devmode" => arguments.devmode = true,
            "--amend" => arguments.amend = true,
            "--purge" => arguments.purge = true,
            "--hold" => arguments.hold = Some(inline.clone().unwrap_or_else(|| "forever".to_owned())),
            "--unhold" => arguments.unhold = true,
            "--time" | "--timer" => arguments.time = true,
            "--list" => arguments.list = true,
            "--all" => arguments.all = true,
            "--enable" => arguments.enable = true,
            "--disable" => arguments.disable = true,
            "-n" => arguments.lines = Some(value()?),
            "-d" => arguments.document = true,
            "--basename" => arguments.basename = Some(value()?),
            "--target-directory" => arguments.target_directory = Some(value()?),
            "--version" => arguments.words.insert(0, word.clone()),
            "--no-wait"
            | "--color"
            | "--unicode"
            | "--abs-time"
            | "--verbose"
            | "--reload"
            | "--ignore-validation"
            | "--ignore-running"
            | "-t"
            | "--jailmode" => {}
            other => return Err(error(format!("unknown flag `{}'", other.trim_start_matches('-')))),
        }
    }
    if arguments.words.is_empty() {
        return Err(error("please specify a command, see 'snap help'."));
    }
    arguments.verb = arguments.words.remove(0);
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Done<Arguments> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_channel_is_given_by_name_or_by_its_risk_alone() {
        assert_eq!(
            parsed("install --channel=3.4/stable etcd").unwrap().channel.as_deref(),
            Some("3.4/stable")
        );
        assert_eq!(parsed("install etcd --channel 3.4").unwrap().channel.as_deref(), Some("3.4"));
        assert_eq!(parsed("install etcd --edge").unwrap().channel.as_deref(), Some("edge"));
    }

    #[test]
    fn a_hold_without_a_time_is_for_ever() {
        assert_eq!(parsed("refresh --hold etcd").unwrap().hold.as_deref(), Some("forever"));
        assert_eq!(parsed("refresh --hold=24h etcd").unwrap().hold.as_deref(), Some("24h"));
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert_eq!(parsed("install --frob etcd").unwrap_err(), error("unknown flag `frob'"));
    }
}
