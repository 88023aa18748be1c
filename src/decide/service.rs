//! etcd's configuration and its running server.
//!
//! A file that differs only in what counts for an empty data directory never causes a restart.

use super::ports::{self, Ports, peer_url};
use super::{Next, addresses, minors, preparing, starting, status};
use crate::etcd::{ClientTls, ClusterState, Compaction, Member, Settings, Version, cipher_suites};
use crate::juju::Status;
use crate::options::{EnableV2, INSECURE_PORT, Options};
use crate::step::Step;
use crate::world::{Door, V2Store, World};

pub(super) use crate::etcd::{host_of, url};

/// Where the charm keeps etcd's files (kept from the earlier charm).
pub const COMMON: &str = "/var/snap/etcd/common";
/// The snap's data of all its revisions, and what they share.
pub const REVISIONS: &str = "/var/snap/etcd";
/// Where members keep their data; snapd copies it to the next revision's folder on a refresh.
pub const DATA: &str = "/var/snap/etcd/current";

/// Where etcd's own documentation puts metrics.
const METRICS_PORT: u16 = 2381;

/// This unit's client URL, once it has an address and its options can be read.
pub(super) fn client_url(w: &World) -> Option<String> {
    Some(url(w.addresses.client.as_ref()?, w.options.as_ref().ok()?.port))
}

/// What counts for an empty data directory.
struct Birth {
    state: ClusterState,
    token: String,
    cluster: Vec<(String, String)>,
}

/// Start the first member of a new cluster.
pub(super) fn start_new_cluster(w: &World, token: &str) -> Next {
    let Some(peer_url) = peer_url(w) else { return no_address() };
    let birth = Birth {
        state: ClusterState::New,
        token: token.to_owned(),
        cluster: vec![(w.member_name(), peer_url)],
    };
    write_or_start(w, birth)
}

/// Start as the learner that the cluster already expects. The list must be exactly the present members.
pub(super) fn start_as_joiner(w: &World, members: &[Member]) -> Next {
    let named = |member: &Member| {
        let name = if member.is_started() { member.name.clone() } else { w.member_name() };
        Some((name, member.peer_urls.first()?.clone()))
    };
    let birth = Birth {
        state: ClusterState::Existing,
        token: w.peers.cluster.token.clone().unwrap_or_default(),
        cluster: members.iter().filter_map(named).collect(),
    };
    write_or_start(w, birth)
}

/// Start a member that has its data: membership comes from its disk.
pub(super) fn start(w: &World) -> Next {
    if let Some(status) = starting::in_vain(w) {
        return Next::Done(status);
    }
    match (&w.options, &w.host.config) {
        (Ok(_), _) => write_or_start(w, grown_up(w)),
        // Wrong options never keep etcd down: it runs on with what it had.
        (Err(_), Some(_)) => starting::start(w),
        (Err(errors), None) => Next::Done(status::wrong_options(errors)),
    }
}

/// A member with data must never begin a new history, whatever happens to its directory later.
fn grown_up(w: &World) -> Birth {
    Birth {
        state: ClusterState::Existing,
        token: w.peers.cluster.token.clone().unwrap_or_default(),
        cluster: peer_url(w).map(|url| (w.member_name(), url)).into_iter().collect(),
    }
}

fn write_or_start(w: &World, birth: Birth) -> Next {
    let (Ok(options), Some(version)) = (&w.options, w.installed_version()) else {
        return unreadable_version();
    };
    let Some(settings) = settings(w, options, birth) else { return no_address() };
    let is_written = w.host.config.as_ref() == Some(&settings.render(&version));
    if is_written {
        starting::start(w)
    } else {
        Next::Do(Step::WriteConfig { settings: Box::new(settings), version, restart: false })
    }
}

/// The file of a running member follows the options; the server follows the file.
pub(super) fn next(w: &World) -> Option<Next> {
    let (Door::Open(_), Ok(options)) = (&w.etcd.door, &w.options) else { return None };
    let version = w.installed_version()?;
    let settings = settings(w, options, grown_up(w))?;
    let wanted = settings.render(&version);
    if w.host.config.as_ref() != Some(&wanted) {
        if let Some(why) = w.tried.in_vain("write-config") {
            return Some(Next::Done(Status::blocked(why)));
        }
        let restart = !w.host.config.as_ref().is_some_and(|old| crate::etcd::same_at_run_time(old, &wanted));
        return Some(Next::Do(Step::WriteConfig { settings: Box::new(settings), version, restart }));
    }
    if w.host.restart_due.is_none() {
        return ports::next(w, options);
    }
    match w.tried.in_vain("restart-service") {
        // The status tells of the lost quorum.
        Some(_) if w.members().is_none() => None,
        Some(refusal) => Some(Next::Done(Status::waiting(format!("Waiting to restart etcd: {refusal}")))),
        None => Some(Next::Do(Step::RestartService)),
    }
}

/// What the operator asks for and a running member cannot follow.
pub(super) fn why_option_waits(w: &World) -> Option<Status> {
    let options = w.options.as_ref().ok()?;
    super::release::why_it_waits(w, options)
        .or_else(|| why_too_old_for_tls(w, options))
        .or_else(|| why_not_v2(w, options))
        .or_else(|| super::upgrade::why_it_waits(w, options))
        .or_else(|| super::snapd::why_it_waits(w))
        .or_else(|| super::storage::why_it_waits(w).map(Status::blocked))
        .or_else(|| super::storage::why_it_is_elsewhere(w))
}

/// The file of a member of this unit that has its data where it belongs.
pub(super) fn own_file(w: &World) -> Option<String> {
    let settings = settings(w, w.options.as_ref().ok()?, grown_up(w))?;
    Some(settings.render(&w.installed_version()?))
}

/// What this member runs with, but with all of its data in `data_dir`.
pub(super) fn settings_in(w: &World, data_dir: &'static str) -> Option<(Settings, Version)> {
    let settings = settings(w, w.options.as_ref().ok()?, grown_up(w))?;
    Some((Settings { data_dir: data_dir.to_owned(), wal_dir: None, ..settings }, w.installed_version()?))
}

fn settings(w: &World, options: &Options, birth: Birth) -> Option<Settings> {
    let peer_url = peer_url(w)?;
    let metrics_url = metrics_url(w, options)?;
    let Ports { client, peer } = ports::ports(w, options)?;
    let (client_bind, peer_bind) = (addresses::client_bind(w), addresses::peer_bind(w));
    let mut listen_client_urls: Vec<String> =
        client.iter().flat_map(|port| listen(options, &client_bind, *port)).collect();
    // A port that is being left is open until everybody has gone.
    if options.bind_with_insecure_http && !client.iter().chain(&peer).any(|port| *port == INSECURE_PORT) {
        listen_client_urls.push(format!("http://127.0.0.1:{INSECURE_PORT}"));
    }
    let file = |name: &str| format!("{COMMON}/{name}");
    let tls = ClientTls { certificate: file("server.crt"), key: file("server.key"), ca: file("ca.crt") };
    Some(Settings {
        name: w.member_name(),
        data_dir: w.host.place.data.clone(),
        wal_dir: w.host.place.log.clone(),
        listen_client_urls,
        advertise_client_urls: vec![url(&addresses::client(w)?, *client.first()?)],
        listen_peer_urls: peer
            .into_iter()
            .filter_map(|port| listen(options, &peer_bind, port).into_iter().next())
            .collect(),
        initial_advertise_peer_urls: vec![peer_url],
        listen_metrics_urls: vec![metrics_url],
        initial_cluster: birth.cluster,
        initial_cluster_token: birth.token,
        initial_cluster_state: birth.state,
        heartbeat_interval_ms: options.heartbeat_interval_ms,
        election_timeout_ms: options.election_timeout_ms,
        snapshot_count: preparing::snapshot_count(w, options)
            .unwrap_or(options.snapshot_count.unwrap_or(100_000)),
        quota_backend_bytes: options.quota_backend_bytes,
        auto_compaction: options
            .auto_compaction
            .as_ref()
            .map(|rule| Compaction { mode: rule.mode.clone(), retention: rule.retention.clone() }),
        cipher_suites: ciphers(options),
        tls_min_version: options.tls_min_version.clone(),
        enable_v2: serves_v2(w, options),
        debug: options.debug,
        client_tls: tls.clone(),
        peer_tls: tls,
        force_new_cluster: false,
    })
}

/// Left to the charm, the old store is served where it was and holds keys; a newcomer does as the others.
fn serves_v2(w: &World, options: &Options) -> bool {
    match (options.enable_v2, &w.host.config) {
        // Each request to it would end them.
        (EnableV2::On, _) if minors::who_has_none(w).is_some() => false,
        (EnableV2::On, _) => true,
        (EnableV2::Off, _) => false,
        (EnableV2::Auto, None) => w.peers.units.values().any(|peer| peer.record.serves_v2),
        (EnableV2::Auto, Some(_)) => matches!(w.etcd.v2_store, V2Store::Used | V2Store::Unknown(_)),
    }
}

/// The file leaves them out where etcd lets nobody in but by TLS 1.3, which has its own.
fn ciphers(options: &Options) -> Vec<String> {
    if options.tls_cipher_suites.is_empty() {
        cipher_suites::DEFAULT.iter().map(|&suite| suite.to_owned()).collect()
    } else {
        options.tls_cipher_suites.clone()
    }
}

/// What this etcd does instead is the strongest that it can: TLS 1.2 and 1.3, with the charm's list of suites.
fn why_too_old_for_tls(w: &World, options: &Options) -> Option<Status> {
    let (version, wanted) = (w.installed_version()?, options.tls_min_version.as_deref()?);
    let is_kept = wanted == "TLS1.2" || crate::etcd::knows_min_version(&version);
    (!is_kept).then(|| {
        Status::blocked(format!(
            "tls_min_version: etcd {version} cannot refuse TLS 1.2, 3.4.25 and later can; set a channel with one, or tls_min_version=TLS1.2"
        ))
    })
}

/// What etcd 3.6 gets of the old store ends it.
fn why_not_v2(w: &World, options: &Options) -> Option<Status> {
    let own = w.installed_version()?.minor_version();
    let is_due = options.enable_v2 == EnableV2::On && own < minors::WITHOUT_V2;
    let (who, version) = minors::who_has_none(w).filter(|_| is_due)?;
    Some(Status::blocked(format!(
        "enable_v2: {who} runs {version}, which ends where another member serves the v2 store: set enable_v2=auto"
    )))
}

/// The unit itself always gets in by loopback, whatever else is listened on.
fn listen(options: &Options, bind: &Option<String>, port: u16) -> Vec<String> {
    match bind {
        Some(address) if !options.bind_to_all_interfaces => {
            vec![url(address, port), url("127.0.0.1", port)]
        }
        _ => vec![url("0.0.0.0", port)],
    }
}

/// Metrics and health for this machine alone, without a key.
pub(super) fn metrics_url(w: &World, options: &Options) -> Option<String> {
    let Ports { client, peer } = ports::ports(w, options)?;
    let taken = [client, peer, vec![options.port, options.management_port]].concat();
    Some(format!("http://127.0.0.1:{}", metrics_port(&taken)))
}

/// 2381, or the next one up that neither clients nor members use or are about to use.
fn metrics_port(taken: &[u16]) -> u16 {
    (METRICS_PORT..).find(|port| !taken.contains(port)).unwrap_or(METRICS_PORT)
}

fn no_address() -> Next {
    Next::Done(Status::waiting("Waiting for an address for this unit"))
}

fn unreadable_version() -> Next {
    Next::Done(Status::blocked("Cannot tell the version of the installed etcd: reinstall it"))
}

/// The version that is installed, for those who publish it.
pub(super) fn version(w: &World) -> Option<Version> {
    w.own_status().map(|status| status.version.clone()).or_else(|| w.installed_version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_keep_out_of_the_way_of_the_chosen_ports() {
        assert_eq!(metrics_port(&[2379, 2380]), 2381);
        assert_eq!(metrics_port(&[2381, 2380]), 2382);
        assert_eq!(metrics_port(&[2379, 2382, 2381, 2380]), 2383);
    }

    /// What the earlier charm left on stays on as long as it holds keys, on newcomers too, and is never put on by itself.
    #[test]
    fn the_old_store_is_served_where_it_is_in_use() {
        let mut w = crate::decide::worlds::settled(1, &crate::decide::worlds::three());
        let serves = |w: &World| serves_v2(w, w.options.as_ref().unwrap());
        assert!(!serves(&w));
        for (store, wanted) in
            [(V2Store::Used, true), (V2Store::Unknown("slow".into()), true), (V2Store::Empty, false)]
        {
            w.etcd.v2_store = store;
            assert_eq!(serves(&w), wanted);
        }
        w.host.config = None;
        assert!(!serves(&w));
        w.peers.units.values_mut().for_each(|peer| peer.record.serves_v2 = true);
        assert!(serves(&w));
        w.options.as_mut().unwrap().enable_v2 = EnableV2::Off;
        assert!(!serves(&w));
    }

    #[test]
    fn plain_http_waits_until_its_port_has_been_left() {
        let mut w = crate::decide::worlds::settled(0, &crate::decide::worlds::three());
        let options = w.options.as_mut().unwrap();
        (options.port, options.management_port, options.bind_with_insecure_http) = (2379, 2380, true);
        let listened =
            |w: &World, options: &Options| settings(w, options, grown_up(w)).unwrap().listen_client_urls;
        let options = w.options.clone().unwrap();
        assert_eq!(listened(&w, &options), ["https://0.0.0.0:2379", "http://127.0.0.1:4001"]);
        // A consumer that nobody has given the new port yet.
        w.host.config = Some(w.host.config.clone().unwrap().replace(":2379", ":4001"));
        w.peers.units.values_mut().for_each(|peer| peer.record.client_url = None);
        w.consumers = vec![crate::decide::worlds::consumer("db:7")];
        assert_eq!(listened(&w, &options), ["https://0.0.0.0:2379", "https://0.0.0.0:4001"]);
    }

    /// A refresh brings the listener to a cluster that runs without one: each member restarts once for it.
    #[test]
    fn a_file_without_metrics_listener_is_replaced_with_a_restart() {
        let mut w = crate::decide::worlds::settled(0, &crate::decide::worlds::three());
        let before = w.host.config.clone().unwrap();
        assert!(before.contains("listen-metrics-urls: http://127.0.0.1:2381"), "{before}");
        let without = before.lines().filter(|line| !line.starts_with("listen-metrics-urls"));
        w.host.config = Some(without.map(|line| format!("{line}\n")).collect());
        assert!(matches!(next(&w), Some(Next::Do(Step::WriteConfig { restart: true, .. }))));
    }

    #[test]
    fn an_etcd_that_cannot_keep_tls_1_2_out_says_so_and_keeps_its_suites() {
        let mut w = crate::decide::worlds::settled(0, &crate::decide::worlds::three());
        w.options.as_mut().unwrap().tls_min_version = Some("TLS1.3".to_owned());
        assert!(w.host.config.as_ref().unwrap().contains("cipher-suites"));
        assert_eq!(next(&w), None, "its file is the strongest that it understands");
        let status = why_option_waits(&w).unwrap().to_string();
        assert!(
            status.starts_with("blocked tls_min_version: etcd 3.4.23 cannot refuse TLS 1.2, "),
            "{status}"
        );
        w.options.as_mut().unwrap().tls_min_version = Some("TLS1.2".to_owned());
        assert_eq!(why_option_waits(&w), None);
    }
}
