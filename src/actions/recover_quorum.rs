//! `recover-quorum`: after a majority of the members is lost for good, a new majority from what one survivor knows.
//!
//! Never without the operator's word, never while a quorum could still answer, and only on the survivor that knows most.

mod rebuild;
mod survey;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::rebuild::Rebuild;
use self::survey::{Survey, unit_of};
use super::parameters::Parameters;
use super::{Report, Results};
use crate::decide::{self, DATA};
use crate::etcd::{Member, read_config, replaced_by_start_alone};
use crate::event::Event;
use crate::juju::{Context, Tools};
use crate::observe;
use crate::world::{Data, Door, Roster, Tried, World};

/// How long servers that have just been started may say nothing.
const PATIENCE: Duration = Duration::from_secs(12);

pub(super) async fn run(context: &Context, parameters: &Parameters, tools: &Tools) -> Result<Report> {
    let confirmed = parameters.flag("confirm")?;
    let world = look(context, tools).await?;
    let data = match &world.host.config {
        Some(config) => read_config(config)?.data_dir.map_or_else(|| PathBuf::from(DATA), PathBuf::from),
        None => PathBuf::from(DATA),
    };
    if let Some(why) = why_not_here(&world) {
        bail!("{why}");
    }
    if let Some(refused) = decide::why_refused(&world) {
        bail!("nothing was changed: {}", refused.message);
    }
    let interrupted = world.host.config.as_deref().and_then(replaced_by_start_alone).is_some();
    match &world.etcd.roster {
        Roster::Confirmed(members) if interrupted && members.len() == 1 => {
            Rebuild::prepare(&world.host, &data, tools)?.finish().await?;
            return Ok(Report::of(done(&world)));
        }
        Roster::Confirmed(members) => bail!(
            "a quorum of the {} answers, so there is nothing to recover; run the health action",
            counted(members.len())
        ),
        Roster::NobodyToAsk | Roster::Unconfirmed { .. } => {}
    }
    let survey = Survey::ask(&world).await;
    let results = survey.results();
    if let Some(failure) = why_not_now(&world, &survey, confirmed) {
        return Ok(Report { results, failure: Some(failure) });
    }
    let kept = match Rebuild::prepare(&world.host, &data, tools) {
        Ok(rebuild) => rebuild.run().await,
        Err(error) => Err(error),
    };
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
        Data::Present if world.own_status().is_some_and(|status| status.learner) => Some(
            "this unit was still joining and may know little of the data; run it on a unit that had joined"
                .to_owned(),
        ),
        Data::Present => None,
    }
}

/// Why it is not done in this run.
fn why_not_now(world: &World, survey: &Survey, confirmed: bool) -> Option<String> {
    let own = world.member_name();
    let (present, voters) = (survey.present(&own), remembered_voters(world));
    if present > voters / 2 && voters > 0 {
        return Some(format!(
            "{present} of {} answer, which is a quorum: wait until they have elected a raft leader, and run the health action",
            counted(voters)
        ));
    }
    match survey.best() {
        Some(best) if best != own => {
            let unit = unit_of(best, world);
            Some(format!(
                "nothing was changed: {best} knows as much or more; run recover-quorum on {unit} instead"
            ))
        }
        _ if !confirmed => Some(format!(
            "nothing was changed: what only the lost members knew will be gone for good; to make a new cluster from {own}, run it on {} again with confirm=true",
            world.unit
        )),
        _ => None,
    }
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
