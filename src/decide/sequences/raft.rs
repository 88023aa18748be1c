//! etcd as far as this charm's decisions matter to it: what each member has in its log, who votes, and what a quorum has
//! acknowledged. Servers that run see each other; what a quorum takes is at once in the log of every member that runs.

use std::collections::BTreeMap;

use crate::etcd::{ClusterId, Member, MemberId};

/// A machine, by the number of its unit.
pub(super) type Machine = u32;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A write of somebody's.
    Put(u32),
    Added {
        member: MemberId,
        peer_url: String,
        learner: bool,
    },
    /// A member has started and says who it is.
    Named {
        member: MemberId,
        name: String,
        client_url: String,
    },
    Promoted(MemberId),
    Moved {
        member: MemberId,
        peer_url: String,
    },
    Removed(MemberId),
}

/// A member's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub log: Vec<Entry>,
}

impl Disk {
    /// The members as this log tells them.
    pub fn members(&self) -> Vec<Member> {
        let mut members: BTreeMap<MemberId, Member> = BTreeMap::new();
        for entry in &self.log {
            apply(&mut members, entry);
        }
        members.into_values().collect()
    }

    fn lists(&self, member: MemberId) -> bool {
        self.members().iter().any(|one| one.id == member)
    }
}

fn apply(members: &mut BTreeMap<MemberId, Member>, entry: &Entry) {
    match entry {
        Entry::Put(_) => {}
        Entry::Added { member, peer_url, learner } => {
            let added = Member {
                id: *member,
                name: String::new(),
                peer_urls: vec![peer_url.clone()],
                client_urls: vec![],
                learner: *learner,
            };
            members.insert(*member, added);
        }
        Entry::Named { member, name, client_url } => {
            if let Some(one) = members.get_mut(member) {
                (one.name, one.client_urls) = (name.clone(), vec![client_url.clone()]);
            }
        }
        Entry::Promoted(member) => {
            members.entry(*member).and_modify(|one| one.learner = false);
        }
        Entry::Moved { member, peer_url } => {
            members.entry(*member).and_modify(|one| one.peer_urls = vec![peer_url.clone()]);
        }
        Entry::Removed(member) => {
            members.remove(member);
        }
    }
}

/// A machine's data and its server.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub disk: Option<Disk>,
    pub runs: bool,
    /// It has seen its quorum since its start; before that it answers nothing.
    pub answers: bool,
    /// It ended because its cluster has removed it.
    pub was_removed: bool,
}

/// All machines.
#[derive(Debug, Clone, Default)]
pub(super) struct Servers {
    pub all: BTreeMap<Machine, Server>,
    /// To whom raft leadership was handed last.
    leaders: BTreeMap<ClusterId, MemberId>,
    born: u64,
}

impl Servers {
    fn identifier(&mut self) -> u64 {
        self.born += 1;
        self.born
    }

    pub fn disk(&self, machine: Machine) -> Option<&Disk> {
        self.all.get(&machine)?.disk.as_ref()
    }

    fn running(&self, cluster: ClusterId) -> impl Iterator<Item = (Machine, &Disk)> {
        self.all.iter().filter(|(_, server)| server.runs).filter_map(move |(machine, server)| {
            server.disk.as_ref().filter(|disk| disk.cluster == cluster).map(|disk| (*machine, disk))
        })
    }

    /// The longest log of a cluster, if most of its voters run. Whoever has it leads.
    pub fn quorum(&self, cluster: ClusterId) -> Option<(Machine, &Disk)> {
        let (leader, longest) = self.running(cluster).max_by_key(|(_, disk)| disk.log.len())?;
        let voters: Vec<MemberId> =
            longest.members().iter().filter(|member| !member.learner).map(|member| member.id).collect();
        let up = self.running(cluster).filter(|(_, disk)| voters.contains(&disk.member)).count();
        (up * 2 > voters.len()).then_some((leader, longest))
    }

    /// Whoever raft leadership was handed to, or the first that may have it.
    pub fn raft_leader(&self, cluster: ClusterId) -> Option<MemberId> {
        let (_, disk) = self.quorum(cluster)?;
        let members = disk.members();
        let votes = |id: &MemberId| members.iter().any(|member| member.id == *id && !member.learner);
        let able: Vec<MemberId> = self.running(cluster).map(|(_, disk)| disk.member).filter(votes).collect();
        let named = self.leaders.get(&cluster).copied().filter(|named| able.contains(named));
        named.or(able.first().copied())
    }

    /// Only the raft leader itself hands over.
    pub fn lead(&mut self, through: Machine, to: MemberId) -> Result<(), String> {
        let (_, disk) = self.quorum_of(through).ok_or("no quorum")?;
        let cluster = disk.cluster;
        if self.disk(through).map(|own| own.member) != self.raft_leader(cluster) {
            return Err("not the raft leader".into());
        }
        self.leaders.insert(cluster, to);
        Ok(())
    }

    /// The quorum behind the server on this machine, if it runs.
    pub fn quorum_of(&self, machine: Machine) -> Option<(Machine, &Disk)> {
        let server = self.all.get(&machine).filter(|server| server.runs)?;
        self.quorum(server.disk.as_ref()?.cluster)
    }

    /// Every running member gets what its quorum has; one that was removed ends.
    fn settle(&mut self) {
        let running: Vec<Machine> = self.all.iter().filter(|(_, one)| one.runs).map(|(at, _)| *at).collect();
        for machine in running {
            let Some(log) = self.quorum_of(machine).map(|(_, disk)| disk.clone()) else { continue };
            let server = self.all.entry(machine).or_default();
            let Some(own) = &mut server.disk else { continue };
            if log.lists(own.member) {
                own.log = log.log;
                server.answers = true;
            } else {
                (server.runs, server.answers, server.was_removed) = (false, false, true);
            }
        }
    }

    /// Appends to the log of the cluster that has a quorum through this machine's server.
    pub fn append(&mut self, machine: Machine, entry: Entry) -> Result<(), String> {
        let Some((leader, _)) = self.quorum_of(machine) else { return Err("no quorum".into()) };
        if let Some(Server { disk: Some(disk), .. }) = self.all.get_mut(&leader) {
            disk.log.push(entry);
        }
        self.settle();
        Ok(())
    }

    /// Starts what is there, with its data; `None`: there is none.
    pub fn start(&mut self, machine: Machine) -> Option<()> {
        let server = self.all.get_mut(&machine).filter(|server| server.disk.is_some())?;
        server.runs = true;
        self.settle();
        Some(())
    }

    pub fn stop(&mut self, machine: Machine) {
        let server = self.all.entry(machine).or_default();
        (server.runs, server.answers) = (false, false);
    }

    /// The first member of a new cluster, on an empty directory.
    pub fn begin(&mut self, machine: Machine, (name, peer_url, client_url): (&str, &str, &str)) {
        let (cluster, member) = (ClusterId(self.identifier()), MemberId(self.identifier()));
        let log = vec![
            Entry::Added { member, peer_url: peer_url.to_owned(), learner: false },
            Entry::Named { member, name: name.to_owned(), client_url: client_url.to_owned() },
        ];
        self.all.insert(
            machine,
            Server { disk: Some(Disk { cluster, member, log }), runs: true, ..Server::default() },
        );
        self.settle();
    }

    /// A member that its cluster awaits, on an empty directory: it is known by its peer URL alone.
    pub fn join(
        &mut self,
        machine: Machine,
        (name, peer_url, client_url): (&str, &str, &str),
    ) -> Result<(), String> {
        let awaited = self.all.keys().find_map(|other| {
            let (_, disk) = self.quorum_of(*other)?;
            let member =
                disk.members().into_iter().find(|one| one.peer_urls == [peer_url] && !one.is_started())?;
            Some((*other, Disk { member: member.id, ..disk.clone() }))
        });
        let Some((other, disk)) = awaited else { return Err("no cluster awaits it".into()) };
        let named =
            Entry::Named { member: disk.member, name: name.to_owned(), client_url: client_url.to_owned() };
        self.all.insert(machine, Server { disk: Some(disk), runs: true, ..Server::default() });
        self.append(other, named)
    }

    pub fn add_learner(&mut self, through: Machine, peer_url: &str) -> Result<(), String> {
        let (_, disk) = self.quorum_of(through).ok_or("no quorum")?;
        let (members, cluster) = (disk.members(), disk.cluster);
        if members.iter().any(|member| member.learner) {
            return Err("too many learner members in cluster".into());
        }
        if members.iter().any(|member| member.peer_urls.iter().any(|url| url == peer_url)) {
            return Err("Peer URLs already exists".into());
        }
        let up =
            self.running(cluster).filter(|(_, disk)| members.iter().any(|one| one.id == disk.member)).count();
        if up < members.len() {
            return Err("unhealthy cluster".into());
        }
        let member = MemberId(self.identifier());
        self.append(through, Entry::Added { member, peer_url: peer_url.to_owned(), learner: true })
    }

    /// etcd takes no member out whose going would leave too few that run.
    pub fn remove(&mut self, through: Machine, member: MemberId) -> Result<(), String> {
        let (_, disk) = self.quorum_of(through).ok_or("no quorum")?;
        let (members, cluster) = (disk.members(), disk.cluster);
        let Some(gone) = members.iter().find(|one| one.id == member) else { return Ok(()) };
        let rest: Vec<MemberId> =
            members.iter().filter(|one| !one.learner && one.id != member).map(|one| one.id).collect();
        let up = self.running(cluster).filter(|(_, disk)| rest.contains(&disk.member)).count();
        if !gone.learner && up < rest.len() / 2 + 1 {
            return Err("re-configuration failed due to not enough started members".into());
        }
        self.append(through, Entry::Removed(member))
    }
}
