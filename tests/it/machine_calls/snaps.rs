//! `snap`. The store is juju-sim's on both machines: in front of snapd on the booted one.

use std::path::Path;
use std::process::Command;

use super::machines::Machines;
use super::table::{Call, Group, Reads, State, Table, Unlike};

#[test]
fn snaps_are_the_same_on_light_and_on_booted_machines() {
    let store = tempfile::tempdir().unwrap();
    for (channel, version, number) in
        [("1.0/stable", "1.0.4", 11), ("1.1/stable", "1.1.2", 12), ("1.1/edge", "1.2", 13)]
    {
        release(store.path(), channel, version, number);
    }
    Machines::new(store.path().to_owned()).compare(&TABLE);
}

/// Puts a release of the snap `probe` into a store. As etcd's, its service ends at once while it has no configuration.
fn release(store: &Path, channel: &str, version: &str, number: u32) {
    let content = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = content.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let apps = "apps:\n  serve: {command: bin/serve, daemon: simple, restart-condition: always, plugs: [network, removable-media]}\n";
    write(
        "meta/snap.yaml",
        &format!(
            "name: probe\nversion: '{version}'\nsummary: s\ndescription: d\nconfinement: strict\n{apps}"
        ),
    );
    write(
        "bin/serve",
        "#!/bin/sh\n[ -e \"$SNAP_COMMON/conf\" ] || exit 0\ntouch \"$SNAP_COMMON/up\"\nexec sleep 1000\n",
    );
    let file = store.join("probe").join(format!("{channel}.snap"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut pack = Command::new("mksquashfs");
    let packed =
        pack.arg(content.path()).arg(&file).args(["-quiet", "-noappend", "-no-xattrs"]).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    std::fs::write(file.with_extension("revision"), number.to_string()).unwrap();
}

pub const TABLE: Table = Table {
    words: WORDS,
    reload: "",
    groups: &[
        Group { states: ONE, calls: &[QUESTIONS, REFUSED, CHANGES, MOVES] },
        Group { states: OTHERS, calls: &[QUESTIONS, MOVES] },
        Group { states: OPTIONS, calls: &[SETTINGS] },
    ],
    clear: "",
    unlike: UNLIKE,
};

const UNLIKE: &[Unlike] = &[
    Unlike {
        state: "",
        call: "snap refresh --hold",
        why: "snapd before 2.58 knows no --hold, and Debian 12 has 2.57",
        always: true,
    },
    Unlike {
        state: "",
        call: "snap ack /root/statement",
        why: "nobody but the store can sign a statement for snapd",
        always: true,
    },
];

/// `fresh STATE` fails if the machine is in that state still: a call that has changed something has said so by `changed`.
const WORDS: &str = r#"
S=/run/juju-sim/store/probe
fresh() {
    [ "$(cat /tmp/state 2>/dev/null)" != "$1" ] || exit 0
    [ ! -e /snap/probe ] || snap remove --purge probe
    [ ! -e /snap/probe/current ]
    rm -f /tmp/state
    made=$1
    trap '[ $? != 0 ] || echo "$made" > /tmp/state' EXIT
}
serving() {
    touch /var/snap/probe/common/conf
    # It is active long before snapd has made its surroundings, which does not always succeed where they were just taken away.
    for try in 1 2 3; do
        systemctl stop snap.probe.serve; systemctl reset-failed snap.probe.serve 2> /dev/null || true
        systemctl start snap.probe.serve
        for look in $(seq 50); do [ ! -e /var/snap/probe/common/up ] || return 0; sleep 0.1; done
    done
    journalctl -u snap.probe.serve -n 9 -o cat
    return 1
}
data() { echo $1 > /var/snap/probe/current/data; }
changed() {
    rm -f /tmp/state
    snap list --all probe 2>&1 | tr -s ' '
    readlink /snap/probe/current
    [ ! -d /var/snap/probe ] || echo "data: $(cat /var/snap/probe/current/data)"
    properties=LoadState,UnitFileState
    # Without its configuration it ends again and again, sooner or later than one looks.
    [ ! -e /var/snap/probe/common/conf ] || properties=$properties,ActiveState,SubState
    for try in $(seq 30); do [ "$(systemctl is-active snap.probe.serve)" = activating ] || break; sleep 0.1; done
    systemctl show -p $properties snap.probe.serve.service
    snap connections probe 2>&1 | tr -s ' ' | grep removable
}
kept() { [ -e /snap/probe/current ] && readlink /snap/probe/current; snap changes probe 2>/dev/null | awk 'NR > 1 { print $2 }' | sort -u | grep -v -E 'Done|Error'; }
settings() {
    rm -f /tmp/state
    snap get -d system 2>/dev/null | python3 -c 'import json, sys
try: told = json.load(sys.stdin)
except ValueError: told = {}
print(*(f"{group}.{name}={value!r}" for group in ("proxy", "refresh") for name, value in sorted(told.get(group, {}).items()) if name in ("http", "https", "no-proxy", "timer", "retain")), sep="\n")'
}
"#;

/// What only asks.
const QUESTIONS: &[Call] = &[
    Call { words: &["snap", "list", "probe"], reads: Reads::Wrapped, effect: "kept" },
    Call { words: &["snap", "info", "probe"], reads: Reads::Below("channels:"), effect: "kept" },
    Call { words: &["snap", "changes", "probe"], reads: Reads::Code, effect: "kept" },
    Call {
        words: &["snap", "version"],
        reads: Reads::Code,
        effect: "snap version | grep -c '^snapd  *[0-9]'",
    },
];

/// What is refused in every state.
const REFUSED: &[Call] = &[
    Call {
        words: &["snap", "install", "probe", "--channel=9.9/stable"],
        reads: Reads::Refusal,
        effect: "kept",
    },
    Call {
        words: &["snap", "install", "--dangerous", "/root/none.snap"],
        reads: Reads::Refusal,
        effect: "kept",
    },
    Call { words: &["snap", "install", "--dangerous", "/etc/hostname"], reads: Reads::Code, effect: "kept" },
    Call {
        words: &["snap", "refresh", "probe", "--channel=9.9/stable"],
        reads: Reads::Refusal,
        effect: "kept",
    },
    Call { words: &["snap", "refresh", "--hold", "probe"], reads: Reads::Refusal, effect: "changed" },
];

/// What changes something: its state is made anew for the next one.
const CHANGES: &[Call] = &[
    Call {
        words: &["snap", "install", "probe", "--channel=1.0/stable"],
        reads: Reads::Refusal,
        effect: "changed",
    },
    Call {
        words: &["snap", "install", "--dangerous", "/run/juju-sim/store/probe/1.1/stable.snap"],
        reads: Reads::Refusal,
        effect: "changed",
    },
    Call {
        words: &["snap", "switch", "probe", "--channel=1.1/edge"],
        reads: Reads::Refusal,
        effect: "changed",
    },
    Call { words: &["snap", "connect", "probe:removable-media"], reads: Reads::Refusal, effect: "changed" },
    Call { words: &["snap", "remove", "probe"], reads: Reads::Refusal, effect: "changed" },
    Call { words: &["snap", "remove", "--purge", "probe"], reads: Reads::Refusal, effect: "changed" },
];

/// Changes that come out differently where there is more than one revision.
const MOVES: &[Call] = &[
    Call {
        words: &["snap", "refresh", "probe", "--channel=1.1/stable"],
        reads: Reads::Refusal,
        effect: "changed",
    },
    Call { words: &["snap", "revert", "probe"], reads: Reads::Refusal, effect: "changed" },
];

/// With at most one revision.
const ONE: &[State] = &[
    State { name: "absent", files: "", brought: "fresh absent" },
    State {
        name: "from the store, serving",
        files: "",
        brought: "fresh serving; snap install probe --channel=1.0/stable; serving; data one",
    },
    State {
        name: "from a file",
        files: "",
        brought: "fresh file; snap install --dangerous $S/1.0/stable.snap; serving; data one",
    },
];

/// Of one that is installed and does not serve, or has another revision beside it.
const OTHERS: &[State] = &[
    State {
        name: "stopped and disabled",
        files: "",
        brought: "fresh stopped; snap install probe --channel=1.0/stable; data one; systemctl disable --now snap.probe.serve",
    },
    State {
        name: "with an older revision",
        files: "",
        brought: "fresh moved; snap install probe --channel=1.0/stable; serving; data one; snap refresh probe --channel=1.1/stable; data two",
    },
    State {
        name: "gone back",
        files: "",
        brought: "fresh back; snap install probe --channel=1.0/stable; serving; data one; snap refresh probe --channel=1.1/stable; data two; snap revert probe",
    },
    State {
        name: "from a file over the store's",
        files: "",
        brought: "fresh over; snap install probe --channel=1.0/stable; serving; data one; snap install --dangerous $S/1.1/stable.snap; data two",
    },
    State {
        name: "disabled as a whole",
        files: "",
        brought: "fresh disabled; snap install probe --channel=1.0/stable; serving; data one; snap disable probe",
    },
    State {
        name: "in a channel that the store has closed",
        files: "",
        brought: "fresh closed; snap install probe --channel=1.1/edge; serving; data one; snap switch probe --channel=1.1/stable",
    },
];

const SETTINGS: &[Call] = &[
    Call { words: &["snap", "get", "-d", "system"], reads: Reads::Code, effect: "settings" },
    Call {
        words: &["snap", "set", "system", "refresh.timer=sun5,23:00-01:00"],
        reads: Reads::Refusal,
        effect: "settings",
    },
    Call {
        words: &["snap", "set", "system", "refresh.timer=never"],
        reads: Reads::Refusal,
        effect: "settings",
    },
    Call { words: &["snap", "set", "system", "refresh.timer!"], reads: Reads::Refusal, effect: "settings" },
    Call {
        words: &[
            "snap",
            "set",
            "system",
            "proxy.http=http://10.0.0.9:3128",
            "proxy.https!",
            "proxy.no-proxy=a,b",
        ],
        reads: Reads::Refusal,
        effect: "settings",
    },
    Call { words: &["snap", "set", "system", "proxy.store=none"], reads: Reads::Refusal, effect: "settings" },
    Call { words: &["snap", "ack", "/root/none"], reads: Reads::Refusal, effect: "" },
    Call { words: &["snap", "ack", "/etc/hostname"], reads: Reads::Code, effect: "" },
    Call { words: &["snap", "ack", "/root/statement"], reads: Reads::Code, effect: "" },
];

const OPTIONS: &[State] = &[
    State {
        name: "nothing set in snapd",
        files: "",
        brought: "printf 'type: store\nauthority-id: a\nstore: a\n\nAXNpZw==\n' > /root/statement; snap set system refresh.timer! proxy.http! proxy.https! proxy.no-proxy! refresh.retain!",
    },
    State {
        name: "a timer and proxies set in snapd",
        files: "",
        brought: "snap set system refresh.timer=fri proxy.http=http://10.0.0.1:1 proxy.https=http://10.0.0.1:2 proxy.no-proxy=c refresh.retain=3",
    },
];
