//! Makes this unit's member the only one of its cluster, with its data. The data of before is copied first; whatever fails
//! puts it back, and what the attempt has made of it is kept too. A run that is killed leaves a server that nobody else can
//! reach, or none; the mark beside it ([`Recovery`]) tells the next run how far it has come.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::backup;
use crate::clock;
use crate::decide::COMMON;
use crate::etcd::{self, Client, Credentials, replaced_by_start_alone, start_alone};
use crate::host::{self, directory, files};
use crate::juju::Tools;
use crate::observe;
use crate::recovering::{Generation, Phase, Recovery};
use crate::world::Host;

/// Bytes that stay free on the disk beside the copy: etcd begins a new log file of 64 MB.
const RESERVE: u64 = 128 << 20;
const PAUSE: Duration = Duration::from_millis(300);
/// More failed starts than this are no bad luck.
const RESTARTS_MAX: u32 = 3;

/// Everything that is needed, found out before anything is changed.
pub(crate) struct Rebuild<'a> {
    data: PathBuf,
    config: String,
    alone: String,
    endpoint: String,
    credentials: Credentials,
    tools: &'a Tools,
}

impl<'a> Rebuild<'a> {
    /// Looks at what stands on this machine.
    ///
    /// # Errors
    /// What is missing.
    pub fn prepare(host: &Host, tools: &'a Tools) -> Result<Rebuild<'a>> {
        let text =
            host.config.clone().context("cannot recover without etcd's configuration file on this unit")?;
        let config = replaced_by_start_alone(&text).unwrap_or(text);
        let alone = start_alone(&config)?;
        let credentials = host.credentials.as_ref().map(Credentials::from);
        let credentials = credentials.context("cannot recover without certificates on this unit")?;
        let endpoint = observe::own_endpoints(host).into_iter().next();
        let endpoint = endpoint.context("cannot tell where etcd listens on this unit")?;
        Ok(Rebuild { data: PathBuf::from(&host.place.data), config, alone, endpoint, credentials, tools })
    }

    /// Does it all. Yields where the data of before is kept.
    ///
    /// # Errors
    /// Why not. Everything is as before then, unless the message says otherwise.
    pub async fn run(&self, generation: Generation) -> Result<PathBuf> {
        self.check_space()?;
        let name = format!("member.before-recovery-{}", backup::stamp(clock::now_s()));
        let kept = directory::free_name(self.data.join(name)).context("cannot name the copy of the data")?;
        let mut recovery = Recovery::of(&kept, generation);
        recovery.reach(Phase::Copying)?;
        self.tell("stopping etcd and keeping a copy of its data").await;
        if let Err(error) = keep(&recovery).await {
            self.put_back(&mut recovery).await?;
            return Err(error.context("nothing was changed"));
        }
        self.go_on(recovery).await?;
        Ok(kept)
    }

    /// From a whole copy to a member that serves everybody. Also for a run that was killed on this way.
    ///
    /// # Errors
    /// Why not. Everything is as before then, unless the message says otherwise.
    pub async fn go_on(&self, mut recovery: Recovery) -> Result<()> {
        if recovery.phase != Phase::Recovered
            && let Err(error) = self.prove_alone(&mut recovery).await
        {
            self.tell("putting the data of before back").await;
            return Err(match self.put_back(&mut recovery).await {
                Ok(()) => error.context("the data of before was put back"),
                Err(worse) => error.context(format!(
                    "cannot put the data of before back: {worse:#}; it is in {}, and the next hook tries again",
                    recovery.kept.display()
                )),
            });
        }
        // Others may have reached it from here on, and been told that their writes are safe: there is no way back.
        self.tell("starting etcd with its usual configuration").await;
        host::etcd_service().stop().await.context("cannot stop etcd")?;
        let served =
            self.start_with(&self.config, async |client| Ok(client.prove_quorum().await.map(drop)?));
        // The mark stays until the other units can read of it.
        served
            .await
            .context("the member is recovered and does not serve yet; every hook tries again, see its status")
    }

    /// The data of before is in place again and etcd runs on it as it did.
    ///
    /// # Errors
    /// What keeps it from that; running it again goes on.
    pub async fn put_back(&self, recovery: &mut Recovery) -> Result<()> {
        host::etcd_service().disable_now().await.context("cannot stop etcd")?;
        match recovery.phase {
            Phase::Copying => directory::remove_if_exists(recovery.partial())
                .context("cannot remove the unfinished copy of the data")?,
            Phase::Alone | Phase::GoingBack => {
                recovery.reach(Phase::GoingBack)?;
                if let Some(attempt) = put_back(&recovery.kept, &recovery.member())? {
                    tracing::info!(kept = %attempt.display(), "what the attempt has left was kept");
                }
            }
            Phase::Recovered => bail!("the recovered member has served"),
        }
        self.write(&self.config)?;
        Recovery::end()?;
        start().await
    }

    fn check_space(&self) -> Result<()> {
        let member = self.data.join("member");
        let bytes = directory::size(&member).with_context(|| format!("cannot read {}", member.display()))?;
        let free = files::free_bytes(&member).context("cannot tell how much space is free")?;
        let needed = bytes + RESERVE;
        if free < needed {
            let (needed, free) = (needed.div_ceil(1 << 20), free >> 20);
            bail!(
                "cannot keep a copy of the data beside {}: {free} MiB are free, {needed} MiB are needed; make space and run it again",
                member.display()
            );
        }
        Ok(())
    }

    /// The configuration goes before the log: an ordinary start on a log whose end was declared committed would tell the other
    /// members what they never agreed on. The service is not enabled until both are there.
    async fn prove_alone(&self, recovery: &mut Recovery) -> Result<()> {
        host::etcd_service().disable_now().await.context("cannot stop etcd")?;
        recovery.reach(Phase::Alone)?;
        self.write(&self.alone)?;
        self.commit_all(&recovery.member()).await?;
        self.tell("starting etcd alone with this unit's data").await;
        self.start_with(&self.alone, serves_alone).await?;
        recovery.reach(Phase::Recovered)
    }

    /// Else etcd would throw away the last writes of a server that was cut off.
    async fn commit_all(&self, member: &Path) -> Result<()> {
        let log = member.join("wal");
        match tokio::task::spawn_blocking(move || etcd::commit_all(&log)).await? {
            Ok(0) => {}
            Ok(entries) => {
                self.tell(&format!("keeping {entries} entries of the log not yet recorded as committed"))
                    .await;
            }
            // etcd itself will say whether it can use the log; what the record covers is then all that it keeps.
            Err(error) => {
                self.tell(&format!("the last writes may be missing afterwards: {error}")).await;
            }
        }
        Ok(())
    }

    async fn start_with(&self, config: &str, serves: impl AsyncFn(&Client) -> Result<()>) -> Result<()> {
        self.write(config)?;
        start().await?;
        let client = Client::connect(&self.endpoint, &self.credentials)?;
        let bytes = directory::size(self.data.join("member")).unwrap_or(0);
        let deadline = Instant::now() + etcd::patience(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut says = "nothing".to_owned();
        while Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            match serves(&client).await {
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

    fn write(&self, config: &str) -> Result<()> {
        files::write_atomic(format!("{COMMON}/etcd.conf.yml"), config.as_bytes(), 0o600)
            .context("cannot write etcd's configuration")?;
        Ok(())
    }

    /// Shows a line to whoever waits for the action; a hook has nobody who waits.
    async fn tell(&self, line: &str) {
        tracing::info!("{line}");
        if let Err(error) = self.tools.action_log(line).await {
            tracing::debug!(%error, line, "the progress was not shown");
        }
    }
}

/// Stops the server, also for the next boot, and copies its data.
async fn keep(recovery: &Recovery) -> Result<()> {
    host::etcd_service().disable_now().await.context("cannot stop etcd")?;
    let (from, partial, to) = (recovery.member(), recovery.partial(), recovery.kept.clone());
    let copied = tokio::task::spawn_blocking(move || directory::copy(from, partial, to)).await?;
    copied.context("cannot copy the data of before")
}

/// The data of before into its place. Yields where the attempt is kept, when it was in that place. May be repeated from
/// whatever a killed run has left.
fn put_back(kept: &Path, member: &Path) -> Result<Option<PathBuf>> {
    let exists =
        |path: &Path| path.try_exists().with_context(|| format!("cannot look at {}", path.display()));
    match (exists(kept)?, exists(member)?) {
        (false, true) => Ok(None),
        (false, false) => bail!("neither {} nor {} is there", kept.display(), member.display()),
        (true, is_there) => {
            let attempt = is_there
                .then(|| files::move_aside(member, "recovery-failed"))
                .transpose()
                .context("cannot move what the attempt has left aside")?;
            files::publish(kept, member).with_context(|| format!("cannot move {} back", kept.display()))?;
            Ok(attempt)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_keeps_everything_and_may_be_cut_off_anywhere() {
        for cut_off_after in 0..3 {
            let home = tempfile::tempdir().unwrap();
            let at = |name: &str| home.path().join(name);
            let (kept, member) = (at("member.before-recovery-1"), at("member"));
            for (path, text) in [(&kept, "before"), (&member, "attempt")] {
                std::fs::create_dir(path).unwrap();
                std::fs::write(path.join("data"), text).unwrap();
            }
            if cut_off_after > 0 {
                files::move_aside(&member, "recovery-failed").unwrap();
            }
            if cut_off_after > 1 {
                files::publish(&kept, &member).unwrap();
            }
            let attempt = put_back(&kept, &member).unwrap();
            assert_eq!(attempt.is_some(), cut_off_after == 0);
            assert_eq!(std::fs::read_to_string(member.join("data")).unwrap(), "before");
            let names = files::list(home.path()).unwrap();
            let attempt = names.iter().find(|name| name.starts_with("member.recovery-failed-")).unwrap();
            assert_eq!(std::fs::read_to_string(at(attempt).join("data")).unwrap(), "attempt");
            assert!(put_back(&kept, &member).unwrap().is_none(), "once more changes nothing");
        }
    }

    #[test]
    fn where_neither_copy_is_there_nothing_is_said_to_be_back() {
        let home = tempfile::tempdir().unwrap();
        let error = put_back(&home.path().join("kept"), &home.path().join("member")).unwrap_err();
        assert!(error.to_string().starts_with("neither "), "{error}");
    }
}
