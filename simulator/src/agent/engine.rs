//! What all agents and the controller share: the model, its log, the machines, and the runs that are going on.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, mpsc};

use crate::machine::{Machine, MachineKind, MachineSpec, Machines};
use crate::model::log::Log;
use crate::model::{MachineState, Store};

use super::AgentRequest;
use super::context::{Context, KillPlan};

type Locked<K, V> = Mutex<BTreeMap<K, V>>;
type MachineCell = Arc<OnceCell<Arc<dyn Machine>>>;

/// What is shared.
pub struct Engine {
    /// The model.
    pub store: Store,
    /// Its log.
    pub log: Log,
    /// The model's directory on the host.
    pub directory: PathBuf,
    /// The program that hook tools are links to.
    pub tool_program: PathBuf,
    machines: Arc<dyn Machines>,
    cells: Locked<String, MachineCell>,
    locks: Locked<String, Arc<AsyncMutex<()>>>,
    runtimes: Locked<String, Arc<UnitRuntime>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What of a running agent others can reach.
#[derive(Debug)]
pub struct UnitRuntime {
    /// The unit.
    pub unit: String,
    /// The run that is going on. Held while one of its tools works, so that tools come one after the other.
    pub context: AsyncMutex<Option<Context>>,
    /// A kill that is to happen in a later run.
    pub kill_plan: Mutex<Option<KillPlan>>,
    /// The runs that have ended, each with the tools that it called, oldest first.
    pub runs: Mutex<VecDeque<RunCalls>>,
    /// The way to ask the agent for something.
    pub requests: mpsc::UnboundedSender<AgentRequest>,
}

/// A run and the hook tools that it called, in order.
#[derive(Debug, Clone, Serialize)]
pub struct RunCalls {
    /// The hook's name, or `actions/NAME`.
    pub run: String,
    /// The names of the tools.
    pub calls: Vec<String>,
}

/// So many runs of a unit are kept.
const RUNS_MAX: usize = 1_000;

impl UnitRuntime {
    /// Keeps what a run has called.
    pub fn note_run(&self, run: RunCalls) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= RUNS_MAX {
            runs.pop_front();
        }
        runs.push_back(run);
    }
}

fn locked<K, V, R>(map: &Locked<K, V>, work: impl FnOnce(&mut BTreeMap<K, V>) -> R) -> R {
    work(&mut map.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Engine {
    /// Puts the shared things together.
    pub fn new(
        store: Store,
        log: Log,
        directory: PathBuf,
        tool_program: PathBuf,
        machines: Arc<dyn Machines>,
    ) -> Self {
        Self {
            store,
            log,
            directory,
            tool_program,
            machines,
            cells: Mutex::default(),
            locks: Mutex::default(),
            runtimes: Mutex::default(),
        }
    }

    /// The machine of a unit: made when it was never made, found again when an earlier controller made it. Nothing
    /// when the unit is gone.
    pub async fn machine_of(&self, unit: &str) -> Result<Option<Arc<dyn Machine>>> {
        let id = self.store.read(|model| model.units.get(unit).map(|unit| unit.machine.clone()));
        match id {
            Some(id) => self.machine(&id).await,
            None => Ok(None),
        }
    }

    /// A machine by its id, likewise.
    pub async fn machine(&self, id: &str) -> Result<Option<Arc<dyn Machine>>> {
        let Some((spec, state)) = self.store.read(|model| {
            model.machines.get(id).map(|machine| (machine.spec.clone(), machine.state.clone()))
        }) else {
            return Ok(None);
        };
        let cell = locked(&self.cells, |cells| Arc::clone(cells.entry(id.to_owned()).or_default()));
        cell.get_or_try_init(|| self.make_or_find(spec, state)).await.cloned().map(Some)
    }

    async fn make_or_find(&self, spec: MachineSpec, state: MachineState) -> Result<Arc<dyn Machine>> {
        let id = spec.id.clone();
        let made = if matches!(state, MachineState::Pending | MachineState::Failed(_)) {
            self.machines.create(spec).await
        } else {
            self.machines.adopt(spec).await
        };
        let machine: Arc<dyn Machine> = match made {
            Ok(machine) => Arc::from(machine),
            Err(error) => {
                self.set_machine_state(&id, MachineState::Failed(format!("{error:#}")));
                self.log.write(
                    "controller",
                    "ERROR",
                    "juju.provisioner",
                    &format!("cannot start machine {id}: {error:#}"),
                );
                return Err(error.context(format!("cannot start machine {id}")));
            }
        };
        if state != MachineState::Down && !machine.is_running() {
            machine.start().await.with_context(|| format!("cannot start machine {id} again"))?;
            self.note_reboot(&id);
        }
        if state != MachineState::Down {
            self.set_machine_state(&id, MachineState::Started);
        }
        Ok(machine)
    }

    /// Whether machines of this kind can be made here; else one sentence that says what is missing.
    pub fn check_machines(&self, kind: MachineKind) -> Result<(), String> {
        self.machines.check(kind).map_err(|error| format!("{error:#}"))
    }

    /// Writes down how a machine is.
    pub fn set_machine_state(&self, id: &str, state: MachineState) {
        self.store.update(|model| {
            let now = model.now_ms();
            if let Some(machine) = model.machines.get_mut(id) {
                machine.state = state;
                machine.since_ms = now;
            }
            model.settle_leases();
        });
    }

    /// Lets the agents on a machine run `start` again, as after every restart of a host.
    pub fn note_reboot(&self, id: &str) {
        self.store.update(|model| {
            for unit in model.units.values_mut().filter(|unit| unit.machine == id) {
                unit.agent.rebooted = true;
            }
        });
    }

    /// Shuts a machine down in order and starts it again. A hook that is ended by this will run again, as if it had
    /// never begun.
    pub async fn reboot(&self, id: &str, machine: &dyn Machine) -> Result<()> {
        self.set_machine_state(id, MachineState::Restarting);
        let outcome = machine.reboot().await;
        self.note_reboot(id);
        self.set_machine_state(id, MachineState::Started);
        outcome.with_context(|| format!("cannot reboot machine {id}"))
    }

    /// Ends a machine and forgets it.
    pub async fn destroy_machine(&self, id: &str) -> Result<()> {
        let machine = self.machine(id).await;
        if let Ok(Some(machine)) = machine {
            machine.destroy().await.with_context(|| format!("cannot destroy machine {id}"))?;
        }
        locked(&self.cells, |cells| cells.remove(id));
        locked(&self.locks, |locks| locks.remove(id));
        self.store.update(|model| model.machines.remove(id));
        Ok(())
    }

    /// Ends all machines.
    pub async fn destroy_all(&self) -> Result<()> {
        self.machines.destroy_all().await
    }

    /// The lock that lets the hooks of one machine run one after the other.
    pub fn machine_lock(&self, id: &str) -> Arc<AsyncMutex<()>> {
        locked(&self.locks, |locks| Arc::clone(locks.entry(id.to_owned()).or_default()))
    }

    /// The running agent of a unit.
    pub fn runtime(&self, unit: &str) -> Option<Arc<UnitRuntime>> {
        locked(&self.runtimes, |runtimes| runtimes.get(unit).cloned())
    }

    /// Makes a place for the agent of a unit that has none; nothing when it has one already.
    pub fn add_runtime(
        &self,
        unit: &str,
    ) -> Option<(Arc<UnitRuntime>, mpsc::UnboundedReceiver<AgentRequest>)> {
        locked(&self.runtimes, |runtimes| {
            if runtimes.contains_key(unit) {
                return None;
            }
            let (requests, receiver) = mpsc::unbounded_channel();
            let runtime = Arc::new(UnitRuntime {
                unit: unit.to_owned(),
                context: AsyncMutex::new(None),
                kill_plan: Mutex::new(None),
                runs: Mutex::default(),
                requests,
            });
            runtimes.insert(unit.to_owned(), Arc::clone(&runtime));
            Some((runtime, receiver))
        })
    }

    /// Forgets the agent of a unit once it has ended.
    pub fn forget_runtime(&self, unit: &str) {
        locked(&self.runtimes, |runtimes| runtimes.remove(unit));
    }
}
