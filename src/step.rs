//! One change of the world. Every step is small, may be repeated, and is safe to die in: the next run goes on
//! from what it sees. Its [`Display`](std::fmt::Display) is the line an operator reads in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::etcd::{Channel, ClusterId, MemberId, Minor, Settings, Version};
use crate::host::Release;
use crate::juju::Proxies;
use crate::moving::Moving;
use crate::options::WantedRelease;
use crate::recovering::Recovery;
use crate::relations::authority::Client;
use crate::restoring::Journal;
use crate::storage::Owner;
use crate::world::{Credentials, Leftover, Moved, Place};

/// Where etcd's snap comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The store.
    Channel(Channel),
    /// Files that the operator attached: `etcd`, and its base `core` if given.
    Files {
        /// The `etcd` resource.
        etcd: PathBuf,
        /// The `core` resource.
        core: Option<PathBuf>,
    },
}

/// A change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Install the snap and leave its service stopped: it has no configuration yet.
    InstallSnap(Source),
    /// Bring an upstream release to this machine; what runs stays as it is.
    PrepareRelease {
        /// Which.
        wanted: Box<WantedRelease>,
        /// The model's proxies.
        proxies: Proxies,
    },
    /// Make a release the one that runs, from its restart on if etcd runs.
    SwitchRelease(Release),
    /// Write the unit file of the releases' service.
    WriteReleaseUnit(String),
    /// Set these options of snapd, and take back what was set before and is not among them.
    SetSnapd(BTreeMap<String, String>),
    /// Add entries to the log until etcd has cut it by a raft snapshot.
    CutLog {
        /// As many, none of which changes anything.
        entries: u64,
    },
    /// Tell snapd never to refresh etcd's snap by itself.
    HoldSnap,
    /// Put the restart rules for etcd's service in place.
    WriteDropIn(&'static str),
    /// Make a new key on this unit, and a request for a certificate with these names.
    MakeRequest {
        /// For people.
        common_name: String,
        /// Names and addresses.
        sans: Vec<String>,
    },
    /// Make new keys and requests for client certificates, and forget those that nobody wants any more.
    RenewClientRequests {
        /// Common names, by whose they are.
        make: BTreeMap<Client, String>,
        /// Tags of relations that are gone.
        forget: BTreeSet<String>,
    },
    /// Make the application's own certificate authority.
    MakeAuthority,
    /// Sign this unit's own request with it.
    SignOwn,
    /// Forget the authority that was made here: Juju has it, or another one.
    ForgetDraft,
    /// Write certificates and keys, keys first readable by root only.
    WriteCredentials(Credentials),
    /// Write the authorities that etcd trusts, and nothing else.
    WriteTrusted {
        /// PEM.
        authorities: String,
        /// The running server must be restarted before the file counts.
        restart: bool,
    },
    /// Let every program of the host trust this authority.
    TrustAuthority(String),
    /// Let a root shell run `etcdctl` with credentials and address set.
    WriteShellProfile(String),
    /// Rename member's data within its data directory; it is never deleted.
    MoveDataAside {
        /// Why.
        why: Moved,
        /// Where it is.
        place: Place,
    },
    /// Stop a server that cannot use its data and set that aside, so that this unit joins anew.
    ReplaceDamaged {
        /// The member that is given up.
        member: MemberId,
        /// What is wrong with its data.
        damage: String,
        /// Where that is.
        place: Place,
    },
    /// Make a file system on storage that is empty.
    FormatStorage {
        /// The instance.
        id: String,
        /// Its device.
        device: PathBuf,
    },
    /// Mount storage, now and whenever etcd starts.
    MountStorage {
        /// The mount unit's text.
        unit: String,
        /// What keeps etcd from starting without it.
        rules: &'static str,
    },
    /// Take copies of earlier data out of what snapd copies at every refresh.
    PutAway(Vec<String>),
    /// Take away what the earlier charm has left on this machine.
    RemoveLeftovers(Vec<Leftover>),
    /// Use a file system that was mounted here before this charm came, and know it again.
    AdoptStorage {
        /// Its device.
        device: PathBuf,
        /// Its UUID.
        uuid: String,
        /// It has no label and can get one.
        label: bool,
    },
    /// Note on the machine's own disk whose its etcd is.
    ClaimMachine(Owner),
    /// Write on the storage whose the data is.
    ClaimStorage(Owner),
    /// Stop etcd, copy its data, and start it on the copy.
    MoveData {
        /// Where it is now.
        from: Place,
        /// The new data directory.
        to: &'static str,
        /// What to start with there.
        settings: Box<Settings>,
        /// For which server.
        version: Version,
    },
    /// Unmount storage; what is on it stays.
    ReleaseStorage,
    /// Give the monitoring agent its files.
    WriteChecks {
        /// All that should be there: path and text.
        write: BTreeMap<String, String>,
        /// What should not: paths.
        remove: Vec<String>,
    },
    /// Ask the cluster to accept this unit as a learner.
    AddLearner {
        /// This unit's peer URL.
        peer_url: String,
    },
    /// Write etcd's configuration file.
    WriteConfig {
        /// What to write.
        settings: Box<Settings>,
        /// For which server.
        version: Version,
        /// The running server must be restarted before the file counts.
        restart: bool,
    },
    /// Start etcd's service, also at every boot.
    StartService,
    /// Restart etcd's service, so that it reads its configuration again.
    RestartService,
    /// Make this unit's learner a voter.
    Promote(MemberId),
    /// Tell the cluster that a voter is found elsewhere, where its server listens already.
    MovePeerUrl {
        /// This unit's.
        member: MemberId,
        /// From now on.
        peer_url: String,
    },
    /// Hand raft leadership to another member.
    MoveLeadership {
        /// The next raft leader.
        to: MemberId,
    },
    /// Note that a confirmed quorum does without this unit's member, before the unit leaves.
    NoteDispensable(MemberId),
    /// Take a member out of the cluster.
    RemoveMember {
        /// Which.
        member: MemberId,
        /// Why, for the log.
        reason: Removal,
    },
    /// Let the snap follow a channel that has what is installed.
    SwitchChannel(Channel),
    /// Move the snap to what another channel has, under the running cluster.
    UpgradeSnap {
        /// Where to.
        channel: Channel,
        /// What the move is known by, if it fails.
        name: String,
        /// What the channel has: the installed minor version or the next one.
        minor: Minor,
        /// This is the first unit that moves: a snapshot is saved before.
        save_first: bool,
    },
    /// Bring a move of the snap to its end that was broken off.
    FinishMove(Moving),
    /// Forget that a channel was tried in vain: it is no longer wanted.
    ForgetRefusedUpgrade,
    /// Stop etcd's service, also at the next boot.
    StopService,
    /// Put back the data of before a restore that did not come to its end.
    UndoRestore(Journal),
    /// The restored data serves: from now on it counts.
    AcceptRestore {
        /// Of it.
        journal: Journal,
        /// The cluster that it is.
        cluster: ClusterId,
    },
    /// All is told: the restore is over.
    EndRestore,
    /// Bring the rebuilding of a quorum to its end that was cut off; where that fails, put the data of before back.
    FinishRecovery(Recovery),
    /// Put back the data of before a rebuilding of a quorum that did not come to its end.
    UndoRecovery(Recovery),
    /// The recovered member serves: the recovery is over.
    EndRecovery,
}

/// Why a member is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its unit is this one and leaves.
    Leaving,
    /// Its unit is no longer part of the application.
    UnitGone,
    /// Its unit is this one and has lost its data.
    DataLost,
}

impl Step {
    /// A stable name for "this kind of step", to remember what was tried in vain.
    pub fn name(&self) -> &'static str {
        match self {
            Step::InstallSnap(_) => "install-snap",
            Step::PrepareRelease { .. } => "prepare-release",
            Step::SwitchRelease(_) => "switch-release",
            Step::WriteReleaseUnit(_) => "write-release-unit",
            Step::SetSnapd(_) => "set-snapd",
            Step::HoldSnap => "hold-snap",
            Step::WriteDropIn(_) => "write-drop-in",
            Step::MakeRequest { .. } => "make-request",
            Step::RenewClientRequests { .. } => "renew-client-requests",
            Step::MakeAuthority => "make-authority",
            Step::SignOwn => "sign-own",
            Step::ForgetDraft => "forget-draft",
            Step::WriteCredentials(_) => "write-credentials",
            Step::WriteTrusted { .. } => "write-trusted",
            Step::TrustAuthority(_) => "trust-authority",
            Step::WriteShellProfile(_) => "write-shell-profile",
            Step::MoveDataAside { .. } => "move-data-aside",
            Step::ReplaceDamaged { .. } => "replace-damaged",
            Step::FormatStorage { .. } => "format-storage",
            Step::MountStorage { .. } => "mount-storage",
            Step::PutAway(_) => "put-away",
            Step::RemoveLeftovers(_) => "remove-leftovers",
            Step::AdoptStorage { .. } => "adopt-storage",
            Step::ClaimMachine(_) => "claim-machine",
            Step::ClaimStorage(_) => "claim-storage",
            Step::MoveData { .. } => "move-data",
            Step::ReleaseStorage => "release-storage",
            Step::WriteChecks { .. } => "write-checks",
            Step::AddLearner { .. } => "add-learner",
            Step::WriteConfig { .. } => "write-config",
            Step::StartService => "start-service",
            Step::RestartService => "restart-service",
            Step::Promote(_) => "promote",
            Step::MovePeerUrl { .. } => "move-peer-url",
            Step::MoveLeadership { .. } => "move-leadership",
            Step::NoteDispensable(_) => "note-dispensable",
            Step::RemoveMember { .. } => "remove-member",
            Step::SwitchChannel(_) => "switch-channel",
            Step::UpgradeSnap { .. } => "upgrade-snap",
            Step::CutLog { .. } => "cut-log",
            Step::FinishMove(_) => "finish-move",
            Step::ForgetRefusedUpgrade => "forget-refused-upgrade",
            Step::StopService => "stop-service",
            Step::UndoRestore(_) => "undo-restore",
            Step::AcceptRestore { .. } => "accept-restore",
            Step::EndRestore => "end-restore",
            Step::FinishRecovery(_) => "finish-recovery",
            Step::UndoRecovery(_) => "undo-recovery",
            Step::EndRecovery => "end-recovery",
        }
    }

    /// Of the service, and of a restore or a recovery that was cut off.
    fn words(&self) -> &'static str {
        match self {
            Step::StartService => "Starting etcd",
            Step::RestartService => "Restarting etcd",
            Step::StopService => "Stopping etcd",
            Step::UndoRestore(_) => "Putting the data of before the unfinished restore back",
            Step::AcceptRestore { .. } => "Going on with the restored data, which serves",
            Step::EndRestore => "Finishing the restore: the other units know of it",
            Step::FinishRecovery(_) => "Finishing the recovery of the quorum that was cut off",
            Step::UndoRecovery(_) => "Putting the data of before the unfinished recovery back",
            Step::EndRecovery => "Finishing the recovery: the recovered member serves",
            _ => self.name(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Channel(channel) => write!(f, "{channel}"),
            Source::Files { .. } => f.write_str("the attached resource"),
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Removal::Leaving => "this unit is leaving",
            Removal::UnitGone => "its unit is gone",
            Removal::DataLost => "its data is lost",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::InstallSnap(source) => write!(f, "Installing etcd from {source}"),
            Step::PrepareRelease { wanted, .. } => write!(f, "Bringing etcd from {}", wanted.source),
            Step::SwitchRelease(release) => write!(f, "Switching to etcd {}", release.version),
            Step::WriteReleaseUnit(_) => f.write_str("Writing the service's unit file"),
            Step::SetSnapd(_) => f.write_str("Setting snapd's timer and proxies"),
            Step::HoldSnap => f.write_str("Holding automatic refreshes of the etcd snap"),
            Step::WriteDropIn(_) => f.write_str("Writing the service's restart rules"),
            Step::MakeRequest { .. } => f.write_str("Making a key and a certificate request"),
            Step::RenewClientRequests { make, .. } if make.is_empty() => {
                f.write_str("Forgetting requests for clients that are gone")
            }
            Step::RenewClientRequests { make, .. } => {
                let names: Vec<&str> = make.values().map(String::as_str).collect();
                write!(f, "Making keys and requests for client certificates: {}", names.join(", "))
            }
            Step::MakeAuthority => f.write_str("Making the application's own certificate authority"),
            Step::SignOwn => f.write_str("Signing this unit's certificate"),
            Step::ForgetDraft => f.write_str("Forgetting the authority made here: Juju keeps one"),
            Step::WriteCredentials(_) => f.write_str("Writing certificates and keys"),
            Step::WriteTrusted { .. } => f.write_str("Writing the trusted certificate authorities"),
            Step::TrustAuthority(_) => {
                f.write_str("Adding the certificate authority to the host's trust store")
            }
            Step::WriteShellProfile(_) => f.write_str("Writing the etcdctl environment for root shells"),
            Step::MoveDataAside { why, place } => write!(f, "Moving data in {place} aside: {why}"),
            Step::ReplaceDamaged { member, damage, place } => {
                write!(f, "Replacing this unit's member {member}: its data in {place} is damaged, {damage}")
            }
            Step::FormatStorage { id, device } => {
                write!(f, "Making a file system on the empty storage {id} ({})", device.display())
            }
            Step::MountStorage { .. } => f.write_str("Mounting the storage"),
            Step::PutAway(paths) => write!(f, "Keeping earlier data elsewhere: {}", paths.join(", ")),
            Step::RemoveLeftovers(all) => write!(f, "Removing the earlier charm's {}", Leftover::paths(all)),
            Step::AdoptStorage { device, .. } => {
                write!(f, "Marking the file system on {} as this charm's", device.display())
            }
            Step::ClaimMachine(_) => f.write_str("Noting whose the etcd of this machine is"),
            Step::ClaimStorage(_) => f.write_str("Writing on the storage whose the data is"),
            Step::MoveData { from, to, .. } => write!(f, "Moving etcd's data from {from} to {to}"),
            Step::ReleaseStorage => f.write_str("Unmounting the storage"),
            Step::WriteChecks { write, .. } if write.is_empty() => {
                f.write_str("Removing the checks for Nagios")
            }
            Step::WriteChecks { .. } => f.write_str("Writing the checks for Nagios"),
            Step::AddLearner { peer_url } => write!(f, "Joining the cluster as a learner at {peer_url}"),
            Step::WriteConfig { restart: true, .. } => {
                f.write_str("Writing etcd's configuration; a restart is due")
            }
            Step::WriteConfig { .. } => f.write_str("Writing etcd's configuration"),
            Step::Promote(member) => write!(f, "Promoting learner {member} to voter"),
            Step::MovePeerUrl { peer_url, .. } => write!(f, "Telling the members to use {peer_url}"),
            Step::MoveLeadership { to } => write!(f, "Handing raft leadership to member {to}"),
            Step::NoteDispensable(member) => write!(f, "Noting that the others do without member {member}"),
            Step::RemoveMember { member, reason } => write!(f, "Taking member {member} out: {reason}"),
            Step::SwitchChannel(channel) => write!(f, "Following the channel {channel}"),
            Step::UpgradeSnap { name, .. } => write!(f, "Moving etcd to {name}"),
            Step::CutLog { .. } => f.write_str("Clearing etcd's log of requests to the v2 store"),
            Step::FinishMove(moving) => {
                write!(f, "Finishing the move to {}, which was broken off", moving.channel)
            }
            Step::ForgetRefusedUpgrade => f.write_str("Forgetting the upgrade that was tried in vain"),
            _ => f.write_str(self.words()),
        }
    }
}
