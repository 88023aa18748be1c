//! The charm's log lines on their way to Juju. Each `juju-log` call starts a process, so lines from INFO up are kept
//! and sent in one call per run of equal level; DEBUG and TRACE of a hook go to standard output, which Juju itself logs
//! at DEBUG. The standard output of an action is part of its results, so there they are sent like the others.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::shown;
use super::tools::Tools;

/// What Juju makes of this process's standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StandardOutput {
    /// A hook: lines of the log, at DEBUG.
    #[default]
    Log,
    /// An action: shown to the operator as a result.
    Result,
}

/// Lines that wait for [`LogBuffer::flush`]; itself a layer of `tracing`. Clones share their lines.
#[derive(Debug, Clone, Default)]
pub struct LogBuffer {
    standard_output: StandardOutput,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl LogBuffer {
    /// A buffer that gets every line of this process from now on: the charm's own from DEBUG up, libraries' from WARN.
    /// Call it once.
    pub fn install(standard_output: StandardOutput) -> LogBuffer {
        let buffer = LogBuffer { standard_output, ..LogBuffer::default() };
        let wanted =
            Targets::new().with_default(Level::WARN).with_target(env!("CARGO_CRATE_NAME"), Level::DEBUG);
        let layers = tracing_subscriber::registry().with(buffer.clone().with_filter(wanted));
        if let Err(error) = tracing::subscriber::set_global_default(layers) {
            complain(&format!("cannot install the log twice: {error}"));
        }
        buffer
    }

    /// Sends what has gathered, in order. What Juju does not take is written to standard output together with the
    /// reason: so it still reaches the log, only at DEBUG, and a failing log fails no hook.
    pub async fn flush(&self, tools: &Tools) {
        let lines = std::mem::take(&mut *self.lock());
        for run in lines.chunk_by(|one, other| one.0 == other.0) {
            let text = run.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
            if let Err(error) = tools.log(run[0].0, &text).await {
                to_stdout(&format!("{error}\n{text}"));
            }
        }
    }

    /// A panic elsewhere while logging leaves whole lines behind: they are still good.
    fn lock(&self) -> MutexGuard<'_, Vec<(Level, String)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for LogBuffer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.message + &line.fields;
        match *event.metadata().level() {
            Level::DEBUG | Level::TRACE if self.standard_output == StandardOutput::Log => to_stdout(&text),
            level => self.lock().push((level, text)),
        }
    }
}

/// `message key=value key=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            chain = format!("{chain}: {error}");
            cause = error.source();
        }
        self.push(field, format_args!("{chain}"));
    }
}

/// Nowhere is left to report that standard output is gone.
fn to_stdout(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A last word on standard error, which Juju logs at WARNING: for what ends the program, when no tool may be left to
/// carry it.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", shown::text(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::juju::tools::fake::FakeTools;

    fn logged(with: impl FnOnce()) -> LogBuffer {
        let buffer = LogBuffer::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(buffer.clone()), with);
        buffer
    }

    #[test]
    fn a_line_is_its_message_and_its_fields() {
        let buffer = logged(|| {
            let cause = std::io::Error::other("disk full");
            tracing::info!(member = "etcd0", term = 7, "started");
            tracing::error!(error = &cause as &dyn std::error::Error, "cannot write");
            tracing::debug!("only to standard output");
        });
        let lines: Vec<String> = buffer.lock().iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(lines, ["started member=etcd0 term=7", "cannot write error=disk full"]);
    }

    #[test]
    fn nothing_of_an_action_goes_to_its_standard_output() {
        let buffer = LogBuffer { standard_output: StandardOutput::Result, ..LogBuffer::default() };
        let layers = tracing_subscriber::registry().with(buffer.clone());
        tracing::subscriber::with_default(layers, || tracing::debug!("looking"));
        assert_eq!(*buffer.lock(), [(Level::DEBUG, "looking".to_owned())]);
    }

    #[tokio::test]
    async fn lines_of_one_level_are_one_call() {
        let buffer = logged(|| {
            tracing::info!("one");
            tracing::info!("-two");
            tracing::warn!("three");
        });
        let fake = FakeTools::new().tool("juju-log", "exit 0");
        buffer.flush(&fake.tools()).await;
        buffer.flush(&fake.tools()).await;
        assert_eq!(
            fake.calls(),
            ["juju-log|--log-level|INFO|--|one\n-two", "juju-log|--log-level|WARNING|--|three"]
        );
    }

    #[tokio::test]
    async fn a_refused_line_does_not_keep_the_next_ones_back() {
        let buffer = logged(|| {
            tracing::info!("one");
            tracing::warn!("two");
        });
        let fake = FakeTools::new().tool("juju-log", "echo ERROR socket gone >&2; exit 1");
        buffer.flush(&fake.tools()).await;
        assert_eq!((fake.calls().len(), buffer.lock().len()), (2, 0));
    }
}
