//! `status` and `show-unit`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::model::Model;
use super::output::{self, Format, remark, say};
use super::table::{self, Sections};
use super::words;
use crate::api::Request;
use crate::status::Status;

#[derive(Debug, Args)]
#[command(after_help = "\
With names only these applications and units (and their machines) are shown.

Examples:
  juju-sim status
  juju-sim status --relations --watch 1s
  juju-sim status etcd --format json")]
pub(super) struct StatusCommand {
    /// Applications or units to show
    #[arg(value_name = "APPLICATION|UNIT")]
    only: Vec<String>,
    /// Show again and again, after this time each
    #[arg(long, value_name = "DURATION", value_parser = words::duration)]
    watch: Option<Duration>,
    /// How to print it
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
    /// Show relations too
    #[arg(long, visible_alias = "integrations")]
    relations: bool,
    /// Show storage too
    #[arg(long)]
    storage: bool,
    /// Colours also without a terminal
    #[arg(long)]
    color: bool,
    /// No colours also on a terminal
    #[arg(long, conflicts_with = "color")]
    no_color: bool,
}

impl StatusCommand {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let Some(pause) = self.watch else {
            let status = self.selected(model).await?;
            if status.applications.is_empty() && status.machines.is_empty() && self.format == Format::Tabular
            {
                remark(&format!("Model {:?} is empty.", model.name()))?;
                return Ok(0);
            }
            say(&self.text(status)?)?;
            return Ok(0);
        };
        loop {
            let text = self.text(self.selected(model).await?)?;
            say(&if output::is_terminal() { in_place(&text) } else { format!("{text}\n") })?;
            tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
        }
    }

    async fn selected(&self, model: &Model) -> Result<Status> {
        let mut status = model.status().await?;
        if !self.only.is_empty() {
            select(&mut status, &self.only)?;
        }
        Ok(status)
    }

    fn text(&self, mut status: Status) -> Result<String> {
        if self.format == Format::Tabular {
            let colours = self.color || (output::is_terminal() && !self.no_color);
            let sections = Sections { relations: self.relations, storage: self.storage };
            return Ok(table::render(&status, sections, colours));
        }
        status.integrations.clear();
        Ok(match self.format {
            Format::Json => format!("{}\n", serde_json::to_string(&status)?),
            _ => crate::yaml::write(&status)?,
        })
    }
}

/// Draws over the last text without a flicker: from the top left, each line cleared to its end, then the rest.
fn in_place(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

fn select(status: &mut Status, only: &[String]) -> Result<()> {
    let known = |name: &String| {
        status.applications.iter().any(|(app, found)| app == name || found.units.contains_key(name))
    };
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        bail!("nothing matched {unknown:?}");
    }
    status.applications.retain(|name, application| {
        if !only.contains(name) {
            application.units.retain(|unit, _| only.contains(unit));
        }
        only.contains(name) || !application.units.is_empty()
    });
    let used: Vec<&str> = status
        .applications
        .values()
        .flat_map(|a| a.units.values())
        .map(|unit| unit.machine.as_str())
        .collect();
    status.machines.retain(|id, _| used.contains(&id.as_str()));
    let shown = |end: &str| end.split(':').next().is_some_and(|app| status.applications.contains_key(app));
    status.integrations.retain(|relation| shown(&relation.provider) || shown(&relation.requirer));
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  juju-sim show-unit etcd/0")]
pub(super) struct ShowUnit {
    /// Units
    #[arg(required = true)]
    units: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

impl ShowUnit {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let mut all = serde_json::Map::new();
        for unit in &self.units {
            let unit = model.resolve(unit).await?;
            match model.ask(Request::ShowUnit { unit: unit.clone() }).await? {
                serde_json::Value::Object(found) if found.contains_key(&unit) => all.extend(found),
                other => drop(all.insert(unit, other)),
            }
        }
        output::show(&all, self.format)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{ApplicationStatus, MachineStatus, UnitStatus};

    fn example() -> Status {
        let mut status = Status::default();
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            let mut application = ApplicationStatus::default();
            let unit = UnitStatus { machine: number.to_string(), ..UnitStatus::default() };
            application.units.insert(format!("{name}/0"), unit);
            status.applications.insert(name.to_owned(), application);
            status.machines.insert(number.to_string(), MachineStatus::default());
        }
        status
    }

    #[test]
    fn only_named_applications_units_and_their_machines_are_shown() {
        let mut status = example();
        select(&mut status, &["b/0".to_owned()]).unwrap();
        assert_eq!(status.applications.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(status.machines.keys().collect::<Vec<_>>(), ["1"]);
        assert_eq!(
            select(&mut example(), &["c".to_owned()]).unwrap_err().to_string(),
            "nothing matched \"c\""
        );
    }

    #[test]
    fn redrawing_clears_what_was_longer_before() {
        assert_eq!(in_place("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
