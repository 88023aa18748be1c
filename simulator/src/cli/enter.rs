//! Commands that run on a machine: `exec` in a hook context, `ssh` and `scp` by entering the machine's namespaces.
//! Invariant: every word of the caller reaches the program as one argument; only `ssh` and `exec` go through a shell,
//! as the real ones do.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::model::Model;
use super::output::{self, Format, say};
use super::words;
use crate::api::Request;

/// What a login on Ubuntu has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";
/// Where a session begins, and what relative remote paths are relative to.
const HOME: &str = "/home/ubuntu";

#[derive(Debug, Args)]
#[command(after_help = "\
One word is run as a script by bash; several words are run as they stand. The hook tools work.

Examples:
  juju-sim exec --unit etcd/0 -- relation-ids cluster
  juju-sim exec --application etcd 'is-leader; hostname'")]
pub(super) struct Exec {
    /// Units (can be repeated, or a comma list)
    #[arg(short, long, value_name = "UNIT", value_delimiter = ',')]
    unit: Vec<String>,
    /// Applications, all of whose units are meant (can be repeated, or a comma list)
    #[arg(short, long, value_name = "APPLICATION", value_delimiter = ',')]
    application: Vec<String>,
    /// How long it may take on each unit
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", value_parser = words::duration,
        default_value = "5m")]
    wait: Duration,
    /// How to print what several units said
    #[arg(long, value_enum, default_value = "tabular")]
    format: Format,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let mut units = Vec::new();
        for unit in &self.unit {
            units.push(model.resolve(unit).await?);
        }
        if !self.application.is_empty() {
            let status = model.status().await?;
            for application in &self.application {
                let Some(found) = status.applications.get(application) else {
                    bail!("application {application:?} not found");
                };
                units.extend(found.units.keys().cloned());
            }
        }
        if units.is_empty() {
            bail!("you must specify a target, either through --unit or --application");
        }
        let script = match self.command.as_slice() {
            [script] => script.clone(),
            words => words::shell_quoted(words),
        };
        let command = vec!["/bin/bash".to_owned(), "-c".to_owned(), script];
        let timeout_ms = words::milliseconds(self.wait);
        let mut results = Map::new();
        for unit in &units {
            let request = Request::Exec { unit: unit.clone(), command: command.clone(), timeout_ms };
            results.insert(unit.clone(), model.ask(request).await?);
        }
        print(&results, self.format)
    }
}

/// One unit's output is passed on as it is; that of several is a document. The largest exit status is ours.
fn print(results: &Map<String, Value>, format: Format) -> Result<u8> {
    if let (1, Format::Tabular, Some(result)) = (results.len(), format, results.values().next()) {
        let text = |key: &str| result.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        say(&text("stdout"))?;
        std::io::stderr().lock().write_all(text("stderr").as_bytes())?;
    } else {
        output::show(results, format)?;
    }
    Ok(worst(results))
}

/// The largest exit status; a signal (told as a negative number) counts from 128, as in a shell.
fn worst(results: &Map<String, Value>) -> u8 {
    let code = |result: &Value| match result.get("return-code").and_then(Value::as_i64).unwrap_or(0) {
        signal if signal < 0 => 128 - signal,
        code => code,
    };
    let worst = results.values().map(code).max().unwrap_or(0);
    u8::try_from(worst.clamp(0, 255)).unwrap_or(1)
}

#[derive(Debug, Args)]
#[command(after_help = "\
The session is root's, in /home/ubuntu. As with the real ssh, the words of a command are joined by blanks
and read by the unit's shell. The hook tools do not work here; use exec for them.

Examples:
  juju-sim ssh etcd/0
  juju-sim ssh etcd/leader 'systemctl status snap.etcd.etcd | head'")]
pub(super) struct Ssh {
    /// Unit
    unit: String,
    /// Command; a login shell when not given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Ssh {
    pub async fn run(self, model: &Model) -> Result<u8> {
        let machine = Inside::of(model, &self.unit).await?;
        let mut shell = machine.command("/bin/bash");
        if self.command.is_empty() {
            shell.arg("-l");
        } else {
            shell.arg("-c").arg(self.command.join(" "));
        }
        // The shell takes the place of this process, so that terminal, signals and exit status are its own.
        Err(shell.exec()).context("cannot enter the machine")
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Remote paths are UNIT:PATH, relative ones below /home/ubuntu. Files are read and written as root.

Examples:
  juju-sim scp etcd/0:/home/ubuntu/etcd_credentials.tar.gz .
  juju-sim scp -r ./certificates etcd/0:/tmp/")]
pub(super) struct Scp {
    /// Copy directories with all that is in them
    #[arg(short)]
    recursive: bool,
    /// Where from
    from: String,
    /// Where to
    to: String,
}

/// A side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Here(PathBuf),
    There { unit: String, path: PathBuf },
}

impl Place {
    /// As `scp` reads it: a colon makes it remote, unless a slash comes before anything that looks like a unit.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((unit, path)) if is_unit(unit) => {
                Self::There { unit: unit.to_owned(), path: Path::new(HOME).join(path) }
            }
            _ => Self::Here(PathBuf::from(text)),
        }
    }
}

fn is_unit(text: &str) -> bool {
    crate::charm::names::split_unit(text).is_ok() || text.ends_with("/leader")
}

impl Scp {
    pub async fn run(self, model: &Model) -> Result<u8> {
        match (Place::parse(&self.from), Place::parse(&self.to)) {
            (Place::There { unit, path }, Place::Here(to)) => {
                download(&Inside::of(model, &unit).await?, &path, &to, self.recursive)?;
            }
            (Place::Here(from), Place::There { unit, path }) => {
                upload(&from, &Inside::of(model, &unit).await?, &path, self.recursive)?;
            }
            (Place::There { .. }, Place::There { .. }) => {
                bail!("cannot copy from one unit to another at once: copy to this host first");
            }
            (Place::Here(_), Place::Here(_)) => bail!("cannot copy: neither side names a unit"),
        }
        Ok(0)
    }
}

/// A running machine, entered through its first process.
struct Inside {
    init_pid: u64,
}

impl Inside {
    async fn of(model: &Model, unit: &str) -> Result<Self> {
        let unit = model.resolve(unit).await?;
        let answer = model.ask(Request::Machine { unit: unit.clone() }).await?;
        let init_pid = answer.get("init-pid").and_then(Value::as_u64);
        Ok(Self {
            init_pid: init_pid.with_context(|| format!("cannot enter {unit}: its machine is not running"))?,
        })
    }

    /// `program` inside, as root in [`HOME`], with a login's environment.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init_pid.to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root"]);
        command.arg(format!("--wdns={HOME}")).arg("--").arg(program);
        command.env_clear().env("PATH", PATH).env("HOME", HOME).env("USER", "root").env("LOGNAME", "root");
        for name in ["TERM", "LANG", "LC_ALL"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Whether a path inside is a directory.
    fn is_directory(&self, path: &Path) -> Result<bool> {
        let status = self.command("test").arg("-d").arg(path).status().context("cannot enter the machine")?;
        Ok(status.success())
    }

    /// Permission bits of a path inside, with links followed; `None` when it is not there.
    fn mode(&self, path: &Path) -> Result<Option<u32>> {
        let output = self.command("stat").args(["-L", "-c", "%a", "--"]).arg(path).output();
        let output = output.context("cannot enter the machine")?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Some(u32::from_str_radix(text.trim(), 8).context("cannot read the mode of the file")? & 0o777))
    }
}

fn download(machine: &Inside, from: &Path, to: &Path, recursive: bool) -> Result<()> {
    if machine.is_directory(from)? {
        if !recursive {
            bail!("{}: not a regular file", from.display());
        }
        let target = if to.is_dir() { to.join(last_name(from)?) } else { to.to_owned() };
        std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
        let mut pack = machine.command("tar");
        pack.arg("-C").arg(from).args(["-chf", "-", "."]);
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(&target).args(["--no-same-owner", "-xf", "-"]);
        return pipe(pack, unpack);
    }
    let target = if to.is_dir() { to.join(last_name(from)?) } else { to.to_owned() };
    let mode =
        machine.mode(from)?.with_context(|| format!("{}: No such file or directory", from.display()))?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&target);
    let file = file.with_context(|| format!("cannot write {}", target.display()))?;
    let status = machine.command("cat").arg("--").arg(from).stdout(file).status();
    check(status.context("cannot enter the machine")?.success(), "copy")
}

fn upload(from: &Path, machine: &Inside, to: &Path, recursive: bool) -> Result<()> {
    let found = std::fs::metadata(from).with_context(|| format!("cannot open {}", from.display()))?;
    let target =
        if machine.is_directory(to)? { to.join(last_name(&absolute(from)?)?) } else { to.to_owned() };
    if found.is_dir() {
        if !recursive {
            bail!("{}: not a regular file", from.display());
        }
        let made = machine.command("mkdir").arg("-p").arg("--").arg(&target).status();
        check(made.context("cannot enter the machine")?.success(), "create the directory")?;
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(from).args(["-chf", "-", "."]);
        let mut unpack = machine.command("tar");
        unpack.arg("-C").arg(&target).args(["--no-same-owner", "-xf", "-"]);
        return pipe(pack, unpack);
    }
    let file = std::fs::File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
    let mut copy = machine.command("/bin/sh");
    // As with scp, a new file gets the mode of the old one, an existing one keeps its own.
    let script = "umask 022; [ -e \"$1\" ] || { : >\"$1\" && chmod \"$2\" \"$1\"; } && cat >\"$1\"";
    let mode = format!("{:o}", found.permissions().mode() & 0o755);
    copy.args(["-c", script, "sh"]).arg(&target).arg(mode).stdin(file);
    check(copy.status().context("cannot enter the machine")?.success(), "copy")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| format!("cannot open {}", path.display()))
}

fn last_name(path: &Path) -> Result<&std::ffi::OsStr> {
    path.file_name().with_context(|| format!("cannot name a copy of {}", path.display()))
}

fn check(succeeded: bool, what: &str) -> Result<()> {
    if !succeeded {
        bail!("cannot {what} on the machine");
    }
    Ok(())
}

/// Runs both, the first one's output being the second one's input.
fn pipe(mut from: Command, mut to: Command) -> Result<()> {
    let mut source = from.stdout(Stdio::piped()).spawn().context("cannot read the files")?;
    let input = source.stdout.take().context("cannot read the files")?;
    let written = to.stdin(input).status().context("cannot write the files")?;
    let read = source.wait().context("cannot read the files")?;
    check(read.success() && written.success(), "copy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_side_is_remote_when_a_unit_stands_before_the_colon() {
        let there = |unit: &str, path: &str| Place::There { unit: unit.into(), path: path.into() };
        assert_eq!(Place::parse("etcd/0:x.tar.gz"), there("etcd/0", "/home/ubuntu/x.tar.gz"));
        assert_eq!(Place::parse("etcd/0:/tmp/a:b"), there("etcd/0", "/tmp/a:b"));
        assert_eq!(Place::parse("etcd/leader:"), there("etcd/leader", "/home/ubuntu/"));
        assert_eq!(Place::parse("./etcd/0:x"), Place::Here("./etcd/0:x".into()));
        assert_eq!(Place::parse("file"), Place::Here("file".into()));
    }

    #[test]
    fn the_exit_status_of_exec_is_the_largest() {
        let results =
            json!({"a/0": {"return-code": 0}, "a/1": {"return-code": 3}, "a/2": {"return-code": 1}});
        assert_eq!(worst(results.as_object().unwrap()), 3);
        let killed = json!({"a/0": {"return-code": -9}});
        assert_eq!(worst(killed.as_object().unwrap()), 137);
    }
}
