//! From a line in the stream to a committed offset.
//!
//! Owns the order of a commit: forecasts acknowledged, then states stored and acknowledged,
//! then the offsets committed; or all of them in one transaction. Promises that no offset is
//! committed beyond work that is done (I5), nor in a log that is not the one that was read. While
//! a commit without a transaction is under way records go on flowing; with one, the shards wait
//! for it. Never polls the consumer, and asks the cluster through [`Cluster`] alone, so that the
//! order of steps can be driven without clients.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use super::SessionError;
use super::client::{self, GroupConsumer};
use super::partitions::Reading;
use super::publisher::{Batch, KafkaPublisher, Turn};
use super::start::Point;
use super::topic_watch::{Look, TopicWatch};
use super::transaction;
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

/// What a commit asks of the cluster.
pub trait Cluster {
    /// Whether everything of a batch is acknowledged.
    ///
    /// # Errors
    /// Where a record of this session was refused.
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError>;

    /// Sends a state to its changelog, or the end of it. The point says up to where it reaches.
    fn store(&self, state: &StoredState, point: Option<Point>);

    /// Whether a look at the topics is over.
    fn is_over(&self, look: Look) -> bool;

    /// The wait before a commit is asked for again.
    fn pause(&self) -> Duration {
        COMMIT_PAUSE
    }

    /// Commits offsets; `false` where the coordinator of the group has to be asked again.
    ///
    /// # Errors
    /// Where they will not be committed.
    fn commit(&self, covered: &[Reading]) -> Result<bool, SessionError>;

    /// Commits forecasts, states and offsets together, and begins the next transaction. Any failure
    /// leaves the outcome open: the session ends, and the next one's producer fences this one's
    /// off.
    ///
    /// # Errors
    /// Where it failed.
    fn commit_transaction(&self, covered: &[Reading]) -> Result<(), SessionError>;
}

/// A commit under way.
pub struct Commit {
    delivery: Delivery,
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
    /// How long the shards took up to the line, once the last one has answered.
    drain: Duration,
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
    pub(super) watch: &'s TopicWatch,
}

/// What a commit covers.
pub struct Covers {
    /// The positions to commit.
    pub positions: Vec<Reading>,
    /// Up to where the states reach, of every partition that is read.
    pub points: Vec<(PartitionId, Point)>,
    /// The look at the topics that has to be over before.
    pub look: Look,
    /// Whether every state is stored, and not only those that have changed.
    pub is_whole: bool,
}

/// How far one has come.
pub enum Progress {
    /// It waits for the shards or for the cluster.
    UnderWay(Commit),
    /// These positions are committed.
    Done(Vec<Reading>, Took),
}

/// How long a commit took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// The shards, up to the line.
    pub drain: Duration,
    /// From its beginning to its end.
    pub whole: Duration,
}

impl Commit {
    /// Draws the line behind everything that was handed to the shards.
    ///
    /// # Errors
    /// [`SessionError::Final`] where a shard is gone.
    pub fn begin(
        delivery: Delivery,
        shards: &[IntakeSender<Command>],
        covers: Covers,
        turn: Turn,
    ) -> Result<Self, SessionError> {
        let Covers { positions: covered, points, look, is_whole } = covers;
        let (answer, answers) = channel();
        let mut resumes = Vec::new();
        for shard in shards {
            let resume = (delivery == Delivery::ExactlyOnce).then(|| {
                let (resume, resumed) = channel();
                resumes.push(resume);
                resumed
            });
            let line = CommitLine { answer: answer.clone(), resume, is_whole };
            shard
                .command(Command::Commit(line))
                .map_err(|_| SessionError::Final(super::KafkaError::EngineGone))?;
        }
        let missing = shards.len();
        let phase = CommitPhase::Draining { answers, missing, states: Vec::new() };
        let begun = Stopwatch::start();
        let drain = Duration::ZERO;
        Ok(Self { delivery, covered, points, turn, look, phase, begun, drain, _resumes: resumes })
    }

    /// Goes as far as is possible without waiting; a transaction is committed in one go.
    ///
    /// # Errors
    /// Where the session cannot go on.
    pub fn step(self, cluster: &dyn Cluster) -> Result<Progress, SessionError> {
        let Self { delivery, covered, points, turn, look, phase, begun, mut drain, _resumes } =
            self;
        let settled = |batch| cluster.is_settled(batch);
        let phase = match phase {
            CommitPhase::Draining { answers, mut missing, mut states } => {
                while missing > 0 {
                    match answers.try_recv() {
                        Ok(changed) => {
                            states.extend(changed);
                            missing -= 1;
                            drain = begun.elapsed();
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => {
                            return Err(SessionError::Final(super::KafkaError::EngineGone));
                        }
                    }
                }
                if missing > 0 {
                    CommitPhase::Draining { answers, missing, states }
                } else if delivery == Delivery::ExactlyOnce {
                    store(cluster, &states, &points);
                    CommitPhase::Storing
                } else {
                    CommitPhase::Publishing { states }
                }
            }
            CommitPhase::Publishing { states } if settled(Batch::Published(turn))? => {
                store(cluster, &states, &points);
                CommitPhase::Storing
            }
            storing @ CommitPhase::Storing if !cluster.is_over(look) => {
                if begun.elapsed() > COMMIT_PATIENCE {
                    return Err(SessionError::retry(
                        "the cluster does not say which topics it has",
                    ));
                }
                storing
            }
            // The transaction itself waits for what is not acknowledged.
            CommitPhase::Storing if delivery == Delivery::ExactlyOnce => {
                cluster.commit_transaction(&covered)?;
                return Ok(Progress::Done(covered, Took { drain, whole: begun.elapsed() }));
            }
            waiting @ CommitPhase::Waiting(since) if since.elapsed() < cluster.pause() => waiting,
            CommitPhase::Storing | CommitPhase::Waiting(_) if settled(Batch::States)? => {
                if cluster.commit(&covered)? {
                    return Ok(Progress::Done(covered, Took { drain, whole: begun.elapsed() }));
                }
                if begun.elapsed() > COMMIT_PATIENCE {
                    return Err(SessionError::retry(
                        "the coordinator of the group does not take the commit",
                    ));
                }
                CommitPhase::Waiting(Stopwatch::start())
            }
            waiting @ (CommitPhase::Publishing { .. }
            | CommitPhase::Storing
            | CommitPhase::Waiting(_)) => waiting,
        };
        settled(Batch::States)?;
        Ok(Progress::UnderWay(Self {
            delivery,
            covered,
            points,
            turn,
            look,
            phase,
            begun,
            drain,
            _resumes,
        }))
    }
}

fn store(cluster: &dyn Cluster, states: &[StoredState], points: &[(PartitionId, Point)]) {
    for state in states {
        let point = points.iter().find(|(id, _)| Some(*id) == state.partition);
        // A symbol that is gone gets a tombstone, stored with the states of the same records.
        cluster.store(state, point.map(|(_, point)| point.behind(state.offset)));
    }
}

impl Cluster for Tools<'_> {
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError> {
        self.publisher.outstanding().is_settled(batch).map_err(SessionError::Retry)
    }

    fn store(&self, state: &StoredState, point: Option<Point>) {
        if let Some(place) = self.publisher.state_place(state) {
            self.publisher.state(&state.key(), &place, state.bytes.as_deref(), point);
        }
    }

    fn is_over(&self, look: Look) -> bool {
        self.watch.is_over(look)
    }

    fn commit(&self, covered: &[Reading]) -> Result<bool, SessionError> {
        match self.consumer.commit(&positions(covered)?, CommitMode::Sync) {
            Ok(()) => Ok(true),
            // It moves, or loads what it knows of groups. Whether we are still in ours is part of
            // the next answer.
            Err(error) if client::passes_commit(&error, self.config.cooperative) => {
                debug!(%error, "the commit has to wait");
                Ok(false)
            }
            Err(error) => Err(SessionError::retry(format_args!("commit offsets: {error}"))),
        }
    }

    fn commit_transaction(&self, covered: &[Reading]) -> Result<(), SessionError> {
        let limit = self.config.transaction_timeout;
        let group = self
            .consumer
            .group_metadata()
            .ok_or_else(|| SessionError::retry("the consumer is in no group"))?;
        transaction::commit(self.publisher, positions(covered)?, group, limit)
    }
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
