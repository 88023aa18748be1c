//! `recover-quorum`: after a majority of the members is lost for good, a new majority from what one survivor knows.
//!
//! Never without the operator's word, never while a quorum could still answer, and only on the survivor that knows most.

mod survey;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::survey::Survey;
use super::parameters::Parameters;
use super::{Report, Results, tell};
use crate::act::Rebuild;
use crate::decide;
use crate::etcd::Member;
use crate::event::Event;
use crate::juju::{Context, Tools, UnitName};
use crate::observe;
use crate::publish;
use crate::reconcile;
use crate::recovering::Recovery;
use crate::world::{Data, Door, Roster, Tried, World};

/// How long servers that have just been started may say nothing.
const PATIENCE: Duration = Duration::from_secs(12);

pub(super) async fn run(context: &Context, parameters: &Parameters, tools: &Tools) -> Result<Report> {
    let confirmed = parameters.flag("confirm")?;
    let without = without(parameters, &context.unit)?;
    let cut_off = Recovery::read()?;
    if cut_off.is_some() {
        tell(tools, "finishing or undoing a recovery that was cut off").await;
        reconcile::run(context, Event::Look("recover-quorum".to_owned()), tools).await?;
    }
    let world = look(context, tools).await?;
    if let Some(why) = why_not_here(&world) {
        bail!("{why}");
    }
    if let Some(refused) = decide::why_refused(&world) {
        bail!("nothing was changed: {}", refused.message);
    }
    match (&world.etcd.roster, cut_off) {
        (Roster::Confirmed(members), Some(recovery))
            if members.len() == 1 && recovery.kept.try_exists().unwrap_or(false) =>
        {
            return Ok(Report::of(done(&world)));
        }
        (Roster::Confirmed(members), _) => bail!(
            "a quorum of the {} answers, so there is nothing to recover; run the health action",
            counted(members.len())
        ),
        (Roster::NobodyToAsk | Roster::Unconfirmed { .. }, _) => {}
    }
    let survey = Survey::ask(&world).await;
    let results = survey.results(&without);
    if let Some(failure) = why_not_now(&world, &survey, (confirmed, &without)) {
        // The other survivors may have to compare.
        publish::log_end(&world, tools).await?;
        return Ok(Report { results, failure: Some(failure) });
    }
    let kept = rebuild(&world, tools).await;
    Ok(match kept {
        Ok(kept) => {
            let mut results = results;
            results.extend(done(&world));
            results.insert("kept.path".to_owned(), kept.display().to_string());
            Report::of(results)
        }
        Err(error) => Report { results, failure: Some(format!("{error:#}")) },
    })
}

/// What Juju is told takes effect when the action ends, also with a failure; the mark on disk is there first.
async fn rebuild(world: &World, tools: &Tools) -> Result<PathBuf> {
    let rebuild = Rebuild::prepare(&world.host, tools)?;
    let generation = decide::next_generation(world);
    publish::generation(world, Some(&generation), tools).await?;
    let kept = rebuild.run(generation).await;
    let counts = Recovery::read().is_ok_and(|mark| mark.is_some_and(|mark| !mark.is_half_done()));
    if !counts {
        publish::generation(world, world.own_record().generation.as_ref(), tools).await?;
    }
    kept
}

/// Looks until this unit's server says something, for a while: servers that have all just been started need some
/// seconds to elect a raft leader, and are no lost quorum.
async fn look(context: &Context, tools: &Tools) -> Result<World> {
    let facts = observe::facts(context, Event::Action("recover-quorum".to_owned()), tools).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let world = observe::world(&facts, tools, &Tried::default()).await?;
        if !matches!(world.etcd.door, Door::Mute(_)) || Instant::now() > deadline {
            return Ok(world);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Why this unit can never be the one.
fn why_not_here(world: &World) -> Option<String> {
    if let Some(what) = under_way(world) {
        return Some(format!(
            "{what} is under way on this unit: see its status, and run it again when that has ended"
        ));
    }
    match &world.host.data {
        Data::Empty => Some("this unit has no data to recover from; run it on a unit that has".to_owned()),
        Data::Partial(missing) => Some(format!(
            "the data directory of this unit is damaged, {missing} is missing; run it on another unit, or restore a snapshot"
        )),
        Data::Unreadable(why) => {
            Some(format!("the data directory of this unit cannot be read: {why}; run it on another unit"))
        }
        Data::Present if world.host.place.log.is_some() => Some(format!(
            "etcd's data on this unit is in {}: stop etcd, move the log to {}/member/wal, take wal-dir out of etcd.conf.yml, and run it again",
            world.host.place, world.host.place.data
        )),
        Data::Present if has_never_voted(world) => Some(
            "this unit was still joining and may know little of the data; run it on a unit that had joined"
                .to_owned(),
        ),
        Data::Present => None,
    }
}

fn has_never_voted(world: &World) -> bool {
    let own = world.own_record();
    let is_silent = world.own_status().is_none() && own.member.is_none() && own.address.is_none();
    is_silent || world.own_status().is_some_and(|status| status.learner)
}

/// What else changes this unit's data or its etcd, and goes on in any hook.
fn under_way(world: &World) -> Option<&'static str> {
    let host = &world.host;
    let all = [
        (host.recovery.is_some(), "a recovery that was cut off"),
        (host.restore.is_some(), "a restore"),
        (host.moving.is_some(), "an upgrade of etcd"),
    ];
    all.into_iter().find_map(|(is_under_way, what)| is_under_way.then_some(what))
}

/// Why it is not done in this run.
fn why_not_now(
    world: &World,
    survey: &Survey,
    (confirmed, without): (bool, &BTreeSet<UnitName>),
) -> Option<String> {
    let own = world.member_name();
    if let Some(status) = decide::rivals(world) {
        return Some(format!("nothing was changed: {}", status.message));
    }
    if let Some((unit, generation)) = decide::later_unit(world) {
        return Some(format!(
            "nothing was changed: the quorum was recovered on {} already: bring {unit} back, and this unit joins it by itself; if it is lost for good, remove it first (juju remove-unit {unit} --force), then run this again",
            generation.unit
        ));
    }
    let (present, voters) = (survey.present(&own), remembered_voters(world));
    if present > voters / 2 && voters > 0 {
        return Some(format!(
            "{present} of {} answer, which is a quorum: wait until they have elected a raft leader, and run the health action",
            counted(voters)
        ));
    }
    if let Some((unit, why)) = survey.unknown(without).next() {
        let told = format!("nothing was changed: the log of {unit} cannot be compared: {why}");
        return Some(match *unit == world.unit {
            true => format!("{told}; run it on another unit, or restore a snapshot"),
            false => format!(
                "{told}; run recover-quorum on {unit}, which makes it say so and changes nothing without confirm, then here again; to give up what only {unit} has: confirm=true without={}",
                given_up(without, unit)
            ),
        });
    }
    match survey.best(without) {
        Some(best) if *best != world.unit => Some(format!(
            "nothing was changed: {best} knows as much or more; run recover-quorum on {best} instead, or if its data is lost for good, here with confirm=true without={}",
            given_up(without, best)
        )),
        _ if !confirmed => Some(format!(
            "nothing was changed: what only the lost members knew will be gone for good; to make a new cluster from {own}, run it on {} again with confirm=true",
            world.unit
        )),
        _ => None,
    }
}

fn given_up(without: &BTreeSet<UnitName>, more: &UnitName) -> String {
    let all: BTreeSet<String> = without.iter().chain([more]).map(UnitName::to_string).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

/// Units whose data the operator gives up.
fn without(parameters: &Parameters, own: &UnitName) -> Result<BTreeSet<UnitName>> {
    let named = parameters.text("without")?.unwrap_or_default();
    let units = named.split([',', ' ']).filter(|name| !name.is_empty()).map(|name| {
        let unit = name.parse::<UnitName>().ok().filter(|unit| own.has_sibling(name) && unit != own);
        unit.with_context(|| {
            format!(
                "without: {name} is not another unit of {}; accepted: units, such as etcd/1,etcd/2",
                own.application()
            )
        })
    });
    units.collect()
}

/// How many voters this unit's server remembers; none when it says nothing.
fn remembered_voters(world: &World) -> usize {
    match &world.etcd.roster {
        Roster::Confirmed(members) | Roster::Unconfirmed { remembered: members, .. } => {
            members.iter().filter(|member: &&Member| !member.learner).count()
        }
        Roster::NobodyToAsk => 0,
    }
}

fn counted(members: usize) -> String {
    if members == 1 { "1 member".to_owned() } else { format!("{members} members") }
}

fn done(world: &World) -> Results {
    let next = "remove the lost units (juju remove-unit --force) and add new ones; units that come back join again by themselves";
    Results::from([("recovered".to_owned(), world.member_name()), ("next".to_owned(), next.to_owned())])
}
