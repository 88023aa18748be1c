//! Requests as the monitoring charms take them (`prometheus-manual`, `grafana-dashboard`): `request_ID` in the databag of
//! the unit that asks, `response_ID` in the databags of those that answer. The values are JSON.
//!
//! The id depends on the relation alone: whoever leads asks under the same one, and nobody has to remember it.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Changes;
use crate::json;
use crate::juju::{Databag, RelationId};

const REQUEST: &str = "request_";
const RESPONSE: &str = "response_";

/// What a request is known by, a UUID: the other side appends it to what it makes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl RequestId {
    /// For everything that `application` of the model with this UUID asks on `relation`.
    pub fn of(model: &str, application: &str, relation: &RelationId) -> RequestId {
        let digest = Sha256::digest(format!("etcd-charm request\n{model}\n{application}\n{relation}"));
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(byte, digit)| *byte = digit);
        RequestId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// To this unit's databag: this request and no other one. Those of other ids are of an earlier charm.
pub fn ask(published: &Databag, id: RequestId, mut request: Map<String, Value>) -> Changes {
    request.insert("request_id".to_owned(), id.to_string().into());
    let own = (format!("{REQUEST}{id}"), Some(Value::Object(request).to_string()));
    withdraw(published).into_iter().chain([own]).collect()
}

/// The request of this id that stands in this unit's databag.
pub fn asked(published: &Databag, id: RequestId) -> Option<Map<String, Value>> {
    serde_json::from_str(published.get(&format!("{REQUEST}{id}"))?).ok()
}

/// To this unit's databag: no request at all.
pub fn withdraw(published: &Databag) -> Changes {
    published.keys().filter(|key| key.starts_with(REQUEST)).map(|key| (key.clone(), None)).collect()
}

/// Why one of those asked does not do it, if one says so.
pub fn refusal(said: &[Databag], id: RequestId) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        success: bool,
        #[serde(default)]
        reason: Option<String>,
    }
    let answers = said.iter().filter_map(|bag| bag.get(&format!("{RESPONSE}{id}")));
    let mut refusals = answers.filter_map(|text| match serde_json::from_str::<Answer>(text) {
        Ok(answer) if answer.success => None,
        Ok(answer) => Some(answer.reason.unwrap_or_else(|| "no reason given".to_owned())),
        Err(error) => Some(format!("the answer cannot be read: {}", json::why(&error))),
    });
    refusals.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(relation: &str) -> RequestId {
        RequestId::of("6a5c", "etcd", &relation.parse().unwrap())
    }

    fn bag(key: &str, value: &str) -> Databag {
        Databag::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn an_id_is_of_its_relation_and_never_another() {
        assert_eq!(id("prometheus:7"), id("prometheus:7"));
        assert_ne!(id("prometheus:7"), id("prometheus:8"));
        assert_ne!(id("prometheus:7"), RequestId::of("6a5d", "etcd", &"prometheus:7".parse().unwrap()));
        // It names jobs and files elsewhere: it must not change from one revision of this charm to the next.
        assert_eq!(id("prometheus:7").to_string(), "bbf8c399-5e9a-8a56-a658-1b53add0af5c");
    }

    #[test]
    fn one_request_stands_and_foreign_keys_stay() {
        let id = id("grafana:3");
        let mut published = bag("request_9d1c", "{}");
        published.insert("ingress-address".into(), "10.0.0.1".into());
        let changes = ask(&published, id, Map::from_iter([("name".to_owned(), "etcd".into())]));
        assert_eq!(changes["request_9d1c"], None);
        let own: Value = serde_json::from_str(changes[&format!("request_{id}")].as_deref().unwrap()).unwrap();
        assert_eq!((&own["name"], &own["request_id"]), (&"etcd".into(), &id.to_string().into()));
        assert_eq!(changes.len(), 2);
        let written = changes.clone().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        assert_eq!(asked(&written, id).map(Value::Object), Some(own));
        assert_eq!(asked(&published, id), None);
        assert_eq!(withdraw(&published), Changes::from([("request_9d1c".to_owned(), None)]));
    }

    #[test]
    fn a_refusal_has_its_reason() {
        let id = id("prometheus:7");
        let said = |text: &str| refusal(&[Databag::new(), bag(&format!("response_{id}"), text)], id);
        assert_eq!(said(r#"{"success": true, "reason": null, "request_id": "x"}"#), None);
        assert_eq!(said(r#"{"success": false, "reason": "full"}"#).as_deref(), Some("full"));
        assert_eq!(said(r#"{"success": false, "reason": null}"#).as_deref(), Some("no reason given"));
        assert!(said("yes").unwrap().starts_with("the answer cannot be read: "));
        assert_eq!(refusal(&[bag("response_other", r#"{"success": false}"#)], id), None);
    }
}
