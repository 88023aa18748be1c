//! One activation of a service, from its first command to its last. Invariant: when [`Life::activate`] returns, no process of
//! the activation is left.

use std::collections::BTreeMap;
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::life::{Event, Life};
use super::limits::{Exit, Outcome, outcome, signal_number};
use super::notify::NotifySocket;
use super::processes;
use super::protocol::ProblemKind;
use super::spawn::{Launch, Started};
use super::state::{Activity, wall_clock_us};
use super::unit::{Host, JobResult};
use crate::standin::units::spec::{Command, Kind, ServiceSpec};
use crate::standin::units::words;

/// How far a part of an activation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Done,
    /// The state's outcome says why.
    Failed,
    /// It is to be stopped: that was asked for, or the main process was not ready in time.
    Stopped,
}

impl Life {
    /// Run the service once; returns how its main process ended, if it had one.
    pub async fn activate(&mut self, service: &ServiceSpec) -> Option<Exit> {
        let invocation = uuid::Uuid::new_v4().simple().to_string();
        self.unit.invocation.replace(invocation);
        {
            let mut state = self.unit.state.borrow_mut();
            state.status_text.clear();
            state.exec_main_exit = None;
            state.set(Activity::Activating, "start-pre");
        }
        let mut up = false;
        let mut main = None;
        if self.commands(service, &service.start_pre, (Activity::Activating, "start-pre")).await == Step::Done
        {
            (up, main) = match service.kind {
                Kind::Oneshot => (self.oneshot(service).await, None),
                _ => self.main_process(service).await,
            };
        }
        self.shut_down(service, up, main).await;
        let mut state = self.unit.state.borrow_mut();
        state.main_pid = 0;
        state.exec_main_exit
    }

    /// Run commands one after the other.
    pub async fn commands(
        &mut self,
        service: &ServiceSpec,
        list: &[Command],
        place: (Activity, &'static str),
    ) -> Step {
        for command in list {
            self.unit.state.borrow_mut().set(place.0, place.1);
            let limit =
                if place.0 == Activity::Deactivating { service.stop_timeout } else { service.start_timeout };
            let mut started = match self.launch(service, command, None) {
                Ok(started) => started,
                Err(error) => {
                    self.log(format!("Failed to execute {}: {error:#}", command.words.join(" ")));
                    if command.may_fail {
                        continue;
                    }
                    self.set_outcome(Outcome::ExitCode);
                    return Step::Failed;
                }
            };
            let step = self.control_process(service, command, &mut started, limit).await;
            if step != Step::Done {
                return step;
            }
        }
        Step::Done
    }

    async fn control_process(
        &mut self,
        service: &ServiceSpec,
        command: &Command,
        started: &mut Started,
        limit: std::time::Duration,
    ) -> Step {
        // Once the service is being stopped, another wish to stop changes nothing.
        let event = loop {
            match self.wait(&mut started.exit, limit, service).await {
                Event::StopWanted if self.unit.state.borrow().active == Activity::Deactivating => {}
                event => break event,
            }
        };
        match event {
            Event::Exited(exit) => {
                let bad = outcome(service, exit);
                if bad == Outcome::Success || command.may_fail {
                    return Step::Done;
                }
                self.log(format!("Control process exited, {}", describe(exit)));
                self.set_outcome(bad);
                Step::Failed
            }
            Event::TimedOut => {
                self.log("Command timed out. Terminating.");
                self.set_outcome(Outcome::Timeout);
                Step::Failed
            }
            Event::StopWanted => {
                self.end_control_process(service, started).await;
                Step::Stopped
            }
        }
    }

    /// What is stopped before it got up has failed, unless its command takes the signal for a good end.
    async fn end_control_process(&mut self, service: &ServiceSpec, started: &mut Started) {
        self.unit.state.borrow_mut().set(Activity::Deactivating, "stop-sigterm");
        processes::signal(&[started.pid], signal_number(&service.kill_signal).unwrap_or(15));
        match tokio::time::timeout(service.stop_timeout, &mut started.exit).await {
            Ok(Ok(Exit::Signal(..))) => self.set_outcome(Outcome::Signal),
            Ok(Ok(Exit::Code(code))) if code != 0 => self.set_outcome(Outcome::ExitCode),
            // What does not end is killed with all the rest.
            _ => {}
        }
    }

    /// The commands of a oneshot service; whether it got up.
    async fn oneshot(&mut self, service: &ServiceSpec) -> bool {
        self.unit.state.borrow_mut().set(Activity::Activating, "start");
        for command in &service.start {
            let mut started = match self.launch(service, command, None) {
                Ok(started) => started,
                Err(error) => {
                    self.log(format!("Failed to execute {}: {error:#}", command.words.join(" ")));
                    self.set_outcome(Outcome::ExitCode);
                    return false;
                }
            };
            self.note_main(&started);
            match self.wait(&mut started.exit, service.start_timeout, service).await {
                Event::Exited(exit) => {
                    self.note_end(service, exit, command.may_fail);
                    if self.outcome() != Outcome::Success {
                        return false;
                    }
                }
                Event::TimedOut => {
                    self.log("start operation timed out. Terminating.");
                    self.set_outcome(Outcome::Timeout);
                    return false;
                }
                Event::StopWanted => return false,
            }
        }
        if service.remain_after_exit {
            self.got_up("exited");
            self.wait_for_stop().await;
        } else {
            self.unit.state.borrow_mut().got_up = true;
            self.host.log(&self.unit.name, format!("Finished {}.", self.unit.label()));
        }
        true
    }

    /// The main process of any other service: whether it got up, and the process if it still runs.
    async fn main_process(&mut self, service: &ServiceSpec) -> (bool, Option<oneshot::Receiver<Exit>>) {
        let notify = NotifySocket::new(&self.host.notify, &self.unit.name).ok();
        let Some(command) = service.start.first() else { return (false, None) };
        let mut started = match self.launch(service, command, notify.as_ref()) {
            Ok(started) => started,
            Err(error) => {
                self.announce_unstarted(command, &error);
                // It is up as soon as there is a process, and that is before the program is looked for.
                let up = service.kind == Kind::Simple;
                if up {
                    self.got_up("running");
                }
                self.note_end(service, Exit::Code(203), false);
                return (up, None);
            }
        };
        self.note_main(&started);
        if service.kind == Kind::Notify {
            self.unit.state.borrow_mut().set(Activity::Activating, "start");
            match self.until_ready(service, &mut started, notify.as_ref()).await {
                Step::Done => {}
                Step::Failed => return (false, None),
                Step::Stopped => return (false, Some(started.exit)),
            }
        }
        if self.commands(service, &service.start_post, (Activity::Activating, "start-post")).await
            != Step::Done
        {
            return (true, Some(started.exit));
        }
        self.got_up("running");
        let event = loop {
            let waiting = self.wait(&mut started.exit, std::time::Duration::MAX, service);
            match &notify {
                None => break waiting.await,
                Some(socket) => tokio::select! {
                    event = waiting => break event,
                    message = socket.message() => {
                        if let Some(text) = message.status {
                            self.unit.state.borrow_mut().status_text = text;
                        }
                    }
                },
            }
        };
        match event {
            Event::Exited(exit) => {
                self.note_end(service, exit, command.may_fail);
                (true, None)
            }
            Event::TimedOut | Event::StopWanted => (true, Some(started.exit)),
        }
    }

    /// Wait until the main process says that it is ready.
    async fn until_ready(
        &mut self,
        service: &ServiceSpec,
        started: &mut Started,
        notify: Option<&NotifySocket>,
    ) -> Step {
        let unit = self.unit.clone();
        let ready = async {
            let Some(socket) = notify else { return std::future::pending().await };
            loop {
                let message = socket.message().await;
                if let Some(text) = message.status {
                    unit.state.borrow_mut().status_text = text;
                }
                if message.ready {
                    return;
                }
            }
        };
        let event = tokio::select! {
            () = ready => return Step::Done,
            event = self.wait(&mut started.exit, service.start_timeout, service) => event,
        };
        match event {
            Event::Exited(exit) => {
                self.note_end(service, exit, false);
                self.set_outcome(Outcome::Protocol);
                Step::Failed
            }
            Event::TimedOut => {
                self.log("start operation timed out. Terminating.");
                self.set_outcome(Outcome::Timeout);
                Step::Stopped
            }
            Event::StopWanted => Step::Stopped,
        }
    }

    /// Run the reload commands beside the running service.
    pub async fn reload(&mut self, service: &ServiceSpec) -> JobResult {
        if service.reload.is_empty() {
            return Some(ProblemKind::NotReloadable);
        }
        for command in &service.reload {
            let ended = match self.launch(service, command, None) {
                Ok(started) => started.exit.await.unwrap_or(Exit::Code(255)),
                Err(_) => Exit::Code(203),
            };
            if ended != Exit::Code(0) && !command.may_fail {
                return Some(ProblemKind::Job(Outcome::ExitCode.text().to_owned()));
            }
        }
        None
    }

    /// A program that is not there, in systemd's words.
    fn announce_unstarted(&self, command: &Command, error: &anyhow::Error) {
        let program = command.words.first().map_or("", String::as_str);
        let reason = format!("{error:#}");
        let reason = reason.split(" (os error").next().unwrap_or_default();
        if reason.starts_with("No such file") {
            self.log(format!("Failed to locate executable {program}: {reason}"));
        }
        self.log(format!("Failed at step EXEC spawning {program}: {reason}"));
    }

    fn got_up(&self, sub: &'static str) {
        {
            let mut state = self.unit.state.borrow_mut();
            state.set(Activity::Active, sub);
            state.got_up = true;
        }
        self.host.log(&self.unit.name, format!("Started {}.", self.unit.label()));
        self.unit.start_ended(&None);
    }

    fn note_main(&self, started: &Started) {
        let mut state = self.unit.state.borrow_mut();
        state.main_pid = started.pid;
        state.exec_main_pid = started.pid;
        state.exec_main_start = wall_clock_us();
    }

    /// Take note of how the main process ended.
    pub fn note_end(&self, service: &ServiceSpec, exit: Exit, may_fail: bool) {
        let found = outcome(service, exit);
        {
            let mut state = self.unit.state.borrow_mut();
            state.exec_main_exit = Some(exit);
            state.exec_main_end = wall_clock_us();
            state.main_pid = 0;
        }
        if found != Outcome::Success {
            self.log(format!("Main process exited, {}", describe(exit)));
        }
        if !may_fail {
            self.set_outcome(found);
        }
    }

    /// Start a command of the service, its output going to the journal.
    pub fn launch(
        &self,
        service: &ServiceSpec,
        command: &Command,
        notify: Option<&NotifySocket>,
    ) -> Result<Started> {
        let mut environment = self.environment(service)?;
        if let Some(socket) = notify {
            environment.insert("NOTIFY_SOCKET".to_owned(), socket.path().display().to_string());
        }
        let started = self.host.reaper.start(&Launch {
            words: words::expand(&command.words, &environment),
            environment,
            directory: service.working_directory.clone(),
            user: service.user.clone(),
            open_files: service.open_files,
        })?;
        let program =
            command.words.first().and_then(|path| path.rsplit('/').next()).unwrap_or("?").to_owned();
        let (unit, pid) = (self.unit.name.clone(), started.pid);
        let output = started.output.try_clone().context("cannot share a pipe")?;
        tokio::task::spawn_local(keep_output(self.host.clone(), output, unit, program, pid));
        Ok(started)
    }

    fn environment(&self, service: &ServiceSpec) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            (
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin".to_owned(),
            ),
            ("INVOCATION_ID".to_owned(), self.unit.invocation.borrow().clone()),
        ]);
        environment.extend(service.environment.iter().cloned());
        for (path, may_be_missing) in &service.environment_files {
            match std::fs::read_to_string(path) {
                Ok(text) => environment.extend(words::environment_file(&text)),
                Err(_) if *may_be_missing => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        let main_pid = self.unit.state.borrow().main_pid;
        if main_pid > 0 {
            environment.insert("MAINPID".to_owned(), main_pid.to_string());
        }
        for word in &service.unset_environment {
            environment.retain(|name, value| word != name && *word != format!("{name}={value}"));
        }
        Ok(environment)
    }
}

/// Copy what a process prints into the journal until nobody holds the other end.
async fn keep_output(host: Rc<Host>, output: PipeReader, unit: String, program: String, pid: i32) {
    let Ok(receiver) = pipe::Receiver::from_owned_fd(OwnedFd::from(output)) else { return };
    let mut lines = BufReader::new(receiver).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        host.write(&unit, &program, pid, String::from_utf8_lossy(&line).into_owned());
    }
}

/// In systemd's words.
fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(1) => "code=exited, status=1/FAILURE".to_owned(),
        Exit::Code(203) => "code=exited, status=203/EXEC".to_owned(),
        Exit::Code(code) => format!("code=exited, status={code}/n/a"),
        Exit::Signal(number, core) => {
            let name =
                nix::sys::signal::Signal::try_from(number).map_or("?", nix::sys::signal::Signal::as_str);
            let code = if core { "dumped" } else { "killed" };
            format!("code={code}, status={number}/{}", name.trim_start_matches("SIG"))
        }
    }
}
