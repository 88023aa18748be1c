//! The operator's options: text and numbers from Juju become checked values, or a named error each.
//!
//! A wrong value is never passed on: [`Options::parse`] yields either all options or every problem found.

mod authority;
mod nagios;
mod names;
mod release;
mod snapd;

pub use authority::CertificateAuthority;
pub use release::{Checksum, ReleaseSource, WantedRelease};
pub use snapd::{SnapdRefresh, is_plain_url};

use std::fmt;

use serde_json::{Map, Value};

pub use nagios::Nagios;

use crate::etcd::{self, Channel};

/// Where plain HTTP is served, on 127.0.0.1.
pub const INSECURE_PORT: u16 = 4001;

/// All options, checked. Meanings are those of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What to install.
    pub channel: WantedChannel,
    /// An upstream release to run instead of the snap.
    pub release: Option<WantedRelease>,
    /// Client port.
    pub port: u16,
    /// Peer port.
    pub management_port: u16,
    /// Milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Milliseconds; at least five heartbeats.
    pub election_timeout_ms: u64,
    /// Raft entries between two raft snapshots; `None`: as etcd's 3.5 default, 100000.
    pub snapshot_count: Option<u64>,
    /// Listen on every address of the machine.
    pub bind_to_all_interfaces: bool,
    /// Also serve plain HTTP on `127.0.0.1:4001`.
    pub bind_with_insecure_http: bool,
    /// Go names; empty: the charm's default list.
    pub tls_cipher_suites: Vec<String>,
    /// Lowest TLS version; `None`: etcd's default.
    pub tls_min_version: Option<String>,
    /// Log level debug.
    pub debug: bool,
    /// Bytes; 0: etcd's default of 2 GiB.
    pub quota_backend_bytes: i64,
    /// `periodic` or `revision`; `None`: no automatic compaction.
    pub auto_compaction: Option<AutoCompaction>,
    /// More names and addresses for this application's certificates.
    pub extra_sans: Vec<String>,
    /// Who signs the certificates.
    pub certificate_authority: CertificateAuthority,
    /// The v2 store.
    pub enable_v2: EnableV2,
    /// When snapd looks for updates.
    pub snapd_refresh: SnapdRefresh,
    /// HTTP and HTTPS proxy for snapd.
    pub snap_proxy: Option<String>,
    /// URL of the store proxy that snapd asks instead of the public store.
    pub snap_store_proxy: Option<String>,
    /// How Nagios knows this application.
    pub nagios: Nagios,
}

/// The `channel` option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedChannel {
    /// `3.4/stable` at the first install; whatever is installed afterwards.
    Auto,
    /// This one.
    Named(Channel),
}

/// Automatic compaction by time or by number of revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoCompaction {
    /// `periodic` or `revision`.
    pub mode: String,
    /// A duration (`1h`, `30m`) or a count.
    pub retention: String,
}

/// The `enable_v2` option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnableV2 {
    /// On only where v2 keys exist.
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

/// An option with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The option's name.
    pub option: &'static str,
    /// What is wrong and what is accepted, in one line.
    pub problem: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.problem)
    }
}

impl Options {
    /// `values`: what `config-get` answered (absent and null mean: unset).
    ///
    /// # Errors
    /// Every option that cannot be used, in the order of the fields.
    pub fn parse(values: &Map<String, Value>) -> Result<Options, Vec<OptionError>> {
        let mut reader = Reader { values, errors: Vec::new() };
        let options = reader.options();
        if reader.errors.is_empty() { Ok(options) } else { Err(reader.errors) }
    }
}

/// Reads options one by one and keeps every complaint, so that an operator sees them all at once.
struct Reader<'a> {
    values: &'a Map<String, Value>,
    errors: Vec<OptionError>,
}

impl Reader<'_> {
    fn options(&mut self) -> Options {
        let port = self.port("port", 2379);
        let management_port = self.port("management_port", 2380);
        if port == management_port {
            self.refuse("management_port", format!("{port} is also the client port; the two must differ"));
        }
        let bind_with_insecure_http =
            self.insecure_http(&[("port", port), ("management_port", management_port)]);
        let (heartbeat_interval_ms, election_timeout_ms) = self.timing();
        Options {
            channel: self.channel(),
            release: self.release(),
            port,
            management_port,
            heartbeat_interval_ms,
            election_timeout_ms,
            snapshot_count: self.snapshot_count(),
            bind_to_all_interfaces: self.boolean("bind_to_all_interfaces", true),
            bind_with_insecure_http,
            tls_cipher_suites: self.cipher_suites(),
            tls_min_version: self.tls_min_version(),
            debug: self.boolean("debug", false),
            quota_backend_bytes: self.quota(),
            auto_compaction: self.auto_compaction(),
            extra_sans: self.extra_sans(),
            certificate_authority: self.certificate_authority(),
            enable_v2: self.enable_v2(),
            snapd_refresh: self.snapd_refresh(),
            snap_proxy: self.proxy("snap_proxy"),
            snap_store_proxy: self.proxy("snap_proxy_url"),
            nagios: Nagios::of(&self.text("nagios_context"), &self.text("nagios_servicegroups")),
        }
    }

    fn refuse(&mut self, option: &'static str, problem: String) {
        self.errors.push(OptionError { option, problem });
    }

    fn or_note<T>(&mut self, read: Result<T, OptionError>, otherwise: T) -> T {
        read.unwrap_or_else(|error| {
            self.errors.push(error);
            otherwise
        })
    }

    fn text(&mut self, option: &'static str) -> String {
        match self.values.get(option) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        }
    }

    fn list(&mut self, option: &'static str) -> Vec<String> {
        let text = self.text(option);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn boolean(&mut self, option: &'static str, default: bool) -> bool {
        match self.values.get(option) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(value)) => *value,
            Some(other) => {
                self.refuse(option, format!("{other} is neither true nor false"));
                default
            }
        }
    }

    /// Juju sends integers as JSON numbers, large ones as integral floats.
    fn integer(&mut self, option: &'static str, default: i64) -> i64 {
        let value = match self.values.get(option) {
            None | Some(Value::Null) => return default,
            Some(value) => value,
        };
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64));
        whole.unwrap_or_else(|| {
            self.refuse(option, format!("{value} is not a whole number"));
            default
        })
    }

    fn port(&mut self, option: &'static str, default: u16) -> u16 {
        let value = self.integer(option, i64::from(default));
        u16::try_from(value).ok().filter(|port| *port > 0).unwrap_or_else(|| {
            self.refuse(option, format!("{value} is not a port; accepted: 1 to 65535"));
            default
        })
    }

    /// Plain HTTP has a port of its own that no other may be.
    fn insecure_http(&mut self, ports: &[(&str, u16)]) -> bool {
        const OPTION: &str = "bind_with_insecure_http";
        let wanted = self.boolean(OPTION, false);
        if let Some((other, _)) = ports.iter().find(|(_, port)| wanted && *port == INSECURE_PORT) {
            self.refuse(
                OPTION,
                format!("it takes {INSECURE_PORT}, which is also {other}; set {other} to another one"),
            );
        }
        wanted
    }

    /// etcd's own rule: a heartbeat above zero, an election timeout of at least five of them and 50 s at most.
    fn timing(&mut self) -> (u64, u64) {
        let heartbeat = self.integer("heartbeat_interval", 100);
        let election = self.integer("election_timeout", 1000);
        if heartbeat < 1 {
            self.refuse("heartbeat_interval", format!("{heartbeat} ms; accepted: 1 or more"));
        } else if election < heartbeat.saturating_mul(5) {
            let least = heartbeat.saturating_mul(5);
            let problem = format!(
                "{election} ms is less than five heartbeats of {heartbeat} ms; accepted: {least} to 50000"
            );
            self.refuse("election_timeout", problem);
        } else if election > 50_000 {
            self.refuse("election_timeout", format!("{election} ms; accepted: up to 50000"));
        }
        (heartbeat.unsigned_abs(), election.unsigned_abs())
    }

    fn channel(&mut self) -> WantedChannel {
        let text = self.text("channel");
        if text.is_empty() || text == "auto" {
            return WantedChannel::Auto;
        }
        text.parse().map(WantedChannel::Named).unwrap_or_else(|error| {
            self.refuse("channel", format!("{error}"));
            WantedChannel::Auto
        })
    }

    fn proxy(&mut self, option: &'static str) -> Option<String> {
        let read = snapd::proxy(option, &self.text(option));
        self.or_note(read, None)
    }

    fn release(&mut self) -> Option<WantedRelease> {
        let (source, sum) = (self.text("bin-source"), self.text("source-sum"));
        self.or_note(release::read(&source, &sum), None)
    }

    fn snapshot_count(&mut self) -> Option<u64> {
        let text = self.text("snapshot_count");
        if text.is_empty() || text == "auto" {
            return None;
        }
        let count = text.parse().ok().filter(|count| *count > 0);
        if count.is_none() {
            self.refuse("snapshot_count", format!("{text:?}; accepted: auto, or a whole number above 0"));
        }
        count
    }

    fn cipher_suites(&mut self) -> Vec<String> {
        let wanted = self.list("tls_cipher_suites");
        if wanted.is_empty() {
            return wanted;
        }
        etcd::check_cipher_suites(&wanted).unwrap_or_else(|error| {
            self.refuse("tls_cipher_suites", error.to_string());
            Vec::new()
        })
    }

    fn extra_sans(&mut self) -> Vec<String> {
        let names = self.list("extra_sans");
        if let Some(name) = names.iter().find(|name| !names::can_be_certified(name)) {
            self.refuse("extra_sans", format!("{name:?} is neither a host name nor an IP address"));
        }
        names
    }

    fn tls_min_version(&mut self) -> Option<String> {
        let text = self.text("tls_min_version");
        match text.as_str() {
            "" => None,
            "TLS1.2" => Some(text),
            // etcd refuses to start with a cipher list beside TLS 1.3 only.
            "TLS1.3" if !self.list("tls_cipher_suites").is_empty() => {
                self.refuse("tls_min_version", "TLS1.3 cannot be combined with tls_cipher_suites".to_owned());
                None
            }
            "TLS1.3" => Some(text),
            _ => {
                self.refuse("tls_min_version", format!("{text:?}; accepted: TLS1.2, TLS1.3 or empty"));
                None
            }
        }
    }

    fn quota(&mut self) -> i64 {
        let bytes = self.integer("quota_backend_bytes", 0);
        if bytes < 0 {
            self.refuse(
                "quota_backend_bytes",
                format!("{bytes}; accepted: 0 (etcd's default) or a size in bytes"),
            );
        }
        bytes
    }

    fn auto_compaction(&mut self) -> Option<AutoCompaction> {
        let mode = self.text("auto_compaction_mode");
        let retention = self.text("auto_compaction_retention");
        let count = retention.parse::<u64>().is_ok();
        let duration = retention
            .strip_suffix(['h', 'm', 's'])
            .is_some_and(|number| number.parse::<u64>().is_ok_and(|n| n > 0));
        match mode.as_str() {
            "" if retention.is_empty() || retention == "0" => return None,
            "" => self.refuse(
                "auto_compaction_mode",
                "needed with auto_compaction_retention; accepted: periodic, revision".into(),
            ),
            "revision" if count => return Some(AutoCompaction { mode, retention }),
            "periodic" if count || duration => return Some(AutoCompaction { mode, retention }),
            "revision" => {
                self.refuse(
                    "auto_compaction_retention",
                    format!("{retention:?}; accepted with mode revision: a whole number"),
                );
            }
            "periodic" => {
                let problem =
                    format!("{retention:?}; accepted with mode periodic: hours as a number, or 1h, 30m, 90s");
                self.refuse("auto_compaction_retention", problem);
            }
            _ => self
                .refuse("auto_compaction_mode", format!("{mode:?}; accepted: periodic, revision or empty")),
        }
        None
    }

    fn enable_v2(&mut self) -> EnableV2 {
        let text = self.text("enable_v2");
        match text.as_str() {
            "" | "auto" => EnableV2::Auto,
            "true" => EnableV2::On,
            "false" => EnableV2::Off,
            _ => {
                self.refuse("enable_v2", format!("{text:?}; accepted: auto, true, false"));
                EnableV2::Auto
            }
        }
    }

    fn certificate_authority(&mut self) -> CertificateAuthority {
        authority::read(&self.text("certificate_authority")).unwrap_or_else(|error| {
            self.errors.push(error);
            CertificateAuthority::Relation
        })
    }

    fn snapd_refresh(&mut self) -> SnapdRefresh {
        let is_set = self.values.get("snapd_refresh").is_some_and(|value| !value.is_null());
        let text = if is_set { self.text("snapd_refresh") } else { "max".to_owned() };
        self.or_note(snapd::refresh(&text), SnapdRefresh::Default)
    }
}

#[cfg(test)]
mod tests;
