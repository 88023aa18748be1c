//! The environment of hooks and actions, built from scratch: nothing of the agent's own is inherited.

use std::collections::BTreeMap;

use crate::model::{JujuVersion, Model, unit_tag};

use super::context::Context;
use super::state::{HookKind, HookRelation};

/// Where programs are searched after the unit's hook tools.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";

/// A unit's charm directory inside of its machine.
pub fn charm_directory(unit: &str) -> String {
    format!("/var/lib/juju/agents/{}/charm", unit_tag(unit))
}

/// All variables of a run. `dispatch_path` is like `hooks/install`; nothing for `exec`.
pub fn build(model: &Model, context: &Context, dispatch_path: Option<&str>) -> BTreeMap<String, String> {
    let unit = context.unit.as_str();
    let tag = unit_tag(unit);
    let record = model.units.get(unit);
    let charm_directory = charm_directory(unit);
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    if let Some(path) = dispatch_path {
        set("JUJU_DISPATCH_PATH", path);
    }
    set("JUJU_HOOK_NAME", &context.hook.as_ref().map(super::state::Hook::name).unwrap_or_default());
    set("JUJU_CHARM_DIR", &charm_directory);
    set("CHARM_DIR", &charm_directory);
    set("JUJU_CONTEXT_ID", &context.id);
    set("JUJU_AGENT_SOCKET_ADDRESS", &format!("/var/lib/juju/agents/{tag}/agent.socket"));
    set("JUJU_AGENT_SOCKET_NETWORK", "unix");
    set("JUJU_UNIT_NAME", unit);
    set("JUJU_MODEL_NAME", &model.name);
    set("JUJU_MODEL_UUID", &model.uuid);
    set("JUJU_API_ADDRESSES", &format!("{}:17070", model.network.gateway()));
    set("JUJU_MACHINE_ID", record.map_or("", |unit| unit.machine.as_str()));
    set("JUJU_PRINCIPAL_UNIT", record.and_then(|unit| unit.principal.as_deref()).unwrap_or_default());
    set("JUJU_AVAILABILITY_ZONE", "default");
    set("JUJU_VERSION", model.version.agent());
    set("CLOUD_API_VERSION", "");
    if model.version < JujuVersion::V4_0 {
        set("JUJU_SLA", "unsupported");
    }
    if model.version == JujuVersion::V2_9 {
        set("JUJU_METER_STATUS", "AMBER");
        set("JUJU_METER_INFO", "not set");
    }
    for proxy in ["http", "https", "ftp"] {
        let name = format!("JUJU_CHARM_{}_PROXY", proxy.to_ascii_uppercase());
        set(&name, model.setting(&format!("juju-{proxy}-proxy")));
    }
    set("JUJU_CHARM_NO_PROXY", model.setting("juju-no-proxy"));
    for name in ["http-proxy", "https-proxy", "ftp-proxy", "no-proxy"] {
        let value = model.setting(name);
        if !value.is_empty() {
            let variable = name.replace('-', "_");
            set(&variable, value);
            set(&variable.to_ascii_uppercase(), value);
        }
    }
    set("PATH", &format!("/var/lib/juju/tools/{tag}:{PATH}"));
    set("LANG", "C.UTF-8");
    set("TERM", "tmux-256color");
    set("DEBIAN_FRONTEND", "noninteractive");
    set("APT_LISTCHANGES_FRONTEND", "none");
    add_subject(model, context, &mut variables);
    variables
}

/// What the run is about: a relation, an action, storage, a secret.
fn add_subject(model: &Model, context: &Context, variables: &mut BTreeMap<String, String>) {
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    if let Some(action) = &context.action {
        let id = action.task.to_string();
        set("JUJU_ACTION_NAME", &action.name);
        set("JUJU_ACTION_UUID", &id);
        set("JUJU_ACTION_TAG", &format!("action-{id}"));
    }
    let Some(hook) = &context.hook else { return };
    if let Some(relation) = &hook.relation {
        add_relation(relation, hook.kind, &mut set);
    }
    let location =
        |id: &String| model.storage.get(id).and_then(|instance| Some((instance, instance.location.clone()?)));
    if let Some((instance, location)) = hook.storage.as_ref().and_then(location) {
        let is_block = instance.kind == crate::charm::StorageKind::Block;
        set("JUJU_STORAGE_ID", &instance.id);
        set("JUJU_STORAGE_LOCATION", &location);
        set("JUJU_STORAGE_KIND", if is_block { "block" } else { "filesystem" });
    }
    if let Some(secret) = &hook.secret {
        set("JUJU_SECRET_ID", &format!("secret:{}", secret.id));
        set("JUJU_SECRET_LABEL", &secret.label);
        if matches!(hook.kind, HookKind::SecretRemove | HookKind::SecretExpired) {
            set("JUJU_SECRET_REVISION", &secret.revision.to_string());
        }
    }
}

fn add_relation(relation: &HookRelation, kind: HookKind, set: &mut impl FnMut(&str, &str)) {
    set("JUJU_RELATION", &relation.endpoint);
    set("JUJU_RELATION_ID", &format!("{}:{}", relation.endpoint, relation.id));
    set("JUJU_REMOTE_UNIT", relation.remote_unit.as_deref().unwrap_or_default());
    set("JUJU_REMOTE_APP", &relation.remote_application);
    if kind == HookKind::RelationDeparted {
        set("JUJU_DEPARTING_UNIT", relation.departing_unit.as_deref().unwrap_or_default());
    }
}
