//! The syntax of unit files (systemd.syntax). Invariant: assignments keep their order, so that later ones override earlier ones
//! and an empty one clears a list.

use std::collections::BTreeMap;

/// The assignments of a unit, of its file and its drop-ins, by section and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignments {
    values: BTreeMap<(String, String), Vec<String>>,
}

impl Assignments {
    /// Add what a file says.
    pub fn add(&mut self, text: &str) {
        let mut section = String::new();
        for line in logical_lines(text) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                let slot = self.values.entry((section.clone(), key.trim().to_owned())).or_default();
                slot.push(value.trim().to_owned());
            }
        }
    }

    /// All values of a list-like key; an empty assignment forgets those before it.
    pub fn list(&self, section: &str, key: &str) -> Vec<&str> {
        let Some(all) = self.values.get(&(section.to_owned(), key.to_owned())) else { return Vec::new() };
        let start = all.iter().rposition(String::is_empty).map_or(0, |empty| empty + 1);
        all[start..].iter().map(String::as_str).collect()
    }

    /// The last value of a key; an empty one counts as none.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.list(section, key).last().copied()
    }

    /// Blank-separated words of a list-like key.
    pub fn words(&self, section: &str, key: &str) -> Vec<String> {
        let values = self.list(section, key);
        values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    }
}

/// Lines with those joined that end in a backslash, and comments left out (also between joined lines).
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || trimmed.starts_with(';') {
            continue;
        }
        let mut joined = open.take().unwrap_or_default();
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            joined.push(' ');
            open = Some(joined);
        } else {
            joined.push_str(line);
            lines.push(joined);
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignments(texts: &[&str]) -> Assignments {
        let mut all = Assignments::default();
        for text in texts {
            all.add(text);
        }
        all
    }

    #[test]
    fn a_line_that_ends_in_a_backslash_goes_on_over_comments() {
        let all = assignments(&["[Service]\nExecStart=/bin/a \\\n# not this\n  --b\n"]);
        assert_eq!(all.list("Service", "ExecStart"), vec!["/bin/a    --b"]);
    }

    #[test]
    fn an_empty_assignment_in_a_drop_in_clears_the_list() {
        let all = assignments(&[
            "[Service]\nExecStart=/bin/a\nUser=x\n",
            "[Service]\nExecStart=\nExecStart=/bin/b\n",
        ]);
        assert_eq!(all.list("Service", "ExecStart"), vec!["/bin/b"]);
        assert_eq!(all.last("Service", "User"), Some("x"));
    }

    #[test]
    fn the_same_key_in_two_sections_is_two_keys() {
        let all = assignments(&["[Unit]\nA=1\n[Service]\nA=2\n"]);
        assert_eq!(all.last("Unit", "A"), Some("1"));
        assert_eq!(all.last("Service", "A"), Some("2"));
    }
}
