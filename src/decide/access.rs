//! etcd's own users and roles. Invariant: where they keep this charm out, nothing is stopped or changed that they would keep it
//! from bringing to its end; a server that is down is started all the same.

use super::{Next, status};
use crate::etcd::Permission;
use crate::juju::Status;
use crate::tls::Certificate;
use crate::world::{Data, Door, World};

/// Everything behind this rule needs etcd's leave, but for the start of a member that has its data.
pub(super) fn next(w: &World) -> Option<Next> {
    let is_down = matches!((&w.etcd.door, &w.host.data), (Door::Closed, Data::Present));
    if is_down { None } else { why_refused(w).map(Next::Done) }
}

/// Who is refused, and the two commands that end it.
pub fn why_refused(w: &World) -> Option<Status> {
    if w.etcd.permission == Permission::Granted {
        return None;
    }
    let user = user(w).unwrap_or_else(|| "of its certificate".to_owned());
    let also = status::sick_members(w).map(|sick| format!("{}; ", sick.message)).unwrap_or_default();
    Some(Status::blocked(format!(
        "{also}etcd's users and roles are on, and the charm's user {user} lacks the role root: on a unit run \
         etcdctl --user root user add {user} --no-password, then etcdctl --user root user grant-role {user} root"
    )))
}

/// As etcd knows the charm: by the common name of its client certificate.
fn user(w: &World) -> Option<String> {
    let chain = Certificate::parse_chain(&w.host.credentials.as_ref()?.client_certificate).ok()?;
    chain.into_iter().next()?.common_name
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, member, settled, three};
    use super::*;
    use crate::step::Step;
    use crate::world::{Health, Service};

    const TOLD: &str = "blocked etcd's users and roles are on, and the charm's user ";

    fn refused() -> World {
        let mut w = settled(0, &three());
        w.etcd.permission = Permission::Denied;
        w
    }

    #[test]
    fn a_charm_that_is_kept_out_says_so_and_changes_nothing() {
        let mut w = refused();
        assert!(done(next(&w)).to_string().starts_with(TOLD), "{:?}", next(&w));
        w.options.as_mut().unwrap().debug = true;
        w.host.restart_due = Some("https://127.0.0.1:2379".into());
        assert!(done(next(&w)).to_string().starts_with(TOLD), "no restart: {:?}", next(&w));
        // Some versions do not even tell their status.
        w.etcd.door = Door::Mute("denied".into());
        assert!(done(next(&w)).to_string().starts_with(TOLD), "{:?}", next(&w));
        w.etcd.permission = Permission::Granted;
        assert!(!done(next(&w)).to_string().starts_with(TOLD));
    }

    #[test]
    fn who_is_sick_is_told_first() {
        let mut w = refused();
        w.etcd.health.insert(member(1, false).id, Health::Unhealthy("unreachable".into()));
        let told = done(next(&w)).to_string();
        let first = "blocked UnHealthy with 3 known peers: etcd1 (10.0.0.2) unreachable; see to that machine; if it is lost for good, juju remove-unit --force its unit; etcd's users ";
        assert!(told.starts_with(first), "{told}");
    }

    #[test]
    fn a_server_that_is_down_is_started() {
        let mut w = refused();
        (w.etcd.door, w.host.service) = (Door::Closed, Service::Stopped);
        assert_eq!(next(&w), Next::Do(Step::StartService));
    }
}
