//! What can wait until the unit serves: the host's trust store, the environment of root's shells, and that nobody but this
//! charm refreshes etcd's snap.

use std::collections::BTreeSet;

use super::{Next, release, service, snapd};
use crate::etcd::MemberId;
use crate::step::Step;
use crate::world::{Door, World};

/// The host's trust store takes seconds to renew: it has time until nobody waits for this unit.
pub(super) fn trust(w: &World) -> Option<Next> {
    let credentials = w.host.credentials.as_ref()?;
    let is_done =
        w.host.trusted.as_ref() == Some(&credentials.ca) || w.tried.in_vain("trust-authority").is_some();
    let has_time = match w.own_status() {
        Some(status) if !status.learner => !others_wait_for(w, status.member),
        // The cluster takes the next learner only some seconds after the one before.
        _ => w.tried.not_yet("add-learner"),
    };
    (!is_done && has_time).then(|| Next::Do(Step::TrustAuthority(credentials.ca.clone())))
}

/// This member is news to the other units, and some of them have not joined yet. Their joining brings more hooks.
fn others_wait_for(w: &World, own: MemberId) -> bool {
    let voters = w.members().unwrap_or_default().iter().filter(|member| !member.learner).count();
    let expected = w.peers.expected.as_ref().map_or(0, BTreeSet::len);
    w.own_record().member != Some(own) && expected > voters
}

/// A root shell gets its etcdctl as soon as there is something to talk to, and then its snap stays as it is.
pub(super) fn next(w: &World) -> Option<Next> {
    let Door::Open(_) = w.etcd.door else { return None };
    let profile = shell_profile(w).filter(|profile| w.host.shell_profile.as_ref() != Some(profile));
    profile.map(|profile| Next::Do(Step::WriteShellProfile(profile))).or_else(|| snapd::hold(w))
}

/// Read by login shells; only root can read the key, so only root gets the variables.
fn shell_profile(w: &World) -> Option<String> {
    let endpoint = service::url("127.0.0.1", w.options.as_ref().ok()?.port);
    let template = include_str!("../../templates/etcdctl-environment.sh");
    // A release's programs are in no directory of the usual search path.
    let etcdctl = match w.host.releases.current {
        Some(_) => format!("{}/etcdctl", release::CURRENT),
        None => "etcd.etcdctl".to_owned(),
    };
    let template = template.replace("{etcdctl}", &etcdctl);
    Some(template.replace("{endpoint}", &endpoint).replace("{common}", service::COMMON))
}
