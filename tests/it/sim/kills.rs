//! `dispatch` dies at its hook tool calls, one after the other, in every hook and action of a unit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Model, wait_until};

/// At which calls of each hook it dies.
#[derive(Debug, Clone, Copy)]
struct Calls {
    first: u32,
    step: u32,
}

/// `FAULTS_ROTATION`: a number chooses which part of all calls, `all` takes every one; without it the day chooses. A part has
/// one of `step` calls.
fn calls(step: u32) -> Calls {
    let asked = std::env::var("FAULTS_ROTATION").ok();
    if asked.as_deref() == Some("all") {
        return Calls { first: 1, step: 1 };
    }
    let today = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let number: u64 = asked.map_or_else(today, |text| {
        text.parse().unwrap_or_else(|_| panic!("FAULTS_ROTATION is neither a number nor `all`: {text:?}"))
    });
    let part = number % u64::from(step);
    eprintln!(
        "hooks die at call {} and every {step} after it: FAULTS_ROTATION={part} repeats this",
        part + 1
    );
    Calls { first: u32::try_from(part).unwrap() + 1, step }
}

/// How long a model may take to settle while its hooks die; every call takes a run of the hook.
pub fn patience() -> Duration {
    Duration::from_secs(if std::env::var("FAULTS_ROTATION").is_ok_and(|asked| asked == "all") {
        3000
    } else {
        super::SETTLE_S
    })
}

impl Model {
    /// From now on every hook and action of these units dies, each after the effect of one more of its hook tool calls, until
    /// it comes through; so does whatever `juju exec` runs there. Not at every call where only a part of all is wanted, but at
    /// one of `step`.
    pub fn kill_every_hook(&self, units: &[impl AsRef<str>], step: u32) {
        self.run(&["model-config", "hook-retry-initial=100ms", "hook-retry-max=200ms"]);
        let Calls { first, step } = calls(step);
        for unit in units {
            let (first, step) = (first.to_string(), step.to_string());
            self.kill_hooks(unit.as_ref(), &["--call", &first, "--step", &step, "--each", "--after"]);
        }
    }

    /// The hooks of all units of etcd live on.
    pub fn spare_hooks(&self) {
        for unit in self.units("etcd") {
            self.run(&["lab", "spare-hooks", &unit]);
        }
    }

    /// An operator runs an action until it comes through, or fails with words that say it is done already.
    pub fn insist(&self, unit: &str, words: &[&str], is_done: impl Fn(&str) -> bool) {
        let mut tries = 0;
        wait_until(&format!("{words:?} to come through"), patience(), || {
            let Some(told) = self.action(unit, words).1 else { return true };
            eprintln!("{words:?} on {unit}: {told}");
            tries += 1;
            // Now and then a hook comes before the operator and goes on with what was cut off; it may die too.
            if tries % 3 == 0 {
                self.attempt(&["lab", "update-status", unit]);
            }
            is_done(&told)
        });
    }

    /// Hooks were killed, and none failed by itself.
    pub fn assert_only_killed_hooks_failed(&self) {
        let failed = self.failed_hooks();
        let killed = failed.iter().filter(|line| line.ends_with("failed: signal: killed")).count();
        assert!(killed > 0, "no hook was killed");
        eprintln!("{killed} hooks were killed");
        self.assert_no_hook_failed();
    }

    /// All members say the same of one cluster, and no server would throw members out at its next start.
    pub fn assert_one_cluster(&self) {
        let units = self.units("etcd");
        let said = |unit: &String| {
            let listed = self.etcdctl(unit, "member list -w json");
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
            let mut members: Vec<u64> = listed["members"].as_array().unwrap().iter().map(id).collect();
            members.sort_unstable();
            (listed["header"]["cluster_id"].as_u64(), members)
        };
        let first = said(&units[0]);
        assert_eq!(first.1.len(), units.len(), "{units:?}: {first:?}");
        for unit in &units {
            assert_eq!(said(unit), first, "{unit}");
            let file = self.shell(unit, "cat /var/snap/etcd/common/etcd.conf.yml");
            assert!(!file.contains("force-new-cluster"), "{unit}: {file}");
        }
    }
}

fn id(member: &serde_json::Value) -> u64 {
    member["ID"].as_u64().unwrap()
}
