//! The next thing that one relation has to tell its unit. Pure: what the agent has delivered and what the controller
//! offers go in, one step comes out. Versions are compared with "differs", never with "greater".

use crate::model::Offer;

use super::state::RelationState;

/// One hook of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "whom it is about, and the version of what it tells")]
pub enum RelationStep {
    /// relation-joined for a unit.
    Joined { unit: String, version: u64 },
    /// relation-changed for a unit.
    Changed { unit: String, version: u64 },
    /// relation-changed for an application's bag.
    ApplicationChanged { application: String, version: u64 },
    /// relation-departed for a unit.
    Departed { unit: String },
    /// relation-broken.
    Broken,
}

/// What comes next, if anything. `is_leaving`: the unit itself goes away.
pub fn next(state: &RelationState, offer: &Offer, is_leaving: bool) -> Option<RelationStep> {
    if let Some(unit) = &state.owed {
        let delivered = state.members.get(unit).copied().unwrap_or_default();
        let version = offer.units.get(unit).copied().unwrap_or(delivered);
        return Some(RelationStep::Changed { unit: unit.clone(), version });
    }
    let is_over = is_leaving || offer.is_dying;
    let is_gone = |unit: &String| is_over || !offer.units.contains_key(unit);
    if let Some(unit) = state.members.keys().find(|unit| is_gone(unit)) {
        return Some(RelationStep::Departed { unit: unit.clone() });
    }
    if is_over {
        return (!offer.is_peer).then_some(RelationStep::Broken);
    }
    for (application, version) in &offer.applications {
        if state.applications.get(application).copied().unwrap_or_default() != *version {
            return Some(RelationStep::ApplicationChanged {
                application: application.clone(),
                version: *version,
            });
        }
    }
    if let Some((unit, version)) = offer.units.iter().find(|(unit, _)| !state.members.contains_key(*unit)) {
        return Some(RelationStep::Joined { unit: unit.clone(), version: *version });
    }
    let (unit, version) =
        offer.units.iter().find(|(unit, version)| state.members.get(*unit) != Some(*version))?;
    Some(RelationStep::Changed { unit: unit.clone(), version: *version })
}

/// What the agent knows after a step and its flush succeeded.
pub fn advance(state: &mut RelationState, step: &RelationStep) {
    match step {
        RelationStep::Joined { unit, version } => {
            state.members.insert(unit.clone(), *version);
            state.owed = Some(unit.clone());
        }
        RelationStep::Changed { unit, version } => {
            state.members.insert(unit.clone(), *version);
            state.owed = None;
        }
        RelationStep::ApplicationChanged { application, version } => {
            state.applications.insert(application.clone(), *version);
        }
        RelationStep::Departed { unit } => {
            state.members.remove(unit);
        }
        RelationStep::Broken => *state = RelationState::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(units: &[(&str, u64)]) -> Offer {
        Offer {
            units: units.iter().map(|(unit, version)| ((*unit).to_owned(), *version)).collect(),
            endpoint: "db".to_owned(),
            remote_application: "mysql".to_owned(),
            ..Offer::default()
        }
    }

    /// Runs steps until nothing is left, and lists them.
    fn drain(state: &mut RelationState, offer: &Offer, is_leaving: bool) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(step) = next(state, offer, is_leaving) {
            steps.push(match &step {
                RelationStep::Joined { unit, .. } => format!("joined {unit}"),
                RelationStep::Changed { unit, .. } => format!("changed {unit}"),
                RelationStep::ApplicationChanged { application, .. } => format!("changed {application}"),
                RelationStep::Departed { unit } => format!("departed {unit}"),
                RelationStep::Broken => "broken".to_owned(),
            });
            advance(state, &step);
            if step == RelationStep::Broken {
                break;
            }
        }
        steps
    }

    #[test]
    fn every_unit_joins_and_is_owed_a_change() {
        let mut state = RelationState::default();
        let offered = offer(&[("mysql/1", 7), ("mysql/0", 3)]);
        assert_eq!(
            drain(&mut state, &offered, false),
            ["joined mysql/0", "changed mysql/0", "joined mysql/1", "changed mysql/1"]
        );
        assert_eq!(drain(&mut state, &offered, false), [""; 0]);
        assert_eq!(drain(&mut state, &offer(&[("mysql/1", 2), ("mysql/0", 3)]), false), ["changed mysql/1"]);
    }

    #[test]
    fn an_application_bag_may_come_before_any_unit() {
        let mut state = RelationState::default();
        let mut offered = offer(&[("mysql/0", 1)]);
        offered.applications.insert("mysql".to_owned(), 4);
        assert_eq!(
            drain(&mut state, &offered, false),
            ["changed mysql", "joined mysql/0", "changed mysql/0"]
        );
    }

    #[test]
    fn a_unit_that_vanished_right_after_joining_is_still_told_as_changed_first() {
        let mut state = RelationState::default();
        let step = next(&state, &offer(&[("mysql/0", 1)]), false).unwrap();
        advance(&mut state, &step);
        assert_eq!(drain(&mut state, &offer(&[]), false), ["changed mysql/0", "departed mysql/0"]);
    }

    #[test]
    fn the_end_of_a_relation_is_departed_for_each_member_then_broken() {
        let mut state = RelationState::default();
        let mut offered = offer(&[("mysql/0", 1), ("mysql/1", 2)]);
        drain(&mut state, &offered, false);
        offered.is_dying = true;
        assert_eq!(
            drain(&mut state.clone(), &offered, false),
            ["departed mysql/0", "departed mysql/1", "broken"]
        );
        offered.is_dying = false;
        assert_eq!(drain(&mut state, &offered, true), ["departed mysql/0", "departed mysql/1", "broken"]);
    }

    #[test]
    fn a_peer_relation_is_never_broken() {
        let mut state = RelationState::default();
        let mut offered = offer(&[("mysql/1", 1)]);
        offered.is_peer = true;
        drain(&mut state, &offered, false);
        assert_eq!(drain(&mut state, &offered, true), ["departed mysql/1"]);
    }
}
