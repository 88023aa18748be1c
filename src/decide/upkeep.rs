//! What can wait until the unit serves: the host's trust store and the environment of root's shells.

use super::{Next, service};
use crate::step::Step;
use crate::world::{Door, World};

pub(super) fn next(w: &World) -> Option<Next> {
    let Door::Open(_) = w.etcd.door else { return None };
    let credentials = w.host.credentials.as_ref()?;
    if w.host.trusted.as_ref() != Some(&credentials.ca) && w.tried.in_vain("trust-authority").is_none() {
        return Some(Next::Do(Step::TrustAuthority(credentials.ca.clone())));
    }
    let profile = shell_profile(w)?;
    (w.host.shell_profile.as_ref() != Some(&profile)).then_some(Next::Do(Step::WriteShellProfile(profile)))
}

/// Read by login shells; only root can read the key, so only root gets the variables.
fn shell_profile(w: &World) -> Option<String> {
    let endpoint = service::url("127.0.0.1", w.options.as_ref().ok()?.port);
    let template = include_str!("../../templates/etcdctl-environment.sh");
    Some(template.replace("{endpoint}", &endpoint).replace("{common}", service::COMMON))
}
