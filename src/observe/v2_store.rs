//! Whether the old store is in use. Only asked where the answer decides: each question starts a process.

use super::{Facts, own_endpoints};
use crate::decide::COMMON;
use crate::etcd::read_config;
use crate::host;
use crate::options::EnableV2;
use crate::world::{Door, Host, V2Store};

pub(super) async fn look(facts: &Facts, host: &Host, door: &Door) -> V2Store {
    let is_served =
        host.config.as_deref().and_then(|config| read_config(config).ok()).is_some_and(|c| c.enable_v2);
    let is_auto = facts.options.as_ref().is_ok_and(|options| options.enable_v2 == EnableV2::Auto);
    match (is_served, door, own_endpoints(host).first()) {
        (false, _, _) => V2Store::Off,
        (true, Door::Open(_), Some(endpoint)) if is_auto => match host::v2_keys(endpoint, COMMON).await {
            Ok(0) => V2Store::Empty,
            Ok(_) => V2Store::Used,
            Err(error) => V2Store::Unknown(error.to_string()),
        },
        _ => V2Store::not_asked(),
    }
}
