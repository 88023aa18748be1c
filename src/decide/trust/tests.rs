//! A change of the authority by three units whose hooks come in any order, see each other's words late, and die.

use proptest::prelude::*;

use super::super::worlds::{authority, consumer, credentials, settled, three};
use super::*;
use crate::relations::trust::UnitTrust;

fn other() -> Bundle {
    Bundle::parse(include_str!("../../tls/fixtures/ecdsa.crt")).unwrap()
}

/// The same leaves with another authority's name on them.
fn of_other() -> Credentials {
    Credentials {
        ca: other().to_pem(),
        server_certificate: "new server\n".into(),
        client_certificate: "new client\n".into(),
        ..credentials()
    }
}

/// Three units. What their servers have loaded is known to them only by what they did themselves.
struct Cluster {
    worlds: Vec<World>,
    loaded: Vec<Bundle>,
    said: Vec<UnitTrust>,
}

impl Cluster {
    fn new() -> Cluster {
        let worlds: Vec<World> = (0..3).map(|own| settled(own, &three())).collect();
        let said = worlds.iter().map(own).collect();
        Cluster { loaded: vec![authority(); 3], worlds, said }
    }

    fn hear(&mut self, unit: usize) {
        let said = self.said.clone();
        for (name, peer) in &mut self.worlds[unit].peers.units {
            peer.trust = said[name.number() as usize].clone();
        }
    }

    /// One hook, cut off after so many steps, in which case it tells nobody what it has done.
    fn hook(&mut self, unit: usize, steps: usize, answered: bool) {
        self.hear(unit);
        if answered {
            self.worlds[unit].authority.answer = Answered::Usable(of_other());
        }
        for _ in 0..steps {
            if !self.step(unit) {
                self.said[unit] = UnitTrust {
                    trusted: own(&self.worlds[unit]).trusted.or(self.said[unit].trusted.clone()),
                    ..own(&self.worlds[unit])
                };
                return;
            }
            self.everyone_trusts_everyone();
        }
    }

    /// What the runbook does: the rules here, then the restart that is due.
    fn step(&mut self, unit: usize) -> bool {
        let w = &mut self.worlds[unit];
        match next(w) {
            Some(Next::Do(Step::WriteTrusted { authorities, restart })) => {
                assert!(restart);
                w.host.restart_due = Some("due".into());
                w.host.credentials.as_mut().unwrap().ca = authorities.clone();
                w.host.standing.as_mut().unwrap().trusted = Bundle::parse(&authorities).unwrap();
            }
            Some(Next::Do(Step::WriteCredentials(new))) => {
                assert_eq!(
                    new.ca,
                    w.host.credentials.as_ref().unwrap().ca,
                    "only leaves move under a server"
                );
                w.host.standing.as_mut().unwrap().issuers = other();
                w.host.credentials = Some(new);
            }
            Some(step) => panic!("{step:?}"),
            None if w.host.restart_due.is_some() => {
                w.host.restart_due = None;
                self.loaded[unit] = w.host.standing.as_ref().unwrap().trusted.clone();
            }
            None => return false,
        }
        true
    }

    fn everyone_trusts_everyone(&self) {
        for (unit, loaded) in self.loaded.iter().enumerate() {
            for (peer, w) in self.worlds.iter().enumerate() {
                let issuers = &w.host.standing.as_ref().unwrap().issuers;
                assert!(loaded.contains_all(issuers), "etcd/{unit} does not trust etcd/{peer}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn members_trust_each_other_at_every_moment(hooks in prop::collection::vec((0..3usize, 0..6usize, any::<bool>()), 0..40)) {
        let mut cluster = Cluster::new();
        for (unit, steps, answered) in hooks {
            cluster.hook(unit, steps, answered);
        }
        for _ in 0..6 {
            (0..3).for_each(|unit| cluster.hook(unit, 20, true));
        }
        for (w, loaded) in cluster.worlds.iter().zip(&cluster.loaded) {
            prop_assert_eq!(loaded, &other(), "the old authority is gone");
            prop_assert_eq!(&w.host.credentials, &Some(of_other()));
            prop_assert_eq!(why_it_waits(w), None);
        }
    }
}

#[test]
fn nothing_moves_for_a_member_that_says_nothing() {
    let mut w = settled(0, &three());
    w.authority.answer = Answered::Usable(of_other());
    w.host.standing.as_mut().unwrap().trusted = authority().union(&other()).sorted();
    let etcd2 = "etcd/2".parse().unwrap();
    for (unit, peer) in &mut w.peers.units {
        let trusted = (*unit != etcd2).then(|| authority().union(&other()));
        peer.trust = UnitTrust { trusted, ..peer.trust.clone() };
    }
    assert_eq!(next(&w), None);
    assert_eq!(
        why_it_waits(&w).unwrap().to_string(),
        "waiting Changing the CA: waiting until etcd2 trusts the new one"
    );
    w.peers.units.remove(&etcd2);
    assert_eq!(next(&w), None, "its member is still there");
}

#[test]
fn clients_get_the_bundle_some_time_before_the_first_new_certificate() {
    let mut w = settled(0, &three());
    w.authority.answer = Answered::Usable(of_other());
    let both = authority().union(&other()).sorted();
    w.host.standing.as_mut().unwrap().trusted = both.clone();
    w.peers.units.values_mut().for_each(|peer| peer.trust.trusted = Some(both.clone()));
    assert!(matches!(next(&w), Some(Next::Do(Step::WriteCredentials(_)))), "there are none");
    w.consumers = vec![consumer("db:7")];
    assert_eq!(next(&w), Some(Next::Wait(Waiting::Clients)));
    w.tried.lasted_s = CLIENTS_S;
    assert!(matches!(next(&w), Some(Next::Do(Step::WriteCredentials(_)))));
}

#[test]
fn a_member_whose_certificate_has_ended_takes_the_new_one_without_asking() {
    let mut w = settled(0, &three());
    w.authority.answer = Answered::Usable(of_other());
    w.host.standing.as_mut().unwrap().not_after_s = w.now_s - 1;
    assert_eq!(next(&w), Some(Next::Do(Step::StopService)));
    w.host.service = Service::Stopped;
    let Some(Next::Do(Step::WriteCredentials(new))) = next(&w) else { panic!("{:?}", next(&w)) };
    assert_eq!(Bundle::parse(&new.ca).unwrap(), authority().union(&other()).sorted());
}
