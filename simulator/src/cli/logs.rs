//! `debug-log`.

use anyhow::Result;
use clap::Args;

use super::model::Model;
use super::output::{self, say};
use crate::api::{LogLine, Request};
use crate::status::{format_clock, format_time};

#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal new lines are waited for; otherwise the command ends with the lines there are.

Examples:
  juju-sim debug-log --include etcd/0 -n 50
  juju-sim debug-log --replay --no-tail --level WARNING")]
pub(super) struct DebugLog {
    /// Only lines of these units or entities (can be repeated)
    #[arg(short, long, value_name = "UNIT")]
    include: Vec<String>,
    /// Begin with that many of the last lines
    #[arg(short = 'n', long, default_value_t = 10)]
    lines: usize,
    /// Begin with the first line there is
    #[arg(long, conflicts_with = "lines")]
    replay: bool,
    /// Wait for new lines
    #[arg(long)]
    tail: bool,
    /// Do not wait for new lines
    #[arg(long, conflicts_with = "tail")]
    no_tail: bool,
    /// Least level: TRACE, DEBUG, INFO, WARNING, ERROR
    #[arg(short, long, value_name = "LEVEL", ignore_case = true,
        value_parser = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"])]
    level: Option<String>,
    /// Show the date too
    #[arg(long)]
    date: bool,
    /// Show milliseconds too
    #[arg(long)]
    ms: bool,
}

impl DebugLog {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let request = Request::DebugLog {
            follow: self.tail || (output::is_terminal() && !self.no_tail),
            include: self.include.iter().map(|name| entity(name)).collect(),
            lines: (!self.replay).then_some(self.lines),
            level: self.level.as_ref().map(|level| level.to_uppercase()),
        };
        model.ask_with(request, |line| say(&self.text(&line))).await.map(|_| 0)
    }

    fn text(&self, line: &LogLine) -> String {
        let time = if self.date { format_time(line.time_ms) } else { format_clock(line.time_ms) };
        let time = time.trim_end_matches('Z');
        let ms = if self.ms { format!(".{:03}", line.time_ms % 1000) } else { String::new() };
        format!("{}: {time}{ms} {} {} {}\n", line.entity, line.level, line.module, line.message)
    }
}

/// `etcd/0` is logged as `unit-etcd-0`; any other name is an entity already.
fn entity(name: &str) -> String {
    if name.contains('/') { format!("unit-{}", name.replace('/', "-")) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_by_their_tags_in_the_log() {
        assert_eq!(entity("my-etcd/0"), "unit-my-etcd-0");
        assert_eq!(entity("machine-0"), "machine-0");
    }
}
