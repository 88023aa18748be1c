//! Endpoint `certificates`, interface `tls-certificates`, the newer protocol: each unit makes its keys and asks with
//! signing requests in its own databag; the authority answers in its application's databag.
//!
//! An answer belongs to the request whose text it repeats. Its keys and those of the older protocol do not collide, so
//! that both are spoken at once until the authority has shown which one it understands.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ended;
use crate::json;
use crate::juju::Databag;
use crate::tls;

const REQUESTS: &str = "certificate_signing_requests";
const ANSWERS: &str = "certificates";
const REFUSALS: &str = "request_errors";
const CAPABILITIES: &str = "capabilities";

/// One request as it stands in the requirer's databag.
#[derive(Serialize)]
struct Asked<'a> {
    certificate_signing_request: &'a str,
    ca: bool,
}

/// What this unit's databag is to hold for `requests` (PEM), as key and value.
pub fn write<'a>(requests: impl IntoIterator<Item = &'a str>) -> (String, Option<String>) {
    let asked: Vec<Asked<'_>> = requests
        .into_iter()
        .map(|request| Asked { certificate_signing_request: request.trim(), ca: false })
        .collect();
    // A list of texts can always be written.
    let text = serde_json::to_string(&asked).ok().filter(|_| !asked.is_empty());
    (REQUESTS.to_owned(), text)
}

/// One answer as it stands in the authority's databag. What is not named here is ignored.
#[derive(Deserialize)]
struct Answer {
    ca: String,
    certificate_signing_request: String,
    certificate: String,
    #[serde(default)]
    chain: Option<Vec<String>>,
    #[serde(default)]
    revoked: Option<bool>,
}

/// A certificate that was signed for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    request: String,
    /// PEM, leaf first, each one followed by the one that signed it.
    pub certificate: String,
    /// The trusted authority, PEM.
    pub ca: String,
}

/// What the authority has said in this protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answers {
    /// Nothing: it may only understand the older protocol.
    #[default]
    Silent,
    /// Its answers to all units; those it has revoked are none.
    Said(Vec<Signed>),
    /// Something that cannot be understood: what is wrong with it.
    Unreadable(String),
}

/// Why the authority does not sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The request (PEM) that it does not sign, its word and number for why, and what it says to that.
    by_request: Vec<(String, String)>,
    /// It signs for no IP address at all.
    pub no_addresses: bool,
}

/// One refusal as it stands in the authority's databag. The key of the request has two names.
#[derive(Deserialize)]
struct Refused {
    #[serde(alias = "csr")]
    certificate_signing_request: String,
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: i64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: Option<String>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { code, name, message, reason } = self;
        write!(f, "{name} ({code}): {message}")?;
        reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// What the authority says that it can. What it leaves out is not known.
#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    supports_ip_sans: Option<bool>,
}

impl Refusals {
    /// From the databag of the authority's application. What cannot be understood is logged and says nothing.
    pub fn read(bag: &Databag) -> Refusals {
        let refused: Vec<Refused> = understood(bag, REFUSALS).unwrap_or_default();
        let can: Capabilities = understood(bag, CAPABILITIES).unwrap_or_default();
        let by_request = refused
            .into_iter()
            .map(|one| (one_form(&one.certificate_signing_request), one.error.to_string()));
        Refusals { by_request: by_request.collect(), no_addresses: can.supports_ip_sans == Some(false) }
    }

    /// Why it does not sign `request` (PEM).
    pub fn of(&self, request: &str) -> Option<&str> {
        let wanted = one_form(request);
        self.by_request.iter().find(|(request, _)| *request == wanted).map(|(_, why)| why.as_str())
    }
}

fn understood<T: DeserializeOwned>(bag: &Databag, key: &'static str) -> Option<T> {
    let text = bag.get(key).filter(|text| !text.is_empty())?;
    let read = serde_json::from_str(text);
    read.inspect_err(|error| tracing::warn!(key, error = json::why(error), "the authority is not understood"))
        .ok()
}

impl Answers {
    /// From the databag of the authority's application. One that refuses, or tells what it can, speaks this protocol too.
    pub fn read(bag: &Databag) -> Answers {
        let text = |key: &str| bag.get(key).filter(|text| !text.is_empty());
        let Some(answers) = text(ANSWERS) else {
            let speaks = text(REFUSALS).or(text(CAPABILITIES)).is_some();
            return if speaks { Answers::Said(Vec::new()) } else { Answers::Silent };
        };
        match serde_json::from_str::<Vec<Answer>>(answers) {
            Ok(all) => Answers::Said(
                all.into_iter().filter(|one| one.revoked != Some(true)).map(Signed::from).collect(),
            ),
            Err(error) => Answers::Unreadable(format!(
                "its answer {ANSWERS:?} cannot be understood: {}",
                json::why(&error)
            )),
        }
    }

    /// The answer to `request` (PEM).
    pub fn to(&self, request: &str) -> Option<&Signed> {
        let wanted = one_form(request);
        self.all().iter().rfind(|signed| signed.request == wanted)
    }

    /// The authority that answers now: to `request` if it is answered, or to anyone.
    pub fn ca(&self, request: Option<&str>) -> Option<&str> {
        let own = request.and_then(|request| self.to(request));
        own.or(self.all().last()).map(|signed| signed.ca.as_str())
    }

    fn all(&self) -> &[Signed] {
        match self {
            Answers::Said(all) => all,
            Answers::Silent | Answers::Unreadable(_) => &[],
        }
    }
}

impl From<Answer> for Signed {
    /// A chain that cannot be read is left as it came: the check of the certificate says what is wrong with it.
    fn from(answer: Answer) -> Signed {
        let others = answer.chain.unwrap_or_default();
        let ordered = tls::in_order(&answer.certificate, &others);
        Signed {
            certificate: ordered.unwrap_or_else(|_| [vec![answer.certificate], others].concat().join("\n")),
            request: one_form(&answer.certificate_signing_request),
            ca: ended(&answer.ca),
        }
    }
}

/// Line ends and blanks around it are no difference.
fn one_form(pem: &str) -> String {
    pem.trim().replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RSA: &str = include_str!("../tls/fixtures/rsa.crt");

    fn read(answers: &serde_json::Value) -> Answers {
        Answers::read(&Databag::from([(ANSWERS.to_owned(), answers.to_string())]))
    }

    #[test]
    fn requests_are_written_as_the_interface_has_them() {
        let (key, value) = write(["-----BEGIN X-----\n-----END X-----\n", "two\n"]);
        let wanted = json!([
            {"certificate_signing_request": "-----BEGIN X-----\n-----END X-----", "ca": false},
            {"certificate_signing_request": "two", "ca": false},
        ]);
        assert_eq!(key, "certificate_signing_requests");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&value.unwrap()).unwrap(), wanted);
        assert_eq!(write([]).1, None, "nothing is asked for");
    }

    #[test]
    fn an_answer_is_found_by_the_text_of_its_request() {
        let answers = read(&json!([
            {"ca": "CA", "certificate_signing_request": "ONE", "certificate": RSA, "chain": [RSA], "more": 1},
            {"ca": "CA", "certificate_signing_request": "TWO\r\nLINES", "certificate": "BROKEN"},
            {"ca": "CA", "certificate_signing_request": "THREE", "certificate": RSA, "revoked": true},
            {"ca": "NEW", "certificate_signing_request": "FOUR", "certificate": RSA, "chain": null, "revoked": false},
        ]));
        let one = answers.to("ONE\n").unwrap();
        assert_eq!((one.certificate.as_str(), one.ca.as_str()), (RSA, "CA\n"));
        assert_eq!(answers.to("TWO\nLINES").unwrap().certificate, "BROKEN", "its check will refuse it");
        assert_eq!(answers.to("THREE"), None, "it was revoked");
        assert_eq!(answers.ca(Some("ONE")), Some("CA\n"));
        assert_eq!(answers.ca(Some("FIVE")), Some("NEW\n"));
    }

    #[test]
    fn a_refusal_is_found_by_its_request_under_both_names_of_the_key() {
        let error =
            json!({"code": 102, "name": "DOMAIN_NOT_ALLOWED", "message": "not that one", "reason": "policy"});
        for key in ["csr", "certificate_signing_request"] {
            let bag = Databag::from([
                (REFUSALS.to_owned(), json!([{key: "ONE\r\n", "error": error}]).to_string()),
                (CAPABILITIES.to_owned(), json!({"supports_ip_sans": false, "more": []}).to_string()),
            ]);
            let refusals = Refusals::read(&bag);
            assert_eq!(refusals.of("ONE"), Some("DOMAIN_NOT_ALLOWED (102): not that one: policy"));
            assert_eq!((refusals.of("TWO"), refusals.no_addresses), (None, true));
            assert_eq!(Answers::read(&bag), Answers::Said(vec![]), "it speaks this protocol");
        }
        let nothing = Databag::from([(REFUSALS.to_owned(), "nonsense".to_owned())]);
        assert_eq!(Refusals::read(&nothing), Refusals::default());
        let silent = json!({"provider_type": "acme"}).to_string();
        assert!(!Refusals::read(&Databag::from([(CAPABILITIES.to_owned(), silent)])).no_addresses);
    }

    #[test]
    fn nothing_no_answers_and_nonsense_are_told_apart() {
        assert_eq!(Answers::read(&Databag::new()), Answers::Silent);
        assert_eq!(read(&json!([])), Answers::Said(vec![]));
        for wrong in [json!({"ca": "CA"}), json!([{"ca": "CA"}]), json!("text"), json!([1])] {
            let Answers::Unreadable(why) = read(&wrong) else { panic!("{wrong} was read") };
            assert!(why.starts_with("its answer \"certificates\" cannot be understood: "), "{why}");
        }
    }
}
