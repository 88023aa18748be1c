//! Runs a table on a light and on a booted machine, and shows both columns of what differs.

use std::path::PathBuf;

use super::table::{Batch, Call, Outcome, Table, outcomes};
use crate::sim::{Kind, Model};

const KIND: Kind = Kind { juju: "3.6", channel: "", machines: None };
/// The units whose machines they are.
const LIGHT: &str = "light/0";
const BOOTED: &str = "booted/0";
/// How often a row may differ before it counts.
const LOOKS: usize = 3;
/// Width of a column.
const WIDTH: usize = 70;

/// One machine of each kind, with any small charm on it.
pub struct Machines(Model);

impl Machines {
    pub fn new(store: PathBuf) -> Machines {
        let model = Model::with_store(KIND, store);
        model.deploy_charm("grafana", "light");
        model.run(&["deploy", &crate::sim::test_charm("grafana"), "booted", "--machines", "full"]);
        for name in ["light", "booted"] {
            model.wait(&[name, "--status", "active", "--idle"]);
        }
        Machines(model)
    }

    /// Runs a shell line on both, at the same time.
    pub fn on_both(&self, script: &str) -> [String; 2] {
        std::thread::scope(|scope| {
            let light = scope.spawn(|| self.0.shell(LIGHT, script));
            let booted = self.0.shell(BOOTED, script);
            [light.join().unwrap(), booted]
        })
    }

    /// Fails, with all differences, unless each row comes to the same.
    pub fn compare(&self, table: &Table) {
        let mut complaints = Vec::new();
        // For who is in a hurry: parts of the names of states, with commas between them.
        let only = std::env::var("MACHINE_CALLS").unwrap_or_default();
        let is_wanted = |batch: &&Batch<'_>| only.split(',').any(|part| batch.state.name.contains(part));
        for batch in table.batches().iter().filter(is_wanted) {
            let begun = std::time::Instant::now();
            let found = self.differences(table, batch);
            eprintln!(
                "{}: {} rows in {} ms",
                batch.state.name,
                batch.calls.len(),
                begun.elapsed().as_millis()
            );
            complaints.extend(found);
        }
        assert!(complaints.is_empty(), "{} rows differ:\n\n{}", complaints.len(), complaints.join("\n"));
    }

    /// Rows that differ each time they are looked at: a stall of a busy machine outlasts a state that passes by itself.
    fn differences(&self, table: &Table, batch: &Batch<'_>) -> Vec<String> {
        let mut batch = batch.clone();
        let mut found = Vec::new();
        for _ in 0..LOOKS {
            let [light, booted] =
                self.on_both(&table.script(&batch)).map(|printed| outcomes(&batch, &printed));
            let (calls, complaints) = differences(table, &batch, &light, &booted).into_iter().unzip();
            (batch.calls, found) = (calls, complaints);
            if batch.calls.is_empty() {
                break;
            }
            found.iter().for_each(|complaint| eprintln!("{complaint}"));
        }
        found
    }
}

fn differences<'a>(
    table: &Table,
    batch: &Batch<'a>,
    light: &[Outcome],
    booted: &[Outcome],
) -> Vec<(&'a Call, String)> {
    let rows = batch.calls.iter().zip(light.iter().zip(booted));
    let complaint = |call: &Call, light: &Outcome, booted: &Outcome| {
        let row = format!("{}: {}", batch.state.name, Call::line(call));
        if !(light.unmade.is_empty() && booted.unmade.is_empty()) {
            return Some(format!("{row}\n  its state cannot be made\n{}", columns(light, booted)));
        }
        match (table.unlike(batch.state, call), light == booted) {
            (None, true) | (Some(_), false) => None,
            (Some(unlike), true) if !unlike.always => None,
            (None, false) => Some(format!("{row}\n{}", columns(light, booted))),
            (Some(unlike), true) => Some(format!("{row}\n  alike, though {}\n", unlike.why)),
        }
    };
    rows.filter_map(|(&call, (light, booted))| Some((call, complaint(call, light, booted)?))).collect()
}

/// The parts that differ, side by side.
fn columns(light: &Outcome, booted: &Outcome) -> String {
    let parts = [
        ("unmade", &light.unmade, &booted.unmade),
        ("code", &light.code, &booted.code),
        ("stdout", &light.stdout, &booted.stdout),
        ("stderr", &light.stderr, &booted.stderr),
        ("effect", &light.effect, &booted.effect),
    ];
    let mut text = format!("  {:8}{:WIDTH$}  booted\n", "", "light");
    for (name, light, booted) in parts.into_iter().filter(|(_, light, booted)| light != booted) {
        let (light, booted): (Vec<&str>, Vec<&str>) = (light.lines().collect(), booted.lines().collect());
        for line in 0..light.len().max(booted.len()) {
            let of = |column: &[&str]| column.get(line).copied().unwrap_or_default().to_owned();
            let mark = if of(&light) == of(&booted) { ' ' } else { '≠' };
            let name = if line == 0 { name } else { "" };
            text += &format!("{mark} {name:8}{:WIDTH$}  {}\n", of(&light), of(&booted));
        }
    }
    text
}
