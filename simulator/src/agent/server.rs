//! The agent's socket: takes the calls of hook tools, one after the other for each unit.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::tools::protocol::{EXEC_SOCKET_NAME, SOCKET_NAME, ToolReply, ToolRequest};
use crate::tools::{self, ToolError};

use super::context::Reboot;
use super::{Engine, UnitRuntime, kill_tree};

/// Listens below the unit's directory until the task is aborted.
pub fn listen(engine: Arc<Engine>, runtime: Arc<UnitRuntime>, directory: &Path) -> Result<JoinHandle<()>> {
    let listener = bind(directory, SOCKET_NAME)?;
    let silent = bind(directory, EXEC_SOCKET_NAME)?;
    let directory = directory.to_path_buf();
    Ok(tokio::spawn(async move {
        let _open = silent;
        // An error of accept is of this one connection.
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (engine, runtime, directory) = (Arc::clone(&engine), Arc::clone(&runtime), directory.clone());
            tokio::spawn(async move {
                if let Err(error) = serve(&engine, &runtime, &directory, stream).await {
                    tracing::debug!(
                        unit = runtime.unit,
                        error = format!("{error:#}"),
                        "a hook tool went away"
                    );
                }
            });
        }
    }))
}

/// Binds a socket for its owner alone, in a directory whose path may be longer than a socket's address can be.
pub fn bind(directory: &Path, name: &str) -> Result<UnixListener> {
    let path = directory.join(name);
    // What an earlier process left; binding needs a free name.
    let _ = std::fs::remove_file(&path);
    let handle =
        std::fs::File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    let short = format!("/proc/self/fd/{}/{name}", handle.as_raw_fd());
    let listener =
        UnixListener::bind(short).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot keep {} to its owner", path.display()))?;
    Ok(listener)
}

async fn serve(
    engine: &Engine,
    runtime: &UnitRuntime,
    directory: &Path,
    mut stream: UnixStream,
) -> Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.context("cannot read the call")?;
    let request: ToolRequest = serde_json::from_slice(&bytes).context("cannot read the call")?;
    let Some(reply) = answer(engine, runtime, directory, &request).await else { return Ok(()) };
    let bytes = serde_json::to_vec(&reply).context("cannot write the answer")?;
    stream.write_all(&bytes).await.context("cannot send the answer")?;
    stream.shutdown().await.context("cannot send the answer")
}

/// The answer to a call; none when the run was killed on purpose at this call.
async fn answer(
    engine: &Engine,
    runtime: &UnitRuntime,
    directory: &Path,
    request: &ToolRequest,
) -> Option<ToolReply> {
    let mut current = runtime.context.lock().await;
    let Some(context) = current.as_mut().filter(|context| context.id == request.context_id) else {
        let message = format!("bad request: wrong context ID; got {:?}", request.context_id);
        return Some(tools::refuse(ToolError::failed(message)));
    };
    let is_repeated_with_inputs = !request.inputs.is_empty();
    if !is_repeated_with_inputs {
        context.calls += 1;
        context.called.push(request.tool.clone());
    }
    let kill = context.kill.as_ref().filter(|plan| plan.call == context.calls).map(|plan| plan.after);
    if kill == Some(false) {
        context.was_killed = true;
        context.pid.into_iter().for_each(kill_tree);
        return None;
    }
    let reply = tools::run(request, context, &engine.store, &engine.log, directory);
    if kill == Some(true) && reply.needs.is_empty() {
        context.was_killed = true;
        context.pid.into_iter().for_each(kill_tree);
        return None;
    }
    if context.reboot == Reboot::Now {
        context.pid.into_iter().for_each(kill_tree);
    }
    Some(reply)
}
