//! The hook tools as a charm meets them.

use super::support::Lab;

#[test]
fn tools_answer_as_jujus_do() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "2", &[]);
    let rows: &[(&str, &str)] = &[
        ("config-get word", "hello\n"),
        ("config-get number", "2e+06\n"),
        ("config-get --format json number", "2000000\n"),
        ("config-get nothing --format=json; echo $?", "null\n0\n"),
        ("config-get --all word; echo $?", "ERROR cannot use argument --all together with key \"word\"\n2\n"),
        ("relation-ids cluster --format json", "[\"cluster:0\"]\n"),
        ("relation-ids; echo $?", "ERROR no endpoint name specified\n2\n"),
        ("relation-list -r anything:0", "web/1\n"),
        ("relation-list -r 9; echo $?", "ERROR invalid value \"9\" for option -r: relation not found\n2\n"),
        ("relation-get -r 0; echo $?", "ERROR no unit or application specified\n2\n"),
        ("relation-get -r 0 nokey web/1 --format json", "null\n"),
        ("relation-get -r 0 - web; echo $?", "ERROR expected unit name, got application name \"web\"\n2\n"),
        ("is-leader --format json", "true\n"),
        ("state-get missing --format json", "\"\"\n"),
        ("state-get --format json", "null\n"),
        (
            "status-set error x; echo $?",
            "ERROR invalid status \"error\", expected one of [maintenance blocked waiting active]\n2\n",
        ),
        ("action-get; echo $?", "ERROR not running an action\n1\n"),
        ("network-get cluster --bind-address", "10.213.0.10\n"),
        ("network-get other; echo $?", "ERROR no network config found for binding \"other\"\n1\n"),
        ("echo 'k: 1.50' | relation-set -r 0 --file -; relation-get -r 0 k web/0", "1.50\n"),
        ("config-get word -o out; cat out", "hello\n"),
        ("env -u JUJU_CONTEXT_ID config-get; echo $?", "ERROR JUJU_CONTEXT_ID not set\n1\n"),
        ("JUJU_CONTEXT_ID=old config-get; echo $?", "ERROR bad request: wrong context ID; got \"old\"\n1\n"),
        ("secret-get; echo $?", "ERROR require either a secret URI or label\n2\n"),
        ("echo \"[${HOME-unset}] $PWD\"", "[unset] /var/lib/juju/agents/unit-web-0/charm\n"),
    ];
    for (script, expected) in rows {
        assert_eq!(lab.exec("web/0", script), *expected, "{script}");
    }
    assert_eq!(lab.exec("web/1", "relation-get -r 0 k web/0"), "1.50\n");
}

#[test]
fn own_writes_are_seen_by_their_hook_and_by_others_only_after_it() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "2", &[]);
    let script = "relation-set -r 0 a=1 b=2; relation-set -r 0 b=; relation-get -r 0 a web/0; relation-get -r 0 b web/0; exit 1";
    assert_eq!(lab.exec("web/0", script), "1\n");
    assert_eq!(lab.exec("web/1", "relation-get -r 0 a web/0"), "", "a failed run writes nothing");
    assert_eq!(lab.exec("web/1", "relation-set -r 0 --app x=1"), "ERROR cannot write relation settings\n");
    lab.exec("web/0", "relation-set -r 0 --app x=1");
    assert_eq!(lab.exec("web/1", "relation-get -r 0 --app x web"), "1\n");
}

#[test]
fn each_juju_has_its_own_tools_bags_and_results() {
    for (version, leader_get, secrets, private, code) in [
        ("2.9", true, false, true, "Code"),
        ("3.6", true, true, true, "return-code"),
        ("4.0", false, true, false, "return-code"),
    ] {
        let lab = Lab::new(version);
        lab.deploy("web", "2", &[]);
        let has = |tool: &str| !lab.exec("web/0", &format!("command -v {tool}")).is_empty();
        assert_eq!(
            (has("leader-get"), has("secret-get"), has("unit-get")),
            (leader_get, secrets, true),
            "{version}"
        );
        let bag = lab.exec("web/0", "relation-get -r 0 - web/1");
        assert_eq!(bag.contains("private-address"), private, "{version}: {bag}");
        let results = lab.must(&["run", "web/0", "act", "--format", "json"]);
        assert!(results.contains(&format!("\"{code}\":")), "{version}: {results}");
        lab.exec("web/0", "relation-set -r 0 ingress-address=1.2.3.4");
        let written = lab.exec("web/1", "relation-get -r 0 ingress-address web/0") == "1.2.3.4\n";
        assert_eq!(written, private, "{version}");
        let told = lab.hooks("web/1").contains(&"leader-settings-changed".to_owned());
        assert_eq!(told, leader_get, "{version}");
    }
}

#[test]
fn actions_keep_what_they_set_and_fail_as_they_say() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.on("web/0", "act", "action-set size.is=$(action-get size) b=2; action-log half; action-fail 'not today'; echo out; echo err >&2");
    let result = lab.run(&["run", "web/0", "act", "--format", "json"]).1;
    for part in
        ["\"failed\"", "not today", "\"is\":\"3\"", "\"stdout\":\"out\\n\"", "\"stderr\":\"err\\n\"", "half"]
    {
        assert!(result.contains(part), "{part} is missing in {result}");
    }
    lab.on("web/0", "act", "action-fail lost; action-set kept=yes; exit 3");
    let result = lab.run(&["run", "web/0", "act", "--format", "json"]).1;
    assert!(
        result.contains("exit status 3") && result.contains("kept") && !result.contains("lost"),
        "{result}"
    );
    assert!(lab.run(&["run", "web/0", "nothing"]).2.contains("cannot run \"nothing\" action: not defined"));
}

#[test]
fn secrets_are_shared_pinned_and_rotated() {
    let lab = Lab::new("3.6");
    lab.deploy("web", "1", &[]);
    lab.deploy("reader", "1", &[]);
    lab.must(&["integrate", "web:site", "reader:feed"]);
    lab.settle();
    let id = lab.exec("web/0", "secret-add --label door --rotate hourly key=old").trim().to_owned();
    assert!(lab.exec("reader/0", &format!("secret-get {id}")).starts_with("ERROR permission denied"));
    assert_eq!(lab.exec("web/0", &format!("secret-grant {id} -r site:2")), "");
    assert_eq!(lab.exec("reader/0", &format!("secret-get {id} key --format json")), "\"old\"\n");
    lab.hooks("web/0");
    lab.hooks("reader/0");
    lab.exec("web/0", &format!("secret-set {id} key=new"));
    lab.settle();
    assert_eq!(lab.hooks("reader/0"), ["secret-changed"]);
    assert_eq!(
        lab.exec("reader/0", &format!("secret-get {id} key; secret-get {id} key --peek")),
        "old\nnew\n"
    );
    assert_eq!(
        lab.exec("reader/0", &format!("secret-get {id} key --refresh; secret-get {id} key")),
        "new\nnew\n"
    );
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["secret-remove"]);
    lab.must(&["lab", "advance-clock", "3601"]);
    lab.settle();
    assert_eq!(lab.hooks("web/0"), ["secret-rotate"]);
    assert!(
        lab.exec("web/0", "secret-info-get --label door --format json").contains("\"rotation\":\"hourly\"")
    );
}
