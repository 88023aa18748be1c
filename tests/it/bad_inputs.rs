//! Bad input of every kind, and the exact answer to each. docs/reference/bad-input.md is made from these tables, so
//! that an operator finds every answer there. A unit that was given bad input serves on, unchanged.

use std::fmt::Write as _;
use std::fs;

use etcd_charm::yaml;
use serde_json::Value;

use crate::PRESENT;
use crate::bad_archives::{self, ARCHIVES};
use crate::reference;
use crate::sim::{Model, given};

/// What was set, and the status that follows (`blocked`).
type Row = (&'static [&'static str], &'static str);

const OPTIONS: &[Row] = &[
    (&["port=0"], "port: 0 is not a port; accepted: 1 to 65535"),
    (&["port=70000"], "port: 70000 is not a port; accepted: 1 to 65535"),
    (&["port=2380"], "management_port: 2380 is also the client port; the two must differ"),
    (
        &["bind_with_insecure_http=true", "management_port=4001"],
        "bind_with_insecure_http: it takes 4001, which is also management_port; set management_port to another one",
    ),
    (&["management_port=-1"], "management_port: -1 is not a port; accepted: 1 to 65535"),
    (&["heartbeat_interval=0"], "heartbeat_interval: 0 ms; accepted: 1 or more"),
    (
        &["heartbeat_interval=300"],
        "election_timeout: 1000 ms is less than five heartbeats of 300 ms; accepted: 1500 to 50000",
    ),
    (&["election_timeout=60000"], "election_timeout: 60000 ms; accepted: up to 50000"),
    (&["snapshot_count=many"], "snapshot_count: \"many\"; accepted: auto, or a whole number above 0"),
    (&["snapshot_count=0"], "snapshot_count: \"0\"; accepted: auto, or a whole number above 0"),
    (
        &["tls_cipher_suites=NULL"],
        "tls_cipher_suites: cannot use NULL: not a TLS 1.2 cipher suite that Go knows; \
         accepted: names as in TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        &["tls_cipher_suites=TLS_RSA_WITH_AES_256_CBC_SHA"],
        "tls_cipher_suites: cannot serve HTTP/2 without TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or \
         TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: add one of them",
    ),
    (&["tls_min_version=SSL3"], "tls_min_version: \"SSL3\"; accepted: TLS1.2, TLS1.3 or empty"),
    (
        &["tls_min_version=TLS1.3", "tls_cipher_suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        "tls_min_version: TLS1.3 cannot be combined with tls_cipher_suites",
    ),
    (&["extra_sans=not a name"], "extra_sans: \"not a name\" is neither a host name nor an IP address"),
    (&["certificate_authority=mine"], "certificate_authority: \"mine\"; accepted: relation, internal"),
    (&["quota_backend_bytes=-1"], "quota_backend_bytes: -1; accepted: 0 (etcd's default) or a size in bytes"),
    (
        &["auto_compaction_mode=daily"],
        "auto_compaction_mode: \"daily\"; accepted: periodic, revision or empty",
    ),
    (
        &["auto_compaction_mode=revision", "auto_compaction_retention=1h"],
        "auto_compaction_retention: \"1h\"; accepted with mode revision: a whole number",
    ),
    (
        &["auto_compaction_mode=periodic", "auto_compaction_retention=soon"],
        "auto_compaction_retention: \"soon\"; accepted with mode periodic: hours as a number, or 1h, 30m, 90s",
    ),
    (
        &["auto_compaction_retention=1h"],
        "auto_compaction_mode: needed with auto_compaction_retention; accepted: periodic, revision",
    ),
    (
        &["snapd_refresh=weekly"],
        "snapd_refresh: \"weekly\"; accepted: max, empty, or a snapd timer such as sun5,23:00-01:00",
    ),
    (
        &["snap_proxy=http://user:password@10.0.0.9:3128"],
        "snap_proxy: not the address of a proxy; accepted: http://HOST:PORT or https://HOST:PORT, without a password",
    ),
    (
        &["snap_proxy_url=10.0.0.9"],
        "snap_proxy_url: not the address of a proxy; accepted: http://HOST:PORT or https://HOST:PORT, without a password",
    ),
    (&["enable_v2=maybe"], "enable_v2: \"maybe\"; accepted: auto, true, false"),
    (
        &["bin-source=/srv/etcd.tar.gz"],
        "source-sum: needed with bin-source; accepted: the file's SHA-256 (64 hexadecimal digits) or SHA-1 (40)",
    ),
    (&["source-sum=abc"], "bin-source: needed with source-sum; accepted: the URL or path of a tarball"),
    (
        &["bin-source=/srv/etcd.tar.gz", "source-sum=abc"],
        "source-sum: \"abc\"; accepted: the file's SHA-256 (64 hexadecimal digits) or SHA-1 (40)",
    ),
    (
        &["bin-source=etcd.tar.gz", "source-sum=abc"],
        "bin-source: not an address of a tarball; accepted: http://…, https://…, file:///… or an absolute path",
    ),
    (
        &["channel=nonsense"],
        "channel: cannot use \"nonsense\" as a channel; accepted: 3.4, 3.4/stable, latest/edge, stable, \
         3.5/edge/fix-1 (risks: stable, candidate, beta, edge)",
    ),
    (&["channel=3.9/stable"], "channel 3.9/stable skips 3.6: set channel=3.6/stable first"),
    (
        &["channel=3.3/stable"],
        "channel 3.3/stable is below the installed 3.5, and etcd does not move down: set channel=3.5/stable",
    ),
    (
        &["port=0", "enable_v2=maybe"],
        "port: 0 is not a port; accepted: 1 to 65535; enable_v2: \"maybe\"; accepted: auto, true, false",
    ),
];

/// Juju itself refuses these, and the charm hears nothing of them.
const OPTIONS_OF_JUJU: &[Row] = &[
    (&["port=http"], "ERROR option \"port\" expected int, got \"http\""),
    (&["debug=maybe"], "ERROR option \"debug\" expected boolean, got \"maybe\""),
    (&["bind_to_all_interfaces=2"], "ERROR option \"bind_to_all_interfaces\" expected boolean, got \"2\""),
    (
        &["bind_with_insecure_http=local"],
        "ERROR option \"bind_with_insecure_http\" expected boolean, got \"local\"",
    ),
    (&["prot=2379"], "ERROR unknown option \"prot\""),
];

/// Options that take any text.
const FREE: [&str; 2] = ["nagios_context", "nagios_servicegroups"];

const ACTIONS: &[Row] = &[
    (
        &["snapshot", "target=backups"],
        "target: backups is not an absolute path; accepted: one such as /home/ubuntu/etcd-snapshots",
    ),
    (
        &["snapshot", "target=~/backups"],
        "target: ~/backups is not an absolute path; accepted: one such as /home/ubuntu/etcd-snapshots",
    ),
    (
        &["snapshot", "target=/etc/hostname"],
        "target: /etc/hostname is not a directory; name one, or a path where one can be made",
    ),
    (
        &["snapshot", "target=/proc/backups"],
        "target: cannot make the directory /proc/backups; name one that this unit can write: \
         No such file or directory (os error 2)",
    ),
    (
        &["snapshot", "keys-version=v2"],
        "keys-version: v2 cannot be saved: the v2 store is off; set enable_v2=true if it holds keys, or use keys-version=v3",
    ),
    (&["compact", "revision=abc"], "revision: \"abc\" is not a whole number from 1 up"),
    (&["compact", "revision=0"], "revision: 0 is not a whole number from 1 up"),
    (&["compact", "revision=-3"], "revision: -3 is not a whole number from 1 up"),
    (&["compact", "revision=99999"], "revision: 99999 has not been reached; the present revision is 2"),
];

/// Juju itself refuses these by `actions.yaml`.
const ACTIONS_OF_JUJU: &[Row] = &[
    (&["snapshot", "target=5"], "validation failed: (root).target : must be of type string, given 5"),
    (
        &["snapshot", "keys-version=v1"],
        "validation failed: (root).keys-version : must match one of the enum values [\"v3\", \"v2\"], given \"v1\"",
    ),
    (
        &["snapshot", "tarjet=/srv"],
        "validation failed: (root) : additional property \"tarjet\" is not allowed, given {\"tarjet\":\"/srv\"}",
    ),
    (
        &["compact", "revision=1.5"],
        "validation failed: (root).revision : must be of type string or integer, given 1.5",
    ),
    (
        &["compact", "physical=maybe"],
        "validation failed: (root).physical : must be of type boolean, given \"maybe\"",
    ),
    (
        &["restore", "skip-backup=perhaps"],
        "validation failed: (root).skip-backup : must be of type boolean, given \"perhaps\"",
    ),
    (
        &["recover-quorum", "without=x"],
        "without: x is not another unit of etcd; accepted: units, such as etcd/1,etcd/2",
    ),
    (
        &["recover-quorum", "confirm=5"],
        "validation failed: (root).confirm : must be of type boolean, given 5",
    ),
    (
        &["snap-upgrade", "backup=none"],
        "validation failed: (root).backup : must be of type boolean, given \"none\"",
    ),
    (
        &["defrag", "now=true"],
        "validation failed: (root) : additional property \"now\" is not allowed, given {\"now\":true}",
    ),
    (&["snapshots"], "ERROR cannot run \"snapshots\" action: not defined on unit \"etcd/0\""),
];

/// What an authority that is broken or hostile writes: the key, the key whose value it gets (or no PEM at all), and
/// the status that follows (`blocked  Certificate from easyrsa cannot be used: …`).
const AUTHORITY: &[(&str, Option<&str>, &str)] = &[
    (
        "etcd_0.server.cert",
        None,
        "server certificate: its certificate is not usable PEM: cannot find a PEM certificate in it",
    ),
    ("etcd_0.server.cert", Some("client.cert"), "server certificate: its key belongs to another certificate"),
    (
        "etcd_0.server.key",
        None,
        "server certificate: its key is not usable PEM: cannot read the private key: no items found",
    ),
    ("etcd_0.server.key", Some("client.key"), "server certificate: its key belongs to another certificate"),
    ("ca", None, "server certificate: its CA is not usable PEM: cannot find a PEM certificate in it"),
    ("ca", Some("client.cert"), "server certificate: it was not signed by the CA that came with it"),
    (
        "client.cert",
        None,
        "client certificate: its certificate is not usable PEM: cannot find a PEM certificate in it",
    ),
    ("client.cert", Some("etcd_0.server.cert"), "client certificate: its key belongs to another certificate"),
];

#[test]
fn every_answer_is_the_one_in_the_table() {
    let model = Model::with_cluster(PRESENT, 1);
    let pid = || model.shell("etcd/0", "systemctl show -p MainPID --value snap.etcd.etcd");
    let before = pid();
    options(&model);
    actions(&model);
    authority(&model);
    a_unit_of_the_cluster(&model);
    bad_archives::are_refused(&model);
    assert_eq!(pid(), before, "etcd was restarted");
    resources(&model);
    model.assert_no_hook_failed();
}

fn options(model: &Model) {
    let channel = "channel=3.5/stable";
    let mut set: Vec<&str> = Vec::new();
    for (settings, answer) in OPTIONS {
        let names: Vec<&str> = settings.iter().filter_map(|setting| setting.split('=').next()).collect();
        let mut arguments = vec!["config", "etcd"];
        arguments.extend(*settings);
        if !names.contains(&"channel") {
            arguments.push(channel);
        }
        set.retain(|name| !names.contains(name) && *name != "channel");
        let reset = set.join(",");
        if !reset.is_empty() {
            arguments.extend(["--reset", &reset]);
        }
        model.run(&arguments);
        blocked(model, answer);
        set = names;
    }
    model.run(&["config", "etcd", "--reset", &set.join(",")]);
    model.settle(1);
    for (settings, answer) in OPTIONS_OF_JUJU {
        let output = model.attempt(&[&["config", "etcd"], *settings].concat());
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), *answer, "{settings:?}");
    }
}

fn blocked(model: &Model, answer: &str) {
    model.wait(&["etcd", "--status", "blocked", "--message", answer, "--idle"]);
    assert_eq!(model.shown("etcd/0"), format!("blocked {answer}"));
}

fn actions(model: &Model) {
    for (words, answer) in ACTIONS.iter().chain(ACTIONS_OF_JUJU) {
        let arguments = [&["run", "etcd/0", "--format", "json"], *words].concat();
        let output = model.attempt(&arguments);
        let said = match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(answer) => answer["etcd/0"]["message"].as_str().unwrap_or_default().to_owned(),
            Err(_) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        };
        assert_eq!(said, *answer, "{words:?}");
    }
    let snapshots = model.shell("etcd/0", "ls -d /home/ubuntu/etcd-snapshots 2>/dev/null || true");
    assert_eq!(snapshots, "", "an action that was refused has left something behind");
}

const KEYS: [&str; 5] = ["etcd_0.server.cert", "etcd_0.server.key", "ca", "client.cert", "client.key"];

fn authority(model: &Model) {
    let on_easyrsa = |script: &str| {
        let script = format!("set -e; cd /root; r=$(relation-ids client); {script}");
        model.run(&["exec", "--unit", "easyrsa/0", "--", "bash", "-c", &script])
    };
    on_easyrsa(&format!(
        "for key in {}; do relation-get -r $r $key easyrsa/0 > keep.$key; done; echo nonsense > keep.nonsense",
        KEYS.join(" ")
    ));
    let set = |changed: Option<(&str, &str)>| {
        let value =
            |key: &str| changed.filter(|(name, _)| *name == key).map_or(key.to_owned(), |c| c.1.to_owned());
        let pairs: Vec<String> =
            KEYS.iter().map(|key| format!("\"{key}=$(cat keep.{})\"", value(key))).collect();
        on_easyrsa(&format!("relation-set -r $r {}", pairs.join(" ")));
    };
    for (key, from, answer) in AUTHORITY {
        set(Some((key, from.unwrap_or("nonsense"))));
        blocked(
            model,
            &format!(
                "Certificate from easyrsa cannot be used: {answer}; see to that, every hook tries again"
            ),
        );
    }
    set(None);
    model.settle(1);
}

/// What another unit, or another revision of the charm, wrote and nobody can read counts as absent.
fn a_unit_of_the_cluster(model: &Model) {
    let on_etcd = |script: &str| {
        let script = format!("set -e; r=$(relation-ids cluster); {script}");
        model.run(&["exec", "--unit", "etcd/0", "--", "bash", "-c", &script])
    };
    on_etcd("relation-set -r $r member-id=none client-url=none peer-url=ftp://none etcd-version=new");
    on_etcd("relation-set -r $r --app cluster-id=none token=");
    model.run(&["refresh", "etcd", "--path", &given("ETCD_CHARM").display().to_string()]);
    model.settle(1);
    let own = on_etcd("relation-get -r $r - etcd/0; relation-get -r $r --app - etcd");
    assert!(!own.contains("none") && own.contains("token:"), "{own}");
}

fn resources(model: &Model) {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("text.snap"), "no snap").unwrap();
    fs::write(path("empty.snap"), "").unwrap();
    let charm = given("ETCD_CHARM").display().to_string();
    let attached = format!("etcd={}", path("text.snap"));
    model.run(&["deploy", &charm, "other", "--resource", &attached, "--config", "channel=3.5/stable"]);
    model.wait(&["other", "--status", "blocked", "--message", "Cannot install etcd: ", "--idle"]);
    model.run(&["attach-resource", "other", &format!("etcd={}", path("empty.snap"))]);
    let relation = "Missing relation to certificate authority.";
    model.wait(&["other", "--status", "blocked", "--message", relation, "--idle"]);
    let version = model.status()["applications"]["other"]["version"].clone();
    assert!(version.as_str().unwrap_or("3.5").starts_with("3.5"), "{version}");
}

#[test]
fn every_option_and_parameter_has_its_row() {
    let rows = || OPTIONS.iter().chain(OPTIONS_OF_JUJU);
    let settings: Vec<&str> = rows().flat_map(|(settings, _)| *settings).copied().collect();
    let config: Value = yaml::from_str(include_str!("../../config.yaml")).unwrap();
    for name in config["options"].as_object().unwrap().keys() {
        let is_set = settings.iter().any(|setting| setting.split('=').next() == Some(name));
        assert_ne!(is_set, FREE.contains(&name.as_str()), "{name}");
    }
    assert!(rows().count() + ACTIONS.len() + ACTIONS_OF_JUJU.len() + AUTHORITY.len() >= 40);
}

#[test]
fn answers_are_those_of_the_table() {
    let mut page =
        "# Bad input and its answers\n\nMade from the tests' own tables by `scripts/reference`: each of \
                    these was tried. Whatever is set, etcd runs on with what it had.\n"
            .to_owned();
    let rows = |rows: &[Row]| -> Vec<(String, String)> {
        rows.iter().map(|(words, answer)| (format!("`{}`", words.join(" ")), (*answer).to_owned())).collect()
    };
    table(&mut page, "Options", "`juju config etcd …`", "status, `blocked`", &rows(OPTIONS));
    table(&mut page, "Options that Juju refuses", "`juju config etcd …`", "answer", &rows(OPTIONS_OF_JUJU));
    let _ = writeln!(page, "\nAny text is accepted for {}.", FREE.map(|name| format!("`{name}`")).join(", "));
    table(&mut page, "Actions", "`juju run etcd/0 …`", "the action fails with", &rows(ACTIONS));
    table(&mut page, "Actions that Juju refuses", "`juju run etcd/0 …`", "answer", &rows(ACTIONS_OF_JUJU));
    let authority: Vec<(String, String)> = AUTHORITY
        .iter()
        .map(|(key, from, answer)| {
            let value = from.map_or("no PEM".to_owned(), |from| format!("the value of `{from}`"));
            (format!("`{key}`: {value}"), (*answer).to_owned())
        })
        .collect();
    let head = "status, `blocked  Certificate from easyrsa cannot be used: …`";
    table(&mut page, "What an authority sends", "key and value", head, &authority);
    page += "\nValues of another unit of etcd that cannot be read count as absent, and are written anew.\n\
             \n## Resources\n\n| attached as `etcd` | what happens |\n| --- | --- |\n\
             | a file that is no snap | `blocked  Cannot install etcd: …`, with snapd's words; attach another |\n\
             | an empty file | counts as not attached: the channel is used |\n";
    let archives: Vec<(String, String)> =
        ARCHIVES.iter().map(|(words, _, answer)| ((*words).to_owned(), (*answer).to_owned())).collect();
    let (input, head) = ("attached as `snapshot`", "the action `restore` fails with");
    table(&mut page, "Snapshots", input, head, &archives);
    reference::check("bad-input.md", &page);
}

fn table(page: &mut String, title: &str, input: &str, answer: &str, rows: &[(String, String)]) {
    let _ = writeln!(page, "\n## {title}\n\n| {input} | {answer} |\n| --- | --- |");
    for (input, answer) in rows {
        let _ = writeln!(page, "| {input} | `{answer}` |");
    }
}
