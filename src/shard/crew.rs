//! All shards of the daemon, each on a thread of its own.
//!
//! Owns the threads. Promises to tell the first failure at once, a panic included, and otherwise
//! the sum of what became of everything. Never touches a shard's state.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use super::{LentShard, Shard, ShardError};
use crate::engine::symbols::EngineTally;
use crate::intake::TurnHere;
use crate::ops::affinity::Processors;

type Outcome = Result<Vec<EngineTally>, ShardError>;

/// The running shards.
pub struct Crew {
    /// One per shard that still runs. A panic drops its end, which reads as a failure.
    running: FuturesUnordered<oneshot::Receiver<Outcome>>,
    /// Those that a source may take turns with.
    lendable: Vec<Arc<LentShard>>,
    /// One for each model, of the shards that have ended.
    tallies: Vec<EngineTally>,
}

/// Why the crew ended before its work did.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// A shard failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A shard's thread died.
    #[error("a shard panicked")]
    Panicked,
}

impl Crew {
    /// Starts every shard; with `processors`, each on one of them.
    ///
    /// # Errors
    /// Where a thread cannot be made.
    pub fn start(shards: Vec<Shard>, processors: Option<&Processors>) -> io::Result<Self> {
        let running = FuturesUnordered::new();
        let mut lendable = Vec::with_capacity(shards.len());
        for (index, shard) in shards.into_iter().enumerate() {
            let (done, outcome) = oneshot::channel();
            let processor = processors.map(|processors| processors.nth(index));
            let shard = Arc::new(LentShard::new(shard));
            lendable.push(Arc::clone(&shard));
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                if let Some(processor) = processor {
                    processor.pin_this_thread();
                }
                // The receiver is gone only where the process no longer waits for us.
                let _ = shard.run().map(|outcome| done.send(outcome));
            })?;
            running.push(outcome);
        }
        // Where every shard has a processor, nothing else should compute its forecasts.
        let lendable = lendable.into_iter().filter(|_| processors.is_none());
        Ok(Self { running, lendable: lendable.collect(), tallies: Vec::new() })
    }

    /// How a source takes turns with the only shard; `None` where there are several, which work
    /// side by side, or where it is to stay on its processor.
    pub fn turn_here(&self) -> Option<TurnHere> {
        let [only] = &self.lendable[..] else { return None };
        let only = Arc::clone(only);
        Some(Arc::new(move || only.turn_here()))
    }

    /// Waits until all shards have ended, or one has failed; returns what became of everything in
    /// each model. May be cancelled and called again.
    ///
    /// # Errors
    /// [`CrewError`] for the first failure; the other shards may still run.
    pub async fn finished(&mut self) -> Result<&[EngineTally], CrewError> {
        while let Some(outcome) = self.running.next().await {
            let tallies = outcome.map_err(|_| CrewError::Panicked)??;
            self.tallies.resize(tallies.len(), EngineTally::default());
            for (all, tally) in self.tallies.iter_mut().zip(&tallies) {
                all.merge(tally);
            }
        }
        Ok(&self.tallies)
    }
}
