//! `snapshot`: the whole database in one private archive on this unit, checked before success is told.

mod v2;

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
    let target =
        parameters.text("target")?.map_or_else(|| format!("{HOME}/etcd-snapshots"), ToOwned::to_owned);
    match parameters.text("keys-version")? {
        None | Some("v3") => {}
        Some("v2") => return v2::run(unit, look, &target, tools).await,
        Some(other) => bail!("keys-version: {other} is neither v3 nor v2"),
    }
    let source = source(look).await?;
    let target = Target::prepare(&target)?;
    let progress = Progress::default();
    let saving = backup::save(&source.client, &target.path, clock::now_s(), &progress);
    let saved = target.keep_if(telling(saving, &progress, tools).await)?;
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

/// Where the archive goes. Directories that were made for it are gone again when there is none.
struct Target {
    path: PathBuf,
    /// What was not there before, the deepest first.
    made: Vec<PathBuf>,
}

impl Target {
    /// The directory, made if it is missing: then it is private too. One that is there stays as its owner has it.
    fn prepare(target: &str) -> Result<Target> {
        let path = Path::new(target);
        if !path.is_absolute() {
            bail!("target: {target} is not an absolute path; accepted: one such as {HOME}/etcd-snapshots");
        }
        if path.exists() && !path.is_dir() {
            bail!("target: {target} is not a directory; name one, or a path where one can be made");
        }
        let made = path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        let target = Target { path: path.to_owned(), made };
        target.keep_if(target.make())?;
        Ok(target)
    }

    fn make(&self) -> Result<()> {
        let path = &self.path;
        let remedy = || {
            format!("target: cannot make the directory {}; name one that this unit can write", path.display())
        };
        if files::make_missing_dir(path, 0o700).with_context(remedy)? == Written::Changed {
            files::give_to("ubuntu", path).with_context(remedy)?;
        }
        Ok(())
    }

    /// Hands on how it went, and takes the directories away if it went wrong. One with something in it stays.
    fn keep_if<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.made.iter().take_while(|path| std::fs::remove_dir(path).is_ok()).for_each(drop);
        }
        outcome
    }
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
    let snapshot = &saved.snapshot;
    let mut results = archive_results(unit, &saved.path, saved.bytes, saved.sha256.clone());
    results.extend([
        ("snapshot.db-size-bytes".to_owned(), snapshot.bytes.to_string()),
        ("snapshot.version".to_owned(), snapshot.version.to_string()),
        ("snapshot.revision".to_owned(), snapshot.revision.to_string()),
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

/// What is told of every archive.
fn archive_results(unit: &UnitName, path: &Path, bytes: u64, sha256: String) -> Results {
    let path = path.display();
    Results::from([
        ("snapshot.path".to_owned(), path.to_string()),
        ("snapshot.size".to_owned(), human(bytes)),
        ("snapshot.size-bytes".to_owned(), bytes.to_string()),
        ("snapshot.sha256".to_owned(), sha256),
        ("copy.cmd".to_owned(), format!("juju scp {unit}:{path} .")),
    ])
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
    use anyhow::anyhow;

    use super::*;
    use crate::juju::FakeTools;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_target_that_cannot_be_used_is_refused_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = |target: &str| Target::prepare(target).err().unwrap().to_string();
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
        let target = Target::prepare(fresh.to_str().unwrap()).unwrap();
        assert_eq!(mode(&fresh), 0o700);
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o750)).unwrap();
        let again = Target::prepare(fresh.to_str().unwrap()).unwrap();
        assert_eq!(mode(&fresh), 0o750);
        // Whoever has made it takes it away, and only when it is empty.
        assert!(again.keep_if::<()>(Err(anyhow!("no space"))).is_err());
        assert!(fresh.exists());
        std::fs::write(fresh.join("other"), "").unwrap();
        assert!(target.keep_if::<()>(Err(anyhow!("no space"))).is_err());
        assert!(fresh.exists());
        std::fs::remove_file(fresh.join("other")).unwrap();
        assert!(target.keep_if(Ok(())).is_ok() && fresh.exists());
        assert!(target.keep_if::<()>(Err(anyhow!("no space"))).is_err());
        assert!(!fresh.exists() && !home.path().join("a").exists() && home.path().exists());
    }

    #[tokio::test]
    async fn long_work_gives_signs_of_life() {
        let fake = FakeTools::new().tool("action-log", "exit 0");
        let work = tokio::time::sleep(TELL_EVERY + Duration::from_millis(800));
        telling(work, "saved 7 of 9 MiB", &fake.tools()).await;
        assert_eq!(fake.calls(), ["action-log|--|saved 7 of 9 MiB"]);
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
