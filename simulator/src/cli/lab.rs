//! `lab`: faults and shortcuts that only tests and demonstrations use. Real Juju has no such words, so that no
//! runbook can come to depend on them.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::model::Model;
use super::output::{self, Format};
use super::words;
use crate::api::{self, Request, Wait};

#[derive(Debug, Args)]
#[command(after_help = "\
For tests and demonstrations only: a real Juju has no such command.

Examples:
  juju-sim lab cut etcd/1
  juju-sim lab slow etcd/1 --delay 100ms --loss 5
  juju-sim lab kill-hook etcd/0 --hook config-changed --call 3
  juju-sim lab wait etcd --status active --idle --timeout 5m")]
pub(super) struct Lab {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Wait until units are as wanted, everywhere when no name is given
    Wait(WaitArguments),
    #[command(flatten)]
    Fault(Fault),
}

#[derive(Debug, Subcommand)]
enum Fault {
    /// Cut the machine of a unit off the network
    Cut {
        unit: String,
        /// Lose only what it sends: it goes on hearing the others
        #[arg(long)]
        one_way: bool,
    },
    /// Delay and lose packets that the machine of a unit sends; takes the place of a cut one way
    Slow {
        unit: String,
        /// How much later each packet arrives
        #[arg(long, value_name = "DURATION", value_parser = words::duration, default_value = "0s")]
        delay: Duration,
        /// How many of a hundred packets are lost
        #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
        loss: u8,
    },
    /// Plug the machine of a unit into the network again, and let what it sends arrive at once
    Heal { unit: String },
    /// Cut the power of a unit's machine; it stays down
    KillMachine { unit: String },
    /// Power the machine of a unit on again
    StartMachine { unit: String },
    /// Restart the machine of a unit in good order
    Reboot { unit: String },
    /// Give the machine of a unit another address
    SetAddress { unit: String, address: Ipv4Addr },
    /// Kill the next hook of a unit, by SIGKILL, when it calls a hook tool; it then counts as failed
    KillHook(KillHook),
    /// Forget the order to kill hooks of a unit
    SpareHooks { unit: String },
    /// Kill the hook or action that a unit runs now, by SIGKILL
    KillRunning { unit: String },
    /// Tell which hook tools each hook and action has called so far, as JSON
    Calls {
        #[arg(value_name = "UNIT|APPLICATION")]
        subject: String,
    },
    /// Fire update-status on a unit or on all units of an application, and wait for its end
    UpdateStatus {
        #[arg(value_name = "UNIT|APPLICATION")]
        subject: String,
    },
    /// Make a unit the Juju leader of its application
    Leader { unit: String },
    /// Let the clock that leases and the ages of secrets are measured with run ahead
    AdvanceClock {
        #[arg(value_parser = words::duration)]
        duration: Duration,
    },
    /// Fill the disk of a unit's machine but for a rest
    FillDisk {
        unit: String,
        /// KiB that stay free
        #[arg(long, value_name = "KIB", default_value_t = 0)]
        free: u64,
    },
    /// Give the disk of a unit's machine its space back
    FreeDisk { unit: String },
    /// Refuse every question about a relation (db:7) that units still list, as after remove-saas --force
    HideRelation { relation: String },
    /// Answer questions about a relation again
    RevealRelation { relation: String },
}

#[derive(Debug, Args)]
struct WaitArguments {
    /// Units or applications; all when not given
    subjects: Vec<String>,
    /// Workload status that every unit must have
    #[arg(long, value_name = "WORD")]
    status: Option<String>,
    /// Text that every unit's message must contain
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Nothing may run or be due (update-status does not count)
    #[arg(long)]
    idle: bool,
    /// Exact number of units of the application
    #[arg(long, value_name = "COUNT")]
    units: Option<usize>,
    /// How long at most
    #[arg(long, value_name = "DURATION", value_parser = words::duration, default_value = "5m")]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct KillHook {
    unit: String,
    /// Hook to wait for, or actions/NAME; any when not given
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// The hook-tool call to kill it at, counted from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    call: u32,
    /// Kill it after the call has had its effect; before it otherwise
    #[arg(long)]
    after: bool,
    /// Kill the later hooks too, each this many calls later than the one before
    #[arg(long, value_name = "CALLS", default_value_t = 0)]
    step: u32,
    /// Count for each hook by itself, and from --call again once it has come through: every hook dies at each of these calls
    #[arg(long, requires = "step")]
    each: bool,
}

impl Lab {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let request = match self.word {
            Word::Wait(arguments) => Request::Wait(arguments.wait()?),
            Word::Fault(fault) => Request::Lab(fault.request(model).await?),
        };
        let is_question = matches!(request, Request::Lab(api::Lab::Calls { .. }));
        let answer = model.ask(request).await?;
        if is_question {
            output::show(&answer, Format::Json)?;
        }
        Ok(0)
    }
}

impl WaitArguments {
    fn wait(self) -> Result<Wait> {
        if self.status.is_none() && self.message.is_none() && self.units.is_none() && !self.idle {
            bail!("nothing to wait for: give --idle, --status, --message or --units");
        }
        Ok(Wait {
            subjects: self.subjects,
            status: self.status,
            message: self.message,
            idle: self.idle,
            units: self.units,
            timeout_ms: words::milliseconds(self.timeout),
        })
    }
}

impl Fault {
    async fn request(self, model: &Model) -> Result<api::Lab> {
        Ok(match self {
            Self::Cut { unit, one_way } => api::Lab::Cut { unit: model.resolve(&unit).await?, one_way },
            Self::Slow { unit, delay, loss } => api::Lab::Slow {
                unit: model.resolve(&unit).await?,
                delay_ms: words::milliseconds(delay),
                loss_percent: loss,
            },
            Self::Heal { unit } => api::Lab::Heal { unit: model.resolve(&unit).await? },
            Self::KillMachine { unit } => api::Lab::KillMachine { unit: model.resolve(&unit).await? },
            Self::StartMachine { unit } => api::Lab::StartMachine { unit: model.resolve(&unit).await? },
            Self::Reboot { unit } => api::Lab::Reboot { unit: model.resolve(&unit).await? },
            Self::SetAddress { unit, address } => {
                api::Lab::SetAddress { unit: model.resolve(&unit).await?, address: address.to_string() }
            }
            Self::KillHook(KillHook { unit, hook, call, after, step, each }) => {
                api::Lab::KillHook { unit: model.resolve(&unit).await?, hook, call, after, step, each }
            }
            Self::SpareHooks { unit } => api::Lab::SpareHooks { unit: model.resolve(&unit).await? },
            Self::KillRunning { unit } => api::Lab::KillRunning { unit: model.resolve(&unit).await? },
            Self::Calls { subject } => api::Lab::Calls { subject },
            Self::UpdateStatus { subject } => api::Lab::UpdateStatus { subject },
            Self::Leader { unit } => api::Lab::Leader { unit: model.resolve(&unit).await? },
            Self::AdvanceClock { duration } => api::Lab::AdvanceClock { seconds: duration.as_secs() },
            Self::FillDisk { unit, free } => {
                api::Lab::FillDisk { unit: model.resolve(&unit).await?, free_kib: free }
            }
            Self::FreeDisk { unit } => api::Lab::FreeDisk { unit: model.resolve(&unit).await? },
            Self::HideRelation { relation } => api::Lab::HideRelation { relation },
            Self::RevealRelation { relation } => api::Lab::RevealRelation { relation },
        })
    }
}
