//! The command line by itself: help, wrong calls, and what it says where no model is. Nothing here starts a
//! controller or a machine.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; clippy knows only functions marked as tests"
)]

use std::path::Path;
use std::process::{Command, Output};

fn juju_sim(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_juju-sim"));
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("JUJU_SIM_HOME", home);
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    let result = said(juju_sim(home.path()).args(arguments).output().unwrap());
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let empty_or_models_only =
        left.iter().all(|path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()));
    assert!(empty_or_models_only, "{arguments:?} left {left:?}");
    result
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_lists_every_command_and_says_how_to_begin() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for word in
        ["deploy", "integrate", "debug-log", "lab", "First steps:", "--juju-version", "/var/lib/juju-sim"]
    {
        assert!(stdout.contains(word), "{word} is missing in:\n{stdout}");
    }
}

#[test]
fn each_command_explains_itself_with_an_example() {
    let (_, overview, _) = run(&["--help"]);
    let commands = overview.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('-') && *word != "juju-sim" && *word != "version")
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let (code, stdout, _) = run(&[name, "--help"]);
        assert_eq!(code, 0, "{name}");
        assert!(stdout.contains(&format!("juju-sim {name}")), "{stdout}");
    }
}

#[test]
fn the_words_of_other_jujus_are_understood() {
    for (alias, name) in [
        ("add-relation", "integrate"),
        ("relate", "integrate"),
        ("run-action", "run"),
        ("upgrade-charm", "refresh"),
        ("attach", "attach-resource"),
        ("resolve", "resolved"),
        ("show-action-output", "show-task"),
    ] {
        let (code, stdout, _) = run(&[alias, "--help"]);
        assert_eq!(code, 0, "{alias}");
        assert!(stdout.contains(&format!("juju-sim {name}")), "{alias}: {stdout}");
    }
}

#[test]
fn wrong_calls_end_with_2_and_an_error() {
    for arguments in [
        &["frobnicate"][..],
        &["deploy"],
        &["status", "--format", "xml"],
        &["status", "--juju-version", "1.25"],
        &["status", "--watch", "often"],
        &["add-unit", "etcd", "-n", "many"],
        &["lab", "set-address", "etcd/0", "here"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("ERROR "), "{arguments:?}: {stderr}");
    }
}

#[test]
fn where_no_model_is_commands_say_so_in_one_line() {
    for arguments in [
        &["status"][..],
        &["config", "etcd"],
        &["run", "etcd/0", "health"],
        &["ssh", "etcd/0"],
        &["destroy-model", "--no-prompt"],
        &["debug-log"],
        &["lab", "wait", "--idle"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        let expected =
            "ERROR model \"default\" not found (juju-sim deploy makes it, or juju-sim add-model default)\n";
        assert_eq!(stderr, expected, "{arguments:?}");
    }
    let (code, stdout, _) = run(&["models", "--format", "json"]);
    assert_eq!((code, stdout.as_str()), (0, "{\"models\":[]}\n"));
}

#[test]
fn a_charm_that_cannot_be_deployed_makes_no_model() {
    let charm = tempfile::tempdir().unwrap();
    let place = charm.path().to_str().unwrap();
    for (arguments, error) in [
        (vec!["deploy", "etcd"], "ERROR charm \"etcd\" not found"),
        (vec!["deploy", "./nowhere"], "ERROR cannot open \"./nowhere\""),
        (vec!["deploy", place], "ERROR cannot read metadata.yaml"),
        (vec!["deploy", "./x", "-m", "../evil"], "ERROR \"../evil\" is not a valid name"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.starts_with(error) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn options_that_the_charm_does_not_take_are_refused_before_anything_is_made() {
    let charm = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charms/hello");
    for (config, error) in [
        ("loud=perhaps", "ERROR option \"loud\" expected boolean, got \"perhaps\"\n"),
        ("volume=3", "ERROR unknown option \"volume\"\n"),
        ("=3", "ERROR expected \"key=value\", got \"=3\"\n"),
    ] {
        let (code, _, stderr) = run(&["deploy", charm, "--config", config]);
        assert_eq!((code, stderr.as_str()), (1, error));
    }
}

#[test]
fn without_root_there_is_one_clear_sentence() {
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let home = place.path().join("home");
    std::fs::create_dir_all(home.join("models/default")).unwrap();
    std::fs::write(home.join("models/default/model.json"), r#"{"juju-version":"3.6"}"#).unwrap();
    // The program itself may be where another user cannot reach it.
    let program = place.path().join("juju-sim");
    std::fs::copy(env!("CARGO_BIN_EXE_juju-sim"), &program).unwrap();
    let open = Command::new("chmod").args(["-R", "a+rX"]).arg(place.path()).status().unwrap();
    assert!(open.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("status");
    let (code, stdout, stderr) = said(command.env("JUJU_SIM_HOME", &home).output().unwrap());
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.starts_with("ERROR cannot go on without root:") && stderr.lines().count() == 1,
        "{stderr}"
    );
}
