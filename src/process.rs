//! Runs other programs: the only place of the charm that does. No shell, every run bounded in time, every failure
//! names what was run; secrets travel by standard input or file, never in an argument.

use std::ffi::{OsStr, OsString};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Time a program gets when the caller sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that the streams get to end after the program itself ended: a child that it left behind may keep them open.
const STREAM_GRACE: Duration = Duration::from_secs(1);
/// Bytes kept of standard error, counted from its end, where programs say what went wrong.
const STDERR_TAIL_BYTES: usize = 4096;

/// Why a program did not do what it was run for. Messages carry the arguments, never the standard input.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such program on this host.
    #[error("cannot run {program}: it is not on this host")]
    Missing {
        /// Name or path as given.
        program: String,
    },
    /// The program could not be started or watched.
    #[error("cannot run {argv}")]
    Start {
        /// Program and arguments.
        argv: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The program did not end in time; it and everything in its process group was killed.
    #[error("cannot finish {argv} within {after_ms} ms: {stderr}")]
    TimedOut {
        /// Program and arguments.
        argv: String,
        /// The limit in milliseconds.
        after_ms: u128,
        /// End of standard error, at most 4 KiB.
        stderr: String,
    },
    /// The program ended with a failure.
    #[error("cannot complete {argv} ({outcome}): {stderr}")]
    Failed {
        /// Program and arguments.
        argv: String,
        /// `exit 1` or `signal 9`.
        outcome: String,
        /// Exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// End of standard error, at most 4 KiB; of standard output when standard error is empty.
        stderr: String,
    },
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, complete.
    pub stdout: Vec<u8>,
    /// End of standard error, at most 4 KiB.
    pub stderr: String,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 become replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// One run of one program, described before it starts.
#[derive(Clone)]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
    environment: Vec<(OsString, OsString)>,
}

impl std::fmt::Debug for Run {
    /// Leaves out the standard input, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({})", self.argv())
    }
}

impl Run {
    /// `program` is a path, or a name looked for in `PATH`. It gets this process's environment, no standard
    /// input, and 60 s.
    pub fn new(program: impl AsRef<OsStr>) -> Run {
        Run {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            environment: Vec::new(),
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Bytes for standard input, which ends after them.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Run {
        self.stdin = Some(bytes.into());
        self
    }

    /// Longest time the program may take.
    pub fn timeout(mut self, timeout: Duration) -> Run {
        self.timeout = timeout;
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Run {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the program for its output; anything but exit code 0 is an error.
    ///
    /// # Errors
    /// Every [`ProcessError`].
    pub async fn output(self) -> Result<Output, ProcessError> {
        let argv = self.argv();
        let (output, status) = self.run(&argv).await?;
        if status.success() {
            return Ok(output);
        }
        let said = if output.stderr.trim().is_empty() { tail(&output.stdout) } else { output.stderr };
        Err(ProcessError::Failed {
            argv,
            outcome: outcome(status),
            code: output.code,
            stderr: said.trim().to_owned(),
        })
    }

    /// Runs the program where a failing exit code is an answer too.
    ///
    /// # Errors
    /// Every [`ProcessError`] but `Failed`.
    pub async fn status(self) -> Result<Output, ProcessError> {
        let argv = self.argv();
        Ok(self.run(&argv).await?.0)
    }

    /// Program and arguments in one line, for messages.
    fn argv(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    async fn run(mut self, argv: &str) -> Result<(Output, ExitStatus), ProcessError> {
        let started = Instant::now();
        let mut child = self.spawn(argv)?;
        let group = Group::of(&child);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let stdin = self.stdin.take();
        let waited =
            tokio::time::timeout(self.timeout, watch(&mut child, stdin, &mut stdout, &mut stderr)).await;
        let duration_ms = started.elapsed().as_millis();
        let Ok(ended) = waited else {
            drop(group);
            tracing::debug!(run = argv, duration_ms, "killed a program that took too long");
            return Err(ProcessError::TimedOut {
                argv: argv.to_owned(),
                after_ms: self.timeout.as_millis(),
                stderr: tail(&stderr).trim().to_owned(),
            });
        };
        group.leave_alone();
        let status = ended.map_err(|source| ProcessError::Start { argv: argv.to_owned(), source })?;
        tracing::debug!(run = argv, outcome = outcome(status), duration_ms, "ran a program");
        Ok((Output { code: status.code(), stdout, stderr: tail(&stderr) }, status))
    }

    fn spawn(&self, argv: &str) -> Result<Child, ProcessError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                ProcessError::Missing { program: self.program.to_string_lossy().into_owned() }
            }
            _ => ProcessError::Start { argv: argv.to_owned(), source },
        })
    }
}

/// Feeds and drains the program's streams while waiting for its end, so that neither side can block the other.
async fn watch(
    child: &mut Child,
    stdin: Option<Vec<u8>>,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> std::io::Result<ExitStatus> {
    let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let (Some(mut to), Some(bytes)) = (to, stdin) {
            // A program that ends without reading its input has decided so; its exit code tells the rest.
            let _ = to.write_all(&bytes).await;
        }
    };
    let streams =
        async { tokio::join!(feed, drain(out, stdout, usize::MAX), drain(err, stderr, STDERR_TAIL_BYTES)) };
    tokio::pin!(streams);
    tokio::select! {
        status = child.wait() => {
            let _ = tokio::time::timeout(STREAM_GRACE, &mut streams).await;
            status
        }
        _ = &mut streams => child.wait().await,
    }
}

/// Reads a stream to its end and keeps the last `keep` bytes of it (up to double while reading).
async fn drain(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, keep: usize) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => into.extend_from_slice(&chunk[..count]),
        }
        if into.len() / 2 > keep {
            into.drain(..into.len() - keep);
        }
    }
}

/// The last 4 KiB as text, from a character's start.
fn tail(bytes: &[u8]) -> String {
    let mut start = bytes.len().saturating_sub(STDERR_TAIL_BYTES);
    while start < bytes.len() && start > 0 && bytes[start] & 0xC0 == 0x80 {
        start += 1;
    }
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// `exit 1` or `signal 9`.
fn outcome(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown end".to_owned(),
    }
}

/// The process group of a running program: killed whole when this value goes, be it by the time limit or because
/// the caller stopped waiting.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// The program ended by itself; what it may have left running on purpose is not ours to end.
    fn leave_alone(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The only failure is that the group has gone already.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Run {
        Run::new("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn output_and_input_pass_through_unchanged_and_without_blocking() {
        let input: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let output = Run::new("cat").stdin(input.clone()).output().await.unwrap();
        assert_eq!(output.stdout, input);
        assert_eq!(output.code, Some(0));
    }

    #[tokio::test]
    async fn a_program_that_ignores_its_input_still_succeeds() {
        shell("exit 0").stdin(vec![b'x'; 1_000_000]).output().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_names_arguments_exit_code_and_the_end_of_stderr() {
        let error = shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 3")
            .output()
            .await
            .unwrap_err();
        let ProcessError::Failed { code, outcome, stderr, argv } = error else { panic!("{error}") };
        assert_eq!((code, outcome.as_str()), (Some(3), "exit 3"));
        assert!(stderr.ends_with("the end") && stderr.len() <= STDERR_TAIL_BYTES);
        assert!(argv.starts_with("sh -c head"));
    }

    #[tokio::test]
    async fn a_failing_exit_code_can_be_an_answer() {
        let output = shell("echo yes; echo why >&2; exit 4").status().await.unwrap();
        assert_eq!((output.code, output.text(), output.stderr), (Some(4), "yes\n".into(), "why\n".into()));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_apart() {
        let error = Run::new("no-such-program-at-all").output().await.unwrap_err();
        assert!(matches!(error, ProcessError::Missing { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_time_limit_kills_the_program_and_its_children() {
        let run = shell("sleep 300 & echo $! >&2; wait").timeout(Duration::from_millis(300));
        let ProcessError::TimedOut { stderr, .. } = run.output().await.unwrap_err() else {
            panic!("not timed out")
        };
        let grandchild = stderr.trim().to_owned();
        for _ in 0..100 {
            // A killed process may stay as a zombie where nothing reaps orphans: what counts is that it does not run.
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {grandchild} is still running");
    }

    #[tokio::test]
    async fn a_child_left_in_the_background_does_not_hold_the_caller() {
        let started = Instant::now();
        let output = shell("sleep 3 & echo done").output().await.unwrap();
        assert_eq!(output.text(), "done\n");
        assert!(started.elapsed() < Duration::from_millis(2500));
    }

    #[tokio::test]
    async fn the_environment_reaches_the_program() {
        let output = shell("echo $COLOUR").env("COLOUR", "blue").output().await.unwrap();
        assert_eq!(output.text(), "blue\n");
    }
}
