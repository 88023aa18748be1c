//! Endpoint `certificates`, interface `tls-certificates`, the legacy protocol: the authority makes the key.
//!
//! A request is a pure function of this unit's own addresses, so that another unit's coming or going never
//! causes a new certificate here.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, ended};
use crate::juju::{Databag, UnitName};

/// In the requirer's databag: further client certificates, as JSON `{"<common name>": {"sans": []}}`.
const CLIENT_REQUESTS: &str = "client_cert_requests";

/// What this unit asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Stable for the unit's life; addresses belong into `sans` only.
    pub common_name: String,
    /// Names and addresses the certificate must be valid for.
    pub sans: BTreeSet<String>,
    /// `etcd_0`: the authority's name for the answer.
    pub tag: String,
}

impl Request {
    /// `addresses`: every address this unit serves on or dials from; `names`: its host name and the operator's
    /// additions. Loopback is the charm's own way in.
    pub fn new(unit: &UnitName, addresses: &BTreeSet<String>, names: &[String]) -> Request {
        let own = ["127.0.0.1", "localhost"].map(str::to_owned);
        Request {
            common_name: unit.to_string().replace('/', "-"),
            sans: addresses.iter().chain(names).cloned().chain(own).filter(|san| !san.is_empty()).collect(),
            tag: unit.tag(),
        }
    }

    /// To this unit's databag. JSON of a list of strings cannot fail to be written.
    pub fn write(&self) -> Changes {
        let sans = serde_json::Value::from(self.sans.iter().cloned().collect::<Vec<_>>());
        Changes::from([
            ("unit_name".to_owned(), Some(self.tag.clone())),
            ("common_name".to_owned(), Some(self.common_name.clone())),
            ("certificate_name".to_owned(), Some(self.tag.clone())),
            ("sans".to_owned(), Some(sans.to_string())),
        ])
    }
}

/// What this unit's databag is to hold for client certificates with these common names, as key and value.
pub fn ask_for_clients(names: &BTreeSet<String>) -> (String, Option<String>) {
    let all: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| (name.clone(), serde_json::json!({"sans": []}))).collect();
    let text = (!all.is_empty()).then(|| serde_json::Value::from(all).to_string());
    (CLIENT_REQUESTS.to_owned(), text)
}

/// The common names in what this unit's databag holds now: nobody else writes there.
pub fn clients_asked_for(bag: &Databag) -> BTreeSet<String> {
    let text = bag.get(CLIENT_REQUESTS).map(String::as_str).unwrap_or_default();
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    all.into_iter().map(|(name, _)| name).collect()
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pair {
    /// Leaf first, its chain behind it.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).field("key", &"…").finish()
    }
}

/// What the authority has answered so far; each part comes in its own time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// PEM.
    pub ca: Option<String>,
    /// For etcd itself.
    pub server: Option<Pair>,
    /// For consumers and this charm; the same for all units.
    pub client: Option<Pair>,
    /// The client pairs that this unit has asked for by their common names. An answer that cannot be understood is none:
    /// those it was for go on with what they have.
    pub clients: BTreeMap<String, Pair>,
}

/// A client pair as the authority writes it.
#[derive(serde::Deserialize)]
struct Processed {
    cert: String,
    key: String,
}

impl Answer {
    /// What each unit of the authority says, and at last what all say together. One that leads no more may have left an older
    /// answer, and one may hold only a part.
    pub fn read_all(unit: &UnitName, bags: &[Databag]) -> Vec<Answer> {
        let each = bags.iter().map(|bag| Answer::read(unit, [bag]));
        each.chain([Answer::read(unit, bags)]).collect()
    }

    /// Server and client pair are both there.
    pub fn is_complete(&self) -> bool {
        self.server.is_some() && self.client.is_some()
    }

    /// From these databags, as if they were one.
    fn read<'a>(unit: &UnitName, bags: impl IntoIterator<Item = &'a Databag>) -> Answer {
        let mut all = BTreeMap::new();
        for bag in bags {
            all.extend(
                bag.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.as_str(), v.as_str())),
            );
        }
        let chain = all.get("chain").copied();
        let pair = |certificate: &str, key: &str| {
            let (certificate, key) = (all.get(certificate)?, all.get(key)?);
            Some(Pair { certificate: with_chain(certificate, chain), key: ended(key) })
        };
        let tag = unit.tag();
        let processed = all.get(format!("{tag}.processed_client_requests").as_str()).copied();
        let processed: BTreeMap<String, serde_json::Value> =
            processed.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let for_client = |(name, made): (String, serde_json::Value)| {
            let Processed { cert, key } = serde_json::from_value(made).ok()?;
            Some((name, Pair { certificate: with_chain(&cert, chain), key: ended(&key) }))
        };
        Answer {
            clients: processed.into_iter().filter_map(for_client).collect(),
            ca: all.get("ca").map(|ca| ended(ca)),
            server: pair(&format!("{tag}.server.cert"), &format!("{tag}.server.key")),
            client: pair("client.cert", "client.key"),
        }
    }
}

fn with_chain(certificate: &str, chain: Option<&str>) -> String {
    match chain {
        Some(chain) if !certificate.contains(chain.trim()) => ended(certificate) + &ended(chain),
        _ => ended(certificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> UnitName {
        "etcd/10".parse().unwrap()
    }

    #[test]
    fn the_request_depends_on_this_unit_alone() {
        let addresses = BTreeSet::from(["10.0.0.7".to_owned(), "192.168.1.7".to_owned()]);
        let request = Request::new(&unit(), &addresses, &["machine-7".to_owned()]);
        let bag = request.write();
        assert_eq!(bag["common_name"].as_deref(), Some("etcd-10"));
        assert_eq!(bag["certificate_name"].as_deref(), Some("etcd_10"));
        assert_eq!(
            bag["sans"].as_deref(),
            Some(r#"["10.0.0.7","127.0.0.1","192.168.1.7","localhost","machine-7"]"#)
        );
    }

    #[test]
    fn only_answers_for_this_very_unit_count() {
        let bag = Databag::from([
            ("etcd_1.server.cert".to_owned(), "other".to_owned()),
            ("etcd_1.server.key".to_owned(), "other".to_owned()),
            ("ca".to_owned(), "CA".to_owned()),
        ]);
        let answer = Answer::read(&unit(), [&bag]);
        assert_eq!(answer, Answer { ca: Some("CA\n".into()), ..Answer::default() });
    }

    #[test]
    fn further_client_pairs_come_by_their_common_names() {
        let names = BTreeSet::from(["app-db-7".to_owned()]);
        let (key, value) = ask_for_clients(&names);
        let bag = Databag::from([(key, value.unwrap())]);
        assert_eq!(bag["client_cert_requests"], r#"{"app-db-7":{"sans":[]}}"#);
        assert_eq!(clients_asked_for(&bag), names);
        assert_eq!(ask_for_clients(&BTreeSet::new()).1, None);
        assert_eq!(clients_asked_for(&Databag::new()), BTreeSet::new());
        let answered = |text: &str| {
            let key = "etcd_10.processed_client_requests".to_owned();
            Answer::read(&unit(), [&Databag::from([(key, text.to_owned())])]).clients
        };
        let pair = Pair { certificate: "C\n".to_owned(), key: "K\n".to_owned() };
        let all = answered(r#"{"app-db-7": {"cert": "C", "key": "K", "more": 1}, "other": 1}"#);
        assert_eq!(all, BTreeMap::from([("app-db-7".to_owned(), pair)]));
        assert!(answered("nonsense").is_empty() && answered(r#"{"app-db-7": {"cert": "C"}}"#).is_empty());
    }

    fn answer_of_both(server: &Pair) -> Answer {
        Answer { ca: Some("CA\n".to_owned()), server: Some(server.clone()), ..Answer::default() }
    }

    #[test]
    fn parts_may_come_from_different_units_of_the_authority() {
        let first =
            Databag::from([("ca".to_owned(), "CA".to_owned()), ("chain".to_owned(), "MID".to_owned())]);
        let second = Databag::from([
            ("etcd_10.server.cert".to_owned(), "CERT".to_owned()),
            ("etcd_10.server.key".to_owned(), "KEY".to_owned()),
            ("client.cert".to_owned(), "C".to_owned()),
        ]);
        let answer = Answer::read(&unit(), [&first, &second]);
        let server = answer.server.unwrap();
        assert_eq!((server.certificate.as_str(), server.key.as_str()), ("CERT\nMID\n", "KEY\n"));
        assert_eq!(answer.client, None, "a certificate without its key is no answer");
        let all = Answer::read_all(&unit(), &[first, second]);
        assert_eq!((all.len(), all[0].server.as_ref(), &all[2]), (3, None, &answer_of_both(&server)));
    }
}
