//! What breaks, and how it comes back.

use super::support::Lab;

#[test]
fn a_failed_hook_changes_nothing_and_runs_again() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "hook-retry-initial=10ms", "automatically-retry-hooks=false"]);
    lab.hooks("web/0");
    let script =
        "state-set tries=x$(state-get tries); open-port 80; status-set blocked trying; leader-set kept=yes
        [ -f /root/good ] || { touch /root/good; exit 4; }";
    lab.on("web/0", "config-changed", script);
    lab.must(&["config", "web", "word=other"]);
    lab.must(&["lab", "wait", "web", "--status", "error", "--timeout", "20s"]);
    assert_eq!(lab.workload("web/0"), "error hook failed: \"config-changed\"");
    assert_eq!(lab.exec("web/0", "state-get tries; opened-ports; leader-get kept"), "yes\n");
    let result = lab.must(&["run", "web/0", "act", "--format", "json"]);
    assert!(result.contains("completed"), "actions run in error: {result}");
    lab.must(&["model-config", "automatically-retry-hooks=true"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed", "actions/act", "config-changed"]);
    assert_eq!(lab.exec("web/0", "state-get tries; opened-ports"), "x\n80/tcp\n");
    assert_eq!(lab.workload("web/0"), "blocked trying");
}

#[test]
fn retries_can_be_switched_off_and_asked_for() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "automatically-retry-hooks=false"]);
    lab.on("web/0", "config-changed", "[ -f /root/good ] || exit 1");
    lab.hooks("web/0");
    lab.must(&["config", "web", "word=other"]);
    lab.must(&["lab", "wait", "web", "--status", "error", "--idle", "--timeout", "20s"]);
    lab.must(&["resolved", "web/0"]);
    lab.must(&["lab", "wait", "web", "--status", "error", "--idle", "--timeout", "20s"]);
    assert_eq!(lab.hooks("web/0"), ["config-changed", "config-changed"]);
    lab.exec("web/0", "touch /root/good");
    lab.must(&["resolved", "web/0"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed"]);
    let (code, _, stderr) = lab.run(&["resolved", "web/0"]);
    assert_eq!((code, stderr.contains("not in an error state")), (1, true), "{stderr}");
}

#[test]
fn a_hook_killed_at_a_tool_call_fails_before_or_after_its_effect() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "automatically-retry-hooks=false"]);
    lab.on("web/0", "config-changed", "application-version-set $(config-get word); sleep 100");
    for (word, after, version) in [("one", false, "null"), ("two", true, "two")] {
        let when: &[&str] = if after { &["--after"] } else { &[] };
        lab.must(&[&["lab", "kill-hook", "web/0", "--hook", "config-changed", "--call", "2"], when].concat());
        lab.must(&["config", "web", &format!("word={word}")]);
        lab.must(&["lab", "wait", "web", "--status", "error", "--idle", "--timeout", "20s"]);
        assert_eq!(lab.status("applications.web.version"), version);
        assert_eq!(lab.exec("web/0", "pgrep -x sleep"), "");
        lab.must(&["resolved", "web/0", "--no-retry"]);
        lab.settle();
    }
}

#[test]
fn every_hook_is_killed_at_every_call_until_hooks_are_spared() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "hook-retry-initial=10ms", "hook-retry-max=10ms"]);
    lab.hooks("web/0");
    lab.on("web/0", "config-changed", "config-get word; config-get word; config-get word");
    lab.must(&["lab", "kill-hook", "web/0", "--hook", "config-changed", "--step", "1", "--each", "--after"]);
    for word in ["one", "two"] {
        lab.must(&["config", "web", &format!("word={word}")]);
        lab.settle();
        let hooks = lab.hooks("web/0");
        assert!(hooks.len() >= 4 && hooks.iter().all(|hook| hook == "config-changed"), "{word}: {hooks:?}");
    }
    lab.must(&["lab", "spare-hooks", "web/0"]);
    lab.must(&["config", "web", "word=three"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed"]);
}

#[test]
fn a_hook_killed_by_a_stranger_runs_again_at_once() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.hooks("web/0");
    lab.on("web/0", "config-changed", "[ -f /root/once ] || { touch /root/once; kill -KILL $$; }");
    lab.must(&["config", "web", "word=other"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed", "config-changed"]);
}

#[test]
fn a_reboot_runs_start_and_a_power_cut_fails_the_hook() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "hook-retry-initial=100ms"]);
    lab.hooks("web/0");
    lab.must(&["lab", "reboot", "web/0"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["start"]);
    lab.on(
        "web/0",
        "config-changed",
        "[ -f /root/once ] || { touch /root/once; juju-reboot --now; sleep 100; }",
    );
    lab.must(&["config", "web", "word=other"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed", "config-changed", "start"]);
    lab.on(
        "web/0",
        "config-changed",
        "[ -f /root/twice ] || { touch /root/twice; status-set maintenance sleeping; sleep 100; }",
    );
    lab.must(&["config", "web", "word=third"]);
    lab.await_message("web/0", "sleeping");
    lab.must(&["lab", "kill-machine", "web/0"]);
    lab.must(&["lab", "start-machine", "web/0"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed", "config-changed", "start"]);
}

#[test]
fn leadership_is_given_back_or_runs_out() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "3", &[]);
    lab.must(&["model-config", "leadership-lease=60s"]);
    for unit in ["web/1", "web/2"] {
        lab.hooks(unit);
    }
    lab.must(&["remove-unit", "web/0", "--no-prompt"]);
    lab.settle();
    assert_eq!(lab.status("applications.web.units.web/1.leader"), "true");
    assert_eq!(lab.hooks("web/1"), ["leader-elected", "cluster-relation-departed web/0 (web/0 leaves)"]);
    lab.must(&["lab", "kill-machine", "web/1"]);
    assert_eq!(lab.status("applications.web.units.web/1.leader"), "true");
    lab.must(&["lab", "advance-clock", "61"]);
    lab.settle();
    assert_eq!(lab.status("applications.web.units.web/2.leader"), "true");
    assert!(lab.hooks("web/2").contains(&"leader-elected".to_owned()));
    lab.must(&["remove-unit", "web/1", "--no-prompt", "--force"]);
    lab.settle();
    assert_eq!(lab.hooks("web/2"), ["cluster-relation-departed web/1 (web/1 leaves)"]);
}

#[test]
fn a_hook_that_lost_its_controller_is_ended_and_counts_as_failed() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.must(&["model-config", "hook-retry-initial=100ms"]);
    lab.hooks("web/0");
    lab.on(
        "web/0",
        "config-changed",
        "[ -f /root/once ] || { touch /root/once; status-set maintenance sleeping; sleep 1000; }",
    );
    lab.must(&["config", "web", "word=other"]);
    lab.await_message("web/0", "sleeping");
    lab.kill_controller();
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed", "config-changed"]);
    assert_eq!(lab.exec("web/0", "pgrep -x sleep"), "");
}

#[test]
fn a_new_address_is_told_by_config_changed_and_reaches_the_bags() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "2", &[]);
    lab.hooks("web/0");
    lab.hooks("web/1");
    lab.must(&["lab", "set-address", "web/0", "10.213.0.99"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["config-changed"]);
    assert_eq!(lab.hooks("web/1"), ["cluster-relation-changed web/0"]);
    assert_eq!(lab.exec("web/1", "relation-get -r 0 ingress-address web/0"), "10.213.0.99\n");
    assert_eq!(lab.exec("web/0", "unit-get private-address"), "10.213.0.99\n");
}

#[test]
fn a_hidden_relation_is_listed_and_neither_read_nor_written() {
    for (version, words) in [("3.6", "permission denied"), ("4.0", "relation not found")] {
        let lab = Lab::new(version);
        lab.deploy("web", "2", &[]);
        lab.exec("web/1", "relation-set -r 0 a=1");
        lab.must(&["lab", "hide-relation", "cluster:0"]);
        assert_eq!(lab.exec("web/0", "relation-ids cluster; relation-list -r 0"), "cluster:0\nweb/1\n");
        let refused = format!("ERROR {words}\n1\n");
        for unit in ["web/0", "web/1"] {
            assert_eq!(lab.exec("web/0", &format!("relation-get -r 0 - {unit}; echo $?")), refused);
        }
        lab.must(&["model-config", "automatically-retry-hooks=false"]);
        lab.on("web/0", "config-changed", "relation-set -r 0 b=2");
        lab.must(&["config", "web", "word=other"]);
        lab.must(&["lab", "wait", "web/0", "--status", "error", "--timeout", "20s"]);
        lab.must(&["lab", "reveal-relation", "cluster:0"]);
        lab.must(&["resolved", "web/0"]);
        lab.settle();
        assert_eq!(lab.exec("web/0", "relation-get -r 0 a web/1"), "1\n");
        assert_eq!(lab.exec("web/1", "relation-get -r 0 b web/0"), "2\n");
    }
}
