//! What a unit file means for a service or a mount. Invariant: a spec is complete; what the file leaves out has systemd's default.

use std::path::PathBuf;
use std::time::Duration;

use super::syntax::Assignments;
use super::words;
use crate::standin::fstab;

/// When a started service counts as up (`Type=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As soon as the process exists. Also `idle`, and `dbus`, whose bus light machines do not have.
    Simple,
    /// When the program itself could be started.
    Exec,
    /// When the process says so.
    Notify,
    /// When it has ended well. Also `forking`, whose main process is not followed here.
    Oneshot,
}

/// When a service is started again after it ended (`Restart=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// After a clean end.
    OnSuccess,
    /// After any other end.
    OnFailure,
    /// After a signal or a timeout.
    OnAbnormal,
    /// After the watchdog's timeout.
    OnWatchdog,
    /// After a signal.
    OnAbort,
    /// After every end that nobody asked for.
    Always,
}

/// One command of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments, variables not yet put in.
    pub words: Vec<String>,
    /// `-`: its failure does not count.
    pub may_fail: bool,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// `Type=`, and its text as written.
    pub kind: Kind,
    pub kind_text: String,
    /// Commands in the order they are run.
    pub start_pre: Vec<Command>,
    pub start: Vec<Command>,
    pub start_post: Vec<Command>,
    pub reload: Vec<Command>,
    pub stop: Vec<Command>,
    pub stop_post: Vec<Command>,
    /// `NAME=value`, and files of such lines with whether each may be missing.
    pub environment: Vec<(String, String)>,
    pub environment_files: Vec<(PathBuf, bool)>,
    /// Variables that the processes do not get, wherever they come from: names, or `NAME=value`.
    pub unset_environment: Vec<String>,
    pub working_directory: Option<PathBuf>,
    pub user: Option<String>,
    /// Stays active after a clean end.
    pub remain_after_exit: bool,
    pub restart: Restart,
    pub restart_text: String,
    pub restart_delay: Duration,
    /// Exit codes and signal names of a clean end beside the usual ones, and those that prevent or force a restart.
    pub success: Vec<String>,
    pub prevent_restart: Vec<String>,
    pub force_restart: Vec<String>,
    pub start_timeout: Duration,
    pub stop_timeout: Duration,
    pub kill_signal: String,
    /// Only the main process gets the kill signal (`KillMode=process`).
    pub kill_main_only: bool,
    /// Soft and hard limit of open files.
    pub open_files: Option<u64>,
}

/// What every unit has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSpec {
    pub description: String,
    /// At most `limit_burst` starts in `limit_interval`; an interval of zero: no limit.
    pub limit_interval: Duration,
    pub limit_burst: usize,
    pub mounts_for: Vec<PathBuf>,
    /// What must hold before a start: `ConditionPathExists=` and its like.
    pub conditions: Vec<Condition>,
    /// Units that are started with it, and whether it cannot go on without them.
    pub wants: Vec<(String, bool)>,
    pub what: What,
}

/// A condition, without which a start does nothing, or an assertion, without which it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// As written: `ConditionPathExists=!/x`.
    pub text: String,
    pub path: PathBuf,
    /// `!`: it must not be so.
    pub negated: bool,
    /// `…PathIsMountPoint=`; otherwise the path must be there.
    pub mount_point: bool,
    pub assertion: bool,
}

/// What is done to enable a unit, be the rest of its file good or bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    pub wanted_by: Vec<String>,
    pub required_by: Vec<String>,
    pub alias: Vec<String>,
}

impl UnitSpec {
    /// The first condition that does not hold; assertions come last.
    pub fn failed_condition(&self) -> Option<&Condition> {
        let is_so = |condition: &Condition| match condition.mount_point {
            true => fstab::is_mounted(&condition.path),
            false => condition.path.exists(),
        };
        self.conditions.iter().find(|condition| is_so(condition) == condition.negated)
    }
}

impl Install {
    /// Read `[Install]`.
    pub fn read(all: &Assignments) -> Self {
        let words = |key| all.words("Install", key);
        Self { wanted_by: words("WantedBy"), required_by: words("RequiredBy"), alias: words("Alias") }
    }
}

/// The kind of unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Service(Box<ServiceSpec>),
    Mount(MountSpec),
    /// Targets, timers and the like: they have a name and can be active, nothing more.
    Other,
}

/// A mount unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    pub what: String,
    pub place: PathBuf,
    pub kind: Option<String>,
    pub options: Option<String>,
    /// Whether it is taken away although it is in use.
    pub lazy: bool,
}

/// Read a unit.
///
/// # Errors
/// The reason for which systemd would call it `bad-setting`.
pub fn read(name: &str, all: &Assignments) -> Result<UnitSpec, String> {
    let what = if name.ends_with(".service") {
        What::Service(Box::new(service(all)?))
    } else if name.ends_with(".mount") {
        What::Mount(mount(all)?)
    } else {
        What::Other
    };
    let either = |keys: &[(&str, &str)]| {
        keys.iter().find_map(|(section, key)| all.last(section, key)).map(str::to_owned)
    };
    let interval = either(&[
        ("Unit", "StartLimitIntervalSec"),
        ("Unit", "StartLimitInterval"),
        ("Service", "StartLimitInterval"),
        ("Service", "StartLimitIntervalSec"),
    ]);
    let burst = either(&[("Unit", "StartLimitBurst"), ("Service", "StartLimitBurst")]);
    let strong = all.words("Unit", "Requires").into_iter().chain(all.words("Unit", "BindsTo"));
    let weak = all.words("Unit", "Wants").into_iter();
    Ok(UnitSpec {
        description: all.last("Unit", "Description").unwrap_or(name).to_owned(),
        limit_interval: interval.and_then(|text| words::time_span(&text)).unwrap_or(Duration::from_secs(10)),
        limit_burst: burst.and_then(|text| text.parse().ok()).unwrap_or(5),
        mounts_for: all.words("Unit", "RequiresMountsFor").into_iter().map(PathBuf::from).collect(),
        conditions: conditions(all),
        wants: strong.map(|name| (name, true)).chain(weak.map(|name| (name, false))).collect(),
        what,
    })
}

fn conditions(all: &Assignments) -> Vec<Condition> {
    const KEYS: [&str; 4] =
        ["ConditionPathExists", "ConditionPathIsMountPoint", "AssertPathExists", "AssertPathIsMountPoint"];
    let of = |key: &'static str| {
        all.list("Unit", key).into_iter().map(move |value| Condition {
            text: format!("{key}={value}"),
            path: PathBuf::from(value.trim_start_matches(['!', '|'])),
            negated: value.starts_with('!'),
            mount_point: key.ends_with("IsMountPoint"),
            assertion: key.starts_with("Assert"),
        })
    };
    KEYS.into_iter().flat_map(of).collect()
}

fn mount(all: &Assignments) -> Result<MountSpec, String> {
    let place = all.last("Mount", "Where").ok_or("Where= setting missing")?;
    Ok(MountSpec {
        what: all.last("Mount", "What").ok_or("What= setting missing")?.to_owned(),
        place: PathBuf::from(place),
        kind: all.last("Mount", "Type").map(str::to_owned),
        options: all.last("Mount", "Options").map(str::to_owned),
        lazy: all.last("Mount", "LazyUnmount").is_some_and(words::boolean),
    })
}

fn service(all: &Assignments) -> Result<ServiceSpec, String> {
    let kind_text = all.last("Service", "Type").unwrap_or("simple").to_owned();
    let kind = match kind_text.as_str() {
        "exec" => Kind::Exec,
        "notify" | "notify-reload" => Kind::Notify,
        "oneshot" | "forking" => Kind::Oneshot,
        _ => Kind::Simple,
    };
    let restart_text = all.last("Service", "Restart").unwrap_or("no").to_owned();
    let restart = restart(&restart_text);
    let commands = |key: &str| commands(&all.list("Service", key), key);
    let start = commands("ExecStart")?;
    check_start(kind, restart, &start)?;
    let span = |key: &str| all.last("Service", key).and_then(words::time_span);
    let usual = Duration::from_secs(90);
    let start_timeout = if kind == Kind::Oneshot { Duration::MAX } else { usual };
    let forking = kind_text == "forking";
    Ok(ServiceSpec {
        start_pre: commands("ExecStartPre")?,
        start,
        start_post: commands("ExecStartPost")?,
        reload: commands("ExecReload")?,
        stop: commands("ExecStop")?,
        stop_post: commands("ExecStopPost")?,
        environment: environment(all),
        environment_files: all.list("Service", "EnvironmentFile").into_iter().map(environment_file).collect(),
        unset_environment: all.words("Service", "UnsetEnvironment"),
        working_directory: all
            .last("Service", "WorkingDirectory")
            .map(|path| PathBuf::from(path.trim_start_matches('-'))),
        user: all.last("Service", "User").map(str::to_owned),
        remain_after_exit: forking || all.last("Service", "RemainAfterExit").is_some_and(words::boolean),
        restart,
        restart_text,
        restart_delay: span("RestartSec").unwrap_or(Duration::from_millis(100)),
        success: all.words("Service", "SuccessExitStatus"),
        prevent_restart: all.words("Service", "RestartPreventExitStatus"),
        force_restart: all.words("Service", "RestartForceExitStatus"),
        start_timeout: unlimited(span("TimeoutStartSec").or(span("TimeoutSec")).unwrap_or(start_timeout)),
        stop_timeout: unlimited(span("TimeoutStopSec").or(span("TimeoutSec")).unwrap_or(usual)),
        kill_signal: all.last("Service", "KillSignal").unwrap_or("SIGTERM").to_owned(),
        kill_main_only: matches!(all.last("Service", "KillMode"), Some("process")),
        open_files: all.last("Service", "LimitNOFILE").and_then(open_files),
        kind,
        kind_text,
    })
}

fn restart(text: &str) -> Restart {
    match text {
        "always" => Restart::Always,
        "on-success" => Restart::OnSuccess,
        "on-failure" => Restart::OnFailure,
        "on-abnormal" => Restart::OnAbnormal,
        "on-abort" => Restart::OnAbort,
        "on-watchdog" => Restart::OnWatchdog,
        _ => Restart::No,
    }
}

fn check_start(kind: Kind, restart: Restart, start: &[Command]) -> Result<(), String> {
    if start.is_empty() && kind != Kind::Oneshot {
        return Err("Service has no ExecStart=, ExecStop=, or SuccessAction=".to_owned());
    }
    if start.len() > 1 && kind != Kind::Oneshot {
        return Err(
            "Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services"
                .to_owned(),
        );
    }
    if kind == Kind::Oneshot && matches!(restart, Restart::Always | Restart::OnSuccess) {
        return Err("Service has Restart= set to either always or on-success, which isn't allowed for Type=oneshot services".to_owned());
    }
    Ok(())
}

/// A limit of zero means none.
fn unlimited(span: Duration) -> Duration {
    if span.is_zero() { Duration::MAX } else { span }
}

fn open_files(text: &str) -> Option<u64> {
    let soft = text.split(':').next()?;
    if soft == "infinity" { Some(1_048_576) } else { soft.parse().ok() }
}

fn environment(all: &Assignments) -> Vec<(String, String)> {
    let lines = all.list("Service", "Environment");
    let words = lines.iter().filter_map(|line| words::split(line)).flatten();
    words
        .filter_map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

fn environment_file(text: &str) -> (PathBuf, bool) {
    (PathBuf::from(text.trim_start_matches('-')), text.starts_with('-'))
}

fn commands(lines: &[&str], key: &str) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    for line in lines {
        let text = line.trim_start_matches(['-', '@', ':', '+', '!']);
        let prefix = &line[..line.len() - text.len()];
        let words = words::split(text).ok_or_else(|| format!("Invalid quoting in {key}= setting"))?;
        if words.first().is_none_or(|program| !program.starts_with('/')) {
            return Err(format!("Executable path is not absolute in {key}= setting"));
        }
        commands.push(Command { words, may_fail: prefix.contains('-') });
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Result<UnitSpec, String> {
        let mut all = Assignments::default();
        all.add(text);
        read("x.service", &all)
    }

    fn service_of(text: &str) -> ServiceSpec {
        match unit(text).unwrap().what {
            What::Service(service) => *service,
            other => panic!("not a service: {other:?}"),
        }
    }

    #[test]
    fn what_a_service_leaves_out_has_the_usual_default() {
        let spec = unit("[Service]\nExecStart=/bin/true\n").unwrap();
        assert_eq!((spec.limit_interval, spec.limit_burst), (Duration::from_secs(10), 5));
        let service = service_of("[Service]\nExecStart=/bin/true\n");
        assert_eq!(service.kind, Kind::Simple);
        assert_eq!(service.restart, Restart::No);
        assert_eq!(service.restart_delay, Duration::from_millis(100));
        assert_eq!(service.stop_timeout, Duration::from_secs(90));
    }

    #[test]
    fn the_start_limit_is_read_in_its_old_place_too() {
        let spec = unit("[Service]\nExecStart=/bin/true\nStartLimitInterval=0\nStartLimitBurst=9\n").unwrap();
        assert_eq!((spec.limit_interval, spec.limit_burst), (Duration::ZERO, 9));
    }

    #[test]
    fn a_dash_before_a_command_or_a_file_means_that_it_may_fail() {
        let service = service_of(
            "[Service]\nExecStart=/bin/true\nExecStartPre=-/bin/false x\nEnvironmentFile=-/etc/environment\n",
        );
        assert_eq!(
            service.start_pre,
            vec![Command { words: vec!["/bin/false".into(), "x".into()], may_fail: true }]
        );
        assert_eq!(service.environment_files, vec![(PathBuf::from("/etc/environment"), true)]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(unit("[Service]\nType=simple\n").is_err());
        assert!(unit("[Service]\nExecStart=relative\n").is_err());
        assert!(unit("[Service]\nExecStart=/a\nExecStart=/b\n").is_err());
        assert!(unit("[Service]\nType=oneshot\nExecStart=/a\nRestart=always\n").is_err());
    }

    #[test]
    fn no_time_limit_is_written_as_zero_or_infinity() {
        assert_eq!(service_of("[Service]\nExecStart=/a\nTimeoutStopSec=0\n").stop_timeout, Duration::MAX);
        assert_eq!(
            service_of("[Service]\nExecStart=/a\nTimeoutStartSec=infinity\n").start_timeout,
            Duration::MAX
        );
        assert_eq!(
            service_of("[Service]\nExecStart=/a\nTimeoutStopSec=30\n").stop_timeout,
            Duration::from_secs(30)
        );
    }
}
