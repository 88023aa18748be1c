//! The authorities that every program of this machine trusts: certificates in `/usr/local/share/ca-certificates` and
//! the bundle that `update-ca-certificates` makes of them. One file per certificate, as that program expects.

use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{self, Written};
use crate::process::{ProcessError, Run};

/// The last line of a certificate.
const END: &str = "-----END CERTIFICATE-----";
/// The first line of a certificate.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Why the store could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no certificate in the text.
    #[error("cannot trust a text without a PEM certificate")]
    NoCertificate,
    /// A file of the store cannot be read or written.
    #[error("cannot change the files of the host's trust store")]
    Files(#[from] std::io::Error),
    /// `update-ca-certificates` failed or is not installed.
    #[error("cannot renew the bundle of the host's trust store")]
    Update(#[from] ProcessError),
}

/// What this charm's authority of that name is now: the text it was given, if every certificate of it is in force.
/// `None` if there is none, or if an earlier change was cut short and must be repeated.
///
/// # Errors
/// The store cannot be read.
pub fn current(name: &str) -> IoResult<Option<String>> {
    Store::of_host().current(name)
}

/// Makes the certificates in `pem` trusted under that name, in place of those that it stood for before.
///
/// # Errors
/// [`TrustError`]; a change that was cut short is seen by [`current`] and mended by the next call.
pub async fn trust(name: &str, pem: &str) -> Result<(), TrustError> {
    Store::of_host().put(name, pem).await.map(drop)
}

/// Ends the trust in everything of that name.
///
/// # Errors
/// As [`trust`].
pub async fn forget(name: &str) -> Result<(), TrustError> {
    Store::of_host().remove(name).await.map(drop)
}

/// The store's places.
struct Store {
    sources: PathBuf,
    links: PathBuf,
    update: Vec<String>,
}

impl Store {
    fn of_host() -> Store {
        Store {
            sources: PathBuf::from("/usr/local/share/ca-certificates"),
            links: PathBuf::from("/etc/ssl/certs"),
            update: vec!["update-ca-certificates".to_owned()],
        }
    }

    fn current(&self, name: &str) -> IoResult<Option<String>> {
        let bundle = text(&self.links.join("ca-certificates.crt"))?.unwrap_or_default();
        let mut all = String::new();
        for file in self.files_of(name)? {
            let piece = text(&self.sources.join(file))?.unwrap_or_default();
            if !certificate(&piece).is_some_and(|certificate| bundle.contains(certificate)) {
                return Ok(None);
            }
            all.push_str(&piece);
        }
        Ok((!all.is_empty() && !self.has_dead_links(name)?).then_some(all))
    }

    async fn put(&self, name: &str, pem: &str) -> Result<Written, TrustError> {
        let pieces = split(pem);
        if pieces.is_empty() {
            return Err(TrustError::NoCertificate);
        }
        if self.current(name)?.as_deref() == Some(pem) {
            return Ok(Written::Same);
        }
        let wanted: Vec<String> = match pieces.len() {
            1 => vec![format!("{name}.crt")],
            count => (1..=count).map(|number| format!("{name}-{number}.crt")).collect(),
        };
        let replaces = !self.files_of(name)?.is_empty();
        files::make_dir(&self.sources, 0o755)?;
        for (file, piece) in wanted.iter().zip(&pieces) {
            files::write_atomic(self.sources.join(file), piece.as_bytes(), 0o644)?;
        }
        for file in self.files_of(name)?.iter().filter(|file| !wanted.contains(file)) {
            files::remove_if_exists(self.sources.join(file))?;
        }
        self.renew(replaces).await?;
        Ok(Written::Changed)
    }

    async fn remove(&self, name: &str) -> Result<Written, TrustError> {
        let files = self.files_of(name)?;
        if files.is_empty() && !self.has_dead_links(name)? {
            return Ok(Written::Same);
        }
        for file in files {
            files::remove_if_exists(self.sources.join(file))?;
        }
        self.renew(true).await?;
        Ok(Written::Changed)
    }

    /// `fresh` (slow: every link is made anew), because otherwise the program neither notices new content under an
    /// old name nor a file that has gone, and leaves the links by hash as they were. A new file needs no such care.
    async fn renew(&self, fresh: bool) -> Result<(), ProcessError> {
        let (program, args) =
            self.update.split_first().map_or(("", &[][..]), |(program, args)| (program, args));
        Run::new(program)
            .args(args)
            .args(fresh.then_some("--fresh"))
            .timeout(Duration::from_secs(120))
            .output()
            .await
            .map(drop)
    }

    /// Our files in the order of their certificates: `NAME.crt`, then `NAME-1.crt`, `NAME-2.crt`, …
    fn files_of(&self, name: &str) -> IoResult<Vec<String>> {
        let names = files::list(&self.sources)?.into_iter();
        let mut ours: Vec<(u32, String)> =
            names.filter_map(|file| Some((number(name, &file, ".crt")?, file))).collect();
        ours.sort();
        Ok(ours.into_iter().map(|(_, file)| file).collect())
    }

    /// A removal was cut short: our link is still there and its file is not.
    fn has_dead_links(&self, name: &str) -> IoResult<bool> {
        let links = files::list(&self.links)?;
        Ok(links.iter().any(|link| number(name, link, ".pem").is_some() && !self.links.join(link).exists()))
    }
}

/// 0 for `NAME.crt`, n for `NAME-n.crt`, nothing for others' files.
fn number(name: &str, file: &str, suffix: &str) -> Option<u32> {
    match file.strip_prefix(name)?.strip_suffix(suffix)? {
        "" => Some(0),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

/// Cuts a bundle behind each certificate; put together again the pieces are the bundle, to the byte.
fn split(pem: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in pem.split_inclusive('\n') {
        end += line.len();
        if line.trim() == END {
            pieces.push(&pem[start..end]);
            start = end;
        }
    }
    // What follows the last certificate stays with it.
    if let Some(last) = pieces.pop() {
        pieces.push(&pem[start - last.len()..]);
    }
    pieces
}

/// The certificate itself, without what stands around it.
fn certificate(piece: &str) -> Option<&str> {
    let start = piece.find(BEGIN)?;
    let end = piece[start..].find(END)? + start + END.len();
    Some(&piece[start..end])
}

fn text(path: &Path) -> IoResult<Option<String>> {
    Ok(files::read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not real certificates: the store itself never looks inside one.
    fn pem(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    /// Debian's and Ubuntu's own `update-ca-certificates`, told to work in a directory of the test.
    struct Host {
        store: Store,
        _home: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Host {
            let home = tempfile::tempdir().unwrap();
            let place = |name: &str| home.path().join(name);
            std::fs::create_dir(place("links")).unwrap();
            std::fs::create_dir(place("hooks")).unwrap();
            std::fs::write(place("conf"), "# an empty list would mean the machine's own\n").unwrap();
            let flags = [
                ("--certsconf", "conf"),
                ("--localcertsdir", "sources"),
                ("--etccertsdir", "links"),
                ("--hooksdir", "hooks"),
            ];
            let mut update = vec!["update-ca-certificates".to_owned()];
            for (flag, name) in flags {
                update.extend([flag.to_owned(), place(name).to_string_lossy().into_owned()]);
            }
            Host { store: Store { sources: place("sources"), links: place("links"), update }, _home: home }
        }
    }

    #[tokio::test]
    async fn trust_is_put_once_changed_and_forgotten() {
        let host = Host::new();
        let (one, two) = (pem("AAAA"), pem("AAAA") + "\n# the next one\n" + &pem("BBBB") + "\n");
        assert_eq!(host.store.current("etcd").unwrap(), None);
        assert_eq!(host.store.put("etcd", &one).await.unwrap(), Written::Changed);
        assert_eq!(host.store.put("etcd", &one).await.unwrap(), Written::Same);
        assert_eq!(host.store.current("etcd").unwrap(), Some(one.clone()));
        host.store.put("etcd", &two).await.unwrap();
        assert_eq!(files::list(&host.store.sources).unwrap(), ["etcd-1.crt", "etcd-2.crt"]);
        assert_eq!(host.store.current("etcd").unwrap(), Some(two));
        host.store.put("etcd", &one).await.unwrap();
        assert_eq!(files::list(&host.store.sources).unwrap(), ["etcd.crt"]);
        assert_eq!(host.store.remove("etcd").await.unwrap(), Written::Changed);
        assert_eq!(host.store.remove("etcd").await.unwrap(), Written::Same);
        assert_eq!(host.store.current("etcd").unwrap(), None);
    }

    #[tokio::test]
    async fn a_change_that_was_cut_short_is_mended() {
        let host = Host::new();
        // Never the only one: the program leaves the bundle alone when there is no certificate at all.
        host.store.put("vault", &pem("CCCC")).await.unwrap();
        host.store.put("etcd", &pem("AAAA")).await.unwrap();
        // The file was written, then the charm was killed.
        files::write_atomic(host.store.sources.join("etcd.crt"), pem("BBBB").as_bytes(), 0o644).unwrap();
        assert_eq!(host.store.current("etcd").unwrap(), None);
        assert_eq!(host.store.put("etcd", &pem("BBBB")).await.unwrap(), Written::Changed);
        assert_eq!(host.store.current("etcd").unwrap(), Some(pem("BBBB")));
        // The file was removed, then the charm was killed.
        files::remove_if_exists(host.store.sources.join("etcd.crt")).unwrap();
        assert_eq!(host.store.remove("etcd").await.unwrap(), Written::Changed);
        assert_eq!(text(&host.store.links.join("ca-certificates.crt")).unwrap(), Some(pem("CCCC")));
    }

    #[tokio::test]
    async fn others_files_are_theirs() {
        let host = Host::new();
        files::make_dir(&host.store.sources, 0o755).unwrap();
        for name in ["etcd-2024-root.crt", "etcdx.crt", "vault.crt"] {
            std::fs::write(host.store.sources.join(name), pem("CCCC")).unwrap();
        }
        host.store.put("etcd", &pem("AAAA")).await.unwrap();
        host.store.remove("etcd").await.unwrap();
        assert_eq!(files::list(&host.store.sources).unwrap().len(), 3);
        assert!(matches!(host.store.put("etcd", "no certificate").await, Err(TrustError::NoCertificate)));
    }
}
