//! Juju secrets (3.0 and later), found by label. Content never appears in an argument: the agent itself opens the file
//! it is named, so content is put into one that only this user can read and that is gone when the call is over.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::{Databag, ToolError, ToolErrorKind, Tools, finish, parse, unreadable};

/// Who owns a secret: may change it, grant it and remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOwner {
    /// The application: only the leader may add and change it, every unit may read it.
    Application,
    /// This unit alone.
    Unit,
}

/// What Juju knows of a secret this unit or its application owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// The id, without `secret:`.
    pub id: String,
    /// The newest revision.
    pub revision: u64,
    /// The owner's label.
    pub label: String,
}

impl Tools {
    /// Adds a secret and gives its id, `secret:` included. Keys: three characters or more, lower-case letters first, then
    /// also digits and single hyphens; at most 1 000 000 bytes in all. Takes effect when the hook succeeds.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/secret-add/>
    pub async fn secret_add(
        &self,
        label: &str,
        owner: SecretOwner,
        content: &BTreeMap<String, String>,
    ) -> Result<String, ToolError> {
        let owner = match owner {
            SecretOwner::Application => "application",
            SecretOwner::Unit => "unit",
        };
        let file = self.secret_file("secret-add", content)?;
        let run =
            self.run("secret-add").args(["--owner", owner, "--label", label, "--file"]).arg(file.path());
        let output = finish("secret-add", run).await?;
        match output.text().trim() {
            "" => Err(unreadable("secret-add", "it printed no id")),
            id => Ok(id.to_owned()),
        }
    }

    /// Makes a new revision with this content.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/secret-set/>
    pub async fn secret_set(&self, id: &str, content: &BTreeMap<String, String>) -> Result<(), ToolError> {
        let file = self.secret_file("secret-set", content)?;
        let run = self.run("secret-set").arg(id).arg("--file").arg(file.path());
        finish("secret-set", run).await.map(drop)
    }

    /// The newest content, which this unit follows from now on; absent if there is no secret of that label.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/secret-get/>
    pub async fn secret_get(&self, label: &str) -> Result<Option<Databag>, ToolError> {
        found(self.ask("secret-get", ["--label", label, "--refresh"], parse::strings).await)
    }

    /// An owned secret by its label; absent if there is none.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/secret-info-get/>
    pub async fn secret_info(&self, label: &str) -> Result<Option<SecretInfo>, ToolError> {
        #[derive(Deserialize)]
        struct Info {
            revision: u64,
            #[serde(default)]
            label: String,
        }
        let asked =
            self.ask("secret-info-get", ["--label", label], parse::typed::<BTreeMap<String, Info>>).await;
        let first = found(asked)?.and_then(|secrets| secrets.into_iter().next());
        Ok(first.map(|(id, info)| SecretInfo { id, revision: info.revision, label: info.label }))
    }

    /// Removes a secret, or one revision of it.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/secret-remove/>
    pub async fn secret_remove(&self, id: &str, revision: Option<u64>) -> Result<(), ToolError> {
        let mut args: Vec<String> =
            revision.into_iter().flat_map(|number| ["--revision".to_owned(), number.to_string()]).collect();
        args.push(id.to_owned());
        self.tell("secret-remove", args).await
    }

    fn secret_file(
        &self,
        tool: &str,
        content: &BTreeMap<String, String>,
    ) -> Result<NamedTempFile, ToolError> {
        let write = || {
            // Mode 0600 from the start; removed when dropped.
            let mut file = tempfile::Builder::new().prefix("secret-").tempfile_in(&self.private_directory)?;
            let pairs = content.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            file.write_all(parse::mapping(pairs).as_bytes())?;
            file.flush()?;
            Ok(file)
        };
        write().map_err(|error| ToolError { tool: tool.to_owned(), kind: ToolErrorKind::PrivateFile(error) })
    }
}

/// Tells "there is none" from other refusals.
fn found<T>(answer: Result<T, ToolError>) -> Result<Option<T>, ToolError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;
    use super::*;

    #[tokio::test]
    async fn content_goes_by_a_private_file_that_is_gone_afterwards() {
        let fake = FakeTools::new();
        let seen = fake.directory().join("seen");
        let script = format!(
            "for last; do :; done; cat \"$last\" > '{0}'; stat -c ' %a' \"$last\" >> '{0}'; \
             echo secret:cg8s5nt3c7ic76ba6lu0",
            seen.display()
        );
        let fake = fake.tool("secret-add", &script);
        let content = BTreeMap::from([("ca-key".to_owned(), "-----BEGIN\nx\n".to_owned())]);
        let id = fake.tools().secret_add("ca", SecretOwner::Application, &content).await.unwrap();
        assert_eq!(id, "secret:cg8s5nt3c7ic76ba6lu0");
        let text = std::fs::read_to_string(seen).unwrap();
        assert_eq!(text, "{\"ca-key\":\"-----BEGIN\\nx\\n\"} 600\n");
        let call = fake.calls().remove(0);
        assert!(!call.contains("BEGIN"), "{call}");
        let file = call.rsplit('|').next().unwrap();
        assert!(file.starts_with('/') && !std::path::Path::new(file).exists(), "{file}");
    }

    #[tokio::test]
    async fn a_secret_is_found_by_its_label_or_absent() {
        let fake = FakeTools::new()
            .tool("secret-get", r#"case "$*" in *old*) echo 'ERROR secret "old" not found' >&2; exit 1;; esac
                echo '{"ca-key":"k"}'"#)
            .tool("secret-info-get", r#"echo '{"cg8s5nt3c7ic76ba6lu0":{"revision":2,"label":"ca","owner":"application","rotation":"never"}}'"#);
        let tools = fake.tools();
        assert_eq!(tools.secret_get("ca").await.unwrap().unwrap()["ca-key"], "k");
        assert_eq!(tools.secret_get("old").await.unwrap(), None);
        let info = tools.secret_info("ca").await.unwrap().unwrap();
        assert_eq!((info.id.as_str(), info.revision, info.label.as_str()), ("cg8s5nt3c7ic76ba6lu0", 2, "ca"));
    }
}
