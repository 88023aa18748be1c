//! `systemctl` and `journalctl`, of a service.

use super::machines::Machines;
use super::table::{Call, Group, Reads, State, Table, Unlike};

#[test]
fn services_are_the_same_on_light_and_on_booted_machines() {
    Machines::new(crate::sim::given("JUJU_SIM_SNAPS")).compare(&TABLE);
}

pub const TABLE: Table = Table {
    words: WORDS,
    reload: "systemctl daemon-reload",
    groups: &[Group { states: STATES, calls: &[CALLS] }],
    clear: CLEAR,
    unlike: &[Unlike {
        state: "without its program",
        call: "journalctl",
        why: "the journal may not know whose the last words of a process are that has gone already",
        always: false,
    }],
};

/// Whatever passes by itself lasts four seconds: a busy machine takes one for some calls.
///
/// `service TEXT`: the unit's file; `vendor TEXT`: the one that a package brings; `drop_in NAME TEXT`. `is PROPERTY=VALUE…` waits
/// until the unit is so, `settled` until nothing of it changes any more.
const WORDS: &str = r#"
systemctl() { timeout 30 /usr/bin/systemctl "$@"; }
service() { printf "[Service]\n$1\n[Install]\nWantedBy=multi-user.target\n" > /etc/systemd/system/$U.service; }
vendor() { printf "[Service]\n$1\n[Install]\nWantedBy=multi-user.target\n" > /lib/systemd/system/$U.service; }
drop_in() { mkdir -p /etc/systemd/system/$U.service.d; printf "$2\n" > /etc/systemd/system/$U.service.d/$1.conf; }
shown() { systemctl show -p LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,ExecMainCode,ExecMainStatus,NeedDaemonReload,Job $U.service; }
is() {
    for try in $(seq 200); do
        now=$(shown) missing=
        for wanted in "$@"; do echo "$now" | grep -qx "$wanted" || missing=$wanted; done
        [ -n "$missing" ] || return 0
        sleep 0.05
    done
    echo "$U never had $missing:" "$now"
    return 1
}
appears() { for try in $(seq 200); do [ ! -e "$1" ] || return 0; sleep 0.05; done; echo "no $1"; return 1; }
settled() {
    before=
    for try in $(seq 40); do
        now=$(shown)
        [ "$now" != "$before" ] || break
        case $now in *Job=[0-9]*) ;; *) before=$now ;; esac
        sleep 0.2
    done
    shown
    ls /etc/systemd/system/*.wants/$U.service 2>/dev/null
}
kill_main() { kill -KILL $(systemctl show -p MainPID --value $U.service); }
at_once() { shown; ls /etc/systemd/system/*.wants/$U.service 2>/dev/null; }
"#;

const CLEAR: &str = "systemctl kill -s KILL $U.service; systemctl stop $U.service; systemctl reset-failed $U.service
rm -rf /etc/systemd/system/$U.service* /run/systemd/system/$U.service /lib/systemd/system/$U.service /etc/systemd/system/*.wants/$U.service";

const CALLS: &[Call] = &[
    Call {
        words: &[
            "systemctl",
            "show",
            "--property=LoadState,ActiveState,ActiveEnterTimestampMonotonic,MainPID,NRestarts,Result,UnitFileState,Job",
            "--",
            "$U.service",
        ],
        reads: Reads::Lines,
        effect: "at_once",
    },
    Call { words: &["systemctl", "start", "--", "$U.service"], reads: Reads::Refusal, effect: "settled" },
    Call {
        words: &["systemctl", "start", "--no-block", "--", "$U.service"],
        reads: Reads::Refusal,
        effect: "settled",
    },
    Call { words: &["systemctl", "stop", "--", "$U.service"], reads: Reads::Refusal, effect: "at_once" },
    Call { words: &["systemctl", "restart", "--", "$U.service"], reads: Reads::Refusal, effect: "settled" },
    Call { words: &["systemctl", "enable", "--", "$U.service"], reads: Reads::Refusal, effect: "at_once" },
    Call {
        words: &["systemctl", "disable", "--now", "--", "$U.service"],
        reads: Reads::Refusal,
        effect: "at_once",
    },
    Call {
        words: &["systemctl", "reset-failed", "--", "$U.service"],
        reads: Reads::Refusal,
        effect: "at_once",
    },
    Call { words: &["systemctl", "daemon-reload"], reads: Reads::Refusal, effect: "at_once" },
    // The check for Nagios.
    Call { words: &["systemctl", "is-active", "$U.service"], reads: Reads::Words, effect: "at_once" },
    // A service and its manager write at the same time: the order is not always the same.
    Call {
        words: &["journalctl", "-u", "$U.service", "-n", "400", "--no-pager", "-o", "cat"],
        reads: Reads::Lines,
        effect: "",
    },
];

const STATES: &[State] = &[
    State { name: "absent", files: "", brought: "" },
    State {
        name: "disabled",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "is UnitFileState=disabled",
    },
    State {
        name: "enabled and stopped",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl enable $U; is UnitFileState=enabled ActiveState=inactive",
    },
    State {
        name: "without an install section",
        files: "printf '[Service]\nExecStart=/bin/sleep 1000\n' > /etc/systemd/system/$U.service",
        brought: "is UnitFileState=static",
    },
    State {
        name: "enabled and active",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl enable --now $U; is UnitFileState=enabled SubState=running",
    },
    State {
        name: "disabled and active",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl start $U; is UnitFileState=disabled SubState=running",
    },
    State {
        name: "of a package, disabled",
        files: "vendor 'ExecStart=/bin/sleep 1000'",
        brought: "is UnitFileState=disabled",
    },
    State {
        name: "ended well",
        files: "service 'ExecStart=/bin/true'",
        brought: "systemctl start $U; is SubState=dead",
    },
    State {
        name: "stopped by hand, enabled",
        files: "service 'ExecStart=/bin/sleep 1000\nRestart=always'",
        brought: "systemctl enable --now $U; is SubState=running; systemctl stop $U; is SubState=dead",
    },
    State {
        name: "failed with an exit code",
        files: "service 'ExecStart=/bin/false'",
        brought: "systemctl start $U; is SubState=failed Result=exit-code",
    },
    State {
        name: "failed and enabled",
        files: "service 'ExecStart=/bin/false'",
        brought: "systemctl enable --now $U; is SubState=failed Result=exit-code",
    },
    State {
        name: "killed",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl start $U; is SubState=running; kill_main; is Result=signal",
    },
    State {
        name: "without its program",
        files: "service 'ExecStart=/nowhere/program'",
        brought: "systemctl start $U; is SubState=failed ExecMainStatus=203",
    },
    State {
        name: "given up after too many starts",
        files: "service 'ExecStart=/bin/true\nRestart=always\nRestartSec=10ms'",
        brought: "systemctl start $U; is Result=start-limit-hit",
    },
    State {
        name: "waiting for its restart",
        files: "service 'ExecStart=/bin/false\nRestart=always\nRestartSec=4s'",
        brought: "systemctl start $U; is SubState=auto-restart",
    },
    State {
        name: "restarted once",
        files: "service 'ExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=10ms'",
        brought: "systemctl start $U; is SubState=running; kill_main; is NRestarts=1 SubState=running",
    },
    State {
        name: "not ready yet",
        files: "service 'Type=notify\nExecStart=/bin/sleep 1000\nTimeoutStartSec=5s'",
        brought: "systemctl start --no-block $U; is SubState=start",
    },
    State {
        name: "never ready in time",
        files: "service 'Type=notify\nExecStart=/bin/sleep 1000\nTimeoutStartSec=300ms'",
        brought: "systemctl start $U || is Result=timeout",
    },
    State {
        name: "checking before its start",
        files: "service 'ExecStartPre=/bin/sleep 4\nExecStart=/bin/sleep 1000'",
        brought: "systemctl start --no-block $U; is SubState=start-pre",
    },
    State {
        name: "refused by its check",
        files: "service 'ExecStartPre=/bin/mountpoint -q /media/etcd\nExecStart=/bin/sleep 1000'",
        brought: "systemctl start $U || is SubState=failed Result=exit-code",
    },
    State {
        name: "flapping on its check",
        files: "service 'ExecStartPre=/bin/mountpoint -q /media/etcd\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=4s'",
        brought: "systemctl start $U || is SubState=auto-restart",
    },
    State {
        name: "stopping",
        files: "service 'ExecStart=/bin/sh -c \"exec 2>/dev/null; trap : TERM; touch /run/%%N; while :; do sleep 0.1; done\"\nTimeoutStopSec=4s'",
        brought: "systemctl start $U; appears /run/$U; systemctl stop --no-block $U; is ActiveState=deactivating",
    },
    State {
        name: "masked",
        files: "vendor 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl mask $U; is LoadState=masked",
    },
    State {
        name: "masked until the next boot",
        files: "vendor 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl mask --runtime $U; is LoadState=masked UnitFileState=masked-runtime",
    },
    State {
        name: "masked while it runs",
        files: "vendor 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl start $U; is SubState=running; systemctl mask $U; is LoadState=masked",
    },
    State {
        name: "with a drop-in",
        files: "service 'ExecStart=/bin/false'; drop_in own '[Unit]\nDescription=A service\n[Service]\nExecStart=\nExecStart=/bin/sleep 1000\nRestart=always'",
        brought: "systemctl start $U; is SubState=running",
    },
    State {
        name: "with another drop-in that is not read yet",
        files: "service 'ExecStart=/bin/sleep 1000'; drop_in one '[Service]\nRestart=always'",
        brought: "systemctl enable --now $U; is SubState=running; drop_in own '[Service]\nRestart=no'; is NeedDaemonReload=yes",
    },
    State {
        name: "with a first drop-in that is not read yet",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl enable --now $U; is SubState=running; drop_in own '[Service]\nRestart=always'; is NeedDaemonReload=no",
    },
    State {
        name: "with another file that is not read yet",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl enable --now $U; is SubState=running; sleep 0.1; service 'ExecStart=/bin/false'; is NeedDaemonReload=yes",
    },
    State {
        name: "gone while it runs",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl start $U; is SubState=running; rm /etc/systemd/system/$U.service; systemctl daemon-reload; is LoadState=not-found",
    },
    State {
        name: "gone while it is enabled",
        files: "service 'ExecStart=/bin/sleep 1000'",
        brought: "systemctl enable $U; rm /etc/systemd/system/$U.service; systemctl daemon-reload; is LoadState=not-found",
    },
    State {
        name: "with a file that nobody understands",
        files: "service 'Restart=always'",
        brought: "is LoadState=bad-setting",
    },
    State {
        name: "that asserts a mount that is missing",
        files: "service 'ExecStart=/bin/sleep 1000'; drop_in storage '[Unit]\nAssertPathIsMountPoint=/media/etcd'",
        brought: "systemctl start $U || is SubState=dead",
    },
    State {
        name: "whose mount went while it ran",
        files: "service 'ExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=10ms'; drop_in storage \"[Unit]\nAssertPathIsMountPoint=/media/$U\"",
        brought: "mkdir -p /media/$U; mount -t tmpfs tmpfs /media/$U; systemctl start $U; is SubState=running; umount /media/$U; kill_main; is SubState=dead",
    },
    State {
        name: "whose condition does not hold",
        files: "service 'ExecStart=/bin/sleep 1000'; drop_in own '[Unit]\nConditionPathExists=/nowhere'",
        brought: "systemctl start $U; is SubState=dead",
    },
];
