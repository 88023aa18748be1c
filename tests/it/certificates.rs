//! The relation to the certificate authority comes and goes; etcd serves on.

use std::time::Duration;

use crate::sim::{Kind, Model, Writer, wait_until};
use crate::{PRESENT, on_both_etcds, on_every_kind};

on_every_kind!(the_authority_is_taken_away_and_given_back);
on_both_etcds!(another_authority_takes_over_under_load);

/// A consumer's certificate with its key.
const PAIR: &str = "cat /var/lib/consumer/client.crt /var/lib/consumer/client.key";

/// What a client may notice of one member's restart.
const GAP_MS: u64 = 2000;

fn the_authority_is_taken_away_and_given_back(kind: Kind) {
    let model = Model::with_cluster(kind, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let pids = pids(&model);
    let writer = Writer::start(&model, "consumer/0");
    model.run(&["remove-relation", "etcd", "easyrsa"]);
    model.wait(&[
        "etcd",
        "--status",
        "blocked",
        "--message",
        "Missing relation to certificate authority.",
        "--idle",
    ]);
    // The authority's side must have ended too before the two can be related again.
    model.wait(&["--idle"]);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.settle(3);
    writer.stop(1000);
    assert_eq!(pids, self::pids(&model), "leaf certificates never need a restart");
    let host_trusts = model.shell("etcd/0", "openssl verify /var/snap/etcd/common/server.crt");
    assert!(host_trusts.contains(": OK"), "{host_trusts}");
    model.assert_no_hook_failed();
}

/// At first the authority knows of no clients: nobody waits for it.
#[test]
fn each_application_has_a_pair_of_its_own_from_an_authority_that_makes_keys() {
    let model = Model::new(PRESENT);
    model.run(&["add-model", "default"]);
    model.deploy_easyrsa();
    model.run(&["config", "easyrsa", "client_requests=false"]);
    model.deploy_etcd(2);
    model.run(&["integrate", "etcd", "easyrsa"]);
    model.deploy_consumer("consumer");
    model.deploy_consumer("other");
    model.settle(2);
    model.wait(&["--idle"]);
    for name in ["consumer", "other"] {
        model.wait(&[name, "--status", "active", "--idle"]);
        assert_eq!(model.identity(&format!("{name}/0")), "client");
    }
    let writers = [Writer::start(&model, "consumer/0"), Writer::start(&model, "other/0")];
    let asked = |unit: &str| {
        let get = format!("relation-get -r $(relation-ids certificates) client_cert_requests {unit}");
        model.run(&["exec", "--unit", unit, "--", &get])
    };
    assert_eq!((asked("etcd/0").matches("sans").count(), asked("etcd/1").trim()), (2, ""));
    model.run(&["config", "easyrsa", "client_requests=true"]);
    model.assert_known_by_their_own(&["consumer", "other"]);
    let pair = |unit: &str| model.shell(unit, PAIR);
    assert_ne!(pair("consumer/0"), pair("other/0"));
    // The unit that asked goes: the next leader keeps what is good and asks for nothing.
    let before = (pair("consumer/0"), pair("other/0"));
    model.remove_units(&["etcd/0"], 1);
    model.assert_known_by_their_own(&["consumer", "other"]);
    assert_eq!((pair("consumer/0"), pair("other/0"), asked("etcd/1").trim()), (before.0, before.1, ""));
    // It does ask for who comes now.
    model.deploy_consumer("late");
    model.wait(&["late", "--status", "active", "--idle"]);
    model.assert_known_by_their_own(&["late"]);
    assert_eq!(
        (asked("etcd/1").matches("sans").count(), model.agreed().matches("consumer-").count()),
        (1, 3)
    );
    writers.into_iter().for_each(|writer| writer.stop(GAP_MS));
    model.run(&["remove-relation", "late", "etcd"]);
    model.run(&["remove-relation", "other", "etcd"]);
    model.wait(&["--idle"]);
    assert_eq!((asked("etcd/1").trim(), model.agreed().matches("consumer-").count()), ("", 1));
    model.assert_no_hook_failed();
}

fn pids(model: &Model) -> Vec<String> {
    let show = "systemctl show -p MainPID --value snap.etcd.etcd";
    model.units("etcd").iter().map(|unit| model.shell(unit, show)).collect()
}

fn another_authority_takes_over_under_load(kind: Kind) {
    let model = Model::with_quick_retries(kind);
    model.make_cluster(3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let before = authorities(&model);
    if kind.juju == "2.9" {
        // The same name with another key, and of another kind.
        model.run(&["config", "easyrsa", "key_algorithm=rsa"]);
        model.run(&["run", "easyrsa/0", "new-ca"]);
    } else {
        // From the relation to the application's own, by hooks that die.
        for unit in ["etcd/0", "etcd/1", "etcd/2"] {
            model.run(&["lab", "kill-hook", unit, "--call", "12", "--step", "9", "--after"]);
        }
        model.run(&["config", "etcd", "certificate_authority=internal"]);
    }
    changed(&model, &before);
    known_under_it(&model);
    writer.stop(GAP_MS);
}

/// The consumer has a certificate of its own of the authority that is used now.
pub fn known_under_it(model: &Model) {
    model.assert_known_by_their_own(&["consumer"]);
    let verify = "cd /var/lib/consumer && openssl verify -CAfile ca.crt -untrusted client.crt client.crt";
    assert!(model.shell("consumer/0", verify).contains(": OK"));
}

/// From the application's own authority to a related one that signs requests, and back. On every unit the hook dies in each phase: when the file with both
/// authorities is written, when the new certificate is, and when the old authority is dropped.
#[test]
fn another_authority_takes_over_though_every_phase_is_killed() {
    let model = Model::with_quick_retries(PRESENT);
    model.deploy_etcd_with(3, &["--config", "certificate_authority=internal"]);
    model.deploy_charm("csr-provider", "csr-provider");
    model.deploy_consumer("consumer");
    model.settle(3);
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    let before = authorities(&model);
    let secrets = || model.run(&["exec", "--unit", "etcd/0", "--", "secret-ids"]);
    assert!(
        !secrets().trim().trim_matches(['[', ']']).is_empty()
            && model.agreed().contains("authority-certificate")
    );
    let mut killers: Vec<_> =
        model.units("etcd").iter().map(|unit| model.start(&["ssh", unit, KILL_IN_EACH_PHASE])).collect();
    model.run(&["integrate", "etcd", "csr-provider"]);
    model.run(&["config", "etcd", "certificate_authority=relation"]);
    changed(&model, &before);
    for killer in &mut killers {
        assert!(killer.wait().unwrap().success(), "a phase was not killed");
    }
    known_under_it(&model);
    // Nothing is left of the one that nobody trusts, and the next one is another.
    wait_until("the old authority to be forgotten", Duration::from_secs(60), || {
        let agreed = model.agreed();
        !agreed.contains("authority-certificate") && !agreed.contains("certificate-etcd_")
    });
    assert_eq!(secrets().trim().trim_matches(['[', ']']), "");
    let related = authorities(&model);
    model.run(&["config", "etcd", "certificate_authority=internal"]);
    changed(&model, &related);
    assert_ne!(authorities(&model), before);
    known_under_it(&model);
    writer.stop(GAP_MS);
}

/// Ends well only if a hook was killed in each phase.
const KILL_IN_EACH_PHASE: &str = "cd /var/snap/etcd/common && cp server.crt /tmp/old.crt && \
    within() { for i in $(seq 6000); do eval \"$1\" && return; sleep 0.02; done; false; } && \
    when() { within \"$1\" && within 'pkill -9 -x dispatch'; } && \
    when '[ $(grep -c BEGIN ca.crt) = 2 ]' && when '! cmp -s server.crt /tmp/old.crt' && \
    when '[ $(grep -c BEGIN ca.crt) = 1 ]'";

/// Waits until all members have settled on one other authority.
pub fn changed(model: &Model, before: &str) {
    wait_until("another authority", Duration::from_secs(60), || authorities(model) != before);
    model.settle(3);
    let now = authorities(model);
    assert_ne!(now, before);
    assert_eq!(now.lines().filter(|line| line.starts_with("-----BEGIN")).count(), 1, "the old one is gone");
    for unit in model.units("etcd") {
        assert_eq!(model.shell(&unit, CA), now, "{unit}");
        let chain =
            "cd /var/snap/etcd/common && openssl verify -CAfile ca.crt -untrusted server.crt server.crt";
        assert!(model.shell(&unit, chain).contains(": OK"), "{unit}");
    }
}

const CA: &str = "cat /var/snap/etcd/common/ca.crt";

pub fn authorities(model: &Model) -> String {
    model.shell("etcd/0", CA)
}
