//! Performs a [`Step`]: the only writer to this machine and to etcd.

mod authority;
mod checks;
mod exchange;
mod files;
mod inherited;
mod membership;
mod recovery;
mod reinstall;
mod release;
mod snap;
mod storage;
mod upgrade;
mod way_back;

pub use membership::{give_back_left_lock, restart_lock};
pub(crate) use recovery::Rebuild;
pub use reinstall::{Files, reinstall};
pub use storage::RULES as STORAGE_RULES;

use anyhow::Result;

use crate::decide;
use crate::juju::Tools;
use crate::recovering::Recovery;
use crate::restoring::{Journal, swap};
use crate::state::StateFile;
use crate::step::Step;
use crate::storage::Owner;
use crate::world::World;

/// Why a step has not been done.
#[derive(Debug)]
pub enum Trouble {
    /// The other side was not ready; the same step may work in a moment.
    NotYet(String),
    /// It failed; the message is for the operator.
    Failed(String),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        Trouble::Failed(format!("{error:#}"))
    }
}

impl From<crate::etcd::Error> for Trouble {
    fn from(error: crate::etcd::Error) -> Trouble {
        let retryable = error.is_retryable();
        let message = error.to_string();
        if retryable { Trouble::NotYet(message) } else { Trouble::Failed(message) }
    }
}

/// What an earlier unit of this machine has left half done is set aside first: it is not this one's to finish.
fn claim_machine(owner: &Owner, world: &World) -> Result<()> {
    if decide::was_of_another(world) {
        Recovery::set_aside()?;
        Journal::set_aside()?;
    }
    StateFile::Owner.write_text(&owner.to_string())
}

/// Does one step in the `world` it was decided in.
///
/// # Errors
/// [`Trouble`]; whatever was half done is seen and completed by the next run.
pub async fn perform(step: &Step, world: &World, tools: &Tools) -> Result<(), Trouble> {
    match step {
        Step::InstallSnap(source) => Ok(snap::install(source, tools).await?),
        Step::PrepareRelease { wanted, proxies } => {
            Ok(release::prepare(wanted, proxies, world, tools).await?)
        }
        Step::SwitchRelease(release) => release::switch(release, world).await,
        Step::WriteReleaseUnit(text) => Ok(release::write_unit(text, world).await?),
        Step::SetSnapd(options) => Ok(snap::set_snapd(options, world).await?),
        Step::HoldSnap => Ok(snap::hold(world).await?),
        Step::WriteDropIn(text) => Ok(snap::write_drop_in(text).await?),
        Step::MakeRequest { common_name, sans } => Ok(authority::make_request(common_name, sans, world)?),
        Step::RenewClientRequests { make, forget } => {
            Ok(authority::renew_client_requests(make, forget, world)?)
        }
        Step::MakeAuthority => Ok(authority::make_authority(world)?),
        Step::SignOwn => Ok(authority::sign_own(world, tools).await?),
        Step::ForgetDraft => Ok(authority::forget_draft()?),
        Step::WriteCredentials(credentials) => Ok(files::write_credentials(credentials)?),
        Step::WriteTrusted { authorities, restart } => {
            Ok(files::write_trusted(authorities, *restart, world)?)
        }
        Step::TrustAuthority(ca) => Ok(files::trust_authority(ca).await?),
        Step::WriteShellProfile(text) => Ok(files::write_shell_profile(text)?),
        Step::MoveDataAside { why, place } => Ok(files::move_data_aside(*why, place)?),
        Step::ReplaceDamaged { member, place, .. } => Ok(files::replace_damaged(*member, place).await?),
        Step::FormatStorage { id, device } => Ok(storage::format(id, device).await?),
        Step::MountStorage { unit, rules } => Ok(storage::mount(unit, rules, world).await?),
        Step::PutAway(paths) => Ok(files::put_away(paths)?),
        Step::RemoveLeftovers(leftovers) => Ok(inherited::remove(leftovers).await?),
        Step::AdoptStorage { device, uuid, label } => Ok(storage::adopt(device, uuid, *label).await?),
        Step::ClaimMachine(owner) => Ok(claim_machine(owner, world)?),
        Step::ClaimStorage(owner) => Ok(storage::claim(owner)?),
        Step::MoveData { from, to, settings, version } => {
            storage::move_data(from, to, (settings, version), world, tools).await
        }
        Step::ReleaseStorage => Ok(storage::release().await?),
        Step::WriteChecks { write, remove } => Ok(checks::write(write, remove).await?),
        Step::WriteConfig { settings, version, restart } => {
            Ok(files::write_config(settings, version, *restart, world)?)
        }
        Step::StartService => snap::start_service(world).await,
        Step::RestartService => membership::rolling_restart(world).await,
        Step::SwitchChannel(channel) => Ok(upgrade::switch(channel).await?),
        Step::UpgradeSnap { channel, name, minor, save_first } => {
            upgrade::to_channel((channel, name, *minor), *save_first, world, tools).await
        }
        Step::CutLog { entries } => upgrade::cut_log(*entries, world).await,
        Step::FinishMove(moving) => exchange::finish(moving, world).await,
        Step::ForgetRefusedUpgrade => Ok(exchange::forget_refusal()?),
        Step::StopService => Ok(snap::stop_service().await?),
        Step::AddLearner { peer_url } => membership::add_learner(world, peer_url).await,
        Step::Promote(member) => membership::promote(world, *member).await,
        Step::MovePeerUrl { member, peer_url } => membership::move_peer_url(world, *member, peer_url).await,
        Step::MoveLeadership { to } => membership::move_leadership(world, *to).await,
        Step::UndoRestore(journal) => Ok(swap::go_back(journal).await?),
        Step::AcceptRestore { journal, cluster } => Ok(journal.accept(*cluster)?),
        Step::EndRestore => Ok(Journal::remove()?),
        Step::NoteDispensable(member) => Ok(StateFile::Dispensable.write_record(member)?),
        Step::RemoveMember { member, reason } => membership::remove((*member, *reason), world, tools).await,
        Step::EndRecovery => Ok(Recovery::end()?),
        Step::FinishRecovery(recovery) => {
            Ok(Rebuild::prepare(&world.host, tools)?.go_on(recovery.clone()).await?)
        }
        Step::UndoRecovery(recovery) => {
            Ok(Rebuild::prepare(&world.host, tools)?.put_back(&mut recovery.clone()).await?)
        }
    }
}
