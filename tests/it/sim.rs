//! Drives `juju-sim` as an operator would: by its command line, one model a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod kills;
mod ledger;
mod writer;

use ledger::{Ledger, Writes};
pub use writer::Writer;

/// Where a consumer keeps what it was told, and what it writes.
const DATA: &str = "/var/lib/consumer";

/// Longest wait for a model to settle. Two cores carry two models at once.
const SETTLE_S: u64 = 240;

/// Shell: `patiently etcdctl …` as root runs it asks again while a busy machine keeps the cluster from answering in time or
/// from having a leader. What etcd refuses is told at once.
pub const ETCDCTL: &str = r#". /etc/profile.d/etcd.sh
patiently() {
    tries=0
    until "$@" >/tmp/told 2>/tmp/refused; do
        tries=$((tries+1))
        if [ $tries -ge 10 ] || ! grep -Eq 'deadline exceeded|timed out|leader changed|no leader' /tmp/refused; then
            cat /tmp/refused >&2
            return 1
        fi
    done
    cat /tmp/told
}"#;

/// What a model is made of.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// `--juju-version`.
    pub juju: &'static str,
    /// The channel etcd is installed from.
    pub channel: &'static str,
    /// `--machines`, when it is not what the whole run is made on (`JUJU_SIM_MACHINES`).
    pub machines: Option<&'static str>,
}

impl Kind {
    /// The v2 store went with etcd 3.6, and with it what etcdctl did to files.
    pub fn has_v2(&self) -> bool {
        ["3.4", "3.5"].iter().any(|minor| self.channel.starts_with(minor))
    }
}

/// A model of its own, destroyed with everything in it when the test ends.
pub struct Model {
    home: tempfile::TempDir,
    kind: Kind,
    /// The snap store.
    snaps: PathBuf,
    /// For the table of a long run.
    ledger: Ledger,
}

/// A path the Makefile hands to the tests; without it they cannot prove anything, so they fail.
pub fn given(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!("{variable} is not set: run the tests with `make test`"),
    }
}

/// The other side of a relation, packed: the newest Juju deploys no folders.
pub fn test_charm(name: &str) -> String {
    given("TEST_CHARMS").join(format!("{name}.charm")).display().to_string()
}

impl Model {
    pub fn new(kind: Kind) -> Model {
        Model::with_store(kind, given("JUJU_SIM_SNAPS"))
    }

    /// With a snap store of its own, laid out as juju-sim wants it.
    pub fn with_store(kind: Kind, snaps: PathBuf) -> Model {
        let home = tempfile::Builder::new().prefix("juju-sim-").tempdir_in("/var/tmp").unwrap();
        Model { home, kind, snaps, ledger: Ledger::default() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(given("JUJU_SIM"));
        command.env("JUJU_SIM_HOME", self.home.path()).env("JUJU_SIM_SNAPS", &self.snaps);
        command.args(["--juju-version", self.kind.juju]).args(arguments).stdin(Stdio::null());
        self.ledger.note_command(arguments);
        if let Some(machines) = self.kind.machines {
            command.env("JUJU_SIM_MACHINES", machines);
        }
        command
    }

    /// A shell line on this host, where juju-sim finds this model. Both streams come in one, as on a terminal.
    pub fn host_shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec 2>&1\n{line}")]);
        command.env("JUJU_SIM_HOME", self.home.path()).env("JUJU_SIM_SNAPS", &self.snaps);
        command
    }

    /// Runs a command that may fail.
    pub fn attempt(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.attempt(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            panic!(
                "juju-sim {arguments:?}: {}\n{}{}\n{}",
                output.status,
                text(&output.stdout),
                text(&output.stderr),
                self.story()
            );
        }
        text(&output.stdout)
    }

    /// Starts a command that goes on beside the test.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a reader of a failed test needs.
    pub fn story(&self) -> String {
        let output =
            |arguments: &[&str]| String::from_utf8_lossy(&self.attempt(arguments).stdout).into_owned();
        format!("{}\n{}", output(&["status"]), output(&["debug-log", "--no-tail", "-n", "120"]))
    }

    /// One that makes elliptic keys: RSA's take longer than everything else that most models do. The tests of deploying,
    /// of changing the authority and of the documentation have an authority as it comes.
    pub fn deploy_easyrsa(&self) {
        self.run(&["deploy", &test_charm("easyrsa"), "--config", "key_algorithm=ec"]);
    }

    pub fn deploy_etcd(&self, units: u32) {
        self.deploy_etcd_with(units, &[]);
    }

    /// With more arguments for `deploy`.
    pub fn deploy_etcd_with(&self, units: u32, more: &[&str]) {
        self.deploy_etcd_from(&given("ETCD_CHARM"), units, more);
    }

    /// Another package than the one that was made for the tests.
    pub fn deploy_etcd_from(&self, charm: &Path, units: u32, more: &[&str]) {
        let charm = charm.display().to_string();
        let (units, channel) = (units.to_string(), format!("channel={}", self.kind.channel));
        let arguments = ["deploy", &charm, "etcd", "-n", &units, "--config", &channel];
        self.run(&arguments.iter().chain(more).copied().collect::<Vec<_>>());
    }

    /// Deploys one of the test charms.
    pub fn deploy_charm(&self, charm: &str, name: &str) {
        self.run(&["deploy", &test_charm(charm), name]);
    }

    /// A consumer that has no unit yet: there is its relation.
    pub fn deploy_consumer_without_unit(&self, name: &str) {
        self.run(&["deploy", &test_charm("consumer"), name, "-n", "0"]);
        self.run(&["integrate", &format!("{name}:db"), "etcd:db"]);
    }

    pub fn deploy_consumer(&self, name: &str) {
        self.deploy_charm("consumer", name);
        self.run(&["integrate", &format!("{name}:db"), "etcd:db"]);
    }

    /// An empty model in which a failed hook is retried almost at once.
    pub fn with_quick_retries(kind: Kind) -> Model {
        let model = Model::new(kind);
        model.run(&["add-model", "default"]);
        model.run(&["model-config", "hook-retry-initial=200ms", "hook-retry-max=1s"]);
        model
    }

    /// A cluster with its certificates, and nothing else.
    pub fn with_cluster(kind: Kind, units: u32) -> Model {
        let model = Model::new(kind);
        model.make_cluster(units);
        model
    }

    /// Deploys a cluster with its certificates and waits for it.
    pub fn make_cluster(&self, units: u32) {
        self.deploy_easyrsa();
        self.deploy_etcd(units);
        self.run(&["integrate", "etcd", "easyrsa"]);
        self.settle(units as usize);
    }

    /// Orders hooks of a unit to be killed. A machine that is still being made has no agent to be told.
    pub fn kill_hooks(&self, unit: &str, which: &[&str]) {
        let order = [&["lab", "kill-hook", unit], which].concat();
        wait_until("an agent", Duration::from_secs(30), || self.attempt(&order).status.success());
    }

    /// Waits until `etcd` has `units` units, all healthy with as many members, and nothing is running or due.
    pub fn settle(&self, units: usize) {
        let message = if units == 1 {
            "Healthy with 1 known peer".into()
        } else {
            format!("Healthy with {units} known peers")
        };
        self.wait(&[
            "etcd",
            "--units",
            &units.to_string(),
            "--status",
            "active",
            "--message",
            &message,
            "--idle",
        ]);
        self.ledger.note_settled();
    }

    /// Takes units away and waits until the others have settled. Juju 4.0 does not tell the others that a peer is
    /// gone: there it is the regular check that finds out.
    pub fn remove_units(&self, units: &[&str], remaining: usize) {
        let arguments: Vec<&str> =
            ["remove-unit"].iter().chain(units).chain(&["--no-prompt"]).copied().collect();
        self.run(&arguments);
        if self.kind.juju == "4.0" {
            self.wait(&["etcd", "--units", &remaining.to_string(), "--idle"]);
            self.run(&["lab", "update-status", "etcd"]);
        }
        self.settle(remaining);
    }

    pub fn wait(&self, what: &[&str]) {
        let timeout = format!("{}s", kills::patience().as_secs());
        let arguments: Vec<&str> =
            ["lab", "wait"].into_iter().chain(what.iter().copied()).chain(["--timeout", &timeout]).collect();
        self.run(&arguments);
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--format", "json"])).unwrap()
    }

    /// Workload status and message of a unit of etcd.
    pub fn shown(&self, unit: &str) -> String {
        let status = self.status();
        let shown = &status["applications"]["etcd"]["units"][unit]["workload-status"];
        let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("current"), text("message"))
    }

    /// Names of the units of an application, in Juju's order.
    pub fn units(&self, application: &str) -> Vec<String> {
        let status = self.status();
        let units = status["applications"][application]["units"].as_object().cloned().unwrap_or_default();
        let mut names: Vec<String> = units.keys().cloned().collect();
        names.sort_by_key(|name| name.rsplit('/').next().and_then(|number| number.parse::<u32>().ok()));
        names
    }

    /// Runs a shell line on a unit's machine; its standard output.
    pub fn shell(&self, unit: &str, line: &str) -> String {
        self.run(&["ssh", unit, line])
    }

    /// Does harm to a unit by a shell line on its machine.
    pub fn harm(&self, unit: &str, line: &str) -> String {
        self.ledger.note_change();
        self.shell(unit, line)
    }

    /// Runs an action; its results, and the failure message if it failed.
    pub fn action(&self, unit: &str, words: &[&str]) -> (Value, Option<String>) {
        let arguments: Vec<&str> = ["run", "--wait=5m", unit]
            .into_iter()
            .chain(words.iter().copied())
            .chain(["--format", "json"])
            .collect();
        let output = self.attempt(&arguments);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let task = answer[unit].clone();
        let failed = task["status"] == "failed";
        let message = failed.then(|| task["message"].as_str().unwrap_or_default().to_owned());
        (task["results"].clone(), message)
    }

    /// What a consumer's certificate names it; empty while it has none.
    pub fn identity(&self, unit: &str) -> String {
        let file = format!("{DATA}/client.crt");
        let look = format!("test ! -e {file} || openssl x509 -noout -subject -in {file}");
        let subject = self.shell(unit, &look);
        subject.trim().trim_start_matches("subject=CN = ").to_owned()
    }

    /// Waits until these consumers, of one unit each, have certificates of their own, the same from every unit of etcd.
    pub fn assert_known_by_their_own(&self, consumers: &[&str]) {
        let last = format!(
            "import json; last = {{}}
for line in open('{DATA}/seen.jsonl'):
    said = json.loads(line); last[said['unit']] = said['client_cert'] + said['client_key']
print(len(set(last.values())))"
        );
        for name in consumers {
            let unit = format!("{name}/0");
            wait_until("a certificate of its own from all units", Duration::from_secs(60), || {
                self.identity(&unit).starts_with(&format!("{name}-db-"))
                    && self.shell(&unit, &format!("python3 -c \"{last}\"")) == "1\n"
            });
        }
    }

    /// What the application's peer databag holds, as the first unit sees it.
    pub fn agreed(&self) -> String {
        let get = "relation-get -r $(relation-ids cluster) --app - etcd";
        self.run(&["exec", "--unit", &self.units("etcd")[0], "--", get])
    }

    /// `etcdctl` on a unit, with the credentials that the charm sets for root; see [`ETCDCTL`].
    pub fn etcdctl(&self, unit: &str, words: &str) -> String {
        self.shell(unit, &format!("{ETCDCTL}\npatiently etcdctl {words}"))
    }

    /// What each unit of etcd tells a client's unit on an endpoint; not the addresses, which are Juju's.
    pub fn told(&self, client: &str, endpoint: &str) -> Vec<BTreeMap<String, String>> {
        let shown = self.run(&["show-unit", client, "--format", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let relations = shown[client]["relation-info"].as_array().unwrap();
        let relation = relations.iter().find(|relation| relation["endpoint"] == endpoint).unwrap();
        let units = relation["related-units"].as_object().unwrap().values();
        let own = |unit: &Value| {
            let all: BTreeMap<String, String> = serde_json::from_value(unit["data"].clone()).unwrap();
            let is_of_juju = |key: &str| key.ends_with("-address") || key == "egress-subnets";
            all.into_iter().filter(|(key, _)| !is_of_juju(key)).collect()
        };
        units.map(own).collect()
    }

    /// The unit whose member is the raft leader.
    pub fn raft_leader(&self, application_units: &[String]) -> String {
        let unit = &application_units[0];
        let (results, failure) = self.action(unit, &["health"]);
        assert_eq!(failure, None, "{results}");
        let members = results["members"].as_object().unwrap();
        let leader = members.iter().find(|(_, member)| member["raft-leader"] == "true").unwrap().0;
        application_units.iter().find(|unit| unit.replace('/', "") == *leader).unwrap().clone()
    }

    /// Asserts that no hook of the whole model has failed so far but those that the test has killed, or their machine.
    pub fn assert_no_hook_failed(&self) {
        let on_purpose = ["failed: signal: killed", "failed: the machine went down"];
        let mut failed = self.failed_hooks();
        failed.retain(|line| !on_purpose.iter().any(|end| line.ends_with(end)));
        if failed.is_empty() {
            return;
        }
        let told = self.run(&["debug-log", "--replay"]);
        let words: Vec<&str> =
            told.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
        eprintln!("hooks failed:\n{}\n{}", failed.join("\n"), words.join("\n"));
        // Once, on a busy machine, this hook failed and came right when Juju ran it again, for a cause that is not known.
        failed.retain(|line| !line.contains("hook \"install\" failed: "));
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    fn failed_hooks(&self) -> Vec<String> {
        let log = self.run(&["debug-log", "--replay"]);
        let is_failure = |line: &&str| {
            (line.contains(" hook \"") && line.contains("\" failed: ")) || line.contains("panicked")
        };
        log.lines().filter(is_failure).map(str::to_owned).collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.write_row();
        let output = self.attempt(&["destroy-model", "--no-prompt"]);
        if !output.status.success() && !std::thread::panicking() {
            panic!("destroy-model: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Polls a condition with a bound.
pub fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
