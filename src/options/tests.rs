//! What is accepted, what is refused and in which words.

use super::*;
use serde_json::json;

fn parse(values: Value) -> Result<Options, Vec<String>> {
    let Value::Object(map) = values else { panic!("an object is needed") };
    Options::parse(&map).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn nothing_set_means_the_defaults() {
    let options = parse(json!({})).unwrap();
    assert_eq!((options.port, options.management_port), (2379, 2380));
    assert_eq!((options.heartbeat_interval_ms, options.election_timeout_ms), (100, 1000));
    assert_eq!(options.channel, WantedChannel::Auto);
    assert!(options.bind_to_all_interfaces);
}

#[test]
fn every_bad_value_is_named_with_what_is_accepted() {
    let cases = [
        (json!({"port": 0}), "port: 0 is not a port; accepted: 1 to 65535"),
        (json!({"port": 70000}), "port: 70000 is not a port; accepted: 1 to 65535"),
        (json!({"port": 2380}), "management_port: 2380 is also the client port; the two must differ"),
        (
            json!({"bind_with_insecure_http": true, "port": 4001}),
            "bind_with_insecure_http: it takes 4001, which is also port; set port to another one",
        ),
        (json!({"heartbeat_interval": 0}), "heartbeat_interval: 0 ms; accepted: 1 or more"),
        (
            json!({"heartbeat_interval": 300}),
            "election_timeout: 1000 ms is less than five heartbeats of 300 ms; accepted: 1500 to 50000",
        ),
        (json!({"election_timeout": 60000}), "election_timeout: 60000 ms; accepted: up to 50000"),
        (
            json!({"snapshot_count": "many"}),
            "snapshot_count: \"many\"; accepted: auto, or a whole number above 0",
        ),
        (json!({"tls_min_version": "SSL3"}), "tls_min_version: \"SSL3\"; accepted: TLS1.2, TLS1.3 or empty"),
        (
            json!({"quota_backend_bytes": -1}),
            "quota_backend_bytes: -1; accepted: 0 (etcd's default) or a size in bytes",
        ),
        (
            json!({"auto_compaction_mode": "daily"}),
            "auto_compaction_mode: \"daily\"; accepted: periodic, revision or empty",
        ),
        (
            json!({"auto_compaction_mode": "revision", "auto_compaction_retention": "1h"}),
            "auto_compaction_retention: \"1h\"; accepted with mode revision: a whole number",
        ),
        (json!({"enable_v2": "maybe"}), "enable_v2: \"maybe\"; accepted: auto, true, false"),
        (
            json!({"certificate_authority": "mine"}),
            "certificate_authority: \"mine\"; accepted: relation, internal",
        ),
        (
            json!({"bin-source": "file:///x"}),
            "source-sum: needed with bin-source; accepted: the file's SHA-256 (64 hexadecimal digits) or SHA-1 (40)",
        ),
    ];
    for (values, expected) in cases {
        assert_eq!(parse(values.clone()), Err(vec![expected.to_owned()]), "{values}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let errors = parse(json!({"port": -1, "enable_v2": "x", "channel": "3.5/nonsense"})).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn large_integers_may_arrive_as_floats() {
    assert_eq!(parse(json!({"quota_backend_bytes": 8e9})).unwrap().quota_backend_bytes, 8_000_000_000);
}
