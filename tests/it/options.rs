//! Options changed on a running cluster: who restarts, and what clients notice of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sim::{Kind, Model, Writer, wait_until};
use crate::{OLD, PRESENT};

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

const CONFIG: &str = "/var/snap/etcd/common/etcd.conf.yml";

/// How often the charm has restarted the unit's etcd so far.
pub fn restarts(model: &Model, unit: &str) -> usize {
    let log = model.run(&["debug-log", "--replay", "--include", unit]);
    log.lines().filter(|line| line.contains("run=systemctl restart")).count()
}

fn ports_of_members(model: &Model, unit: &str, urls: &str) -> Vec<String> {
    let members = model.etcdctl(unit, "member list --write-out=json");
    let members: Value = serde_json::from_str(&members).unwrap();
    let url = |member: &Value| member[urls][0].as_str().unwrap().to_owned();
    let members = members["members"].as_array().unwrap();
    members.iter().map(|member| url(member).rsplit(':').next().unwrap().to_owned()).collect()
}

/// The ports that etcd listens on, sorted; not where it has its metrics.
fn listens(model: &Model, unit: &str) -> Vec<String> {
    let sockets = "ss -Hltnp | sed -n 's/.*\"etcd\".*/&/p' | awk '{print $4}' | sed 's/.*://' | grep -vx 2381 | sort -u";
    model.shell(unit, sockets).lines().map(str::to_owned).collect()
}

#[test]
fn both_ports_move_under_load() {
    let model = Model::with_quick_retries(PRESENT);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");

    let units = model.units("etcd");
    let begun = Instant::now();
    model.run(&["config", "etcd", "port=3379"]);
    model.settle(3);
    assert!(begun.elapsed() < Duration::from_secs(150), "six restarts took {:?}", begun.elapsed());
    for unit in &units {
        assert_eq!(listens(&model, unit), ["2380", "3379"], "{unit}");
        let count = restarts(&model, unit);
        assert!((1..=2).contains(&count), "one to open, one to close: {unit} {count}");
    }
    model.wait(&["consumer", "--idle"]);
    let told = model.shell("consumer/0", "cat /var/lib/consumer/endpoints");
    assert_eq!(told.matches(":3379").count(), 3, "{told}");
    assert_eq!(model.etcdctl("etcd/1", "put root shell").trim(), "OK", "root's etcdctl follows");

    let before = [&units[0], &units[2]].map(|unit| restarts(&model, unit));
    killed_between_the_clusters_word_and_the_restart(&model);
    model.run(&["add-unit", "etcd", "-n", "1"]);
    model.settle(4);
    assert_eq!(ports_of_members(&model, "etcd/3", "peerURLs"), ["3380"; 4]);
    for unit in model.units("etcd") {
        assert_eq!(listens(&model, &unit), ["3379", "3380"], "{unit}");
    }
    let after = [&units[0], &units[2]].map(|unit| restarts(&model, unit));
    assert_eq!(after, before.map(|count| count + 2), "one to open, one to close");
    writer.stop(GAP_MS);
}

/// The members use the new port already, the file names it alone, and the server has not read it.
fn killed_between_the_clusters_word_and_the_restart(model: &Model) {
    let seen = format!(
        "timeout 60 sh -c 'until grep -q ^initial-advertise-peer-urls.*:3380 {CONFIG}; do sleep 0.02; done'"
    );
    let mut watch = model.start(&["ssh", "etcd/1", &seen]);
    model.run(&["config", "etcd", "management_port=3380"]);
    assert!(watch.wait().unwrap().success(), "etcd/1 never moved");
    model.run(&["lab", "kill-running", "etcd/1"]);
}

/// What etcd reads at its start: all at once is one restart. The option, and what 3.4's file says then.
const AT_START: [(&str, &str); 13] = [
    ("heartbeat_interval=150", "heartbeat-interval: 150"),
    ("election_timeout=2000", "election-timeout: 2000"),
    ("snapshot_count=50000", "snapshot-count: 50000"),
    ("quota_backend_bytes=4294967296", "quota-backend-bytes: 4294967296"),
    ("auto_compaction_mode=revision", "auto-compaction-mode: revision"),
    ("auto_compaction_retention=5000", "auto-compaction-retention: '5000'"),
    ("enable_v2=true", "enable-v2: true"),
    ("debug=true", "log-level: debug"),
    ("tls_cipher_suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "- TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("bind_with_insecure_http=true", "http://127.0.0.1:4001"),
    ("bind_to_all_interfaces=false", "https://127.0.0.1:3379"),
    ("port=3379", ":3379\n"),
    ("management_port=3380", "listen-peer-urls: https://10."),
];

/// What restarts nothing: snapd's matters, certificates under the running server, a key that 3.4 does not know. The channel is
/// another one of the same minor version.
const AT_ONCE: [&str; 8] = [
    "snapd_refresh=4:00-7:00",
    "snap_proxy=http://10.0.0.9:3128",
    "snap_proxy_url=http://127.0.0.1:8000",
    "extra_sans=etcd.example.com",
    "tls_min_version=TLS1.2",
    "nagios_context=other",
    "nagios_servicegroups=databases",
    "channel=edge",
];

/// What needs more than a running unit; other tests change these.
const ELSEWHERE: [&str; 3] = ["bin-source", "certificate_authority", "source-sum"];

fn name(option: &str) -> &str {
    option.split('=').next().unwrap()
}

#[test]
fn every_option_is_changed_once() {
    let declared: Value =
        etcd_charm::yaml::from_str(&std::fs::read_to_string("config.yaml").unwrap()).unwrap();
    let mut declared: Vec<&str> =
        declared["options"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut changed: Vec<&str> =
        AT_START.iter().map(|(option, _)| name(option)).chain(AT_ONCE.map(name)).chain(ELSEWHERE).collect();
    declared.sort_unstable();
    changed.sort_unstable();
    assert_eq!(changed, declared);
}

/// [`AT_START`] and [`AT_ONCE`] for a version: from 3.6 on there is no v2 store to switch on, and 3.4 alone does not know which
/// version of TLS is the least.
fn options_of(kind: Kind) -> (Vec<(&'static str, &'static str)>, Vec<String>) {
    let (mut at_start, mut at_once) = (AT_START.to_vec(), AT_ONCE.to_vec());
    if !kind.has_v2() {
        at_start.retain(|(option, _)| name(option) != "enable_v2");
        at_once.push("enable_v2=true");
    }
    if !kind.channel.starts_with("3.4") {
        at_once.retain(|option| name(option) != "tls_min_version");
        at_start.insert(0, ("tls_min_version=TLS1.2", "tls-min-version: TLS1.2"));
    }
    let channel = format!("channel={}", kind.channel.replace("stable", "edge"));
    let at_once = at_once.into_iter().map(|option| match name(option) {
        "channel" => channel.clone(),
        _ => option.to_owned(),
    });
    (at_start, at_once.collect())
}

#[test]
fn only_what_etcd_3_4_reads_at_its_start_restarts_it() {
    only_what_etcd_reads_at_its_start_restarts_it(OLD);
}

pub fn only_what_etcd_reads_at_its_start_restarts_it(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    let (at_start, at_once) = options_of(kind);
    let restarts = |before: usize| restarts(&model, "etcd/0") - before;
    let settle = |arguments: &[&str]| {
        model.run(&[&["config", "etcd"], arguments].concat());
        model.settle(1);
    };
    a_store_proxy(&model);
    settle(&at_once.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(restarts(0), 0, "{at_once:?}");
    what_snapd_was_told(&model);
    a_slip_elsewhere_takes_no_name_from_the_certificate(&model);
    let names: Vec<&str> = at_once.iter().map(|option| name(option)).collect();
    settle(&["--reset", &format!("{},heartbeat_interval", names.join(","))]);
    assert_eq!(model.shell("etcd/0", "snap get system refresh.retain"), "3\n", "it is the operator's");
    assert_eq!(told(&model, "proxy.http"), None);

    let (management_port, others) = at_start.split_last().unwrap();
    settle(&others.iter().map(|(option, _)| *option).collect::<Vec<_>>());
    assert_eq!(restarts(0), 1, "{others:?}");
    let file = model.shell("etcd/0", &format!("cat {CONFIG}"));
    for (option, line) in others {
        assert!(file.contains(line), "{option}: {file}");
    }
    settle(&[management_port.0]);
    assert_eq!(restarts(1), 2, "one to open, one to close");
    assert_eq!(ports_of_members(&model, "etcd/0", "peerURLs"), ["3380"]);
    settle(&["--reset", &at_start.iter().map(|(option, _)| name(option)).collect::<Vec<_>>().join(",")]);
    assert_eq!(restarts(3), 2);
    assert_eq!(listens(&model, "etcd/0"), ["2379", "2380"]);
    model.assert_no_hook_failed();
}

/// On the unit itself: all that snapd asks it for is who it is.
fn a_store_proxy(model: &Model) {
    let serve = "mkdir -p /srv/store/v2/auth/store && \
                 printf 'type: store\\nstore: of-this-house\\n\\nsigned\\n' > /srv/store/v2/auth/store/assertions; \
                 setsid python3 -m http.server 8000 --directory /srv/store >/dev/null 2>&1 </dev/null &";
    model.shell("etcd/0", serve);
    model.shell("etcd/0", "snap set system refresh.retain=3");
    wait_until("the store proxy", Duration::from_secs(20), || {
        !model.shell("etcd/0", "ss -Hltn sport = :8000").is_empty()
    });
}

fn a_slip_elsewhere_takes_no_name_from_the_certificate(model: &Model) {
    model.run(&["config", "etcd", "heartbeat_interval=0"]);
    model.wait(&["etcd", "--status", "blocked", "--message", "heartbeat_interval: ", "--idle"]);
    let asked = "relation-get -r $(relation-ids certificates) sans etcd/0";
    let asked = model.run(&["exec", "--unit", "etcd/0", "--", "bash", "-c", asked]);
    assert!(asked.contains("etcd.example.com"), "{asked}");
}

fn what_snapd_was_told(model: &Model) {
    assert_eq!(told(model, "refresh.timer").as_deref(), Some("4:00-7:00"), "one unit has the whole window");
    assert_eq!(told(model, "proxy.http").as_deref(), Some("http://10.0.0.9:3128"));
    assert_eq!(told(model, "proxy.store").as_deref(), Some("of-this-house"));
}

fn told(model: &Model, key: &str) -> Option<String> {
    let value = model.shell("etcd/0", &format!("snap get system {key} 2>/dev/null || true"));
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}
