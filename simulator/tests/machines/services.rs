//! Services in a machine, by `systemctl` and `journalctl`.

use crate::support::*;

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
    said(machine, "systemctl start told || { journalctl -u told; exit 1; }").await;
    assert_eq!(said(machine, "systemctl show told -p StatusText --value").await, "serving");
    assert_eq!(said(machine, "journalctl -u told -o cat -n 2 --no-pager | head -1").await, "two words 4321");

    // A changed file counts after a daemon-reload only.
    unit(machine, "old.service", "[Service]\nExecStart=/bin/sleep 1000").await;
    said(machine, "mkdir -p /etc/systemd/system/old.service.d; systemctl start old; printf '[Service]\\nRestart=always\\n' > /etc/systemd/system/old.service.d/x.conf").await;
    let shown = said(machine, "systemctl show old -p Restart,NeedDaemonReload").await;
    assert_eq!(shown, "NeedDaemonReload=yes\nRestart=no");
    assert!(ended(machine, "systemctl restart old").await.1.starts_with("Warning: The unit file"));
    assert_eq!(
        said(machine, "systemctl daemon-reload; systemctl show old -p Restart --value").await,
        "always"
    );

    what_systemd_has_not_in_memory_cannot_be_reset(machine).await;

    // What does not end by its signal is killed, and so is what it has left in the background.
    let stubborn = "[Service]\nTimeoutStopSec=300ms\nExecStart=/bin/sh -c 'trap \"\" TERM; setsid sleep 987 & while :; do sleep 0.1; done'";
    unit(machine, "stubborn.service", stubborn).await;
    said(machine, "systemctl start stubborn; sleep 0.2; systemctl stop stubborn").await;
    assert_eq!(said(machine, "systemctl show stubborn -p Result --value").await, "timeout");
    assert_eq!(said(machine, "pgrep -f '[s]leep 987' || echo none").await, "none");
}

/// As seen with systemd 252. `show` loads the file to look, and forgets it again.
async fn what_systemd_has_not_in_memory_cannot_be_reset(machine: &dyn juju_sim::machine::Machine) {
    let idle = "[Unit]\nRequires=slow.service\n[Service]\nEnvironmentFile=/root/proxies\nUnsetEnvironment=http_proxy\n\
                ExecStart=/bin/sh -c 'printenv http_proxy || echo with none; exec sleep 1000'\n[Install]\nWantedBy=multi-user.target";
    let slow = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'until test -e /run/go; do sleep 0.05; done'";
    said(machine, "echo http_proxy=http://10.0.0.9:3128 > /root/proxies").await;
    unit(machine, "slow.service", slow).await;
    unit(machine, "idle.service", idle).await;
    let refused = "Failed to reset failed state of unit idle.service: Unit idle.service not loaded.";
    let reset = async || ended(machine, "systemctl reset-failed idle").await;
    assert_eq!(reset().await, (1, refused.to_owned()));
    let shown = said(machine, "systemctl show idle -p LoadState,Job").await;
    assert_eq!(shown, "Job=\nLoadState=loaded");
    assert_eq!(reset().await, (1, refused.to_owned()), "nobody has it in memory because somebody looked");
    assert_eq!(ended(machine, "systemctl stop idle").await.0, 0);

    said(machine, "systemctl start --no-block idle").await;
    let queued = said(machine, "systemctl show idle -p ActiveState,Job").await;
    assert!(queued.contains("ActiveState=inactive\nJob=") && !queued.ends_with("Job="), "{queued}");
    assert_eq!(reset().await.0, 0);
    said(machine, "touch /run/go").await;
    until(machine, "systemctl show idle -p ActiveState,Job", "ActiveState=active\nJob=").await;
    until(machine, "journalctl -u idle -o cat -n 1 --no-pager", "with none").await;
    said(machine, "systemctl stop idle").await;
    assert_eq!(reset().await, (1, refused.to_owned()));
    // A target that is up wants it.
    said(machine, "systemctl enable idle && systemctl reset-failed idle && systemctl disable idle").await;
    assert_eq!(reset().await, (1, refused.to_owned()));
}

#[tokio::test]
async fn what_stands_between_two_states_answers_as_with_systemd_252() {
    let model = Model::new();
    let machine = &*model.machine(0).await;
    let show = |unit: &str| {
        format!("systemctl show {unit} -p ActiveState,NRestarts,Result,ExecMainStatus | tr '\\n' ' '")
    };

    // A start that comes between two activations waits for the second one.
    unit(machine, "again.service", "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=2s").await;
    said(machine, "systemctl start again; sleep 0.2; systemctl start --no-block again").await;
    assert_eq!(
        said(machine, "systemctl show again -p SubState,NRestarts").await,
        "NRestarts=0\nSubState=auto-restart"
    );
    said(machine, "systemctl start again").await;
    until(machine, "systemctl show again -p NRestarts --value", "1").await;
    said(machine, "systemctl stop again").await;

    // One that comes while it is stopping waits for the stop, however that ends.
    let deaf = "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/up; while :; do sleep 0.1; done'\nTimeoutStopSec=1s";
    unit(machine, "deaf.service", deaf).await;
    said(machine, "systemctl start deaf").await;
    until(machine, "ls /run/up", "/run/up").await;
    assert_eq!(
        ended(machine, "systemctl stop --no-block deaf; systemctl start deaf").await,
        (0, String::new())
    );
    assert_eq!(
        said(machine, &show("deaf")).await,
        "ActiveState=active ExecMainStatus=0 NRestarts=0 Result=success"
    );

    unit(machine, "late.service", "[Service]\nType=notify\nExecStart=/bin/sleep 1000\nTimeoutStartSec=500ms")
        .await;
    assert_eq!(ended(machine, "systemctl start late").await.0, 1);
    assert_eq!(
        said(machine, &show("late")).await,
        "ActiveState=failed ExecMainStatus=15 NRestarts=0 Result=timeout"
    );

    // A daemon-reload forgets how often a unit was started, and a refused start counts nothing anew.
    unit(machine, "flaps.service", "[Service]\nExecStart=/bin/true\nRestart=always\nRestartSec=10ms").await;
    said(machine, "systemctl start flaps").await;
    until(machine, "systemctl show flaps -p Result --value", "start-limit-hit").await;
    assert_eq!(ended(machine, "systemctl start flaps").await.0, 1);
    assert_eq!(said(machine, "systemctl show flaps -p NRestarts --value").await, "5");
    said(machine, "systemctl daemon-reload; systemctl start flaps").await;

    said(machine, "systemctl mask held; systemctl stop held; systemctl disable --now held").await;
    let missing = "Failed to disable unit: Unit file nosuch.service does not exist.";
    assert_eq!(ended(machine, "systemctl disable --now nosuch").await, (1, missing.to_owned()));
    unit(machine, "bad.service", "[Service]\nRestart=always\n[Install]\nWantedBy=multi-user.target").await;
    let refused = "Failed to stop bad.service: Unit bad.service not loaded.";
    assert_eq!(ended(machine, "systemctl stop bad").await, (5, refused.to_owned()));
    assert_eq!(said(machine, "systemctl enable bad 2>/dev/null; systemctl is-enabled bad").await, "enabled");
    assert_eq!(ended(machine, "journalctl -u nosuch -n 20 --no-pager -o cat").await, (0, String::new()));
}

#[tokio::test]
async fn a_directory_that_a_machine_made_a_link_leads_nowhere_on_the_host() {
    let model = Model::new();
    // Not below /tmp: there the links would go round.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let host = home.path();
    for name in ["kept", "policy-rc.d"] {
        std::fs::write(host.join(name), "").unwrap();
    }
    let machine = &*model.machine(0).await;
    let links = "rm -rf /tmp /usr/sbin; for name in /tmp /usr/sbin; do ln -s HOST $name; done";
    said(machine, &links.replace("HOST", &host.display().to_string())).await;
    machine.reboot().await.unwrap();
    assert_eq!(said(machine, "readlink /tmp").await, host.display().to_string());
    assert_eq!(std::fs::read_dir(host).unwrap().count(), 2);
}
