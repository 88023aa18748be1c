//! `defrag`: give unused space of the databases back to the disk. One member at a time and the raft leader last, since
//! a member serves nothing meanwhile; only while all work and none is being added.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::cluster::{Cluster, Exclusive, LOOK_FIRST, Surveyed, name, why_not_busy};
use super::snapshot::human;
use super::{Report, Results, tell};
use crate::etcd::{Client, Error, Member, MemberId, patience};
use crate::juju::{Tools, UnitName};
use crate::observe::Local;

/// Time for an election, and for a member to catch up with what was written while it was busy.
const SETTLE: Duration = Duration::from_secs(60);

pub(super) async fn run(unit: &UnitName, look: &Local, tools: &Tools) -> Result<Report> {
    let cluster = Cluster::reach(look).await?;
    let exclusive = cluster.exclusively(unit).await?;
    let rolled = roll(&cluster, &exclusive, tools).await;
    exclusive.release().await;
    Ok(rolled.report())
}

/// One member that has been defragmented.
#[derive(Debug)]
pub(super) struct Defragmented {
    name: String,
    /// Size of the file before, bytes.
    before: i64,
    /// Size of the file after, bytes.
    after: i64,
    url: String,
}

/// How far it came.
#[derive(Debug)]
pub(super) struct Rolled {
    /// In their order.
    pub done: Vec<Defragmented>,
    /// Why the rest was left alone, and what to do.
    pub failure: Option<String>,
}

impl Rolled {
    /// Sizes before and after by member, and the lines that etcdctl prints.
    pub fn results(&self) -> Results {
        let mut results = Results::new();
        let mut lines = Vec::new();
        for Defragmented { name, before, after, url } in &self.done {
            results.insert(format!("members.{name}.before-bytes"), before.to_string());
            results.insert(format!("members.{name}.after-bytes"), after.to_string());
            lines.push(format!("Finished defragmenting etcd member[{url}]"));
        }
        results.insert("output".to_owned(), lines.join("\n"));
        results
    }

    fn report(self) -> Report {
        Report { results: self.results(), failure: self.failure }
    }
}

/// Defragments all members.
pub(super) async fn roll(cluster: &Cluster, exclusive: &Exclusive, tools: &Tools) -> Rolled {
    let mut done = Vec::new();
    let failure = each(cluster, exclusive, tools, &mut done).await.err().map(|error| format!("{error:#}"));
    Rolled { done, failure }
}

async fn each(
    cluster: &Cluster,
    exclusive: &Exclusive,
    tools: &Tools,
    done: &mut Vec<Defragmented>,
) -> Result<()> {
    let mut heir = None;
    let surveyed = all_well(cluster).await?;
    if let Some(why) = cluster.why_no_room(&surveyed) {
        bail!("{why}");
    }
    for id in order(&surveyed) {
        exclusive.check(cluster).await?;
        // Looked at again before each: what was true a minute ago protects nobody.
        let surveyed = all_well(cluster).await?;
        let Some((member, Ok(status))) = surveyed.iter().find(|(member, _)| member.id == id) else {
            bail!("member {id} has left meanwhile; run it again");
        };
        let client = cluster.client_of(member)?;
        if status.raft_leader == Some(id)
            && let Some(heir) = heir.or_else(|| another(&surveyed, id))
        {
            hand_over(&client, heir).await.with_context(|| {
                format!("cannot defragment {}: raft leadership stays with it; run it again", name(member))
            })?;
        }
        let size = human(u64::try_from(status.db_size_bytes).unwrap_or(0));
        tell(tools, &format!("defragmenting {}, {size}", name(member))).await;
        done.push(one(member, &client, status.db_size_bytes).await?);
        heir = Some(id);
    }
    Ok(())
}

async fn all_well(cluster: &Cluster) -> Result<Vec<Surveyed>> {
    let surveyed = cluster.survey().await?;
    if let Some(why) = why_not_busy(&surveyed) {
        bail!("no member may be busy with its database now: {why}; {LOOK_FIRST}");
    }
    Ok(surveyed)
}

/// By name, the raft leader last.
fn order(surveyed: &[Surveyed]) -> Vec<MemberId> {
    let leads = |(member, status): &Surveyed| {
        status.as_ref().is_ok_and(|status| status.raft_leader == Some(member.id))
    };
    let mut sorted: Vec<&Surveyed> = surveyed.iter().collect();
    sorted.sort_by_key(|surveyed| (leads(surveyed), surveyed.0.name.clone()));
    sorted.into_iter().map(|(member, _)| member.id).collect()
}

fn another(surveyed: &[Surveyed], id: MemberId) -> Option<MemberId> {
    surveyed.iter().map(|(member, _)| member.id).find(|other| *other != id)
}

/// Asks the raft leader to let another member lead, and waits until it does not lead any more.
async fn hand_over(leader: &Client, heir: MemberId) -> Result<()> {
    match leader.clone().with_timeout(Duration::from_secs(10)).move_leader(heir).await {
        // An election was faster.
        Ok(()) | Err(Error::NotLeader) => {}
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + SETTLE;
    loop {
        let status = leader.status().await?;
        if status.raft_leader.is_some_and(|id| id != status.member) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("no other member has taken over");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Never tried again by itself: after a time-out the server is still at it, and a second request would wait behind the
/// first.
async fn one(member: &Member, client: &Client, before: i64) -> Result<Defragmented> {
    let name = name(member);
    let limit = patience(before);
    match client.defragment(limit).await {
        Ok(()) => {}
        Err(Error::TimedOut { .. }) => bail!(
            "{name} has not ended within {} s and is still at it; wait until the health action finds it healthy, then run this again",
            limit.as_secs()
        ),
        Err(error) => {
            return Err(anyhow!("cannot defragment {name}: {error}; look at its disk and its log"));
        }
    }
    caught_up(client).await.with_context(|| {
        format!("{name} is defragmented and has not caught up within {} s; {LOOK_FIRST}", SETTLE.as_secs())
    })?;
    let after = client.status().await.with_context(|| format!("cannot learn the size of {name}"))?;
    Ok(Defragmented { name, before, after: after.db_size_bytes, url: client.endpoint().to_owned() })
}

/// A linearizable read is answered only when everything before it is applied.
async fn caught_up(client: &Client) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match client.confirm_quorum().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
