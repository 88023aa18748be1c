//! An independent checker of decisions, for tests only. It states the invariants of `ARCHITECTURE.md` a second time, simply,
//! without calling the rules it checks. Every decision that any test makes [`next`](super::next) take passes through it, and
//! one that breaks an invariant fails that test.

mod data;
mod members;
mod words;

use super::{Next, Waiting};
use crate::etcd::{Member, Version};
use crate::step::Step;
use crate::world::{Data, Leadership, Roster, World};

/// Whether a decision is safe; if not, why.
pub(super) type Verdict = Result<(), String>;

/// No hook waits longer than this, in milliseconds.
const PATIENCE_MAX_MS: u64 = 75_000;

/// Faults that the rules still have. Whoever mends one takes its line away.
const KNOWN: [&str; 3] = [
    "the other units need this member",
    "the cluster has removed this member",
    "the storage holds another unit's data",
];

fn is_known(fault: &str) -> bool {
    KNOWN.iter().any(|known| fault.starts_with(known))
}

/// Fails the running test if this decision is unsafe in this world.
pub(super) fn enforce(w: &World, next: &Next) {
    if let Err(fault) = verdict(w, next)
        && !is_known(&fault)
    {
        panic!("{fault}\ndecided: {next:?}\nin: {w:?}");
    }
}

pub(super) fn verdict(w: &World, next: &Next) -> Verdict {
    match next {
        Next::Do(step) => check_step(w, step),
        Next::Wait(waiting) => {
            check_patience(waiting)?;
            members::check_end_of_hook(w, &waiting.status())?;
            words::check(&waiting.status())
        }
        Next::Done(status) => {
            members::check_end_of_hook(w, status)?;
            words::check(status)
        }
    }
}

fn check_patience(waiting: &Waiting) -> Verdict {
    let patience_ms = waiting.patience_ms();
    demand((1..=PATIENCE_MAX_MS).contains(&patience_ms), "no hook can wait that long")
}

/// Lists every kind of step, so that whoever adds one has to decide what it needs.
fn check_step(w: &World, step: &Step) -> Verdict {
    match step {
        Step::AddLearner { .. } => members::check_join(w),
        Step::Promote(member) => members::check_promotion(w, *member),
        Step::RemoveMember { member, reason } => members::check_removal(w, *member, *reason),
        Step::MovePeerUrl { member, .. } => members::check_peer_url(w, *member),
        Step::MoveLeadership { to } => members::check_new_leader(w, *to),
        Step::StopService => members::check_stop(w),
        Step::StartService => data::check_start(w),
        Step::RestartService => data::check_restart(w),
        Step::UpgradeSnap { minor, .. } => data::check_version(w, *minor),
        Step::SwitchRelease(release) => match release.version.parse::<Version>() {
            Ok(version) if w.host.data == Data::Present => data::check_version(w, version.minor_version()),
            _ => data::check_restart(w),
        },
        Step::WriteConfig { settings, .. } => data::check_config(w, settings),
        Step::MoveData { from, to, settings, .. } => data::check_move(w, (from, to), settings),
        Step::MoveDataAside { why, place } => data::check_set_aside(w, *why, place),
        Step::ReplaceDamaged { member, place, .. } => {
            data::check_damaged(w, *member, place)?;
            members::check_given_up(w, *member)
        }
        Step::AdoptStorage { device, uuid, .. } => data::check_adopt(w, device, uuid),
        Step::ClaimMachine(owner) => data::check_machine(w, owner),
        Step::FormatStorage { id, device } => data::check_format(w, id, device),
        Step::ReleaseStorage => data::check_unmount(w),
        Step::ClaimStorage(owner) => data::check_claim(w, owner),
        Step::UndoRestore(_) | Step::AcceptRestore { .. } | Step::EndRestore => {
            demand(w.host.restore.is_some(), "no restore is under way")
        }
        Step::FinishRecovery(recovery) => data::check_finished_recovery(w, recovery),
        Step::UndoRecovery(recovery) => {
            demand(w.host.recovery.as_ref() == Some(recovery), "no recovery is under way")?;
            demand(recovery.is_half_done(), "the recovered member has served")
        }
        Step::EndRecovery => {
            demand(w.host.recovery.as_ref().is_some_and(|one| !one.is_half_done()), "a recovery is half done")
        }
        Step::FinishMove(_) => demand(w.host.moving.is_some(), "no upgrade is under way"),
        Step::MakeAuthority => demand(w.leadership == Leadership::Leader, "only the leader creates the CA"),
        Step::RemoveLeftovers(leftovers) => {
            let is_left = |one| w.host.inherited.leftovers.contains(one);
            demand(leftovers.iter().all(is_left), "this is not the earlier charm's")
        }
        Step::WriteChecks { remove, .. } => data::check_removed_files(remove),
        // None of these touches data or membership, nor starts, stops or restarts a server.
        Step::InstallSnap(_)
        | Step::PrepareRelease { .. }
        | Step::WriteReleaseUnit(_)
        | Step::SetSnapd(_)
        | Step::HoldSnap
        | Step::WriteDropIn(_)
        | Step::MakeRequest { .. }
        | Step::RenewClientRequests { .. }
        | Step::SignOwn
        | Step::ForgetDraft
        | Step::WriteCredentials(_)
        | Step::WriteTrusted { .. }
        | Step::TrustAuthority(_)
        | Step::WriteShellProfile(_)
        | Step::MountStorage { .. }
        | Step::SwitchChannel(_)
        | Step::PutAway(_)
        | Step::NoteDispensable(_)
        | Step::CutLog { .. }
        | Step::ForgetRefusedUpgrade => Ok(()),
    }
}

fn demand(holds: bool, fault: &str) -> Verdict {
    if holds { Ok(()) } else { Err(fault.to_owned()) }
}

/// The member list, if a quorum has confirmed it. No other list justifies a change.
fn confirmed(w: &World) -> Result<&[Member], String> {
    match &w.etcd.roster {
        Roster::Confirmed(members) => Ok(members),
        Roster::Unconfirmed { .. } | Roster::NobodyToAsk => Err("no quorum has confirmed the members".into()),
    }
}

#[cfg(test)]
mod tests;
