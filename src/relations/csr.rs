//! Endpoint `certificates`, interface `tls-certificates`, the newer protocol: each unit makes its keys and asks with
//! signing requests in its own databag; the authority answers in its application's databag.
//!
//! An answer belongs to the request whose text it repeats. Its keys and those of the older protocol do not collide, so
//! that both are spoken at once until the authority has shown which one it understands.

use serde::{Deserialize, Serialize};

use super::ended;
use crate::juju::Databag;
use crate::tls;

const REQUESTS: &str = "certificate_signing_requests";
const ANSWERS: &str = "certificates";

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

impl Answers {
    /// From the databag of the authority's application.
    pub fn read(bag: &Databag) -> Answers {
        let Some(text) = bag.get(ANSWERS).filter(|text| !text.is_empty()) else { return Answers::Silent };
        match serde_json::from_str::<Vec<Answer>>(text) {
            Ok(all) => Answers::Said(
                all.into_iter().filter(|one| one.revoked != Some(true)).map(Signed::from).collect(),
            ),
            Err(error) => {
                Answers::Unreadable(format!("its answer {ANSWERS:?} cannot be understood: {error}"))
            }
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
    fn nothing_no_answers_and_nonsense_are_told_apart() {
        assert_eq!(Answers::read(&Databag::new()), Answers::Silent);
        assert_eq!(read(&json!([])), Answers::Said(vec![]));
        for wrong in [json!({"ca": "CA"}), json!([{"ca": "CA"}]), json!("text"), json!([1])] {
            let Answers::Unreadable(why) = read(&wrong) else { panic!("{wrong} was read") };
            assert!(why.starts_with("its answer \"certificates\" cannot be understood: "), "{why}");
        }
    }
}
