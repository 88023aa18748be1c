//! What Juju has answered in earlier hooks and would answer again: each hook tool starts a process, and most hooks are about one
//! unit of one relation.
//!
//! Only answers are remembered, never what a hook has written: Juju may still refuse that when the hook has ended. An answer
//! counts for as long as Juju is bound to run a hook of its own before or with the change: the table is [`Hook::announces`].
//! Who leads and which units there are meant to be is always asked, as is what the application has agreed on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::Context;
use super::names::{RelationId, UnitName};

/// What Juju itself writes into this unit's databags; it is no concern of the charm's.
pub(super) const WRITTEN_BY_JUJU: [&str; 3] = ["ingress-address", "private-address", "egress-subnets"];

/// What is kept from hook to hook: answers by question, and what Juju was told by the tool that told it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    asked: BTreeMap<String, Value>,
    told: BTreeMap<String, String>,
}

/// What a hook is about, as far as it says what may have changed.
#[derive(Debug, Clone)]
struct Hook {
    name: String,
    unit: UnitName,
    relation: Option<RelationId>,
    remote_unit: Option<UnitName>,
}

/// A question to Juju whose answer may be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Options,
    /// Of a binding, or of one relation.
    Network(Option<RelationId>),
    Relations(String),
    Members(RelationId),
    RemoteApplication(RelationId),
    Databag(RelationId, UnitName),
    ApplicationDatabag(RelationId, String),
    Storage,
    Ports,
}

impl Question {
    /// From a tool and its arguments as this port passes them.
    fn parse(tool: &str, args: &[&str]) -> Option<Question> {
        Some(match (tool, args) {
            ("config-get", []) => Question::Options,
            ("network-get", [_]) => Question::Network(None),
            ("network-get", ["-r", id, _]) => Question::Network(Some(id.parse().ok()?)),
            ("relation-ids", [endpoint]) => Question::Relations((*endpoint).to_owned()),
            ("relation-list", ["-r", id]) => Question::Members(id.parse().ok()?),
            ("relation-list", ["-r", id, "--app"]) => Question::RemoteApplication(id.parse().ok()?),
            ("relation-get", ["-r", id, "-", unit]) => {
                Question::Databag(id.parse().ok()?, unit.parse().ok()?)
            }
            ("relation-get", ["-r", id, "--app", "-", name]) => {
                Question::ApplicationDatabag(id.parse().ok()?, (*name).to_owned())
            }
            ("storage-list", [_]) => Question::Storage,
            ("opened-ports", []) => Question::Ports,
            _ => return None,
        })
    }
}

impl Hook {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    fn is_of(&self, relation: &RelationId) -> bool {
        self.relation.as_ref() == Some(relation)
    }

    fn is_joined(&self) -> bool {
        self.name.ends_with("-relation-joined")
    }

    fn is_changed(&self) -> bool {
        self.name.ends_with("-relation-changed")
    }

    /// Whether a remembered list knows of what this hook is about.
    fn is_covered_by(&self, question: &Question, answer: &Value) -> bool {
        let lists = |name: String| answer.as_array().is_some_and(|all| all.contains(&Value::String(name)));
        match (question, &self.relation, &self.remote_unit) {
            (Question::Relations(endpoint), Some(id), _) if id.endpoint() == endpoint => {
                lists(id.to_string())
            }
            (Question::Members(id), Some(own), Some(unit)) if id == own => lists(unit.to_string()),
            _ => true,
        }
    }

    fn is_of_storage(&self) -> bool {
        self.name.contains("-storage-")
    }

    /// Whether this hook may be the one that Juju runs because the answer has changed: then it is asked for. So it is where
    /// Juju promises no hook at all.
    fn announces(&self, question: &Question) -> bool {
        // The charm that asked was another one; or this unit's data goes, and nothing is too much to ask.
        if self.is(&["install", "upgrade-charm", "stop"]) || self.name.ends_with("-storage-detaching") {
            return true;
        }
        match question {
            Question::Options => self.is(&["config-changed"]),
            // Also run when an address or a binding has changed. What a model's settings say of subnets comes without a hook.
            Question::Network(None) => self.is(&["config-changed", "update-status"]),
            Question::Network(Some(id)) => self.is(&["config-changed"]) || self.is_of(id),
            // One comes with its `created` and goes with its last `departed` or its `broken`.
            Question::Relations(endpoint) => {
                let is_of_it = self.relation.as_ref().is_some_and(|relation| relation.endpoint() == endpoint);
                is_of_it && !self.is_joined() && !self.is_changed()
            }
            // The agent counts a unit as there from its `joined` to its `departed`.
            Question::Members(id) => self.is_of(id) && !self.is_changed(),
            Question::RemoteApplication(_) => false,
            // Only this unit writes its own; the agent itself keeps a member's from one `changed` to the next.
            Question::Databag(id, unit) => {
                self.is_of(id) && *unit != self.unit && self.remote_unit.as_ref().is_none_or(|it| it == unit)
            }
            // Another leader may have written its own application's.
            Question::ApplicationDatabag(id, name) => self.is_of(id) || name == self.unit.application(),
            Question::Storage => self.is_of_storage(),
            Question::Ports => self.is(&["update-status"]),
        }
    }

    /// Whether the answer outlives this hook.
    fn keeps(&self, question: &Question, answer: &Value) -> bool {
        let is_empty = answer.as_array().is_none_or(Vec::is_empty);
        match question {
            // In a relation's hook Juju answers for that relation.
            Question::Network(None) => self.relation.is_none(),
            // None is shown before the unit has been installed; what is just ending may be listed or not.
            Question::Relations(_) => {
                !self.is(&["install"])
                    && !self.is_of_storage()
                    && !self.name.ends_with("-relation-broken")
                    && !self.name.ends_with("-relation-departed")
            }
            Question::RemoteApplication(_) => answer.as_str().is_some_and(|name| !name.is_empty()),
            Question::ApplicationDatabag(_, name) => name != self.unit.application(),
            // What is attached is looked at each time: data depends on it.
            Question::Storage => is_empty && !self.is_of_storage(),
            _ => true,
        }
    }

    /// Whether Juju itself, or another leader, may have shown something else since it was told this; `what`: the tool.
    fn shows_anew(&self, what: &str) -> bool {
        let is_of_status = what.starts_with("status-set");
        self.is(&["install", "stop", "upgrade-charm"])
            || (is_of_status && self.is(&["leader-elected", "update-status"]))
    }
}

/// The memory of one hook.
#[derive(Debug)]
pub struct Memory {
    hook: Hook,
    /// Each remembered answer is asked for as well, and a difference fails the hook.
    is_verified: bool,
    earlier: Answers,
    now: Answers,
    /// Questions that were answered from memory in this hook.
    recalled: BTreeSet<String>,
    written: BTreeSet<String>,
    contradictions: Vec<String>,
}

/// What memory has to say to a question.
#[derive(Debug, PartialEq)]
pub(super) enum Recalled {
    /// Ask.
    Nothing,
    /// This is the answer.
    Answer(Value),
    /// This is the answer, which Juju is to confirm.
    ToVerify(Value),
}

impl Memory {
    /// `earlier`: what the last hook has left, if it counts.
    pub fn new(context: &Context, earlier: Answers, is_verified: bool) -> Memory {
        let hook = Hook {
            name: context.hook().trim_start_matches("hooks/").to_owned(),
            unit: context.unit.clone(),
            relation: context.relation.as_ref().map(|relation| relation.id.clone()),
            remote_unit: context.relation.as_ref().and_then(|relation| relation.remote_unit.clone()),
        };
        let mut earlier = earlier;
        earlier.told.retain(|what, _| !hook.shows_anew(what));
        Memory {
            hook,
            is_verified,
            earlier,
            now: Answers::default(),
            recalled: BTreeSet::new(),
            written: BTreeSet::new(),
            contradictions: Vec::new(),
        }
    }

    /// Remembered answers that Juju has not confirmed.
    pub fn contradictions(&self) -> &[String] {
        &self.contradictions
    }

    pub(super) fn recall(&mut self, tool: &str, args: &[&str]) -> Recalled {
        let Some(question) = Question::parse(tool, args) else { return Recalled::Nothing };
        if self.hook.announces(&question) {
            return Recalled::Nothing;
        }
        let text = key(tool, args);
        let covers = |answer: &&Value| self.hook.is_covered_by(&question, answer);
        let Some(answer) = self.earlier.asked.get(&text).filter(covers).cloned() else {
            return Recalled::Nothing;
        };
        self.now.asked.insert(text.clone(), answer.clone());
        self.recalled.insert(text);
        if self.is_verified { Recalled::ToVerify(answer) } else { Recalled::Answer(answer) }
    }

    /// Juju has answered.
    pub(super) fn learn(&mut self, tool: &str, args: &[&str], answer: &Value) {
        self.recalled.remove(&key(tool, args));
        if Question::parse(tool, args).is_some_and(|question| self.hook.keeps(&question, answer)) {
            self.now.asked.insert(key(tool, args), answer.clone());
        }
    }

    /// What this hook was told of this from memory; nothing once Juju itself was asked.
    pub(super) fn recalled(&self, tool: &str, args: &[&str]) -> Option<Value> {
        let text = key(tool, args);
        self.now.asked.get(&text).filter(|_| self.recalled.contains(&text)).cloned()
    }

    /// Everything is asked from now on.
    pub(super) fn forget_answers(&mut self) {
        self.earlier.asked.clear();
        self.now.asked.clear();
        self.recalled.clear();
    }

    /// Notes a remembered answer that is no good although no hook was due that says so. One that is only older than what such a
    /// hook will tell is logged.
    pub(super) fn verify(&mut self, tool: &str, args: &[&str], earlier: &Value, now: &Value) {
        let Some(question) = Question::parse(tool, args) else { return };
        let is_own = matches!(&question, Question::Databag(_, unit) if *unit == self.hook.unit);
        let same = if is_own { is_same_own(earlier, now) } else { is_same(earlier, now) };
        if same {
            return;
        }
        let text = key(tool, args);
        let comes_later = matches!(
            question,
            Question::Options
                | Question::Network(_)
                | Question::Relations(_)
                | Question::ApplicationDatabag(..)
        );
        if comes_later {
            tracing::warn!("what is remembered of `{text}` is older than Juju's answer");
        } else {
            self.contradictions.push(format!("what is remembered of `{text}` is not what Juju answers"));
        }
    }

    /// This unit's databag on a relation was written to: Juju takes that only when the hook has succeeded.
    pub(super) fn write_databag(&mut self, id: &RelationId) {
        let unit = self.hook.unit.to_string();
        self.forget(&key("relation-get", &["-r", &id.to_string(), "-", &unit]));
    }

    /// Ports were opened or closed.
    pub(super) fn write_ports(&mut self) {
        self.forget(&key("opened-ports", &[]));
    }

    fn forget(&mut self, question: &str) {
        self.written.insert(question.to_owned());
    }

    /// Whether Juju was told just this by this tool the last time; `what`: the tool and the kind of call.
    pub(super) fn was_told(&mut self, what: &str, text: &str) -> bool {
        let last = self.now.told.get(what).or_else(|| self.earlier.told.get(what));
        let same = last.is_some_and(|last| last == text);
        if same {
            self.now.told.insert(what.to_owned(), text.to_owned());
        }
        same
    }

    /// Juju is being told; it counts once it has taken it.
    pub(super) fn untell(&mut self, what: &str) {
        self.now.told.remove(what);
        self.earlier.told.remove(what);
    }

    pub(super) fn tell(&mut self, what: &str, text: &str) {
        self.now.told.insert(what.to_owned(), text.to_owned());
    }

    /// What the next hook may count on, once this one has succeeded. What this one had no use for is not among it.
    pub fn answers(&self) -> Answers {
        let mut answers = self.now.clone();
        answers.asked.retain(|question, _| !self.written.contains(question) && self.is_of_a_member(question));
        answers
    }

    /// The databag of a unit that is not listed any more, or not yet, is kept nowhere: no hook tells of it.
    fn is_of_a_member(&self, question: &str) -> bool {
        let mut words = question.split(' ');
        let tool = words.next().unwrap_or_default();
        match Question::parse(tool, &words.collect::<Vec<_>>()) {
            Some(Question::Databag(id, unit)) if unit != self.hook.unit => {
                let members = self.now.asked.get(&key("relation-list", &["-r", &id.to_string()]));
                let name = Value::String(unit.to_string());
                members.and_then(Value::as_array).is_some_and(|members| members.contains(&name))
            }
            _ => true,
        }
    }
}

/// No word of a question has a blank in it.
fn key(tool: &str, args: &[&str]) -> String {
    [&[tool], args].concat().join(" ")
}

/// Juju promises no order in its lists.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().all(|item| other.contains(item))
        }
        _ => one == other,
    }
}

/// This unit's own databag, for all that the charm has written there.
pub(super) fn is_same_own(one: &Value, other: &Value) -> bool {
    let own = |bag: &Value| {
        let mut map = bag.as_object().cloned().unwrap_or_default();
        map.retain(|key, _| !WRITTEN_BY_JUJU.contains(&key.as_str()));
        map
    };
    own(one) == own(other)
}

#[cfg(test)]
mod tests;
