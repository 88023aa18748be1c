//! Endpoint `grafana`, interface `grafana-dashboard`: the dashboard, filled in for one Prometheus.

use serde_json::{Map, Value};

use super::prometheus::Origin;

const TEMPLATE: &str = include_str!("../../templates/grafana-dashboard.json");

/// The request, but for its id; nothing if the template cannot be filled in, which a test excludes. `prometheus` is the
/// application that was asked for the numbers, as Juju calls it here; Grafana knows one of another model by the name that it
/// has there, which nobody tells.
pub fn request(origin: Origin<'_>, prometheus: &str) -> Option<Map<String, Value>> {
    // Prometheus' charm gives Grafana its data source under this name.
    let datasource = format!("{prometheus} - Juju generated source");
    let text = TEMPLATE
        .replace("<datasource>", &datasource)
        .replace("<model>", origin.model)
        .replace("<application>", origin.application);
    let dashboard: Value = serde_json::from_str(&text).ok()?;
    Some(Map::from_iter([("name".to_owned(), "etcd".into()), ("dashboard".to_owned(), dashboard)]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn dashboard() -> Value {
        let origin = Origin { model: "6a5d", application: "main" };
        Value::Object(request(origin, "watch").unwrap())["dashboard"].clone()
    }

    #[test]
    fn it_is_filled_in_everywhere() {
        let filled = dashboard();
        assert_eq!(filled["title"], "etcd: main");
        let text = filled.to_string();
        assert!(
            !text.contains("<datasource>") && !text.contains("<model>") && !text.contains("<application>")
        );
        let selected = "{juju_model_uuid=\"6a5d\",juju_application=\"main\"";
        for panel in filled["panels"].as_array().unwrap() {
            assert_eq!(panel["datasource"], "watch - Juju generated source", "{panel}");
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                assert_eq!(expression.matches('{').count(), expression.matches(selected).count(), "{panel}");
            }
        }
    }

    #[test]
    fn panels_have_their_own_numbers_and_places() {
        let filled = dashboard();
        let panels = filled["panels"].as_array().unwrap();
        let numbers: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), panels.len());
        let mut taken = BTreeSet::new();
        for panel in panels {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{panel}");
            for y in at("y")..at("y") + at("h") {
                for x in at("x")..at("x") + at("w") {
                    assert!(taken.insert((x, y)), "two panels at {x}, {y}: {panel}");
                }
            }
        }
    }
}
