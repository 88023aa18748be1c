//! Which hooks run, in which order, told in whose name.

use super::support::{Lab, charm};

#[test]
fn a_unit_comes_to_life_in_jujus_order() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &["--storage", "disk=64M", "--storage", "files=1G"]);
    assert_eq!(
        lab.hooks("web/0"),
        [
            "disk-storage-attached disk/0 block",
            "files-storage-attached files/1 filesystem",
            "install",
            "cluster-relation-created web",
            "leader-elected",
            "config-changed",
            "start"
        ]
    );
    assert_eq!(lab.workload("web/0"), "unknown ");
    lab.must(&["add-unit", "web"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["cluster-relation-joined web/1", "cluster-relation-changed web/1"]);
    assert_eq!(
        lab.hooks("web/1"),
        [
            "disk-storage-attached disk/2 block",
            "files-storage-attached files/3 filesystem",
            "install",
            "cluster-relation-created web",
            "leader-settings-changed",
            "config-changed",
            "start",
            "cluster-relation-joined web/0",
            "cluster-relation-changed web/0"
        ]
    );
}

#[test]
fn no_relation_exists_during_install_and_all_at_once_after_it() {
    let lab = Lab::new("3.6");
    lab.deploy(
        "web",
        "1",
        &["--config", "install-script=relation-ids cluster > /root/seen; is-leader >> /root/seen"],
    );
    assert_eq!(lab.exec("web/0", "cat /root/seen"), "True\n");
}

#[test]
fn a_relation_comes_and_goes_on_both_sides() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "2", &[]);
    lab.deploy("reader", "1", &[]);
    lab.hooks("web/0");
    lab.hooks("reader/0");
    lab.must(&["integrate", "web:site", "reader:feed"]);
    lab.settle();
    assert_eq!(
        lab.hooks("web/0"),
        ["site-relation-created reader", "site-relation-joined reader/0", "site-relation-changed reader/0"]
    );
    let joined = lab.hooks("reader/0");
    assert_eq!(joined.len(), 5, "{joined:?}");
    for pair in ["web/0", "web/1"] {
        let at = joined.iter().position(|hook| *hook == format!("feed-relation-joined {pair}")).unwrap();
        assert_eq!(joined[at + 1], format!("feed-relation-changed {pair}"));
    }

    lab.exec("web/0", "relation-set -r site:2 page=1; relation-set -r site:2 --app all=yes");
    lab.settle();
    let changed = lab.hooks("reader/0");
    assert_eq!(changed, ["feed-relation-changed web", "feed-relation-changed web/0"]);
    assert_eq!(lab.hooks("web/0"), [""; 0], "own bags tell nobody at home");
    lab.exec("web/0", "relation-set -r site:2 page=1");
    lab.settle();
    assert_eq!(lab.hooks("reader/0"), [""; 0], "equal values are no change");

    lab.on("reader/0", "feed-relation-broken", "relation-ids feed > /root/ids; relation-list -r 2 > /root/list; relation-get -r 2 page web/0 > /root/page");
    lab.must(&["remove-relation", "web", "reader"]);
    lab.settle();
    assert_eq!(
        lab.hooks("web/0"),
        ["site-relation-departed reader/0 (reader/0 leaves)", "site-relation-broken reader"]
    );
    assert_eq!(
        lab.hooks("reader/0"),
        [
            "feed-relation-departed web/0 (web/0 leaves)",
            "feed-relation-departed web/1 (web/1 leaves)",
            "feed-relation-broken web"
        ]
    );
    assert_eq!(lab.exec("reader/0", "cat /root/ids /root/list /root/page"), "1\n");
    let again = lab.must(&["integrate", "web:site", "reader:feed"]);
    assert_eq!(again, "");
    lab.settle();
    assert_eq!(lab.exec("reader/0", "relation-ids feed"), "feed:3\n");
}

#[test]
fn a_unit_leaves_with_its_last_hooks_and_the_others_are_told() {
    for (version, told) in [("2.9", true), ("3.6", true), ("4.0", false)] {
        let lab = Lab::new(version);
        lab.deploy("web", "2", &["--storage", "disk=64M"]);
        lab.hooks("web/0");
        lab.hooks("web/1");
        lab.must(&["remove-unit", "web/1", "--no-prompt"]);
        lab.settle();
        let log = lab.run(&["debug-log", "--replay", "--no-tail", "--include", "unit-web-1"]).1;
        let ran: Vec<&str> =
            log.lines().filter_map(|line| line.split("ran \"").nth(1)?.split('"').next()).collect();
        let last = &ran[ran.len() - 4..];
        assert_eq!(
            last,
            ["disk-storage-detaching", "cluster-relation-departed", "stop", "remove"],
            "{version}"
        );
        let expected: &[&str] = if told { &["cluster-relation-departed web/1 (web/1 leaves)"] } else { &[] };
        assert_eq!(lab.hooks("web/0"), expected, "{version}");
        let listed = if told { "" } else { "web/1\n" };
        assert_eq!(lab.exec("web/0", "relation-list -r 0"), listed, "{version}");
        let storage = lab.must(&["storage", "--format", "json"]);
        assert!(storage.contains("detached"), "{storage}");
    }
}

#[test]
fn a_new_charm_and_a_new_resource_run_upgrade_charm_and_config_changed() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.hooks("web/0");
    assert!(lab.exec("web/0", "resource-get note").starts_with("ERROR could not download resource: "));
    let note = lab.file("note", "first");
    let (code, _, stderr) = lab.run(&["attach-resource", "web", &format!("note={}", note.display())]);
    assert!(code == 1 && stderr.ends_with("/note\", expected \".txt\"\n"), "{code} {stderr}");
    let note = lab.file("note.txt", "first");
    lab.must(&["attach-resource", "web", &format!("note={}", note.display())]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["upgrade-charm", "config-changed"]);
    let path = lab.exec("web/0", "resource-get note");
    assert_eq!(path, "/var/lib/juju/agents/unit-web-0/resources/note.txt");
    assert_eq!(lab.exec("web/0", "cat $(resource-get note)"), "first");
    lab.exec("web/0", "touch own-file");
    lab.must(&["refresh", "web", "--path", &charm("recorder")]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["upgrade-charm", "config-changed"]);
    assert_eq!(lab.exec("web/0", "ls own-file"), "own-file\n");
}

#[test]
fn a_subordinate_lives_and_goes_with_its_relation() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "2", &[]);
    lab.must(&["deploy", &charm("follower")]);
    lab.must(&["integrate", "web", "follower"]);
    lab.settle();
    // Which follower goes with which unit is a race.
    let principal = |follower: &str| lab.exec(follower, "echo $JUJU_PRINCIPAL_UNIT");
    let (with_0, with_1) = if principal("follower/0") == "web/0\n" {
        ("follower/0", "follower/1")
    } else {
        ("follower/1", "follower/0")
    };
    assert_eq!(
        lab.exec(with_1, "echo $JUJU_MACHINE_ID $JUJU_PRINCIPAL_UNIT; relation-list -r 1"),
        "1 web/1\nweb/1\n"
    );
    // Both units of a machine write to the same file; the principal's hooks are those of its own endpoint.
    let mut hooks = lab.hooks("web/0");
    hooks.retain(|hook| hook.starts_with("juju-info-"));
    let joined = format!("juju-info-relation-joined {with_0}");
    let changed = format!("juju-info-relation-changed {with_0}");
    assert_eq!(hooks, ["juju-info-relation-created follower".to_owned(), joined, changed]);
    lab.must(&["remove-unit", "web/1", "--no-prompt"]);
    lab.settle();
    assert!(lab.run(&["show-unit", with_1]).2.contains("not found"));
    lab.must(&["remove-relation", "web", "follower"]);
    lab.settle();
    assert!(lab.run(&["show-unit", with_0]).2.contains("not found"));
    assert_eq!(lab.status("applications.web.units.web/0.machine"), "0");
}
