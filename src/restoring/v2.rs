//! A backup of the v2 store becomes a member's data directory: etcd runs on it once beside the server in service, alone
//! on loopback ports, so that the backup is proved and the member gets this unit's address.
//!
//! Source: etcd's documentation of v2 disaster recovery; only versions before 3.6 can do it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::etcd::{self, Client, ClusterId, Credentials};
use crate::host::{directory, files};
use crate::process::Run;

const PAUSE: Duration = Duration::from_millis(200);

/// What a backup is turned into.
#[derive(Debug)]
pub struct Member<'a> {
    /// Where etcd's programs are.
    pub programs: &'a Path,
    /// The configuration of this unit's server.
    pub config: &'a str,
    /// Credentials that it accepts.
    pub credentials: &'a Credentials,
    /// Peer URL of this unit.
    pub peer_url: &'a str,
    /// Longest time for each step.
    pub patience: Duration,
}

/// Turns the data directory `backup` into one in `data`, which must not exist. Yields the cluster that it belongs to:
/// etcd's tool gives a new identity up to 3.4, and keeps the one in the backup from 3.5 on.
///
/// # Errors
/// etcd's tool or server refuses the backup; there may be files in `data` then.
pub async fn rebuild(member: &Member<'_>, backup: &Path, data: &Path) -> Result<ClusterId> {
    copy(member, backup, data).await?;
    let ports = free_ports()?;
    let text = etcd::start_beside(member.config, data, ports)?;
    let config = data.with_extension("conf");
    files::write_atomic(&config, text.as_bytes(), 0o600).context("cannot write a configuration")?;
    // It ends with this process, however that ends.
    let server = Run::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(member.programs.join("etcd"))
        .arg("--config-file")
        .arg(&config)
        .timeout(2 * member.patience)
        .output();
    let cluster = tokio::select! {
        ended = server => match ended {
            Ok(output) => bail!("etcd ended on the backup of v2 keys: {}", output.stderr),
            Err(error) => Err(error).context("etcd cannot run on the backup of v2 keys"),
        },
        settled = settle(member, ports[0]) => settled,
    }?;
    directory::sync(data).context("cannot make the restored data durable")?;
    Ok(cluster)
}

/// Only a copy by etcd's own tool: it drops what the backup tells of other members.
async fn copy(member: &Member<'_>, backup: &Path, data: &Path) -> Result<()> {
    let mut run = Run::new(member.programs.join("etcdctl"))
        .arg("backup")
        .arg("--data-dir")
        .arg(backup)
        .arg("--backup-dir")
        .arg(data)
        .env("ETCDCTL_API", "2")
        .timeout(member.patience);
    let database = backup.join("member/snap/db");
    if database.try_exists().with_context(|| format!("cannot look at {}", database.display()))? {
        run = run.arg("--with-v3");
    }
    run.output().await.context("etcd's own tool refuses the backup of v2 keys; nothing was changed")?;
    Ok(())
}

/// Two ports that nobody listens on now.
fn free_ports() -> Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen()?, listen()?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

/// Waits until the server is a quorum of its own, and gives its member the address of this unit.
async fn settle(member: &Member<'_>, port: u16) -> Result<ClusterId> {
    let client = Client::connect(&etcd::loopback(port), member.credentials)?;
    let deadline = Instant::now() + member.patience;
    while let Err(error) = client.confirm_quorum().await {
        if Instant::now() > deadline {
            return Err(error).context("etcd does not serve the backup of v2 keys; nothing was changed");
        }
        tokio::time::sleep(PAUSE).await;
    }
    let members = client.members().await?;
    let [only] = &members[..] else {
        bail!("the backup of v2 keys still counts {} members; nothing was changed", members.len())
    };
    client.update_peer_urls(only.id, &[member.peer_url.to_owned()]).await?;
    Ok(client.status().await?.cluster)
}
