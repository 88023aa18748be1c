//! Documentation that is executed: every command of README.md and docs/ is run, top to bottom, on a model of the page's
//! own or on one that its readers share, and must print what the page shows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::pages::{self, Page, Start, Step};
use crate::sim::{Kind, Model, given, wait_until};
use crate::{OLD, PRESENT};
use crate::{migrating, sources, taking_over};

/// What pages call `juju` is juju-sim here, the store is this checkout, and the cloud's disks are small files.
const JUJU: &str = "#!/bin/bash
set -- \"${@/#data=ebs,16G/data=loop,1G}\"
case \"$1 $2\" in
'deploy easyrsa') shift 2; set -- deploy \"$TEST_CHARMS/easyrsa.charm\" \"$@\" ;;
'deploy nrpe') shift 2; set -- deploy \"$TEST_CHARMS/nrpe.charm\" nrpe \"$@\" ;;
'deploy prometheus') shift 2; set -- deploy \"$TEST_CHARMS/prometheus.charm\" prometheus \"$@\" ;;
'deploy grafana') shift 2; set -- deploy \"$TEST_CHARMS/grafana.charm\" grafana \"$@\" ;;
'deploy my-app') shift 2; set -- deploy \"$TEST_CHARMS/consumer.charm\" my-app \"$@\" ;;
esac
exec \"$JUJU_SIM\" \"$@\"
";

/// What `make` would build first is there already.
const MAKE: &str =
    concat!("#!/bin/sh\n[ \"$*\" = demo ] && exec ", env!("CARGO_MANIFEST_DIR"), "/scripts/demo\n");

/// Pages that are read one after the other on one model: each but the last leaves it as the next one wants it.
const SHARED: [&[&str]; 2] = [
    &[
        "docs/how-to/change-ports.md",
        "docs/how-to/use-storage.md",
        "docs/how-to/certificates.md",
        "docs/how-to/install-without-a-store.md",
        "docs/how-to/restore.md",
    ],
    &[
        "docs/how-to/deploy.md",
        "docs/how-to/back-up.md",
        "docs/how-to/change-options.md",
        "docs/how-to/users-and-roles.md",
        "docs/how-to/client-credentials.md",
        "docs/how-to/debug-bundle.md",
        "docs/how-to/monitor.md",
        "docs/how-to/full-database.md",
        "docs/how-to/scale.md",
        "docs/how-to/replace-a-lost-machine.md",
    ],
];

/// Pages with a model of their own.
const ALONE: [&str; 6] = [
    "README.md",
    "docs/tutorial.md",
    "docs/how-to/upgrade-etcd.md",
    "docs/how-to/recover-lost-quorum.md",
    "docs/how-to/migrate-from-the-debian-package.md",
    "docs/how-to/refresh.md",
];

/// Every command that is shown and not run, with its page.
const NOT_RUN: &[(&str, &str)] = &[("README.md", "make test"), ("README.md", "make test-full")];

#[test]
fn readme() {
    read_in_turn(&ALONE[..1]);
}

#[test]
fn tutorial() {
    read_in_turn(&ALONE[1..2]);
}

#[test]
fn how_to_upgrade_etcd() {
    read_in_turn(&ALONE[2..3]);
}

#[test]
fn how_to_recover_lost_quorum() {
    read_in_turn(&ALONE[3..4]);
}

#[test]
fn how_to_migrate_from_the_debian_package() {
    read_in_turn(&ALONE[4..5]);
}

#[test]
fn how_to_refresh() {
    read_in_turn(&ALONE[5..]);
}

#[test]
fn how_to_with_one_unit() {
    read_in_turn(SHARED[0]);
}

#[test]
fn how_to_with_three_units() {
    read_in_turn(SHARED[1]);
}

#[test]
fn every_page_with_commands_is_run() {
    let mut run: Vec<&str> = SHARED.iter().copied().flatten().chain(&ALONE).copied().collect();
    run.sort_unstable();
    let pages = pages::all();
    let with_commands: Vec<&str> =
        pages.iter().filter(|page| !page.steps.is_empty()).map(|page| page.path.as_str()).collect();
    assert_eq!(run, with_commands);
}

#[test]
fn what_is_not_run_is_known() {
    let pages = pages::all();
    let shown: Vec<(&str, &str)> = pages
        .iter()
        .flat_map(|page| page.not_run.iter().map(|line| (page.path.as_str(), line.as_str())))
        .collect();
    assert_eq!(shown, NOT_RUN);
}

/// A reader does not end up nowhere, nor does one miss a page.
#[test]
fn pages_are_linked_and_links_lead_somewhere() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut linked = BTreeMap::new();
    for page in pages::all() {
        let text = fs::read_to_string(project.join(&page.path)).unwrap();
        let folder = Path::new(&page.path).parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            let path = project.join(folder).join(file);
            let there = path.canonicalize().unwrap_or_else(|_| panic!("{}: {target}", page.path));
            linked.insert(there, ());
        }
    }
    for page in pages::all() {
        let path = project.join(&page.path).canonicalize().unwrap();
        assert!(page.path == "README.md" || linked.contains_key(&path), "no page leads to {}", page.path);
    }
}

/// Runs pages on one model, in order.
fn read_in_turn(paths: &[&str]) {
    let all = pages::all();
    let page = |path: &&str| {
        let found = all.iter().find(|page| page.path == **path);
        found.unwrap_or_else(|| panic!("there is no page {path}"))
    };
    let first = page(&paths[0]);
    let mut reader = Reader::new(first.start.unwrap());
    if paths.contains(&"docs/how-to/install-without-a-store.md") {
        sources::release("3.5", "upstream", reader.home.path());
    }
    for path in paths {
        reader.begin(page(path).start.unwrap());
        reader.read(page(path));
    }
    reader.model.assert_no_hook_failed();
}

/// Someone with a shell, `juju`, and what a page presupposes.
struct Reader {
    model: Model,
    home: tempfile::TempDir,
    /// What the shell was told to `export` so far.
    exports: String,
}

impl Reader {
    fn new(start: Start) -> Reader {
        let is_old = matches!(start, Start::OneOldUnit | Start::OnePackagedUnit | Start::OneEarlierUnit);
        let kind = Kind { juju: PRESENT.juju, ..if is_old { OLD } else { PRESENT } };
        let model = match start {
            Start::Nothing => Model::with_quick_retries(kind),
            Start::OneUnit | Start::OneOldUnit => Model::with_cluster(kind, 1),
            Start::ThreeUnits => Model::with_cluster(kind, 3),
            Start::OnePackagedUnit => migrating::with_package(kind),
            Start::OneEarlierUnit => taking_over::with_earlier_charm(kind, 1),
        };
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        for (name, text) in [("juju", JUJU), ("juju-sim", JUJU), ("make", MAKE)] {
            let script = home.path().join("bin").join(name);
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(given("ETCD_CHARM"), home.path().join("etcd_amd64.charm")).unwrap();
        symlink(given("JUJU_SIM_SNAPS").join("etcd/3.5/stable.snap"), home.path().join("etcd.snap")).unwrap();
        Reader { model, home, exports: String::new() }
    }

    /// What the page before has left must be what this one presupposes.
    fn begin(&self, start: Start) {
        match start {
            Start::Nothing => assert!(self.model.units("etcd").is_empty(), "there is something already"),
            Start::OneUnit | Start::OneOldUnit | Start::OneEarlierUnit => self.model.settle(1),
            Start::ThreeUnits => self.model.settle(3),
            Start::OnePackagedUnit => migrating::wait_for_the_operator(&self.model),
        }
    }

    fn read(&mut self, page: &Page) {
        let mut printed = String::new();
        for step in &page.steps {
            let begun = Instant::now();
            printed += &self.perform(page, step, &printed);
            if begun.elapsed() > Duration::from_secs(1) {
                eprintln!("{}:{}: {:.1?}: {}", page.path, step.line, begun.elapsed(), step.command);
            }
        }
    }

    fn perform(&mut self, page: &Page, step: &Step, printed: &str) -> String {
        let place = format!("{}:{}: {}", page.path, step.line, step.command);
        let command = step.copied_from(printed);
        if command.starts_with("export ") {
            self.exports += &format!("{command}\n");
        }
        let mut shell = self.model.host_shell(&format!("{}{command}", self.exports));
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}/bin:{path}", self.home.path().display())).current_dir(self.home.path());
        if step.interrupted {
            return self.interrupt(shell.stdin(Stdio::null()), step, &place);
        }
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() != step.must_fail(), "{place}: {}\n{text}", output.status);
        assert!(step.promises(&text), "{place}\nprinted this, which is not what the page shows:\n{text}");
        if ["juju ", "juju-sim "].iter().any(|word| step.command.starts_with(word)) {
            self.model.wait(&["--idle"]);
        }
        text.into_owned()
    }

    /// A command without an end, with all that it starts, is ended when it has printed what the page shows.
    fn interrupt(&self, shell: &mut Command, step: &Step, place: &str) -> String {
        let shown = self.home.path().join("shown");
        let mut child = shell.process_group(0).stdout(fs::File::create(&shown).unwrap()).spawn().unwrap();
        let text = || String::from_utf8_lossy(&fs::read(&shown).unwrap()).into_owned();
        wait_until(place, Duration::from_secs(60), || !text().is_empty() && step.promises(&text()));
        assert_eq!(child.try_wait().unwrap(), None, "{place}: it ended by itself:\n{}", text());
        let group = format!("-{}", child.id());
        assert!(Command::new("kill").args(["-TERM", "--", &group]).status().unwrap().success(), "{place}");
        child.wait().unwrap();
        text()
    }
}

impl Drop for Reader {
    /// A page that was not read to its end leaves the other model that it has made.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.model.attempt(&["destroy-model", "demo", "--no-prompt"]);
        }
    }
}
