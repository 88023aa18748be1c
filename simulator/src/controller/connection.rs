//! One connection of the command line: a request, then lines of answer.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

use crate::agent::Engine;
use crate::api::{LogLine, Reply, Request};

use super::{End, requests};

/// The way back to who asked.
pub struct Answers {
    stream: OwnedWriteHalf,
}

impl Answers {
    /// Shows a line while the request is worked on. An error means that the asker went away.
    pub async fn show(&mut self, line: LogLine) -> Result<(), String> {
        self.send(&Reply::Log(line)).await.map_err(|error| format!("{error:#}"))
    }

    async fn send(&mut self, reply: &Reply) -> Result<()> {
        let mut bytes = serde_json::to_vec(reply).context("cannot write the answer")?;
        bytes.push(b'\n');
        self.stream.write_all(&bytes).await.context("cannot send the answer")
    }
}

/// Serves a connection.
pub async fn serve(engine: Arc<Engine>, stream: UnixStream, end: mpsc::UnboundedSender<End>) {
    let (reader, writer) = stream.into_split();
    let mut answers = Answers { stream: writer };
    let mut lines = BufReader::new(reader).lines();
    let Ok(Some(line)) = lines.next_line().await else { return };
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(Request::Destroy) => destroy(&end).await,
        Ok(request) => {
            let work = requests::carry_out(&engine, request, &mut answers);
            tokio::select! {
                outcome = work => outcome,
                // The asker hung up; it alone would wait for the rest.
                _ = lines.next_line() => return,
            }
        }
        Err(error) => Err(format!("cannot read the request: {error}")),
    };
    let reply = match outcome {
        Ok(value) => Reply::Done(value),
        Err(message) => Reply::Failed(message),
    };
    if let Err(error) = answers.send(&reply).await {
        tracing::debug!(error = format!("{error:#}"), "the command line went away");
    }
}

async fn destroy(end: &mpsc::UnboundedSender<End>) -> Result<Value, String> {
    let (reply, answer) = oneshot::channel();
    let gone = || "the controller is ending already".to_owned();
    end.send(reply).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?.map(|()| Value::Null)
}
