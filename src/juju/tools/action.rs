//! Actions: parameters in, results out. An action fails by `action-fail` and exit code 0: with another exit code Juju
//! replaces the message by its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{ToolError, Tools, parse, pieces, shown};

/// Longest message for an operator.
const MESSAGE_BYTES: usize = 4 * 1024;
/// Longest line of progress.
const PROGRESS_BYTES: usize = 32 * 1024;
/// Longest single result; with its key it must stay below 128 KiB.
const RESULT_BYTES: usize = 96 * 1024;

impl Tools {
    /// The parameters, with the schema's defaults.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/action-get/>
    pub async fn action_parameters(&self) -> Result<Map<String, Value>, ToolError> {
        self.ask("action-get", [], parse::map).await
    }

    /// Sets results. Keys are dotted paths of lower-case letters, digits and hyphens; `stdout` and `stderr` belong to
    /// Juju. A very long result is cut.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/action-set/>
    pub async fn action_set(&self, results: &BTreeMap<String, String>) -> Result<(), ToolError> {
        if results.is_empty() {
            return Ok(());
        }
        let shown = |value: &String| shown::cut(&shown::text(value), RESULT_BYTES);
        self.tell("action-set", results.iter().map(|(key, value)| format!("{key}={}", shown(value)))).await
    }

    /// Marks the action as failed; the last message wins. The program must still end with exit code 0.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/action-fail/>
    pub async fn action_fail(&self, message: &str) -> Result<(), ToolError> {
        self.tell("action-fail", ["--", &shown::line(message, MESSAGE_BYTES)]).await
    }

    /// Shows a line to the operator while the action runs.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/action-log/>
    pub async fn action_log(&self, message: &str) -> Result<(), ToolError> {
        for piece in pieces(&shown::text(message), PROGRESS_BYTES) {
            self.tell("action-log", ["--", piece]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;

    #[tokio::test]
    async fn an_action_reads_parameters_and_reports_in_single_calls() {
        let fake = FakeTools::new()
            .tool("action-get", r#"echo '{"target":"/home/ubuntu","skip-backup":true}'"#)
            .tool("action-set", "exit 0")
            .tool("action-fail", "exit 0")
            .tool("action-log", "exit 0");
        let tools = fake.tools();
        assert_eq!(tools.action_parameters().await.unwrap()["skip-backup"], true);
        let results = ["snapshot.path", "snapshot.size"].map(|key| (key.to_owned(), " a=b\n".to_owned()));
        tools.action_set(&results.into()).await.unwrap();
        tools.action_fail("-f").await.unwrap();
        tools.action_log("half done").await.unwrap();
        let long = "x".repeat(200_000);
        tools.action_set(&[("long".to_owned(), format!("\0{long}"))].into()).await.unwrap();
        tools.action_fail(&format!("cannot read\n{long}:\0 why")).await.unwrap();
        assert_eq!(
            fake.calls()[1..4],
            [
                "action-set|snapshot.path= a=b\n|snapshot.size= a=b\n",
                "action-fail|--|-f",
                "action-log|--|half done",
            ]
        );
        assert!(fake.calls()[4].starts_with("action-set|long= xxx") && fake.calls()[4].ends_with('…'));
        assert_eq!(fake.calls()[5], format!("action-fail|--|cannot read {}…: why", &long[..60]));
    }
}
