//! What a hook tool and its unit's agent say to each other over the agent's socket: one JSON document each way.

use serde::{Deserialize, Serialize};

/// Where the agent listens, below the unit's directory.
pub const SOCKET_NAME: &str = "agent.socket";

/// Where the agent of a real Juju takes commands of `juju-exec`. Nothing is answered here, but it is made anew whenever an agent
/// starts.
pub const EXEC_SOCKET_NAME: &str = "run.socket";

/// A call of a tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ToolRequest {
    /// `JUJU_CONTEXT_ID`.
    pub context_id: String,
    /// Name of the tool.
    pub tool: String,
    /// The words after its name.
    pub arguments: Vec<String>,
    /// What an earlier reply asked for.
    pub inputs: Vec<ProvidedInput>,
}

/// Something outside of the command line that a tool reads. The tool's process reads it, because only that is in the
/// machine; it does so on demand, so that a tool that reads no stdin leaves it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// All of stdin.
    Stdin,
    /// A file, relative to the caller's directory.
    File(String),
    /// A file, relative to `/`: the agent's own directory, for the tools whose files Juju's agent opens by itself.
    AgentFile(String),
}

/// An input and its content in base64, or why it cannot be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProvidedInput {
    /// Which.
    pub input: Input,
    /// Its content.
    pub content: Result<String, String>,
}

/// The answer to a call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ToolReply {
    /// When not empty nothing was done: call again with these.
    pub needs: Vec<Input>,
    /// For stdout, or for `output_file`.
    pub stdout: String,
    /// For stderr.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
    /// `--output`: the file that takes what else went to stdout.
    pub output_file: Option<String>,
}
