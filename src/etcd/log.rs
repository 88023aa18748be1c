//! etcd's log as systemd's journal has it, one run after the other: the one line that tells why it does not serve. For people;
//! nothing is decided by it.

use serde::Deserialize;

/// Longest line to show, in characters.
const CHARS_MAX: usize = 300;

/// How much a line tells of the end of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// What always happens.
    Usual,
    /// systemd's own account of the end, well or not.
    End,
    /// An error, of which there are many.
    Error,
    /// What the program has ended with.
    Fatal,
}

/// A line of etcd's structured log.
#[derive(Deserialize)]
struct Entry {
    level: String,
    msg: String,
    #[serde(default)]
    error: String,
}

/// The line of the newest run that has one; else what systemd says of its end, else the last line there is. A run that has
/// just begun has said nothing yet.
pub fn telling(journal: &str) -> Option<String> {
    let lines: Vec<&str> = journal.lines().filter(|line| !line.trim().is_empty()).collect();
    let runs = lines.split(|line| line.starts_with("Started ")).rev();
    let heaviest = |run: &[&str]| -> Option<(Weight, String)> {
        let weighed = run.iter().map(|line| weigh(line));
        // Of equal ones the last.
        weighed.max_by(|one, other| one.0.cmp(&other.0))
    };
    let found = runs.filter_map(heaviest).find(|(weight, _)| *weight >= Weight::End).map(|(_, text)| text);
    let text = found.or_else(|| Some(weigh(lines.last()?).1))?;
    Some(text.chars().take(CHARS_MAX).collect())
}

fn weigh(line: &str) -> (Weight, String) {
    let line = line.trim();
    if let Ok(entry) = serde_json::from_str::<Entry>(line) {
        let weight = match entry.level.as_str() {
            "fatal" | "panic" | "dpanic" => Weight::Fatal,
            "error" => Weight::Error,
            _ => Weight::Usual,
        };
        let detail = if entry.error.is_empty() { String::new() } else { format!(": {}", entry.error) };
        return (weight, entry.msg + &detail);
    }
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let weight = if has(&[".service: Main process exited", ".service: Deactivated successfully"]) {
        Weight::End
    } else if has(&[".service: "]) {
        Weight::Usual
    } else if line.starts_with("panic: ") || has(&["fatal", " C | "]) {
        Weight::Fatal
    } else if has(&["error", "cannot", " E | "]) {
        Weight::Error
    } else {
        Weight::Usual
    };
    (weight, line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `journalctl -o cat`.
    const LOOP: &str = r#"Started snap.etcd.etcd.service - Service for snap application etcd.etcd.
{"level":"info","ts":"2026-01-01T00:00:00Z","caller":"etcdmain/etcd.go:73","msg":"Running: ","args":["etcd"]}
{"level":"error","ts":"2026-01-01T00:00:01Z","msg":"an older trouble"}
snap.etcd.etcd.service: Main process exited, code=exited, status=1/FAILURE
Started snap.etcd.etcd.service - Service for snap application etcd.etcd.
{"level":"warn","ts":"2026-01-01T00:00:02Z","msg":"found invalid file under data directory"}
{"level":"panic","ts":"2026-01-01T00:00:02Z","msg":"detected disallowed v2 WAL for stage --v2-deprecation=write-only"}
panic: detected disallowed v2 WAL for stage --v2-deprecation=write-only

goroutine 1 [running]:
go.uber.org/zap/zapcore.CheckWriteAction.OnWrite(0x0?, 0xc0000?)
	go.uber.org/zap@v1.27.0/zapcore/entry.go:196 +0x54 runtime.error
snap.etcd.etcd.service: Main process exited, code=exited, status=2/INVALIDARGUMENT
snap.etcd.etcd.service: Failed with result 'exit-code'.
snap.etcd.etcd.service: Scheduled restart job, restart counter is at 5.
Started snap.etcd.etcd.service - Service for snap application etcd.etcd.
{"level":"info","ts":"2026-01-01T00:00:03Z","msg":"Running: "}
"#;

    #[test]
    fn the_newest_run_that_has_ended_tells_why() {
        let panic = "panic: detected disallowed v2 WAL for stage --v2-deprecation=write-only";
        assert_eq!(telling(LOOP).as_deref(), Some(panic));
        let begun = LOOP.lines().take(4).collect::<Vec<_>>().join("\n");
        assert_eq!(telling(&begun).as_deref(), Some("an older trouble"));
    }

    #[test]
    fn what_an_earlier_run_has_said_is_not_taken_for_the_cause_of_a_silent_end() {
        let run = |words: &str| format!("Started a.\n{words}\na.service: Deactivated successfully.\n");
        let log = run("error: the sun is late") + &run("hello");
        assert_eq!(telling(&log).as_deref(), Some("a.service: Deactivated successfully."));
    }

    #[test]
    fn an_error_comes_with_its_detail_and_a_silent_end_in_systemds_words() {
        let fatal = r#"{"level":"fatal","msg":"discovery failed","error":"listen tcp: address in use"}"#;
        assert_eq!(telling(fatal).as_deref(), Some("discovery failed: listen tcp: address in use"));
        let end = "a.service: Main process exited, code=exited, status=1/FAILURE";
        let silent = format!("Started a.\n{end}\na.service: Failed with result 'exit-code'.\nStarted a.\n");
        assert_eq!(telling(&silent).as_deref(), Some(end));
        let old = "2026-01-01 00:00:00.1 I | etcdmain: x\n2026-01-01 00:00:00.2 C | etcdmain: no data\n";
        assert_eq!(telling(old).as_deref(), Some("2026-01-01 00:00:00.2 C | etcdmain: no data"));
        assert_eq!(telling("one\ntwo\n").as_deref(), Some("two"));
        assert_eq!(telling("\n"), None);
        assert_eq!(telling(&"x".repeat(1000)).unwrap().len(), CHARS_MAX);
    }
}
