//! Against a home-made `/snap` and shell scripts in place of `snap`. Messages are in the form of snapd's own command
//! and its unit tests.

use super::*;

pub(super) struct Host(tempfile::TempDir);

impl Host {
    pub(super) fn new() -> Host {
        Host(tempfile::tempdir().unwrap())
    }

    pub(super) fn snap(&self) -> Snap {
        Snap {
            name: "etcd".to_owned(),
            mounts: self.0.path().to_owned(),
            program: self.0.path().join("program").into(),
            patience: Duration::from_secs(5),
        }
    }

    fn install(&self, revision: &str, meta: &str) {
        let snap = self.0.path().join("etcd");
        std::fs::create_dir_all(snap.join(revision).join("meta")).unwrap();
        std::fs::write(snap.join(revision).join("meta/snap.yaml"), meta).unwrap();
        std::os::unix::fs::symlink(revision, snap.join(".new")).unwrap();
        std::fs::rename(snap.join(".new"), snap.join("current")).unwrap();
    }

    /// Written by another process, because a file that a forking test may hold open for writing cannot be run.
    pub(super) fn program(&self, script: &str) {
        let path = self.0.path().join("program");
        let text = format!("#!/bin/sh\ncd '{}'\n{script}\n", self.0.path().display());
        let written = std::process::Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .args([path.as_os_str(), text.as_ref()])
            .status();
        assert!(written.unwrap().success());
    }
}

#[test]
fn revision_and_version_come_from_snapds_own_files() {
    let host = Host::new();
    assert_eq!(host.snap().installed().unwrap(), None);
    host.install("x2", "name: etcd\nversion: 3.5.16\nbase: core22\n");
    let installed = host.snap().installed().unwrap().unwrap();
    assert_eq!((installed.revision.as_str(), installed.version.as_str()), ("x2", "3.5.16"));
}

#[test]
fn a_version_that_looks_like_a_number_is_read_too() {
    let host = Host::new();
    host.install("230", "version: 3.4\n");
    assert_eq!(host.snap().installed().unwrap().unwrap().version, "3.4");
}

#[test]
fn an_unmounted_or_broken_snap_is_not_an_absent_one() {
    let host = Host::new();
    host.install("230", "version: [\n");
    assert!(matches!(host.snap().installed(), Err(SnapError::Unreadable { .. })));
    // Of a revision that is not mounted there is the empty directory.
    std::fs::remove_file(host.0.path().join("etcd/230/meta/snap.yaml")).unwrap();
    let error = host.snap().installed().unwrap_err();
    assert!(error.passes() && matches!(error, SnapError::NotMounted { revision, .. } if revision == "230"));
    // While snapd changes over, or when the snap is disabled, no revision is the current one.
    host.install("231", "version: 3.5.16\n");
    std::fs::remove_file(host.0.path().join("etcd/current")).unwrap();
    let error = host.snap().installed().unwrap_err();
    assert!(error.passes() && matches!(error, SnapError::NotInUse { .. }));
    std::fs::remove_dir_all(host.0.path().join("etcd/231")).unwrap();
    assert_eq!(host.snap().installed().unwrap(), None, "what a removal leaves behind is no snap");
}

#[test]
fn a_change_is_under_way_until_its_state_says_otherwise() {
    let table = |state: &str| {
        format!(
            "ID   Status  Spawn               Ready               Summary\n12   Done    today at 10:01 UTC  today at 10:02 UTC  Install \"etcd\" snap\n13   {state}   today at 11:01 UTC  -                   Refresh \"etcd\" snap from \"3.5/stable\" channel\n"
        )
    };
    for state in ["Do", "Doing", "Undo", "Undoing", "Abort"] {
        assert!(is_changing(&table(state)), "{state}");
    }
    for state in ["Done", "Undone", "Error", "Hold", "Wait"] {
        assert!(!is_changing(&table(state)), "{state}");
    }
    assert!(!is_changing(""));
}

#[test]
fn refusals_are_told_apart_by_their_words() {
    let kind = |text: &str| match refusal("etcd", text.to_owned()) {
        SnapError::StoreUnreachable { .. } => "store",
        SnapError::ChannelNotFound { .. } => "channel",
        SnapError::NotInstalled { .. } => "absent",
        SnapError::Busy { .. } => "busy",
        SnapError::Unsupported { .. } => "old",
        SnapError::Other { .. } => "other",
        SnapError::Unreadable { .. }
        | SnapError::NotMounted { .. }
        | SnapError::NotInUse { .. }
        | SnapError::Process(_) => "impossible",
    };
    for (expected, text) in [
        ("store", "unable to contact snap store"),
        (
            "store",
            "cannot install \"etcd\": Post https://api.snapcraft.io/v2/snaps/refresh: dial tcp: lookup api.snapcraft.io: no such host",
        ),
        ("channel", "snap \"etcd\" not available on channel \"9.9/stable\" (see 'snap info etcd')"),
        ("channel", "snap \"etcd\" is not available on 9.9/stable but other tracks exist."),
        ("channel", "snap \"etcd\" not available as specified (see 'snap info etcd')"),
        ("channel", "requested a non-existing branch on latest/stable for snap \"etcd\": x"),
        ("channel", "snap \"etcd\" not found"),
        ("absent", "snap \"etcd\" is not installed"),
        ("busy", "snap \"etcd\" has \"refresh-snap\" change in progress"),
        ("busy", "too early for operation, device not yet seeded or device model not acknowledged"),
        (
            "busy",
            "cannot communicate with server: Post \"http://localhost/v2/snaps/etcd\": dial unix /run/snapd.socket: connect: connection refused",
        ),
        ("old", "unknown flag `hold'"),
        ("other", "cannot perform the following tasks: - Run install hook of \"etcd\" snap (exit status 1)"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[tokio::test]
async fn a_wrapped_message_is_read_as_one_line() {
    let host = Host::new();
    host.program("printf 'error: snap \"etcd\" is not available\\n       on 9.9/stable but other tracks exist.\\n' >&2; exit 1");
    let error = host.snap().install("9.9/stable").await.unwrap_err();
    let SnapError::ChannelNotFound { message } = error else { panic!("{error}") };
    assert_eq!(message, "snap \"etcd\" is not available on 9.9/stable but other tracks exist.");
}

#[tokio::test]
async fn a_change_waits_for_another_one() {
    let host = Host::new();
    host.program(
        "echo \"$@\" >> calls; test \"$(wc -l < calls)\" -gt 2 && exit 0
         echo 'error: snap \"etcd\" has \"install-snap\" change in progress' >&2; exit 1",
    );
    host.snap().install("3.5/stable").await.unwrap();
    let calls = std::fs::read_to_string(host.0.path().join("calls")).unwrap();
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["install etcd --channel=3.5/stable"; 3]);
}

#[tokio::test]
async fn a_change_that_stays_blocked_ends_as_busy() {
    let host = Host::new();
    host.program("echo 'error: snap \"etcd\" has \"install-snap\" change in progress' >&2; exit 1");
    let snap = Snap { patience: Duration::from_millis(100), ..host.snap() };
    assert!(matches!(snap.hold().await, Err(SnapError::Busy { .. })));
}

#[tokio::test]
async fn what_is_not_installed_is_neither_refreshed_nor_removed() {
    let host = Host::new();
    host.program("echo called > calls");
    assert!(matches!(host.snap().refresh("3.5/stable").await, Err(SnapError::NotInstalled { .. })));
    host.snap().remove(true).await.unwrap();
    assert!(!host.0.path().join("calls").exists());
}
