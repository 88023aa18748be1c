//! `hooks/` and `actions/`: a link to `dispatch` for every hook and action that Juju may call this charm for, made from
//! the metadata. Juju runs `dispatch` first in any case; by a link an operator runs one of them by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::yaml;

/// Where each link leads.
const TARGET: &str = "../dispatch";

/// What every charm is called for. Source: Juju's list of hooks, <https://documentation.ubuntu.com/juju/3.6/reference/hook/>,
/// without those that need a file of their own (`collect-metrics`) or a container (`pebble-…`).
const EVERY_CHARM: [&str; 12] = [
    "config-changed",
    "install",
    "leader-elected",
    "leader-settings-changed",
    "meter-status-changed",
    "post-series-upgrade",
    "pre-series-upgrade",
    "remove",
    "start",
    "stop",
    "update-status",
    "upgrade-charm",
];

/// What a charm that makes secrets is called for.
const SECRETS: [&str; 4] = ["secret-changed", "secret-expired", "secret-remove", "secret-rotate"];

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> Map<String, Value> {
    yaml::from_str(&fs::read_to_string(project(name)).unwrap()).unwrap()
}

/// The names that a list of things in the metadata gives, each with all endings.
fn named(of: &Value, endings: &[&str]) -> Vec<String> {
    let names = of.as_object().into_iter().flat_map(Map::keys);
    names.flat_map(|name| endings.iter().map(move |ending| format!("{name}-{ending}"))).collect()
}

fn hooks() -> BTreeSet<String> {
    let metadata = read("metadata.yaml");
    let relation =
        ["relation-broken", "relation-changed", "relation-created", "relation-departed", "relation-joined"];
    let mut hooks: BTreeSet<String> = EVERY_CHARM.into_iter().chain(SECRETS).map(ToOwned::to_owned).collect();
    for role in ["peers", "provides", "requires"] {
        hooks.extend(named(&metadata[role], &relation));
    }
    // Every application has that endpoint, and the hooks of a subordinate beside it are told.
    hooks.extend(relation.map(|ending| format!("juju-info-{ending}")));
    hooks.extend(named(&metadata["storage"], &["storage-attached", "storage-detaching"]));
    hooks
}

fn actions() -> BTreeSet<String> {
    read("actions.yaml").keys().cloned().collect()
}

/// The links in a folder and where they lead.
fn links(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), fs::read_link(entry.path()).unwrap_or_default())
        })
        .collect()
}

/// For `scripts/links`.
fn write(folder: &Path, names: &BTreeSet<String>) {
    fs::create_dir_all(folder).unwrap();
    for name in links(folder).keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for name in names {
        symlink(TARGET, folder.join(name)).unwrap();
    }
}

#[test]
fn each_hook_and_action_has_its_link_to_dispatch() {
    for (folder, names) in [("hooks", hooks()), ("actions", actions())] {
        let folder = project(folder);
        if std::env::var_os("WRITE_LINKS").is_some() {
            write(&folder, &names);
        }
        let wanted = names.into_iter().map(|name| (name, PathBuf::from(TARGET))).collect();
        assert_eq!(links(&folder), wanted, "{}: run scripts/links", folder.display());
    }
    assert!(project("dispatch").is_file(), "the links lead nowhere");
}
