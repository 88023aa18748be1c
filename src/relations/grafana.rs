//! Endpoint `grafana`, interface `grafana-dashboard`: the dashboard, filled in for one Prometheus.

use serde_json::{Map, Value};

use super::prometheus;
use super::requests::RequestId;

const TEMPLATE: &str = include_str!("../../templates/grafana-dashboard.json");

/// Where the dashboard's numbers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The application of Prometheus, as Juju calls it.
    pub application: String,
    /// What it was asked.
    pub request: RequestId,
}

/// The request, but for its id; nothing if the template cannot be filled in, which a test excludes.
pub fn request(application: &str, source: &Source) -> Option<Map<String, Value>> {
    // Prometheus' charm gives Grafana its data source under this name.
    let datasource = format!("{} - Juju generated source", source.application);
    let text = TEMPLATE
        .replace("<datasource>", &datasource)
        .replace("<job>", &prometheus::job(source.request))
        .replace("<application>", application);
    let dashboard: Value = serde_json::from_str(&text).ok()?;
    Some(Map::from_iter([("name".to_owned(), "etcd".into()), ("dashboard".to_owned(), dashboard)]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn dashboard() -> Value {
        let request_id = RequestId::of("m", "etcd", &"prometheus:7".parse().unwrap());
        let source = Source { application: "watch".into(), request: request_id };
        Value::Object(request("main", &source).unwrap())["dashboard"].clone()
    }

    #[test]
    fn it_is_filled_in_everywhere() {
        let filled = dashboard();
        assert_eq!(filled["title"], "etcd: main");
        let text = filled.to_string();
        assert!(!text.contains("<datasource>") && !text.contains("<job>") && !text.contains("<application>"));
        let job = prometheus::job(RequestId::of("m", "etcd", &"prometheus:7".parse().unwrap()));
        for panel in filled["panels"].as_array().unwrap() {
            assert_eq!(panel["datasource"], "watch - Juju generated source", "{panel}");
            for target in panel["targets"].as_array().unwrap() {
                assert!(target["expr"].as_str().unwrap().contains(&format!("job=\"{job}\"")), "{panel}");
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
