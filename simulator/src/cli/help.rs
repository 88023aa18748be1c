//! The overview that `--help` prints: the commands in groups, and the first steps.
//! Invariant: every command stands in exactly one group (a test holds this).

use std::fmt::Write as _;

use clap::CommandFactory;

use super::Cli;

const GROUPS: &[(&str, &[&str])] = &[
    ("Models", &["add-model", "models", "model-config", "image", "destroy-model"]),
    ("Charms", &["deploy", "refresh", "attach-resource", "resources", "expose", "unexpose", "trust"]),
    (
        "Applications and units",
        &[
            "integrate",
            "remove-relation",
            "add-unit",
            "remove-unit",
            "remove-application",
            "config",
            "resolved",
        ],
    ),
    ("Actions", &["run", "actions", "operations", "show-operation", "show-task", "cancel-task"]),
    ("Looking at it", &["status", "show-unit", "wait-for", "debug-log", "version"]),
    ("On the machines", &["exec", "ssh", "scp"]),
    ("Storage", &["storage", "add-storage", "attach-storage", "detach-storage"]),
    ("Tests and demonstrations", &["lab"]),
];

const FIRST_STEPS: &str = "\
First steps:
  juju-sim deploy ./etcd.charm -n 3         a model named \"default\" is made by the way
  juju-sim status --watch 1s
  juju-sim run etcd/leader health
  juju-sim destroy-model --no-prompt

Every model has a controller process of its own, started by the first command that needs it, and
light machines (namespaces on this computer). All of it lives below $JUJU_SIM_HOME, /var/lib/juju-sim
when not set, and is gone after destroy-model. Snaps are installed from $JUJU_SIM_SNAPS, or the directory
snaps there: NAME/TRACK/RISK.snap. Needs root.

juju-sim COMMAND --help tells more about a command.
";

/// The command line's definition with the grouped overview.
pub(super) fn command() -> clap::Command {
    let command = Cli::command();
    let groups = overview(&command);
    command
        .help_template(format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
        ))
        .after_help(FIRST_STEPS)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

fn overview(command: &clap::Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{title}:");
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name:<19}{about}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_exactly_one_group_and_has_an_example() {
        let command = Cli::command();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            assert_eq!(grouped.iter().filter(|other| **other == name).count(), 1, "{name}");
            if name != "version" {
                let more = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(more.contains(&format!("juju-sim {name}")), "{name} has no example");
            }
        }
        assert_eq!(grouped.len(), command.get_subcommands().count());
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }
}
