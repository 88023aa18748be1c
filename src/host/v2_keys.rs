//! etcd's old v2 store, asked by the installed etcdctl: the API is its own, and etcd's client library has none of it.

use std::path::Path;

use super::etcd_programs;
use crate::process::{ProcessError, Run};

/// How many keys the store shows behind `endpoint` (`https://127.0.0.1:2379`). Reading them writes nothing to etcd's log.
/// Credentials are the files in `directory`.
///
/// # Errors
/// etcdctl is missing, or the store does not answer.
pub async fn v2_keys(endpoint: &str, directory: &str) -> Result<usize, ProcessError> {
    let file = |name: &str| Path::new(directory).join(name);
    let listed = Run::new(etcd_programs().join("etcdctl"))
        .env("ETCDCTL_API", "2")
        .args(["--no-sync", "--endpoints", endpoint])
        .arg("--ca-file")
        .arg(file("ca.crt"))
        .arg("--cert-file")
        .arg(file("client.crt"))
        .arg("--key-file")
        .arg(file("client.key"))
        .args(["ls", "--recursive", "-p", "/"])
        .output()
        .await?;
    Ok(listed.text().lines().filter(|line| !line.is_empty() && !line.ends_with('/')).count())
}
