//! How Nagios knows this application. The values become parts of file names and lines, so only what can stand there is kept.

/// The options `nagios_context` and `nagios_servicegroups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nagios {
    /// First part of host names.
    pub context: String,
    /// Comma-separated.
    pub service_groups: String,
}

impl Nagios {
    /// Any text will do: an empty context is `juju`, no groups are the context.
    pub(super) fn of(context: &str, service_groups: &str) -> Nagios {
        let context = Some(plain(context, "-_.")).filter(|text| !text.is_empty());
        let context = context.unwrap_or_else(|| "juju".to_owned());
        let groups = Some(plain(service_groups, "-_., ")).filter(|text| !text.trim().is_empty());
        Nagios { service_groups: groups.unwrap_or_else(|| context.clone()), context }
    }
}

fn plain(text: &str, besides: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || besides.contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_context_and_nothing_breaks_a_line_or_a_path() {
        let both = |context: &str, groups: &str| {
            let nagios = Nagios::of(context, groups);
            (nagios.context, nagios.service_groups)
        };
        assert_eq!(both("juju", ""), ("juju".into(), "juju".into()));
        assert_eq!(both("", "a, b"), ("juju".into(), "a, b".into()));
        assert_eq!(both("../x\ny", " "), ("..xy".into(), "..xy".into()));
    }
}
