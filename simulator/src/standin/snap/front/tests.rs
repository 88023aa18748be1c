//! Against a `snap` of a few shell lines that keeps its revisions where snapd does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::Failure;
use super::record::Pending;
use super::*;

/// `x1`, `x2`, … in `var/lib/snapd/snaps`, `current` at one of them, the channel in a file; `sticks` makes a change that
/// does not end, `fails` one that is undone.
const SNAP: &str = r#"#!/bin/bash
root=$(dirname "$0"); snaps=$root/var/lib/snapd/snaps; current=$root/snap/etcd/current; shift_to() {
    ln -sfn "$1" "$current"; }
echo "$* | $(readlink "$current")" >> "$root/calls"
all=$(cd "$snaps" && ls | sed -n 's/^etcd_\(x[0-9]*\).snap$/\1/p' | sort -V); last=$(echo "$all" | tail -1)
case "$1" in
list)
    case "${*: -1}" in list | --* | etcd) ;; *) all= ;; esac
    [ -n "$all" ] || { echo 'error: no matching snaps installed' >&2; exit 1; }
    echo 'Name Version Rev Tracking Publisher Notes'
    for revision in $all; do
        note=disabled; [ "$(readlink -f "$current")" != "$root/snap/etcd/$revision" ] || note=-
        echo "etcd 3.$revision $revision $(cat "$root/tracking" 2>/dev/null || echo -) - $note"
    done ;;
changes) printf 'ID Status\n1 %s\n' "$([ -e "$root/sticks" ] && echo Doing || echo Done)" ;;
install)
    [ ! -e "$root/fails" ] || { echo 'error: cannot perform the following tasks' >&2; exit 1; }
    [ ! -e "$root/sticks" ] || exit 1
    next=x$((${last#x} + 1)); mkdir -p "$root/snap/etcd/$next" "$root/var/snap/etcd/$next"; touch "$snaps/etcd_$next.snap"
    shift_to "$next"; echo 'etcd installed' ;;
revert) shift_to "$(echo "$all" | head -1)"; echo 'etcd reverted' ;;
remove)
    for revision in $all; do
        case "$3" in "" | "--revision=$revision") rm -r "$snaps/etcd_$revision.snap" "$root/snap/etcd/$revision" ;; esac
    done ;;
switch) echo "${3#--channel=}" > "$root/tracking" ;;
esac
"#;

struct Machine {
    place: tempfile::TempDir,
    front: Front,
}

impl Machine {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        for name in ["snap/etcd", "var/snap/etcd", "var/lib/snapd/snaps"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let program = root.join("snap.sh");
        fs::write(&program, SNAP).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        for (channel, number) in [("3.4", "30"), ("3.5", "31")] {
            release(&root.join("store/etcd").join(channel), channel, number);
        }
        let front = Front {
            store: root.join("store"),
            records: Records::at(root.join("record")),
            real: Real::at(program),
            root,
            helped: false,
        };
        Self { place, front }
    }

    fn snap(&self, line: &str) -> Done<u8> {
        run(&self.front, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn points(&self, name: &str) -> String {
        fs::read_link(self.path(name)).unwrap().display().to_string()
    }

    fn numbers(&self) -> Vec<(String, String)> {
        let record = self.front.records.read().unwrap();
        record.snaps.get("etcd").cloned().unwrap_or_default().into_iter().collect()
    }

    fn tracking(&self) -> String {
        fs::read_to_string(self.path("tracking")).unwrap().trim().to_owned()
    }
}

fn release(directory: &Path, version: &str, number: &str) {
    let content = tempfile::tempdir().unwrap();
    fs::create_dir(content.path().join("meta")).unwrap();
    let meta = format!("name: etcd\nversion: '{version}'\n");
    fs::write(content.path().join("meta/snap.yaml"), meta).unwrap();
    fs::create_dir_all(directory).unwrap();
    let mut pack = std::process::Command::new("mksquashfs");
    pack.arg(content.path()).arg(directory.join("stable.snap"));
    assert!(pack.args(["-quiet", "-no-progress", "-no-xattrs"]).output().unwrap().status.success());
    fs::write(directory.join("stable.revision"), number).unwrap();
}

fn pair(revision: &str, number: &str) -> (String, String) {
    (revision.to_owned(), number.to_owned())
}

#[test]
fn what_comes_from_the_store_goes_by_its_number_and_follows_its_channel() {
    let machine = Machine::new();
    assert_eq!(machine.snap("install etcd --channel=3.4/stable"), Ok(0));
    assert_eq!(machine.points("snap/etcd/current"), "30");
    for (link, target) in [
        ("snap/etcd/30", "x1"),
        ("var/snap/etcd/30", "x1"),
        ("var/lib/snapd/snaps/etcd_30.snap", "etcd_x1.snap"),
    ] {
        assert_eq!(machine.points(link), target, "{link}");
    }
    assert_eq!(machine.tracking(), "3.4/stable");

    assert_eq!(machine.snap("refresh etcd --channel=3.5"), Ok(0));
    assert_eq!(machine.numbers(), [pair("x1", "30"), pair("x2", "31")]);
    assert_eq!(
        (machine.points("snap/etcd/current").as_str(), machine.tracking().as_str()),
        ("31", "3.5/stable")
    );
    // snapd has found its own links.
    let calls = fs::read_to_string(machine.path("calls")).unwrap();
    assert!(calls.contains("3.5/stable.snap | x1\n"), "{calls}");

    assert_eq!(machine.snap("revert etcd"), Ok(0));
    assert_eq!(
        (machine.points("snap/etcd/current").as_str(), machine.tracking().as_str()),
        ("30", "3.5/stable")
    );
    // A number comes once, however often it is gone back to.
    assert_eq!(machine.snap("refresh etcd"), Ok(0));
    assert_eq!(machine.numbers(), [pair("x1", "30"), pair("x3", "31")]);
    assert_eq!(machine.snap("remove etcd"), Ok(0));
    assert_eq!(machine.numbers(), []);
    assert!(!machine.path("snap/etcd/31").is_symlink() && !machine.path("var/snap/etcd/31").is_symlink());
}

#[test]
fn a_link_that_is_pointed_elsewhere_keeps_its_time() {
    let machine = Machine::new();
    machine.snap("install etcd --channel=3.4").unwrap();
    let current = machine.path("snap/etcd/current");
    let time =
        |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.mtime(), meta.mtime_nsec())).unwrap();
    let before = time(&current);
    let numbers = machine.front.records.read().unwrap().snaps["etcd"].clone();
    let links = links::Links { root: &machine.front.root, name: "etcd" };
    links.hide(&numbers).unwrap();
    assert_eq!((machine.points("snap/etcd/current").as_str(), time(&current)), ("x1", before));
    links.show(&numbers).unwrap();
    assert_eq!((machine.points("snap/etcd/current").as_str(), time(&current)), ("30", before));
}

#[test]
fn a_file_of_the_operator_stays_one() {
    let machine = Machine::new();
    machine.snap("install etcd --channel=3.4").unwrap();
    let file = machine.path("store/etcd/3.5/stable.snap");
    assert_eq!(machine.snap(&format!("install --dangerous {}", file.display())), Ok(0));
    assert_eq!(machine.points("snap/etcd/current"), "x2");
    assert_eq!(machine.numbers(), [pair("x1", "30")]);
    // With `--amend` the store takes over.
    assert_eq!(machine.snap("refresh etcd --amend --channel=3.5"), Ok(0));
    assert_eq!(machine.points("snap/etcd/current"), "31");
}

#[test]
fn whoever_is_killed_leaves_nothing_that_the_next_call_does_not_finish() {
    let pending = |machine: &Machine| {
        let mut record = machine.front.records.read().unwrap();
        record.pending = Some(Pending {
            name: "etcd".into(),
            number: "31".into(),
            tracking: "3.5/stable".into(),
            before: vec!["x1".into()],
            kind: "refresh-snap".into(),
        });
        machine.front.records.write(&record).unwrap();
        links::Links { root: &machine.front.root, name: "etcd" }.hide(&record.snaps["etcd"]).unwrap();
    };
    // Before snapd has heard of it.
    let machine = Machine::new();
    machine.snap("install etcd --channel=3.4").unwrap();
    pending(&machine);
    change::settle(&machine.front).unwrap();
    assert_eq!(
        (machine.points("snap/etcd/current").as_str(), machine.tracking().as_str()),
        ("30", "3.4/stable")
    );

    // While snapd is at work, and after it has ended.
    pending(&machine);
    fs::write(machine.path("sticks"), "").unwrap();
    let busy = error("snap \"etcd\" has \"refresh-snap\" change in progress");
    assert_eq!(machine.snap("refresh etcd"), Err(busy));
    assert!(change::settle(&machine.front).unwrap().pending.is_some());
    fs::remove_file(machine.path("sticks")).unwrap();
    let file = machine.path("store/etcd/3.5/stable.snap");
    machine.front.real.run(&["install", "--dangerous", &file.display().to_string()]).unwrap();
    change::settle_in_time(&machine.front).unwrap();
    assert_eq!(
        (machine.points("snap/etcd/current").as_str(), machine.tracking().as_str()),
        ("31", "3.5/stable")
    );
}

#[test]
fn what_snapd_undoes_and_what_the_store_lacks_changes_nothing() {
    let machine = Machine::new();
    machine.snap("install etcd --channel=3.4").unwrap();
    fs::write(machine.path("fails"), "").unwrap();
    assert_eq!(machine.snap("refresh etcd --channel=3.5"), Ok(1));
    assert_eq!(
        (machine.points("snap/etcd/current").as_str(), machine.tracking().as_str()),
        ("30", "3.4/stable")
    );
    let refused = |line: &str| match machine.snap(line) {
        Err(Failure::Error(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(refused("install nosuch"), "snap \"nosuch\" not found");
    assert!(
        refused("refresh etcd --channel=9.9").starts_with("snap \"etcd\" is not available on 9.9/stable")
    );
    assert_eq!(refused("refresh etcd --cohort=a"), "the snap store of juju-sim cannot do --cohort");
    assert_eq!(refused("refresh etcd --revision=7"), "snap \"etcd\" not available at revision 7");
    fs::write(machine.path("store/.offline"), "").unwrap();
    assert_eq!(refused("refresh etcd"), "unable to contact snap store");
}
