//! Pages of documentation as scenarios: what a page runs, what it promises to print, and what it says it cannot run.
//!
//! - Each `$ ` line of a `console` block is a command; the lines under it are its output, where `…` stands for
//!   anything (a line of its own: for any lines). A command whose output begins with `ERROR` must fail, others succeed.
//!   In a command it stands for what an earlier output shows in its place: readers copy that.
//! - `^C` under the output: the command has no end, and the reader ends it when the lines above have appeared.
//! - `<!-- starts from: three healthy units -->` says what a page's reader has.
//! - `<!-- run: … -->` is a command that readers need not see: a fault to cause, something to wait for.
//! - Commands in a block of another kind are not run; `*Not run by the tests: why.*` must stand above it.

use std::fs;
use std::path::Path;

/// Above a block with commands that cannot run here.
const NOT_RUN: &str = "*Not run by the tests: ";

/// What the reader of a page has before its first command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// An empty model.
    Nothing,
    /// A cluster of one.
    OneUnit,
    /// A cluster of three.
    ThreeUnits,
    /// A cluster of one with etcd 3.4.
    OneOldUnit,
    /// A unit whose machine has Debian's package of etcd, with one key in it.
    OnePackagedUnit,
    /// A cluster of one with etcd 3.4 under the Python charm.
    OneEarlierUnit,
}

/// A page.
pub struct Page {
    /// Relative to the project.
    pub path: String,
    /// Absent on a page without commands.
    pub start: Option<Start>,
    /// What is run, in order.
    pub steps: Vec<Step>,
    /// What is not run, a line each.
    pub not_run: Vec<String>,
}

/// A command and what it must print.
pub struct Step {
    /// Line number in the page.
    pub line: usize,
    /// For a shell.
    pub command: String,
    /// `None`: nothing is promised.
    pub output: Option<Vec<String>>,
    /// It ends only because its reader ends it.
    pub interrupted: bool,
}

impl Step {
    fn new(line: usize, command: &str) -> Step {
        Step { line, command: command.to_owned(), output: None, interrupted: false }
    }

    pub fn must_fail(&self) -> bool {
        self.output.as_ref().is_some_and(|lines| lines[0].starts_with("ERROR"))
    }

    /// The command with each `…` filled in from what was printed before, as its reader does; the latest counts.
    ///
    /// Panics when nothing was printed that fits.
    pub fn copied_from(&self, printed: &str) -> String {
        let fill = |word: &str| {
            let Some((before, after)) = word.split_once('…') else { return word.to_owned() };
            let fitting = printed.split_whitespace().rev().find_map(|seen| {
                let (_, rest) = seen.split_once(before)?;
                Some(format!("{before}{}{after}", rest.split_once(after)?.0))
            });
            fitting.unwrap_or_else(|| panic!("{}: nothing was printed like {word}", self.line))
        };
        self.command.split(' ').map(fill).collect::<Vec<_>>().join(" ")
    }

    /// Whether `actual` is what the page shows. How wide columns are is no promise.
    pub fn promises(&self, actual: &str) -> bool {
        let Some(expected) = &self.output else { return true };
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected: Vec<String> = expected.iter().map(|line| plain(line)).collect();
        let actual: Vec<String> = actual.lines().map(plain).filter(|line| !line.is_empty()).collect();
        lines_match(&expected, &actual)
    }
}

fn lines_match(expected: &[String], actual: &[String]) -> bool {
    match (expected, actual) {
        ([], actual) => actual.is_empty(),
        ([any, rest @ ..], actual) if any == "…" => {
            (0..=actual.len()).any(|skipped| lines_match(rest, &actual[skipped..]))
        }
        ([line, rest @ ..], [first, others @ ..]) => line_matches(line, first) && lines_match(rest, others),
        (_, []) => false,
    }
}

/// Whether `actual` is `expected`, where `…` stands for anything.
pub fn line_matches(expected: &str, actual: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == actual };
    let Some(rest) = actual.strip_prefix(before) else { return false };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| line_matches(after, &rest[at..]))
}

/// All pages: README.md and what is below docs/, in the order of their paths.
pub fn all() -> Vec<Page> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec!["README.md".to_owned()];
    collect(project, "docs", &mut paths);
    paths.sort();
    paths.iter().map(|path| parse(path, &fs::read_to_string(project.join(path)).unwrap())).collect()
}

fn collect(project: &Path, folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(project.join(folder)).unwrap().map(Result::unwrap) {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(project, &path, paths);
        } else if path.ends_with(".md") {
            paths.push(path);
        }
    }
}

/// Reads a page; panics with the line where one breaks the rules.
fn parse(path: &str, text: &str) -> Page {
    let mut page = Page { path: path.to_owned(), start: None, steps: Vec::new(), not_run: Vec::new() };
    let mut fence: Option<&str> = None;
    let mut excused = false;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        // Within a list everything is indented.
        let line = if fence == Some("console") { line } else { line.trim_start() };
        match (fence, line.strip_prefix("```")) {
            (None, Some(kind)) => fence = Some(kind),
            (Some(_), Some(_)) => (fence, excused) = (None, false),
            (Some("console"), None) => console(&mut page, number, line),
            (Some(_), None) if is_command(line) => {
                assert!(excused, "{path}:{number}: say above the block why it is not run: {NOT_RUN}…*");
                let command = line.split(" #").next().unwrap_or(line);
                page.not_run.push(command.trim().to_owned());
            }
            (Some(_), None) => {}
            (None, None) => {
                excused = line.starts_with(NOT_RUN) || (excused && line.is_empty());
                prose(&mut page, number, line);
            }
        }
    }
    assert!(page.steps.is_empty() || page.start.is_some(), "{path}: say what it starts from");
    page
}

fn console(page: &mut Page, number: usize, line: &str) {
    if let Some(command) = line.strip_prefix("$ ") {
        page.steps.push(Step::new(number, command));
        return;
    }
    let Some(step) = page.steps.last_mut() else {
        panic!("{}:{number}: output without a command", page.path)
    };
    if line == "^C" {
        step.interrupted = true;
        return;
    }
    match (&mut step.output, step.command.strip_suffix('\\')) {
        (None, Some(begun)) => step.command = format!("{begun}{}", line.trim_start()),
        (output, _) => output.get_or_insert_default().push(line.to_owned()),
    }
}

fn prose(page: &mut Page, number: usize, line: &str) {
    let Some(note) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) else { return };
    if let Some(start) = note.strip_prefix("starts from: ") {
        page.start = Some(match start {
            "nothing" => Start::Nothing,
            "one healthy unit" => Start::OneUnit,
            "three healthy units" => Start::ThreeUnits,
            "one healthy unit of etcd 3.4" => Start::OneOldUnit,
            "one unit with the Debian package" => Start::OnePackagedUnit,
            "one unit of the Python charm" => Start::OneEarlierUnit,
            _ => panic!("{}:{number}: there is no start {start:?}", page.path),
        });
    } else if let Some(command) = note.strip_prefix("run: ") {
        page.steps.push(Step::new(number, command));
    }
}

fn is_command(line: &str) -> bool {
    let line = line.trim_start();
    ["$ ", "juju ", "juju-sim ", "make ", "etcdctl ", "ETCDCTL_API=3 "]
        .iter()
        .any(|start| line.starts_with(start))
}

const PAGE: &str = "\
<!-- starts from: one healthy unit -->
```console
$ juju run etcd/0 \\
    health
…
alarms: none
$ juju debug-log --tail
…
^C
$ false
ERROR no
```
<!-- run: juju lab x -->

*Not run by the tests: it would run itself.*

```sh
make test
```
";

#[test]
fn a_page_is_read_as_its_reader_does() {
    let page = parse("x.md", PAGE);
    let commands: Vec<&str> = page.steps.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["juju run etcd/0 health", "juju debug-log --tail", "false", "juju lab x"]);
    assert_eq!(page.start, Some(Start::OneUnit));
    assert_eq!(page.not_run, ["make test"]);
    let [health, endless, fails, hidden] = &page.steps[..] else { panic!("{commands:?}") };
    assert!(endless.interrupted && endless.promises("anything") && !health.interrupted);
    assert!(!health.must_fail() && fails.must_fail());
    assert!(health.promises("Running\n\nalarms:   none\n") && hidden.promises("anything"));
    assert!(!health.promises("alarms: none\nmore") && !health.promises("alarms: 1"));
}

#[test]
fn a_line_may_leave_parts_open() {
    assert!(line_matches("etcd/0* active … Healthy …", "etcd/0* active 10.0.0.1 Healthy with 3"));
    assert!(line_matches("a…", "a") && line_matches("…", ""));
    assert!(!line_matches("a…c", "ab") && !line_matches("", "x"));
}

#[test]
fn what_was_printed_is_copied_into_a_command() {
    let step = Step::new(1, "juju scp etcd/0:/a-….gz .");
    let printed = "path: /a-1.gz\ncmd: juju scp etcd/0:/a-1.gz .\ncmd: juju scp etcd/0:/a-2.gz .";
    assert_eq!(step.copied_from(printed), "juju scp etcd/0:/a-2.gz .");
}

#[test]
#[should_panic(expected = "say above the block why it is not run")]
fn a_command_that_is_not_run_must_say_why() {
    parse("x.md", "```sh\nmake test\n```\n");
}
