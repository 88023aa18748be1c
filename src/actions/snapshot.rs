//! `snapshot`: the whole database in one private archive on this unit, checked before success is told.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::cluster::Cluster;
use super::parameters::Parameters;
use super::{HOME, Report, Results, tell};
use crate::backup::{self, Progress, Saved};
use crate::clock;
use crate::etcd::{Client, Credentials};
use crate::host::{Written, files};
use crate::juju::{Tools, UnitName};
use crate::observe::{self, Local};
use crate::world::Door;

/// Between two signs of life.
const TELL_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(
    unit: &UnitName,
    look: &Local,
    parameters: &Parameters,
    tools: &Tools,
) -> Result<Report> {
    match parameters.text("keys-version")? {
        None | Some("v3") => {}
        Some("v2") => {
            bail!("keys-version: v2 is not available yet in this revision of the charm; accepted: v3")
        }
        Some(other) => bail!("keys-version: {other} is neither v3 nor v2"),
    }
    let target = match parameters.text("target")? {
        Some(target) => prepare(target)?,
        None => prepare(&format!("{HOME}/etcd-snapshots"))?,
    };
    let source = source(look).await?;
    let progress = Progress::default();
    let saving = backup::save(&source.client, &target, clock::now_s(), &progress);
    let saved = telling(saving, &progress, tools).await?;
    Ok(Report::of(results(unit, &saved, &source).await))
}

/// Whose database is saved.
struct Source {
    client: Client,
    /// Why it may miss something, when it may.
    warning: Option<String>,
}

/// A voter that has proved to be up to date; without a quorum, which is when a snapshot may be needed most, this unit's
/// own member.
async fn source(look: &Local) -> Result<Source> {
    let without_quorum = match Cluster::reach(look).await {
        Ok(cluster) => return Ok(Source { client: cluster.client, warning: None }),
        Err(error) => error,
    };
    let (Door::Open(status), Some(pem)) = (&look.etcd.door, &look.host.credentials) else {
        return Err(without_quorum);
    };
    if status.learner {
        // A learner may be far behind, and one of etcd 3.4 never answers.
        return Err(without_quorum.context("this unit's own member is a learner, which has nothing to save"));
    }
    for endpoint in observe::own_endpoints(&look.host) {
        let client = Client::connect(&endpoint, &Credentials::from(pem))?;
        if client.status().await.is_ok() {
            let warning =
                "the cluster has no quorum: this is what this unit's member knew, others may know more";
            return Ok(Source { client, warning: Some(warning.to_owned()) });
        }
    }
    Err(without_quorum)
}

/// The directory, made if it is missing: then it is private too. One that is there stays as its owner has it.
fn prepare(target: &str) -> Result<PathBuf> {
    let path = Path::new(target);
    if !path.is_absolute() {
        bail!("target: {target} is not an absolute path; accepted: one such as {HOME}/etcd-snapshots");
    }
    if path.exists() && !path.is_dir() {
        bail!("target: {target} is not a directory; name one, or a path where one can be made");
    }
    let remedy = || format!("target: cannot make the directory {target}; name one that this unit can write");
    if files::make_missing_dir(path, 0o700).with_context(remedy)? == Written::Changed {
        files::give_to("ubuntu", path).with_context(remedy)?;
    }
    Ok(path.to_owned())
}

/// Shows how far the work has come while it goes on.
async fn telling<T>(work: impl Future<Output = T>, progress: impl fmt::Display, tools: &Tools) -> T {
    let telling = async {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            tell(tools, &progress.to_string()).await;
        }
    };
    tokio::select! {
        done = work => done,
        never = telling => never,
    }
}

async fn results(unit: &UnitName, saved: &Saved, source: &Source) -> Results {
    let path = saved.path.display();
    let snapshot = &saved.snapshot;
    let mut results = Results::from([
        ("snapshot.path".to_owned(), path.to_string()),
        ("snapshot.size".to_owned(), human(saved.bytes)),
        ("snapshot.size-bytes".to_owned(), saved.bytes.to_string()),
        ("snapshot.db-size-bytes".to_owned(), snapshot.bytes.to_string()),
        ("snapshot.sha256".to_owned(), saved.sha256.clone()),
        ("snapshot.version".to_owned(), snapshot.version.to_string()),
        ("snapshot.revision".to_owned(), snapshot.revision.to_string()),
        ("copy.cmd".to_owned(), format!("juju scp {unit}:{path} .")),
    ]);
    // Counted at that very revision, which the snapshot is sure to hold. History may have been compacted meanwhile:
    // then nobody can tell any more.
    if let Ok(keys) = source.client.count_keys(snapshot.revision).await {
        results.insert("snapshot.keys".to_owned(), keys.to_string());
    }
    if let Some(warning) = &source.warning {
        results.insert("snapshot.warning".to_owned(), warning.clone());
    }
    results
}

/// As `du -h` prints it, which is what the earlier charm showed: `68K`, `1.3G`, rounded up.
pub(super) fn human(bytes: u64) -> String {
    let mut unit = 1024;
    for suffix in ["K", "M", "G"] {
        let tenths = (bytes * 10).div_ceil(unit);
        if tenths < 100 {
            return format!("{}.{}{suffix}", tenths / 10, tenths % 10);
        }
        if bytes.div_ceil(unit) < 1024 {
            return format!("{}{suffix}", bytes.div_ceil(unit));
        }
        unit *= 1024;
    }
    format!("{}T", bytes.div_ceil(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_target_that_cannot_be_used_is_refused_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = |target: &str| prepare(target).unwrap_err().to_string();
        assert_eq!(
            refused("snapshots"),
            "target: snapshots is not an absolute path; accepted: one such as /home/ubuntu/etcd-snapshots"
        );
        assert!(refused("~/snapshots").contains("is not an absolute path"));
        assert!(refused(file.to_str().unwrap()).contains("is not a directory; name one"));
        assert!(refused(&format!("{}/in/it", file.display())).contains("name one that this unit can write"));
        assert!(refused("/proc/snapshots").contains("name one that this unit can write"));
    }

    #[test]
    fn a_new_target_is_private_and_one_that_is_there_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let fresh = home.path().join("a/b");
        assert_eq!(prepare(fresh.to_str().unwrap()).unwrap(), fresh);
        assert_eq!(mode(&fresh), 0o700);
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o750)).unwrap();
        prepare(fresh.to_str().unwrap()).unwrap();
        assert_eq!(mode(&fresh), 0o750);
    }

    #[test]
    fn sizes_are_rounded_up_as_du_does() {
        let cases = [
            (1, "0.1K"),
            (20_481, "21K"),
            (68 << 10, "68K"),
            (1023 << 10, "1023K"),
            ((1023 << 10) + 1, "1.0M"),
            (1 << 20, "1.0M"),
            (1_395_864_371, "1.3G"),
            (10 << 30, "10G"),
            (3 << 40, "3T"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
