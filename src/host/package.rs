//! Debian's package of etcd on this machine: whether it is there, what it was told, and its removal. Its postrm deletes
//! `/var/lib/etcd`, so whoever purges it moves the data away first.

use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Service, files};
use crate::process::{ProcessError, Run};

/// Names that the package had over the years.
const NAMES: [&str; 3] = ["etcd", "etcd-server", "etcd-client"];
/// Those of them that bring a server, each with the same unit.
const SERVERS: [&str; 2] = ["etcd", "etcd-server"];
/// dpkg's list of a package's files; it goes with the purge.
const LISTS: &str = "/var/lib/dpkg/info";
/// The unit file; it goes with the removal.
const UNIT: &str = "/lib/systemd/system/etcd.service";
/// Its options, `ETCD_NAME=…` a line.
pub const OPTIONS: &str = "/etc/default/etcd";
/// What it keeps everything in, and what its purge deletes.
pub const HOME: &str = "/var/lib/etcd";
/// Removal scripts stop services.
const PURGE: Duration = Duration::from_secs(200);
/// A server that runs answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// The package's options as its file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageOptions(Vec<(String, String)>);

impl PackageOptions {
    /// Reads `/etc/default/etcd`; without it there are none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> Result<PackageOptions> {
        let text = files::read(OPTIONS)?.unwrap_or_default();
        Ok(PackageOptions::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> PackageOptions {
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("ETCD_"));
        let pairs = lines.filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
        });
        PackageOptions(pairs.collect())
    }

    /// The last value of an option, as systemd reads such a file.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().rev().filter(|(known, _)| known == name);
        values.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where the data is.
    pub fn data(&self) -> PathBuf {
        self.get("ETCD_DATA_DIR").map_or_else(|| Path::new(HOME).join("default"), PathBuf::from)
    }

    /// All of them, for people: `ETCD_NAME=one, …`.
    pub fn all(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the package's server is installed.
///
/// # Errors
/// dpkg's files cannot be looked at.
pub fn is_installed() -> Result<bool> {
    let lists = SERVERS.iter().map(|name| Path::new(LISTS).join(format!("{name}.list")).try_exists());
    let known = lists.collect::<Result<Vec<bool>>>()?.contains(&true);
    Ok(known && Path::new(UNIT).try_exists()?)
}

/// The package's service.
pub fn service() -> Service {
    Service::new("etcd")
}

/// How many members its cluster has, by its own server. It is asked through the gateway that etcd has for curl (`/v3`, from
/// 3.4 on), with the server's own certificate where it wants one. `None`: it did not tell.
pub async fn members(options: &PackageOptions) -> Option<usize> {
    let urls = options.get("ETCD_LISTEN_CLIENT_URLS").unwrap_or("http://localhost:2379");
    let url = urls.split(',').next()?.trim().trim_end_matches('/');
    // Only this machine is asked, and nothing secret is told.
    let mut run =
        Run::new("curl").args(["--silent", "--show-error", "--fail", "--insecure", "--noproxy", "*"]);
    for (option, name) in [("--cert", "ETCD_CERT_FILE"), ("--key", "ETCD_KEY_FILE")] {
        run = run.args(options.get(name).map(|file| [option, file]).into_iter().flatten());
    }
    let run = run.args(["--data", "{}"]).arg(format!("{url}/v3/cluster/member/list")).timeout(ANSWER);
    let answer = run.output().await.ok()?.text();
    let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
    answer["members"].as_array().map(Vec::len)
}

/// Takes the package and its configuration away. What is in [`HOME`] is deleted by it.
///
/// # Errors
/// dpkg refuses, for example because another package needs it.
pub async fn purge() -> std::result::Result<(), ProcessError> {
    let is_there = |name: &&str| Path::new(LISTS).join(format!("{name}.list")).exists();
    let run = Run::new("dpkg").arg("--purge").args(NAMES.iter().filter(|name| is_there(name)));
    run.env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .timeout(PURGE)
        .output()
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_systemd_does() {
        let text = "# ETCD_NAME=not\nETCD_NAME=one\n ETCD_DATA_DIR=\"/srv/etcd\"\nOTHER=1\nETCD_NAME='two'\nETCD_X=\n";
        let options = PackageOptions::parse(text);
        assert_eq!((options.get("ETCD_NAME"), options.get("ETCD_X")), (Some("two"), None));
        assert_eq!(options.data(), Path::new("/srv/etcd"));
        assert_eq!(options.all(), "ETCD_NAME=one, ETCD_DATA_DIR=/srv/etcd, ETCD_NAME=two, ETCD_X=");
        assert_eq!(PackageOptions::default().data(), Path::new("/var/lib/etcd/default"));
    }
}
