//! A server that does not come up, a snap that comes late, and what others tell snapd meanwhile.

use std::time::Duration;

use crate::PRESENT;
use crate::sim::{Model, wait_until};

const DROP_INS: &str = "/etc/systemd/system/snap.etcd.etcd.service.d";

/// Puts another program in the place of etcd's, or takes it away again, and ends the one that runs.
fn replace_program(model: &Model, shell_line: Option<&str>) {
    let file = match shell_line {
        Some(line) => format!(
            "printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"{line}\"\\n' > {DROP_INS}/zz-other.conf"
        ),
        None => format!("rm {DROP_INS}/zz-other.conf"),
    };
    let end = "systemctl daemon-reload; systemctl kill snap.etcd.etcd 2>/dev/null || true";
    model.shell("etcd/0", &format!("{file}; {end}"));
}

fn check(model: &Model) -> String {
    model.run(&["lab", "update-status", "etcd"]);
    model.wait(&["etcd", "--idle"]);
    model.shown("etcd/0")
}

/// Whatever it ends with, and however late: its words and the next command, no failed hook, and no hand once it is mended.
#[test]
fn a_server_that_does_not_stay_is_told_of_until_it_does() {
    let model = Model::with_cluster(PRESENT, 1);
    model.etcdctl("etcd/0", "put kept here");
    replace_program(&model, Some("echo panic: the moon is missing; exit 1"));
    let told = "blocked etcd does not start: panic: the moon is missing; \
                see juju exec --unit etcd/0 -- journalctl -u snap.etcd.etcd -n 50";
    assert_eq!(check(&model), told);
    assert_eq!(check(&model), told);
    // A reboot begins anew.
    model.run(&["lab", "reboot", "etcd/0"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "panic: the moon is missing", "--idle"]);

    replace_program(&model, Some("sleep 4; echo error: the sun is late; exit 1"));
    wait_until("its end", Duration::from_secs(60), || {
        model.shell("etcd/0", "journalctl -u snap.etcd.etcd -n 20 -o cat").contains("the sun is late")
    });
    assert!(check(&model).starts_with("blocked etcd does not start: error: the sun is late; see "));
    // As the published snap's launcher ends without its file.
    replace_program(&model, Some("exit 0"));
    wait_until("its end", Duration::from_secs(60), || {
        check(&model).contains("etcd does not start: snap.etcd.etcd.service: Deactivated successfully.")
    });

    replace_program(&model, None);
    wait_until("etcd", Duration::from_secs(60), || {
        model.shell("etcd/0", ". /etc/profile.d/etcd.sh; etcdctl get kept 2>&1 || true").contains("here")
    });
    assert_eq!(check(&model), "active Healthy with 1 known peer");
    model.assert_no_hook_failed();
}

/// Juju's agent is not told of snapd's mounts: its first hook after a boot may come before them.
#[test]
fn a_snap_that_is_mounted_late_is_waited_for() {
    let model = Model::with_cluster(PRESENT, 1);
    let late = "d=/etc/systemd/system; m=snap-etcd-$(readlink /snap/etcd/current).mount; mkdir -p $d/$m.d; \
                printf '[Service]\\nType=oneshot\\nExecStart=/bin/sleep 8\\n' > $d/late.service; \
                printf '[Unit]\\nRequires=late.service\\nAfter=late.service\\n' > $d/$m.d/late.conf";
    model.shell("etcd/0", late);
    model.run(&["lab", "reboot", "etcd/0"]);
    model.settle(1);
    let log = model.run(&["debug-log", "--replay", "--include", "etcd/0"]);
    assert!(log.contains("is not mounted"), "the hook came too late to see it");
    model.assert_no_hook_failed();
}

/// Juju's own machine agent sets snapd's proxies at each of its starts, and a subordinate may set anything.
#[test]
fn what_others_tell_snapd_is_put_right_and_what_is_theirs_stays() {
    let model = Model::with_cluster(PRESENT, 1);
    let proxy = "http://10.0.0.9:3128";
    model.run(&["config", "etcd", &format!("snap_proxy={proxy}"), "snapd_refresh=4:00-7:00"]);
    model.settle(1);
    let told = |key: &str| {
        model.shell("etcd/0", &format!("snap get system {key} 2>/dev/null || true")).trim().to_owned()
    };
    let is_held = || model.shell("etcd/0", "snap list etcd").contains(" held");
    assert!(is_held() && told("proxy.https") == proxy);

    let others = "snap set system proxy.http=http://10.0.0.1:1 refresh.timer=fri,10:00; \
                  snap refresh --unhold etcd; \
                  printf 'http_proxy=http://10.0.0.1:1\\nHTTPS_PROXY=http://10.0.0.1:1\\n' >> /etc/environment";
    model.shell("etcd/0", others);
    assert!(!is_held());
    model.run(&["config", "etcd", "nagios_context=other"]);
    model.settle(1);
    assert_eq!((told("proxy.http"), told("refresh.timer")), (proxy.to_owned(), "4:00-7:00".to_owned()));
    assert!(is_held());

    model.shell("etcd/0", "snap set system proxy.https=http://10.0.0.1:1");
    model.run(&["config", "etcd", "--reset", "snap_proxy,snapd_refresh"]);
    model.settle(1);
    assert_eq!((told("proxy.http"), told("proxy.https")), (String::new(), "http://10.0.0.1:1".to_owned()));

    model.shell("etcd/0", "systemctl restart snap.etcd.etcd");
    let environment = "tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value snap.etcd.etcd)/environ";
    let environment = model.shell("etcd/0", environment);
    assert!(environment.contains("PATH=") && !environment.to_lowercase().contains("proxy"), "{environment}");
    model.assert_no_hook_failed();
}
