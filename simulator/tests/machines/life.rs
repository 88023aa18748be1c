//! Machines from their creation to their end: isolation, power, network, disks, and what remains.

use std::path::Path;
use std::time::{Duration, Instant};

use juju_sim::machine::{MachineKind, Machines, Sending};

use crate::support::*;

/// What holds for every kind of machine.
macro_rules! on_every_kind {
    ($($test:ident),+ $(,)?) => {
        mod light {
            use super::MachineKind;
            $(#[tokio::test] async fn $test() { super::$test(MachineKind::Light).await; })+
        }
        mod full {
            use super::MachineKind;
            $(#[tokio::test] async fn $test() { super::$test(MachineKind::Full).await; })+
        }
    };
}

on_every_kind!(
    two_machines_have_their_own_files_and_processes_and_reach_each_other,
    a_power_cut_and_a_reboot_keep_the_disk_and_start_what_is_enabled,
    the_network_can_be_cut_and_healed_and_an_address_changed,
    a_disk_fills_up_and_a_block_device_keeps_its_content,
    a_machine_in_which_a_program_was_stopped_ends_all_the_same,
    a_model_whose_processes_were_killed_is_still_cleared_away,
    a_model_whose_directory_was_removed_by_hand_ends_by_itself,
);

async fn two_machines_have_their_own_files_and_processes_and_reach_each_other(kind: MachineKind) {
    let model = Model::of(kind);
    let before = interfaces();
    let begin = Instant::now();
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    let took = begin.elapsed();
    let (limit, first_program) = match kind {
        MachineKind::Light => (Duration::from_secs(3), "juju-sim"),
        MachineKind::Full => (Duration::from_secs(30), "systemd"),
    };
    assert!(took < limit, "booting took {took:?}");
    assert_eq!(said(&*first, "hostname; cat /etc/hostname").await, "machine-0\nmachine-0");
    assert_eq!(said(&*first, "cat /proc/1/comm").await, first_program);
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

async fn a_power_cut_and_a_reboot_keep_the_disk_and_start_what_is_enabled(kind: MachineKind) {
    let model = Model::of(kind);
    let machine = &*model.machine(0).await;
    unit(machine, "keep.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/touch /root/stopped\n[Install]\nWantedBy=multi-user.target").await;
    said(machine, "systemctl enable -q --now keep; echo kept > /root/file; touch /tmp/gone").await;
    let before = machine.init_pid().unwrap();
    machine.kill().await.unwrap();
    assert!(!machine.is_running() && machine.init_pid().is_none());
    assert!(machine.command(Path::new("/bin/true"), Path::new("/")).spawn().is_err());
    machine.start().await.unwrap();
    assert_ne!(machine.init_pid().unwrap(), before);
    assert_eq!(said(machine, "cat /root/file; ls /tmp/gone /root/stopped 2>/dev/null || true").await, "kept");
    until(machine, "systemctl is-active keep", "active").await;
    machine.reboot().await.unwrap();
    said(machine, "test -e /root/stopped").await;
    until(machine, "systemctl is-active keep", "active").await;

    // Another controller finds the machine as it is.
    let adopted = Model::machines(model.place.path()).adopt(spec(0, kind)).await.unwrap();
    assert_eq!(adopted.init_pid(), machine.init_pid());
    assert_eq!(said(&*adopted, "cat /root/file").await, "kept");
}

async fn the_network_can_be_cut_and_healed_and_an_address_changed(kind: MachineKind) {
    let model = Model::of(kind);
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    let (first, second) = (&*first, &*second);
    assert_eq!(greet(first, second, "10.213.0.11").await, "pong");
    second.set_connected(false).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "no way");
    second.set_connected(true).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "pong");
    // What it hears still arrives, after a reboot too.
    second.set_sending(Sending { is_lost: true, ..Sending::default() }).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "no way");
    assert_eq!(greet(second, second, "10.213.0.11").await, "pong");
    second.reboot().await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "no way");
    second.set_sending(Sending::default()).await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.11").await, "pong");
    second.set_address("10.213.0.77".parse().unwrap()).await.unwrap();
    assert_eq!(second.spec().address.to_string(), "10.213.0.77");
    assert_eq!(greet(first, second, "10.213.0.77").await, "pong");
    assert_eq!(said(second, "ip -4 -o addr show eth0 | wc -l").await, "1");
    second.reboot().await.unwrap();
    assert_eq!(greet(first, second, "10.213.0.77").await, "pong");

    // Nothing answers for a machine without power, though its network namespace is still there.
    let held = std::fs::File::open(format!("/proc/{}/ns/net", second.init_pid().unwrap())).unwrap();
    second.kill().await.unwrap();
    let call = "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"10.213.0.77\", PeerPort => 77, Timeout => 2) or print $!'";
    let told = said(first, call).await;
    assert!(!told.is_empty() && !told.contains("refused"), "{told}");
    drop(held);
}

async fn a_disk_fills_up_and_a_block_device_keeps_its_content(kind: MachineKind) {
    let model = Model::of(kind);
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
        "[Unit]\nRequiresMountsFor=/media/etcd/data\n[Service]\nExecStart=/bin/sh -c 'exec sleep 1000 3> /media/etcd/used'",
    )
    .await;
    said(machine, "systemctl enable -q media-etcd.mount; systemctl start user; mountpoint -q /media/etcd; echo kept > /media/etcd/file; sync").await;
    machine.kill().await.unwrap();
    machine.start().await.unwrap();
    until(machine, "cat /media/etcd/file", "kept").await;
    // What uses it is stopped with it, and first.
    said(machine, "systemctl start user; systemctl stop media-etcd.mount; ! mountpoint -q /media/etcd").await;
    assert_eq!(ended(machine, "systemctl is-active user").await, (3, "inactive".to_owned()));
    machine.detach_block("data/0").await.unwrap();
    let again = machine.attach_block("data/0", 32).await.unwrap();
    said(machine, &format!("mount {} /mnt && grep -q kept /mnt/file && umount /mnt", again.display())).await;
    let image = "truncate -s 8M /root/image-of-a-test; losetup --find --show /root/image-of-a-test";
    let made = said(machine, image).await;
    machine.destroy().await.unwrap();
    let shown = format!("/sys/block/{}/loop/backing_file", made.trim_start_matches("/dev/"));
    assert!(!std::fs::read_to_string(shown).unwrap_or_default().contains("image-of-a-test"));
    assert!(!machine.is_running());
    assert_eq!(traces(&model.place.path().join("model/machines")), Vec::<String>::new());
}

/// The stopped program is a zombie when its machine has died, and whoever waits for it outside stopped with it.
async fn a_machine_in_which_a_program_was_stopped_ends_all_the_same(kind: MachineKind) {
    let model = Model::of(kind);
    let machine = &*model.machine(0).await;
    for power_off in ["kill", "destroy"] {
        let mut command = machine.command(Path::new("/bin/sh"), Path::new("/"));
        let mut outside = command.args(["-c", "kill -STOP $$"]).spawn().unwrap();
        let stat = format!("/proc/{}/stat", outside.id().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(Instant::now() < end, "it was never stopped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match power_off {
            "kill" => {
                machine.kill().await.unwrap();
                machine.start().await.unwrap();
            }
            _ => model.machines.destroy_all().await.unwrap(),
        }
        assert!(!outside.wait().await.unwrap().success());
    }
    assert_eq!(traces(model.place.path()), Vec::<String>::new());
}

async fn a_model_whose_processes_were_killed_is_still_cleared_away(kind: MachineKind) {
    let model = Model::of(kind);
    let (first, second) = tokio::join!(model.machine(0), model.machine(1));
    first.attach_block("data/0", 8).await.unwrap();
    second.limit_disk(Some(1024)).await.unwrap();
    let groups = first.init_pid().map(control_groups).unwrap();
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
    let left: Vec<_> = groups.into_iter().filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
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

async fn a_model_whose_directory_was_removed_by_hand_ends_by_itself(kind: MachineKind) {
    let model = Model::of(kind);
    let machine = model.machine(0).await;
    let groups = machine.init_pid().map(control_groups).unwrap();
    std::fs::remove_dir_all(model.place.path().join("model")).unwrap();
    let end = Instant::now() + Duration::from_secs(15);
    while machine.is_running() || groups.iter().any(|group| group.exists()) {
        assert!(Instant::now() < end, "the machine outlives its model");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
