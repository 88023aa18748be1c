//! The model that a command is about: where it is on disk, how its controller is reached and, when it does not
//! run, started. Invariant: whatever was asked is answered by exactly one controller per model.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::api::{LogLine, Reply, Request};
use crate::charm::names;
use crate::controller::make_private;
use crate::model::JujuVersion;
use crate::status::Status;

/// How long a starting controller may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A model by name, whether it exists or not.
#[derive(Debug, Clone)]
pub struct Model {
    home: PathBuf,
    name: String,
    wanted_version: Option<JujuVersion>,
}

/// What is fixed when a model is made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Origin {
    juju_version: JujuVersion,
}

impl Model {
    /// `wanted_version` is what `--juju-version` said, if anything.
    ///
    /// # Errors
    /// The name is none that a model can have.
    pub fn new(home: PathBuf, name: &str, wanted_version: Option<JujuVersion>) -> Result<Self> {
        names::check_model(name)?;
        Ok(Self { home: std::path::absolute(&home)?, name: name.to_owned(), wanted_version })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that everything of it is kept in.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.home.join("models").join(&self.name)
    }

    /// Whether it was made.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.origin_file().exists()
    }

    /// Names of the models below `home`, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(home: &Path) -> Result<Vec<String>> {
        let directory = home.join("models");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", directory.display())),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().join("model.json").exists() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found.sort();
        Ok(found)
    }

    /// The Juju that it imitates.
    ///
    /// # Errors
    /// It does not exist, or `--juju-version` asks for another.
    pub fn version(&self) -> Result<JujuVersion> {
        let text = match fs::read_to_string(self.origin_file()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "model {:?} not found (juju-sim deploy makes it, or juju-sim add-model {})",
                self.name,
                self.name
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", self.origin_file().display()));
            }
        };
        let origin: Origin = serde_json::from_str(&text)
            .with_context(|| format!("cannot read {}", self.origin_file().display()))?;
        match self.wanted_version {
            Some(wanted) if wanted != origin.juju_version => bail!(
                "model {:?} imitates Juju {}, not {}: a model keeps its version",
                self.name,
                origin.juju_version.name(),
                wanted.name()
            ),
            _ => Ok(origin.juju_version),
        }
    }

    /// Makes the model when there is none yet, and starts its controller. Returns whether it was made.
    ///
    /// # Errors
    /// It cannot be made or its controller does not start; then nothing is left of a model that was new.
    pub async fn ensure(&self) -> Result<bool> {
        require_root()?;
        if self.exists() {
            self.version()?;
            self.connect().await?;
            return Ok(false);
        }
        let directory = self.directory();
        make_private(&directory)?;
        let origin = Origin { juju_version: self.wanted_version.unwrap_or(JujuVersion::V3_6) };
        fs::write(self.origin_file(), serde_json::to_vec(&origin)?)
            .with_context(|| format!("cannot write {}", self.origin_file().display()))?;
        if let Err(error) = self.connect().await {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {} after: {error:#}", directory.display()))?;
            return Err(error);
        }
        Ok(true)
    }

    /// Asks the controller and waits for the answer; log lines are passed over.
    ///
    /// # Errors
    /// What the controller answered, or that it cannot be reached.
    pub async fn ask(&self, request: Request) -> Result<Value> {
        self.ask_with(request, |_| Ok(())).await
    }

    /// Asks the controller, hands each log line to `each`, and waits for the answer. A request that changes nothing, or
    /// may be done twice, is made once more when the controller dies before it answers anything.
    ///
    /// # Errors
    /// What the controller answered, that it cannot be reached, or what `each` returned.
    pub async fn ask_with(
        &self,
        request: Request,
        mut each: impl FnMut(LogLine) -> Result<()>,
    ) -> Result<Value> {
        require_root()?;
        self.version()?;
        let may_repeat = is_repeatable(&request);
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        match self.converse(&line, &mut each).await? {
            Some(value) => Ok(value),
            None if may_repeat && !self.exists() => Ok(Value::Null),
            None if may_repeat => self.converse(&line, &mut each).await?.with_context(|| self.hung_up()),
            None => bail!("{}", self.hung_up()),
        }
    }

    fn hung_up(&self) -> String {
        format!("cannot read the answer: the controller of model {:?} ended meanwhile", self.name)
    }

    /// One connection. `None`: the controller was gone before it answered.
    async fn converse(
        &self,
        request: &str,
        each: &mut impl FnMut(LogLine) -> Result<()>,
    ) -> Result<Option<Value>> {
        let mut stream = BufReader::new(self.connect().await?);
        if let Err(error) = stream.get_mut().write_all(request.as_bytes()).await {
            return gone(error).context("cannot write to the controller");
        }
        let mut line = String::new();
        let mut has_answered = false;
        loop {
            line.clear();
            match stream.read_line(&mut line).await {
                Ok(0) if !has_answered => return Ok(None),
                Ok(0) => bail!("{}", self.hung_up()),
                Ok(_) => has_answered = true,
                Err(error) if !has_answered => return gone(error).context("cannot read from the controller"),
                Err(error) => return Err(error).context("cannot read from the controller"),
            }
            match serde_json::from_str(&line).context("cannot understand the controller")? {
                Reply::Log(log) => each(log)?,
                Reply::Done(value) => return Ok(Some(value)),
                Reply::Failed(text) => return Err(anyhow!(text)),
            }
        }
    }

    /// Everything that `status` shows.
    ///
    /// # Errors
    /// Like [`Model::ask`].
    pub async fn status(&self) -> Result<Status> {
        let value = self.ask(Request::Status).await?;
        serde_json::from_value(value).context("cannot understand the status from the controller")
    }

    /// The real name of a unit: `etcd/leader` is the unit that leads, any other name stands for itself.
    ///
    /// # Errors
    /// The application has no leader now, or is not there.
    pub async fn resolve(&self, unit: &str) -> Result<String> {
        let Some(application) = unit.strip_suffix("/leader") else {
            names::split_unit(unit)?;
            return Ok(unit.to_owned());
        };
        let status = self.status().await?;
        let Some(found) = status.applications.get(application) else {
            bail!("application {application:?} not found");
        };
        let leader = found.units.iter().find(|(_, unit)| unit.leader);
        leader
            .map(|(name, _)| name.clone())
            .with_context(|| format!("could not determine leader for {application:?}"))
    }

    /// Whether its controller answers now; never starts it.
    pub async fn is_running(&self) -> bool {
        UnixStream::connect(self.socket()).await.is_ok()
    }

    async fn connect(&self) -> Result<UnixStream> {
        if let Ok(stream) = UnixStream::connect(self.socket()).await {
            return Ok(stream);
        }
        // Two commands at once must not start two controllers: the second waits here and then finds the first's.
        let lock_file = self.directory().join("start.lock");
        let lock =
            File::create(&lock_file).with_context(|| format!("cannot write {}", lock_file.display()))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await?;
        let _lock = lock.with_context(|| format!("cannot lock {}", lock_file.display()))?;
        if let Ok(stream) = UnixStream::connect(self.socket()).await {
            return Ok(stream);
        }
        let mut child = self.start()?;
        let began = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.socket()).await {
                return Ok(stream);
            }
            if child.try_wait().context("cannot watch the controller")?.is_some() {
                bail!("{}", self.last_words());
            }
            if began.elapsed() > START_LIMIT {
                bail!(
                    "cannot reach the controller: it does not answer (its log is {})",
                    self.log_file().display()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn start(&self) -> Result<Child> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .with_context(|| format!("cannot write {}", self.log_file().display()))?;
        // It makes itself the leader of a session of its own, and so outlives this command and its terminal.
        Command::new(program)
            .args(["controller", "--model", &self.name, "--juju-version", self.version()?.name()])
            .env("JUJU_SIM_HOME", &self.home)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot write the controller's log")?)
            .stderr(log)
            .spawn()
            .context("cannot start the controller")
    }

    fn socket(&self) -> PathBuf {
        self.directory().join("controller.sock")
    }

    fn origin_file(&self) -> PathBuf {
        self.directory().join("model.json")
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("controller.log")
    }

    /// The error that a controller that ended at its start wrote, without the leading `ERROR `.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let said = text.lines().rev().find_map(|line| line.strip_prefix("ERROR "));
        said.map_or_else(
            || {
                format!(
                    "cannot start the controller: it ended at once (its log is {})",
                    self.log_file().display()
                )
            },
            ToOwned::to_owned,
        )
    }
}

/// Whether a request may be made again when nobody knows if it was carried out.
fn is_repeatable(request: &Request) -> bool {
    matches!(
        request,
        Request::Status
            | Request::ShowUnit { .. }
            | Request::ConfigGet { .. }
            | Request::Actions { .. }
            | Request::Resources { .. }
            | Request::Operations { .. }
            | Request::ShowTask { .. }
            | Request::WaitTask { .. }
            | Request::Machine { .. }
            | Request::Wait(_)
            | Request::Destroy
    )
}

/// A connection that a dying process took with it is no failure of its own.
fn gone(error: io::Error) -> io::Result<Option<Value>> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(None),
        _ => Err(error),
    }
}

/// Machines need namespaces and mounts, which need root.
///
/// # Errors
/// The user is another.
pub fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "cannot go on without root: juju-sim makes network and mount namespaces for its machines (try sudo)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_the_file_that_made_it() {
        let home = tempfile::tempdir().unwrap();
        assert!(Model::all(home.path()).unwrap().is_empty());
        for name in ["b", "a"] {
            let model = Model::new(home.path().to_owned(), name, None).unwrap();
            fs::create_dir_all(model.directory()).unwrap();
            assert!(!model.exists());
            fs::write(model.origin_file(), r#"{"juju-version":"3.6"}"#).unwrap();
            assert!(model.exists());
        }
        assert_eq!(Model::all(home.path()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_model_keeps_its_version() {
        let home = tempfile::tempdir().unwrap();
        let model = |wanted| Model::new(home.path().to_owned(), "m", wanted).unwrap();
        assert!(model(None).version().unwrap_err().to_string().contains("model \"m\" not found"));
        fs::create_dir_all(model(None).directory()).unwrap();
        fs::write(model(None).origin_file(), r#"{"juju-version":"2.9"}"#).unwrap();
        assert_eq!(model(None).version().unwrap(), JujuVersion::V2_9);
        assert_eq!(model(Some(JujuVersion::V2_9)).version().unwrap(), JujuVersion::V2_9);
        let error = model(Some(JujuVersion::V4_0)).version().unwrap_err().to_string();
        assert_eq!(error, "model \"m\" imitates Juju 2.9, not 4.0: a model keeps its version");
    }
}
