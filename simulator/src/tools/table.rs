//! Which hook tools there are, in which Juju, and with which flags.

use crate::model::JujuVersion;

use super::flags::{Flag, switch, value};
use super::{
    Answer, Call, ToolError, action, configuration, machine, network, ports, relation, relation_set, secret,
    secret_read, state, status, storage,
};

/// Which output forms a tool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms {
    /// smart (the default), yaml, json.
    WithSmart,
    /// yaml (the default), json.
    WithoutSmart,
}

/// A hook tool.
pub(super) struct Tool {
    pub name: &'static str,
    arguments: &'static str,
    purpose: &'static str,
    flags: &'static [Flag],
    pub format: Option<Forms>,
    first: JujuVersion,
    last: JujuVersion,
    pub run: fn(&mut Call<'_>) -> Result<Answer, ToolError>,
}

type Run = fn(&mut Call<'_>) -> Result<Answer, ToolError>;

impl Tool {
    const fn new(
        name: &'static str,
        arguments: &'static str,
        purpose: &'static str,
        flags: &'static [Flag],
        run: Run,
    ) -> Self {
        let (first, last) = (JujuVersion::V2_9, JujuVersion::V4_0);
        Self { name, arguments, purpose, flags, format: None, first, last, run }
    }

    const fn smart(mut self) -> Self {
        self.format = Some(Forms::WithSmart);
        self
    }

    const fn formatted(mut self) -> Self {
        self.format = Some(Forms::WithoutSmart);
        self
    }

    const fn since(mut self, first: JujuVersion) -> Self {
        self.first = first;
        self
    }

    const fn until(mut self, last: JujuVersion) -> Self {
        self.last = last;
        self
    }

    fn exists_in(&self, version: JujuVersion) -> bool {
        self.first <= version && version <= self.last
    }

    /// Its flags and those that every tool of its kind has.
    pub fn all_flags(&self) -> Vec<Flag> {
        let mut flags = self.flags.to_vec();
        if self.format.is_some() {
            flags.push(value(&["format"]));
            flags.push(value(&["o", "output"]));
        }
        flags
    }

    /// What `--help` prints.
    pub fn help(&self) -> String {
        let mut text =
            format!("Usage: {} [options] {}\n\nSummary:\n{}\n", self.name, self.arguments, self.purpose);
        let flags = self.all_flags();
        if !flags.is_empty() {
            text.push_str("\nOptions:\n");
        }
        for flag in flags {
            let dashed = |name: &&str| if name.len() == 1 { format!("-{name}") } else { format!("--{name}") };
            let names: Vec<String> = flag.names.iter().map(dashed).collect();
            text.push_str(&format!(
                "{}{}\n",
                names.join(", "),
                if flag.takes_value { " (value)" } else { "" }
            ));
        }
        text
    }
}

/// The tool of this name in this Juju.
pub(super) fn find(name: &str, version: JujuVersion) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name && tool.exists_in(version))
}

/// The names of the tools that this Juju installs.
pub fn names_for(version: JujuVersion) -> Vec<&'static str> {
    TOOLS.iter().filter(|tool| tool.exists_in(version)).map(|tool| tool.name).collect()
}

const RELATION: Flag = value(&["r", "relation"]);
const APP: Flag = switch(&["app"]);
const SECRET_FLAGS: &[Flag] = &[
    value(&["label"]),
    value(&["description"]),
    value(&["rotate"]),
    value(&["expire"]),
    value(&["file"]),
    value(&["owner"]),
];
const V3_6: JujuVersion = JujuVersion::V3_6;

const TOOLS: &[Tool] = &[
    Tool::new("relation-get", "<key> <unit id>", "Get relation settings.", &[RELATION, APP], relation::get)
        .smart(),
    Tool::new(
        "relation-set",
        "<key>=<value> [<key>=<value> ...]",
        "Set relation settings.",
        &[RELATION, APP, value(&["file"]), value(&["format"])],
        relation_set::set,
    ),
    Tool::new("relation-ids", "<name>", "List all relation IDs for the given endpoint.", &[], relation::ids)
        .smart(),
    Tool::new("relation-list", "", "List relation units.", &[RELATION, APP], relation::list).smart(),
    Tool::new(
        "relation-model-get",
        "",
        "Get details about the model hosting a related application.",
        &[RELATION],
        relation::model_get,
    )
    .smart()
    .since(V3_6),
    Tool::new(
        "config-get",
        "[<key>]",
        "Print application configuration.",
        &[switch(&["a", "all"])],
        configuration::config_get,
    )
    .smart(),
    Tool::new(
        "network-get",
        "<binding-name>",
        "Get network config.",
        &[
            RELATION,
            switch(&["bind-address"]),
            switch(&["ingress-address"]),
            switch(&["egress-subnets"]),
            switch(&["primary-address"]),
        ],
        network::network_get,
    )
    .smart(),
    Tool::new("unit-get", "<setting>", "Print public-address or private-address.", &[], network::unit_get)
        .smart(),
    Tool::new(
        "status-get",
        "",
        "Print status information.",
        &[switch(&["include-data"]), switch(&["application"])],
        status::get,
    )
    .smart(),
    Tool::new(
        "status-set",
        "<maintenance | blocked | waiting | active> [message]",
        "Set status information.",
        &[switch(&["application"])],
        status::set,
    ),
    Tool::new(
        "application-version-set",
        "<new-version>",
        "Specify which version of the application is deployed.",
        &[],
        status::version_set,
    ),
    Tool::new(
        "open-port",
        "<port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp",
        "Register a request to open a port or port range.",
        &[value(&["endpoints"]), value(&["format"])],
        ports::open,
    ),
    Tool::new(
        "close-port",
        "<port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp",
        "Register a request to close a port or port range.",
        &[value(&["endpoints"]), value(&["format"])],
        ports::close,
    ),
    Tool::new(
        "opened-ports",
        "",
        "List all ports or port ranges opened by the unit.",
        &[switch(&["endpoints"])],
        ports::opened,
    )
    .smart(),
    Tool::new(
        "juju-log",
        "<message>",
        "Write a message to the juju log.",
        &[switch(&["debug"]), value(&["l", "log-level"])],
        machine::juju_log,
    ),
    Tool::new("juju-reboot", "", "Reboot the host machine.", &[switch(&["now"])], machine::juju_reboot),
    Tool::new(
        "goal-state",
        "",
        "Print the status of the charm's peers and related units.",
        &[],
        configuration::goal_state,
    )
    .formatted(),
    Tool::new("credential-get", "", "Access cloud credentials.", &[], configuration::credential_get).smart(),
    Tool::new("is-leader", "", "Print application leadership status.", &[], configuration::is_leader).smart(),
    Tool::new(
        "leader-get",
        "[<key>]",
        "Print application leadership settings.",
        &[],
        configuration::leader_get,
    )
    .smart()
    .until(V3_6),
    Tool::new(
        "leader-set",
        "<key>=<value> [...]",
        "Write application leadership settings.",
        &[],
        configuration::leader_set,
    )
    .until(V3_6),
    Tool::new("state-get", "[<key>]", "Print server-side-state value.", &[switch(&["strict"])], state::get)
        .smart(),
    Tool::new(
        "state-set",
        "<key>=<value> [<key>=<value> ...]",
        "Set server-side-state values.",
        &[value(&["file"])],
        state::set,
    ),
    Tool::new("state-delete", "<key>", "Delete server-side-state key value pairs.", &[], state::delete),
    Tool::new(
        "resource-get",
        "<resource name>",
        "Get the path to the locally cached resource file.",
        &[],
        machine::resource_get,
    ),
    Tool::new(
        "storage-get",
        "[<key>]",
        "Print information for the storage instance with the specified ID.",
        &[value(&["s"])],
        storage::get,
    )
    .smart(),
    Tool::new("storage-list", "[<storage-name>]", "List storage attached to the unit.", &[], storage::list)
        .smart(),
    Tool::new("storage-add", "<charm storage name>[=count] ...", "Add storage instances.", &[], storage::add),
    Tool::new("action-get", "[<key>[.<key>.<key>...]]", "Get action parameters.", &[], action::get).smart(),
    Tool::new("action-set", "<key>=<value> [<key>=<value> ...]", "Set action results.", &[], action::set),
    Tool::new(
        "action-fail",
        "[\"<failure message>\"]",
        "Set action fail status with message.",
        &[],
        action::fail,
    ),
    Tool::new(
        "action-log",
        "<message>",
        "Record a progress message for the current action.",
        &[],
        action::log,
    ),
    Tool::new("secret-add", "[key[#base64|#file]=value...]", "Add a new secret.", SECRET_FLAGS, secret::add)
        .since(V3_6),
    Tool::new(
        "secret-set",
        "<ID> [key[#base64]=value...]",
        "Update an existing secret.",
        SECRET_FLAGS,
        secret::set,
    )
    .since(V3_6),
    Tool::new("secret-remove", "<ID>", "Remove an existing secret.", &[value(&["revision"])], secret::remove)
        .since(V3_6),
    Tool::new(
        "secret-grant",
        "<ID>",
        "Grant access to a secret.",
        &[RELATION, value(&["unit"])],
        secret::grant,
    )
    .since(V3_6),
    Tool::new(
        "secret-revoke",
        "<ID>",
        "Revoke access to a secret.",
        &[RELATION, value(&["app", "application"]), value(&["unit"])],
        secret::revoke,
    )
    .since(V3_6),
    Tool::new(
        "secret-get",
        "<ID> [key[#base64]]",
        "Get the content of a secret.",
        &[value(&["label"]), switch(&["peek"]), switch(&["refresh"])],
        secret_read::get,
    )
    .formatted()
    .since(V3_6),
    Tool::new(
        "secret-info-get",
        "<ID>",
        "Get a secret's metadata info.",
        &[value(&["label"])],
        secret_read::info_get,
    )
    .formatted()
    .since(V3_6),
    Tool::new("secret-ids", "", "Print secret IDs.", &[], secret_read::ids).smart().since(V3_6),
];

/// The names of all tools of all supported Jujus.
pub const NAMES: [&str; TOOLS.len()] = {
    let mut names = [""; TOOLS.len()];
    let mut position = 0;
    while position < TOOLS.len() {
        names[position] = TOOLS[position].name;
        position += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_juju_has_its_tools() {
        let has = |version, name| names_for(version).contains(&name);
        assert!(has(JujuVersion::V2_9, "leader-set") && has(JujuVersion::V3_6, "leader-set"));
        assert!(!has(JujuVersion::V4_0, "leader-set"));
        assert!(!has(JujuVersion::V2_9, "secret-add") && has(JujuVersion::V4_0, "secret-add"));
        assert!(has(JujuVersion::V4_0, "unit-get"));
    }
}
