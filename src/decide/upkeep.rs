//! What can wait until the unit serves: the host's trust store and the environment of root's shells.

use super::{Next, service};
use crate::step::Step;
use crate::world::{Door, World};

/// The host's trust store takes seconds to renew. It comes before joining, when a unit waits for others anyway,
/// but not while others wait for this one: for the first member, or for the word that it is a member now.
pub(super) fn trust(w: &World) -> Option<Next> {
    let credentials = w.host.credentials.as_ref()?;
    let starts_the_cluster = w.peers.cluster.bootstrap_unit.as_ref() == Some(&w.unit) && !w.was_started();
    let has_news = w.own_status().map(|status| status.member) != w.own_record().member;
    let busy = starts_the_cluster || (has_news && w.own_status().is_some());
    if busy
        || w.tried.in_vain("trust-authority").is_some()
        || w.host.trusted.as_ref() == Some(&credentials.ca)
    {
        return None;
    }
    Some(Next::Do(Step::TrustAuthority(credentials.ca.clone())))
}

/// A root shell gets its etcdctl as soon as there is something to talk to.
pub(super) fn next(w: &World) -> Option<Next> {
    let Door::Open(_) = w.etcd.door else { return None };
    let profile = shell_profile(w)?;
    (w.host.shell_profile.as_ref() != Some(&profile)).then_some(Next::Do(Step::WriteShellProfile(profile)))
}

/// Read by login shells; only root can read the key, so only root gets the variables.
fn shell_profile(w: &World) -> Option<String> {
    let endpoint = service::url("127.0.0.1", w.options.as_ref().ok()?.port);
    let template = include_str!("../../templates/etcdctl-environment.sh");
    Some(template.replace("{endpoint}", &endpoint).replace("{common}", service::COMMON))
}
