//! The package as one of several members: one unit moves while the others serve. Invariant: a member's data is in one place at any
//! moment; of a copy's promises to its peers the original, brought back, would know nothing.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::act::{self, Trouble};
use crate::actions::cluster::{Cluster, Surveyed};
use crate::decide::{self, DATA};
use crate::etcd::{Client, Credentials, Lock, Member};
use crate::host::{files, package};
use crate::process::Run;
use crate::tls::Bundle;
use crate::world::{Answered, Data, World};

/// What is left where a member cannot move.
const OTHERWISE: &str = "or save a snapshot with the package's etcdctl (ETCDCTL_API=3 etcdctl snapshot save FILE), deploy a new application with --resource snapshot=FILE, and run its action restore";

/// Beside the package's data: it is being moved to the snap, or was.
const MARK: &str = ".moved-to-snap";

/// Whether the data was or is being moved to the snap.
pub(super) fn is_marked(options: &package::PackageOptions) -> bool {
    options.data().join(MARK).exists()
}

/// A run that was killed has left the data with the snap.
pub(super) fn has_moved(world: &World, options: &package::PackageOptions) -> bool {
    let data = options.data();
    world.host.data == Data::Present && is_marked(options) && !data.join("member").exists()
}

/// Whether this member can move alone: all members are healthy voters and units of this application, they will talk to the
/// snap's etcd as they do to the package's, and no other one is restarted while the lock is held.
pub(super) async fn check(world: &World, options: &package::PackageOptions) -> Result<Lock> {
    may_move(world, options).await.map_err(|error| {
        anyhow!("the package's etcd is one of several members and does not move: {error:#}; mend that, {OTHERWISE}")
    })
}

async fn may_move(world: &World, options: &package::PackageOptions) -> Result<Lock> {
    let ((Some(pem), _) | (None, Answered::Usable(pem))) = (&world.host.credentials, &world.authority.answer)
    else {
        bail!("this unit has no certificates yet");
    };
    trusts(options, &pem.ca)?;
    let credentials = Credentials::from(pem);
    let urls = options.get("ETCD_ADVERTISE_CLIENT_URLS").unwrap_or_default();
    let client = Client::connect(urls.split(',').next().unwrap_or_default(), &credentials)?;
    let cluster = Cluster::at(client, credentials);
    let surveyed = cluster.survey().await.context("it does not answer")?;
    fits(world, &surveyed)?;
    let own = world.member_name();
    let other = surveyed.iter().find(|(member, _)| member.name != own).context("it is alone")?;
    // Not by the own server, which is about to go.
    let lock = act::restart_lock(&cluster.client_of(&other.0)?, world).await?;
    // Whoever had it before may have stopped since.
    let again = match cluster.survey().await {
        Ok(surveyed) => fits(world, &surveyed),
        Err(error) => Err(error),
    };
    match again {
        Ok(()) => Ok(lock),
        Err(error) => {
            give_back_lock(lock).await;
            Err(error)
        }
    }
}

pub(super) async fn give_back_lock(lock: Lock) {
    if let Err(error) = lock.unlock().await {
        tracing::warn!(%error, "the restart lock was not given back and ends with its lease");
    }
}

/// Of a run that was killed.
pub(super) async fn give_back_left_lock(world: &World) {
    if let Err(Trouble::NotYet(why) | Trouble::Failed(why)) = act::give_back_left_lock(world).await {
        tracing::warn!(error = %why, "the restart lock was not given back and ends with its lease");
    }
}

fn fits(world: &World, surveyed: &[Surveyed]) -> Result<()> {
    for (member, status) in surveyed {
        let name = &member.name;
        ensure!(is_expected(world, member), "member {} ({name}) is no unit of this application", member.id);
        let status = status.as_ref().map_err(|why| anyhow!("{name} is not healthy: {why}"))?;
        ensure!(!status.learner && status.raft_leader.is_some(), "{name} is not healthy: it does not vote");
    }
    let own = world.member_name();
    let Some((member, _)) = surveyed.iter().find(|(member, _)| member.name == own) else {
        bail!("no member is called {own}");
    };
    let wanted = decide::peer_url(world).unwrap_or_default();
    ensure!(
        member.peer_urls == [wanted.as_str()],
        "its peer URL is {} and would become {wanted}",
        member.peer_urls.join(",")
    );
    Ok(())
}

fn is_expected(world: &World, member: &Member) -> bool {
    world.peers.expected.iter().flatten().any(|unit| unit.member_name() == member.name)
}

/// The members are taken to trust the same authorities.
fn trusts(options: &package::PackageOptions, authorities: &str) -> Result<()> {
    let file = options.get("ETCD_PEER_TRUSTED_CA_FILE").context("its members use no TLS of their own")?;
    let trusted = files::read_named(file).with_context(|| format!("cannot read {file}"))?;
    let trusted = trusted.with_context(|| format!("{file} is not there"))?;
    let trusted = Bundle::parse(&String::from_utf8_lossy(&trusted))
        .with_context(|| format!("cannot understand {file}"))?;
    let authorities = Bundle::parse(authorities).context("cannot understand the related authority")?;
    ensure!(trusted.contains_all(&authorities), "{file} does not have the related certificate authority");
    Ok(())
}

/// To the snap; can be repeated.
pub(super) async fn take(options: &package::PackageOptions) -> Result<()> {
    let (data, member) = (options.data(), Path::new(DATA).join("member"));
    files::write_atomic(data.join(MARK), b"", 0o600).context("cannot write the mark of the move")?;
    if data.join("member").exists() {
        if member.exists() {
            files::move_aside(&member, "unfinished").context("cannot move earlier data aside")?;
        }
        files::publish(data.join("member"), &member).context("cannot move the data to the snap")?;
    }
    own(&member).await
}

/// To the package, whose version is of the same minor, with all that was written meanwhile; can be repeated.
pub(super) async fn give_back(options: &package::PackageOptions) -> Result<()> {
    let member = options.data().join("member");
    if !member.exists() {
        files::publish(Path::new(DATA).join("member"), &member).context("cannot move the data back")?;
    }
    own(&member).await?;
    files::remove_if_exists(options.data().join(MARK)).context("cannot remove the mark of the move")
}

/// Gives it to the owner of the directory that it is in.
async fn own(member: &Path) -> Result<()> {
    let directory = member.parent().unwrap_or(member);
    Run::new("chown").arg("-R").arg("--reference").arg(directory).arg(member).output().await?;
    Ok(())
}
