//! Endpoint `prometheus`, interface `prometheus-manual`: one scrape job over all members that serve, with what it takes to
//! get in.
//!
//! The other side writes the PEM to files and puts their names into a `tls_config` that the job must bring with it, and a
//! number behind the job's name. Earlier revisions of it read requests from databags of units and answer them, later ones
//! read jobs from the application's databag: both are given, and none reads both. Source: `interface-prometheus-manual`.

use serde_json::{Map, Value, json};

use super::certificates::Pair;
use super::db::{ClientData, sorted};
use super::{Changes, ended};

/// To be replaced by the other side.
const PLACEHOLDER: &str = "to-be-replaced";

const CERTIFICATE: &str = "client_cert";
const KEY: &str = "client_key";

/// In the application's databag.
const JOB: &str = "job_etcd";

/// Whose numbers they are: labels on everything that is scraped, named as other charms name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// UUID of the model; empty if Juju does not say.
    pub model: &'a str,
    /// This application.
    pub application: &'a str,
}

/// To the application's databag: the request, whoever has asked it.
pub fn job(request: Map<String, Value>) -> Changes {
    Changes::from([(JOB.to_owned(), Some(Value::Object(request).to_string()))])
}

/// The request, but for its id.
pub fn request(data: &ClientData, origin: Origin<'_>) -> Map<String, Value> {
    let address = |url: String| url.split_once("://").map_or(url.clone(), |(_, address)| address.to_owned());
    let targets: Vec<String> = sorted(&data.endpoints).into_iter().map(address).collect();
    let job = json!({
        "scheme": "https",
        "metrics_path": "/metrics",
        "static_configs": [{
            "targets": targets,
            "labels": { "juju_model_uuid": origin.model, "juju_application": origin.application },
        }],
        "tls_config": { "ca_file": PLACEHOLDER, "cert_file": PLACEHOLDER, "key_file": PLACEHOLDER },
    });
    Map::from_iter([
        ("job_name".to_owned(), "etcd".into()),
        ("job_data".to_owned(), job),
        ("ca_cert".to_owned(), ended(&data.ca).into()),
        (CERTIFICATE.to_owned(), ended(&data.certificate).into()),
        (KEY.to_owned(), ended(&data.key).into()),
    ])
}

/// The client pair in a request.
pub fn pair(request: &Map<String, Value>) -> Option<Pair> {
    let text = |key| request.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    Some(Pair { certificate: text(CERTIFICATE)?, key: text(KEY)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_server_is_a_target_by_its_address() {
        let data = ClientData {
            ca: "CA".into(),
            certificate: "CERT".into(),
            key: "KEY".into(),
            endpoints: vec!["https://[fd00::2]:2379".into(), "https://10.0.0.1:2379".into()],
            peers: BTreeMap::new(),
            version: "3.5.16".parse().unwrap(),
        };
        let request = request(&data, Origin { model: "6a5d", application: "etcd" });
        let shared: Value =
            serde_json::from_str(job(request.clone())["job_etcd"].as_deref().unwrap()).unwrap();
        assert_eq!(shared, Value::Object(request.clone()));
        let handed = Pair { certificate: "CERT\n".into(), key: "KEY\n".into() };
        assert_eq!(pair(&request), Some(handed));
        let request = Value::Object(request);
        assert_eq!(
            request["job_data"]["static_configs"][0]["targets"],
            json!(["10.0.0.1:2379", "[fd00::2]:2379"])
        );
        assert_eq!(request["job_data"]["scheme"], "https");
        let replaced: Vec<&String> = request["job_data"]["tls_config"].as_object().unwrap().keys().collect();
        assert_eq!(replaced, ["ca_file", "cert_file", "key_file"]);
        assert_eq!((&request["ca_cert"], &request["client_key"]), (&"CA\n".into(), &"KEY\n".into()));
    }
}
