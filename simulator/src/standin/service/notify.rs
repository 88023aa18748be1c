//! The readiness protocol (sd_notify), one socket per service. Invariant: a message is only ever that of the service whose
//! socket it came by.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::net::UnixDatagram;

/// The socket of a service; its file goes with it.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What a message says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub ready: bool,
    pub status: Option<String>,
}

impl NotifySocket {
    /// Make the socket of a unit in `directory`.
    pub fn new(directory: &Path, unit: &str) -> Result<Self> {
        std::fs::create_dir_all(directory).context("cannot make the directory of notify sockets")?;
        let path = directory.join(unit);
        drop(std::fs::remove_file(&path));
        let socket =
            UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        // Services that run as another user report too.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))
            .context("cannot open the notify socket")?;
        Ok(Self { socket, path })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message.
    pub async fn message(&self) -> Message {
        let mut buffer = vec![0; 4096];
        match self.socket.recv(&mut buffer).await {
            Ok(length) => parse(&String::from_utf8_lossy(&buffer[..length])),
            // A socket that fails once fails for good: the service's time limit then decides.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn parse(text: &str) -> Message {
    let mut message = Message::default();
    for line in text.lines() {
        if line == "READY=1" {
            message.ready = true;
        } else if let Some(status) = line.strip_prefix("STATUS=") {
            message.status = Some(status.to_owned());
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_say_several_things() {
        let expected = Message { ready: true, status: Some("serving".into()) };
        assert_eq!(parse("STATUS=serving\nREADY=1\nMAINPID=4\n"), expected);
        assert_eq!(parse("READY=0"), Message::default());
    }
}
