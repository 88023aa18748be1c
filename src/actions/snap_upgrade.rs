//! `snap-upgrade`: from Debian's package of etcd to the snap. Invariant: a lone member's data is copied and never written to,
//! so that its service can be brought back at any moment until the snap's etcd is healthy; only then the package goes.

mod several;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::parameters::Parameters;
use super::{HOME, Report, Results, install, tell, tell_what_stands_now};
use crate::act::{self, Trouble};
use crate::backup::stamp;
use crate::clock;
use crate::decide::{self, COMMON, DATA, Next};
use crate::etcd::{Channel, Client, Credentials, Version};
use crate::event::Event;
use crate::host::{self, Snap, files, package};
use crate::juju::{Context, Tools};
use crate::observe::{self, Facts};
use crate::process::Run;
use crate::step::{Source, Step};
use crate::world::{Answered, Data, Door, Reading, Service, Tried, World};

/// Large data takes its time to be copied.
const COPY: Duration = Duration::from_secs(60 * 60);
/// From the snap's first start to its service.
const START: Duration = Duration::from_secs(120);

/// Of the package's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Its data is copied.
    One,
    /// Its data is moved.
    Several,
}

struct Migration<'a> {
    facts: &'a Facts,
    tools: &'a Tools,
    options: package::PackageOptions,
    source: Source,
    size: Size,
    /// Where a copy of the data is kept, if it is wanted.
    target: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, parameters: &Parameters, tools: &Tools) -> Result<Report> {
    let facts = observe::facts(context, Event::Look("snap-upgrade".to_owned()), tools).await?;
    let options =
        package::PackageOptions::read().with_context(|| format!("cannot read {}", package::OPTIONS))?;
    let world = observe::world(&facts, tools, &Tried::default()).await?;
    ensure!(world.host.package, "there is no Debian package of etcd on this unit; nothing is left to do");
    let mut results = Results::from([("package-options".to_owned(), options.all())]);
    let serves = matches!(&world.etcd.door, Door::Open(_));
    if !serves {
        let size = check(&world, &options).await?;
        let source = source(&facts, parameters, tools).await?;
        // What has moved already was saved before.
        let has_moved = several::has_moved(&world, &options);
        let target = if parameters.flag("backup")? && !has_moved { Some(target(parameters)?) } else { None };
        let lock = match size {
            Size::Several if !has_moved => Some(several::check(&world, &options).await?),
            Size::Several | Size::One => None,
        };
        let migration = Migration { facts: &facts, tools, options: options.clone(), source, size, target };
        let moved = migration.run().await;
        if let Some(lock) = lock {
            several::give_back_lock(lock).await;
        }
        match moved {
            Ok(Some(archive)) => drop(results.insert("backup".to_owned(), archive.display().to_string())),
            Ok(None) => {}
            Err(error) => {
                tell_what_stands_now("snap-upgrade", context, tools).await;
                return Err(error);
            }
        }
    }
    if several::is_marked(&options) {
        let world = observe::world(&facts, tools, &Tried::default()).await?;
        several::give_back_left_lock(&world).await;
    }
    tell(tools, "the snap's etcd is healthy; purging the package").await;
    let kept = purge(&options).await?;
    if kept.join("member").exists() {
        results.insert("data-kept".to_owned(), kept.display().to_string());
    }
    Ok(Report::of(results))
}

/// Everything that can be known before anything is touched.
async fn check(world: &World, options: &package::PackageOptions) -> Result<Size> {
    if world.host.credentials.is_none() && !matches!(world.authority.answer, Answered::Usable(_)) {
        bail!("this unit has no certificates yet; relate etcd to a certificate authority and run this again");
    }
    if let Err(errors) = &world.options {
        bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    if several::has_moved(world, options) {
        return Ok(Size::Several);
    }
    let log = options.data().join("member/wal");
    ensure!(
        log.is_dir(),
        "the package's data is not in {}; correct ETCD_DATA_DIR in {}",
        options.data().display(),
        package::OPTIONS
    );
    Ok(if is_alone(options).await { Size::One } else { Size::Several })
}

/// Where the server does not answer, its options tell what it began with.
async fn is_alone(options: &package::PackageOptions) -> bool {
    match package::members(options).await {
        Some(members) => members == 1,
        None if options.get("ETCD_DISCOVERY").or(options.get("ETCD_DISCOVERY_SRV")).is_some() => false,
        None => options.get("ETCD_INITIAL_CLUSTER").is_none_or(|members| !members.contains(',')),
    }
}

async fn source(facts: &Facts, parameters: &Parameters, tools: &Tools) -> Result<Source> {
    if parameters.flag("use-resource")? {
        let attached = install::attached(tools).await?;
        return Ok(Source::Files { etcd: attached.etcd, core: attached.core });
    }
    facts.channel().map(Source::Channel).context("channel: cannot be read; correct it and run this again")
}

fn target(parameters: &Parameters) -> Result<PathBuf> {
    let target = PathBuf::from(parameters.text("target")?.unwrap_or(HOME));
    ensure!(
        target.is_absolute() && target.is_dir(),
        "target: {} is no directory on this unit",
        target.display()
    );
    Ok(target)
}

impl Migration<'_> {
    /// To a healthy server of the snap, or back to the package's.
    async fn run(&self) -> Result<Option<PathBuf>> {
        tell(self.tools, "stopping the package's etcd").await;
        let had_snap = Snap::new("etcd").installed()?.is_some();
        match self.change_over().await {
            Ok(archive) => Ok(archive),
            Err(error) => match self.go_back(had_snap).await {
                Ok(()) => Err(error.context("the package's etcd runs again as before")),
                Err(trouble) => {
                    Err(anyhow!("{error:#}; and the package's etcd could not be started again: {trouble:#}"))
                }
            },
        }
    }

    async fn change_over(&self) -> Result<Option<PathBuf>> {
        // What an earlier run has left may be about to start.
        if Snap::new("etcd").installed()?.is_some() {
            host::etcd_service().disable_now().await?;
        }
        package::service().disable_now().await?;
        let archive = match &self.target {
            Some(target) => Some(self.back_up(target).await?),
            None => None,
        };
        let world = self.look().await?;
        if matches!(world.host.snap, Reading::Known(None)) {
            self.perform(&Step::InstallSnap(self.source.clone()), &world).await?;
        }
        check_version(&self.look().await?, self.size).await?;
        match self.size {
            Size::One => {
                tell(self.tools, "copying the data").await;
                self.copy_data().await?;
            }
            Size::Several => several::take(&self.options).await?,
        }
        // It was the operator who said that this data is the unit's.
        let world = self.look().await?;
        self.perform(&Step::ClaimMachine(decide::claim_of(&world)), &world).await?;
        self.start().await?;
        Ok(archive)
    }

    /// Data and options, of the stopped server.
    async fn back_up(&self, target: &Path) -> Result<PathBuf> {
        let (partial, path) = (
            target.join(".etcd-data.partial"),
            target.join(format!("etcd-data-{}.tar.gz", stamp(clock::now_s()))),
        );
        let cannot = || format!("cannot save the data in {}", target.display());
        files::remove_if_exists(&partial).with_context(cannot)?;
        let mut private = std::fs::OpenOptions::new();
        private.write(true).create_new(true).mode(0o600).open(&partial).with_context(cannot)?;
        let run =
            Run::new("tar").args(["--create", "--gzip", "--file"]).arg(&partial).arg("--absolute-names");
        let run = run.arg(self.options.data()).args(files::read(package::OPTIONS)?.map(|_| package::OPTIONS));
        if let Err(error) = run.timeout(COPY).output().await {
            files::remove_if_exists(&partial).with_context(cannot)?;
            return Err(error).with_context(cannot);
        }
        files::give_to("ubuntu", &partial).with_context(cannot)?;
        files::publish(&partial, &path).with_context(cannot)?;
        Ok(path)
    }

    /// A snap that this run has installed never served anybody, and makes room for another one.
    async fn go_back(&self, had_snap: bool) -> Result<()> {
        let snap = Snap::new("etcd");
        if snap.installed()?.is_some() {
            host::etcd_service().disable_now().await?;
            if self.size == Size::Several {
                several::give_back(&self.options).await?;
            }
            if !had_snap {
                snap.remove(true).await?;
            }
        }
        let service = package::service();
        service.reset_failed().await?;
        service.enable().await?;
        Ok(service.start().await?)
    }

    async fn copy_data(&self) -> Result<()> {
        let (from, to) = (self.options.data().join("member"), PathBuf::from(DATA).join("member"));
        if to.exists() {
            files::move_aside(&to, "unfinished").context("cannot move an earlier copy aside")?;
        }
        let partial = PathBuf::from(DATA).join(".member.partial");
        Run::new("rm").arg("-rf").arg(&partial).output().await?;
        Run::new("cp")
            .arg("-a")
            .arg(&from)
            .arg(&partial)
            .timeout(COPY)
            .output()
            .await
            .context("cannot copy the data")?;
        Run::new("chown").args(["-R", "0:0"]).arg(&partial).output().await?;
        files::publish(&partial, &to).context("cannot put the copy in its place")
    }

    /// The ordinary runbook, which finds a stopped member with its data, until it serves and has its new peer URL.
    async fn start(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        let mut started = false;
        while Instant::now() < deadline {
            let world = self.look().await?;
            if let (true, Service::Failing(words)) = (started, &world.host.service) {
                bail!("the snap's etcd does not start: {words}");
            }
            ensure!(world.host.data == Data::Present, "the copied data is incomplete");
            if let Some(status) = world.own_status()
                && status.raft_leader.is_some()
                && let Some(members) = world.members()
            {
                ensure!(
                    members.len() == 1 || self.size == Size::Several,
                    "the package's etcd belongs to a cluster of {} members",
                    members.len()
                );
                return self.take_peer_url(&world, status.member).await;
            }
            match decide::next(&world) {
                Next::Do(step) => {
                    self.perform(&step, &world).await?;
                    started |= step == Step::StartService;
                }
                Next::Wait(_) | Next::Done(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
        bail!("the snap's etcd does not serve after {} s", START.as_secs())
    }

    async fn take_peer_url(&self, world: &World, own: crate::etcd::MemberId) -> Result<()> {
        let config = world.host.config.as_deref().unwrap_or_default();
        let config = crate::etcd::read_config(config)
            .with_context(|| format!("cannot read {COMMON}/etcd.conf.yml"))?;
        let urls = config.initial_advertise_peer_urls;
        if world
            .members()
            .unwrap_or_default()
            .iter()
            .any(|member| member.id == own && member.peer_urls == urls)
        {
            return Ok(());
        }
        let pem = world.host.credentials.as_ref().context("the certificates are gone")?;
        let endpoint = observe::own_endpoints(&world.host).into_iter().next().unwrap_or_default();
        let client = Client::connect(&endpoint, &Credentials::from(pem))?;
        client.update_peer_urls(own, &urls).await.context("cannot set the member's peer URL")?;
        client.confirm_quorum().await.context("the snap's etcd does not serve").map(drop)
    }

    /// The world without its package: what the runbook may go on from here.
    async fn look(&self) -> Result<World> {
        let mut world = observe::world(self.facts, self.tools, &Tried::default()).await?;
        world.host.package = false;
        Ok(world)
    }

    async fn perform(&self, step: &Step, world: &World) -> Result<()> {
        match act::perform(step, world, self.tools).await {
            Ok(()) => Ok(()),
            Err(Trouble::NotYet(why) | Trouble::Failed(why)) => bail!("{step}: {why}"),
        }
    }
}

/// The snap may be of the package's minor version or of the next: etcd's data goes no other way.
/// Several members move within one minor version, so that each can go back while there are others; and nothing moves to where
/// members have to prepare first.
async fn check_version(world: &World, size: Size) -> Result<()> {
    let version = Run::new("/usr/bin/etcd").arg("--version").output().await?.text();
    let version = version.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    let package: Version =
        version.unwrap_or_default().parse().context("cannot tell the version of the package")?;
    let snap = world.installed_version().context("cannot tell the version of the snap")?;
    let (from, to) = (package.minor_version(), snap.minor_version());
    ensure!(
        to == from || (to == from.next() && size == Size::One && !decide::needs_preparation(to)),
        "the snap is etcd {snap} and the package {package}: set channel={} and run this again",
        Channel::stable(from)
    );
    Ok(())
}

/// The data leaves what the package deletes; its options go with it.
async fn purge(options: &package::PackageOptions) -> Result<PathBuf> {
    package::service().disable_now().await?;
    let data = options.data();
    let mut kept = data.clone();
    if data.starts_with(package::HOME) && Path::new(package::HOME).exists() {
        let aside = files::move_aside(package::HOME, "migrated").context("cannot keep the package's data")?;
        kept = aside.join(data.strip_prefix(package::HOME)?);
        if let Some(text) = files::read(package::OPTIONS)? {
            files::write_atomic(aside.join("options"), &text, 0o600)?;
        }
    }
    let refused = "the snap's etcd is healthy, and the package cannot be purged; see why, and run this again";
    package::purge().await.context(refused)?;
    Ok(kept)
}
