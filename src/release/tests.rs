//! Tarballs as upstream makes them, and as nobody should.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A program that says what etcd says.
const ETCD: &str = "#!/bin/sh\necho 'etcd Version: 3.5.16'\necho 'Git SHA: f20bbad'\n";

/// An entry: its path in the archive, its kind, its content.
type Entry<'a> = (&'a str, tar::EntryType, &'a str);

const FILE: tar::EntryType = tar::EntryType::Regular;
const TOP: &str = "etcd-v3.5.16-linux-amd64";

fn tarball(path: &Path, entries: &[Entry<'_>]) -> Checksum {
    let gzip = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        // By hand: the library refuses to write the paths that an attacker would.
        let bytes = name.as_bytes();
        header.as_gnu_mut().unwrap().name[..bytes.len()].copy_from_slice(bytes);
        if kind.is_symlink() {
            header.set_link_name(text).unwrap();
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        } else {
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
    }
    tar.into_inner().unwrap().finish().unwrap();
    Checksum::Sha256(digest::<Sha256>(path).unwrap())
}

/// What came of it, and all that was left in the directory of releases.
async fn prepared(entries: &[Entry<'_>], sum: Option<Checksum>) -> (Result<Release, String>, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("etcd.tar.gz");
    let found = tarball(&path, entries);
    let wanted = WantedRelease { source: ReleaseSource::File(path), sum: sum.unwrap_or(found) };
    let releases = Releases::at(home.path().join("releases"));
    let outcome = prepare(&wanted, &Proxies::default(), &releases).await;
    (outcome.map_err(|error| format!("{error:#}")), files::list(releases.home()).unwrap())
}

fn upstream() -> Vec<(String, &'static str)> {
    ["etcd", "etcdctl", "etcdutl", "README.md"].map(|name| (format!("{TOP}/{name}"), ETCD)).into()
}

#[tokio::test]
async fn a_release_is_whole_and_named_by_version_and_sum() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("etcd.tar.gz");
    let files: Vec<(String, &str)> = upstream();
    let entries: Vec<Entry<'_>> = files.iter().map(|(name, text)| (name.as_str(), FILE, *text)).collect();
    let sum = tarball(&path, &entries);
    let sha1 = Checksum::Sha1(digest::<Sha1>(&path).unwrap());
    let releases = Releases::at(home.path().join("releases"));
    for sum in [sum.clone(), sum, sha1] {
        let wanted = WantedRelease { source: ReleaseSource::File(path.clone()), sum: sum.clone() };
        let release = prepare(&wanted, &Proxies::default(), &releases).await.unwrap();
        assert!(release.version == "3.5.16" && release.is_from(sum.digits()), "{release:?}");
        let directory = releases.path(&release);
        assert_eq!(super::files::list(&directory).unwrap(), ["etcd", "etcdctl", "etcdutl"]);
        let mode = std::fs::metadata(directory.join("etcd")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
    assert_eq!(releases.all().unwrap().len(), 2, "one for each sum");
    assert!(!releases.home().join(INCOMING).exists());
}

#[tokio::test]
async fn a_wrong_sum_unpacks_nothing() {
    let wrong = Checksum::Sha256("0".repeat(64));
    let (outcome, left) = prepared(&[("etcd", FILE, ETCD), ("etcdctl", FILE, ETCD)], Some(wrong)).await;
    let error = outcome.unwrap_err();
    assert!(error.starts_with("source-sum: the file has SHA-256 "), "{error}");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_no_release_is_refused_and_leaves_nothing() {
    let link = tar::EntryType::Symlink;
    let good = ("etcdctl", FILE, ETCD);
    let cases: [(&[Entry<'_>], &str); 7] = [
        (&[good], "there is no etcd in it"),
        (&[("etcd", FILE, ETCD)], "there is no etcdctl in it"),
        (&[("etcd", link, "/bin/sh"), good], "etcd in it is no regular file"),
        (&[("../etcd", FILE, ETCD), good], "there is no etcd in it"),
        (&[("/etcd", FILE, ETCD), good], "there is no etcd in it"),
        (&[("etcd", FILE, ETCD), ("a/etcd", FILE, ETCD), good], "etcd is in it twice"),
        (&[("etcd", FILE, "#!/bin/sh\necho 3.5.16\n"), good], "its etcd does not say it"),
    ];
    for (entries, why) in cases {
        let (outcome, left) = prepared(entries, None).await;
        let error = outcome.unwrap_err();
        assert!(error.contains(why), "{error} does not say: {why}");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let releases = Releases::at(home.path().join("releases"));
    let sum = Checksum::Sha1("0".repeat(40));
    for (source, why) in [
        (ReleaseSource::File("/no/such/file".into()), "cannot copy /no/such/file: "),
        (ReleaseSource::File("/dev/zero".into()), "it is no regular file"),
        (
            ReleaseSource::Url("http://u:secret@127.0.0.1:1/e.tgz".into()),
            "cannot download http://127.0.0.1:1/e.tgz: ",
        ),
    ] {
        let wanted = WantedRelease { source, sum: sum.clone() };
        let error = format!("{:#}", prepare(&wanted, &Proxies::default(), &releases).await.unwrap_err());
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }
}
