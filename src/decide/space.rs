//! A larger quota for a database that is full. It needs a restart of every member, and a full database grants no lock to
//! restart under: then the members take turns by what they publish, in the order of their units' numbers.

use super::status::DEFAULT_QUOTA;
use crate::etcd::read_config;
use crate::world::World;

/// The quota of the running server, bytes; 0: etcd's default. While a restart is due, what was published before.
pub(super) fn quota(w: &World) -> Option<i64> {
    if w.host.restart_due.is_some() {
        return w.own_record().quota;
    }
    Some(read_config(w.host.config.as_deref()?).ok()?.quota_backend_bytes)
}

/// Why this unit may not restart its server now though there is no lock to be had; `None`: it may. A unit publishes its
/// new quota when its server serves again, so at most one may at any time.
pub fn why_not_without_lock(w: &World) -> Option<String> {
    let larger = w.options.as_ref().ok().map(|options| options.quota_backend_bytes);
    let is_raised = |own: Option<i64>| match (own, larger) {
        (Some(own), Some(larger)) => bytes(larger) > bytes(own),
        // An earlier revision of the charm did not publish it.
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if w.host.restart_due.is_none() || !is_raised(w.own_record().quota) {
        return Some(
            "the database is full: run the action maintain, or raise quota_backend_bytes".to_owned(),
        );
    }
    let is_before = |unit: &crate::juju::UnitName| unit.number() < w.unit.number();
    let mut before = w.peers.units.iter().filter(|(unit, peer)| {
        is_before(unit) && peer.record.member.is_some() && !w.peers.leaving.contains(unit)
    });
    let behind = before.find(|(_, peer)| peer.record.quota != larger);
    behind.map(|(unit, _)| format!("the database is full: waiting until {unit} has its larger quota"))
}

fn bytes(quota: i64) -> u64 {
    u64::try_from(quota).ok().filter(|quota| *quota > 0).unwrap_or(DEFAULT_QUOTA)
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{settled, three};
    use super::*;

    /// Unit `number` of three, told to take another quota, which its file has already.
    fn told(number: u32, published: Option<i64>, wanted: i64) -> World {
        let mut w = settled(number, &three());
        w.options.as_mut().unwrap().quota_backend_bytes = wanted;
        w.host.restart_due = Some("https://127.0.0.1:2379".into());
        if let Some(published) = published {
            w.peers.own.insert("quota-backend-bytes".to_owned(), published.to_string());
        }
        w
    }

    #[test]
    fn only_the_first_whose_quota_is_still_the_old_one_may_restart() {
        assert_eq!(why_not_without_lock(&told(0, Some(0), 4 << 30)), None);
        assert_eq!(why_not_without_lock(&told(0, None, 4 << 30)), None);
        let mut w = told(2, Some(0), 4 << 30);
        let mut take = |unit: &str| {
            let why = why_not_without_lock(&w);
            w.peers.units.get_mut(&unit.parse().unwrap()).unwrap().record.quota = Some(4 << 30);
            why
        };
        let waits =
            |unit: &str| Some(format!("the database is full: waiting until {unit} has its larger quota"));
        assert_eq!(take("etcd/0"), waits("etcd/0"));
        assert_eq!(take("etcd/1"), waits("etcd/1"));
        assert_eq!(take("etcd/1"), None);
    }

    #[test]
    fn other_restarts_wait_until_there_is_a_lock_again() {
        let is_refused =
            |w: &World| why_not_without_lock(w).is_some_and(|why| why.contains("run the action maintain"));
        assert!(is_refused(&told(0, Some(4 << 30), 4 << 30)), "it has restarted with that one already");
        assert!(is_refused(&told(0, Some(4 << 30), 1 << 30)), "a smaller one cures nothing");
        assert!(is_refused(&told(0, Some(4 << 30), 0)), "the default is 2 GiB");
        let mut w = told(0, Some(0), 4 << 30);
        w.host.restart_due = None;
        assert!(is_refused(&w));
    }

    #[test]
    fn what_is_published_is_what_the_server_has_and_not_what_its_file_will_bring() {
        let mut w = told(0, Some(7), 4 << 30);
        assert_eq!(quota(&w), Some(7));
        w.host.restart_due = None;
        assert_eq!(quota(&w), Some(0));
    }
}
