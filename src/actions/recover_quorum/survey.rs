//! What every survivor knows, and which of them knows most. That is in their logs: a server that was started without a quorum
//! answers nothing, and what one that answers has committed says nothing of what it had acknowledged last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::actions::Results;
use crate::etcd::{LogEnd, Member, MemberStatus};
use crate::juju::UnitName;
use crate::observe;
use crate::recovering::Generation;
use crate::world::{Peer, Reading, Roster, World};

/// A machine that is there takes or refuses a connection at once.
const THERE: Duration = Duration::from_secs(3);

/// What is known of a survivor's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Log {
    /// It ends here.
    EndsAt(LogEnd),
    /// Its machine is there, or may be; how far its log goes nobody can tell from here: why.
    Unknown(String),
    /// It has not said how far its log goes, and its machine does not answer at all.
    Silent,
}

/// The members by name, this unit's own included, each with its answer or why there is none; and the logs of the units that
/// may have data.
pub(super) struct Survey {
    answers: BTreeMap<String, Result<MemberStatus, String>>,
    logs: BTreeMap<UnitName, Log>,
}

impl Survey {
    /// Asks every member that this unit's server remembers and every unit that has told of itself.
    pub async fn ask(world: &World) -> Survey {
        let answers = answers(world).await;
        let logs = world.peers.units.iter().filter(|(unit, peer)| may_have_data(world, unit, peer));
        let logs = logs.map(|(unit, peer)| {
            let answer = answers.get(&unit.member_name()).and_then(|answer| answer.as_ref().ok());
            async move { (unit.clone(), log(peer, answer).await) }
        });
        let mut logs: BTreeMap<UnitName, Log> = join_all(logs).await.into_iter().collect();
        let own = match &world.host.log_end {
            Reading::Known(end) => Log::EndsAt(*end),
            Reading::Unknown(why) => Log::Unknown(why.clone()),
        };
        logs.insert(world.unit.clone(), own);
        logs.extend(
            unseen(world)
                .map(|unit| (unit, Log::Unknown("Juju names it and shows no databag of it".to_owned()))),
        );
        Survey { answers, logs }
    }

    /// Voters that answer.
    fn voters(&self) -> impl Iterator<Item = (&String, &MemberStatus)> {
        let answers = self.answers.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?)));
        answers.filter(|(_, status)| !status.learner)
    }

    /// How many voters answer, this unit's own counted in any case: it is there.
    pub fn present(&self, own: &str) -> usize {
        self.voters().filter(|(name, _)| *name != own).count() + 1
    }

    /// Survivors whose logs cannot be compared, but for those that are given up.
    pub fn unknown(&self, without: &BTreeSet<UnitName>) -> impl Iterator<Item = (&UnitName, &str)> {
        let logs = self.logs.iter().filter(|(unit, _)| !without.contains(unit));
        logs.filter_map(|(unit, log)| match log {
            Log::Unknown(why) => Some((unit, why.as_str())),
            Log::EndsAt(_) | Log::Silent => None,
        })
    }

    /// The one that knows most, but for those that are given up. Among equals the first unit, so that all choose the same one.
    pub fn best(&self, without: &BTreeSet<UnitName>) -> Option<&UnitName> {
        let logs = self.logs.iter().filter(|(unit, _)| !without.contains(unit));
        let known = logs.filter_map(|(unit, log)| match log {
            Log::EndsAt(end) => Some((unit, *end)),
            Log::Unknown(_) | Log::Silent => None,
        });
        known.max_by_key(|(unit, end)| (*end, Reverse(unit.number()))).map(|(unit, _)| unit)
    }

    /// For the operator.
    pub fn results(&self, without: &BTreeSet<UnitName>) -> Results {
        let mut results = Results::new();
        for (name, answer) in &self.answers {
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
        for (unit, log) in &self.logs {
            let mut put = |key: &str, value: String| {
                results.insert(format!("members.{}.{key}", unit.member_name()), value);
            };
            match log {
                Log::EndsAt(end) => {
                    put("log-term", end.term.to_string());
                    put("log-index", end.index.to_string());
                }
                Log::Unknown(why) => put("log-index", format!("not known: {why}")),
                Log::Silent => put("log-index", "not known: its machine does not answer".to_owned()),
            }
        }
        if let Some(best) = self.best(without) {
            results.insert("best".to_owned(), best.member_name());
        }
        results
    }
}

async fn answers(world: &World) -> BTreeMap<String, Result<MemberStatus, String>> {
    let listed = remembered(world).iter().filter(|member| member.is_started());
    let listed = listed.filter_map(|member| Some((member.name.clone(), member.client_urls.first()?.clone())));
    let units = world.peers.units.iter();
    let told = units.filter_map(|(unit, peer)| Some((unit.member_name(), peer.record.client_url.clone()?)));
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
    answers
}

fn remembered(world: &World) -> &[Member] {
    match &world.etcd.roster {
        Roster::Confirmed(members) | Roster::Unconfirmed { remembered: members, .. } => members,
        Roster::NobodyToAsk => &[],
    }
}

/// Members of before another recovery than this unit's know nothing that counts.
fn may_have_data(world: &World, unit: &UnitName, peer: &Peer) -> bool {
    let number = |generation: &Option<Generation>| generation.as_ref().map_or(0, |one| one.number);
    let exists = world.peers.expected.as_ref().is_none_or(|all| all.contains(unit));
    let claims = peer.record.member.is_some() || peer.record.address.is_some();
    let is_of_ours = number(&peer.record.generation) >= number(&world.own_record().generation);
    exists && (peer.unread.is_some() || (claims && is_of_ours))
}

/// Units that exist, have a member as far as this unit's server remembers, and are not in the peer relation.
fn unseen(world: &World) -> impl Iterator<Item = UnitName> {
    let expected = world.peers.expected.iter().flatten();
    let unseen = expected.filter(|unit| **unit != world.unit && !world.peers.units.contains_key(*unit));
    let is_member = |unit: &&UnitName| remembered(world).iter().any(|one| one.name == unit.member_name());
    unseen.filter(is_member).cloned()
}

/// What a unit has published of its log; `answer`: what its server says now.
async fn log(peer: &Peer, answer: Option<&MemberStatus>) -> Log {
    match (&peer.unread, peer.record.log, answer) {
        (Some(why), ..) => Log::Unknown(format!("its databag cannot be read: {why}")),
        (None, ..) if peer.record.sees_quorum => {
            Log::Unknown("it says that it sees a quorum: see to the network between them".to_owned())
        }
        (None, Some(end), Some(status)) if status.raft_index > end.index => {
            Log::Unknown("what it has said of its log is outdated".to_owned())
        }
        (None, Some(end), _) => Log::EndsAt(end),
        (None, None, Some(_)) => Log::Unknown("it has not said how far its log goes".to_owned()),
        (None, None, None) if is_there(peer).await => {
            Log::Unknown("it has not said how far its log goes".to_owned())
        }
        (None, None, None) => Log::Silent,
    }
}

/// Whether its machine takes or refuses a connection: whatever its server does, its data may be there.
async fn is_there(peer: &Peer) -> bool {
    let urls = peer.record.client_url.iter().chain(&peer.record.peer_url);
    let told = urls.filter_map(|url| url.split_once("://").map(|(_, place)| place.to_owned()));
    let bare = peer.record.address.iter().chain(&peer.ingress).map(|address| place_of(address));
    let tried = told.chain(bare).map(|place| async move {
        match timeout(THERE, TcpStream::connect(place)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
            Err(_) => false,
        }
    });
    join_all(tried).await.contains(&true)
}

/// Where etcd's peers listen, if not elsewhere.
fn place_of(address: &str) -> String {
    if address.contains(':') { format!("[{address}]:2380") } else { format!("{address}:2380") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::worlds::{member, settled, status, three};

    fn unit(number: u32) -> UnitName {
        format!("etcd/{number}").parse().unwrap()
    }

    fn ends_at(term: u64, index: u64) -> Log {
        Log::EndsAt(LogEnd { term, index })
    }

    fn survey<const N: usize>(logs: [Log; N]) -> Survey {
        let logs = (0..).map(unit).zip(logs).collect();
        Survey { answers: BTreeMap::new(), logs }
    }

    #[test]
    fn the_later_term_decides_then_the_index_then_the_number() {
        let none = BTreeSet::new();
        let best = |logs| survey(logs).best(&none).map(UnitName::number);
        assert_eq!(best([ends_at(3, 41), ends_at(4, 40), Log::Silent]), Some(1));
        assert_eq!(best([ends_at(3, 40), ends_at(3, 41), ends_at(3, 40)]), Some(1));
        assert_eq!(best([ends_at(3, 41), ends_at(3, 41), ends_at(2, 99)]), Some(0));
        assert_eq!(best([Log::Silent, Log::Unknown("x".into()), Log::Silent]), None);
        let given_up = BTreeSet::from([unit(1)]);
        let all = survey([ends_at(3, 41), ends_at(4, 40), Log::Unknown("no databag".into())]);
        assert_eq!(all.best(&given_up), Some(&unit(0)));
        assert_eq!(all.unknown(&given_up).collect::<Vec<_>>(), [(&unit(2), "no databag")]);
        assert_eq!(all.unknown(&[unit(2)].into()).count(), 0);
        let results = all.results(&none);
        assert_eq!((results["members.etcd0.log-term"].as_str(), results["best"].as_str()), ("3", "etcd1"));
        assert_eq!(results["members.etcd2.log-index"], "not known: no databag");
    }

    #[tokio::test]
    async fn what_a_survivor_has_not_said_is_not_nothing() {
        let mut peer = Peer::default();
        let answer = status(&member(1, false));
        assert!(matches!(log(&peer, Some(&answer)).await, Log::Unknown(_)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        peer.record.client_url = Some(format!("https://{at}"));
        assert!(matches!(log(&peer, None).await, Log::Unknown(_)), "it is mute");
        drop(listener);
        assert!(matches!(log(&peer, None).await, Log::Unknown(_)), "it is down, its machine is not");
        peer.record.client_url = None;
        assert_eq!(log(&peer, None).await, Log::Silent);
        peer.record.log = Some(LogEnd { term: 2, index: answer.raft_index });
        assert_eq!(log(&peer, Some(&answer)).await, ends_at(2, answer.raft_index));
        peer.record.log = Some(LogEnd { term: 2, index: answer.raft_index - 1 });
        assert!(matches!(log(&peer, Some(&answer)).await, Log::Unknown(why) if why.contains("outdated")));
        peer.record.sees_quorum = true;
        assert!(matches!(log(&peer, None).await, Log::Unknown(why) if why.contains("sees a quorum")));
        peer.unread = Some("permission denied".into());
        assert!(matches!(log(&peer, None).await, Log::Unknown(why) if why.contains("permission denied")));
    }

    #[tokio::test]
    async fn every_unit_that_may_have_data_is_asked_for_its_log() {
        let mut w = settled(0, &three());
        w.host.log_end = Reading::Known(LogEnd { term: 2, index: 10 });
        w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: three() };
        for number in [1, 2] {
            w.peers.units.remove(&unit(number));
        }
        w.peers.units.insert(unit(1), Peer { unread: Some("permission denied".into()), ..Peer::default() });
        w.peers.units.insert(unit(7), Peer { unread: Some("it is gone".into()), ..Peer::default() });
        let survey = Survey::ask(&w).await;
        let unknown: Vec<u32> = survey.unknown(&BTreeSet::new()).map(|(unit, _)| unit.number()).collect();
        assert_eq!(unknown, [1, 2], "one cannot be read, one is not seen; the third does not exist");
        assert_eq!(survey.best(&BTreeSet::new()), Some(&unit(0)));
    }
}
