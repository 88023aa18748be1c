//! The verbs that change what runs. Invariant: the exit code tells the worst that happened to any of the units.

use anyhow::Result;

use super::arguments::Arguments;
use crate::standin::output;
use crate::standin::service::limits::signal_number;
use crate::standin::service::protocol::{self, Problem, ProblemKind, Request};

/// Carry a verb out; returns the exit code.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let units = arguments.units.clone();
    let wait = !arguments.no_block;
    let request = match arguments.verb.as_str() {
        "start" => Request::Start { units, wait },
        "stop" => Request::Stop { units, wait },
        "restart" => Request::Restart { units, wait, only_active: false },
        "try-restart" | "condrestart" => Request::Restart { units, wait, only_active: true },
        "reload" => Request::Reload { units, or_restart: false },
        "reset-failed" => Request::ResetFailed { units },
        "kill" => {
            let name = arguments.signal.as_deref().unwrap_or("SIGTERM");
            let Some(signal) = signal_number(name) else {
                output::error_line(&format!("Failed to parse signal string {name}."));
                return Ok(1);
            };
            Request::Kill { units, signal, main_only: arguments.kill_main }
        }
        _ => Request::Reload { units, or_restart: true },
    };
    let reply = protocol::ask(&request)?;
    for unit in &reply.stale {
        output::error_line(&stale(unit));
    }
    let mut code = 0;
    for problem in &reply.problems {
        let (text, worse) = describe(&arguments.verb, problem);
        output::error_line(&text);
        code = code.max(worse);
    }
    Ok(code)
}

/// The warning about files that changed without a daemon-reload.
pub fn stale(unit: &str) -> String {
    format!(
        "Warning: The unit file, source configuration file or drop-ins of {unit} changed on disk. \
         Run 'systemctl daemon-reload' to reload units."
    )
}

/// What systemctl says, and its exit code.
fn describe(verb: &str, problem: &Problem) -> (String, u8) {
    let unit = &problem.unit;
    let doing = match verb {
        "reset-failed" => "reset failed state of unit",
        "kill" => "kill unit",
        "try-restart" | "condrestart" => "try-restart",
        other => other,
    };
    match &problem.kind {
        ProblemKind::NotFound => (format!("Failed to {doing} {unit}: Unit {unit} not found."), 5),
        ProblemKind::NotLoaded => {
            let code = if verb == "stop" { 5 } else { 1 };
            (format!("Failed to {doing} {unit}: Unit {unit} not loaded."), code)
        }
        ProblemKind::Masked => (format!("Failed to {doing} {unit}: Unit {unit} is masked."), 1),
        ProblemKind::BadSetting(_) => {
            let text = format!(
                "Failed to {doing} {unit}: Unit {unit} has a bad unit file setting.\n\
                 See system logs and 'systemctl status {unit}' for details."
            );
            (text, 1)
        }
        ProblemKind::Job(result) => (job_failed(unit, result), 1),
        ProblemKind::Dependency => {
            (format!("A dependency job for {unit} failed. See 'journalctl -xe' for details."), 1)
        }
        ProblemKind::Assertion => (format!("Assertion failed on job for {unit}."), 1),
        ProblemKind::Canceled => (format!("Job for {unit} canceled."), 1),
        ProblemKind::NotReloadable => {
            (format!("Failed to {doing} {unit}: Job type reload is not applicable for unit {unit}."), 1)
        }
        ProblemKind::NoProcess => (format!("Failed to {doing} {unit}: No main process to kill"), 1),
    }
}

fn job_failed(unit: &str, result: &str) -> String {
    // Only of services the result is told.
    if !unit.ends_with(".service") {
        return "Job failed. See \"journalctl -xe\" for details.".to_owned();
    }
    let because = match result {
        "exit-code" => "the control process exited with error code",
        "signal" => "a fatal signal was delivered to the control process",
        "core-dump" => "a fatal signal was delivered causing the control process to dump core",
        "timeout" => "a timeout was exceeded",
        "protocol" => "the service did not take the steps required by its unit configuration",
        "resources" => "of unavailable resources or another system error",
        "start-limit-hit" => "start of the service was attempted too often",
        other => other,
    };
    let mut text = format!(
        "Job for {unit} failed because {because}.\n\
         See \"systemctl status {unit}\" and \"journalctl -xeu {unit}\" for details."
    );
    if result == "start-limit-hit" {
        text.push_str(&format!(
            "\nTo force a start use \"systemctl reset-failed {unit}\"\nfollowed by \"systemctl start {unit}\" again."
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(verb: &str, kind: ProblemKind) -> (String, u8) {
        describe(verb, &Problem { unit: "x.service".into(), kind })
    }

    #[test]
    fn messages_and_exit_codes_are_systemctls() {
        let not_found = said("start", ProblemKind::NotFound);
        assert_eq!(not_found, ("Failed to start x.service: Unit x.service not found.".to_owned(), 5));
        let not_loaded = said("stop", ProblemKind::NotLoaded);
        assert_eq!(not_loaded, ("Failed to stop x.service: Unit x.service not loaded.".to_owned(), 5));
        let masked = said("restart", ProblemKind::Masked);
        assert_eq!(masked, ("Failed to restart x.service: Unit x.service is masked.".to_owned(), 1));
        let mount = Problem { unit: "media-x.mount".into(), kind: ProblemKind::Job("exit-code".into()) };
        let failed = "Job failed. See \"journalctl -xe\" for details.";
        assert_eq!(describe("stop", &mount), (failed.to_owned(), 1));
    }

    #[test]
    fn a_hit_start_limit_comes_with_the_way_out() {
        let (text, code) = said("start", ProblemKind::Job("start-limit-hit".into()));
        assert!(
            text.starts_with(
                "Job for x.service failed because start of the service was attempted too often."
            )
        );
        assert!(text.contains("systemctl reset-failed x.service"));
        assert_eq!(code, 1);
    }
}
