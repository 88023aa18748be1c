//! Storage that is attached to this unit, and resources that are attached to the application.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ToolError, Tools, finish, parse};

/// Time to download a resource from the controller, on first use and after each upload.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A storage instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Storage {
    /// `filesystem` (mounted before the hook) or `block`.
    #[serde(default)]
    pub kind: String,
    /// The mount point or the device; empty while not provisioned.
    #[serde(default)]
    pub location: PathBuf,
}

/// A resource as this unit gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A file with content. It is not executable, and Juju overwrites it in place on a later upload: copy it before
    /// relying on it.
    Present(PathBuf),
    /// Not given: Juju has none, cannot deliver it now, or it has 0 bytes, which by convention means the same.
    Absent(String),
}

impl Resource {
    /// The file, if there is one.
    pub fn into_path(self) -> Option<PathBuf> {
        match self {
            Resource::Present(path) => Some(path),
            Resource::Absent(_) => None,
        }
    }
}

impl Tools {
    /// The instances of one storage name (`data/0`), in no certain order.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/storage-list/>
    pub async fn storage_ids(&self, name: &str) -> Result<Vec<String>, ToolError> {
        self.ask("storage-list", [name], parse::list).await
    }

    /// Where an instance is.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/storage-get/>
    pub async fn storage(&self, id: &str) -> Result<Storage, ToolError> {
        self.ask("storage-get", ["-s", id], parse::typed).await
    }

    /// A resource's file. Every failure counts as absent, with its reason: a later upload runs `upgrade-charm`.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/resource-get/>
    pub async fn resource(&self, name: &str) -> Resource {
        let run = self.run("resource-get").arg(name).timeout(DOWNLOAD_TIMEOUT);
        let path = match finish("resource-get", run).await {
            Ok(output) => PathBuf::from(output.text().trim()),
            Err(error) => return Resource::Absent(error.to_string()),
        };
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() && file.len() > 0 => Resource::Present(path),
            Ok(_) => Resource::Absent(format!("resource {name} is empty")),
            Err(error) => {
                Resource::Absent(format!("cannot look at resource {name} in {}: {error}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;
    use super::*;

    #[tokio::test]
    async fn storage_is_found_and_described() {
        let fake = FakeTools::new()
            .tool("storage-list", r#"echo '["data/0"]'"#)
            .tool("storage-get", r#"echo '{"kind":"block","location":"/dev/loop7"}'"#);
        let tools = fake.tools();
        assert_eq!(tools.storage_ids("data").await.unwrap(), ["data/0"]);
        let storage = tools.storage("data/0").await.unwrap();
        assert_eq!((storage.kind.as_str(), storage.location), ("block", PathBuf::from("/dev/loop7")));
        assert_eq!(fake.calls()[1], "storage-get|--format=json|-s|data/0");
    }

    #[tokio::test]
    async fn only_a_file_with_content_is_a_resource() {
        let fake = FakeTools::new();
        let (full, empty) = (fake.directory().join("etcd.snap"), fake.directory().join("core.snap"));
        std::fs::write(&full, "hsqs").unwrap();
        std::fs::write(&empty, "").unwrap();
        // resource-get prints its path without a line end.
        let fake = fake.tool(
            "resource-get",
            &format!(
                "case $1 in etcd) printf %s '{}';; core) printf %s '{}';; *) \
                 echo 'ERROR could not download resource: HTTP request failed: resource \"snapshot\" not found' >&2; \
                 exit 1;; esac",
                full.display(),
                empty.display()
            ),
        );
        let tools = fake.tools();
        assert_eq!(tools.resource("etcd").await.into_path(), Some(full));
        assert_eq!(tools.resource("core").await, Resource::Absent("resource core is empty".into()));
        let Resource::Absent(reason) = tools.resource("snapshot").await else { panic!("present") };
        assert!(reason.starts_with("cannot use resource-get: could not download resource"), "{reason}");
    }
}
