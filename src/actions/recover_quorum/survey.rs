//! What every member that answers knows, and which of them knows most.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::actions::Results;
use crate::etcd::MemberStatus;
use crate::juju::UnitName;
use crate::observe;
use crate::world::{Roster, World};

/// The members by name, this unit's own included, each with its answer or why there is none.
pub(super) struct Survey(BTreeMap<String, Result<MemberStatus, String>>);

impl Survey {
    /// Asks every member that this unit's server remembers and every unit that has told of itself.
    pub async fn ask(world: &World) -> Survey {
        let remembered = match &world.etcd.roster {
            Roster::Confirmed(members) | Roster::Unconfirmed { remembered: members, .. } => {
                members.as_slice()
            }
            Roster::NobodyToAsk => &[],
        };
        let listed = remembered.iter().filter(|member| member.is_started());
        let listed =
            listed.filter_map(|member| Some((member.name.clone(), member.client_urls.first()?.clone())));
        let units = world.peers.units.iter();
        let told =
            units.filter_map(|(unit, peer)| Some((unit.member_name(), peer.record.client_url.clone()?)));
        let mut doors: BTreeMap<String, String> = listed.chain(told).collect();
        doors.remove(&world.member_name());
        let asked = doors.into_iter().map(|(name, url)| async move {
            let answer = observe::status_at(&url, &world.host).await;
            (name, answer.map_err(|error| format!("no answer from {url}: {error}")))
        });
        let mut answers: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let own = match world.own_status() {
            Some(status) => Ok(status.clone()),
            None => Err("not known: its server was started without a quorum and answers nothing".to_owned()),
        };
        answers.insert(world.member_name(), own);
        Survey(answers)
    }

    /// Voters that answer.
    fn voters(&self) -> impl Iterator<Item = (&String, &MemberStatus)> {
        let answers = self.0.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?)));
        answers.filter(|(_, status)| !status.learner)
    }

    /// How many voters answer, this unit's own counted in any case: it is there.
    pub fn present(&self, own: &str) -> usize {
        self.voters().filter(|(name, _)| *name != own).count() + 1
    }

    /// The one that knows most. What is committed is the same for all up to where each knows it, so the index decides;
    /// among equals the term, then the first by name, so that every unit chooses the same one.
    pub fn best(&self) -> Option<&str> {
        let best =
            self.voters().max_by_key(|(name, status)| (status.raft_index, status.raft_term, Reverse(*name)));
        best.map(|(name, _)| name.as_str())
    }

    /// For the operator.
    pub fn results(&self) -> Results {
        let mut results = Results::new();
        for (name, answer) in &self.0 {
            let mut put = |key: &str, value: String| {
                results.insert(format!("members.{name}.{key}"), value);
            };
            match answer {
                Ok(status) => {
                    put("raft-term", status.raft_term.to_string());
                    put("raft-index", status.raft_index.to_string());
                    put("revision", status.revision.to_string());
                    put("db-size-bytes", status.db_size_bytes.to_string());
                    put("learner", status.learner.to_string());
                }
                Err(why) => put("raft-index", why.clone()),
            }
        }
        if let Some(best) = self.best() {
            results.insert("best".to_owned(), best.to_owned());
        }
        results
    }
}

/// The unit of a member, for the commands an operator is told to run.
pub(super) fn unit_of(member: &str, world: &World) -> String {
    let mut units = world.peers.units.keys().chain([&world.unit]);
    units.find(|unit| unit.member_name() == member).map_or_else(|| member.to_owned(), UnitName::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::{ClusterId, MemberId};

    fn status(raft_index: u64, raft_term: u64, learner: bool) -> MemberStatus {
        MemberStatus {
            member: MemberId(1),
            cluster: ClusterId(1),
            version: "3.5.16".parse().unwrap(),
            db_size_bytes: 20_480,
            db_in_use_bytes: 20_480,
            raft_leader: None,
            raft_index,
            raft_applied_index: raft_index,
            raft_term,
            learner,
            errors: vec![],
            revision: 7,
        }
    }

    fn survey<const N: usize>(answers: [(&str, Result<MemberStatus, String>); N]) -> Survey {
        Survey(answers.into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect())
    }

    #[test]
    fn the_index_decides_then_the_term_then_the_name() {
        let dead = || Err("unreachable".to_owned());
        let known = survey([
            ("etcd0", Ok(status(40, 9, false))),
            ("etcd1", Ok(status(41, 3, false))),
            ("etcd2", dead()),
        ]);
        assert_eq!((known.best(), known.present("etcd0")), (Some("etcd1"), 2));
        let equal = survey([("etcd0", Ok(status(40, 3, false))), ("etcd1", Ok(status(40, 3, false)))]);
        assert_eq!(equal.best(), Some("etcd0"));
        let learner = survey([("etcd0", dead()), ("etcd1", Ok(status(41, 3, true)))]);
        assert_eq!((learner.best(), learner.present("etcd0")), (None, 1));
        let results = known.results();
        assert_eq!(results["members.etcd1.raft-index"], "41");
        assert_eq!(results["members.etcd2.raft-index"], "unreachable");
        assert_eq!(results["best"], "etcd1");
    }
}
