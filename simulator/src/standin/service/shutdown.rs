//! The end of an activation: stop commands, signals, and the wait until nothing is left. Invariant: what does not end within the
//! service's limit is killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::activate::Step;
use super::life::Life;
use super::limits::{Exit, Outcome, signal_number};
use super::processes;
use super::state::Activity;
use crate::standin::units::spec::ServiceSpec;

/// How long killed processes may take to be gone before they are given up.
const KILL_LIMIT: Duration = Duration::from_secs(10);

impl Life {
    /// End what is left of an activation. `up`: it had been started well; `main`: the main process, if it still runs.
    pub async fn shut_down(
        &mut self,
        service: &ServiceSpec,
        up: bool,
        mut main: Option<oneshot::Receiver<Exit>>,
    ) {
        let pid = self.unit.state.borrow().main_pid;
        if up && (self.stop_wanted() || self.outcome() == Outcome::Success) {
            if self.stop_wanted() {
                self.host.log(&self.unit.name, format!("Stopping {}...", self.unit.label()));
            }
            let step = self.commands(service, &service.stop, (Activity::Deactivating, "stop")).await;
            debug_assert_ne!(step, Step::Stopped, "a service that is being stopped cannot be stopped again");
        }
        self.end_processes(service, pid, &mut main).await;
        if let Some(receiver) = &mut main
            && let Ok(Ok(exit)) = timeout(KILL_LIMIT, receiver).await
        {
            self.note_end(service, exit, false);
        }
        let step = self.commands(service, &service.stop_post, (Activity::Deactivating, "stop-post")).await;
        if step == Step::Failed {
            self.set_outcome(Outcome::ExitCode);
        }
    }

    /// Signal all processes of the activation and wait until they are gone.
    async fn end_processes(
        &mut self,
        service: &ServiceSpec,
        pid: i32,
        main: &mut Option<oneshot::Receiver<Exit>>,
    ) {
        let last_pid = self.unit.state.borrow().exec_main_pid;
        let invocation = self.unit.invocation.borrow().clone();
        let all = || processes::of_invocation(&invocation, last_pid);
        let left = all();
        if left.is_empty() {
            return;
        }
        self.unit.state.borrow_mut().set(Activity::Deactivating, "stop-sigterm");
        let targets = if service.kill_main_only { vec![pid] } else { left };
        let targets: Vec<i32> = targets.into_iter().filter(|pid| *pid > 0).collect();
        processes::signal(&targets, signal_number(&service.kill_signal).unwrap_or(Signal::SIGTERM as i32));
        processes::signal(&targets, Signal::SIGCONT as i32);
        let gone =
            |pids: Vec<i32>| if service.kill_main_only { !pids.contains(&pid) } else { pids.is_empty() };
        if wait_until(service.stop_timeout, || gone(all())).await {
            return;
        }
        self.log("State 'stop-sigterm' timed out. Killing.");
        self.unit.state.borrow_mut().set(Activity::Deactivating, "stop-sigkill");
        self.set_outcome(Outcome::Timeout);
        processes::signal(&all(), Signal::SIGKILL as i32);
        if !wait_until(KILL_LIMIT, || all().is_empty()).await {
            self.log("Processes still around after SIGKILL. Ignoring.");
            main.take();
        }
    }
}

/// Look again and again, with growing pauses, until it holds or the time is up.
async fn wait_until(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !holds() {
        if begin.elapsed() > limit {
            return false;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    true
}
