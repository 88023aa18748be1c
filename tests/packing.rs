//! The packed charm, as a controller and an operator get it: what is inside, with which modes, and that it runs anywhere.
//!
//! Needs `ETCD_CHARM` and `CHARMCRAFT`, paths that `make test` sets; without them these tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use zip::ZipArchive;

/// What a controller needs and what the store shows; beside the links, nothing else.
const FILES: [&str; 9] = [
    "LICENSE",
    "README.md",
    "actions.yaml",
    "config.yaml",
    "dispatch",
    "icon.svg",
    "manifest.yaml",
    "metadata.yaml",
    "version",
];

/// Folders of links to `dispatch`.
const LINKS: [&str; 2] = ["actions", "hooks"];

/// The file type of a link, and its mode.
const LINK_MODE: u32 = 0o120_777;

/// What `charmcraft analyse` exits with: nothing to say, and warnings only.
const CHARMCRAFT_FINE: [i32; 2] = [0, 3];

fn from_environment(variable: &str) -> PathBuf {
    let path = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make test`"));
    assert!(Path::new(&path).exists(), "{variable} names {path}, which is missing: run `make test`");
    path.into()
}

fn charm() -> ZipArchive<File> {
    ZipArchive::new(File::open(from_environment("ETCD_CHARM")).unwrap()).unwrap()
}

fn read(name: &str) -> Vec<u8> {
    let mut charm = charm();
    let mut content = Vec::new();
    charm.by_name(name).unwrap().read_to_end(&mut content).unwrap();
    content
}

/// Name, mode and year of every entry, in their order.
fn entries() -> Vec<(String, Option<u32>, Option<u16>)> {
    let mut charm = charm();
    let mut found = Vec::new();
    for index in 0..charm.len() {
        let entry = charm.by_index(index).unwrap();
        let year = entry.last_modified().map(|time| time.year());
        found.push((entry.name().unwrap().into_owned(), entry.unix_mode(), year));
    }
    found
}

/// The links of the sources, as names in the charm.
fn links() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in LINKS {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            found.insert(format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap()));
        }
    }
    found
}

#[test]
fn it_holds_what_juju_needs_and_nothing_else() {
    let names: BTreeSet<_> = entries().into_iter().map(|(name, ..)| name).collect();
    let wanted: BTreeSet<_> = FILES.into_iter().map(ToOwned::to_owned).chain(links()).collect();
    assert_eq!(names, wanted, "run `make charm`");
}

#[test]
fn only_dispatch_may_be_executed_and_the_links_are_links() {
    let links = links();
    for (name, mode, _) in entries() {
        let expected = match name.as_str() {
            "dispatch" => 0o100_755,
            name if links.contains(name) => LINK_MODE,
            _ => 0o100_644,
        };
        assert_eq!(mode, Some(expected), "{name}");
        if expected == LINK_MODE {
            assert_eq!(read(&name), b"../dispatch", "{name}");
        }
    }
}

#[test]
fn it_carries_no_times_of_its_build() {
    for (name, _, year) in entries() {
        assert_eq!(year, Some(1980), "{name}");
    }
}

#[test]
fn its_surface_is_the_one_in_the_sources() {
    for name in ["metadata.yaml", "config.yaml", "actions.yaml"] {
        let source = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        assert!(read(name) == source, "{name} in the charm differs from the sources: run `make charm`");
    }
}

#[test]
fn it_names_every_ubuntu_it_runs_on() {
    let manifest = String::from_utf8(read("manifest.yaml")).unwrap();
    for base in ["20.04", "22.04", "24.04"] {
        assert!(manifest.contains(&format!("channel: \"{base}\"")), "{base} is missing in\n{manifest}");
    }
}

/// A folder with nothing in it but the charm's `dispatch`, ready to run.
fn folder_with_dispatch() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dispatch = folder.path().join("dispatch");
    fs::write(&dispatch, read("dispatch")).unwrap();
    fs::set_permissions(&dispatch, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Without interpreter and libraries, the age of a machine's glibc does not matter.
#[test]
fn dispatch_needs_no_library_of_the_machine() {
    let folder = folder_with_dispatch();
    let dispatch = folder.path().join("dispatch");
    let output = Command::new("readelf")
        .args(["--wide", "--file-header", "--program-headers", "--dynamic"])
        .arg(&dispatch)
        .output()
        .expect("cannot run readelf: run `make setup`");
    let headers = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && headers.contains("Entry point"), "not a program:\n{headers}");
    for sign in ["INTERP", "(NEEDED)"] {
        assert!(!headers.contains(sign), "linked dynamically ({sign}):\n{headers}");
    }
}

/// How a program of the folder ends where there is nothing else, not even hook tools: exit code and message.
fn run_alone(folder: &Path, program: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new("chroot")
        .arg(folder)
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Outside of a hook it can only say so, but it must get that far.
#[test]
fn dispatch_starts_where_there_is_nothing_else() {
    let (code, message) = run_alone(folder_with_dispatch().path(), "/dispatch", &[]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("JUJU_"), "it does not say what is missing: {message}");
}

/// As `juju exec` would run them: without a word from Juju about which hook it is.
#[test]
fn a_link_does_what_its_name_says() {
    let folder = folder_with_dispatch();
    for link in links() {
        let path = folder.path().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink("../dispatch", path).unwrap();
    }
    let session = [("JUJU_VERSION", "3.6.0"), ("JUJU_UNIT_NAME", "etcd/0"), ("JUJU_CHARM_DIR", "/")];
    let run = |program: &str| run_alone(folder.path(), program, &session);
    assert_eq!(run("/dispatch").0, Some(0), "no hook, nothing to do");
    assert_eq!(run("/hooks/remove").0, Some(0), "nothing is left to do in this hook");
    let (code, message) = run("/hooks/config-changed");
    assert!(code == Some(1) && message.contains("is-leader"), "it did not begin: {code:?} {message}");
    let (code, message) = run("/actions/alarm-list");
    assert!(code == Some(1) && message.contains("action-fail"), "it did not begin: {code:?} {message}");
}

#[test]
fn charmcraft_finds_no_error_in_it() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(from_environment("CHARMCRAFT"))
        .args(["analyse", "--format", "json"])
        .arg(from_environment("ETCD_CHARM"))
        .env("HOME", home.path())
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    let messages = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(code.is_some_and(|code| CHARMCRAFT_FINE.contains(&code)), "exit {code:?}\n{answer}{messages}");
    let results: Vec<serde_json::Value> = serde_json::from_str(&answer).unwrap();
    let wrong: Vec<_> = results
        .iter()
        .filter(|result| matches!(result["result"].as_str(), Some("error" | "fatal")))
        .collect();
    assert!(!results.is_empty() && wrong.is_empty(), "{wrong:?}\n{answer}");
}
