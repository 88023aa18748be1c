//! One machine of this host, light or full. Invariant: its record on disk is written before a change that must not be forgotten, and after one
//! that must not be claimed too early, so that another controller finds it again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use nix::sys::signal::Signal;
use tokio::process::Command;

use super::boot::{BootSpec, System, boot};
use super::process::{DEATH_LIMIT, ProcessId};
use super::record::{self, Record};
use super::{Shared, block, disk, full, light, network};
use crate::machine::{Machine, MachineKind, MachineSpec, Sending};

/// How long an orderly shutdown may take: systemd's own limit for one service is 90 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(100);

/// A machine of namespaces.
#[derive(Debug)]
pub struct LocalMachine {
    shared: Arc<Shared>,
    id: String,
    record: Mutex<Record>,
    /// Held while the machine is being changed.
    changing: tokio::sync::Mutex<()>,
}

impl LocalMachine {
    pub(crate) fn create(shared: Arc<Shared>, spec: MachineSpec) -> Result<Self> {
        let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if spec.id.is_empty() || !spec.id.chars().all(valid) {
            bail!("cannot make a machine named {:?}: use letters, digits and dashes", spec.id);
        }
        let record = Record {
            hostname: spec.hostname,
            address: spec.address,
            kind: spec.kind,
            keeper: None,
            port: String::new(),
            connected: true,
            sending: Sending::default(),
            free_kib: None,
            blocks: BTreeMap::new(),
        };
        let machine = Self::with_record(shared, spec.id, record);
        let juju = machine.juju_dir();
        std::fs::create_dir_all(&juju).with_context(|| format!("cannot make {}", juju.display()))?;
        machine.save()?;
        Ok(machine)
    }

    pub(crate) fn adopt(shared: Arc<Shared>, spec: MachineSpec) -> Result<Self> {
        match record::read::<Record>(&shared.machine_dir(&spec.id).join("machine.json"))? {
            Some(record) => Ok(Self::with_record(shared, spec.id, record)),
            None => Self::create(shared, spec),
        }
    }

    fn with_record(shared: Arc<Shared>, id: String, record: Record) -> Self {
        Self { shared, id, record: Mutex::new(record), changing: tokio::sync::Mutex::new(()) }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A record is replaced field by field: one left by a panicking thread is still whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self) -> PathBuf {
        self.shared.machine_dir(&self.id)
    }

    fn save(&self) -> Result<()> {
        record::write(&self.dir().join("machine.json"), &*self.record())
    }

    fn keeper(&self) -> Option<ProcessId> {
        self.record().keeper.clone().filter(ProcessId::is_alive)
    }

    /// The machine's first process.
    fn first(&self) -> Option<u32> {
        let keeper = self.keeper()?;
        match self.record().kind {
            MachineKind::Light => Some(keeper.pid),
            MachineKind::Full => full::first_process(&keeper),
        }
    }

    fn running(&self) -> Result<u32> {
        self.first().with_context(|| format!("cannot reach machine {}: it is powered off", self.id))
    }

    fn system(&self) -> System {
        match self.record().kind {
            MachineKind::Light => System::Host,
            MachineKind::Full => System::Image {
                root: self.shared.options.image.root(),
                in_place: self.shared.options.image.is_being_made(),
                cgroup: self.cgroup(),
            },
        }
    }

    /// Its name in each hierarchy of control groups.
    fn cgroup(&self) -> PathBuf {
        super::cgroup_of(&self.shared.dir).join(&self.id)
    }

    fn boot_spec(&self) -> BootSpec {
        let system = self.system();
        let record = self.record();
        let options = &self.shared.options;
        let directory = self.dir();
        BootSpec {
            system,
            hostname: record.hostname.clone(),
            address: record.address,
            prefix: options.subnet.prefix(),
            port: record.port.clone(),
            connected: record.connected,
            card: card_number(&self.id),
            disk: directory.join("disk"),
            juju: directory.join("juju"),
            bin: self.shared.dir.join("bin"),
            store: options.snap_store.clone(),
            cache: options.snap_cache.clone(),
            hide: vec![self.shared.dir.clone()],
            blocks: record.blocks.values().cloned().collect(),
            log: directory.join("init.log"),
        }
    }

    async fn power_on(&self) -> Result<()> {
        if self.keeper().is_some() {
            return Ok(());
        }
        let holder = self.shared.holder().await?;
        // The kernel takes the old wire down in its own time: a new one has a new name.
        self.record().port = port_name();
        let devices: Vec<String> = self.record().blocks.keys().cloned().collect();
        for name in devices {
            let file = block::backing_file(&self.shared.dir, &name);
            let device = block::attach(&file, 0).await?;
            self.record().blocks.insert(name, device);
        }
        let keeper = boot(&self.shared.program(), &holder, &self.boot_spec()).await?;
        self.record().keeper = Some(keeper);
        self.save()?;
        if self.record().free_kib.is_some() {
            self.apply_limit()?;
        }
        if self.record().kind == MachineKind::Full
            && let Err(error) = self.wait_until_up().await
        {
            self.end().await?;
            return Err(error.context(format!("cannot boot {}", self.record().hostname)));
        }
        // Last: a booted system sets its network up by itself, and clears rules that are not its own.
        self.apply_sending(Sending::default())
    }

    async fn wait_until_up(&self) -> Result<()> {
        full::wait_until_up(self, &self.dir().join("init.log")).await?;
        light::loop_nodes(&self.host_path(Path::new("/dev"))?)
    }

    /// A power cut.
    async fn end(&self) -> Result<()> {
        let Some(keeper) = self.keeper() else { return Ok(()) };
        let made_inside = block::made_inside(self.first()).await?;
        // Before anything dies in it: a machine without power says goodbye to nobody.
        self.take_off_the_network()?;
        if let Some(Ok(first)) = self.first().map(ProcessId::of) {
            first.kill()?;
            first.wait_gone(DEATH_LIMIT).await?;
        }
        keeper.kill()?;
        self.ended(&keeper, made_inside).await
    }

    /// An orderly shutdown; a power cut when that takes too long.
    async fn end_in_order(&self) -> Result<()> {
        let Some(keeper) = self.keeper() else { return Ok(()) };
        let made_inside = block::made_inside(self.first()).await?;
        let kind = self.record().kind;
        let limit = match kind {
            MachineKind::Light => {
                keeper.signal(Signal::SIGTERM)?;
                SHUTDOWN_LIMIT
            }
            MachineKind::Full => {
                full::shut_down(self).await;
                full::SHUTDOWN_LIMIT
            }
        };
        if keeper.wait_gone(limit).await.is_err() {
            return self.end().await;
        }
        self.ended(&keeper, made_inside).await
    }

    /// What is left to do when nothing runs in the machine any more.
    async fn ended(&self, keeper: &ProcessId, made_inside: Vec<PathBuf>) -> Result<()> {
        keeper.wait_gone(DEATH_LIMIT).await?;
        // The kernel takes a namespace away only later, and answers for it until then.
        self.take_off_the_network()?;
        full::remove_cgroups(&self.cgroup())?;
        self.record().keeper = None;
        self.save()?;
        // What was made inside over files of its disk ends with the power, as a real machine's loop devices do.
        block::detach_each(made_inside).await
    }

    fn take_off_the_network(&self) -> Result<()> {
        let Some(holder) = self.shared.running_holder() else { return Ok(()) };
        let port = self.record().port.clone();
        network::remove_port(holder.pid, &port)
    }

    /// Changes what becomes of packets in the machine's own network namespace, from what was said of them `before`.
    fn apply_sending(&self, before: Sending) -> Result<()> {
        let sending = self.record().sending;
        match self.first() {
            Some(first) => network::set_sending(first, self.shared.options.subnet, before, sending),
            None => Ok(()),
        }
    }

    /// Where the disk is seen from the host.
    fn disk_from_host(&self, holder: &ProcessId) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", holder.pid, self.dir().join("disk").display()))
    }

    fn apply_limit(&self) -> Result<()> {
        let holder =
            self.shared.running_holder().context("cannot limit the disk: the model is not running")?;
        let place = self.dir().join("disk");
        let numbers = rustix::fs::statvfs(self.disk_from_host(&holder)).context("cannot measure the disk")?;
        let used = (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize / 1024;
        let size = self.record().free_kib.map_or(disk::DISK_KIB, |free| used + free);
        // A size of nothing would mean no limit.
        let options = format!("remount,size={}k", size.max(4));
        let output = std::process::Command::new("nsenter")
            .args(["-t", &holder.pid.to_string(), "-m", "--", "mount", "-o", &options])
            .arg(&place)
            .output()
            .context("cannot run nsenter: install util-linux")?;
        if !output.status.success() {
            bail!("cannot limit the disk: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// The number that a machine's hardware address is made from: the same for the same id.
fn card_number(id: &str) -> u32 {
    id.parse().unwrap_or_else(|_| {
        id.bytes().fold(7, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
    })
}

/// A name for an interface at the switch that no other has.
fn port_name() -> String {
    format!("p{:.12}", uuid::Uuid::new_v4().simple().to_string())
}

#[async_trait]
impl Machine for LocalMachine {
    fn spec(&self) -> MachineSpec {
        let record = self.record();
        MachineSpec {
            id: self.id.clone(),
            hostname: record.hostname.clone(),
            address: record.address,
            kind: record.kind,
        }
    }

    fn is_running(&self) -> bool {
        self.keeper().is_some()
    }

    fn init_pid(&self) -> Option<u32> {
        self.first()
    }

    fn juju_dir(&self) -> PathBuf {
        self.dir().join("juju")
    }

    fn command(&self, program: &Path, cwd: &Path) -> Command {
        // With the machine off there is no such file, so spawning fails as documented.
        let Some(pid) = self.init_pid() else { return Command::new("/proc/machine-is-powered-off") };
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .args(["-t", &pid.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "--"])
            .args(["/run/juju-sim/bin/juju-sim", "machine-enter"])
            .arg(cwd)
            .arg(program);
        command
    }

    fn host_path(&self, inside: &Path) -> Result<PathBuf> {
        let root = PathBuf::from(format!("/proc/{}/root", self.running()?));
        Ok(root.join(inside.strip_prefix("/").unwrap_or(inside)))
    }

    async fn kill(&self) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.end().await
    }

    async fn shut_down(&self) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.end_in_order().await
    }

    async fn start(&self) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.power_on().await
    }

    async fn reboot(&self) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.end_in_order().await?;
        self.power_on().await
    }

    async fn set_connected(&self, connected: bool) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.record().connected = connected;
        if let (Some(holder), true) = (self.shared.running_holder(), self.is_running()) {
            let port = self.record().port.clone();
            network::ip_in(holder.pid, &network::plug(&port, connected))?;
        }
        self.save()
    }

    async fn set_sending(&self, sending: Sending) -> Result<()> {
        let _guard = self.changing.lock().await;
        let before = std::mem::replace(&mut self.record().sending, sending);
        let applied = self.apply_sending(before);
        if applied.is_err() {
            self.record().sending = before;
        }
        self.save().and(applied)
    }

    async fn set_address(&self, address: Ipv4Addr) -> Result<()> {
        let _guard = self.changing.lock().await;
        let old = std::mem::replace(&mut self.record().address, address);
        if let Some(first) = self.first()
            && old != address
        {
            let prefix = self.shared.options.subnet.prefix();
            let commands = format!(
                "addr add {address}/{prefix} broadcast + dev eth0\naddr del {old}/{prefix} dev eth0\naddr replace {address}/{prefix} broadcast + dev eth0\n"
            );
            network::ip_in(first, &commands)?;
        }
        self.save()
    }

    async fn limit_disk(&self, free_kib: Option<u64>) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.record().free_kib = free_kib;
        self.save()?;
        if self.is_running() { self.apply_limit() } else { Ok(()) }
    }

    async fn attach_block(&self, name: &str, size_mib: u64) -> Result<PathBuf> {
        let _guard = self.changing.lock().await;
        let device = block::attach(&block::backing_file(&self.shared.dir, name), size_mib).await?;
        self.record().blocks.insert(name.to_owned(), device.clone());
        self.save()?;
        if self.is_running() {
            light::loop_node(&self.host_path(Path::new("/dev"))?, &device)?;
            if self.record().kind == MachineKind::Full {
                full::announce(self, &device).await;
            }
        }
        Ok(device)
    }

    async fn detach_block(&self, name: &str) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.record().blocks.remove(name);
        self.save()?;
        block::detach(&block::backing_file(&self.shared.dir, name)).await
    }

    async fn destroy(&self) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.end().await?;
        let directory = self.dir();
        if let Some(holder) = self.shared.running_holder() {
            let output = Command::new("nsenter")
                .args(["-t", &holder.pid.to_string(), "-m", "--", "umount", "--lazy"])
                .arg(directory.join("disk"))
                .output()
                .await;
            // A machine that never got as far as a disk has none to unmount.
            drop(output.context("cannot run nsenter: install util-linux")?);
        }
        let blocks: Vec<String> = self.record().blocks.keys().cloned().collect();
        for name in blocks {
            block::detach(&block::backing_file(&self.shared.dir, &name)).await?;
        }
        record::remove_tree(&directory)
    }
}
