//! Sequences with a name: what once went wrong, and what operators do.

use super::*;

#[test]
fn an_application_of_any_size_settles() {
    for units in 1..6 {
        let model = deployed(units);
        assert_eq!(verdict(&model), Ok(()), "{units}");
    }
}

#[test]
fn units_are_replaced_one_after_the_other() {
    let mut model = deployed(3);
    for old in 0..3 {
        model.add_unit();
        settle(&mut model);
        model.write();
        model.remove_unit(old);
        settle(&mut model);
        assert_eq!(verdict(&model), Ok(()), "without etcd/{old}");
    }
    assert_eq!(model.units.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
}

/// As people replace machines.
#[test]
fn all_units_are_replaced_at_once() {
    for (before, after) in [(1, 1), (1, 3), (3, 3), (3, 1)] {
        let mut model = deployed(before);
        (0..after).for_each(|_| model.add_unit());
        (0..before).for_each(|old| model.remove_unit(u32::try_from(old).unwrap()));
        settle(&mut model);
        assert_eq!(verdict(&model), Ok(()), "{before} for {after}");
    }
}

#[test]
fn units_that_come_while_the_leader_is_busy_are_not_taken_for_gone() {
    let mut model = deployed(1);
    for _ in 0..3 {
        model.advance(0);
        model.add_unit();
        (1..4).for_each(|unit| model.hook(unit));
    }
    settle(&mut model);
    assert_eq!(verdict(&model), Ok(()));
}

#[test]
fn a_lost_machine_costs_nothing_that_was_acknowledged() {
    assert_eq!(play(3, &[Op::LoseMachine(0), Op::Write, Op::AddUnit]), Ok(()));
}

#[test]
fn a_hook_that_is_killed_anywhere_is_gone_on_with() {
    for steps in 0..12 {
        let advance = std::iter::repeat_n(Op::Advance(1), steps);
        let ops: Vec<Op> =
            [Op::AddUnit].into_iter().chain(advance).chain([Op::KillHook(1), Op::Write]).collect();
        assert_eq!(play(1, &ops), Ok(()), "after {steps} steps");
    }
}

#[test]
fn an_option_is_followed_while_machines_reboot() {
    assert_eq!(play(3, &[Op::ChangeOption, Op::Hook(0), Op::Reboot(1), Op::Hook(2), Op::Write]), Ok(()));
}

/// The end of a sequence is judged by what it promises: each of these would be told.
#[test]
fn what_is_lost_or_unsettled_is_told() {
    let spoiled = |spoil: fn(&mut Model)| {
        let mut model = deployed(3);
        spoil(&mut model);
        verdict(&model).expect_err("something is wrong")
    };
    assert!(spoiled(|model| model.acknowledged.push(99)).contains("acknowledged and lost"));
    assert!(spoiled(|model| [1, 2].into_iter().for_each(|at| model.servers.stop(at))).contains("no quorum"));
    assert!(spoiled(|model| model.servers.begin(7, ("x", "y", "z"))).contains("2 clusters"));
    assert!(spoiled(Model::add_unit).contains("not settled"));
}
