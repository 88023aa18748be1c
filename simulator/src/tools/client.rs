//! The process that a charm starts for a hook tool: it hands the call to the agent and relays the answer. It decides
//! nothing by itself; no default is taken from its environment.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::protocol::{Input, ProvidedInput, ToolReply, ToolRequest};

/// Runs the tool that this process was called as.
pub fn main(tool: &str) -> ExitCode {
    let outcome = variable("JUJU_CONTEXT_ID").and_then(|context_id| {
        let address = variable("JUJU_AGENT_SOCKET_ADDRESS")?;
        variable("JUJU_AGENT_SOCKET_NETWORK")?;
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let request = ToolRequest { context_id, tool: tool.to_owned(), arguments, inputs: Vec::new() };
        relay(&address, request)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            let _ = writeln!(std::io::stderr().lock(), "ERROR {message}");
            ExitCode::from(1)
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} not set"))
}

fn relay(address: &str, mut request: ToolRequest) -> Result<u8, String> {
    loop {
        let reply = call(address, &request)?;
        if !reply.needs.is_empty() {
            request.inputs = reply.needs.into_iter().map(provide).collect();
            continue;
        }
        if let Some(file) = &reply.output_file {
            std::fs::write(file, &reply.stdout).map_err(|error| format!("open {file}: {error}"))?;
        } else {
            let mut stdout = std::io::stdout().lock();
            // A reader that went away is no failure of the tool.
            let _ = stdout.write_all(reply.stdout.as_bytes()).and_then(|()| stdout.flush());
        }
        let _ = std::io::stderr().lock().write_all(reply.stderr.as_bytes());
        return Ok(reply.code);
    }
}

fn call(address: &str, request: &ToolRequest) -> Result<ToolReply, String> {
    let refused =
        |error: &dyn std::fmt::Display| format!("cannot talk to the unit agent at {address}: {error}");
    let mut stream = UnixStream::connect(address).map_err(|error| refused(&error))?;
    let bytes = serde_json::to_vec(request).map_err(|error| refused(&error))?;
    stream.write_all(&bytes).map_err(|error| refused(&error))?;
    stream.shutdown(Shutdown::Write).map_err(|error| refused(&error))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| refused(&error))?;
    serde_json::from_slice(&answer).map_err(|error| refused(&error))
}

fn provide(input: Input) -> ProvidedInput {
    let content = match &input {
        Input::Stdin => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        Input::File(path) => std::fs::read(path),
        Input::AgentFile(path) => std::fs::read(Path::new("/").join(path)),
    };
    let content = content.map(|bytes| STANDARD.encode(bytes)).map_err(|error| match &input {
        Input::Stdin => format!("read stdin: {error}"),
        Input::File(path) | Input::AgentFile(path) => format!("open {path}: {}", go_text(&error)),
    });
    ProvidedInput { input, content }
}

/// `no such file or directory`, as Go writes it, instead of Rust's text with a number.
fn go_text(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
