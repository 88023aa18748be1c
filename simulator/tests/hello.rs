//! A small shell charm through its whole life, by the command line, on real light machines. Needs root.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; clippy knows only functions marked as tests"
)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const CHARM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charms/hello");

/// A place for models of its own, taken down however the test ends.
struct Lab {
    home: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_juju-sim"));
        command.args(words).env("JUJU_SIM_HOME", self.home.path()).env_remove("JUJU_SIM_MODEL");
        command
    }

    /// Exit status, standard output, standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Standard output of a command that must succeed.
    fn must(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {stdout}{stderr}\n{}", self.log());
        stdout
    }

    /// Standard error of a command that must fail.
    fn refused(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(words);
        assert_eq!(code, 1, "{words:?}: {stdout}{stderr}");
        stderr
    }

    fn log(&self) -> String {
        self.run(&["debug-log", "--replay", "--no-tail"]).1
    }

    fn wait(&self, words: &[&str]) {
        let mut all = vec!["lab", "wait"];
        all.extend(words);
        all.extend(["--timeout", "60s"]);
        self.must(&all);
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.must(&["status", "--format", "json"])).unwrap()
    }

    fn message(&self, unit: &str) -> String {
        let status = self.status();
        let (application, _) = unit.split_once('/').unwrap();
        let unit = &status["applications"][application]["units"][unit]["workload-status"];
        format!("{} {}", unit["current"].as_str().unwrap(), unit["message"].as_str().unwrap_or_default())
    }

    fn controller(&self) -> PathBuf {
        self.home.path().join("models/default/controller.pid")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.command(&["destroy-model", "--no-prompt"]).output();
    }
}

/// Processes whose command line or environment names this place.
fn processes_of(home: &Path) -> Vec<String> {
    let needle = home.to_str().unwrap().as_bytes().to_vec();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(entry.path().join(file)).unwrap_or_default();
            if text.windows(needle.len()).any(|part| part == needle) {
                found.push(format!("{}: {}", entry.path().display(), String::from_utf8_lossy(&text)));
            }
        }
    }
    found
}

#[test]
fn two_applications_live_together_and_leave_nothing() {
    let lab = Lab::new();
    let note = lab.home.path().join("note.txt");
    std::fs::write(&note, "1.2.3").unwrap();
    lab.must(&["deploy", CHARM, "speaker", "--resource", &format!("note={}", note.display())]);
    lab.must(&["deploy", CHARM, "listener", "-n", "2", "--config", "word=psst"]);
    lab.wait(&["--status", "active", "--idle"]);
    assert_eq!(lab.message("speaker/0"), "active says hello");
    assert_eq!(lab.status()["applications"]["speaker"]["version"], "1.2.3");

    lab.must(&["integrate", "speaker:speaker", "listener:listener"]);
    lab.wait(&["listener", "--message", "heard hello", "--idle"]);
    lab.must(&["config", "speaker", "word=cheers", "loud=true"]);
    lab.wait(&["listener", "--message", "heard CHEERS", "--idle"]);
    assert_eq!(lab.must(&["config", "speaker", "word"]), "cheers\n");
    let table = lab.must(&["status", "--relations"]);
    for part in
        ["speaker/0*", "8080/tcp", "listener/1", "says CHEERS", "speaker:speaker", "Integration provider"]
    {
        assert!(table.contains(part), "{part} is missing in:\n{table}");
    }

    let greeting = lab.must(&["run", "speaker/leader", "greet", "name=Ada", "times=2"]);
    assert!(greeting.contains("greeting: CHEERS Ada") && greeting.contains("by: speaker/0"), "{greeting}");
    let (code, stdout, _) = lab.run(&["run", "speaker/0", "refuse"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("failed: not in the mood"), "{stdout}");
    let crash = lab.refused(&["run", "speaker/0", "crash"]);
    assert!(crash.contains("with return code 3"), "{crash}");
    let (_, missing, _) = lab.run(&["run", "speaker/0", "greet"]);
    assert!(
        missing.contains("failed: validation failed: (root) : \"name\" property is missing"),
        "{missing}"
    );

    assert_eq!(lab.must(&["exec", "--unit", "speaker/0", "--", "config-get", "word"]), "cheers\n");
    assert_eq!(lab.must(&["ssh", "speaker/0", "pwd; echo", "'a  b'"]), "/home/ubuntu\na  b\n");
    lab.must(&["scp", note.to_str().unwrap(), "speaker/0:/root/a note"]);
    let copy = lab.home.path().join("copy");
    lab.must(&["scp", "speaker/0:/root/a note", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "1.2.3");
    lab.must(&["ssh", "speaker/0", "chmod 600 '/root/a note'"]);
    let secret = lab.home.path().join("secret");
    lab.must(&["scp", "speaker/0:/root/a note", secret.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);

    lab.must(&["remove-relation", "speaker", "listener"]);
    lab.wait(&["--idle"]);
    assert_eq!(lab.message("listener/0"), "active says psst");
    lab.must(&["remove-unit", "listener/1", "--no-prompt"]);
    lab.wait(&["listener", "--units", "1", "--idle"]);
    lab.must(&["remove-application", "speaker", "--no-prompt"]);
    lab.wait(&["--idle"]);
    lab.must(&["destroy-model", "--no-prompt"]);
    assert!(!lab.home.path().join("models/default").exists());
    assert_eq!(processes_of(lab.home.path()), Vec::<String>::new());
}

#[test]
fn a_failed_hook_is_shown_and_resolved() {
    let lab = Lab::new();
    lab.must(&["deploy", CHARM]);
    lab.wait(&["--status", "active", "--idle"]);
    lab.must(&["model-config", "automatically-retry-hooks=false"]);
    lab.must(&["config", "hello", "word=hiccup"]);
    lab.wait(&["hello", "--status", "error"]);
    let table = lab.must(&["status"]);
    assert!(table.contains("hook failed: \"config-changed\""), "{table}");
    lab.must(&["resolved", "hello/0", "--no-retry"]);
    lab.wait(&["hello", "--status", "active"]);
    lab.must(&["config", "hello", "--reset", "word"]);
    lab.wait(&["hello", "--message", "says hello", "--idle"]);
}

#[test]
fn a_model_survives_the_death_of_its_controller() {
    let lab = Lab::new();
    lab.must(&["deploy", CHARM]);
    lab.wait(&["--status", "active", "--idle"]);
    let text = std::fs::read_to_string(lab.controller()).unwrap();
    let pid = text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    assert_eq!(lab.message("hello/0"), "active says hello");
    lab.must(&["config", "hello", "word=again"]);
    lab.wait(&["hello", "--message", "says again", "--idle"]);
    let text = std::fs::read_to_string(lab.controller()).unwrap();
    let pid = text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    lab.must(&["destroy-model", "--no-prompt"]);
    assert_eq!(processes_of(lab.home.path()), Vec::<String>::new());
}

#[test]
fn a_model_keeps_the_juju_it_was_made_with() {
    let lab = Lab::new();
    lab.must(&["add-model", "default", "--juju-version", "2.9"]);
    assert_eq!(lab.status()["model"]["version"], "2.9.52");
    let error = lab.refused(&["status", "--juju-version", "4.0"]);
    assert_eq!(error, "ERROR model \"default\" imitates Juju 2.9, not 4.0: a model keeps its version\n");
    let listed: Value = serde_json::from_str(&lab.must(&["models", "--format", "json"])).unwrap();
    assert_eq!(listed["models"][0]["controller"], "running");
}

#[test]
fn juju_4_takes_a_packed_charm_and_no_directory() {
    let lab = Lab::new();
    let error = lab.refused(&["deploy", CHARM, "--juju-version", "4.0"]);
    assert!(error.contains("Juju 4 takes .charm files, no directories"), "{error}");
    assert_eq!(lab.must(&["models", "--format", "json"]), "{\"models\":[]}\n");

    let packed = lab.home.path().join("hello.charm");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&packed).unwrap());
    for entry in std::fs::read_dir(CHARM).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        archive.start_file(entry.file_name().to_string_lossy(), options).unwrap();
        archive.write_all(&std::fs::read(entry.path()).unwrap()).unwrap();
    }
    archive.finish().unwrap();
    lab.must(&["deploy", packed.to_str().unwrap(), "--juju-version", "4.0"]);
    lab.wait(&["--status", "active", "--idle"]);
    assert_eq!(lab.message("hello/0"), "active says hello");
    let unknown = lab.run(&["run", "hello/0", "refuse", "why=because"]).1;
    assert!(unknown.contains("additional property \"why\" is not allowed"), "{unknown}");
}
