//! Snapshots that must not be restored, and the exact answer to each. The unit serves on, and nothing is left behind.

use std::fs;

use crate::pages::line_matches;
use crate::sim::Model;

/// What is attached as `snapshot`, in words and as a file of [`MAKE`], and what `restore` fails with; `…` stands for
/// what differs from machine to machine.
pub const ARCHIVES: &[(&str, &str, &str)] = &[
    (
        "an empty file",
        "empty.gz",
        "no snapshot is attached, or an empty one: juju attach-resource etcd snapshot=FILE.gz, then run restore again",
    ),
    (
        "a text",
        "no-snapshot.gz",
        "the snapshot resource is neither a .tar.gz archive nor an etcd database; attach the archive that the snapshot action made",
    ),
    (
        "half of an archive",
        "half.tar.gz",
        "the archive is damaged: …; copy it again and compare its SHA-256 with the one that snapshot told",
    ),
    (
        "an archive with a wrong gzip checksum",
        "crc.tar.gz",
        "the archive is damaged: corrupt gzip stream does not have a matching checksum; copy it again and compare its SHA-256 with the one that snapshot told",
    ),
    (
        "gzip, but not of a tar",
        "text.gz",
        "the archive is damaged: …; copy it again and compare its SHA-256 with the one that snapshot told",
    ),
    (
        "a database that was cut off",
        "cut.db.gz",
        "the database has no digest at its end: it was cut off, or copied from a member's disk instead of taken by snapshot; if you are sure that it is whole, run restore with skip-hash-check=true",
    ),
    (
        "a database with a changed byte",
        "flipped.tar.gz",
        "the database does not match its own digest: it was damaged after it was taken; use another snapshot",
    ),
    ("a text named db", "text.tar.gz", "the archive holds a file that is not an etcd database"),
    (
        "an archive without a database",
        "none.tar.gz",
        "the archive holds no database; accepted: an archive of the snapshot action, or a bare snapshot file",
    ),
    (
        "an archive with two",
        "two.tar.gz",
        "the archive holds more than one database; attach one with a single snapshot",
    ),
    (
        "a symbolic link named db",
        "symlink.tar.gz",
        "the archive holds a link (db), which no snapshot does; it is not restored",
    ),
    (
        "a hard link named db",
        "hardlink.tar.gz",
        "the archive holds a link (db), which no snapshot does; it is not restored",
    ),
    (
        "a device named db",
        "device.tar.gz",
        "the archive holds a special file (db), which no snapshot does; it is not restored",
    ),
    (
        "an absolute path",
        "absolute.tar.gz",
        "the archive holds a path out of its folder (/etc/cron.d/db), which no snapshot does; it is not restored",
    ),
    (
        "a path with ..",
        "traversal.tar.gz",
        "the archive holds a path out of its folder (../../etc/db), which no snapshot does; it is not restored",
    ),
    (
        "a database that unpacks to 4 TiB",
        "bomb.tar.gz",
        "the database in the archive is larger than the … MiB that this unit has room for; free disk space and run restore again",
    ),
    (
        "a backup of v2 keys",
        "v2.tar.gz",
        "the archive holds a backup of v2 keys, which this etcd does not serve: set enable_v2=true, wait until the unit is active, then run restore again",
    ),
];

/// Makes the files out of a good archive, in the folder of that.
const MAKE: &str = r#"
import gzip, io, sys, tarfile
whole = open("good.tar.gz", "rb").read()
with tarfile.open("good.tar.gz") as tar:
    good = tar.extractfile([m for m in tar.getmembers() if m.isfile()][0]).read()
def write(name, data): open(name, "wb").write(data)
def tar(name, *entries):
    with tarfile.open(name, "w:gz") as out:
        for path, data, kind in entries:
            info = tarfile.TarInfo(path)
            info.type, info.size, info.linkname = kind, len(data), "" if kind == tarfile.REGTYPE else "other"
            out.addfile(info, io.BytesIO(data))
file = tarfile.REGTYPE
write("empty.gz", b"")
write("no-snapshot.gz", b"no snapshot\n" * 9)
write("half.tar.gz", whole[: len(whole) // 2])
write("crc.tar.gz", whole[:-8] + bytes(4) + whole[-4:])
write("text.gz", gzip.compress(b"no tar\n" * 99))
write("cut.db.gz", good[:8192])
flipped = bytearray(good)
flipped[len(good) // 2] ^= 1
tar("flipped.tar.gz", ("db", bytes(flipped), file))
tar("text.tar.gz", ("db", b"no database\n" * 99, file))
tar("none.tar.gz", ("readme.txt", b"text", file))
tar("two.tar.gz", ("a.db", good, file), ("b.db", good, file))
tar("symlink.tar.gz", ("db", b"", tarfile.SYMTYPE))
tar("hardlink.tar.gz", ("db", b"", tarfile.LNKTYPE))
tar("device.tar.gz", ("db", b"", tarfile.CHRTYPE))
tar("absolute.tar.gz", ("/etc/cron.d/db", good, file))
tar("traversal.tar.gz", ("../../etc/db", good, file))
tar("v2.tar.gz", ("member/snap/0.snap", b"x", file), ("member/wal/0.wal", b"x", file))
info = tarfile.TarInfo("db")
info.size = 4 << 40
write("bomb.tar.gz", gzip.compress(info.tobuf() + good))
"#;

/// Attaches each of them to the one unit of a healthy cluster.
pub fn are_refused(model: &Model) {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    let (results, failure) = model.action("etcd/0", &["snapshot", "target=/root"]);
    assert_eq!(failure, None, "{results}");
    let made = results["snapshot"]["path"].as_str().unwrap();
    model.run(&["scp", &format!("etcd/0:{made}"), &path("good.tar.gz")]);
    let mut python = std::process::Command::new("python3");
    assert!(python.args(["-c", MAKE]).current_dir(home.path()).status().unwrap().success());
    let files = || {
        model
            .shell("etcd/0", "find /var/snap/etcd /home/ubuntu ! -path '*/member/*' -printf '%p %s\n' | sort")
    };
    model.settle(1);
    let before = files();
    for (words, name, answer) in ARCHIVES {
        assert!(fs::exists(path(name)).unwrap());
        model.run(&["attach-resource", "etcd", &format!("snapshot={}", path(name))]);
        model.settle(1);
        let (results, failure) = model.action("etcd/0", &["restore"]);
        let said = failure.unwrap_or_else(|| panic!("{words} was restored: {results}"));
        assert!(line_matches(answer, &said), "{words}: {said}");
    }
    assert_eq!(files(), before, "a restore that was refused has left something behind");
}
