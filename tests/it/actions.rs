//! The actions, as an operator runs them.

use crate::on_every_kind;
use crate::sim::{Kind, Model};

on_every_kind!(health_tells_the_truth, credentials_are_packed_privately_and_work);

fn health_tells_the_truth(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    let (results, failure) = model.action("etcd/1", &["health"]);
    assert_eq!(failure, None, "{results}");
    for stream in ["stdout", "Stdout", "stderr", "Stderr"] {
        assert!(results[stream].is_null(), "{results}");
    }
    let output = results["output"].as_str().unwrap();
    assert_eq!(output.lines().last(), Some("cluster is healthy"), "{output}");
    let days = results["certificates"]["days-left"].as_str().and_then(|days| days.parse::<u32>().ok());
    assert!(days.is_some_and(|days| days > 30), "{results}");
    assert_eq!(output.matches(" is healthy: got healthy result from https://").count(), 3, "{output}");
    model.run(&["lab", "kill-machine", "etcd/2"]);
    let (results, failure) = model.action("etcd/1", &["health"]);
    let output = results["output"].as_str().unwrap();
    assert_eq!(output.lines().last(), Some("cluster is unhealthy"), "{output}");
    assert_eq!(failure.as_deref(), Some("a member is unhealthy; see the results"));
    model.run(&["lab", "kill-machine", "etcd/0"]);
    let (_, failure) = model.action("etcd/1", &["health"]);
    assert!(failure.as_deref().unwrap_or_default().starts_with("the cluster has no quorum: "), "{failure:?}");
}

pub fn credentials_are_packed_privately_and_work(kind: Kind) {
    let model = Model::with_cluster(kind, 1);
    for name in ["package-client-credentials", "package-client-certificates", "generate-client-certificates"]
    {
        let (results, failure) = model.action("etcd/0", &[name]);
        assert_eq!(failure, None, "{name}: {results}");
        assert_eq!(results["path"], "/home/ubuntu/etcd_credentials.tar.gz");
    }
    let owned = model.shell("etcd/0", "stat -c '%a %U' /home/ubuntu/etcd_credentials.tar.gz");
    assert_eq!(owned.trim(), "600 ubuntu");
    // The commands of the enclosed README, as its reader would paste them (a snap does not see the host's /tmp).
    let used = model.shell(
        "etcd/0",
        "mkdir creds && cd creds && tar xzf /home/ubuntu/etcd_credentials.tar.gz && \
         sed -n '/3.3 and later/,/member list/p' README.txt | grep -E '^(export|etcdctl member)' | sed 's#^etcdctl#/snap/bin/etcd.etcdctl#' > run.sh && sh -e run.sh",
    );
    assert!(used.contains("etcd0"), "{used}");
}
