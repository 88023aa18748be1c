//! The cluster as actions reach it: through a voter that has just proved its quorum. Maintenance holds a lock in etcd,
//! so that it happens in one place at a time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::decide::DATA;
use crate::etcd::{
    self, Client, Credentials, Holder, Lock, Member, MemberId, MemberStatus, Taken, read_config,
};
use crate::host::files;
use crate::juju::UnitName;
use crate::observe::{self, Local};
use crate::world::{Door, Roster};

/// Held by whoever does maintenance.
const LOCK: &str = "etcd-charm/maintenance";
/// A run that dies keeps others out no longer than this.
const LOCK_TTL_S: i64 = 60;

/// A raft leader that was just lost has been replaced after this time, if it can be.
pub(super) const ELECTION: Duration = Duration::from_secs(2);

/// Bytes that stay free on the disk beside a second database.
const RESERVE: u64 = 32 << 20;

/// What an operator is told to do when the members do not all work.
pub(super) const LOOK_FIRST: &str = "run the health action, and this one again when all members are healthy";

/// A cluster with a quorum.
#[derive(Debug)]
pub(super) struct Cluster {
    /// A voter that has caught up: this unit's own if possible.
    pub client: Client,
    credentials: Credentials,
    own: Option<Own>,
}

/// This unit's own member, where it answers.
#[derive(Debug)]
struct Own {
    member: MemberId,
    data: PathBuf,
}

/// A member and what it says of itself, or why it says nothing.
pub(super) type Surveyed = (Member, Result<MemberStatus, String>);

impl Cluster {
    /// Looks for a voter that confirms a quorum. That also proves that it has caught up.
    ///
    /// # Errors
    /// There is none: the message says what to do.
    pub async fn reach(look: &Local) -> Result<Cluster> {
        let credentials = look.host.credentials.as_ref().map(Credentials::from).context(
            "this unit has no certificates yet; relate etcd to a certificate authority and wait until it is active",
        )?;
        let doors = observe::own_endpoints(&look.host);
        let own = Own::find(look);
        if votes(&look.etcd.door)
            && let Ok(client) = etcd::reach(&doors, &credentials, None).await
        {
            return Ok(Cluster { client, credentials, own });
        }
        let others: Vec<String> = known(&look.etcd.roster)
            .iter()
            .filter(|m| !m.learner)
            .flat_map(|m| m.client_urls.clone())
            .collect();
        if others.is_empty()
            && let Some(why) = why_silent(&look.etcd.door)
        {
            bail!("{why}");
        }
        let cluster = match &look.etcd.door {
            Door::Open(status) => Some(status.cluster),
            Door::Closed | Door::Mute(_) => None,
        };
        let mut reached = etcd::reach(&others, &credentials, cluster).await;
        if reached.is_err() {
            tokio::time::sleep(ELECTION).await;
            reached = etcd::reach(&others, &credentials, cluster).await;
        }
        let client = reached.map_err(|error| {
            anyhow!("the cluster has no quorum: {error}; run the health action and bring its machines back")
        })?;
        Ok(Cluster { client, credentials, own })
    }

    /// Why this unit's own member has no room to be defragmented. The disks of others cannot be seen from here.
    pub fn why_no_room(&self, surveyed: &[Surveyed]) -> Option<String> {
        no_room(self.own.as_ref()?, surveyed)
    }

    /// A cluster by one client URL.
    pub fn at(client: Client, credentials: Credentials) -> Cluster {
        Cluster { client, credentials, own: None }
    }

    /// A client for one member.
    ///
    /// # Errors
    /// The member has no client URL.
    pub fn client_of(&self, member: &Member) -> Result<Client> {
        let url = member.client_urls.first();
        let url =
            url.with_context(|| format!("member {} has no client URL: it has not started", member.id))?;
        Ok(Client::connect(url, &self.credentials)?)
    }

    /// All members, confirmed by a quorum, each asked directly.
    ///
    /// # Errors
    /// There is no quorum any more.
    pub async fn survey(&self) -> Result<Vec<Surveyed>> {
        self.client.confirm_quorum().await.context("cannot confirm a quorum")?;
        let members = self.client.members().await.context("cannot list the members")?;
        let asked = members.into_iter().map(|member| async {
            let status = match self.client_of(&member) {
                Ok(client) => client.status().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            (member, status)
        });
        Ok(futures_util::future::join_all(asked).await)
    }

    /// Begins maintenance, for `unit`.
    ///
    /// # Errors
    /// Another unit is at it.
    pub async fn exclusively(&self, unit: &UnitName) -> Result<Exclusive> {
        let holder = unit.to_string();
        let is_unit = |name: &str| unit.has_sibling(name);
        match self.client.try_lock(LOCK, &holder, LOCK_TTL_S, is_unit).await {
            Ok(Taken::Held(lock)) => Ok(Exclusive { lock: Some(lock), holder }),
            Ok(Taken::Elsewhere(Holder { by, key })) => {
                bail!(
                    "{by} does maintenance on this cluster now (lock {key}); try again when it has finished"
                )
            }
            // A full database grants no lease, and it is what maintenance is there to cure. Without the lock two
            // runs could meet, which costs time but no data: the cluster refuses writes already, compacting twice
            // is refused by etcd, and a member that is defragmented twice is so one after the other.
            Err(etcd::Error::NoSpace) => Ok(Exclusive { lock: None, holder }),
            Err(error) => Err(error).context("cannot take the lock for maintenance"),
        }
    }
}

/// Maintenance that is going on.
#[derive(Debug)]
pub(super) struct Exclusive {
    lock: Option<Lock>,
    holder: String,
}

impl Exclusive {
    /// Asked before each step: a lock whose lease was lost meanwhile protects nothing.
    ///
    /// # Errors
    /// It is lost.
    pub async fn check(&self, cluster: &Cluster) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let holder =
            cluster.client.lock_holder(LOCK).await.context("cannot check the lock for maintenance")?;
        if holder.as_ref() != Some(&self.holder) {
            bail!("the lock for maintenance was lost meanwhile; run it again");
        }
        Ok(())
    }

    /// Ends it.
    pub async fn release(self) {
        if let Some(lock) = self.lock
            && let Err(error) = lock.unlock().await
        {
            tracing::warn!(%error, "the lock for maintenance was not given back; it ends by itself in {LOCK_TTL_S} s");
        }
    }
}

/// Why the cluster is not in a state in which one member may be kept busy.
pub(super) fn why_not_busy(surveyed: &[Surveyed]) -> Option<String> {
    surveyed.iter().find_map(|(member, status)| {
        let name = name(member);
        match status {
            _ if member.learner || !member.is_started() => Some(format!("{name} is still being added")),
            Err(why) => Some(format!("{name} does not answer: {why}")),
            Ok(status) if status.raft_leader.is_none() => Some(format!("{name} sees no raft leader")),
            Ok(_) => None,
        }
    })
}

/// What people know a member by.
pub(super) fn name(member: &Member) -> String {
    if member.is_started() { member.name.clone() } else { format!("unstarted-{}", member.id) }
}

/// Why this unit's own server does not answer, and what to do, when it does not.
pub(super) fn why_silent(door: &Door) -> Option<String> {
    match door {
        Door::Open(_) => None,
        Door::Mute(says) => {
            Some(format!("etcd runs on this unit and does not answer: {says}; run the action on another unit"))
        }
        Door::Closed => Some(
            "etcd is not running on this unit; run the action on another, or see in juju status what this one waits for"
                .to_owned(),
        ),
    }
}

impl Own {
    fn find(look: &Local) -> Option<Own> {
        let Door::Open(status) = &look.etcd.door else { return None };
        let config = look.host.config.as_deref().and_then(|config| read_config(config).ok());
        let data = config.and_then(|config| config.data_dir).unwrap_or_else(|| DATA.to_owned());
        Some(Own { member: status.member, data: PathBuf::from(data) })
    }
}

/// etcd writes a second database of what is in use, and ends when the disk is full.
fn no_room(own: &Own, surveyed: &[Surveyed]) -> Option<String> {
    let (member, status) = surveyed.iter().find(|(member, _)| member.id == own.member)?;
    let needed = u64::try_from(status.as_ref().ok()?.db_in_use_bytes).unwrap_or(0) + RESERVE;
    let (name, data) = (name(member), own.data.display());
    let free = match files::free_bytes(&own.data) {
        Ok(free) => free,
        Err(error) => {
            return Some(format!("cannot tell how much space is free in {data}: {error}; see to its disk"));
        }
    };
    (free < needed).then(|| {
        let (free, needed) = (free >> 20, needed.div_ceil(1 << 20));
        format!(
            "cannot defragment {name}: {free} MiB are free in {data}, {needed} MiB are needed; make space on this unit and run it again"
        )
    })
}

fn votes(door: &Door) -> bool {
    matches!(door, Door::Open(status) if !status.learner)
}

fn known(roster: &Roster) -> &[Member] {
    match roster {
        Roster::Confirmed(members) => members,
        Roster::Unconfirmed { remembered, .. } => remembered,
        Roster::NobodyToAsk => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::ClusterId;

    fn surveyed(name: &str, learner: bool, raft_leader: Option<u64>) -> Surveyed {
        let member = Member {
            id: MemberId(1),
            name: name.to_owned(),
            peer_urls: vec![],
            client_urls: vec![],
            learner,
        };
        let status = MemberStatus {
            member: MemberId(1),
            cluster: ClusterId(1),
            version: "3.5.16".parse().unwrap(),
            db_size_bytes: 0,
            db_in_use_bytes: 0,
            raft_leader: raft_leader.map(MemberId),
            raft_index: 1,
            raft_applied_index: 1,
            raft_term: 1,
            learner,
            errors: vec![],
            revision: 1,
        };
        (member, Ok(status))
    }

    #[test]
    fn nobody_is_kept_busy_unless_all_others_work() {
        let well = || surveyed("etcd0", false, Some(1));
        assert_eq!(why_not_busy(&[well(), well()]), None);
        let mute = (well().0, Err("cannot reach it".to_owned()));
        let cases = [
            (surveyed("etcd1", true, Some(1)), "etcd1 is still being added"),
            (surveyed("", false, Some(1)), "unstarted-1 is still being added"),
            (surveyed("etcd1", false, None), "etcd1 sees no raft leader"),
            (mute, "etcd0 does not answer: cannot reach it"),
        ];
        for (sick, why) in cases {
            assert_eq!(why_not_busy(&[well(), sick]).as_deref(), Some(why));
        }
    }

    #[test]
    fn a_member_without_room_is_not_defragmented() {
        let home = tempfile::tempdir().unwrap();
        let own = Own { member: MemberId(1), data: home.path().to_owned() };
        let (member, status) = surveyed("etcd0", false, Some(1));
        let large = MemberStatus { db_in_use_bytes: i64::MAX / 2, ..status.clone().unwrap() };
        assert_eq!(no_room(&own, &[(member.clone(), status)]), None);
        let why = no_room(&own, &[(member, Ok(large))]).unwrap();
        assert!(why.starts_with("cannot defragment etcd0: "), "{why}");
        assert!(why.ends_with("make space on this unit and run it again"), "{why}");
        let nowhere = Own { data: PathBuf::from("/no/such/place"), ..own };
        assert!(no_room(&nowhere, &[surveyed("etcd0", false, Some(1))]).is_some());
    }
}
