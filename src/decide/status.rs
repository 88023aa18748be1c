//! The one line an operator sees: the cause, whom it concerns, and the next command where there is one.

use super::{
    Next, Waiting, addresses, clients, generation, healing, inherited, kept, leaving, requests, service, tls,
};
use crate::etcd::{AlarmKind, Member, read_config};
use crate::juju::{Status, StatusKind, UnitName};
use crate::options::OptionError;
use crate::world::{Door, Etcd, Following, Health, Host, Reading, Roster, World};

/// What is left to do when machines do not come back.
const IF_LOST: &str = "if machines are lost for good, run the action recover-quorum on the best survivor";

/// So long before the first certificate ends an operator is told of it.
const WARNING_DAYS: i64 = 30;
/// etcd's own quota where none is set, bytes.
pub(super) const DEFAULT_QUOTA: u64 = 2 << 30;
/// By this a status of a filling database is known.
pub const OF_ITS_QUOTA: &str = "% of its quota";
/// From here on the database is said to be filling, percent.
const WORTH_A_WORD: u64 = 80;

/// How things stand when nothing is left to do. Unhealthy members are given a moment: they may be restarting. So are
/// those of leaving units: the hook that tells of a departure is the last one, and may come before the member goes.
pub(super) fn next(w: &World) -> Next {
    let status = of(w);
    if let Some(leaver) = leavers(w).next() {
        let is_well = status.kind == StatusKind::Active;
        return Next::Wait(Waiting::Departure(if is_well { departure(w, leaver) } else { status }));
    }
    if status.message.starts_with("UnHealthy") {
        return Next::Wait(Waiting::Members(status));
    }
    // Everything that does without snapd is done.
    if matches!(w.host.following, Following::Busy(_)) {
        return Next::Wait(Waiting::Snapd(status));
    }
    Next::Done(status)
}

fn leavers(w: &World) -> impl Iterator<Item = &Member> {
    w.members().unwrap_or_default().iter().filter(|member| leaving::is_leaving(w, member))
}

/// One whose machine is lost will never take itself out.
fn departure(w: &World, leaver: &Member) -> Status {
    let unit = w.peers.leaving.iter().find(|unit| unit.member_name() == leaver.name);
    match (&w.etcd.health.get(&leaver.id), unit) {
        (Some(Health::Unhealthy(why)), Some(unit)) => Status::blocked(format!(
            "{} {why} and being removed: if its machine is lost: juju remove-unit --force {unit}",
            name_and_address(leaver)
        )),
        _ => Status::waiting(format!("{} is leaving the cluster", leaver.name)),
    }
}

fn of(w: &World) -> Status {
    // A request for another address must get out, so nothing waits for a quorum then.
    let is_moving = addresses::why_it_waits(w).is_some();
    if let Some(status) = without_quorum(w).filter(|_| w.own_status().is_some() && !is_moving) {
        return status;
    }
    if let Err(errors) = &w.options {
        return wrong_options(errors);
    }
    generation::rivals(w)
        .or_else(|| tls::trouble(w))
        .or_else(|| addresses::why_it_waits(w))
        .or_else(|| without_quorum(w))
        .or_else(|| sick_members(w))
        .or_else(|| alarms(w))
        .or_else(|| service::why_option_waits(w))
        .unwrap_or_else(|| healthy(w))
}

/// Whatever a run has come to, an alarm comes first: it is about everybody's data.
pub fn alarm_first(w: &World, status: Status) -> Status {
    let Some(alarm) = raised_alarm(w).filter(|_| !w.event.is_leaving()) else { return status };
    if status.kind == StatusKind::Active || status.message.starts_with(&alarm.message) {
        return alarm;
    }
    Status::blocked(format!("{}; {}", alarm.message, status.message))
}

/// What an operator does about a cause that is named, and no more.
pub(super) const AGAIN: &str = "see to that, every hook tries again";

/// All that is wrong with the options, in one line.
pub(super) fn wrong_options(errors: &[OptionError]) -> Status {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Status::blocked(all.join("; "))
}

fn without_quorum(w: &World) -> Option<Status> {
    match &w.etcd.roster {
        Roster::Confirmed(_) => None,
        Roster::NobodyToAsk => Some(Status::waiting("Waiting for etcd to start")),
        Roster::Unconfirmed { cause, remembered } => {
            let known = known_peers(voters(remembered).count());
            let sick = list_of_sick(w, remembered);
            let why = if sick.is_empty() { cause.clone() } else { sick };
            Some(Status::blocked(format!("UnHealthy with {known}: no quorum; {why}; {IF_LOST}")))
        }
    }
}

/// A server that was started without a quorum answers nothing at all; only the other units' databags tell that it is
/// not alone.
pub(super) fn mute_without_quorum(w: &World, says: &str) -> Option<Status> {
    let Roster::Unconfirmed { .. } = w.etcd.roster else { return None };
    let others = w.peers.units.values().filter(|peer| peer.record.member.is_some()).count();
    let known = known_peers(others + 1);
    Some(Status::blocked(format!("UnHealthy with {known}: no quorum; etcd waits for it: {says}; {IF_LOST}")))
}

/// Voters of a confirmed cluster that are not well.
pub(super) fn sick_members(w: &World) -> Option<Status> {
    let members = w.members()?;
    let sick = list_of_sick(w, members);
    let known = known_peers(voters(members).count());
    (!sick.is_empty())
        .then(|| Status::blocked(format!("UnHealthy with {known}: {sick}; {}", what_to_do(w, members))))
}

/// By itself the leader takes out only the member of a unit that is gone by Juju's goal state.
fn what_to_do(w: &World, members: &[Member]) -> String {
    let is_seen = |member: &Member| {
        let mut names = w.peers.units.keys().chain(w.peers.departing.keys()).map(UnitName::member_name);
        names.any(|name| name == member.name) || member.name == w.member_name()
    };
    let mut sick = voters(members).filter(|member| is_sick(w, member));
    match sick.find(|member| !is_seen(member)).filter(|_| w.peers.expected.is_none()) {
        None => "see to that machine; if it is lost for good, juju remove-unit --force its unit".to_owned(),
        Some(member) => format!(
            "Juju lists no unit of {} and does not answer goal-state (see juju debug-log), so its member is not taken out: see to that machine; if it is gone for good, run etcdctl member remove {} in a root shell on this unit",
            member.name, member.id
        ),
    }
}

fn is_sick(w: &World, member: &Member) -> bool {
    matches!(w.etcd.health.get(&member.id), Some(Health::Unhealthy(_)))
}

/// `etcd2 (10.0.0.3) unreachable, …`; a learner is on its way and not sick, and of those that leave it is told when all else is well.
fn list_of_sick(w: &World, members: &[Member]) -> String {
    let stay = voters(members).filter(|member| !leaving::is_leaving(w, member));
    let sick = stay.filter_map(|member| match w.etcd.health.get(&member.id) {
        Some(Health::Unhealthy(why)) => Some(format!("{} {why}", name_and_address(member))),
        Some(Health::Healthy) | None => None,
    });
    sick.collect::<Vec<_>>().join(", ")
}

/// `etcd2 (10.0.0.3)`
fn name_and_address(member: &Member) -> String {
    let url = member.client_urls.first().or(member.peer_urls.first());
    let address = url.map_or("", |url| service::host_of(url));
    let name = if member.is_started() { member.name.clone() } else { member.id.to_string() };
    format!("{name} ({address})")
}

/// The alarms were listed, and there are none.
pub fn is_quiet(etcd: &Etcd) -> bool {
    matches!(&etcd.alarms, Reading::Known(raised) if raised.is_empty())
}

fn alarms(w: &World) -> Option<Status> {
    if let Reading::Unknown(cause) = &w.etcd.alarms {
        let known = known_peers(voters(w.members()?).count());
        return Some(Status::blocked(format!(
            "UnHealthy with {known}: alarms cannot be listed: {cause}; {AGAIN}"
        )));
    }
    raised_alarm(w)
}

fn raised_alarm(w: &World) -> Option<Status> {
    let all = w.etcd.alarms.known()?;
    let raised = |kind| all.iter().any(|alarm| alarm.kind == kind);
    if raised(AlarmKind::Corrupt) {
        return Some(Status::blocked(
            "CORRUPT alarm: members disagree about the data; see the alarm-list action",
        ));
    }
    let full = "NOSPACE alarm: the database is full and refuses writes; run the action maintain";
    raised(AlarmKind::NoSpace).then(|| Status::blocked(full))
}

fn healthy(w: &World) -> Status {
    let voters = w.members().map_or(0, |members| voters(members).count());
    let plain_http = w.options.as_ref().is_ok_and(|options| options.bind_with_insecure_http);
    let note = if plain_http { " (plain HTTP on 127.0.0.1:4001)" } else { "" };
    let ending = ending(&w.host, w.now_s).unwrap_or_default();
    let filling = filling(&w.host, &w.etcd).map(|percent| {
        format!(
            " (database at {percent}{OF_ITS_QUOTA}: run the action maintain, or raise quota_backend_bytes)"
        )
    });
    let refused = requests::refused(w).into_iter().chain(clients::refused(w));
    let refused: String = refused.map(|refused| format!(" ({refused})")).collect();
    let healed = healing::note(w).unwrap_or_default() + &kept::note(w).unwrap_or_default();
    let healed = healed + &inherited::note(w).unwrap_or_default();
    let unread: String = w.unread.iter().map(|one| format!(" ({one})")).collect();
    let notes = note.to_owned() + &healed + &ending + &filling.unwrap_or_default() + &refused + &unread;
    Status::active(healthy_with(voters) + &notes)
}

/// How full this unit's database is, percent of the quota that its server has, when that is worth a word.
pub fn filling(host: &Host, etcd: &Etcd) -> Option<u64> {
    let Door::Open(status) = &etcd.door else { return None };
    let config = read_config(host.config.as_deref()?).ok()?;
    let quota =
        u64::try_from(config.quota_backend_bytes).ok().filter(|quota| *quota > 0).unwrap_or(DEFAULT_QUOTA);
    let percent = u64::try_from(status.db_size_bytes).ok()?.saturating_mul(100) / quota;
    (percent >= WORTH_A_WORD).then_some(percent)
}

/// A warning in time: certificates that are renewed by themselves never come so far.
fn ending(host: &Host, now_s: u64) -> Option<String> {
    let standing = host.standing.as_ref()?;
    let days = if standing.is_late(now_s) {
        standing.days_left(now_s)
    } else {
        standing.days_left_of_authorities(now_s)
    };
    (days < WARNING_DAYS).then(|| format!(" (certificates end in {days} days)"))
}

/// Whether the regular check has to look at the certificates: their end is near, or the next ones are due and this unit
/// asks for them itself.
pub fn certificates_need_a_look(host: &Host, now_s: u64) -> bool {
    let is_due = host.standing.as_ref().is_some_and(|standing| standing.due_s <= now_s);
    ending(host, now_s).is_some() || (is_due && asks_itself(host))
}

/// The server's certificate answers a request of this unit, or a renewal is under way: a run that was killed may have made
/// the request and shown it to nobody.
fn asks_itself(host: &Host) -> bool {
    let (Some(own), Some(credentials)) = (&host.request, &host.credentials) else { return false };
    let is_under_way = host.standing.as_ref().is_some_and(|standing| own.made_s >= standing.due_s);
    own.key.trim() == credentials.server_key.trim() || is_under_way
}

/// What operators and scripts look for.
pub fn healthy_with(voters: usize) -> String {
    format!("Healthy with {}", known_peers(voters))
}

fn voters(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| !member.learner)
}

fn known_peers(count: usize) -> String {
    if count == 1 { "1 known peer".to_owned() } else { format!("{count} known peers") }
}

#[cfg(test)]
mod tests {
    use super::super::worlds::{settled, three};
    use super::*;
    use crate::etcd::{Alarm, MemberId};

    #[test]
    fn without_a_goal_state_the_member_of_a_unit_that_juju_lists_no_more_is_left_to_the_operator() {
        let mut w = settled(0, &three());
        w.etcd.health.insert(MemberId(102), Health::Unhealthy("unreachable".into()));
        let told = |w: &World| sick_members(w).unwrap().message;
        assert!(told(&w).ends_with("juju remove-unit --force its unit"));
        w.peers.expected = None;
        assert!(told(&w).ends_with("juju remove-unit --force its unit"), "its unit is listed");
        w.peers.units.remove(&"etcd/2".parse().unwrap());
        assert!(
            told(&w).contains("Juju lists no unit of etcd2 and does not answer goal-state"),
            "{}",
            told(&w)
        );
        assert!(
            told(&w).contains("run etcdctl member remove 66 in a root shell on this unit"),
            "{}",
            told(&w)
        );
    }

    #[test]
    fn an_alarm_comes_before_whatever_else_there_is_to_say() {
        let mut w = settled(0, &three());
        let wrong = Status::blocked("port: 0 is not a port; accepted: 1 to 65535");
        assert_eq!(alarm_first(&w, wrong.clone()), wrong);
        w.etcd.alarms = Reading::Known(vec![Alarm { member: Some(MemberId(100)), kind: AlarmKind::NoSpace }]);
        let told = alarm_first(&w, wrong).to_string();
        assert!(told.starts_with("blocked NOSPACE alarm: ") && told.ends_with("1 to 65535"), "{told}");
        assert!(!alarm_first(&w, Status::active("Healthy with 3 known peers")).message.contains("Healthy"));
    }
}
