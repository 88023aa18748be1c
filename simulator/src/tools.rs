//! The hook tools: which exist in which Juju, and how a call becomes an answer. The work is done here, on the agent's
//! side; the process that the charm starts only relays ([`client`]).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::agent::context::Context;
use crate::model::log::Log;
use crate::model::{JujuVersion, Store};

mod action;
pub mod client;
mod configuration;
mod flags;
pub mod format;
mod keyvalue;
mod machine;
mod network;
mod ports;
pub mod protocol;
mod relation;
mod relation_set;
mod secret;
mod secret_arguments;
mod secret_read;
mod state;
mod status;
mod storage;
mod table;

pub use table::{NAMES, names_for};

use flags::Parsed;
use format::{Format, Printed};
use protocol::{Input, ToolReply, ToolRequest};

/// Why a tool ends without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolError {
    /// Text after `ERROR `.
    pub message: String,
    /// 2 for mistakes in the command line, 1 for the rest, 0 with `needs`.
    pub code: u8,
    /// Inputs without which the tool cannot go on; then it is no failure yet.
    needs: Vec<Input>,
}

impl ToolError {
    /// A mistake in the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2, needs: Vec::new() }
    }

    /// A failure while running.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, needs: Vec::new() }
    }
}

/// What every tool gets.
pub struct Call<'a> {
    /// The run it is called in.
    pub context: &'a mut Context,
    /// The model.
    pub store: &'a Store,
    /// The model's log.
    pub log: &'a Log,
    /// The unit's directory on the host, where resources go.
    pub unit_directory: &'a std::path::Path,
    /// The command line.
    parsed: Parsed,
    inputs: BTreeMap<String, Result<Vec<u8>, String>>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Call")
            .field("unit", &self.context.unit)
            .field("parsed", &self.parsed)
            .finish()
    }
}

impl Call<'_> {
    /// The content of an input; asks the tool's process for it when it was not sent yet.
    fn input(&self, input: Input) -> Result<Vec<u8>, ToolError> {
        match self.inputs.get(&key(&input)) {
            Some(Ok(content)) => Ok(content.clone()),
            Some(Err(message)) => Err(ToolError::failed(message.clone())),
            None => Err(ToolError { message: String::new(), code: 0, needs: vec![input] }),
        }
    }

    /// The text of `--file`, where `-` is stdin.
    fn file_text(&self, path: &str) -> Result<String, ToolError> {
        let input = if path == "-" { Input::Stdin } else { Input::File(path.to_owned()) };
        Ok(String::from_utf8_lossy(&self.input(input)?).into_owned())
    }

    /// The Juju that is imitated.
    fn version(&self) -> JujuVersion {
        self.store.read(|model| model.version)
    }

    /// Whether the unit leads. A no is remembered for the rest of the run; a yes is asked again each time.
    fn is_leader(&mut self) -> bool {
        if self.context.caches.is_known_follower {
            return false;
        }
        let leads = self.store.read(|model| model.is_leader(&self.context.unit));
        self.context.caches.is_known_follower = !leads;
        leads
    }
}

fn key(input: &Input) -> String {
    match input {
        Input::Stdin => "stdin".to_owned(),
        Input::File(path) => format!("file {path}"),
        Input::AgentFile(path) => format!("agent file {path}"),
    }
}

/// What a tool answers.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    /// Nothing.
    Nothing,
    /// A value, to be printed in the wanted form.
    Value(Printed),
    /// Text as it is, without any form.
    Text(String),
    /// Nothing but a note on stderr.
    Note(String),
}

/// Carries out a call. `environment` is everything but the command line.
pub fn run(
    request: &ToolRequest,
    context: &mut Context,
    store: &Store,
    log: &Log,
    unit_directory: &std::path::Path,
) -> ToolReply {
    let version = store.read(|model| model.version);
    let Some(tool) = table::find(&request.tool, version) else {
        return refuse(ToolError::failed(format!("bad request: unknown command: {}", request.tool)));
    };
    let parsed = match flags::parse(&tool.all_flags(), &request.arguments) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(error),
    };
    if parsed.help {
        return ToolReply { stdout: tool.help(), ..ToolReply::default() };
    }
    let format = match wanted_format(tool, &parsed) {
        Ok(format) => format,
        Err(error) => return refuse(error),
    };
    let output_file = parsed.value("o").filter(|_| tool.format.is_some()).map(str::to_owned);
    let decode = |content: &Result<String, String>| match content {
        Ok(text) => STANDARD.decode(text).map_err(|error| error.to_string()),
        Err(message) => Err(message.clone()),
    };
    let inputs = request.inputs.iter().map(|sent| (key(&sent.input), decode(&sent.content))).collect();
    let mut call = Call { context, store, log, unit_directory, parsed, inputs };
    match (tool.run)(&mut call) {
        Ok(Answer::Nothing) => ToolReply::default(),
        Ok(Answer::Text(stdout)) => ToolReply { stdout, ..ToolReply::default() },
        Ok(Answer::Note(stderr)) => ToolReply { stderr, ..ToolReply::default() },
        Ok(Answer::Value(value)) => match format.print(&value) {
            Ok(stdout) => ToolReply { stdout, output_file, ..ToolReply::default() },
            Err(error) => refuse(error),
        },
        Err(error) => refuse(error),
    }
}

fn wanted_format(tool: &table::Tool, parsed: &Parsed) -> Result<Format, ToolError> {
    let Some(forms) = tool.format else { return Ok(Format::Smart) };
    let has_smart = forms == table::Forms::WithSmart;
    let Some(name) = parsed.value("format") else {
        return Ok(if has_smart { Format::Smart } else { Format::Yaml });
    };
    Format::from_name(name, has_smart)
        .ok_or_else(|| parsed.invalid("format", &format!("unknown format {name:?}")))
}

/// The reply to a call that failed, or that needs more first.
pub fn refuse(error: ToolError) -> ToolReply {
    if error.needs.is_empty() {
        ToolReply { stderr: format!("ERROR {}\n", error.message), code: error.code, ..ToolReply::default() }
    } else {
        ToolReply { needs: error.needs, ..ToolReply::default() }
    }
}
