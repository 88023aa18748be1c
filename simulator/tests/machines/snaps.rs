//! Snaps in a machine.

use std::path::{Path, PathBuf};

use juju_sim::machine::Machine;

use crate::support::*;

/// Put a release of the snap `tiny` into the store. Its service ends at once while it has no configuration.
fn release(store: &Path, track: &str, version: &str, number: &str) -> PathBuf {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let apps = "apps:\n  tiny: {command: bin/serve, daemon: simple, restart-condition: always, plugs: [network, removable-media]}\n  ctl: {command: bin/ctl}\n";
    write("meta/snap.yaml", &format!("name: tiny\nversion: '{version}'\nconfinement: strict\n{apps}"));
    write(
        "bin/serve",
        "#!/bin/sh\n[ -e \"$SNAP_COMMON/conf\" ] || exit 0\nls /media > \"$SNAP_DATA/media\"\nexec sleep 1000\n",
    );
    write(
        "bin/ctl",
        "#!/bin/sh\necho \"$SNAP_NAME $SNAP_VERSION $SNAP_REVISION $SNAP_DATA $*\"; touch /tmp/private\n",
    );
    let directory = store.join("tiny").join(track);
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("stable.snap");
    let mut pack = std::process::Command::new("mksquashfs");
    let packed =
        pack.arg(place.path()).arg(&file).args(["-quiet", "-noappend", "-no-xattrs"]).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    std::fs::write(directory.join("stable.revision"), number).unwrap();
    file
}

#[tokio::test]
async fn a_snap_is_installed_refreshed_with_its_data_reverted_and_removed() {
    let model = Model::new();
    let store = model.place.path().join("store");
    release(&store, "1.0", "1.0.4", "11");
    release(&store, "1.1", "1.1.2", "12");
    let machine = &*model.machine(0).await;
    let (code, text) = ended(machine, "snap install tiny --channel=9.9/stable").await;
    assert!(
        code == 1 && text.starts_with("error: snap \"tiny\" is not available on 9.9/stable but is available"),
        "{text}"
    );
    assert_eq!(
        ended(machine, "snap refresh tiny").await,
        (1, "error: snap \"tiny\" is not installed".to_owned())
    );
    let installed = said(machine, "snap install --channel=1.0/stable tiny").await;
    assert_eq!(installed, "tiny (1.0/stable) 1.0.4 from Canonical** installed");
    let listed =
        "Name  Version  Rev  Tracking    Publisher    Notes\ntiny  1.0.4    11   1.0/stable  canonical**  -";
    assert_eq!(said(machine, "snap list tiny").await, listed);
    let again = "snap \"tiny\" is already installed, see 'snap help refresh'";
    assert_eq!(ended(machine, "snap install tiny").await, (0, again.to_owned()));
    assert_eq!(said(machine, "/snap/bin/tiny.ctl a b").await, "tiny 1.0.4 11 /var/snap/tiny/11 a b");
    said(machine, "test ! -e /tmp/private && test -e /tmp/snap-private-tmp/snap.tiny/tmp/private").await;
    assert_eq!(ended(machine, "touch /snap/tiny/current/x").await.0, 1);

    // Without a configuration the service flaps into its start limit, from where it must be fetched.
    until(machine, "systemctl show snap.tiny.tiny -p Result --value", "start-limit-hit").await;
    said(machine, "mkdir /media/here; touch /var/snap/tiny/common/conf; systemctl reset-failed snap.tiny.tiny; snap start tiny").await;
    until(machine, "cat /var/snap/tiny/current/media", "").await;
    assert_eq!(said(machine, "snap services tiny | tail -1").await, "tiny.tiny  enabled  active   -");
    said(machine, "snap connect tiny:removable-media; snap restart tiny").await;
    until(machine, "cat /var/snap/tiny/current/media", "here").await;

    said(machine, "echo one > /var/snap/tiny/current/data; sleep 1000 < /dev/null > /dev/null 2>&1 &").await;
    let refreshed = said(machine, "snap refresh tiny --channel=1.1").await;
    assert_eq!(refreshed, "tiny (1.1/stable) 1.1.2 from Canonical** refreshed");
    assert_eq!(
        said(machine, "readlink /snap/tiny/current /var/snap/tiny/current; cat /var/snap/tiny/12/data").await,
        "12\n12\none"
    );
    until(machine, "systemctl is-active snap.tiny.tiny", "active").await;
    let nothing = "snap \"tiny\" has no updates available";
    assert_eq!(ended(machine, "snap refresh tiny").await, (0, nothing.to_owned()));
    machine.reboot().await.unwrap();
    until(machine, "systemctl is-active snap.tiny.tiny", "active").await;
    assert_eq!(said(machine, "/snap/bin/tiny.ctl").await, "tiny 1.1.2 12 /var/snap/tiny/12");
    assert_eq!(
        said(machine, "snap revert tiny; snap list | tail -1").await,
        "tiny reverted to 1.0.4\ntiny  1.0.4    11   1.1/stable  canonical**  -"
    );
    a_file_takes_its_place_without_the_store(machine, &store).await;
}

/// What the store has given goes on with its data from a file, and everything of it can be taken away.
async fn a_file_takes_its_place_without_the_store(machine: &dyn Machine, store: &Path) {
    std::fs::write(store.join(".offline"), "").unwrap();
    assert_eq!(
        ended(machine, "snap refresh tiny").await,
        (1, "error: unable to contact snap store".to_owned())
    );
    assert_eq!(
        said(machine, "snap install --dangerous /run/juju-sim/store/tiny/1.1/stable.snap").await,
        "tiny 1.1.2 installed"
    );
    assert_eq!(
        said(machine, "readlink /snap/tiny/current; cat /var/snap/tiny/current/data").await,
        "x1\none"
    );
    // What is followed stays, though the store does not know what is installed.
    assert_eq!(said(machine, "snap list | tail -1").await, "tiny  1.1.2    x1   1.1/stable  -          -");
    let (code, text) = ended(machine, "snap refresh tiny").await;
    assert!(code == 1 && text.starts_with("error: local snap \"tiny\" is unknown to the store"), "{text}");
    said(machine, "snap disable tiny").await;
    assert_eq!(
        said(machine, "snap list tiny | tail -1 | tr -s ' '").await,
        "tiny 1.1.2 x1 1.1/stable - disabled"
    );
    assert_eq!(ended(machine, "ls /snap/tiny/current /snap/bin/tiny.ctl").await.0, 2);
    said(machine, "snap enable tiny && /snap/bin/tiny.ctl").await;
    until(machine, "systemctl is-active snap.tiny.tiny", "active").await;
    assert_eq!(
        said(machine, "snap remove tiny; ls -A /snap /var/snap /snap/bin; snap changes | grep -c Remove")
            .await,
        "tiny removed\n/snap:\nbin\n\n/snap/bin:\n\n/var/snap:\n1"
    );
}
