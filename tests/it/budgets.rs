//! What hooks cost: each call of a hook tool starts a process on the unit. `budgets.txt` is the table; what raises a number there
//! has to say so.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::sim::{Kind, Model, given, wait_until};
use crate::{COMING, OLD, PRESENT};

/// Calls at most, by hook. Where a hook changes something, its changes come on top.
const BUDGETS: &str = include_str!("budgets.txt");

/// Tools by which a hook changes or tells something.
const CHANGES: [&str; 11] = [
    "application-version-set",
    "close-port",
    "juju-log",
    "leader-set",
    "open-port",
    "relation-set",
    "resource-get",
    "secret-add",
    "secret-set",
    "status-set",
    "opened-ports",
];

/// A hook and the tools that it called.
type Run = (String, Vec<String>);

fn runs(model: &Model) -> BTreeMap<String, Vec<Run>> {
    let told: Value = serde_json::from_str(&model.run(&["lab", "calls", "etcd"])).unwrap();
    let run = |run: &Value| {
        let calls = run["calls"].as_array().unwrap().iter();
        (
            run["run"].as_str().unwrap().to_owned(),
            calls.map(|call| call.as_str().unwrap().to_owned()).collect(),
        )
    };
    let of_unit =
        |(unit, runs): (&String, &Value)| (unit.clone(), runs.as_array().unwrap().iter().map(run).collect());
    told.as_object().unwrap().iter().map(of_unit).collect()
}

/// What a run of the hooks that `work` causes has cost, by unit.
fn runs_of(model: &Model, work: impl FnOnce()) -> BTreeMap<String, Vec<Run>> {
    let before = runs(model);
    work();
    let mut after = runs(model);
    for (unit, runs) in &mut after {
        let known = before.get(unit).map_or(0, Vec::len);
        runs.drain(..known);
    }
    after
}

/// `name number` lines; `#` begins a comment.
fn budget(name: &str) -> usize {
    let lines = BUDGETS.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| line.rsplit_once(' ')).find(|(key, _)| key.trim() == name);
    found.unwrap_or_else(|| panic!("no budget for {name}")).1.trim().parse().unwrap()
}

fn most(runs: &BTreeMap<String, Vec<Run>>) -> usize {
    runs.values().flatten().map(|(_, calls)| calls.len()).max().unwrap_or_default()
}

fn questions(calls: &[String]) -> usize {
    calls.iter().filter(|call| !CHANGES.contains(&call.as_str())).count()
}

#[test]
fn a_deploy_and_the_hooks_after_it_keep_to_their_budget() {
    let model = Model::new(PRESENT);
    model.deploy_easyrsa();
    model.deploy_etcd(3);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.deploy_consumer("consumer");
    model.settle(3);
    model.wait(&["--idle"]);
    let all = runs(&model);
    let total: usize = all.values().flatten().map(|(_, calls)| calls.len()).sum();
    let table: Vec<String> = all
        .iter()
        .flat_map(|(unit, runs)| runs.iter().map(move |(run, calls)| format!("{unit} {run} {calls:?}")))
        .collect();
    assert!(total <= budget("deploy"), "{total} calls:\n{}", table.join("\n"));

    let quick = runs_of(&model, || drop(model.run(&["lab", "update-status", "etcd"])));
    assert_eq!(most(&quick), budget("update-status quick"), "{quick:?}");
    forget_status(&model);
    let full = runs_of(&model, || drop(model.run(&["lab", "update-status", "etcd"])));
    assert!(most(&full) <= budget("update-status full"), "{full:?}");

    changes_cost_little_more(&model);
    // Last: what is written by hand for this is not as it was remembered.
    each_hook(&model, "consumer");
    model.assert_no_hook_failed();
}

/// The next check is a full one.
fn forget_status(model: &Model) {
    for unit in model.units("etcd") {
        model.shell(&unit, "rm -f /run/etcd-charm.status");
    }
}

/// Hooks that have nothing to do.
fn each_hook(model: &Model, consumer: &str) {
    let say = |unit: &str, endpoint: &str, word: &str| {
        let set = format!("for r in $(relation-ids {endpoint}); do relation-set -r $r word={word}; done");
        model.run(&["exec", "--unit", unit, "--", &set]);
        model.wait(&["--idle"]);
    };
    let idle = [
        (
            "config-changed",
            runs_of(model, || {
                model.run(&["config", "etcd", "nagios_context=other"]);
                model.wait(&["--idle"]);
            }),
        ),
        ("db-relation-changed", runs_of(model, || say(&format!("{consumer}/0"), "db", "a"))),
        ("certificates-relation-changed", runs_of(model, || say("easyrsa/0", "client", "b"))),
        ("cluster-relation-changed", runs_of(model, || say("etcd/1", "cluster", "c"))),
    ];
    for (hook, runs) in idle {
        let seen = runs.values().flatten().filter(|(name, _)| name == hook).count();
        assert!(seen > 0, "{hook} did not run: {runs:?}");
        for (name, calls) in runs.values().flatten().filter(|(name, _)| !name.starts_with("actions/")) {
            assert!(calls.len() <= budget(hook), "{name} after {hook}: {calls:?}");
        }
    }
}

/// A hook's questions do not multiply when it has something to tell.
fn changes_cost_little_more(model: &Model) {
    let runs = runs_of(model, || {
        model.run(&["config", "etcd", "port=3379"]);
        model.wait(&["etcd", "--status", "active", "--idle"]);
    });
    for (name, calls) in runs.values().flatten() {
        let changes = calls.len() - questions(calls);
        let limit = budget("questions of a hook that changes something") + changes.min(budget("confirmed"));
        assert!(questions(calls) <= limit, "{name}: {calls:?}");
    }
}

#[test]
fn fifty_related_applications_cost_a_hook_hardly_more_than_one() {
    let model = Model::with_cluster(PRESENT, 1);
    for number in 0..50 {
        model.deploy_consumer_without_unit(&format!("c{number}"));
    }
    model.wait(&["--idle"]);
    let say = |word: &str| {
        let set = format!("for r in $(relation-ids client); do relation-set -r $r word={word}; done");
        model.run(&["exec", "--unit", "easyrsa/0", "--", &set]);
        model.wait(&["--idle"]);
    };
    // What was written last is looked at by the first hook after it.
    say("a");
    let one = runs_of(&model, || say("b"));
    let limit = budget("certificates-relation-changed") + budget("more for fifty applications");
    assert!(most(&one) <= limit, "{one:?}");
    forget_status(&model);
    let full = runs_of(&model, || drop(model.run(&["lab", "update-status", "etcd"])));
    assert!(most(&full) <= budget("update-status full") + budget("more for fifty applications"), "{full:?}");
}

/// Everything that memory answers is asked of Juju as well; a difference fails the hook.
fn every_remembered_answer_is_jujus(kind: Kind) {
    let charm = verifying_charm();
    let model = Model::with_quick_retries(kind);
    model.deploy_easyrsa();
    model.deploy_etcd_from(&charm.path().join("etcd.charm"), 3, &[]);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(3);
    model.deploy_consumer("first");
    model.deploy_consumer("second");
    model.wait(&["--idle"]);
    assert_at_rest(&model);
    model.run(&["config", "etcd", "port=3379"]);
    model.run(&["add-unit", "etcd"]);
    model.settle(4);
    assert_at_rest(&model);
    model.run(&["remove-application", "second", "--no-prompt"]);
    model.remove_units(&["etcd/1"], 3);
    assert_at_rest(&model);
    model.run(&["lab", "kill-hook", "etcd/2", "--call", "6"]);
    model.run(&["config", "etcd", "port=2379"]);
    model.settle(3);
    model.run(&["lab", "leader", "etcd/3"]);
    model.wait(&["etcd", "--idle"]);
    model.run(&["lab", "reboot", "etcd/2"]);
    model.settle(3);
    model.run(&["remove-relation", "etcd", "easyrsa"]);
    model.wait(&["etcd", "--idle"]);
    integrate_again(&model);
    model.settle(3);
    assert_at_rest(&model);
    model.assert_no_hook_failed();
    let log = model.run(&["debug-log", "--replay"]);
    assert!(!log.contains("does not hold"), "a databag was not as it was remembered");
}

/// The authority's side of the relation may still be ending.
fn integrate_again(model: &Model) {
    let integrate = || model.attempt(&["integrate", "etcd", "easyrsa"]).status.success();
    wait_until("the relation's end", Duration::from_secs(60), integrate);
}

#[test]
fn every_remembered_answer_is_jujus_2_9() {
    every_remembered_answer_is_jujus(OLD);
}

#[test]
fn every_remembered_answer_is_jujus_3_6() {
    every_remembered_answer_is_jujus(PRESENT);
}

#[test]
fn every_remembered_answer_is_jujus_4_0() {
    every_remembered_answer_is_jujus(COMING);
}

/// While hooks are due an answer may be older than Juju's; once all have run, none is.
fn assert_at_rest(model: &Model) {
    model.wait(&["--idle"]);
    forget_status(model);
    let older = |log: &str| log.lines().filter(|line| line.contains("is older than Juju's answer")).count();
    let before = older(&model.run(&["debug-log", "--replay"]));
    model.run(&["lab", "update-status", "etcd"]);
    let log = model.run(&["debug-log", "--replay"]);
    assert_eq!(older(&log), before, "{}", model.story());
}

/// The packed charm with the file in it that has every remembered answer confirmed.
fn verifying_charm() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("etcd.charm");
    std::fs::copy(given("ETCD_CHARM"), &path).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut archive = zip::ZipWriter::new_append(file).unwrap();
    archive.start_file("verify-memory", zip::write::SimpleFileOptions::default()).unwrap();
    archive.finish().unwrap();
    directory
}
