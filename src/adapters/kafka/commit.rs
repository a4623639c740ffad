//! From a line in the stream to a committed offset.
//!
//! Owns the order of a commit: forecasts acknowledged, then states stored and acknowledged,
//! then the offsets committed; or all of them in one transaction. Promises that no offset is
//! committed beyond work that is done (I5), nor in a log that is not the one that was read. While
//! a commit without a transaction is under way records go on flowing; with one, the shards wait
//! for it. Never polls the consumer.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use super::SessionError;
use super::client::{self, GroupConsumer};
use super::partitions::Reading;
use super::publisher::{Batch, KafkaPublisher, Turn};
use super::start::Point;
use super::topic_watch::{Look, TopicWatch};
use crate::adapters::kafka_config::{Delivery, KafkaConfig};
use crate::core::domain::PartitionId;
use crate::engine::pipeline::StoredState;
use crate::intake::IntakeSender;
use crate::ops::clock::Stopwatch;
use crate::shard::command::{Command, CommitLine};

/// How long a commit may take that waits for the coordinator of the group.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);

/// The wait before it is asked again.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// How long each call of a transaction may take. A coordinator that has moved answers within it; where
/// the client keeps waiting for the old one, a new session finds the new one.
const TRANSACTION_PATIENCE: Duration = Duration::from_secs(15);

/// A commit under way.
pub(super) struct Commit {
    covered: Vec<Reading>,
    /// Up to where the states reach, of every partition that is read.
    points: Vec<(PartitionId, Point)>,
    /// Which forecasts came before the line.
    turn: Turn,
    /// The look at the topics that has to be over before anything is committed: it began behind the
    /// last record that is covered, so it shows whether that record was still of the log.
    look: Look,
    phase: CommitPhase,
    begun: Stopwatch,
    /// Lets the shards go on when it is dropped, whatever happened.
    _resumes: Vec<Sender<()>>,
}

enum CommitPhase {
    /// Shards publish what came before the line, and hand over what has changed.
    Draining { answers: Receiver<Vec<StoredState>>, missing: usize, states: Vec<StoredState> },
    /// The broker has still to acknowledge forecasts from before the line.
    Publishing { states: Vec<StoredState> },
    /// The broker has still to acknowledge the states, or to say which log was read.
    Storing,
    /// The coordinator of the group was not to be had for the commit, this long ago.
    Waiting(Stopwatch),
}

/// What a commit needs besides itself.
pub(super) struct Tools<'s> {
    pub(super) config: &'s KafkaConfig,
    pub(super) consumer: &'s GroupConsumer,
    pub(super) publisher: &'s KafkaPublisher,
    pub(super) shards: &'s [IntakeSender<Command>],
    pub(super) watch: &'s TopicWatch,
}

/// What a commit covers.
pub(super) struct Covers {
    /// The positions to commit.
    pub(super) positions: Vec<Reading>,
    /// Up to where the states reach, of every partition that is read.
    pub(super) points: Vec<(PartitionId, Point)>,
    /// The look at the topics that has to be over before.
    pub(super) look: Look,
    /// Whether every state is stored, and not only those that have changed.
    pub(super) is_whole: bool,
}

/// How far one has come.
pub(super) enum Progress {
    UnderWay(Commit),
    /// These positions are committed.
    Done(Vec<Reading>, Stopwatch),
}

impl Commit {
    /// Draws the line behind everything that was handed to the shards.
    pub(super) fn begin(
        tools: &Tools<'_>,
        covers: Covers,
        turn: Turn,
    ) -> Result<Self, SessionError> {
        let Covers { positions: covered, points, look, is_whole } = covers;
        let (answer, answers) = channel();
        let mut resumes = Vec::new();
        for shard in tools.shards {
            let resume = (tools.config.delivery == Delivery::ExactlyOnce).then(|| {
                let (resume, resumed) = channel();
                resumes.push(resume);
                resumed
            });
            let line = CommitLine { answer: answer.clone(), resume, is_whole };
            shard
                .command(Command::Commit(line))
                .map_err(|_| SessionError::Final(super::KafkaError::EngineGone))?;
        }
        let missing = tools.shards.len();
        let phase = CommitPhase::Draining { answers, missing, states: Vec::new() };
        let begun = Stopwatch::start();
        Ok(Self { covered, points, turn, look, phase, begun, _resumes: resumes })
    }

    /// Goes as far as is possible without waiting; a transaction is committed in one go.
    pub(super) fn step(self, tools: &Tools<'_>) -> Result<Progress, SessionError> {
        let Self { covered, points, turn, look, phase, begun, _resumes } = self;
        let outstanding = tools.publisher.outstanding();
        let settled = |batch| outstanding.is_settled(batch).map_err(SessionError::Retry);
        let phase = match phase {
            CommitPhase::Draining { answers, mut missing, mut states } => {
                while missing > 0 {
                    match answers.try_recv() {
                        Ok(changed) => {
                            states.extend(changed);
                            missing -= 1;
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => {
                            return Err(SessionError::Final(super::KafkaError::EngineGone));
                        }
                    }
                }
                if missing > 0 {
                    CommitPhase::Draining { answers, missing, states }
                } else if tools.config.delivery == Delivery::ExactlyOnce {
                    store(tools, &states, &points);
                    CommitPhase::Storing
                } else {
                    CommitPhase::Publishing { states }
                }
            }
            CommitPhase::Publishing { states } if settled(Batch::Published(turn))? => {
                store(tools, &states, &points);
                CommitPhase::Storing
            }
            storing @ CommitPhase::Storing if !tools.watch.is_over(look) => {
                if begun.elapsed() > COMMIT_PATIENCE {
                    return Err(SessionError::retry(
                        "the cluster does not say which topics it has",
                    ));
                }
                storing
            }
            // The transaction itself waits for what is not acknowledged.
            CommitPhase::Storing if tools.config.delivery == Delivery::ExactlyOnce => {
                commit_transaction(tools, &covered)?;
                return Ok(Progress::Done(covered, begun));
            }
            waiting @ CommitPhase::Waiting(since) if since.elapsed() < COMMIT_PAUSE => waiting,
            CommitPhase::Storing | CommitPhase::Waiting(_) if settled(Batch::States)? => {
                match tools.consumer.commit(&positions(&covered)?, CommitMode::Sync) {
                    Ok(()) => return Ok(Progress::Done(covered, begun)),
                    // It moves, or loads what it knows of groups. Whether we are still in ours is
                    // part of the next answer.
                    Err(error) if client::passes_commit(&error, tools.config.cooperative) => {
                        debug!(%error, "the commit has to wait");
                        if begun.elapsed() > COMMIT_PATIENCE {
                            return Err(SessionError::retry(format_args!(
                                "commit offsets: {error}"
                            )));
                        }
                        CommitPhase::Waiting(Stopwatch::start())
                    }
                    Err(error) => {
                        return Err(SessionError::retry(format_args!("commit offsets: {error}")));
                    }
                }
            }
            waiting @ (CommitPhase::Publishing { .. }
            | CommitPhase::Storing
            | CommitPhase::Waiting(_)) => waiting,
        };
        settled(Batch::States)?;
        Ok(Progress::UnderWay(Self { covered, points, turn, look, phase, begun, _resumes }))
    }
}

fn store(tools: &Tools<'_>, states: &[StoredState], points: &[(PartitionId, Point)]) {
    for state in states {
        if let Some(place) = tools.publisher.state_place(state) {
            let point = points.iter().find(|(id, _)| Some(*id) == state.partition);
            let point = point.map(|(_, point)| *point);
            // A symbol that is gone gets a tombstone, stored with the states of the same records.
            tools.publisher.state(&state.symbol, &place, state.bytes.as_deref(), point);
        }
    }
}

/// Commits forecasts, states and offsets together, and begins the next transaction. Any failure
/// leaves the outcome open: the session ends, and the next one's producer fences this one's off.
fn commit_transaction(tools: &Tools<'_>, covered: &[Reading]) -> Result<(), SessionError> {
    let producer = tools.publisher.producer();
    let limit = tools.config.transaction_timeout.min(TRANSACTION_PATIENCE);
    let group = tools
        .consumer
        .group_metadata()
        .ok_or_else(|| SessionError::retry("the consumer is in no group"))?;
    producer
        .send_offsets_to_transaction(&positions(covered)?, &group, limit)
        .map_err(SessionError::while_doing("add offsets to the transaction"))?;
    producer
        .commit_transaction(limit)
        .map_err(SessionError::while_doing("commit the transaction"))?;
    producer.begin_transaction().map_err(SessionError::while_doing("begin a transaction"))
}

fn positions(covered: &[Reading]) -> Result<TopicPartitionList, SessionError> {
    let mut positions = TopicPartitionList::with_capacity(covered.len());
    for Reading { name, next, mark, .. } in covered {
        // The offset of the record to come: the one addition of 1 was made on delivery.
        positions
            .add_partition_offset(&name.topic, name.number, Offset::Offset(*next))
            .map_err(SessionError::while_doing("name a position"))?;
        if let Some(mut position) = positions.find_partition(&name.topic, name.number) {
            position.set_metadata(mark.text());
        }
    }
    Ok(positions)
}
