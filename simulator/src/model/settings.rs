//! Model options, and the durations and booleans in them.

use clap::ValueEnum as _;

use super::Model;
use crate::machine::MachineKind;

impl Model {
    /// A model option that holds a duration, in ms.
    pub fn duration_setting(&self, name: &str) -> Option<u64> {
        self.config.get(name).and_then(|text| parse_duration_ms(text))
    }

    /// A model option that is on unless it says `false`.
    pub fn is_enabled(&self, name: &str) -> bool {
        self.config.get(name).is_none_or(|text| text != "false")
    }

    /// What the units of new applications run on, from the option `machines`.
    ///
    /// # Errors
    /// The option has another value than the two there are.
    pub fn machines(&self) -> Result<MachineKind, String> {
        match self.setting(MACHINES) {
            "" => Ok(MachineKind::default()),
            text => parse_machines(text),
        }
    }

    /// A model option as text; empty when it was not set.
    pub fn setting(&self, name: &str) -> &str {
        self.config.get(name).map_or("", String::as_str)
    }
}

/// The model option that says what machines new applications get.
pub const MACHINES: &str = "machines";

/// Reads `light` or `full`.
pub fn parse_machines(text: &str) -> Result<MachineKind, String> {
    MachineKind::from_str(text, false).map_err(|_| format!("{MACHINES} is light or full, not {text:?}"))
}

/// Reads a duration in Go's notation (`1h30m`, `5s`, `250ms`, `1.5s`) as ms.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let factor = match unit {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1_000.0,
            "ms" => 1.0,
            "us" | "µs" => 0.001,
            "ns" => 0.000_001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    // A float that is negative or too large saturates, which is as good an answer as any here.
    Some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::parse_duration_ms;

    #[test]
    fn durations_are_read_in_gos_notation() {
        let rows = [
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5x", None),
            ("-5s", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_duration_ms(text), expected, "{text}");
        }
    }
}
