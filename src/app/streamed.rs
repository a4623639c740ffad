//! History that is streamed before the source runs.
//!
//! Owns the order of the two. Promises that no record of the stream comes into a queue before every
//! shard has taken all rows, so that what a full queue drops is never a row; and that what waits
//! for the end of history hears of it only then, and never where a stop came first. Never reads a
//! file.

use tokio::sync::{oneshot, watch};

use crate::adapters::file::{FileHistory, Streamed};
use crate::intake::Router;
use crate::ops::exit::Exit;
use crate::ops::readiness::Condition;
use crate::shard::command::Command;

/// A history that was not streamed yet.
pub(super) struct StreamedHistory {
    file: FileHistory,
    /// Turns true when it is over.
    over: watch::Sender<bool>,
}

impl StreamedHistory {
    pub(super) fn new(file: FileHistory) -> Self {
        Self { file, over: watch::Sender::new(false) }
    }

    /// Whether it is over. Where the other end goes away before, it never will be.
    pub(super) fn is_over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Streams every row and waits until the shards have taken all of them; gives the router back,
    /// or `None` where a stop, or a shard that takes no more, came first.
    pub(super) async fn stream(
        self,
        router: Router<Command>,
        ready: &Condition,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<Router<Command>>, Exit> {
        let Self { file, over } = self;
        let (router, Streamed { is_whole, .. }) = file.stream(router, ready, stop.clone()).await?;
        if !is_whole {
            return Ok(None);
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ok(None),
            are_through = are_through(&router) => {
                over.send_replace(are_through);
                Ok(are_through.then_some(router))
            }
        }
    }
}

/// Waits until every shard has taken what is in its queue; `false` where one has ended.
async fn are_through(router: &Router<Command>) -> bool {
    let mut answers = Vec::new();
    for shard in router.commanders() {
        let (answer, answered) = oneshot::channel();
        if shard.command(Command::EndHistory { answer: Some(answer) }).is_err() {
            return false;
        }
        answers.push(answered);
    }
    for answered in answers {
        if answered.await.is_err() {
            return false;
        }
    }
    true
}
