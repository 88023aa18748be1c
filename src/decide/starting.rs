//! A server that is to come up, and one that does not: what it says itself, and no try without end.

use super::{Next, Waiting, upgrade};
use crate::juju::Status;
use crate::step::Step;
use crate::world::{Service, World};

/// The name of the step, to ask whether it was tried.
const START: &str = "start-service";
/// After more restarts than this the server is known to end at once, and no hook waits for it.
const KNOWN_BY: u32 = 5;

/// systemd tries a server that ends again and again by itself, with its files as they are then: another start is of use only
/// after this run has changed something.
pub(super) fn start(w: &World) -> Next {
    let Service::Failing(words) = &w.host.service else { return Next::Do(Step::StartService) };
    let is_changed = !w.tried.done.is_empty() && !w.tried.done(START);
    if is_changed || !w.host.lifetime.is_retried {
        return Next::Do(Step::StartService);
    }
    let status = does_not_start(w, words);
    if w.host.lifetime.restarts > KNOWN_BY {
        Next::Done(status)
    } else {
        Next::Wait(Waiting::Restarts(status))
    }
}

/// What was asked for in this run and has led to nothing.
pub(super) fn in_vain(w: &World) -> Option<Status> {
    let why = w.tried.in_vain(START).filter(|_| !w.tried.not_yet(START))?;
    Some(match &w.host.service {
        Service::Failing(words) => does_not_start(w, words),
        _ => does_not_start(w, why),
    })
}

fn does_not_start(w: &World, words: &str) -> Status {
    let more = upgrade::why_it_is_down(w).map(|why| format!(" ({why})")).unwrap_or_default();
    Status::blocked(format!("etcd does not start: {words}{more}; {}", see_log(w)))
}

/// A server that was started and does not answer. One that is silent for much longer than its database takes to be read is not
/// waited for in every hook.
pub(super) fn wait(w: &World, says: &str) -> Next {
    let words = w.host.lifetime.words.as_ref().map(|words| format!("; its last words: {words}"));
    let told = says.to_owned() + &words.unwrap_or_default();
    if !w.host.lifetime.is_overdue() {
        return Next::Wait(Waiting::Start(told));
    }
    let minutes = w.host.lifetime.up_s / 60;
    let told = format!("etcd was started {minutes} min ago and does not answer: {told}; {}", see_log(w));
    Next::Done(Status::blocked(told))
}

/// Where an operator reads on.
fn see_log(w: &World) -> String {
    let service = if w.host.releases.current.is_some() { "etcd-release" } else { "snap.etcd.etcd" };
    format!("see juju exec --unit {} -- journalctl -u {service} -n 50", w.unit)
}

#[cfg(test)]
mod tests {
    use super::super::next;
    use super::super::worlds::{done, settled, three};
    use super::*;
    use crate::world::{Data, Door, Lifetime, Roster};

    const SEE: &str = "see juju exec --unit etcd/0 -- journalctl -u snap.etcd.etcd -n 50";

    /// A member with its data that is down.
    fn down(service: Service) -> World {
        let mut w = settled(0, &three());
        w.etcd.door = Door::Closed;
        w.host.service = service;
        w
    }

    fn ended(times: u32) -> World {
        let mut w = down(Service::Failing("panic: no space".into()));
        w.host.lifetime = Lifetime { restarts: times, is_retried: true, ..Lifetime::default() };
        w
    }

    #[test]
    fn what_systemd_tries_by_itself_is_waited_for_once_and_then_known() {
        let told = format!("blocked etcd does not start: panic: no space; {SEE}");
        let Next::Wait(waiting) = next(&ended(3)) else { panic!("{:?}", next(&ended(3))) };
        assert_eq!(waiting.status().to_string(), told);
        let mut w = ended(300);
        assert_eq!(next(&w), Next::Done(waiting.status()), "no hook waits for it again");
        // Its file may have been the cause.
        w.tried.done.insert("write-config");
        assert_eq!(next(&w), Next::Do(Step::StartService));
        w.tried.done.insert("start-service");
        assert_eq!(done(next(&w)).to_string(), told);
        let mut w = ended(300);
        (w.host.data, w.etcd.roster) = (Data::Empty, Roster::NobodyToAsk);
        (w.peers.cluster.cluster, w.peers.cluster.token) = (None, Some("t".into()));
        w.peers.units.clear();
        if let Next::Do(Step::WriteConfig { settings, version, .. }) = next(&w) {
            w.host.config = Some(settings.render(&version));
        }
        assert_eq!(done(next(&w)).to_string(), told, "on its first start too");
    }

    #[test]
    fn what_systemd_has_given_up_is_started_until_that_is_in_vain() {
        for service in [Service::Stopped, Service::Failing("panic: no space".into())] {
            let mut w = down(service.clone());
            assert_eq!(next(&w), Next::Do(Step::StartService));
            w.tried.done.insert("start-service");
            assert_eq!(next(&w), Next::Do(Step::StartService));
            w.tried.in_vain.insert("start-service", "its mount failed".into());
            let why = if service == Service::Stopped { "its mount failed" } else { "panic: no space" };
            assert_eq!(done(next(&w)).to_string(), format!("blocked etcd does not start: {why}; {SEE}"));
        }
        let mut w = down(Service::Stopped);
        w.tried.in_vain.insert("start-service", "snapd is at work on the etcd snap".into());
        w.tried.not_yet.insert("start-service");
        assert_eq!(in_vain(&w), None, "it was not even asked to");
    }

    #[test]
    fn a_silent_server_is_waited_for_as_long_as_its_database_may_take() {
        let mut w = down(Service::Running);
        w.etcd.door = Door::Mute("connection refused".into());
        w.host.lifetime = Lifetime { up_s: 100, reading_s: 180, is_retried: true, ..Lifetime::default() };
        assert_eq!(done(next(&w)).to_string(), "waiting Waiting for etcd to start: connection refused");
        assert!(matches!(next(&w), Next::Wait(Waiting::Start(_))));
        w.host.lifetime.up_s = 240;
        w.host.lifetime.words = Some("waiting for a lock".into());
        let told = "etcd was started 4 min ago and does not answer: connection refused; \
                    its last words: waiting for a lock";
        assert_eq!(next(&w), Next::Done(Status::blocked(format!("{told}; {SEE}"))));
    }

    #[test]
    fn who_ends_often_and_soon_is_not_who_has_ended_often() {
        let ends = |restarts, up_s| Lifetime { restarts, up_s, is_retried: true, ..Lifetime::default() };
        assert!(ends(3, 5).is_short() && !ends(2, 5).is_short() && !ends(30, 3600).is_short());
        assert!(!Lifetime { is_retried: false, ..ends(3, 0) }.is_short(), "systemd has given it up");
    }
}
