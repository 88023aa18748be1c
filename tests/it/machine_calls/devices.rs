//! `blkid`, `mkfs.ext4` and `e2label`, of a block device. They are this computer's own on a light machine, and its devices are too.

use super::machines::Machines;
use super::table::{Call, Group, Reads, State, Table};

#[test]
fn devices_are_the_same_on_light_and_on_booted_machines() {
    Machines::new(crate::sim::given("JUJU_SIM_SNAPS")).compare(&TABLE);
}

pub const TABLE: Table = Table {
    words: WORDS,
    reload: "",
    groups: &[Group { states: STATES, calls: &[CALLS] }],
    clear: CLEAR,
    unlike: &[],
};

/// `blank` makes an empty device; `/root/$U` leads to it.
const WORDS: &str = r#"
for n in $(seq 0 63); do [ -b /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done
blank() { truncate -s 16M /root/$U.img; ln -sf $(losetup --find --show /root/$U.img) /root/$U; }
ext4() { mkfs.ext4 -q -U 2f1f1b7e-60e0-4e0e-a1a1-6f0a1c5a0001 "$@" /root/$U; }
shown() { blkid -p -o value -s TYPE -s LABEL -s USAGE -s PTTYPE /root/$U; grep -c " /media/$U" /proc/mounts; }
"#;

const CLEAR: &str = "umount -l /media/$U; umount -l /media/$U-2; losetup --detach $(readlink /root/$U); rm -f /root/$U /root/$U.img";

const CALLS: &[Call] = &[
    Call { words: &["blkid", "-p", "-o", "export", "--", "/root/$U"], reads: Reads::Lines, effect: "" },
    Call {
        words: &["mkfs.ext4", "-q", "-L", "etcd-data", "--", "/root/$U"],
        reads: Reads::Refusal,
        effect: "shown",
    },
    Call { words: &["e2label", "/root/$U", "etcd-data"], reads: Reads::Refusal, effect: "shown" },
];

const STATES: &[State] = &[
    State { name: "no device", files: "", brought: "" },
    State { name: "a file", files: "", brought: "truncate -s 16M /root/$U" },
    State { name: "blank", files: "", brought: "blank" },
    State {
        name: "with bytes that nobody knows",
        files: "",
        brought: "blank; yes | head -c 100000 > /root/$U",
    },
    State { name: "with a file system", files: "", brought: "blank; ext4" },
    State { name: "with a labelled file system", files: "", brought: "blank; ext4 -L etcd-data" },
    State { name: "with a label of many letters", files: "", brought: "blank; ext4 -L 'a b=c\"d'" },
    State {
        name: "mounted",
        files: "",
        brought: "blank; ext4; mkdir -p /media/$U; mount /root/$U /media/$U",
    },
    State {
        name: "mounted twice",
        files: "",
        brought: "blank; ext4; mkdir -p /media/$U /media/$U-2; mount /root/$U /media/$U; mount /root/$U /media/$U-2",
    },
    State {
        name: "with swap",
        files: "",
        brought: "blank; mkswap -q -U 2f1f1b7e-60e0-4e0e-a1a1-6f0a1c5a0001 /root/$U",
    },
    State {
        name: "with a partition table",
        files: "",
        // The boot sector's mark and one partition of Linux.
        brought: "blank; printf '\\0\\0\\2\\0\\203\\0\\2\\0\\0\\10\\0\\0\\0\\20\\0\\0' | dd of=/root/$U bs=1 seek=446 conv=notrunc status=none; printf '\\125\\252' | dd of=/root/$U bs=1 seek=510 conv=notrunc status=none",
    },
    State {
        name: "with two signatures",
        files: "",
        brought: "blank; ext4; printf 'XFSB' | dd of=/root/$U conv=notrunc status=none; printf 'SWAPSPACE2' | dd of=/root/$U bs=1 seek=4086 conv=notrunc status=none",
    },
];
