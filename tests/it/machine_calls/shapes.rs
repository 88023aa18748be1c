//! Every place of the charm's source that runs a program: its words must be those of a row. Found in the text, as the house rules
//! are; a place that cannot be understood so is a complaint too.

use std::path::Path;

use super::TABLES;
use super::table::Group;

/// A program that the charm runs, with the words that stand in its source.
#[derive(Debug)]
struct Shape {
    place: String,
    program: String,
    words: Vec<String>,
}

/// How a call begins, where another function has the program's name.
const BEGINNINGS: [(&str, &str, &str); 7] = [
    ("src/host/systemd.rs", "self.tell(", "systemctl"),
    ("src/host/systemd.rs", "self.bring_about(", "systemctl"),
    ("src/host/systemd.rs", "self.systemctl()", "systemctl"),
    ("src/host/volume.rs", "self.tell(", "systemctl"),
    ("src/host/snap", ".command(", "snap"),
    ("src/host/snap", ".change(", "snap"),
    ("src/host/snap", "let words = [", "snap"),
];

/// Runs whose program does not stand there: what it is, or why it is of no machine's.
const NAMED: [(&str, &str, &str); 12] = [
    ("src/actions/snap_upgrade.rs", "\"/usr/bin/etcd\"", "the Debian package's own"),
    ("src/actions/restore.rs", "&tool", "etcd's own"),
    ("src/backup/v2.rs", "&source.etcdctl", "etcd's own"),
    ("src/host/snap.rs", "&self.program", "snap, by `command` and `change`"),
    ("src/host/systemd.rs", "&self.program", "systemctl, by `systemctl`"),
    ("src/host/trust_store.rs", "program", "update-ca-certificates"),
    ("src/host/v2_keys.rs", "etcd_programs().join(\"etcdctl\")", "etcd's own"),
    ("src/juju/tools.rs", "directory.join(tool)", "Juju's own"),
    ("src/juju/tools.rs", "tool", "Juju's own"),
    ("src/release.rs", "etcd", "etcd's own"),
    ("src/restoring/v2.rs", "member.programs.join(\"etcdctl\")", "etcd's own"),
    ("src/reconcile.rs", "&facts, tools", "a run of the charm, not of a program"),
];

#[test]
fn every_call_of_the_charm_is_in_the_table() {
    let shapes = shapes();
    let missing = shapes.iter().filter(|shape| !has_row(shape));
    let missing: Vec<String> = missing
        .map(|shape| format!("{}: {} {}", shape.place, shape.program, shape.words.join(" ")))
        .collect();
    assert!(missing.is_empty(), "these calls have no row in tests/it/machine_calls:\n{}", missing.join("\n"));
    // The search itself: one of each form in which the source has them.
    for wanted in [
        "snap revert",
        "snap set",
        "systemctl reset-failed",
        "journalctl -u",
        "dpkg --purge",
        "blkid -p",
        "systemctl is-active",
        "update-ca-certificates --fresh",
    ] {
        let (program, word) = wanted.split_once(' ').unwrap();
        let found =
            shapes.iter().any(|shape| shape.program == program && shape.words.iter().any(|own| own == word));
        assert!(found, "the search has not found {wanted}");
    }
    assert!(shapes.len() > 35, "the search finds {} calls only", shapes.len());
}

#[test]
fn every_row_is_of_a_call_that_the_charm_makes() {
    let shapes = shapes();
    for call in TABLES.iter().flat_map(|table| table.groups).flat_map(Group::calls) {
        // What is put in at run time is not in the shape, and neither is a flag that is there only sometimes.
        let sometimes = |word: &String| word == "--fresh";
        let is_made = |shape: &&Shape| {
            let words = shape.words.iter().filter(|word| !sometimes(word)).cloned().collect();
            let always = Shape { place: String::new(), program: shape.program.clone(), words };
            always.program == call.words[0] && fits(&always, call.words)
        };
        assert!(shapes.iter().any(|shape| is_made(&shape)), "the charm does not call `{}`", call.line());
    }
}

fn has_row(shape: &Shape) -> bool {
    let mut calls = TABLES.iter().flat_map(|table| table.groups).flat_map(Group::calls);
    calls.any(|call| call.words[0] == shape.program && fits(shape, call.words))
}

/// Whether all of the shape's words are in the call; what is put in at run time may be anything.
fn fits(shape: &Shape, call: &[&str]) -> bool {
    shape.words.iter().all(|word| match word.split_once('{') {
        Some((start, _)) => call.iter().any(|own| own.starts_with(start)),
        None => call.contains(&word.as_str()),
    })
}

fn shapes() -> Vec<Shape> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shapes = Vec::new();
    for path in files(&root.join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root).unwrap().display().to_string();
        if place != "src/process.rs" && !place.ends_with("/tests.rs") {
            shapes.extend(in_source(&place, &shipped(&text)));
        }
    }
    for path in files(&root.join("templates")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root).unwrap().display().to_string();
        for (at, _) in text.match_indices("$(systemctl ") {
            let words = text[at + 2..].split_whitespace().skip(1).take(1).map(str::to_owned).collect();
            shapes.push(Shape { place: place.clone(), program: "systemctl".into(), words });
        }
    }
    shapes
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Without comments and test modules.
fn shipped(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn in_source(place: &str, text: &str) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (at, begin) in text.match_indices("Run::new(") {
        let given = argument(&text[at + begin.len()..]);
        let named = NAMED.iter().any(|(file, name, _)| *file == place && *name == given);
        let program = match given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(name) if !named => name.to_owned(),
            _ => match NAMED.iter().find(|(file, name, _)| *file == place && *name == given) {
                Some((_, _, what)) if *what == "update-ca-certificates" => (*what).to_owned(),
                Some(_) => continue,
                None => panic!("{place}: what program is `{given}`? Say so in NAMED"),
            },
        };
        let words = words(text, at, begin).into_iter().filter(|word| *word != program).collect();
        shapes.push(Shape { place: place.to_owned(), program, words });
    }
    for (file, begin, program) in BEGINNINGS.iter().filter(|(file, _, _)| place.starts_with(file)) {
        for (at, _) in text.match_indices(begin) {
            let words = words(text, at, begin);
            // Only the functions themselves, with what they were given.
            if !words.is_empty() && !place.starts_with("src/host/snap_file") {
                shapes.push(Shape { place: (*file).to_owned(), program: (*program).to_owned(), words });
            }
        }
    }
    shapes
}

/// What stands up to the closing parenthesis.
fn argument(text: &str) -> &str {
    let mut depth = 0;
    let end = text.find(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// The texts that a statement hands on as arguments.
fn words(text: &str, at: usize, begin: &str) -> Vec<String> {
    let statement = &text[at..];
    let ends = [";", "\n}", "\n    }", "\n        }", "\n            }"];
    let end = ends.iter().filter_map(|end| statement.find(end)).min();
    let statement = &statement[..end.unwrap_or(statement.len())];
    let takes = [".arg(", ".args(", "let args = ", begin];
    let drops = [".env(", "context(", ".timeout(", ".stdin(", ".map_err(", ".strip_prefix("];
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = statement[from..].find('"').map(|start| from + start) {
        let Some(length) = statement[start + 1..].find('"') else { break };
        let before = &statement[..start];
        let nearest = |all: &[&str]| all.iter().filter_map(|word| before.rfind(word)).max();
        if nearest(&takes) > nearest(&drops) {
            found.push(statement[start + 1..start + 1 + length].to_owned());
        }
        from = start + length + 2;
    }
    // The list may have a name of its own.
    if statement.contains(".args(args)")
        && let Some(start) = text[..at].rfind("let args = ")
    {
        found.extend(words(text, start, "let args = "));
    }
    found
}
