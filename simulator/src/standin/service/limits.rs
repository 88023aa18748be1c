//! Whether a service that ended is started again, and how often at most. Invariant: no clock in here; the caller tells the time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::standin::units::spec::{Kind, Restart, ServiceSpec};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal; whether it left a core file.
    Signal(i32, bool),
}

/// Why a unit is where it is (`Result=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    ExitCode,
    Signal,
    CoreDump,
    Timeout,
    Protocol,
    StartLimitHit,
}

impl Outcome {
    /// systemd's word for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::StartLimitHit => "start-limit-hit",
        }
    }
}

/// The outcome that the end of a main process means.
pub fn outcome(service: &ServiceSpec, exit: Exit) -> Outcome {
    match exit {
        Exit::Code(0) => Outcome::Success,
        _ if listed(&service.success, exit) => Outcome::Success,
        // Signals by which services are usually told to end.
        Exit::Signal(1 | 2 | 13 | 15, false) if service.kind != Kind::Oneshot => Outcome::Success,
        Exit::Code(_) => Outcome::ExitCode,
        Exit::Signal(_, true) => Outcome::CoreDump,
        Exit::Signal(_, false) => Outcome::Signal,
    }
}

/// Whether a service that ended by itself is to be started again.
pub fn restarts(service: &ServiceSpec, outcome: Outcome, exit: Option<Exit>) -> bool {
    if let Some(exit) = exit {
        if listed(&service.prevent_restart, exit) {
            return false;
        }
        if listed(&service.force_restart, exit) {
            return true;
        }
    }
    match service.restart {
        Restart::No | Restart::OnWatchdog => false,
        Restart::Always => true,
        Restart::OnSuccess => outcome == Outcome::Success,
        Restart::OnFailure => outcome != Outcome::Success,
        Restart::OnAbnormal => !matches!(outcome, Outcome::Success | Outcome::ExitCode),
        Restart::OnAbort => matches!(outcome, Outcome::Signal | Outcome::CoreDump),
    }
}

/// Whether an end is in a list of exit codes and signal names.
fn listed(list: &[String], exit: Exit) -> bool {
    list.iter().any(|word| match exit {
        Exit::Code(code) => word.parse() == Ok(code),
        Exit::Signal(signal, _) => signal_number(word) == Some(signal),
    })
}

/// The number of a signal named `SIGTERM`, `TERM` or `15`.
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// Counts starts (`StartLimitIntervalSec=`, `StartLimitBurst=`).
#[derive(Debug, Default)]
pub struct StartLimit {
    starts: VecDeque<Duration>,
}

impl StartLimit {
    /// Whether one more start is allowed at `now` (time since any fixed point); an allowed start is counted.
    pub fn allows(&mut self, now: Duration, interval: Duration, burst: usize) -> bool {
        if interval.is_zero() || burst == 0 {
            return true;
        }
        // systemd counts from the first start of a window, not in a sliding one.
        if self.starts.front().is_none_or(|first| now.saturating_sub(*first) > interval) {
            self.starts.clear();
        }
        if self.starts.len() >= burst {
            return false;
        }
        self.starts.push_back(now);
        true
    }

    /// Forget all starts (`reset-failed`).
    pub fn reset(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::units::spec::{What, read};
    use super::super::super::units::syntax::Assignments;
    use super::*;

    fn service(lines: &str) -> ServiceSpec {
        let mut all = Assignments::default();
        all.add(&format!("[Service]\nExecStart=/bin/a\n{lines}"));
        match read("x.service", &all).unwrap().what {
            What::Service(service) => *service,
            other => panic!("not a service: {other:?}"),
        }
    }

    #[test]
    fn the_restart_setting_decides_by_how_the_service_ended() {
        let ends = [Exit::Code(0), Exit::Code(1), Exit::Signal(9, false), Exit::Signal(15, false)];
        let table = [
            ("no", [false, false, false, false]),
            ("always", [true, true, true, true]),
            ("on-success", [true, false, false, true]),
            ("on-failure", [false, true, true, false]),
            ("on-abnormal", [false, false, true, false]),
            ("on-abort", [false, false, true, false]),
            ("on-watchdog", [false, false, false, false]),
        ];
        for (setting, expected) in table {
            let service = service(&format!("Restart={setting}\n"));
            let found = ends.map(|exit| restarts(&service, outcome(&service, exit), Some(exit)));
            assert_eq!(found, expected, "Restart={setting}");
        }
    }

    #[test]
    fn listed_codes_and_signals_change_what_an_end_means() {
        let service = service(
            "Restart=on-failure\nSuccessExitStatus=3 SIGKILL\nRestartPreventExitStatus=4\nRestartForceExitStatus=0\n",
        );
        assert_eq!(outcome(&service, Exit::Code(3)), Outcome::Success);
        assert_eq!(outcome(&service, Exit::Signal(9, false)), Outcome::Success);
        assert!(!restarts(&service, Outcome::ExitCode, Some(Exit::Code(4))));
        assert!(restarts(&service, Outcome::Success, Some(Exit::Code(0))));
    }

    #[test]
    fn the_sixth_start_within_ten_seconds_is_refused_and_the_window_then_reopens() {
        let mut limit = StartLimit::default();
        let (interval, burst) = (Duration::from_secs(10), 5);
        let allowed: Vec<bool> =
            (0..6).map(|second| limit.allows(Duration::from_secs(second), interval, burst)).collect();
        assert_eq!(allowed, vec![true, true, true, true, true, false]);
        assert!(!limit.allows(Duration::from_secs(10), interval, burst));
        assert!(limit.allows(Duration::from_millis(10_001), interval, burst));
        limit.reset();
        assert!(limit.allows(Duration::from_secs(11), interval, burst));
    }

    #[test]
    fn an_interval_of_zero_means_no_limit() {
        let mut limit = StartLimit::default();
        assert!((0..100).all(|_| limit.allows(Duration::ZERO, Duration::ZERO, 5)));
    }

    #[test]
    fn signals_have_names_with_and_without_their_prefix() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("kill"), Some(9));
        assert_eq!(signal_number("1"), Some(1));
        assert_eq!(signal_number("SIGNONE"), None);
    }
}
