//! What operators and other charms say comes back in statuses and messages: never so that Juju cannot take it.

use crate::PRESENT;
use crate::sim::Model;

#[test]
fn a_value_of_any_size_and_form_is_shown_in_one_short_line() {
    let model = Model::with_cluster(PRESENT, 1);
    // With the words around it longer than an argument of a program can be.
    let value = format!("3.5\n{}", "9".repeat(131_000));
    model.run(&["config", "etcd", &format!("channel={value}")]);
    model.wait(&["etcd", "--status", "blocked", "--message", "channel: ", "--idle"]);
    let told = model.shown("etcd/0");
    assert!(told.contains("9999…") && !told.contains('\n') && told.len() < 1100, "{told}");
    model.run(&["config", "etcd", "--reset", "channel"]);
    model.settle(1);

    // The parser's complaint repeats the answer.
    let id = "$(relation-ids client)";
    let say = format!(
        "python3 -c 'import json; print(json.dumps({{\"certificates\": json.dumps(\"x\\n\" * 70000)}}))' | \
         relation-set -r {id} --app --file -"
    );
    model.run(&["exec", "--unit", "easyrsa/0", "--", &say]);
    model.wait(&[
        "etcd",
        "--status",
        "blocked",
        "--message",
        "Certificate from easyrsa cannot be used",
        "--idle",
    ]);
    let told = model.shown("etcd/0");
    assert!(!told.contains('\n') && told.len() < 1100, "{told}");
    model.run(&["exec", "--unit", "easyrsa/0", "--", &format!("relation-set -r {id} --app certificates=")]);
    model.settle(1);
    model.assert_no_hook_failed();
}
