//! In the place of the earlier charm: its service that starts etcd goes before anything may stop etcd; its other leftovers when
//! something else is in their place. Who else starts etcd is told and left alone.

use super::Next;
use crate::step::Step;
use crate::world::{Door, Leftover, LeftoverKind, World};

/// The name of the step, to ask whether it was tried.
const STEP: &str = "remove-leftovers";

/// It restarts etcd seconds after every stop on purpose.
pub(super) fn kicker(w: &World) -> Option<Next> {
    remove(w, |leftover| leftover.kind == LeftoverKind::Kicker)
}

/// Of a member that serves.
pub(super) fn rest(w: &World) -> Option<Next> {
    let Door::Open(_) = w.etcd.door else { return None };
    remove(w, |leftover| is_replaced(w, leftover))
}

fn remove(w: &World, is_ripe: impl Fn(&Leftover) -> bool) -> Option<Next> {
    let ripe: Vec<Leftover> = w.host.inherited.leftovers.iter().filter(|one| is_ripe(one)).cloned().collect();
    let is_tried = w.tried.in_vain(STEP).is_some();
    (!ripe.is_empty() && !is_tried).then_some(Next::Do(Step::RemoveLeftovers(ripe)))
}

fn is_replaced(w: &World, leftover: &Leftover) -> bool {
    match leftover.kind {
        LeftoverKind::Kicker => true,
        LeftoverKind::AlarmCheck => {
            !w.host.checks.files.values().any(|text| text.contains("check_etcd-alarms.py"))
        }
        LeftoverKind::RestartRules => w.host.drop_in.is_some(),
        LeftoverKind::Mount => w.host.volume.unit.is_some(),
        LeftoverKind::Aliases => w.host.shell_profile.is_some(),
    }
}

/// What the status says of those who undo a stop on purpose.
pub(super) fn note(w: &World) -> Option<String> {
    let inherited = &w.host.inherited;
    let kicker = inherited.leftovers.iter().any(|one| one.kind == LeftoverKind::Kicker);
    let mut names: Vec<&str> = inherited.starters.iter().map(String::as_str).collect();
    names.extend(kicker.then_some("cdk-service-kicker.service"));
    (!names.is_empty()).then(|| {
        let names = names.join(" ");
        format!(" (etcd is also started by {names}: systemctl disable --now {names}, or take etcd out of it)")
    })
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::*;
    use super::*;
    use crate::event::Event;

    fn left(kind: LeftoverKind) -> Leftover {
        Leftover { kind, path: "/etc/left".into(), rest: None }
    }

    fn with(kinds: &[LeftoverKind]) -> World {
        let mut w = settled(0, &three());
        w.host.inherited.leftovers = kinds.iter().map(|kind| left(*kind)).collect();
        w
    }

    fn removed(w: &World) -> Vec<LeftoverKind> {
        match next(w) {
            Next::Do(Step::RemoveLeftovers(all)) => all.iter().map(|one| one.kind).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn what_starts_etcd_goes_before_anything_stops_it() {
        let mut w = with(&[LeftoverKind::Kicker, LeftoverKind::Aliases]);
        w.host.restart_due = Some("https://127.0.0.1:2379".into());
        assert_eq!(removed(&w), [LeftoverKind::Kicker]);
        w.event = Event::Leaving("stop".into());
        assert_eq!(removed(&w), [LeftoverKind::Kicker]);
        w.tried.in_vain.insert(STEP, "systemd refuses".into());
        assert_eq!(removed(&w), []);
    }

    #[test]
    fn the_rest_goes_when_something_else_is_in_its_place() {
        use LeftoverKind::{AlarmCheck, Aliases, Mount, RestartRules};
        let mut w = with(&[AlarmCheck, RestartRules, Mount, Aliases]);
        assert_eq!(removed(&w), [AlarmCheck, RestartRules, Aliases], "nothing else mounts the storage yet");
        w.host.volume.unit = Some("[Mount]".into());
        w.host
            .checks
            .files
            .insert("/etc/nagios/nrpe.d/check_etcd-alarms.cfg".into(), "check_etcd-alarms.py".into());
        w.options = Err(vec![]);
        let kinds = [RestartRules, Mount, Aliases];
        let ripe: Vec<_> = [AlarmCheck, RestartRules, Mount, Aliases]
            .into_iter()
            .filter(|kind| is_replaced(&w, &left(*kind)))
            .collect();
        assert_eq!(ripe, kinds, "the agent still runs the old plugin");
        let mut w = with(&[Aliases]);
        w.etcd.door = Door::Closed;
        assert_eq!(removed(&w), []);
    }

    #[test]
    fn who_else_starts_etcd_is_named() {
        let mut w = settled(0, &three());
        w.host.inherited.starters = vec!["watchdog.timer".into()];
        let message = done(next(&w)).message;
        let note = "(etcd is also started by watchdog.timer: systemctl disable --now watchdog.timer";
        assert!(message.starts_with("Healthy with 3 known peers") && message.contains(note), "{message}");
        let mut w = with(&[LeftoverKind::Kicker]);
        w.tried.in_vain.insert(STEP, "systemd refuses".into());
        assert!(done(next(&w)).message.contains("cdk-service-kicker.service"));
    }
}
