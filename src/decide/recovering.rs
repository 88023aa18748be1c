//! A rebuilding of the quorum that was cut off is finished, or the data of before is put back. Invariant: no other rule starts
//! that member meanwhile.

use super::{Next, generation};
use crate::etcd::replaced_by_start_alone;
use crate::juju::Status;
use crate::recovering::{Phase, Recovery};
use crate::step::Step;
use crate::world::{Service, World};

pub(super) fn next(w: &World) -> Option<Next> {
    let of_before = || generation::is_of_before(w).then(|| stay_down(w)).flatten();
    let step = w.host.recovery.as_ref().and_then(|recovery| step(w, recovery));
    step.map_or_else(of_before, |step| go_on(w, step))
}

fn go_on(w: &World, step: Step) -> Option<Next> {
    let recovery = w.host.recovery.as_ref()?;
    match w.tried.in_vain(step.name()) {
        Some(why) => Some(Next::Done(Status::blocked(format!(
            "recover-quorum was cut off: {step}: {why}; see to that, every hook tries again; the data of before is in {}",
            recovery.kept.display()
        )))),
        None => Some(Next::Do(step)),
    }
}

/// A member of before the quorum was recovered elsewhere does not serve, whoever comes back with it. When the recovered cluster
/// can be asked, it is what any removed member is.
fn stay_down(w: &World) -> Option<Next> {
    match w.host.service {
        Service::Running | Service::Failing(_) if w.tried.in_vain("stop-service").is_none() => {
            Some(Next::Do(Step::StopService))
        }
        _ if w.members().is_some() => None,
        _ => Some(Next::Done(generation::why_down(w))),
    }
}

/// The others may have come back meanwhile: then this member is one of theirs, with the data of before.
fn step(w: &World, recovery: &Recovery) -> Option<Step> {
    match recovery.phase {
        Phase::Copying | Phase::GoingBack => Some(Step::UndoRecovery(recovery.clone())),
        Phase::Alone if w.members().is_some() => Some(Step::UndoRecovery(recovery.clone())),
        Phase::Alone => Some(Step::FinishRecovery(recovery.clone())),
        // With its usual file it is a member as any other.
        Phase::Recovered => {
            let is_alone = w.host.config.as_deref().and_then(replaced_by_start_alone).is_some();
            let is_told = w.own_record().generation.as_ref() == Some(&recovery.generation);
            let serves = w.own_status().is_some() && w.members().is_some();
            match is_alone {
                true => Some(Step::FinishRecovery(recovery.clone())),
                false => (serves && is_told).then_some(Step::EndRecovery),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::serving::publication;
    use super::super::worlds::*;
    use super::*;
    use crate::etcd::start_alone;
    use crate::juju::StatusKind;
    use crate::world::{Door, Roster};

    /// The last of three, whose run was killed when it had come so far.
    fn cut_off(phase: Phase) -> World {
        let mut w = settled(0, &three());
        w.etcd.door = Door::Closed;
        w.host.service = Service::Stopped;
        w.etcd.roster = Roster::Unconfirmed { cause: "no quorum".into(), remembered: vec![] };
        w.host.recovery = Some(Recovery {
            phase,
            kept: "/var/snap/etcd/current/member.before-recovery-1".into(),
            generation: "1 etcd/0".parse().unwrap(),
        });
        w
    }

    #[test]
    fn what_was_cut_off_is_finished_or_put_back_and_never_just_started() {
        let undone = |w: &World| matches!(next(w), Next::Do(Step::UndoRecovery(_)));
        let finished = |w: &World| matches!(next(w), Next::Do(Step::FinishRecovery(_)));
        assert!(undone(&cut_off(Phase::Copying)));
        assert!(undone(&cut_off(Phase::GoingBack)));
        let mut w = cut_off(Phase::Alone);
        assert!(finished(&w));
        w.etcd.roster = Roster::Confirmed(three());
        assert!(undone(&w), "the others are a quorum again");
        let mut w = cut_off(Phase::Recovered);
        assert_eq!(next(&w), Next::Do(Step::StartService), "with its usual file");
        let mut served = settled(0, &three()[..1]);
        served.host.recovery.clone_from(&w.host.recovery);
        let told = publication(&served, "t").unit.remove(0).1;
        assert_eq!(told["recovery"], Some("1 etcd/0".to_owned()));
        assert_ne!(next(&served), Next::Do(Step::EndRecovery), "nobody knows of it yet");
        served.peers.own = told.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        assert_eq!(next(&served), Next::Do(Step::EndRecovery));
        w.host.config = w.host.config.map(|config| start_alone(&config).unwrap());
        assert!(finished(&w));
    }

    #[test]
    fn one_that_cannot_be_brought_to_an_end_is_told_and_starts_nothing() {
        for (phase, step) in [(Phase::Alone, "finish-recovery"), (Phase::GoingBack, "undo-recovery")] {
            let mut w = cut_off(phase);
            w.tried.in_vain.insert(step, "no space left on device".into());
            let status = done(next(&w));
            assert_eq!(status.kind, StatusKind::Blocked);
            assert!(status.message.contains("no space left on device; see to that"), "{status}");
            assert!(status.message.ends_with("/member.before-recovery-1"), "{status}");
        }
    }
}
