//! Reference pages that are made from what Juju reads, so that the two cannot differ. `scripts/reference` writes them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use etcd_charm::yaml;
use serde_json::{Map, Value};

/// Compares a page of docs/reference with what it must be, or writes it for `scripts/reference`.
pub fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "docs/reference/{name} is not up to date: run scripts/reference");
}

#[test]
fn options_are_those_of_config_yaml() {
    let config: Value = yaml::from_str(include_str!("../../config.yaml")).unwrap();
    let mut page = "# Options\n\nMade from `config.yaml` by `scripts/reference`. \
                    [How to change them](../how-to/change-options.md), and [the answers to wrong values](bad-input.md).\n\n\
                    | option | type | default | meaning |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (name, option) in config["options"].as_object().unwrap() {
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {} |",
            option["type"].as_str().unwrap(),
            default(option),
            cell(option)
        );
    }
    check("options.md", &page);
}

#[test]
fn actions_are_those_of_actions_yaml() {
    let actions: Map<String, Value> = yaml::from_str(include_str!("../../actions.yaml")).unwrap();
    let mut page = "# Actions\n\nMade from `actions.yaml` by `scripts/reference`. `juju run UNIT ACTION \
                    [PARAMETER=VALUE…]`; an action that fails says why and what to do.\n"
        .to_owned();
    for (name, action) in &actions {
        let _ = writeln!(page, "\n## {name}\n\n{}", cell(action));
        let parameters = action["params"].as_object().cloned().unwrap_or_default();
        if !parameters.is_empty() {
            page += "\n| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n";
        }
        for (name, parameter) in &parameters {
            let _ = writeln!(
                page,
                "| `{name}` | {} | {} | {} |",
                kind(parameter),
                default(parameter),
                cell(parameter)
            );
        }
    }
    check("actions.md", &page);
}

fn kind(parameter: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (&parameter["type"], &parameter["enum"]) {
        (_, Value::Array(values)) => values.iter().map(text).collect::<Vec<_>>().join(" or "),
        (Value::Array(types), _) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        (one, _) => text(one),
    }
}

fn default(of: &Value) -> String {
    match &of["default"] {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A description on one line, harmless in a table.
fn cell(of: &Value) -> String {
    let words: Vec<&str> = of["description"].as_str().unwrap().split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
