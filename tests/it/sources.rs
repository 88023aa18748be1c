//! Where etcd comes from: upstream releases, and what an operator attaches.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::sim::{Model, Writer, given, wait_until};
use crate::{OLD, PRESENT};

/// A tarball laid out as upstream's, of the real programs and a note: its name and its SHA-256.
pub fn release(track: &str, note: &str, folder: &Path) -> (String, String) {
    let top = format!("etcd-v{track}-{note}");
    let script =
        "mkdir $1; cp $2/* $1; echo $3 > $1/README; tar czf $1.tar.gz $1; sha256sum $1.tar.gz; rm -r $1";
    let binaries = given("ETCD_BINARIES").join(track).display().to_string();
    let arguments = ["-ec", script, "sh", &top, &binaries, note];
    let made = Command::new("sh").args(arguments).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sum = String::from_utf8(made.stdout).unwrap().split(' ').next().unwrap().to_owned();
    (format!("{top}.tar.gz"), sum)
}

/// The two options for a tarball below `place`.
pub fn options(place: &str, (name, sum): &(String, String)) -> [String; 2] {
    [format!("bin-source={place}/{name}"), format!("source-sum={sum}")]
}

pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("releases-").tempdir_in("/var/tmp").unwrap()
}

/// Brings the tarballs to a machine's `/srv`.
pub fn bring(model: &Model, folder: &Path, unit: &str) {
    model.run(&["scp", "-r", &folder.display().to_string(), &format!("{unit}:/srv/")]);
    model.shell(unit, "mv /srv/releases-*/* /srv/");
}

pub fn deploy(model: &Model, units: u32, [source, sum]: &[String; 2]) {
    model.deploy_etcd_with(units, &["--config", source, "--config", sum]);
    model.run(&["integrate", "etcd", "easyrsa"]);
}

pub fn set(model: &Model, [source, sum]: &[String; 2]) {
    model.run(&["config", "etcd", source, sum]);
}

fn is_blocked(model: &Model, message: &str) {
    model.wait(&["etcd", "--status", "blocked", "--message", message, "--idle"]);
}

pub fn pid(model: &Model, unit: &str) -> String {
    model.shell(unit, "systemctl show -p MainPID --value etcd-release").trim().to_owned()
}

/// What the running program says of itself.
fn running(model: &Model, unit: &str) -> String {
    model.shell(unit, &format!("/proc/{}/exe --version | head -n1", pid(model, unit)))
}

/// Nothing without the right sum; another build by a restart; never down; never half snap and half release.
#[test]
fn a_release_runs_instead_of_the_snap() {
    let folder = folder();
    let [first, other, below] = [("3.5", "first"), ("3.5", "other"), ("3.4", "below")]
        .map(|(track, note)| options("/srv", &release(track, note, folder.path())));
    let broken = options("/srv", &broken_release(folder.path()));
    let wrong = [first[0].clone(), format!("source-sum={}", "0".repeat(64))];
    let model = Model::with_quick_retries(PRESENT);
    model.deploy_easyrsa();
    deploy(&model, 1, &first);
    is_blocked(&model, "Cannot install etcd: cannot copy /srv/etcd-v3.5-first.tar.gz: No such file");
    // The sum first: while the files are missing no hook can get further, whatever it knows.
    set(&model, &wrong);
    is_blocked(&model, "Cannot install etcd: cannot copy /srv/etcd-v3.5-first.tar.gz: No such file");
    bring(&model, folder.path(), "etcd/0");
    model.run(&["lab", "update-status", "etcd"]);
    is_blocked(&model, "Cannot install etcd: source-sum: the file has SHA-256 ");
    assert_eq!(model.shell("etcd/0", "ls -A /opt/etcd-releases"), "");
    set(&model, &first);
    model.settle(1);
    assert!(running(&model, "etcd/0").contains("etcd Version: 3.5."));
    assert_eq!(
        model.shell("etcd/0", "ls -d /snap/etcd /snap/bin/etcd* 2>/dev/null || echo none").trim(),
        "none"
    );
    assert!(model.etcdctl("etcd/0", "put kept here").contains("OK"));
    let before = pid(&model, "etcd/0");

    set(&model, &wrong);
    is_blocked(&model, "bin-source: source-sum: the file has SHA-256 ");
    set(&model, &below);
    is_blocked(&model, "is below the installed 3.5, and etcd does not move down: name a release of 3.5");
    model.run(&["config", "etcd", "--reset", "bin-source,source-sum"]);
    is_blocked(&model, "from a release and not the snap: set it again, or replace the unit");
    assert_eq!(pid(&model, "etcd/0"), before, "etcd was restarted");

    set(&model, &other);
    wait_until("the other build", Duration::from_secs(60), || pid(&model, "etcd/0") != before);
    model.settle(1);

    set(&model, &broken);
    is_blocked(&model, "bin-source: the new etcd did not serve and was taken back: etcd does not start: ");
    let before = pid(&model, "etcd/0");
    model.run(&["lab", "update-status", "etcd"]);
    model.wait(&["etcd", "--idle"]);
    assert_eq!(
        pid(&model, "etcd/0"),
        before,
        "a release that was tried in vain is not tried again by itself"
    );
    assert!(running(&model, "etcd/0").contains("etcd Version: 3.5."));
    set(&model, &other);
    model.settle(1);
    assert_eq!(pid(&model, "etcd/0"), before);
    assert!(model.etcdctl("etcd/0", "get kept").contains("here"));
    model.assert_no_hook_failed();
}

/// Over HTTP; one minor up, one member after the other, while a client writes.
#[test]
fn releases_are_switched_one_member_at_a_time() {
    let folder = folder();
    let made = [("3.4", "old"), ("3.5", "new")].map(|(track, note)| release(track, note, folder.path()));
    let model = Model::with_quick_retries(OLD);
    model.deploy_easyrsa();
    model.wait(&["easyrsa", "--idle"]);
    bring(&model, folder.path(), "easyrsa/0");
    model.shell("easyrsa/0", "setsid python3 -m http.server 8000 -d /srv >/dev/null 2>&1 </dev/null &");
    let status = model.status();
    let address = status["applications"]["easyrsa"]["units"]["easyrsa/0"]["public-address"].as_str().unwrap();
    let [old, new] = made.map(|one| options(&format!("http://{address}:8000"), &one));
    deploy(&model, 3, &old);
    model.settle(3);
    model.deploy_consumer("consumer");
    model.wait(&["--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    set(&model, &new);
    wait_until("the new release on all units", Duration::from_secs(180), || {
        model.units("etcd").iter().all(|unit| running(&model, unit).contains("etcd Version: 3.5."))
    });
    model.settle(3);
    writer.stop(3000);
    assert!(model.status()["applications"]["etcd"]["version"].as_str().unwrap().starts_with("3.5."));
    model.assert_no_hook_failed();
}

/// A tarball whose etcd says what it is and ends at once.
fn broken_release(folder: &Path) -> (String, String) {
    let script = "mkdir broken; cp $1/etcdctl broken; cd broken
        printf '#!/bin/sh\\ncase $* in *version*) echo etcd Version: 3.5.99;; *) exit 1;; esac\\n' > etcd; chmod 755 etcd
        cd ..; tar czf broken.tar.gz broken; sha256sum broken.tar.gz; rm -r broken";
    let binaries = given("ETCD_BINARIES").join("3.5").display().to_string();
    let made =
        Command::new("sh").args(["-ec", script, "sh", &binaries]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sum = String::from_utf8(made.stdout).unwrap().split(' ').next().unwrap().to_owned();
    ("broken.tar.gz".to_owned(), sum)
}

/// A snap of etcd that says it is 3.4.99 and ends at once.
pub fn broken_snap(folder: &Path) -> String {
    let script = "mkdir -p s/meta s/bin; printf '#!/bin/sh\\nexit 1\\n' > s/bin/etcd; chmod 755 s/bin/etcd
        printf 'name: etcd\\nversion: \"3.4.99\"\\napps: {etcd: {command: bin/etcd, daemon: simple, restart-condition: always}}\\n' > s/meta/snap.yaml
        mksquashfs s broken.snap -quiet -no-progress -no-xattrs; rm -r s";
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.join("broken.snap").display().to_string()
}

/// What is no snap, goes down or does not start leaves the unit as it was; the next minor is taken, with its data.
#[test]
fn the_attached_snap_is_installed_over_the_one_that_is_there() {
    let folder = folder();
    let model = Model::with_cluster(OLD, 1);
    model.run(&["config", "etcd", "--reset", "channel"]);
    model.etcdctl("etcd/0", "put kept here");
    let attach = |path: &str| drop(model.run(&["attach-resource", "etcd", &format!("etcd={path}")]));
    let refused = || {
        let (results, failure) = model.action("etcd/0", &["install"]);
        failure.unwrap_or_else(|| panic!("it succeeded: {results}"))
    };
    let written = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    assert!(
        refused().starts_with("no snap of etcd is attached, or an empty file; attach one: "),
        "{}",
        refused()
    );
    attach(&written("empty.snap", ""));
    assert!(
        refused().starts_with("no snap of etcd is attached, or an empty file; attach one: "),
        "{}",
        refused()
    );
    attach(&written("text.snap", "not a snap"));
    assert!(refused().contains("it is no squashfs image"), "{}", refused());

    attach(&broken_snap(folder.path()));
    let before = model.shell("etcd/0", "readlink /snap/etcd/current");
    let failure = refused();
    assert!(
        failure.contains("etcd does not start: ") && failure.contains("is back on revision"),
        "{failure}"
    );
    assert_eq!(model.shell("etcd/0", "readlink /snap/etcd/current"), before);
    model.settle(1);
    model.etcdctl("etcd/0", "put more here");

    let snap =
        |track: &str| given("JUJU_SIM_SNAPS").join(format!("etcd/{track}/stable.snap")).display().to_string();
    attach(&snap("3.5"));
    let (results, failure) = model.action("etcd/0", &["install"]);
    assert_eq!(failure, None, "{results}");
    assert!(results["version"].as_str().unwrap().starts_with("3.5."), "{results}");
    model.settle(1);
    assert!(
        model.etcdctl("etcd/0", "get kept").contains("here")
            && model.etcdctl("etcd/0", "get more").contains("here")
    );
    let version = model.status()["applications"]["etcd"]["version"].clone();
    assert!(version.as_str().unwrap().starts_with("3.5."), "{version}");
    attach(&snap("3.4"));
    assert!(refused().contains("etcd does not move down"), "{}", refused());
    model.assert_no_hook_failed();
}
