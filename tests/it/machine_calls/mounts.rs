//! `systemctl`, of a mount unit and of a service that needs it: what storage is.

use super::machines::Machines;
use super::table::{Call, Group, Reads, State, Table, Unlike};

#[test]
fn mounts_are_the_same_on_light_and_on_booted_machines() {
    Machines::new(crate::sim::given("JUJU_SIM_SNAPS")).compare(&TABLE);
}

pub const TABLE: Table = Table {
    words: WORDS,
    reload: "systemctl daemon-reload",
    groups: &[Group { states: STATES, calls: &[CALLS] }],
    clear: CLEAR,
    unlike: UNLIKE,
};

const UNLIKE: &[Unlike] = &[];

/// `device` makes one with a file system, and `$uuid`; `unit [UUID]` the charm's mount unit, and beside it a service as storage has
/// it; `is UNIT PROPERTY=VALUE…` waits. A device that is missing is waited for two seconds, not systemd's 90.
const WORDS: &str = r#"
systemctl() { timeout 30 /usr/bin/systemctl "$@"; }
for n in $(seq 0 63); do [ -b /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done
device() {
    truncate -s 16M /root/$U.img
    loop=$(losetup --find --show /root/$U.img)
    echo $loop > /root/$U.loop
    mkfs.ext4 -q -L etcd-data $loop
    uuid=$(blkid -p -o value -s UUID $loop)
    # Whoever has a udev has a link to it; it may be busy.
    [ ! -S /run/udev/control ] || { udevadm trigger --action=change $loop; appears /dev/disk/by-uuid/$uuid; }
}
appears() { for try in $(seq 200); do [ ! -e "$1" ] || return 0; sleep 0.05; done; echo "no $1"; return 1; }
unit() {
    what=/dev/disk/by-uuid/${1:-$uuid}
    printf "[Unit]\nDescription=Storage of $U\n[Mount]\nWhat=$what\nWhere=/media/$U\nOptions=noatime,nosuid,nodev,noexec\n" > /etc/systemd/system/media-$U.mount
    printf "[Unit]\nRequiresMountsFor=/media/$U\nAssertPathIsMountPoint=/media/$U\n[Service]\nExecStartPre=/bin/mountpoint -q /media/$U\nExecStart=/bin/sleep 1000\nRestart=always\n" > /etc/systemd/system/$U.service
    soon=/etc/systemd/system/$(systemd-escape --path --suffix=device $what 2>/dev/null || echo none.device).d
    [ -z "${1:-}" ] || { mkdir -p $soon; printf "[Unit]\nJobRunningTimeoutSec=2s\n" > $soon/soon.conf; }
}
is() {
    of=$1; shift
    for try in $(seq 200); do
        now=$(systemctl show $of) missing=
        for wanted in "$@"; do echo "$now" | grep -qx "$wanted" || missing=$wanted; done
        [ -n "$missing" ] || return 0
        sleep 0.05
    done
    echo "$of never had $missing"
    return 1
}
settled() { for try in $(seq 100); do [ -n "$(systemctl show -p Job --value $U.service)" ] || break; sleep 0.1; done; shown; }
shown() {
    for try in $(seq 60); do
        now=$(systemctl show -p LoadState,ActiveState,SubState,Result,Job media-$U.mount $U.service)
        [ "$now" != "$before" ] || break
        before=$now
        sleep 0.1
    done
    echo "$now"
    findmnt -n -o TARGET,FSTYPE,OPTIONS /media/$U
    ls -d /media/$U
}
"#;

const CLEAR: &str = "systemctl stop $U.service; umount -l /media/$U; umount -l /media/$U; systemctl stop media-$U.mount
systemctl reset-failed media-$U.mount; systemctl reset-failed $U.service
losetup --detach $(cat /root/$U.loop)
rm -rf /etc/systemd/system/media-$U.mount /etc/systemd/system/$U.service /root/$U.img /root/$U.loop; rmdir /media/$U";

const CALLS: &[Call] = &[
    Call { words: &["systemctl", "start", "--", "media-$U.mount"], reads: Reads::Refusal, effect: "shown" },
    Call { words: &["systemctl", "stop", "--", "media-$U.mount"], reads: Reads::Refusal, effect: "shown" },
    Call { words: &["systemctl", "start", "--", "$U.service"], reads: Reads::Refusal, effect: "shown" },
    Call {
        words: &["systemctl", "start", "--no-block", "--", "$U.service"],
        reads: Reads::Refusal,
        effect: "settled",
    },
    Call { words: &["systemctl", "stop", "--", "$U.service"], reads: Reads::Refusal, effect: "shown" },
    Call { words: &["systemctl", "restart", "--", "$U.service"], reads: Reads::Refusal, effect: "shown" },
];

const STATES: &[State] = &[
    State { name: "no unit", files: "", brought: "" },
    State { name: "not mounted", files: "device; unit", brought: "" },
    State {
        name: "mounted",
        files: "device; unit",
        brought: "systemctl start media-$U.mount; is media-$U.mount SubState=mounted",
    },
    State {
        name: "in use by its service",
        files: "device; unit",
        brought: "systemctl start $U.service; is $U.service SubState=running; is media-$U.mount SubState=mounted",
    },
    State {
        name: "in use by a stranger",
        files: "device; unit",
        brought: "systemctl start media-$U.mount; (cd /media/$U; sleep 20 > /dev/null 2>&1 < /dev/null &)",
    },
    State {
        name: "mounted by hand",
        files: "device; unit",
        brought: "mkdir -p /media/$U; mount $(cat /root/$U.loop) /media/$U; is media-$U.mount SubState=mounted",
    },
    State {
        name: "unmounted by hand",
        files: "device; unit",
        brought: "systemctl start media-$U.mount; umount /media/$U; is media-$U.mount SubState=dead",
    },
    State {
        name: "mounted twice",
        files: "device; unit",
        brought: "systemctl start media-$U.mount; mount -t tmpfs tmpfs /media/$U",
    },
    State { name: "without its device", files: "unit 2f1f1b7e-60e0-4e0e-a1a1-6f0a1c5a0009", brought: "" },
    State {
        name: "with a damaged file system",
        files: "device; unit; dd if=/dev/urandom of=/root/$U.img bs=2k seek=1 count=600 conv=notrunc status=none",
        brought: "",
    },
    State {
        name: "with files where it is to be mounted",
        files: "device; unit; mkdir -p /media/$U; touch /media/$U/file",
        brought: "",
    },
];
