//! What Juju asked for: the name of a hook or action, as one [`Event`].
//!
//! Most hooks mean the same: look at the world and bring it closer to what it should be. Only what the world
//! itself does not show is told apart here.

#[cfg(test)]
mod links;

use crate::juju::Context;

/// The hook before storage `data` is taken away.
pub const DETACHING: &str = "data-storage-detaching";

/// What this run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Look at everything and do what is missing. Carries the hook's name for the log.
    Look(String),
    /// The charm or one of its resources was replaced: attached files may be new.
    Upgraded,
    /// Storage is being taken away from this unit, which stays or leaves. Carries the hook's name.
    Detaching(String),
    /// The regular check. It must be cheap: usually nothing has changed.
    UpdateStatus,
    /// This unit is being taken out of the application; its machine may vanish after this hook.
    Leaving(String),
    /// An operator's action, by its name.
    Action(String),
    /// A hook that has no meaning for this charm.
    Nothing(String),
}

impl Event {
    /// The event of this run: the dispatch path if Juju gave one (2.8 and later always do), otherwise the name
    /// that the program was called by. Source: Juju's dispatch rules for charms.
    pub fn of(context: &Context) -> Event {
        if let Some(action) = &context.action_name {
            return Event::Action(action.clone());
        }
        let departing = context.relation.as_ref().and_then(|relation| relation.departing_unit.as_ref());
        Event::parse(context.hook(), departing == Some(&context.unit))
    }

    /// `path` is `hooks/NAME`, `actions/NAME` or a bare hook name; `departing` says that Juju named this very
    /// unit as the one that departs.
    fn parse(path: &str, departing: bool) -> Event {
        if let Some(action) = path.strip_prefix("actions/") {
            return Event::Action(action.to_owned());
        }
        let name = path.strip_prefix("hooks/").unwrap_or(path);
        match name {
            _ if departing => Event::Leaving(name.to_owned()),
            "stop" => Event::Leaving(name.to_owned()),
            "update-status" => Event::UpdateStatus,
            DETACHING => Event::Detaching(name.to_owned()),
            "upgrade-charm" => Event::Upgraded,
            // "remove" follows "stop": everything is said and done by then.
            "remove" | "collect-metrics" | "meter-status-changed" | "" => Event::Nothing(name.to_owned()),
            _ => Event::Look(name.to_owned()),
        }
    }

    /// Whether this unit is on its way out.
    pub fn is_leaving(&self) -> bool {
        matches!(self, Event::Leaving(_))
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Look(name) | Event::Leaving(name) | Event::Detaching(name) | Event::Nothing(name) => {
                f.write_str(name)
            }
            Event::Upgraded => f.write_str("upgrade-charm"),
            Event::UpdateStatus => f.write_str("update-status"),
            Event::Action(name) => write!(f, "action {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_call_becomes_its_event() {
        let cases = [
            ("hooks/install", false, Event::Look("install".into())),
            ("install", false, Event::Look("install".into())),
            ("hooks/update-status", false, Event::UpdateStatus),
            ("hooks/upgrade-charm", false, Event::Upgraded),
            ("hooks/data-storage-attached", false, Event::Look("data-storage-attached".into())),
            ("hooks/data-storage-detaching", false, Event::Detaching("data-storage-detaching".into())),
            ("hooks/stop", false, Event::Leaving("stop".into())),
            ("hooks/remove", false, Event::Nothing("remove".into())),
            ("hooks/cluster-relation-departed", false, Event::Look("cluster-relation-departed".into())),
            ("hooks/cluster-relation-departed", true, Event::Leaving("cluster-relation-departed".into())),
            ("hooks/db-relation-departed", true, Event::Leaving("db-relation-departed".into())),
            ("hooks/prometheus-relation-joined", false, Event::Look("prometheus-relation-joined".into())),
            ("hooks/db-relation-joined", false, Event::Look("db-relation-joined".into())),
            ("actions/health", false, Event::Action("health".into())),
            ("", false, Event::Nothing("".into())),
            ("hooks/some-future-hook", false, Event::Look("some-future-hook".into())),
        ];
        for (path, departing, expected) in cases {
            assert_eq!(Event::parse(path, departing), expected, "{path} departing={departing}");
        }
    }
}
