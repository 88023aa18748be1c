//! Archives as they come, good and bad, and what is made of each.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::*;

/// Shaped like a bbolt file of one page.
fn database() -> Vec<u8> {
    let mut bytes = vec![7; 4096];
    bytes[16..20].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    bytes
}

fn snapshot() -> Vec<u8> {
    let mut bytes = database();
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    bytes
}

/// An entry as it comes, whatever its name.
fn entry(tar: &mut tar::Builder<GzEncoder<Vec<u8>>>, kind: EntryType, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, content) in entries {
        entry(&mut tar, *kind, name, content);
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    archive(&[(EntryType::Regular, name, content)])
}

fn restored(bytes: &[u8], may_lack_digest: bool) -> Result<Content, String> {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("resource");
    std::fs::write(&source, bytes).unwrap();
    extract(&source, &home.path().join("folder"), 1 << 20, may_lack_digest)
        .map_err(|refusal| refusal.to_string())
}

#[test]
fn snapshots_of_this_charm_of_the_earlier_one_and_bare_ones_are_taken() {
    let proved = Content::Database(Database { bytes: 4096 + 32, is_proved: true });
    for bytes in
        [file("./db", &snapshot()), file("db", &snapshot()), file("backup/my.db", &snapshot()), snapshot()]
    {
        assert_eq!(restored(&bytes, false).as_ref(), Ok(&proved));
    }
    let with_folder =
        archive(&[(EntryType::Directory, "./", b""), (EntryType::Regular, "./db", &snapshot())]);
    assert_eq!(restored(&with_folder, false), Ok(proved));
}

#[test]
fn of_a_v2_backup_only_a_members_files_are_taken() {
    let home = tempfile::tempdir().unwrap();
    let (source, folder) = (home.path().join("resource"), home.path().join("folder"));
    let backup = archive(&[
        (EntryType::Directory, "./etcd0/member/wal/", b""),
        (EntryType::Regular, "./etcd0/member/wal/0.wal", b"log"),
        (EntryType::Regular, "./etcd0/member/snap/0.snap", b"state"),
        (EntryType::Regular, "./etcd0/member/snap/db", b"any"),
        (EntryType::Regular, "./etcd0/member/wal/deeper/x", b"no"),
        (EntryType::Regular, "./etcd0/notes", b"no"),
    ]);
    std::fs::write(&source, backup).unwrap();
    assert_eq!(extract(&source, &folder, 11, false).unwrap(), Content::V2Store { bytes: 11 });
    let member = folder.join(V2_STORE).join("member");
    assert_eq!(std::fs::read(member.join("wal/0.wal")).unwrap(), b"log");
    assert_eq!(std::fs::read(member.join("snap/0.snap")).unwrap(), b"state");
    assert_eq!(std::fs::read_dir(member.join("wal")).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(extract(&source, &folder, 10, false), Err(Refusal::TooLarge { .. })));
}

#[test]
fn a_copied_file_needs_the_operators_word() {
    let unproved = Ok(Content::Database(Database { bytes: 4096, is_proved: false }));
    assert_eq!(restored(&database(), true), unproved);
    assert_eq!(restored(&file("./db", &database()), true), unproved);
    assert!(restored(&database(), false).unwrap_err().contains("skip-hash-check=true"));
}

#[test]
fn what_cannot_be_restored_is_refused_with_what_to_do() {
    let mut flipped = snapshot();
    flipped[3000] ^= 1;
    let whole = file("./db", &snapshot());
    let link = archive(&[(EntryType::Symlink, "./db", b"")]);
    let two =
        archive(&[(EntryType::Regular, "a.db", &snapshot()), (EntryType::Regular, "b.db", &snapshot())]);
    let both = archive(&[
        (EntryType::Regular, "./member/wal/0.wal", b"x"),
        (EntryType::Regular, "./snapshot.db", &snapshot()),
    ]);
    let device = archive(&[(EntryType::Char, "./db", b"")]);
    let escaping = file("../db", &snapshot());
    let absolute = file("/etc/db", &snapshot());
    let other = file("notes.txt", b"hello");
    let junk = file("./db", &[1; 4128]);
    let bomb = file("./db", &vec![0; 2 << 20]);
    let cut_short = file("./db", &snapshot()[..4096]);
    let cases: [(&[u8], &str); 14] = [
        (
            b"",
            "the snapshot resource is neither a .tar.gz archive nor an etcd database; attach the archive that the snapshot action made",
        ),
        (
            b"hello",
            "the snapshot resource is neither a .tar.gz archive nor an etcd database; attach the archive that the snapshot action made",
        ),
        (&whole[..whole.len() / 2], "the archive is damaged: "),
        (
            &other,
            "the archive holds no database; accepted: an archive of the snapshot action, or a bare snapshot file",
        ),
        (&link, "the archive holds a link (./db), which no snapshot does; it is not restored"),
        (&device, "the archive holds a special file (./db), which no snapshot does; it is not restored"),
        (
            &escaping,
            "the archive holds a path out of its folder (../db), which no snapshot does; it is not restored",
        ),
        (
            &absolute,
            "the archive holds a path out of its folder (/etc/db), which no snapshot does; it is not restored",
        ),
        (&two, "the archive holds more than one database; attach one with a single snapshot"),
        (&both, "the archive holds a snapshot and a backup of v2 keys; attach one with a single of them"),
        (
            &bomb,
            "the database in the archive is larger than the 1 MiB that this unit has room for; free disk space and run restore again",
        ),
        (&junk, "the archive holds a file that is not an etcd database"),
        (
            &cut_short,
            "the database has no digest at its end: it was cut off, or copied from a member's disk instead of taken by snapshot; if you are sure that it is whole, run restore with skip-hash-check=true",
        ),
        (
            &flipped,
            "the database does not match its own digest: it was damaged after it was taken; use another snapshot",
        ),
    ];
    for (bytes, message) in cases {
        let refused = restored(bytes, false).unwrap_err();
        assert!(refused.starts_with(message), "{refused}\ninstead of {message}");
    }
}

#[test]
fn a_damaged_end_is_found_behind_a_whole_database() {
    let mut bytes = file("./db", &snapshot());
    let last = bytes.len() - 8;
    bytes[last] ^= 1;
    assert!(restored(&bytes, false).unwrap_err().starts_with("the archive is damaged: "));
}

#[test]
fn a_folder_is_no_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let refused = extract(home.path(), &home.path().join("db"), 1 << 20, false).unwrap_err();
    assert!(matches!(refused, Refusal::NotAFile), "{refused}");
}

/// A header that promises `bytes`, with as many zeros behind it as there are, before a good snapshot.
fn zeros(kind: EntryType, name: &str, bytes: u64, there: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, io::repeat(0).take(there)).unwrap();
    entry(&mut tar, EntryType::Regular, "db", &snapshot());
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn what_inflates_without_an_end_is_left_alone() {
    let refused = |bytes: &[u8]| restored(bytes, false).unwrap_err();
    let said = |what: &str| format!("the archive holds {what}, which no snapshot does; it is not restored");
    let beside = zeros(EntryType::Regular, "notes", BESIDE_BYTES_MAX + 1, 0);
    assert_eq!(refused(&beside), said("256 MiB beside its snapshot"));
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink] {
        let long = zeros(kind, "x", 2 * HEADERS_BYTES, 2 * HEADERS_BYTES);
        assert_eq!(refused(&long), said("headers or padding without an end"), "{kind:?}");
    }
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for _ in 0..=ENTRIES_MAX {
        entry(&mut tar, EntryType::Directory, "./", b"");
    }
    let many = tar.into_inner().unwrap().finish().unwrap();
    assert_eq!(refused(&many), said("more than 10000 entries"));
    let beside = zeros(EntryType::Regular, "notes", 3 << 20, 3 << 20);
    assert!(restored(&beside, false).is_ok(), "what little lies beside it is passed over");
}
