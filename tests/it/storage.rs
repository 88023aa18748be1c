//! Storage `data`: real devices with real file systems, at deploy and later, empty and not, moved from unit to unit.

use std::process::Command;
use std::time::Duration;

use crate::sim::{Kind, Model, Writer, wait_until};
use crate::{PRESENT, on_both_etcds};

on_both_etcds!(data_lives_and_moves_with_its_storage);

const ON_STORAGE: &str = "data-dir: /media/etcd/data";
/// A move is a restart for the cluster, and copying a small database takes no time.
const GAP_MS: u64 = 6000;

/// The device of an attached storage, as this host sees it too.
fn device(model: &Model, storage: &str) -> String {
    let mut found = None;
    wait_until("a device", Duration::from_secs(60), || {
        let listed = model.run(&["storage"]);
        let line = listed.lines().find(|line| line.contains(storage)).unwrap();
        found = line.split_whitespace().find(|word| word.starts_with("/dev/loop")).map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

/// Runs a shell line on this host.
fn on_host(line: &str) -> String {
    let output = Command::new("bash").args(["-euc", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn data_dir(model: &Model, unit: &str) -> String {
    model.shell(unit, "grep data-dir /var/snap/etcd/common/etcd.conf.yml").trim().to_owned()
}

fn get(model: &Model, unit: &str, key: &str) -> String {
    model.etcdctl(unit, &format!("get {key} --print-value-only")).trim().to_owned()
}

/// Settles one unit, with its data on the storage.
fn settle_there(model: &Model, unit: &str) {
    model.settle(1);
    assert_eq!(data_dir(model, unit), ON_STORAGE);
    assert!(model.shell(unit, "grep ' /media/etcd ' /proc/mounts").contains("ext4"));
}

pub fn data_lives_and_moves_with_its_storage(kind: Kind) {
    let model = Model::new(kind);
    model.deploy_easyrsa();
    model.deploy_etcd_with(1, &["--storage", "data=loop,1G"]);
    model.run(&["integrate", "etcd", "easyrsa"]);
    settle_there(&model, "etcd/0");
    model.etcdctl("etcd/0", "put kept yes");
    assert!(
        model.shell("etcd/0", "snap connections etcd").contains("etcd:removable-media  :removable-media")
    );
    model.run(&["lab", "reboot", "etcd/0"]);
    model.wait(&["etcd", "--idle"]);
    settle_there(&model, "etcd/0");
    assert_eq!(get(&model, "etcd/0", "kept"), "yes");

    // The device does not come back after a power cut, another one is in its place.
    let device = device(&model, "data/0");
    let uuid = on_host(&format!("blkid -p -s UUID -o value {device}"));
    model.run(&["lab", "kill-machine", "etcd/0"]);
    on_host(&format!("e2fsck -pf {device} >&2 || [ $? -le 1 ]; tune2fs -U random {device} >&2"));
    model.run(&["lab", "start-machine", "etcd/0"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "data/0 is not the one", "--idle"]);
    assert_eq!(
        model.shell("etcd/0", "ls -A /media/etcd; pgrep -x etcd || true"),
        "",
        "etcd must not start there"
    );
    on_host(&format!("e2fsck -pf {device} >&2 || [ $? -le 1 ]; tune2fs -U {uuid} {device} >&2"));
    model.run(&["lab", "update-status", "etcd/0"]);
    settle_there(&model, "etcd/0");
    assert_eq!(get(&model, "etcd/0", "kept"), "yes");

    // The unit goes, its storage stays: the last copy is served by the next unit that gets it.
    model.run(&["remove-unit", "etcd/0", "--no-prompt"]);
    model.wait(&["etcd", "--units", "0"]);
    model.run(&["add-unit", "etcd", "--attach-storage", "data/0"]);
    settle_there(&model, "etcd/1");
    assert_eq!(get(&model, "etcd/1", "kept"), "yes");
    the_data_there_is_restored(&model);
    if kind.channel.starts_with("3.4") {
        model.run(&["config", "etcd", "channel=3.5/stable"]);
        settle_there(&model, "etcd/1");
        assert!(model.etcdctl("etcd/1", "version").contains("etcdctl version: 3.5."));
        assert_eq!(get(&model, "etcd/1", "kept"), "yes");
    }

    // A second unit can join the first one at its new address.
    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    assert_eq!(get(&model, "etcd/2", "kept"), "yes");
    model.assert_no_hook_failed();
}

/// A snapshot replaces the data on the storage, which keeps that of before.
fn the_data_there_is_restored(model: &Model) {
    let home = tempfile::tempdir().unwrap();
    let snapshot = home.path().join("snapshot.tar.gz").display().to_string();
    let (results, failure) = model.action("etcd/1", &["snapshot"]);
    assert_eq!(failure, None, "{results}");
    model.run(&["scp", &format!("etcd/1:{}", results["snapshot"]["path"].as_str().unwrap()), &snapshot]);
    model.etcdctl("etcd/1", "put kept overwritten");
    model.run(&["attach-resource", "etcd", &format!("snapshot={snapshot}")]);
    model.wait(&["etcd", "--idle"]);
    let (results, failure) = model.action("etcd/1", &["restore"]);
    assert_eq!(failure, None, "{results}");
    let old = results["restore"]["old-data"].as_str().unwrap_or_default();
    assert!(old.starts_with("/media/etcd/data/member.before-restore-"), "{results}");
    settle_there(model, "etcd/1");
    assert_eq!(get(model, "etcd/1", "kept"), "yes");
}

/// What other programs leave on a device: at most a few bytes at its beginning, or a whole file system.
const FOREIGN: [(&str, &str, &str); 6] = [
    ("swap", "mkswap $D", "holds swap and is left alone"),
    ("ext4 with an etcd tree", "mkfs.ext4 -q -d $T $D", "holds ext4 and is left alone"),
    (
        "partitions",
        "at 440 '\\1\\2\\3\\4\\0\\0\\0\\0\\2\\0\\203\\0\\2\\0\\0\\10\\0\\0\\0\\20'; at 510 '\\125\\252'",
        "holds partition table dos",
    ),
    (
        "LUKS",
        "at 0 'LUKS\\272\\276\\0\\1'; at 168 '0a1b2c3d-0000-4000-8000-000000000000'",
        "holds crypto_LUKS",
    ),
    ("LVM", "python3 -c \"$LVM\" $D", "holds LVM2_member"),
    ("bytes that nobody knows", "at 70000 'somebodys data'", "holds unknown data"),
];

/// The label of a physical volume of LVM in the second sector, with its checksum: "On-disk layout" in lvm2's format_text.
const LVM: &str = "import struct,sys,zlib
body=struct.pack('<I8s',32,b'LVM2 001')+b'0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d'+bytes(448)
crc=zlib.crc32(body,0xf597a6cf^0xffffffff)^0xffffffff
f=open(sys.argv[1],'r+b');f.seek(512);f.write(b'LABELONE'+struct.pack('<QI',1,crc)+body)";

/// Puts something foreign on the device of a detached storage; the digest of all of it.
fn fill(image: &str, tree: &str, with: &str) -> String {
    on_host(&format!(
        "D={image} T={tree}; LVM=$(cat <<'END'\n{LVM}\nEND\n)\n\
         at() {{ printf \"$2\" | dd of=$D bs=1 seek=$1 conv=notrunc status=none; }}\n\
         truncate -s 0 $D; truncate -s 1G $D; {with} >&2; {}",
        digest_of(image)
    ))
}

/// Reading sparse gigabytes takes its time; any format changes the beginning.
fn digest_of(image: &str) -> String {
    format!("head -c 4M {image} | sha256sum")
}

#[test]
fn what_is_not_empty_and_not_ours_is_left_alone() {
    let model = Model::with_cluster(PRESENT, 1);
    model.etcdctl("etcd/0", "put kept yes");
    // Added to a member that runs: its data moves in, and out again before the storage goes.
    model.run(&["add-storage", "etcd/0", "data=loop,1G"]);
    model.wait(&["etcd", "--idle"]);
    settle_there(&model, "etcd/0");
    assert!(model.shell("etcd/0", "ls /var/lib/etcd-charm/kept").starts_with("member.moved-"));
    let image = on_host(&format!("losetup -n -O BACK-FILE {}", device(&model, "data/0")));
    model.run(&["detach-storage", "data/0"]);
    model.wait(&["etcd", "--idle"]);
    model.settle(1);
    assert_eq!(data_dir(&model, "etcd/0"), "data-dir: /var/snap/etcd/current");
    assert_eq!(get(&model, "etcd/0", "kept"), "yes");

    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("data/member/snap")).unwrap();
    std::fs::write(tree.path().join("data/member/snap/db"), "the only copy").unwrap();
    for (what, with, told) in FOREIGN {
        let before = fill(&image, &tree.path().display().to_string(), with);
        model.run(&["attach-storage", "etcd/0", "data/0"]);
        model.wait(&["etcd", "--status", "blocked", "--message", told, "--idle"]);
        assert_eq!(get(&model, "etcd/0", "kept"), "yes", "{what}: etcd runs on");
        model.run(&["detach-storage", "data/0"]);
        model.wait(&["etcd", "--status", "active", "--idle"]);
        assert_eq!(on_host(&digest_of(&image)), before, "{what}");
    }

    // A new unit waits for a device that can be used; the operator's label makes this one usable as it is.
    let before = fill(&image, &tree.path().display().to_string(), FOREIGN[1].1);
    model.run(&["add-unit", "etcd", "--attach-storage", "data/0"]);
    model.wait(&["etcd/1", "--status", "blocked", "--message", "e2label /dev/loop", "--idle"]);
    assert_eq!(on_host(&digest_of(&image)), before);
    model.shell("etcd/1", &format!("e2label {} etcd-data", device(&model, "data/0")));
    model.run(&["lab", "update-status", "etcd/1"]);
    model.settle(2);
    assert_eq!(data_dir(&model, "etcd/1"), ON_STORAGE);
    let kept = model.shell("etcd/1", "cat /media/etcd/data/member.of-another-*/snap/db");
    assert_eq!(kept, "the only copy");
    model.assert_no_hook_failed();
}

/// The first time, both mkfs and its caller are killed in the middle.
const DIES_WHILE_IT_FORMATS: &str = r#"
real=$(command -v mkfs.ext4) place=/usr/local/sbin/mkfs.ext4
cat > $place <<END
#!/bin/sh
[ -e /run/mkfs-was-killed ] && exec $real "\$@"
touch /run/mkfs-was-killed
timeout -s KILL 0.02 $real "\$@"
pkill -9 -x dispatch
END
chmod 755 $place
"#;

/// etcd's log alone has 64 MiB, which takes longer than a look.
const DIES_WHILE_IT_COPIES: &str = "timeout 200 sh -c 'until test -d /media/etcd/data/.member.partial; do sleep 0.02; done; pkill -9 -x dispatch'";

#[test]
fn a_cluster_moves_in_under_a_writer_though_its_hooks_are_killed() {
    let model = Model::with_quick_retries(PRESENT);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let members = |unit: &str| {
        let listed = model.etcdctl(unit, "member list");
        let mut ids: Vec<String> =
            listed.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let before = members("etcd/0");
    let writer = Writer::start(&model, "consumer/0");
    let killed = ["--hook", "data-storage-attached", "--call", "1", "--step", "5", "--after"];
    model.run(&[&["lab", "kill-hook", "etcd/1"], &killed[..]].concat());
    model.shell("etcd/0", DIES_WHILE_IT_FORMATS);
    let mut copying = model.start(&["ssh", "etcd/2", DIES_WHILE_IT_COPIES]);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        model.run(&["add-storage", unit, "data=loop,1G"]);
    }
    assert!(copying.wait().unwrap().success(), "etcd/2 was not killed while it copied");
    model.settle(3);
    for unit in ["etcd/0", "etcd/1", "etcd/2"] {
        assert_eq!(data_dir(&model, unit), ON_STORAGE, "{unit}");
    }
    model.shell("etcd/0", "test -e /run/mkfs-was-killed");
    assert_eq!(members("etcd/0"), before, "all are the same members");

    it_is_taken_away_though_hooks_are_killed_and_it_is_in_use(&model, "etcd/1");
    assert_eq!(members("etcd/0"), before, "all are the same members still");

    // The storage of a unit that left goes to a new one, which joins without what is on it.
    let id = &storage_of(&model, "etcd/2");
    model.remove_units(&["etcd/2"], 2);
    model.run(&["add-unit", "etcd", "--attach-storage", id]);
    model.settle(3);
    assert_eq!(data_dir(&model, "etcd/3"), ON_STORAGE);
    assert!(model.shell("etcd/3", "ls /media/etcd/data").contains("member.of-another-"));
    writer.stop(GAP_MS);
}

/// As the Python charm leaves it: a file system that nobody has labelled, mounted by a line of somebody's own.
#[test]
fn a_file_system_that_was_mounted_before_is_adopted() {
    let model = Model::with_cluster(PRESENT, 1);
    model.etcdctl("etcd/0", "put kept yes");
    model.run(&["add-storage", "etcd/0", "data=loop,1G"]);
    settle_there(&model, "etcd/0");
    let image = on_host(&format!("losetup -n -O BACK-FILE {}", device(&model, "data/0")));
    model.run(&["detach-storage", "data/0"]);
    model.wait(&["etcd", "--idle"]);
    on_host(&format!("truncate -s 0 {image}; truncate -s 1G {image}; mkfs.ext4 -q {image} >&2"));
    let held = "touch /run/held; until test -e /run/go; do sleep 0.1; done";
    let mut holder = model.start(&["exec", "--unit", "etcd/0", "--wait=5m", "--", held]);
    wait_until("a unit that is held", Duration::from_secs(60), || {
        model.shell("etcd/0", "ls /run").contains("held")
    });
    model.run(&["attach-storage", "etcd/0", "data/0"]);
    let device = device(&model, "data/0");
    let line = format!("{device} /media/etcd ext4 defaults 0 0");
    model.shell(
        "etcd/0",
        &format!("mkdir -p /media/etcd && mount {device} /media/etcd && printf '{line}' >> /etc/fstab && touch /run/go"),
    );
    assert!(holder.wait().unwrap().success());
    settle_there(&model, "etcd/0");
    assert_eq!(on_host(&format!("e2label {device}")), "etcd-data");
    // The charm's own mount unit names the file system by its UUID.
    assert_eq!(model.shell("etcd/0", "cat /etc/fstab"), "# made by juju-sim\n");

    // Unmounted by whomever, it is the charm's own.
    model.shell("etcd/0", "systemctl stop snap.etcd.etcd media-etcd.mount");
    on_host(&format!("e2label {device} ''"));
    model.run(&["lab", "update-status", "etcd/0"]);
    settle_there(&model, "etcd/0");
    model.run(&["detach-storage", "data/0"]);
    model.wait(&["etcd", "--idle"]);
    model.run(&["attach-storage", "etcd/0", "data/0"]);
    settle_there(&model, "etcd/0");
    assert_eq!(get(&model, "etcd/0", "kept"), "yes");
    model.assert_no_hook_failed();
}

fn storage_of(model: &Model, unit: &str) -> String {
    let listed = model.run(&["storage"]);
    let line = listed.lines().find(|line| line.starts_with(unit)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// The hook is killed in the middle of the copy; later a program has its directory on the device.
fn it_is_taken_away_though_hooks_are_killed_and_it_is_in_use(model: &Model, unit: &str) {
    let uses = "cd /media/etcd; touch /run/uses-it; until test -e /run/enough; do sleep 0.2; done";
    let mut user = model.start(&["ssh", unit, uses]);
    wait_until("the storage to be in use", Duration::from_secs(60), || {
        model.shell(unit, "ls /run").contains("uses-it")
    });
    let home = DIES_WHILE_IT_COPIES.replace("/media/etcd/data", "/var/snap/etcd/current");
    let mut copying = model.start(&["ssh", unit, &home]);
    model.run(&["detach-storage", &storage_of(model, unit)]);
    assert!(copying.wait().unwrap().success(), "{unit} was not killed while it copied");
    wait_until("the hook to fail", Duration::from_secs(200), || {
        let log = model.run(&["debug-log", "--replay"]);
        log.contains("cannot give the storage at /media/etcd back yet: Storage cannot be unmounted")
    });
    model.shell(unit, "touch /run/enough");
    assert!(user.wait().unwrap().success());
    model.settle(3);
    assert_eq!(data_dir(model, unit), "data-dir: /var/snap/etcd/current");
    assert_eq!(model.shell(unit, "grep ' /media/etcd ' /proc/mounts || true"), "");
}
