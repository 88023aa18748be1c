//! `restore`: the cluster's data is replaced by what the `snapshot` resource holds.
//!
//! Everything is checked and built beside the running server first. Then the data is exchanged, with a journal that lets
//! any later run finish or undo it; when the restored member serves, the other units are told and rejoin by themselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::parameters::Parameters;
use super::{HOME, Report, Results, look, tell};
use crate::backup::{self, Progress};
use crate::clock;
use crate::decide;
use crate::etcd::{self, Client, ClusterId, Credentials, OnDisk};
use crate::event::Event;
use crate::host::{self, directory, files};
use crate::juju::{Context, Tools};
use crate::observe::{self, Local};
use crate::process::Run;
use crate::reconcile;
use crate::recovering::Recovery;
use crate::restoring::archive::{self, Content, Database};
use crate::restoring::{Journal, Phase, swap, v2};
use crate::world::{Data, Door, Roster, Tried};

/// Bytes beside the database that a restored member starts with: etcd makes its log 64 MB large at once.
const BESIDE: u64 = 96 << 20;
/// Watchers of the old cluster must see that theirs is over: no etcd writes so many revisions between a snapshot and
/// its restore. Source: etcd's guide to restoring with a revision bump.
const BUMP: &str = "1000000000";
/// Bytes a second that even a slow disk manages.
const SLOWEST: u64 = 1 << 20;

/// What is there to be restored, and into what.
struct Plan {
    name: String,
    peer_url: String,
    token: String,
    resource: PathBuf,
    may_lack_digest: bool,
    serves_v2: bool,
}

pub(super) async fn run(context: &Context, parameters: &Parameters, tools: &Tools) -> Result<Report> {
    if !tools.is_leader().await.context("cannot ask for leadership")? {
        bail!("this unit is not the leader: run restore on the leader, which juju status marks with *");
    }
    if Journal::read()?.is_some() || Recovery::read()?.is_some() {
        tell(tools, "finishing or undoing what was cut off").await;
        reconcile::run(context, Event::Look("restore".to_owned()), tools).await?;
    }
    let resource = resource(tools).await?;
    let mut look = look().await?;
    let from_nothing = look.host.data == Data::Empty;
    if from_nothing {
        look.host.config = Some(file_for_nothing(context, tools).await?);
    }
    let plan = plan(&look, resource, parameters)?;
    let workshop = Workshop::open(&look.host.place.data)?;
    let content = extract(&plan, &workshop).await?;
    let bytes = content.bytes();
    tell(tools, &format!("the snapshot is sound: {} MiB; building the new data directory", bytes >> 20))
        .await;
    let bumped = match &content {
        Content::Database(database) => build(&plan, database, &workshop).await?,
        Content::V2Store { bytes } => build_v2(&look, &plan, *bytes, &workshop).await?,
    };
    let saved = if from_nothing { None } else { save_old_data(&look, parameters, tools).await? };
    let kept = exchange(&look, &plan, bytes, &workshop, tools).await?;
    // From here on the restored data counts; what is left is telling the others.
    reconcile::run(context, Event::Look("restore".to_owned()), tools)
        .await
        .context("the data is restored, but the other units could not be told: they rejoin after the next hook of this unit")?;
    let mut results = Results::from([
        ("restore.db-size-bytes".to_owned(), bytes.to_string()),
        ("restore.hash-checked".to_owned(), content.is_proved().to_string()),
        ("restore.revision-bumped".to_owned(), bumped.to_string()),
    ]);
    if !from_nothing {
        results.insert("restore.old-data".to_owned(), kept.display().to_string());
    }
    let warning = match content {
        Content::V2Store { .. } => {
            Some("only keys of the v2 API and what the backup had of v3 were restored")
        }
        Content::Database(_) if bumped => None,
        Content::Database(_) => {
            Some("this etcd cannot bump revisions: restart every client that watches keys")
        }
    };
    if let Some(warning) = warning {
        results.insert("restore.warning".to_owned(), warning.to_owned());
    }
    if let Some(saved) = saved {
        results.insert("restore.backup".to_owned(), saved.display().to_string());
    }
    Ok(Report::of(results))
}

async fn resource(tools: &Tools) -> Result<PathBuf> {
    tools.resource("snapshot").await.into_path().context(
        "no snapshot is attached, or an empty one: juju attach-resource etcd snapshot=FILE.gz, then run restore again",
    )
}

/// Nothing is changed before all of this holds.
fn plan(look: &Local, resource: PathBuf, parameters: &Parameters) -> Result<Plan> {
    let config = look.host.config.as_deref().map(etcd::read_config).transpose()?;
    let config =
        config.context("this unit has never run etcd: wait until it is active, then run restore again")?;
    if !matches!(look.host.data, Data::Present | Data::Empty) {
        bail!("the data on this unit is damaged or cannot be read: see its status, then run restore again");
    }
    if look.host.place.log.is_some() || !Journal::can_be_in(Path::new(&look.host.place.data)) {
        bail!(
            "etcd's data is in {}: wait until it has been moved home, then run restore again",
            look.host.place
        );
    }
    if let Some(learner) = learner(look) {
        bail!("{learner} is joining: wait until it votes, then run restore again");
    }
    let OnDisk { name, initial_advertise_peer_urls, enable_v2: serves_v2, .. } = config;
    let peer_url = initial_advertise_peer_urls.into_iter().next();
    Ok(Plan {
        name: name.context("cannot find this member's name in etcd's configuration")?,
        peer_url: peer_url.context("cannot find this member's peer URL in etcd's configuration")?,
        token: uuid::Uuid::new_v4().simple().to_string(),
        resource,
        may_lack_digest: parameters.flag("skip-hash-check")?,
        serves_v2,
    })
}

/// Only where nobody has any data of the cluster, etcd begins from what is restored. Yields its file.
async fn file_for_nothing(context: &Context, tools: &Tools) -> Result<String> {
    let facts = observe::facts(context, Event::Action("restore".to_owned()), tools).await?;
    let world = observe::world(&facts, tools, &Tried::default()).await?;
    if world.peers.cluster.cluster.is_some()
        && let Some((unit, why)) = decide::who_may_have_data(&world)
    {
        bail!(
            "this unit has no data, and {unit} may have some: {why}; bring it back, or remove it if it is lost for good (juju remove-unit {unit} --force), then run restore again"
        );
    }
    if !decide::is_all_lost(&world) {
        bail!("this unit has no member: wait until it is active, then run restore again");
    }
    decide::first_file(&world).context("this unit has no address or wrong options: see its status")
}

fn learner(look: &Local) -> Option<String> {
    let (Roster::Confirmed(members) | Roster::Unconfirmed { remembered: members, .. }) = &look.etcd.roster
    else {
        return None;
    };
    let learner = members.iter().find(|member| member.learner)?;
    Some(if learner.is_started() { learner.name.clone() } else { format!("member {}", learner.id) })
}

/// A private directory on the data's file system; it and what is in it go on every way out.
struct Workshop(PathBuf);

impl Workshop {
    fn open(data_dir: &str) -> Result<Workshop> {
        let workshop = Workshop(swap::workshop(data_dir));
        workshop.clear()?;
        files::make_dir(&workshop.0, 0o700)
            .with_context(|| format!("cannot make {}", workshop.0.display()))?;
        Ok(workshop)
    }

    fn clear(&self) -> Result<()> {
        directory::remove_if_exists(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }

    fn database(&self) -> PathBuf {
        self.0.join(archive::DATABASE)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(error = %format!("{error:#}"), "the directory of the restore was not removed");
        }
    }
}

/// The disk must hold the database twice: as it came and as it is restored.
async fn extract(plan: &Plan, workshop: &Workshop) -> Result<Content> {
    let free = files::free_bytes(&workshop.0).context("cannot tell how much disk space is free")?;
    let limit = free.saturating_sub(BESIDE) / 2;
    let (resource, folder, may_lack_digest) =
        (plan.resource.clone(), workshop.0.clone(), plan.may_lack_digest);
    let extracting =
        tokio::task::spawn_blocking(move || archive::extract(&resource, &folder, limit, may_lack_digest));
    Ok(extracting.await??)
}

/// Time for a step that reads or writes `bytes`.
fn patience(bytes: u64) -> Duration {
    Duration::from_secs(120 + bytes / SLOWEST)
}

/// As `build`, for a backup of the v2 store. It never bumps: v2 has no revisions.
async fn build_v2(look: &Local, plan: &Plan, bytes: u64, workshop: &Workshop) -> Result<bool> {
    if !plan.serves_v2 {
        bail!(
            "the archive holds a backup of v2 keys, which this etcd does not serve: set enable_v2=true, wait until the unit is active, then run restore again"
        );
    }
    let pem = look.host.credentials.as_ref().context("this unit has no certificates")?;
    let member = v2::Member {
        programs: &host::etcd_programs(),
        config: look.host.config.as_deref().unwrap_or_default(),
        credentials: &Credentials::from(pem),
        peer_url: &plan.peer_url,
        patience: patience(bytes),
    };
    let cluster = v2::rebuild(&member, &workshop.0.join(archive::V2_STORE), &workshop.data()).await?;
    // Nobody could tell its members from those of the cluster that it replaces.
    if matches!(&look.etcd.door, Door::Open(status) if status.cluster == cluster) {
        bail!(
            "the backup of v2 keys is one of this very cluster, and etcd 3.5 cannot give it another identity: deploy a new application with enable_v2=true and restore there"
        );
    }
    Ok(false)
}

/// A new data directory by etcd's own tool: a cluster of this member alone. Yields whether revisions were bumped.
async fn build(plan: &Plan, database: &Database, workshop: &Workshop) -> Result<bool> {
    let programs = host::etcd_programs();
    let utility = programs.join("etcdutl");
    let tool = if utility.exists() { utility } else { programs.join("etcdctl") };
    let help =
        Run::new(&tool).args(["snapshot", "restore", "--help"]).env("ETCDCTL_API", "3").status().await?;
    let can_bump = help.text().contains("--bump-revision");
    let mut run = Run::new(&tool)
        .args(["snapshot", "restore"])
        .arg(workshop.database())
        .arg("--data-dir")
        .arg(workshop.data())
        .args(["--name", &plan.name])
        .args(["--initial-cluster", &format!("{}={}", plan.name, plan.peer_url)])
        .args(["--initial-advertise-peer-urls", &plan.peer_url])
        .args(["--initial-cluster-token", &plan.token])
        .timeout(patience(database.bytes))
        .env("ETCDCTL_API", "3");
    if can_bump {
        run = run.args(["--bump-revision", BUMP, "--mark-compacted"]);
    }
    if !database.is_proved {
        run = run.arg("--skip-hash-check");
    }
    run.output().await.context("etcd's own tool refuses the snapshot; nothing was changed")?;
    directory::sync(workshop.data()).context("cannot make the restored data durable")?;
    Ok(can_bump)
}

/// `skip-backup=false`: also a snapshot of what is about to be replaced.
async fn save_old_data(look: &Local, parameters: &Parameters, tools: &Tools) -> Result<Option<PathBuf>> {
    if parameters.flag_or("skip-backup", true)? {
        return Ok(None);
    }
    let target = Path::new(parameters.text("target")?.unwrap_or(HOME));
    if !target.is_absolute() || !target.is_dir() {
        bail!("target: {} is not a directory of this unit; accepted: one such as {HOME}", target.display());
    }
    let client = own_client(look).await.context(
        "cannot save the old data: etcd does not answer; skip-backup=true keeps it aside all the same",
    )?;
    tell(tools, &format!("saving the present data in {}", target.display())).await;
    let saved = backup::save(&client, target, clock::now_s(), &Progress::default()).await?;
    Ok(Some(saved.path))
}

async fn own_client(look: &Local) -> Result<Client> {
    let pem = look.host.credentials.as_ref().context("this unit has no certificates")?;
    Ok(etcd::reach(&observe::own_endpoints(&look.host), &Credentials::from(pem), None).await?)
}

/// Yields the name under which the old data is kept.
async fn exchange(
    look: &Local,
    plan: &Plan,
    bytes: u64,
    workshop: &Workshop,
    tools: &Tools,
) -> Result<PathBuf> {
    let by_log = look.host.identity.map(|identity| identity.cluster);
    let old_cluster = match &look.etcd.door {
        Door::Open(status) => Some(status.cluster),
        Door::Closed | Door::Mute(_) => by_log,
    };
    let old_cluster = old_cluster.map(|cluster| cluster.to_string());
    // What has this name already, after a clock was set back, would be taken for the data of before.
    let name = format!("member.before-restore-{}", backup::stamp(clock::now_s()));
    let kept = directory::free_name(Path::new(&look.host.place.data).join(name));
    let kept = kept.context("cannot name the data of before")?;
    let journal = Journal {
        phase: Phase::Swapping,
        kept: kept.clone(),
        old_cluster,
        token: plan.token.clone(),
        restored: None,
        from_nothing: look.host.data == Data::Empty,
    };
    journal.write()?;
    tell(tools, "exchanging the data and starting etcd on it").await;
    match put_into_service(look, &journal, workshop, bytes).await {
        Ok(cluster) => {
            journal.accept(cluster)?;
            Ok(kept)
        }
        Err(error) => {
            let outcome = match swap::go_back(&journal).await {
                Ok(()) if journal.from_nothing => "this unit has no data, as before".to_owned(),
                Ok(()) => "the old data is back and etcd runs on it".to_owned(),
                Err(trouble) => format!(
                    "putting the old data back failed too ({trouble:#}): it is in {}, and the next hook tries again",
                    kept.display()
                ),
            };
            Err(error.context(format!("cannot restore; {outcome}")))
        }
    }
}

/// Yields the restored cluster.
async fn put_into_service(
    look: &Local,
    journal: &Journal,
    workshop: &Workshop,
    bytes: u64,
) -> Result<ClusterId> {
    swap::stop().await?;
    if journal.from_nothing {
        let file = look.host.config.as_deref().unwrap_or_default();
        files::write_atomic(format!("{}/etcd.conf.yml", decide::COMMON), file.as_bytes(), 0o600)
            .context("cannot write etcd's configuration")?;
    }
    swap::exchange(&journal.kept, &workshop.data().join("member"))?;
    swap::start().await?;
    let deadline = Instant::now() + patience(bytes);
    let mut last = "it does not answer".to_owned();
    while Instant::now() < deadline {
        match serves(look, journal).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    bail!("etcd does not serve the restored data: {last}")
}

/// One member, which takes part in a quorum of its own.
async fn serves(look: &Local, journal: &Journal) -> Result<ClusterId> {
    let client = own_client(look).await?;
    let status = client.status().await?;
    if !journal.is_restored(status.cluster) {
        bail!("the old server still runs");
    }
    Ok(status.cluster)
}
