//! The properties of a unit, as `systemctl show` tells them. Invariant: every value is text in systemd's form.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::Exit;
use super::state::{Activity, State};
use super::unit::{Host, Unit};
use crate::standin::fstab;
use crate::standin::units::spec::{ServiceSpec, UnitSpec, What};

/// Whether the unit's files have changed since they were read.
pub fn is_stale(host: &Host, unit: &Unit) -> bool {
    unit.loaded.borrow().as_ref().is_some_and(|loaded| host.files.has_changed(&unit.name, loaded))
}

/// All properties of a unit; of one that does not exist as well.
pub fn of(host: &Host, name: &str, unit: &Unit) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let mut put = |key: &str, value: String| drop(properties.insert(key.to_owned(), value));
    let state = current_state(unit);
    let file_state = host.files.enabled_state(name);
    let loaded = unit.loaded.borrow();
    let load_state = match loaded.as_ref().map(|loaded| &loaded.spec) {
        _ if file_state.is_some_and(|state| state.starts_with("masked")) => "masked",
        None => "not-found",
        Some(Ok(_)) => "loaded",
        Some(Err(_)) => "bad-setting",
    };
    put("Id", name.to_owned());
    put("Names", name.to_owned());
    put("LoadState", load_state.to_owned());
    put("ActiveState", state.active.text().to_owned());
    put("SubState", state.sub.to_owned());
    put("UnitFileState", file_state.unwrap_or_default().to_owned());
    put("NeedDaemonReload", yes_no(is_stale(host, unit)));
    put("CanStart", yes_no(load_state == "loaded"));
    put("ConditionResult", yes_no(!state.condition_failed));
    put("InvocationID", unit.invocation.borrow().clone());
    put("Job", Some(unit.job.get()).filter(|job| *job != 0).map(|job| job.to_string()).unwrap_or_default());
    put("StateChangeTimestamp", timestamp(state.changed));
    put("ActiveEnterTimestamp", timestamp(state.active_since));
    put("InactiveEnterTimestamp", timestamp(state.inactive_since));
    put("ActiveEnterTimestampMonotonic", monotonic(state.active_since));
    put("InactiveEnterTimestampMonotonic", monotonic(state.inactive_since));
    if let Some(loaded) = loaded.as_ref() {
        put("FragmentPath", loaded.fragment.display().to_string());
        let drop_ins: Vec<String> = loaded.drop_ins.iter().map(|path| path.display().to_string()).collect();
        put("DropInPaths", drop_ins.join(" "));
        if let Err(reason) = &loaded.spec {
            put("LoadError", format!("org.freedesktop.systemd1.BadUnitSetting \"{reason}\""));
        }
    }
    let spec = unit.spec();
    put("Description", spec.as_ref().map_or_else(|| name.to_owned(), |spec| spec.description.clone()));
    if name.ends_with(".service") {
        service(&mut put, &state, spec.as_ref());
    }
    if let Some(What::Mount(mount)) = spec.map(|spec| spec.what) {
        put("Where", mount.place.display().to_string());
        put("What", mount.what);
    }
    if name.ends_with(".mount") {
        put("Result", state.outcome.text().to_owned());
    }
    properties
}

/// A mount unit is what the kernel says.
fn current_state(unit: &Unit) -> State {
    let mut state = unit.state.borrow().clone();
    if let Some(What::Mount(mount)) = unit.spec().map(|spec| spec.what) {
        if fstab::is_mounted(&mount.place) {
            (state.active, state.sub) = (Activity::Active, "mounted");
        } else if state.active == Activity::Active {
            (state.active, state.sub) = (Activity::Inactive, "dead");
        }
    }
    state
}

fn service(put: &mut impl FnMut(&str, String), state: &State, spec: Option<&UnitSpec>) {
    let (code, status) = match state.exec_main_exit {
        None => (0, 0),
        Some(Exit::Code(code)) => (1, code),
        Some(Exit::Signal(signal, false)) => (2, signal),
        Some(Exit::Signal(signal, true)) => (3, signal),
    };
    put("Result", state.outcome.text().to_owned());
    put("MainPID", state.main_pid.to_string());
    put("ExecMainPID", state.exec_main_pid.to_string());
    put("ExecMainCode", code.to_string());
    put("ExecMainStatus", status.to_string());
    put("ExecMainStartTimestamp", timestamp(state.exec_main_start));
    put("ExecMainExitTimestamp", timestamp(state.exec_main_end));
    put("NRestarts", state.restarts.to_string());
    put("StatusText", state.status_text.clone());
    let Some(spec) = spec else { return };
    put("StartLimitIntervalUSec", span(spec.limit_interval));
    put("StartLimitBurst", spec.limit_burst.to_string());
    if let What::Service(service) = &spec.what {
        service_settings(put, service);
    }
}

fn service_settings(put: &mut impl FnMut(&str, String), service: &ServiceSpec) {
    put("Type", service.kind_text.clone());
    put("Restart", service.restart_text.clone());
    put("RestartUSec", span(service.restart_delay));
    put("TimeoutStartUSec", span(service.start_timeout));
    put("TimeoutStopUSec", span(service.stop_timeout));
    put("KillSignal", super::limits::signal_number(&service.kill_signal).unwrap_or(15).to_string());
    put("RemainAfterExit", yes_no(service.remain_after_exit));
    put("User", service.user.clone().unwrap_or_default());
    put("CanReload", yes_no(!service.reload.is_empty()));
    let directory = service.working_directory.as_ref();
    put("WorkingDirectory", directory.map(|path| path.display().to_string()).unwrap_or_default());
    let environment: Vec<String> =
        service.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    put("Environment", environment.join(" "));
    if let Some(limit) = service.open_files {
        put("LimitNOFILE", limit.to_string());
    }
}

fn yes_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
}

/// A moment as systemd writes it; empty when it never came.
pub fn timestamp(time_us: u64) -> String {
    let seconds = i64::try_from(time_us / 1_000_000).unwrap_or_default();
    let format = time::macros::format_description!(
        "[weekday repr:short] [year]-[month]-[day] [hour]:[minute]:[second] UTC"
    );
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(moment) if time_us > 0 => moment.format(&format).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The same moment on the kernel's monotonic clock, in µs.
fn monotonic(time_us: u64) -> String {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(clock.tv_sec), u64::try_from(clock.tv_nsec / 1000));
    let now = seconds.unwrap_or_default().saturating_mul(1_000_000) + rest.unwrap_or_default();
    let ago = super::state::wall_clock_us().saturating_sub(time_us);
    if time_us == 0 { "0".to_owned() } else { now.saturating_sub(ago).to_string() }
}

/// A time span as systemd writes it: `1min 30s`, `100ms`, `infinity`.
fn span(span: Duration) -> String {
    const UNITS: [(&str, u128); 5] =
        [("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
    if span == Duration::MAX {
        return "infinity".to_owned();
    }
    let mut left = span.as_micros();
    let mut parts = Vec::new();
    for (name, size) in UNITS {
        if left >= size {
            parts.push(format!("{}{name}", left / size));
            left %= size;
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_moments_are_written_as_systemd_writes_them() {
        assert_eq!(span(Duration::from_secs(90)), "1min 30s");
        assert_eq!(span(Duration::from_millis(100)), "100ms");
        assert_eq!(span(Duration::ZERO), "0");
        assert_eq!(span(Duration::MAX), "infinity");
        assert_eq!(timestamp(1_700_000_000_000_000), "Tue 2023-11-14 22:13:20 UTC");
        assert_eq!(timestamp(0), "");
    }
}
