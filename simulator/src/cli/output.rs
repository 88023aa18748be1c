//! What the command line writes: text on standard output, values as YAML or JSON, aligned tables.
//! Invariant: a reader that went away (`| head`) ends a command quietly.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::yaml;

/// How a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(alias = "plain")]
    Tabular,
    /// YAML.
    #[value(alias = "smart")]
    Yaml,
    /// JSON on one line.
    Json,
}

/// Writes text to standard output as it is.
///
/// # Errors
/// A failed write; one to a closed pipe carries [`io::ErrorKind::BrokenPipe`], which the program's end passes over.
pub fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a line to standard error: progress and remarks, so that standard output holds only what was asked for.
///
/// # Errors
/// A failed write.
pub fn remark(text: &str) -> Result<()> {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// Writes a value; `Tabular` has no general form and comes out as YAML.
///
/// # Errors
/// A failed write.
pub fn show<T: Serialize>(value: &T, format: Format) -> Result<()> {
    match format {
        Format::Json => say(&format!("{}\n", serde_json::to_string(value).context("cannot write JSON")?)),
        Format::Yaml | Format::Tabular => say(&yaml::write(value)?),
    }
}

/// Whether standard output is a terminal, where colours and redrawing make sense.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Asks before something is destroyed. Without a terminal there is nobody to ask, and the answer is yes: scripts
/// need not say `--no-prompt`, but may.
///
/// # Errors
/// The answer was not yes, or could not be read.
pub fn confirm(question: &str, no_prompt: bool) -> Result<()> {
    if no_prompt || !io::stdin().is_terminal() {
        return Ok(());
    }
    say(&format!("{question}\n\nContinue [y/N]? "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    anyhow::bail!("aborted")
}

/// Rows of cells whose columns are aligned with two spaces between, as Juju's tables are.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell, perhaps coloured.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
    right: bool,
}

/// The few colours of Juju's status table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Well.
    Green,
    /// Under way.
    Yellow,
    /// Needs somebody.
    Red,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), colour: None, right: false }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, colour: None, right: false }
    }
}

impl Cell {
    /// Gives it a colour.
    #[must_use]
    pub fn coloured(mut self, colour: Option<Colour>) -> Self {
        self.colour = colour;
        self
    }

    /// Aligns it to the right, as numbers are.
    #[must_use]
    pub fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(headings.iter().map(|heading| Cell::from(*heading)).collect());
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether it has rows besides the headings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The text, with colours when `colours`; no line ends in blanks.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, wanted) in row.iter().zip(&widths) {
                let blanks = " ".repeat(wanted - width(cell));
                let shown = match cell.colour.filter(|_| colours && !cell.text.is_empty()) {
                    Some(colour) => format!("\x1b[{}m{}\x1b[0m", code(colour), cell.text),
                    None => cell.text.clone(),
                };
                let cell_text = if cell.right { blanks + &shown } else { shown + &blanks };
                line.push_str(&cell_text);
                line.push_str("  ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

fn width(cell: &Cell) -> usize {
    cell.text.chars().count()
}

fn code(colour: Colour) -> u8 {
    match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_blanks() {
        let mut table = Table::new(&["App", "Scale", "Message"]);
        table.row(vec!["etcd".into(), Cell::from("3").right(), "".into()]);
        table.row(vec!["a".into(), Cell::from("12").right(), "äöü".into()]);
        assert_eq!(table.render(false), "App   Scale  Message\netcd      3\na        12  äöü\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![Cell::from("x").coloured(Some(Colour::Green)), "y".into()]);
        assert_eq!(table.render(true), "A  B\n\x1b[32mx\x1b[0m  y\n");
    }
}
