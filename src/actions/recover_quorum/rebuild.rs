//! Makes this unit's member the only one of its cluster, with its data. The data of before is copied first; whatever
//! fails puts it back. A run that is killed leaves a server that nobody else can reach, or the one of before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::actions::tell;
use crate::backup;
use crate::clock;
use crate::decide::COMMON;
use crate::etcd::{self, Client, Credentials, replaced_by_start_alone, start_alone};
use crate::host::{self, directory, files};
use crate::juju::Tools;
use crate::observe;
use crate::world::Host;

/// Bytes that stay free on the disk beside the copy: etcd begins a new log file of 64 MB.
const RESERVE: u64 = 128 << 20;
const PAUSE: Duration = Duration::from_millis(300);
/// More failed starts than this are no bad luck.
const RESTARTS_MAX: u32 = 3;

/// Everything that is needed, found out before anything is changed.
pub(super) struct Rebuild<'a> {
    /// `…/member`.
    member: PathBuf,
    config: String,
    alone: String,
    endpoint: String,
    credentials: Credentials,
    bytes: u64,
    tools: &'a Tools,
}

impl<'a> Rebuild<'a> {
    /// Looks at what stands on this machine. `data`: the data directory.
    ///
    /// # Errors
    /// What is missing.
    pub fn prepare(host: &Host, data: &Path, tools: &'a Tools) -> Result<Rebuild<'a>> {
        let text =
            host.config.clone().context("cannot recover without etcd's configuration file on this unit")?;
        let config = replaced_by_start_alone(&text).unwrap_or(text);
        let alone = start_alone(&config)?;
        let credentials = host.credentials.as_ref().map(Credentials::from);
        let credentials = credentials.context("cannot recover without certificates on this unit")?;
        let endpoint = observe::own_endpoints(host).into_iter().next();
        let endpoint = endpoint.context("cannot tell where etcd listens on this unit")?;
        let member = data.join("member");
        let bytes = directory::size(&member).with_context(|| format!("cannot read {}", member.display()))?;
        Ok(Rebuild { member, config, alone, endpoint, credentials, bytes, tools })
    }

    /// Does it all. Yields where the data of before is kept.
    ///
    /// # Errors
    /// Why not; everything is as before then.
    pub async fn run(&self) -> Result<PathBuf> {
        self.check_space()?;
        tell(self.tools, "stopping etcd and keeping a copy of its data").await;
        let service = host::etcd_service();
        service.stop().await.context("cannot stop etcd")?;
        let kept = match self.keep().await {
            Ok(kept) => kept,
            Err(error) => {
                start().await?;
                return Err(error.context("nothing was changed"));
            }
        };
        let Err(error) = self.alone_and_back().await else { return Ok(kept) };
        tell(self.tools, "putting the data of before back").await;
        match self.put_back(&kept).await {
            Ok(()) => Err(error.context("the data of before was put back")),
            Err(worse) => Err(error.context(format!(
                "cannot put the data of before back: {worse:#}; stop etcd and move {} to {}",
                kept.display(),
                self.member.display()
            ))),
        }
    }

    /// The second half alone, for a run that was killed before it.
    ///
    /// # Errors
    /// etcd does not serve with its usual configuration.
    pub async fn finish(&self) -> Result<()> {
        tell(self.tools, "starting etcd with its usual configuration").await;
        host::etcd_service().stop().await.context("cannot stop etcd")?;
        self.start_with(&self.config).await
    }

    fn check_space(&self) -> Result<()> {
        let needed = self.bytes + RESERVE;
        let free = files::free_bytes(&self.member).context("cannot tell how much space is free")?;
        if free < needed {
            let (needed, free) = (needed.div_ceil(1 << 20), free >> 20);
            bail!(
                "cannot keep a copy of the data beside {}: {free} MiB are free, {needed} MiB are needed; make space and run it again",
                self.member.display()
            );
        }
        Ok(())
    }

    async fn keep(&self) -> Result<PathBuf> {
        let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", self.member.display()));
        let kept = beside(&format!("before-recovery-{}", backup::stamp(clock::now_s())));
        let (from, partial, to) = (self.member.clone(), beside("recovery.partial"), kept.clone());
        let copied = tokio::task::spawn_blocking(move || directory::copy(from, partial, to)).await?;
        copied.context("cannot copy the data of before")?;
        Ok(kept)
    }

    async fn alone_and_back(&self) -> Result<()> {
        self.commit_all().await?;
        tell(self.tools, "starting etcd alone with this unit's data").await;
        self.start_with(&self.alone).await?;
        self.finish().await
    }

    /// Else etcd would throw away the last writes of a server that was cut off.
    async fn commit_all(&self) -> Result<()> {
        let log = self.member.join("wal");
        match tokio::task::spawn_blocking(move || etcd::commit_all(&log)).await? {
            Ok(0) => {}
            Ok(entries) => {
                tell(
                    self.tools,
                    &format!("keeping {entries} entries of the log not yet recorded as committed"),
                )
                .await;
            }
            // etcd itself will say whether it can use the log; what the record covers is then all that it keeps.
            Err(error) => {
                tell(self.tools, &format!("the last writes may be missing afterwards: {error}")).await;
            }
        }
        Ok(())
    }

    async fn start_with(&self, config: &str) -> Result<()> {
        files::write_atomic(format!("{COMMON}/etcd.conf.yml"), config.as_bytes(), 0o600)
            .context("cannot write etcd's configuration")?;
        start().await?;
        let client = Client::connect(&self.endpoint, &self.credentials)?;
        let deadline = Instant::now() + etcd::patience(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        let mut says = "nothing".to_owned();
        while Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            match serves_alone(&client).await {
                Ok(()) => return Ok(()),
                Err(error) => says = error.to_string(),
            }
            let service = host::etcd_service();
            if service.state().await?.restarts > RESTARTS_MAX {
                says = observe::last_words().await;
                break;
            }
        }
        bail!("etcd does not start on this unit's data: {says}")
    }

    async fn put_back(&self, kept: &Path) -> Result<()> {
        host::etcd_service().stop().await.context("cannot stop etcd")?;
        directory::exchange(kept, &self.member).context("cannot exchange the directories")?;
        files::write_atomic(format!("{COMMON}/etcd.conf.yml"), self.config.as_bytes(), 0o600)
            .context("cannot write etcd's configuration")?;
        start().await?;
        directory::remove_if_exists(kept).context("cannot remove what the attempt has left")
    }
}

/// The service, whatever it went through before. It is not waited for here.
async fn start() -> Result<()> {
    host::etcd_service().bring_up().await.context("cannot start etcd")
}

async fn serves_alone(client: &Client) -> Result<()> {
    client.confirm_quorum().await?;
    let members = client.members().await?.len();
    if members != 1 {
        bail!("it still counts {members} members");
    }
    Ok(())
}
