//! What Juju has answered, kept from one hook to the next: [`crate::juju::Memory`] says which of it still counts.
//!
//! It is only ever a reason to ask less. A hook takes the note away when it begins and leaves another one when it has succeeded, so
//! that after a hook that failed, was killed or was skipped by an operator everything is asked. So it is after a boot, and
//! once the charm, Juju's version or the unit's agent is another one.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::host::files;
use crate::juju::{Answers, Context, Memory, Tools};

/// Lost at every boot. Databags have keys in them.
const NOTE: &str = "/run/etcd-charm.answers";

/// In the charm's directory: every remembered answer is asked for as well, and a hook fails where they differ. Nothing packs it but
/// tests.
const VERIFY: &str = "verify-memory";

/// However sure an answer is, it is asked for again once a day.
const AGE_MAX_S: u64 = 86_400;

/// The socket that a unit's agent makes whenever it starts, beside the charm's directory.
const AGENT_SOCKET: &str = "run.socket";

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    bound: Bound,
    /// Unix time at which everything in it was asked.
    since_s: u64,
    answers: Answers,
}

/// What a note is of. One of anything else is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bound {
    unit: String,
    model: String,
    juju: String,
    charm: Option<Identity>,
    agent: Option<Identity>,
}

/// A file that was made anew has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    inode: u64,
    changed_s: i64,
    changed_ns: i64,
}

fn identity(path: &Path) -> Option<Identity> {
    let file = std::fs::symlink_metadata(path).ok()?;
    Some(Identity { inode: file.ino(), changed_s: file.ctime(), changed_ns: file.ctime_nsec() })
}

impl Bound {
    fn of(context: &Context) -> Bound {
        Bound {
            unit: context.unit.to_string(),
            model: context.model_uuid.clone().unwrap_or_default(),
            juju: context.juju.to_string(),
            charm: identity(&context.charm_dir.join("dispatch")),
            agent: context.charm_dir.parent().and_then(|home| identity(&home.join(AGENT_SOCKET))),
        }
    }
}

/// A hook that remembers.
#[derive(Debug)]
pub struct Hook {
    /// With its memory.
    pub tools: Tools,
    bound: Bound,
    since_s: u64,
}

/// Takes the note away: until [`Hook::keep`] nothing is remembered by anyone. An action asks everything, and is asked about
/// everything after.
///
/// # Errors
/// The note cannot be removed: it must not be believed later.
pub fn begin(context: &Context, tools: &Tools) -> Result<Hook> {
    begin_at(Path::new(NOTE), context, tools, clock::now_s())
}

fn begin_at(path: &Path, context: &Context, tools: &Tools, now_s: u64) -> Result<Hook> {
    let note = files::read(path).ok().flatten();
    files::remove_if_exists(path)?;
    let bound = Bound::of(context);
    let counts =
        |note: &Note| note.bound == bound && (note.since_s..note.since_s + AGE_MAX_S).contains(&now_s);
    let note = note.and_then(|text| serde_json::from_slice::<Note>(&text).ok()).filter(counts);
    let since_s = note.as_ref().map_or(now_s, |note| note.since_s);
    if context.action_name.is_some() {
        return Ok(Hook { tools: tools.clone(), bound, since_s });
    }
    let is_verified = context.charm_dir.join(VERIFY).exists();
    let memory = Memory::new(context, note.map(|note| note.answers).unwrap_or_default(), is_verified);
    Ok(Hook { tools: tools.remembering(memory), bound, since_s })
}

/// Before an action that may change what Juju was told.
///
/// # Errors
/// The note cannot be removed.
pub fn forget() -> Result<()> {
    Ok(files::remove_if_exists(NOTE)?)
}

impl Hook {
    /// Leaves a note: the hook has succeeded as far as it lies with the charm. What Juju may still refuse is not in it. One that
    /// cannot be written makes the next hook longer, nothing worse.
    ///
    /// # Errors
    /// Remembered answers were verified, and some are wrong.
    pub fn keep(self) -> Result<()> {
        self.keep_at(Path::new(NOTE))
    }

    fn keep_at(self, path: &Path) -> Result<()> {
        let (answers, wrong) = self.tools.answers();
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        if answers == Answers::default() {
            return Ok(());
        }
        let note = Note { bound: self.bound, since_s: self.since_s, answers };
        let written = serde_json::to_vec(&note).map_err(anyhow::Error::from);
        if let Err(error) = written.and_then(|text| Ok(files::write_atomic(path, &text, 0o600)?)) {
            tracing::debug!(error = %error, "what Juju has answered could not be remembered");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::juju::FakeTools;

    fn context(charm: &Path, version: &str, action: bool) -> Context {
        let vars = |name: &str| match name {
            "JUJU_UNIT_NAME" => Some("etcd/0".to_owned()),
            "JUJU_VERSION" => Some(version.to_owned()),
            "JUJU_CHARM_DIR" => Some(charm.display().to_string()),
            "JUJU_HOOK_NAME" => Some("start".to_owned()),
            "JUJU_ACTION_NAME" => action.then(|| "maintain".to_owned()),
            _ => None,
        };
        Context::parse(vars, "dispatch").unwrap()
    }

    /// A unit's directory with a charm in it.
    struct Unit {
        home: tempfile::TempDir,
        juju: FakeTools,
    }

    impl Unit {
        fn new() -> Unit {
            let unit = Unit {
                home: tempfile::tempdir().unwrap(),
                juju: FakeTools::new().tool("config-get", "echo '{}'"),
            };
            std::fs::create_dir(unit.charm()).unwrap();
            unit.make("charm/dispatch");
            unit.make(AGENT_SOCKET);
            unit
        }

        fn charm(&self) -> std::path::PathBuf {
            self.home.path().join("charm")
        }

        fn note(&self) -> std::path::PathBuf {
            self.home.path().join("note")
        }

        /// Makes a file, or makes it anew.
        fn make(&self, name: &str) {
            let path = self.home.path().join(name);
            std::fs::write(path.with_extension("new"), "x").unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }

        fn begin(&self, version: &str, now_s: u64) -> Hook {
            let context = context(&self.charm(), version, false);
            begin_at(&self.note(), &context, &self.juju.tools(), now_s).unwrap()
        }

        /// Runs a hook that asks one question; how often Juju was asked.
        async fn hook(&self, version: &str, now_s: u64) -> usize {
            let before = self.juju.calls().len();
            let hook = self.begin(version, now_s);
            assert!(!self.note().exists(), "it counts from the end of a hook to the next one's beginning");
            hook.tools.config().await.unwrap();
            hook.keep_at(&self.note()).unwrap();
            self.juju.calls().len() - before
        }
    }

    #[tokio::test]
    async fn a_note_counts_for_this_unit_as_it_is() {
        let unit = Unit::new();
        assert_eq!(unit.hook("3.6.0", 1000).await, 1);
        assert_eq!(unit.hook("3.6.0", 1001).await, 0);
        assert_eq!(unit.hook("3.6.1", 1002).await, 1, "another Juju");
        unit.make("charm/dispatch");
        assert_eq!(unit.hook("3.6.1", 1003).await, 1, "another charm");
        unit.make(AGENT_SOCKET);
        assert_eq!(unit.hook("3.6.1", 1004).await, 1, "the agent was restarted");
        assert_eq!(unit.hook("3.6.1", 1005).await, 0);
        std::fs::write(unit.note(), "{").unwrap();
        assert_eq!(unit.hook("3.6.1", 1006).await, 1, "half a note");
    }

    #[tokio::test]
    async fn everything_is_asked_once_a_day() {
        let unit = Unit::new();
        unit.hook("3.6.0", 1000).await;
        assert_eq!(unit.hook("3.6.0", 1000 + AGE_MAX_S / 2).await, 0);
        assert_eq!(unit.hook("3.6.0", 1000 + AGE_MAX_S).await, 1, "hooks between do not make it younger");
        assert_eq!(unit.hook("3.6.0", 999).await, 1, "the clock was set");
    }

    #[tokio::test]
    async fn a_hook_that_has_not_succeeded_leaves_nothing() {
        let unit = Unit::new();
        unit.hook("3.6.0", 1000).await;
        drop(unit.begin("3.6.0", 1001));
        assert_eq!(unit.hook("3.6.0", 1002).await, 1);
    }

    #[tokio::test]
    async fn an_action_asks_everything_and_leaves_nothing() {
        let unit = Unit::new();
        unit.hook("3.6.0", 1000).await;
        let context = context(&unit.charm(), "3.6.0", true);
        let action = begin_at(&unit.note(), &context, &unit.juju.tools(), 1001).unwrap();
        action.tools.config().await.unwrap();
        action.keep_at(&unit.note()).unwrap();
        assert_eq!(unit.juju.calls().len(), 2);
        assert!(!unit.note().exists());
    }

    #[tokio::test]
    async fn a_note_is_for_root_alone_and_a_verified_one_must_be_right() {
        use std::os::unix::fs::PermissionsExt as _;
        let unit = Unit::new();
        unit.hook("3.6.0", 1000).await;
        assert_eq!(std::fs::metadata(unit.note()).unwrap().permissions().mode() & 0o777, 0o600);
        unit.make(&format!("charm/{VERIFY}"));
        assert_eq!(unit.hook("3.6.0", 1001).await, 1, "it is asked as well");
    }
}
