//! What all tests of light machines use: a model that ends with its test, and ways to run programs in a machine.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use juju_sim::machine::local::full::image::Image;
use juju_sim::machine::local::{LocalMachines, LocalOptions, Subnet};
use juju_sim::machine::{Machine, MachineKind, MachineSpec, Machines};

/// A model directory with a store; everything in it ends with the test.
pub struct Model {
    pub place: tempfile::TempDir,
    pub machines: LocalMachines,
    kind: MachineKind,
}

impl Model {
    /// With light machines.
    pub fn new() -> Self {
        Self::of(MachineKind::Light)
    }

    pub fn of(kind: MachineKind) -> Self {
        let place = tempfile::tempdir().unwrap();
        let machines = Self::machines(place.path());
        Self { place, machines, kind }
    }

    pub fn machines(place: &Path) -> LocalMachines {
        let options = LocalOptions {
            snap_store: place.join("store"),
            subnet: Subnet::default(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_juju-sim")),
            snap_cache: place.join("cache"),
            image: image(),
        };
        LocalMachines::new(&place.join("model"), options).unwrap()
    }

    pub async fn machine(&self, number: u32) -> Box<dyn Machine> {
        self.machines.create(spec(number, self.kind)).await.unwrap()
    }
}

impl Drop for Model {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        let machines = self.machines.clone();
        let end = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(machines.destroy_all())
        });
        end.join().unwrap().unwrap();
    }
}

pub fn spec(number: u32, kind: MachineKind) -> MachineSpec {
    MachineSpec {
        id: number.to_string(),
        hostname: format!("machine-{number}"),
        address: Subnet::default().machine_address(number).unwrap(),
        kind,
    }
}

/// The image of full machines, which `make image` makes.
fn image() -> Image {
    Image::new(Path::new(
        &std::env::var_os("JUJU_SIM_IMAGE").expect("JUJU_SIM_IMAGE is not set: run make test"),
    ))
}

pub async fn shell(machine: &dyn Machine, script: &str) -> Output {
    let mut command = machine.command(Path::new("/bin/sh"), Path::new("/"));
    command.args(["-c", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin");
    let running = command.stdin(std::process::Stdio::null()).output();
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap()
}

/// What the script prints; it must end well.
pub async fn said(machine: &dyn Machine, script: &str) -> String {
    let output = shell(machine, script).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{stdout}{stderr}", output.status);
    stdout.trim().to_owned()
}

/// Exit code and both streams.
pub async fn ended(machine: &dyn Machine, script: &str) -> (i32, String) {
    let output = shell(machine, &format!("{{ {script}\n}} 2>&1")).await;
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Ask until the answer is the wanted one.
pub async fn until(machine: &dyn Machine, script: &str, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, text) = ended(machine, script).await;
        if text == wanted {
            return;
        }
        assert!(Instant::now() < end, "{script}: {text:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a test could leave on the host: mounts, processes, network interfaces, loop devices.
pub fn traces(place: &Path) -> Vec<String> {
    let place = place.display().to_string();
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&place)).map(str::to_owned));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let program = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if command.contains(&place) || program.starts_with(&place) {
            found.push(command);
        }
    }
    for entry in std::fs::read_dir("/sys/block").unwrap().flatten() {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if backing.contains(&place) {
            found.push(backing);
        }
    }
    found
}

/// The control groups of a process that are its machine's own, as directories of this host.
pub fn control_groups(pid: u32) -> Vec<PathBuf> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |line: &str| line.rsplit_once(':').unwrap().1.trim_start_matches('/').to_owned();
    let own = table.lines().map(path).filter(|path| path.starts_with("juju-sim-"));
    let roots =
        || ["", "unified", "systemd", "freezer", "pids"].map(|root| Path::new("/sys/fs/cgroup").join(root));
    own.flat_map(|path| roots().map(|root| root.join(&path))).filter(|path| path.exists()).collect()
}

/// What `from` hears when it connects to `to` at this address: `pong`, or why not.
pub async fn greet(from: &dyn Machine, to: &dyn Machine, address: &str) -> String {
    let listen = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 77, Listen => 1, ReuseAddr => 1, Timeout => 3) or die; \
                  open F, \">/run/listening\"; $c = $s->accept and print $c \"pong\"; unlink \"/run/listening\"'";
    let call = format!(
        "perl -MIO::Socket::INET -e '$c = IO::Socket::INET->new(PeerAddr => \"{address}\", PeerPort => 77, Timeout => 2) or do {{ print \"no way\"; exit }}; print <$c>'"
    );
    let connect = async {
        until(to, "test -e /run/listening && echo yes", "yes").await;
        said(from, &call).await
    };
    tokio::join!(ended(to, listen), connect).1
}

pub fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Write a unit file and make it known.
pub async fn unit(machine: &dyn Machine, name: &str, text: &str) {
    said(machine, &format!("cat > /etc/systemd/system/{name} <<'END'\n{text}\nEND\nsystemctl daemon-reload"))
        .await;
}
