//! The `journalctl` of a light machine: reads the service manager's journal. Invariant: without a match it
//! says `-- No entries --` to people, and nothing to programs.

use std::process::ExitCode;

use time::OffsetDateTime;

use super::journal::{self, Line};
use super::output;
use super::units::{full_name, words};

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    units: Vec<String>,
    lines: Option<usize>,
    format: String,
    since_us: u64,
    newest_first: bool,
}

/// `journalctl`, by its arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let now = super::service::state::wall_clock_us();
    match parse(&arguments, now) {
        Ok(query) => {
            let found = select(journal::read(journal::PATH.as_ref()), &query);
            // The forms for programs say nothing instead.
            if found.is_empty() && query.format.starts_with("short") {
                output::line("-- No entries --");
            }
            let hostname = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            let text: String =
                found.iter().map(|line| render(line, &query.format, hostname.trim())).collect();
            output::text(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            output::error_line(&message);
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String], now_us: u64) -> Result<Query, String> {
    let mut query = Query { format: "short".to_owned(), ..Query::default() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = split_option(argument);
        let mut value = || {
            inline
                .clone()
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| format!("option '{name}' requires an argument"))
        };
        match name.as_str() {
            "-u" | "--unit" => query.units.push(full_name(&value()?)),
            "-n" | "--lines" => {
                let text = value()?;
                query.lines = if text == "all" {
                    None
                } else {
                    Some(text.parse().map_err(|_| format!("Failed to parse lines '{text}'"))?)
                };
            }
            "-o" | "--output" => query.format = value()?,
            "-S" | "--since" => {
                let text = value()?;
                query.since_us =
                    moment(&text, now_us).ok_or_else(|| format!("Failed to parse timestamp: {text}"))?;
            }
            "-r" | "--reverse" => query.newest_first = true,
            "-e" | "--pager-end" => query.lines = query.lines.or(Some(1000)),
            "-b" | "--boot" | "-x" | "--catalog" | "-q" | "--quiet" | "--no-pager" | "--no-hostname"
            | "--utc" | "-a" | "--all" | "--no-full" => {}
            other => return Err(format!("journalctl: unrecognized option '{other}'")),
        }
    }
    Ok(query)
}

/// `--name=value` and `-n5` as name and value.
fn split_option(argument: &str) -> (String, Option<String>) {
    if let Some(long) = argument.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (format!("--{name}"), Some(value.to_owned())),
            None => (argument.to_owned(), None),
        };
    }
    let takes_value = ["-u", "-n", "-o", "-S"].iter().any(|name| argument.starts_with(name));
    if takes_value && argument.len() > 2 {
        return (argument[..2].to_owned(), Some(argument[2..].to_owned()));
    }
    (argument.to_owned(), None)
}

/// A point in time: `2026-01-02 03:04:05`, `2026-01-02`, `@seconds`, `-5min`, `5 min ago`, `today`. µs since the epoch.
fn moment(text: &str, now_us: u64) -> Option<u64> {
    let ago = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
    if let Some(span) = ago.and_then(words::time_span) {
        return Some(now_us.saturating_sub(u64::try_from(span.as_micros()).ok()?));
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return Some(seconds.parse::<u64>().ok()? * 1_000_000);
    }
    let today = OffsetDateTime::from_unix_timestamp(i64::try_from(now_us / 1_000_000).ok()?).ok()?.date();
    if text == "today" {
        return seconds(today.midnight());
    }
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let full = if text.contains(' ') { text.to_owned() } else { format!("{text} 00:00:00") };
    seconds(time::PrimitiveDateTime::parse(&full, &format).ok()?)
}

fn seconds(moment: time::PrimitiveDateTime) -> Option<u64> {
    Some(u64::try_from(moment.assume_utc().unix_timestamp()).ok()? * 1_000_000)
}

fn select(all: Vec<Line>, query: &Query) -> Vec<Line> {
    let wanted = |line: &Line| {
        line.time_us >= query.since_us && (query.units.is_empty() || query.units.contains(&line.unit))
    };
    let mut found: Vec<Line> = all.into_iter().filter(wanted).collect();
    if let Some(count) = query.lines {
        found.drain(..found.len().saturating_sub(count));
    }
    if query.newest_first {
        found.reverse();
    }
    found
}

fn render(line: &Line, format: &str, hostname: &str) -> String {
    if format == "cat" {
        return format!("{}\n", line.text);
    }
    if format.starts_with("json") {
        let value = serde_json::json!({
            "__REALTIME_TIMESTAMP": line.time_us.to_string(),
            "_HOSTNAME": hostname,
            "_PID": line.pid.to_string(),
            "_SYSTEMD_UNIT": line.unit,
            "SYSLOG_IDENTIFIER": line.name,
            "MESSAGE": line.text,
        });
        return format!("{value}\n");
    }
    let seconds = i64::try_from(line.time_us / 1_000_000).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let iso = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    let short = time::macros::format_description!("[month repr:short] [day] [hour]:[minute]:[second]");
    let time = if format == "short-iso" { moment.format(&iso) } else { moment.format(&short) };
    format!("{} {hostname} {}[{}]: {}\n", time.unwrap_or_default(), line.name, line.pid, line.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(unit: &str, time_us: u64) -> Line {
        Line { time_us, unit: unit.into(), name: "etcd".into(), pid: 7, text: format!("at {time_us}") }
    }

    fn query(arguments: &[&str]) -> Query {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        parse(&arguments, 100_000_000).unwrap()
    }

    #[test]
    fn the_last_lines_of_one_unit_are_selected() {
        let all =
            vec![line("a.service", 1), line("b.service", 2), line("a.service", 3), line("a.service", 4)];
        let found = select(all, &query(&["-u", "a", "-n2", "--no-pager"]));
        assert_eq!(found, vec![line("a.service", 3), line("a.service", 4)]);
    }

    #[test]
    fn a_point_in_time_is_absolute_or_relative() {
        assert_eq!(query(&["--since=-60s"]).since_us, 40_000_000);
        assert_eq!(query(&["-S", "1 min ago"]).since_us, 40_000_000);
        assert_eq!(query(&["-S", "@5"]).since_us, 5_000_000);
        assert_eq!(query(&["-S", "1970-01-01 00:01:00"]).since_us, 60_000_000);
    }

    #[test]
    fn the_short_form_names_host_program_and_process() {
        assert_eq!(
            render(&line("a.service", 0), "short", "etcd-0"),
            "Jan 01 00:00:00 etcd-0 etcd[7]: at 0\n"
        );
        assert_eq!(render(&line("a.service", 0), "cat", "etcd-0"), "at 0\n");
    }
}
