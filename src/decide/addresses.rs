//! Where others find this unit. Another address of its machine counts once the server's certificate names it: before that
//! nobody would believe the unit there, and a restart for its sake would only cost the cluster a member.

use std::net::IpAddr;

use super::{ports, service, tls};
use crate::etcd::OnDisk;
use crate::juju::Status;
use crate::world::{Data, Door, World};

/// Where other members reach this one: bare address.
pub(super) fn peer(w: &World) -> Option<String> {
    let wanted = w.addresses.peer.clone();
    let registered = || Some(service::host_of(&ports::registered(w)?).to_owned());
    if awaits_certificate(w, &wanted) { registered().or(wanted) } else { wanted }
}

/// Where clients reach it.
pub(super) fn client(w: &World) -> Option<String> {
    kept(w, &w.addresses.client, &w.addresses.client, |file| &file.advertise_client_urls)
}

/// Where a server that does not listen everywhere does it for members.
pub(super) fn peer_bind(w: &World) -> Option<String> {
    bind(w, &w.addresses.peer, &w.addresses.peer_bind, |file| &file.listen_peer_urls)
}

/// The same for clients.
pub(super) fn client_bind(w: &World) -> Option<String> {
    bind(w, &w.addresses.client, &w.addresses.client_bind, |file| &file.listen_client_urls)
}

/// Whom the member waits for, to be found where its machine is now.
pub(super) fn why_it_waits(w: &World) -> Option<Status> {
    let all = [&w.addresses.peer, &w.addresses.client];
    let address = all.into_iter().find(|address| awaits_certificate(w, address))?.as_ref()?;
    let authority = tls::authority(w);
    Some(Status::waiting(format!("Requesting TLS certificates from {authority} for the address {address}")))
}

/// What is not there any more cannot be listened on: this is for a server that runs.
fn bind(
    w: &World,
    address: &Option<String>,
    wanted: &Option<String>,
    listened: fn(&OnDisk) -> &[String],
) -> Option<String> {
    match w.etcd.door {
        Door::Closed => wanted.clone(),
        Door::Mute(_) | Door::Open(_) => kept(w, address, wanted, listened),
    }
}

/// What stands in etcd's file, while the certificate for `address` is awaited.
fn kept(
    w: &World,
    address: &Option<String>,
    wanted: &Option<String>,
    urls: fn(&OnDisk) -> &[String],
) -> Option<String> {
    let file = ports::on_disk(&w.host).filter(|_| awaits_certificate(w, address));
    let host = file.and_then(|file| Some(service::host_of(urls(&file).first()?).to_owned()));
    host.filter(|host| host != "0.0.0.0").or_else(|| wanted.clone())
}

/// Names are not looked at: they stay when addresses change.
fn awaits_certificate(w: &World, address: &Option<String>) -> bool {
    let address = address.as_ref().and_then(|address| address.parse::<IpAddr>().ok());
    let (Some(address), Some(standing)) = (address, &w.host.standing) else { return false };
    w.host.data != Data::Empty && !standing.addresses.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{consumer, done, member, ready, settled, status};
    use super::super::{Next, next, serving};
    use super::*;
    use crate::etcd::Member;
    use crate::juju::Databag;
    use crate::relations::certificates::Request;
    use crate::step::Step;
    use crate::world::{Addresses, Answered, Roster};

    const MOVED: &str = "10.0.7.7";

    /// Unit 0 of three is somewhere else now, which its certificate does not say.
    fn moved() -> World {
        let mut w = settled(0, &[0, 1, 2].map(|number| member(number, false)));
        let address = Some(MOVED.to_owned());
        w.addresses.all = [MOVED.to_owned()].into();
        (w.addresses.peer, w.addresses.client) = (address.clone(), address.clone());
        (w.addresses.peer_bind, w.addresses.client_bind) = (address.clone(), address);
        w.authority.request = Some(Request::new(&w.unit, &w.addresses.all, &[]));
        w.authority.answer = Answered::Refused(format!("server certificate: it does not cover {MOVED}"));
        // The request in the newer protocol is another matter.
        w.tried.in_vain.insert("make-request", "not here".to_owned());
        w
    }

    #[test]
    fn the_server_stays_as_it_is_until_its_certificate_names_the_new_address() {
        let w = moved();
        assert_eq!(
            done(next(&w)).to_string(),
            format!("waiting Requesting TLS certificates from easyrsa for the address {MOVED}")
        );
        let told = serving::publication(&w, "token").unit;
        let request = told.iter().find(|(relation, _)| relation.endpoint() == "certificates").unwrap();
        assert!(request.1["sans"].as_ref().unwrap().contains(MOVED), "{request:?}");
        let published = Databag::from_iter(request.1.clone().into_iter().filter_map(|(k, v)| Some((k, v?))));
        let asked_before =
            World { authority: crate::world::Authority { published, ..w.authority.clone() }, ..w };
        let refused =
            "blocked Certificate from easyrsa cannot be used: server certificate: it does not cover ";
        assert_eq!(
            done(next(&asked_before)).to_string(),
            format!("{refused}{MOVED}; {}", super::super::status::AGAIN)
        );
    }

    #[test]
    fn then_clients_and_members_are_told() {
        let mut w = moved();
        let standing = w.host.standing.as_mut().unwrap();
        standing.addresses.insert(MOVED.parse().unwrap());
        w.authority.answer = Answered::Usable(w.host.credentials.clone().unwrap());
        let Next::Do(Step::WriteConfig { settings, restart: true, .. }) = next(&w) else {
            panic!("{:?}", next(&w))
        };
        assert_eq!(settings.advertise_client_urls, [format!("https://{MOVED}:2379")]);
    }

    #[test]
    fn a_server_that_does_not_listen_everywhere_goes_on_listening_while_it_runs() {
        let mut w = moved();
        w.options.as_mut().unwrap().bind_to_all_interfaces = false;
        let mut file = service::settings_in(&w, service::DATA).unwrap().0;
        file.listen_client_urls = vec!["https://10.0.0.1:2379".into(), "https://127.0.0.1:2379".into()];
        file.listen_peer_urls = vec!["https://10.0.0.1:2380".into()];
        w.host.config = Some(file.render(&w.installed_version().unwrap()));
        assert!(matches!(next(&w), Next::Done(_)), "{:?}", next(&w));
        // After a boot there is nothing to listen on any more but the new one.
        w.etcd.door = Door::Closed;
        w.etcd.roster = Roster::Unconfirmed { cause: "no".into(), remembered: vec![] };
        let Next::Do(Step::WriteConfig { settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(settings.listen_peer_urls, [format!("https://{MOVED}:2380")]);
        assert_eq!(settings.advertise_client_urls, ["https://10.0.0.1:2379"]);
        w.etcd.door = Door::Mute("no quorum".into());
        w.host.config = Some(settings.render(&w.installed_version().unwrap()));
        assert!(done(next(&w)).to_string().ends_with(MOVED), "the request must get out: no wait");
        w.etcd.door = Door::Open(Box::new(status(&member(0, false))));
        assert!(matches!(next(&w), Next::Done(_)), "{:?}", next(&w));
    }

    /// Members and clients in spaces of their own, both behind another address than the machine's.
    fn in_two_spaces(w: &mut World) {
        let some = |address: &str| Some(address.to_owned());
        w.addresses = Addresses {
            peer: some("10.1.0.2"),
            client: some("10.2.0.2"),
            peer_bind: some("10.1.0.1"),
            client_bind: some("10.2.0.1"),
            all: ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"].map(str::to_owned).into(),
            ..Addresses::default()
        };
        w.options.as_mut().unwrap().bind_to_all_interfaces = false;
        let addresses = w.addresses.all.iter().filter_map(|address| address.parse().ok()).collect();
        w.host.standing.as_mut().unwrap().addresses = addresses;
        w.authority.request = Some(Request::new(&w.unit, &w.addresses.all, &[]));
    }

    #[test]
    fn members_and_clients_meet_in_their_own_spaces() {
        let mut w = ready(0);
        in_two_spaces(&mut w);
        w.peers.cluster.bootstrap_unit = Some(w.unit.clone());
        w.peers.cluster.token = Some("token".to_owned());
        w.tried.in_vain.insert("make-request", "not here".to_owned());
        let Next::Do(Step::WriteConfig { settings, .. }) = next(&w) else { panic!("{:?}", next(&w)) };
        assert_eq!(settings.listen_peer_urls, ["https://10.1.0.1:2380"]);
        assert_eq!(settings.initial_advertise_peer_urls, ["https://10.1.0.2:2380"]);
        assert_eq!(settings.listen_client_urls, ["https://10.2.0.1:2379", "https://127.0.0.1:2379"]);
        assert_eq!(settings.advertise_client_urls, ["https://10.2.0.2:2379"]);
        assert_eq!(settings.initial_cluster, [("etcd0".to_owned(), "https://10.1.0.2:2380".to_owned())]);

        let own = Member {
            peer_urls: settings.initial_advertise_peer_urls,
            client_urls: settings.advertise_client_urls,
            ..member(0, false)
        };
        let mut w = settled(0, &[own]);
        in_two_spaces(&mut w);
        w.consumers = vec![consumer("db:7")];
        let told = serving::publication(&w, "token").unit;
        let said = |endpoint: &str, key: &str| {
            let (_, changes) = told.iter().find(|(relation, _)| relation.endpoint() == endpoint).unwrap();
            changes[key].clone().unwrap()
        };
        assert_eq!(said("cluster", "peer-url"), "https://10.1.0.2:2380");
        assert_eq!(said("cluster", "client-url"), "https://10.2.0.2:2379");
        assert_eq!(said("cluster", "db-ingress-address"), "10.2.0.2");
        assert_eq!(said("db", "connection_string"), "https://10.2.0.2:2379");
        for address in &w.addresses.all {
            assert!(said("certificates", "sans").contains(&format!("{address:?}")), "{address}");
        }
        // Options or addresses that cannot be read withdraw nothing.
        let (_, asked) = told.iter().find(|(relation, _)| relation.endpoint() == "certificates").unwrap();
        w.authority.published = asked.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
        w.authority.request = None;
        let told = serving::publication(&w, "token").unit;
        assert!(!told.iter().any(|(relation, _)| relation.endpoint() == "certificates"), "{told:?}");
    }
}
