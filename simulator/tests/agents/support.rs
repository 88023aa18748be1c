//! A model of its own for each test, taken down however the test ends.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Where the charms of these tests are.
pub fn charm(name: &str) -> String {
    format!("{}/tests/charms/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A model under a home of its own.
pub struct Lab {
    home: TempDir,
    version: &'static str,
}

impl Lab {
    /// Nothing is made until the first command.
    pub fn new(version: &'static str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), version }
    }

    /// Exit status, standard output, standard error.
    pub fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_juju-sim"))
            .args(["--juju-version", self.version])
            .args(words)
            .env("JUJU_SIM_HOME", self.home.path())
            .env_remove("JUJU_SIM_MODEL")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Standard output of a command that must succeed.
    pub fn must(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {stdout}{stderr}");
        stdout
    }

    /// Deploys the recorder, packed where the imitated Juju wants it so, and waits until it is idle.
    pub fn deploy(&self, name: &str, units: &str, more: &[&str]) {
        let source = charm("recorder");
        let packed = self.home.path().join("recorder.charm");
        let path = if self.version == "4.0" {
            pack(&source, &packed);
            packed.to_str().unwrap().to_owned()
        } else {
            source
        };
        self.must(&[&["deploy", &path, name, "-n", units], more].concat());
        self.settle();
    }

    /// Waits until nothing is left to do.
    pub fn settle(&self) {
        let (code, _, stderr) = self.run(&["lab", "wait", "--idle", "--timeout", "60s"]);
        let log = || self.run(&["debug-log", "--replay", "--no-tail"]).1;
        assert_eq!(code, 0, "{stderr}\n{}", log());
    }

    /// Runs a script in a hook context; both streams, joined.
    pub fn exec(&self, unit: &str, script: &str) -> String {
        let (_, stdout, stderr) = self.run(&["exec", "--unit", unit, "--", &format!("({script}) 2>&1")]);
        stdout + &stderr
    }

    /// Waits, bounded, until a hook of the unit has set this workload message: then all that stands before it in its
    /// script has been done, which the agent's "running" does not tell.
    pub fn await_message(&self, unit: &str, message: &str) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.workload(unit) != format!("maintenance {message}") {
            assert!(
                std::time::Instant::now() < end,
                "{unit} never says {message:?}: {}",
                self.workload(unit)
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Lets the hook or action of this name run a script from now on.
    pub fn on(&self, unit: &str, name: &str, script: &str) {
        let quoted = script.replace('\'', r"'\''");
        assert_eq!(self.exec(unit, &format!("printf '%s' '{quoted}' > /root/on-{name}")), "");
    }

    /// The hooks that ran on a unit since the last time this was asked.
    pub fn hooks(&self, unit: &str) -> Vec<String> {
        let text = self.exec(unit, "touch /var/log/hooks; cat /var/log/hooks; : > /var/log/hooks");
        text.lines().map(str::to_owned).collect()
    }

    /// One value of `status --format json`.
    pub fn status(&self, path: &str) -> String {
        let status: Value = serde_json::from_str(&self.must(&["status", "--format", "json"])).unwrap();
        let found = path.split('.').fold(&status, |value, part| &value[part]);
        found.as_str().map_or_else(|| found.to_string(), str::to_owned)
    }

    /// Workload status word and message of a unit.
    pub fn workload(&self, unit: &str) -> String {
        let application = unit.split('/').next().unwrap();
        let path = format!("applications.{application}.units.{unit}.workload-status");
        let message = self.status(&format!("{path}.message"));
        let message = if message == "null" { String::new() } else { message };
        format!("{} {message}", self.status(&format!("{path}.current")))
    }

    /// A file of this host with some text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Kills the controller as `kill -9` does.
    pub fn kill_controller(&self) {
        let text = std::fs::read_to_string(self.home.path().join("models/default/controller.pid")).unwrap();
        let pid = text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run(&["destroy-model", "--no-prompt"]);
    }
}

fn pack(source: &str, target: &std::path::Path) {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mut archive = zip::ZipWriter::new(std::fs::File::create(target).unwrap());
    for entry in std::fs::read_dir(source).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        archive.start_file(entry.file_name().to_string_lossy(), options).unwrap();
        archive.write_all(&std::fs::read(entry.path()).unwrap()).unwrap();
    }
    archive.finish().unwrap();
}
