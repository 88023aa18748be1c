//! Tools that ask only what no earlier hook has been told, and tell only what is news.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{ToolError, Tools};
use crate::juju::memory::{Answers, Memory, Recalled, is_same_own};
use crate::juju::names::{RelationId, UnitName};

impl Tools {
    /// These tools with the memory of one hook.
    pub fn remembering(&self, memory: Memory) -> Tools {
        Tools { memory: Some(Arc::new(Mutex::new(memory))), ..self.clone() }
    }

    /// What the next hook may count on, if this one succeeds; beside it, what Juju has not confirmed of what this one counted on.
    pub fn answers(&self) -> (Answers, Vec<String>) {
        self.remember(|memory| (memory.answers(), memory.contradictions().to_vec())).unwrap_or_default()
    }

    /// Everything is asked from now on.
    pub fn forget_answers(&self) {
        self.remember(Memory::forget_answers);
    }

    /// Whether this unit's databag is as it was told from memory, if it was: nothing is written on an old word.
    pub async fn confirms(&self, id: &RelationId, own: &UnitName) -> bool {
        let (id, own) = (id.to_string(), own.to_string());
        let args = ["-r", &id, "-", &own];
        let recalled = self.remember(|memory| memory.recalled("relation-get", &args)).flatten();
        let Some(earlier) = recalled else { return true };
        match self.ask_juju("relation-get", &args).await {
            Ok(now) => is_same_own(&earlier, &now),
            Err(error) => {
                tracing::debug!(relation = id, error = %error, "a databag can be read no more");
                false
            }
        }
    }

    /// A panic elsewhere leaves a whole memory behind.
    pub(super) fn remember<T>(&self, what: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        let mut memory = self.memory.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(what(&mut memory))
    }

    pub(super) async fn answer(&self, tool: &str, args: &[&str]) -> Result<Value, ToolError> {
        match self.remember(|memory| memory.recall(tool, args)).unwrap_or(Recalled::Nothing) {
            Recalled::Answer(earlier) => Ok(earlier),
            Recalled::ToVerify(earlier) => {
                let now = self.ask_juju(tool, args).await?;
                self.remember(|memory| memory.verify(tool, args, &earlier, &now));
                Ok(earlier)
            }
            Recalled::Nothing => {
                let answer = self.ask_juju(tool, args).await?;
                self.remember(|memory| memory.learn(tool, args, &answer));
                Ok(answer)
            }
        }
    }

    /// What has effect at once and stays: said again only when something else was said since.
    pub(super) async fn tell_news(&self, tool: &str, args: &[&str]) -> Result<(), ToolError> {
        let (first, rest) = args.split_first().unwrap_or((&"", &[]));
        let (what, text) = (format!("{tool} {first}"), rest.join(" "));
        if self.remember(|memory| memory.was_told(&what, &text)) == Some(true) {
            return Ok(());
        }
        self.remember(|memory| memory.untell(&what));
        self.tell(tool, args).await?;
        self.remember(|memory| memory.tell(&what, &text));
        Ok(())
    }
}
