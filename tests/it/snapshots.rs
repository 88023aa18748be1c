//! Snapshots at their limits: a database that is many times larger than the memory they may take, and the old v2 store.

use std::time::Instant;

use crate::sim::{Kind, Model};
use crate::{PRESENT, on_both_etcds};

on_both_etcds!(the_old_store_is_saved_where_there_is_one);

/// Values of the large database, 1 MiB each.
const VALUES: u64 = 256;
/// Most that the action may take, KiB.
const MEMORY_KIB: u64 = 64 << 10;

#[test]
fn a_large_snapshot_takes_little_memory() {
    let model = Model::with_cluster(PRESENT, 1);
    let begun = Instant::now();
    fill(&model);
    eprintln!("filled in {:.1?}", begun.elapsed());

    // The greatest size that any run of dispatch has had so far, ten times a second.
    let watch = "while [ ! -e /tmp/over ]; do \
                   for p in $(pgrep -x dispatch); do grep VmHWM /proc/$p/status; done; sleep 0.1; \
                 done 2>/dev/null | sort -n -k 2 | tail -n 1";
    let watch = model.start(&["ssh", "etcd/0", watch]);
    let begun = Instant::now();
    let (results, failure) = model.action("etcd/0", &["snapshot"]);
    assert_eq!(failure, None, "{results}");
    eprintln!("saved in {:.1?}", begun.elapsed());
    model.shell("etcd/0", "touch /tmp/over");
    let seen = String::from_utf8(watch.wait_with_output().unwrap().stdout).unwrap();
    let most: u64 = seen.split_whitespace().nth(1).unwrap_or_else(|| panic!("{seen}")).parse().unwrap();
    eprintln!("memory: {most} KiB");
    assert!(most < MEMORY_KIB, "{seen}");

    let bytes = |key: &str| results["snapshot"][key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(bytes("db-size-bytes") > VALUES << 20, "{results}");
    assert!(bytes("keys") >= VALUES, "{results}");
}

fn fill(model: &Model) {
    let script = FILL.replace("VALUES", &VALUES.to_string());
    model.shell("etcd/0", &format!("cat > /tmp/fill.py <<'END'\n{script}END\npython3 /tmp/fill.py"));
}

/// Through the gateway and on several connections, since a client of its own for each value would take minutes.
const FILL: &str = r#"
import base64, http.client, os, ssl
from concurrent.futures import ThreadPoolExecutor

home = "/var/snap/etcd/common/"
tls = ssl.create_default_context(cafile=home + "ca.crt")
tls.load_cert_chain(home + "client.crt", home + "client.key")
text = lambda data: base64.b64encode(data).decode()
# Noise that gzip has little work with.
values = [text(os.urandom(1 << 14) * 64) for _ in range(4)]

def write(first):
    server = http.client.HTTPSConnection("127.0.0.1", 2379, context=tls)
    for place in range(first, VALUES, 4):
        document = '{"key": "%s", "value": "%s"}' % (text(b"large%d" % place), values[first])
        server.request("POST", "/v3/kv/put", document)
        answer = server.getresponse()
        said = answer.read()
        assert answer.status == 200, said

with ThreadPoolExecutor() as pool:
    list(pool.map(write, range(4)))
"#;

const V2: [&str; 2] = ["snapshot", "keys-version=v2"];

fn the_old_store_is_saved_where_there_is_one(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    let refused = || model.action("etcd/0", &V2).1.unwrap_or_else(|| panic!("there is something to save"));
    assert!(
        refused().starts_with("keys-version: v2 cannot be saved: the v2 store is off; "),
        "{}",
        refused()
    );
    // Where the charm's own door is must not matter.
    model.run(&["config", "etcd", "enable_v2=true", "port=3379", "bind_to_all_interfaces=false"]);
    model.settle(1);
    assert_eq!(refused(), "keys-version: there are no v2 keys; keys-version=v3 saves the others");
    model.shell("etcd/0", "test ! -e /home/ubuntu/etcd-snapshots");
    let etcdctl = "cd /var/snap/etcd/common; ETCDCTL_API=2 /snap/bin/etcd.etcdctl --ca-file ca.crt --cert-file client.crt \
                   --key-file client.key --endpoints https://127.0.0.1:3379";
    model.shell("etcd/0", &format!("for n in 1 2 3; do {etcdctl} set /old/key$n value$n; done"));
    model.etcdctl("etcd/0", "put new yes");

    let (results, failure) = model.action("etcd/0", &V2);
    assert_eq!(failure, None, "{results}");
    let snapshot = &results["snapshot"];
    let path = snapshot["path"].as_str().unwrap();
    assert_eq!(snapshot["keys"], "3");
    assert_eq!(results["copy"]["cmd"], format!("juju scp etcd/0:{path} ."));
    let sum = model.shell("etcd/0", &format!("sha256sum {path}; stat -c %a:%U {path}"));
    assert!(sum.starts_with(snapshot["sha256"].as_str().unwrap()) && sum.ends_with("600:ubuntu\n"), "{sum}");
    let left = model
        .shell("etcd/0", "ls -A /home/ubuntu/etcd-snapshots /var/snap/etcd/common | grep partial || true");
    assert_eq!(left, "");

    // A server on what was saved has the old keys, and none of the new.
    let url = "http://127.0.0.1:9379";
    let serve = format!(
        "mkdir /root/old && cd /root/old && tar xzf {path} && \
         (/snap/etcd/current/bin/etcd --data-dir . --enable-v2 --force-new-cluster --listen-client-urls {url} \
           --advertise-client-urls {url} --listen-peer-urls http://127.0.0.1:9380 >log 2>&1 & echo $! >pid) && \
         for n in $(seq 50); do ETCDCTL_API=2 /snap/bin/etcd.etcdctl --endpoints {url} ls -r /old >keys 2>&1 && break; sleep 0.2; done; \
         sort keys; ETCDCTL_API=2 /snap/bin/etcd.etcdctl --endpoints {url} get /old/key2; \
         ETCDCTL_API=3 /snap/bin/etcd.etcdctl --endpoints {url} get new; kill $(cat pid)"
    );
    assert_eq!(model.shell("etcd/0", &serve), "/old/key1\n/old/key2\n/old/key3\nvalue2\n");
    left_to_the_charm_it_stays_while_it_holds_keys(&model, etcdctl);
    model.assert_no_hook_failed();
}

/// On this unit without a restart, and on one that joins; off once the keys are gone.
fn left_to_the_charm_it_stays_while_it_holds_keys(model: &Model, etcdctl: &str) {
    let pid = || model.shell("etcd/0", "systemctl show -p MainPID --value snap.etcd.etcd");
    let before = pid();
    model.run(&["config", "etcd", "--reset", "enable_v2"]);
    model.settle(1);
    assert_eq!(pid(), before, "nothing has changed for it");
    model.run(&["add-unit", "etcd"]);
    model.settle(2);
    assert_eq!(model.shell("etcd/1", &format!("{etcdctl} get /old/key2")), "value2\n");
    model.shell("etcd/1", &format!("{etcdctl} rm -r /old"));
    // Any look will do.
    model.run(&["config", "etcd", "nagios_context=lab"]);
    model.settle(2);
    for unit in ["etcd/0", "etcd/1"] {
        let file = model.shell(unit, "grep enable-v2 /var/snap/etcd/common/etcd.conf.yml");
        assert_eq!(file, "enable-v2: false\n", "{unit}");
    }
    assert_ne!(pid(), before);
}
