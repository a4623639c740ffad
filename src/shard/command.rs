//! What is asked of a shard from outside, in line with the records.
//!
//! Owns the words. Promises nothing itself: the shard answers each command after everything that
//! came before it, because both go through one queue.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::core::domain::PartitionId;
use crate::engine::inference::InferenceError;
use crate::engine::pipeline::{ModelLabel, Pipeline, Restored, RivalPool, StoredState};
use crate::engine::symbols::Inherited;
use crate::ports::history::{Failed, Rows};
use crate::ports::sink::Sink;

/// One command. Each that takes an answer is answered once; where nobody listens any more, the
/// answer is dropped.
pub enum Command {
    /// Publish to this sink as well from here on.
    Connect(Box<dyn Sink>),
    /// Publish every forecast, then hand over what has changed in the states, where it is wanted.
    Commit(CommitLine),
    /// Hand over what has changed in the states, little by little between the batches, so that no
    /// forecast waits for all of them. The states of symbols whose turn comes later hold more
    /// records.
    Snapshot {
        /// Takes the states and, behind the last of them, the word that they are all.
        answer: Sender<Handed>,
    },
    /// Hand over the states of some symbols, to try another model on them.
    Sample {
        /// Of which model, by its place in the configuration.
        model: usize,
        /// How many at most.
        count_max: usize,
        /// Takes the answer.
        answer: Sender<Vec<StoredState>>,
    },
    /// Go on with this pipeline, which takes over from the one that runs.
    Swap {
        /// In place of which model, by its place in the configuration.
        model: usize,
        /// Whose windows it takes over, likewise: those of the same model, or of the live one that
        /// it is a shadow of, which runs on.
        windows_of: usize,
        /// Ready to run.
        pipeline: Box<Pipeline>,
        /// Takes the answer, and the pipeline that ran until now, for somebody else to take down.
        answer: Sender<(Inherited, Box<Pipeline>)>,
    },
    /// Say what the symbols have come to about a shadow and the live model of its seat.
    Rivals {
        /// Which shadow, by its place in the configuration.
        model: usize,
        /// Takes the answer.
        answer: Sender<RivalPool>,
    },
    /// Give a shadow the seat of the live model, which becomes a shadow.
    Promote {
        /// Which one, by its place in the configuration.
        model: usize,
        /// Takes the answer.
        answer: Sender<()>,
    },
    /// Take over the stored states of a partition's symbols.
    Restore {
        /// Whose symbols they are.
        partition: PartitionId,
        /// Keys, each of a model and a symbol, and what was stored under them.
        stored: Vec<(String, Bytes)>,
        /// Takes the answer.
        answer: Sender<Result<Restored, InferenceError>>,
    },
    /// Symbols that turn up in a partition from here on are not new: what was known of them is
    /// lost.
    BeginCold {
        /// Which one.
        partition: PartitionId,
    },
    /// Forget the symbols of a partition that another instance takes over.
    Evict {
        /// Which one.
        partition: PartitionId,
        /// Takes the answer.
        answer: Sender<()>,
    },
    /// These are all partitions that this instance reads.
    Own {
        /// Which ones.
        partitions: Vec<PartitionId>,
    },
    /// Forget every symbol and the connected sink, because the session begins again. The symbols
    /// stay on the list until it is known who reads their partitions.
    Clear {
        /// Takes the answer.
        answer: Sender<()>,
    },
    /// The history that is streamed is over: what follows is the stream.
    EndHistory {
        /// Takes the answer, when every row was taken.
        answer: Option<oneshot::Sender<()>>,
    },
    /// The answer to a question of this shard, which is dropped where it no longer waits for it.
    History {
        /// The number of the question.
        number: u64,
        /// The rows, or why there are none.
        answer: Result<Rows, Failed>,
    },
}

/// What a shard hands over of its states.
#[derive(Debug)]
pub enum Handed {
    /// Some of them.
    Part(Vec<StoredState>),
    /// There were no others; these models made them.
    All(ModelLabel),
}

/// A line drawn through the stream: what came before is published and stored together.
#[derive(Debug)]
pub struct CommitLine {
    /// Takes what has changed in the states.
    pub answer: Sender<Vec<StoredState>>,
    /// The shard goes on when the other end speaks or is gone; without it, at once.
    pub resume: Option<Receiver<()>>,
    /// Which states are handed over.
    pub takes: Takes,
}

/// Which states a shard hands over at a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// None. Those that have changed wait for a later line.
    Nothing,
    /// Those that have changed.
    #[default]
    Changed,
    /// All of them.
    Everything,
}

/// What is done while an answer of a shard is waited for.
pub enum Meanwhile<'m> {
    /// Nothing: the shard has a thread of its own.
    Sleep,
    /// This, again and again: it drives the shards on the calling thread.
    Run(&'m mut dyn FnMut()),
}

impl Meanwhile<'_> {
    /// Waits for the next answer, no longer than `limit` where there is one. What is driven on the
    /// calling thread has no limit: it answers, or its end of the channel goes away.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn receive<T>(
        &mut self,
        answers: &Receiver<T>,
        limit: Option<Duration>,
    ) -> Result<T, RecvTimeoutError> {
        let gone = RecvTimeoutError::Disconnected;
        match (self, limit) {
            (Self::Sleep, Some(limit)) => answers.recv_timeout(limit),
            (Self::Sleep, None) => answers.recv().map_err(|_| gone),
            (Self::Run(drive), _) => loop {
                match answers.try_recv() {
                    Ok(answer) => return Ok(answer),
                    Err(TryRecvError::Disconnected) => return Err(gone),
                    Err(TryRecvError::Empty) => drive(),
                }
            },
        }
    }
}
