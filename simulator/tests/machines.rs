//! Light machines as they are: booted with root's rights on this host, and nothing left of them afterwards.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use juju_sim::machine::light::{LightMachines, LightOptions, Subnet};
use juju_sim::machine::{Machine, MachineSpec, Machines};

/// A model directory with a store; everything in it ends with the test.
struct Model {
    place: tempfile::TempDir,
    machines: LightMachines,
}

impl Model {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let machines = Self::machines(place.path());
        Self { place, machines }
    }

    fn machines(place: &Path) -> LightMachines {
        let options = LightOptions {
            snap_store: place.join("store"),
            subnet: Subnet::default(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_juju-sim")),
            snap_cache: place.join("cache"),
        };
        LightMachines::new(&place.join("model"), options).unwrap()
    }

    async fn machine(&self, number: u32) -> Box<dyn Machine> {
        self.machines.create(spec(number)).await.unwrap()
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

fn spec(number: u32) -> MachineSpec {
    MachineSpec {
        id: number.to_string(),
        hostname: format!("machine-{number}"),
        address: Subnet::default().machine_address(number).unwrap(),
    }
}

async fn shell(machine: &dyn Machine, script: &str) -> Output {
    let mut command = machine.command(Path::new("/bin/sh"), Path::new("/"));
    command.args(["-c", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin");
    let running = command.stdin(std::process::Stdio::null()).output();
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap()
}

/// What the script prints; it must end well.
async fn said(machine: &dyn Machine, script: &str) -> String {
    let output = shell(machine, script).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{stdout}{stderr}", output.status);
    stdout.trim().to_owned()
}

/// Exit code and both streams.
async fn ended(machine: &dyn Machine, script: &str) -> (i32, String) {
    let output = shell(machine, &format!("{{ {script}\n}} 2>&1")).await;
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Ask until the answer is the wanted one.
async fn until(machine: &dyn Machine, script: &str, wanted: &str) {
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
fn traces(place: &Path) -> Vec<String> {
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

/// What `from` hears when it connects to `to` at this address: `pong`, or why not.
async fn greet(from: &dyn Machine, to: &dyn Machine, address: &str) -> String {
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

fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(|name| name.trim().to_owned())
        .collect()
}

#[tokio::test]
async fn two_machines_have_their_own_files_and_processes_and_reach_each_other() {
    let model = Model::new();
    let before = interfaces();
    let begin = Instant::now();
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(3), "booting took {took:?}");
    assert_eq!(said(&*first, "hostname; cat /etc/hostname").await, "machine-0\nmachine-0");
    assert_eq!(said(&*first, "cat /proc/1/comm").await, "juju-sim");
    said(&*first, "echo one > /etc/only-here; test ! -e /etc/only-there").await;
    said(&*second, "test ! -e /etc/only-here; test -w /dev/null; ls -A /root /home/ubuntu").await;
    assert!(!Path::new("/etc/only-here").exists());
    assert_eq!(said(&*first, "ip -4 -o addr show eth0 | grep -c ' 10.213.0.10/24 '").await, "1");
    let answer = greet(&*first, &*second, "10.213.0.11").await;
    assert_eq!(answer, "pong");
    std::fs::write(first.juju_dir().join("hello"), "x").unwrap();
    assert_eq!(said(&*first, "cat /var/lib/juju/hello").await, "x");
    assert_eq!(
        std::fs::read_to_string(first.host_path(Path::new("/etc/only-here")).unwrap()).unwrap(),
        "one\n"
    );
    assert_eq!(interfaces(), before);
    model.machines.destroy_all().await.unwrap();
    assert_eq!(traces(model.place.path()), Vec::<String>::new());
    assert!(!model.place.path().join("model/machines").exists());
}

/// Write a unit file and make it known.
async fn unit(machine: &dyn Machine, name: &str, text: &str) {
    said(machine, &format!("cat > /etc/systemd/system/{name} <<'END'\n{text}\nEND\nsystemctl daemon-reload"))
        .await;
}

#[tokio::test]
async fn a_service_that_dies_is_restarted_until_its_start_limit() {
    let model = Model::new();
    let machine = &*model.machine(0).await;
    unit(
        machine,
        "steady.service",
        "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\n[Install]\nWantedBy=multi-user.target",
    )
    .await;
    let enabled = ended(machine, "systemctl enable --now steady").await;
    let link = "Created symlink /etc/systemd/system/multi-user.target.wants/steady.service → /etc/systemd/system/steady.service.";
    assert_eq!(enabled, (0, link.to_owned()));
    let first = said(machine, "systemctl show steady -p MainPID --value").await;
    said(machine, &format!("kill -9 {first}")).await;
    until(machine, "systemctl show steady -p NRestarts --value", "1").await;
    until(machine, "systemctl is-active steady", "active").await;
    assert_ne!(said(machine, "systemctl show steady -p MainPID --value").await, first);
    assert_eq!(
        ended(machine, "systemctl stop steady; systemctl is-active steady").await,
        (3, "inactive".to_owned())
    );
    assert_eq!(said(machine, "systemctl show steady -p Result --value").await, "success");

    unit(machine, "flappy.service", "[Service]\nExecStart=/bin/true\nRestart=always\nRestartSec=10ms").await;
    said(machine, "systemctl start flappy").await;
    until(machine, "systemctl is-failed flappy", "failed").await;
    let shown = said(machine, "systemctl show flappy -p Result,NRestarts,ExecMainStatus,SubState").await;
    assert_eq!(shown, "ExecMainStatus=0\nNRestarts=5\nResult=start-limit-hit\nSubState=failed");
    let (code, text) = ended(machine, "systemctl start flappy").await;
    assert_eq!(code, 1);
    assert!(
        text.starts_with(
            "Job for flappy.service failed because start of the service was attempted too often."
        ),
        "{text}"
    );
    said(machine, "systemctl reset-failed flappy && systemctl start flappy").await;
    assert!(
        said(machine, "journalctl -u flappy --no-pager -o cat")
            .await
            .contains("Start request repeated too quickly.")
    );
}

#[tokio::test]
async fn services_are_refused_reloaded_and_stopped_as_systemd_does_it() {
    let model = Model::new();
    let machine = &*model.machine(0).await;
    let missing = "Failed to start nosuch.service: Unit nosuch.service not found.";
    assert_eq!(ended(machine, "systemctl start nosuch").await, (5, missing.to_owned()));
    assert_eq!(ended(machine, "systemctl is-active nosuch").await, (3, "inactive".to_owned()));
    let shown = said(machine, "systemctl show nosuch -p LoadState -p ActiveState").await;
    assert_eq!(shown, "ActiveState=inactive\nLoadState=not-found");
    said(machine, "systemctl mask held").await;
    let masked = "Failed to start held.service: Unit held.service is masked.";
    assert_eq!(ended(machine, "systemctl start held").await, (1, masked.to_owned()));

    // What notifies is up when it says so; its environment and limit are as asked for.
    let notify = "[Service]\nType=notify\nEnvironment=A=1 \"B=two words\"\nLimitNOFILE=4321\nExecStart=/usr/bin/perl /root/notify.pl";
    let program = "use Socket; use IO::Socket::UNIX; sleep 1; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET}); \
                   print \"$ENV{B} \" . `sh -c 'ulimit -n'`; $s->send(qq{READY=1\\nSTATUS=serving}); sleep 1000;";
    said(machine, &format!("cat > /root/notify.pl <<'END'\n$| = 1; {program}\nEND")).await;
    unit(machine, "told.service", notify).await;
    said(machine, "systemctl start told").await;
    assert_eq!(said(machine, "systemctl show told -p StatusText --value").await, "serving");
    assert_eq!(said(machine, "journalctl -u told -o cat -n 2 --no-pager | head -1").await, "two words 4321");

    // A changed file counts after a daemon-reload only.
    unit(machine, "old.service", "[Service]\nExecStart=/bin/sleep 1000").await;
    said(machine, "systemctl start old; mkdir -p /etc/systemd/system/old.service.d; printf '[Service]\\nRestart=always\\n' > /etc/systemd/system/old.service.d/x.conf").await;
    let shown = said(machine, "systemctl show old -p Restart,NeedDaemonReload").await;
    assert_eq!(shown, "NeedDaemonReload=yes\nRestart=no");
    assert!(ended(machine, "systemctl restart old").await.1.starts_with("Warning: The unit file"));
    assert_eq!(
        said(machine, "systemctl daemon-reload; systemctl show old -p Restart --value").await,
        "always"
    );

    // What does not end by its signal is killed, and so is what it has left in the background.
    let stubborn = "[Service]\nTimeoutStopSec=300ms\nExecStart=/bin/sh -c 'trap \"\" TERM; setsid sleep 987 & while :; do sleep 0.1; done'";
    unit(machine, "stubborn.service", stubborn).await;
    said(machine, "systemctl start stubborn; sleep 0.2; systemctl stop stubborn").await;
    assert_eq!(said(machine, "systemctl show stubborn -p Result --value").await, "timeout");
    assert_eq!(said(machine, "pgrep -f 'sleep 987' || echo none").await, "none");
}

#[tokio::test]
async fn a_power_cut_and_a_reboot_keep_the_disk_and_start_what_is_enabled() {
    let model = Model::new();
    let machine = &*model.machine(0).await;
    unit(machine, "keep.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/touch /root/stopped\n[Install]\nWantedBy=multi-user.target").await;
    said(machine, "systemctl enable -q --now keep; echo kept > /root/file; touch /tmp/gone").await;
    let before = machine.init_pid().unwrap();
    machine.kill().await.unwrap();
    assert!(!machine.is_running() && machine.init_pid().is_none());
    assert!(machine.command(Path::new("/bin/true"), Path::new("/")).spawn().is_err());
    machine.start().await.unwrap();
    assert_ne!(machine.init_pid().unwrap(), before);
    assert_eq!(
        said(machine, "cat /root/file; ls -A /tmp; ls /root/stopped 2>/dev/null || true").await,
        "kept"
    );
    until(machine, "systemctl is-active keep", "active").await;
    machine.reboot().await.unwrap();
    said(machine, "test -e /root/stopped").await;
    until(machine, "systemctl is-active keep", "active").await;

    // Another controller finds the machine as it is.
    let adopted = Model::machines(model.place.path()).adopt(spec(0)).await.unwrap();
    assert_eq!(adopted.init_pid(), machine.init_pid());
    assert_eq!(said(&*adopted, "cat /root/file").await, "kept");
}

#[tokio::test]
async fn the_network_can_be_cut_and_healed_and_an_address_changed() {
    let model = Model::new();
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    let (first, second) = (&*first, &*second);
    assert_eq!(greet(first, second, "10.213.0.11").await, "pong");
    second.set_connected(false).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "no way");
    second.set_connected(true).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "pong");
    second.set_address("10.213.0.77".parse().unwrap()).await.unwrap();
    assert_eq!(second.spec().address.to_string(), "10.213.0.77");
    assert_eq!(greet(first, second, "10.213.0.77").await, "pong");
    assert_eq!(said(second, "ip -4 -o addr show eth0 | wc -l").await, "1");
    second.reboot().await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.77").await, "pong");
}

#[tokio::test]
async fn a_disk_fills_up_and_a_block_device_keeps_its_content() {
    let model = Model::new();
    let machine = &*model.machine(0).await;
    machine.limit_disk(Some(512)).await.unwrap();
    let (code, text) = ended(machine, "head -c 2000000 /dev/zero > /var/lib/big").await;
    assert!(code != 0 && text.contains("No space left"), "{text}");
    machine.limit_disk(None).await.unwrap();
    said(machine, "head -c 2000000 /dev/zero > /var/lib/big").await;

    let device = machine.attach_block("data/0", 32).await.unwrap();
    let device = device.display().to_string();
    said(
        machine,
        &format!("test -b {device} && mkfs.ext4 -q -U 2f1f1b7e-60e0-4e0e-a1a1-6f0a1c5a0001 {device}"),
    )
    .await;
    unit(machine, "media-etcd.mount", "[Mount]\nWhat=/dev/disk/by-uuid/2f1f1b7e-60e0-4e0e-a1a1-6f0a1c5a0001\nWhere=/media/etcd\nType=ext4\n[Install]\nWantedBy=multi-user.target").await;
    unit(
        machine,
        "user.service",
        "[Unit]\nRequiresMountsFor=/media/etcd/data\n[Service]\nExecStart=/bin/sleep 1000",
    )
    .await;
    said(machine, "systemctl enable -q media-etcd.mount; systemctl start user; mountpoint -q /media/etcd; echo kept > /media/etcd/file; sync").await;
    machine.kill().await.unwrap();
    machine.start().await.unwrap();
    until(machine, "cat /media/etcd/file", "kept").await;
    said(machine, "systemctl stop media-etcd.mount; ! mountpoint -q /media/etcd").await;
    machine.detach_block("data/0").await.unwrap();
    let again = machine.attach_block("data/0", 32).await.unwrap();
    said(machine, &format!("mount {} /mnt && grep -q kept /mnt/file && umount /mnt", again.display())).await;
    machine.destroy().await.unwrap();
    assert!(!machine.is_running());
    assert_eq!(traces(&model.place.path().join("model/machines")), Vec::<String>::new());
}

/// Put a release of the snap `tiny` into the store. Its service ends at once while it has no configuration.
fn release(store: &Path, track: &str, version: &str, number: &str) -> PathBuf {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let apps = "apps:\n  tiny: {command: bin/serve, daemon: simple, restart-condition: always, plugs: [network, removable-media]}\n  ctl: {command: bin/ctl}\n";
    write("meta/snap.yaml", &format!("name: tiny\nversion: '{version}'\nconfinement: strict\n{apps}"));
    write(
        "bin/serve",
        "#!/bin/sh\n[ -e \"$SNAP_COMMON/conf\" ] || exit 0\nls /media > \"$SNAP_DATA/media\"\nexec sleep 1000\n",
    );
    write(
        "bin/ctl",
        "#!/bin/sh\necho \"$SNAP_NAME $SNAP_VERSION $SNAP_REVISION $SNAP_DATA $*\"; touch /tmp/private\n",
    );
    let directory = store.join("tiny").join(track);
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("stable.snap");
    let mut pack = std::process::Command::new("mksquashfs");
    let packed =
        pack.arg(place.path()).arg(&file).args(["-quiet", "-noappend", "-no-xattrs"]).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    std::fs::write(directory.join("stable.revision"), number).unwrap();
    file
}

#[tokio::test]
async fn a_snap_is_installed_refreshed_with_its_data_reverted_and_removed() {
    let model = Model::new();
    let store = model.place.path().join("store");
    release(&store, "1.0", "1.0.4", "11");
    release(&store, "1.1", "1.1.2", "12");
    let machine = &*model.machine(0).await;
    let (code, text) = ended(machine, "snap install tiny --channel=9.9/stable").await;
    assert!(
        code == 1 && text.starts_with("error: snap \"tiny\" is not available on 9.9/stable but is available"),
        "{text}"
    );
    assert_eq!(
        ended(machine, "snap refresh tiny").await,
        (1, "error: snap \"tiny\" is not installed".to_owned())
    );
    let installed = said(machine, "snap install --channel=1.0/stable tiny").await;
    assert_eq!(installed, "tiny (1.0/stable) 1.0.4 from Canonical** installed");
    let listed =
        "Name  Version  Rev  Tracking    Publisher    Notes\ntiny  1.0.4    11   1.0/stable  canonical**  -";
    assert_eq!(said(machine, "snap list tiny").await, listed);
    let again = "snap \"tiny\" is already installed, see 'snap help refresh'";
    assert_eq!(ended(machine, "snap install tiny").await, (0, again.to_owned()));
    assert_eq!(said(machine, "/snap/bin/tiny.ctl a b").await, "tiny 1.0.4 11 /var/snap/tiny/11 a b");
    said(machine, "test ! -e /tmp/private && test -e /tmp/snap-private-tmp/snap.tiny/tmp/private").await;
    assert_eq!(ended(machine, "touch /snap/tiny/current/x").await.0, 1);

    // Without a configuration the service flaps into its start limit, from where it must be fetched.
    until(machine, "systemctl show snap.tiny.tiny -p Result --value", "start-limit-hit").await;
    said(machine, "mkdir /media/here; touch /var/snap/tiny/common/conf; systemctl reset-failed snap.tiny.tiny; snap start tiny").await;
    until(machine, "cat /var/snap/tiny/current/media", "").await;
    assert_eq!(said(machine, "snap services tiny | tail -1").await, "tiny.tiny  enabled  active   -");
    said(machine, "snap connect tiny:removable-media; snap restart tiny").await;
    until(machine, "cat /var/snap/tiny/current/media", "here").await;

    said(machine, "echo one > /var/snap/tiny/current/data; sleep 1000 < /dev/null > /dev/null 2>&1 &").await;
    let refreshed = said(machine, "snap refresh tiny --channel=1.1").await;
    assert_eq!(refreshed, "tiny (1.1/stable) 1.1.2 from Canonical** refreshed");
    assert_eq!(
        said(machine, "readlink /snap/tiny/current /var/snap/tiny/current; cat /var/snap/tiny/12/data").await,
        "12\n12\none"
    );
    until(machine, "systemctl is-active snap.tiny.tiny", "active").await;
    let nothing = "snap \"tiny\" has no updates available";
    assert_eq!(ended(machine, "snap refresh tiny").await, (0, nothing.to_owned()));
    machine.reboot().await.unwrap();
    until(machine, "systemctl is-active snap.tiny.tiny", "active").await;
    assert_eq!(said(machine, "/snap/bin/tiny.ctl").await, "tiny 1.1.2 12 /var/snap/tiny/12");
    assert_eq!(
        said(machine, "snap revert tiny; snap list | tail -1").await,
        "tiny reverted to 1.0.4\ntiny  1.0.4    11   1.1/stable  canonical**  -"
    );

    std::fs::write(store.join(".offline"), "").unwrap();
    assert_eq!(
        ended(machine, "snap refresh tiny").await,
        (1, "error: unable to contact snap store".to_owned())
    );
    assert_eq!(
        said(machine, "snap install --dangerous /run/juju-sim/store/tiny/1.1/stable.snap").await,
        "tiny 1.1.2 installed"
    );
    assert_eq!(
        said(machine, "readlink /snap/tiny/current; cat /var/snap/tiny/current/data").await,
        "x1\none"
    );
    assert_eq!(
        said(machine, "snap remove tiny; ls -A /snap /var/snap /snap/bin; snap changes | grep -c Remove")
            .await,
        "tiny removed\n/snap:\nbin\n\n/snap/bin:\n\n/var/snap:\n1"
    );
}

#[tokio::test]
async fn a_model_whose_processes_were_killed_is_still_cleared_away() {
    let model = Model::new();
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    first.attach_block("data/0", 8).await.unwrap();
    second.limit_disk(Some(1024)).await.unwrap();
    let holder = std::fs::read_to_string(model.place.path().join("model/holder.json")).unwrap();
    let holder: serde_json::Value = serde_json::from_str(&holder).unwrap();
    let killed =
        std::process::Command::new("kill").args(["-9", &holder["pid"].to_string()]).status().unwrap();
    assert!(killed.success());
    let end = Instant::now() + Duration::from_secs(10);
    while first.is_running() || second.is_running() {
        assert!(Instant::now() < end, "the machines outlive their holder");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    model.machines.destroy_all().await.unwrap();
    model.machines.destroy_all().await.unwrap();
    assert_eq!(traces(model.place.path()), Vec::<String>::new());
}

#[test]
fn without_roots_rights_one_sentence_says_what_is_missing() {
    use std::os::unix::process::CommandExt;
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("juju-sim");
    std::fs::copy(env!("CARGO_BIN_EXE_juju-sim"), &program).unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output =
        std::process::Command::new(&program).args(["network-holder", "check"]).uid(65534).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("cannot make machines here: namespaces are refused")
            && text.contains("run juju-sim as root"),
        "{text}"
    );
}
