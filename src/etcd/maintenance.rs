//! Looking after one server and the cluster's upkeep: condition, alarms, raft leadership, compaction, space.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions};

use super::Result;
use super::client::Client;
use super::error::Error;
use super::member::{Alarm, AlarmKind, ClusterId, MemberId, MemberStatus};

/// The hash over one member's data at one revision (etcd's `HashKV`). Two members that were compacted at the same
/// revision must agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvHash {
    /// The hash.
    pub hash: u32,
    /// The revision that the member was compacted at.
    pub compacted_at: i64,
}

/// Time for something that takes the longer the larger the database is: 1 min and 1 s for every 4 MiB, which even a
/// slow disk manages.
pub fn patience(db_size_bytes: i64) -> Duration {
    Duration::from_secs(60 + u64::try_from(db_size_bytes).unwrap_or(0) / (4 << 20))
}

impl Client {
    /// What this server says of itself. Purely local: also without quorum and from learners.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self) -> Result<MemberStatus> {
        let call = "status";
        let answer = self.call(call, async |mut client| client.status().await).await?;
        let unreadable =
            |what: String| Error::Other { call, code: "answer".to_owned(), message: what, passing: false };
        let header = answer.header().ok_or_else(|| unreadable("the answer has no header".to_owned()))?;
        Ok(MemberStatus {
            member: MemberId(header.member_id()),
            cluster: ClusterId(header.cluster_id()),
            version: answer.version().parse().map_err(|error| unreadable(format!("{error}")))?,
            db_size_bytes: answer.db_size(),
            db_in_use_bytes: answer.raft_used_db_size(),
            raft_leader: Some(answer.leader()).filter(|id| *id != 0).map(MemberId),
            raft_index: answer.raft_index(),
            raft_applied_index: answer.raft_applied_index(),
            raft_term: answer.raft_term(),
            learner: answer.is_learner(),
            errors: answer.errors().to_vec(),
            revision: header.revision(),
        })
    }

    /// Hands raft leadership from this member to another voter.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::BadTransferee`]; see [`Error`] for the rest.
    pub async fn move_leader(&self, to: MemberId) -> Result<()> {
        self.call("move leader", async |mut client| client.move_leader(to.0).await).await?;
        Ok(())
    }

    /// The alarms of the whole cluster, in a fixed order. Needs a quorum.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alarms(&self) -> Result<Vec<Alarm>> {
        let get = async |mut client: etcd_client::Client| {
            client.alarm(AlarmAction::Get, AlarmType::None, None).await
        };
        let answer = self.call("alarm list", get).await?;
        let kind = |alarm| match alarm {
            AlarmType::Nospace => Some(AlarmKind::NoSpace),
            AlarmType::Corrupt => Some(AlarmKind::Corrupt),
            AlarmType::None => None,
        };
        let member = |id: u64| Some(id).filter(|id| *id != 0).map(MemberId);
        let raised = answer.alarms().iter();
        let mut alarms: Vec<Alarm> = raised
            .filter_map(|alarm| Some(Alarm { member: member(alarm.member_id()), kind: kind(alarm.alarm())? }))
            .collect();
        alarms.sort();
        Ok(alarms)
    }

    /// Takes one alarm back. A full database raises it again at the next write unless space was freed before.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn disarm(&self, alarm: &Alarm) -> Result<()> {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        };
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member.map_or(0, |id| id.0));
        let disarm = async |mut client: etcd_client::Client| {
            client.alarm(AlarmAction::Deactivate, kind, Some(options)).await
        };
        self.call("alarm disarm", disarm).await?;
        Ok(())
    }

    /// Forgets the history before `revision` on all members. `physical`: wait until this member's file has freed the
    /// space inside. Frees nothing on disk; see [`defragment`](Client::defragment).
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`]; see [`Error`] for the rest.
    pub async fn compact(&self, revision: i64, physical: bool) -> Result<()> {
        let options = physical.then(|| CompactionOptions::new().with_physical());
        self.call("compact", async |mut client| client.compact(revision, options).await).await?;
        Ok(())
    }

    /// Rewrites this member's database file without the holes. The member serves nothing meanwhile: seconds per GiB.
    /// Never while a member is being caught up: that could corrupt data before 3.4.38, 3.5.23 and 3.6.5.
    ///
    /// # Errors
    /// [`Error::LearnerCannotServe`]; [`Error::TimedOut`] after `timeout`, with the server still at it.
    pub async fn defragment(&self, timeout: Duration) -> Result<()> {
        self.call_within(timeout, "defragment", async |mut client| client.defragment().await).await?;
        Ok(())
    }

    /// The hash over this member's data at `revision`; 0: at its latest.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`]; see [`Error`] for the rest.
    pub async fn hash_kv(&self, revision: i64) -> Result<KvHash> {
        let answer = self.call("hash", async |mut client| client.hash_kv(revision).await).await?;
        Ok(KvHash { hash: answer.hash(), compacted_at: answer.compact_version() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_the_database() {
        assert_eq!(patience(0), Duration::from_secs(60));
        assert_eq!(patience(-1), Duration::from_secs(60));
        assert_eq!(patience(8 << 30), Duration::from_secs(60 + 2048));
    }
}
