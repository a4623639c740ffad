//! From a line in the stream to a committed offset.
//!
//! Owns the order of a commit: forecasts acknowledged, then states stored and acknowledged,
//! then the offsets committed; or all of them in one transaction. Promises that no offset is
//! committed beyond work that is done (I5), nor in a log that is not the one that was read. While
//! a commit is under way records go on flowing. With transactions, what comes behind the line
//! belongs to the next one, and the shards wait until the forecasts before the line are
//! acknowledged: each topic then has those of a symbol in their order. Never polls the consumer,
//! and asks the cluster through [`Cluster`] alone, so that the order of steps can be driven without
//! clients.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::SessionError;
use super::client::GroupConsumer;
use super::partitions::Reading;
use super::publisher::{Batch, KafkaPublisher, Turn};
use super::start::Point;
use super::topic_watch::{Look, TopicWatch};
use super::transaction::{self, Call};
use crate::adapters::kafka_config::{Delivery, KafkaConfig};
use crate::core::domain::PartitionId;
use crate::engine::pipeline::StoredState;
use crate::intake::IntakeSender;
use crate::ops::clock::Stopwatch;
use crate::shard::command::{Command, CommitLine, Takes};

/// How long a commit may take that waits for the coordinator of the group.
pub(super) const COMMIT_PATIENCE: Duration = Duration::from_secs(60);

/// How many states are sent between two looks at the input.
const STATES_AT_ONCE: usize = 64;

/// How long each call that commits a transaction may take. Where the broker that coordinated the
/// group has left the cluster, librdkafka 2.12 waits for it until the call is over, although the
/// group has another coordinator by then: only a new producer asks which. Within this time a
/// coordinator moves.
const TRANSACTION_PATIENCE: Duration = Duration::from_secs(15);

/// The wait before it is asked again.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// What a commit asks of the cluster.
pub trait Cluster {
    /// Whether everything of a batch is acknowledged.
    ///
    /// # Errors
    /// Where a record of this session was refused.
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError>;

    /// Sends a state to its changelog, or the end of it, with the forecasts of a turn. The point
    /// says up to where it reaches.
    fn store(&self, turn: Turn, state: &StoredState, point: Option<Point>);

    /// Whether a look at the topics is over.
    fn is_over(&self, look: Look) -> bool;

    /// The wait before a commit is asked for again.
    fn pause(&self) -> Duration {
        COMMIT_PAUSE
    }

    /// Asks for offsets to be committed; [`Cluster::answer`] has what came of it.
    ///
    /// # Errors
    /// Where they will not be committed.
    fn commit(&self, covered: &[Reading]) -> Result<(), SessionError>;

    /// Asks for the forecasts and states of a turn, which are acknowledged, and offsets to be
    /// committed together, and for the next transaction of the turn to begin.
    ///
    /// # Errors
    /// Where they will not be committed.
    fn commit_transaction(&self, turn: Turn, covered: &[Reading]) -> Result<(), SessionError>;

    /// What came of the commit that was asked for; `None` while that is open.
    ///
    /// # Errors
    /// Where it failed. The outcome of a transaction is then open: the session ends, and the next
    /// one's producers fence this one's off.
    fn answer(&self) -> Result<Option<Answer>, SessionError>;
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Committed,
    /// The coordinator of the group has to be asked again.
    AskAgain,
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
    /// Lets the shards go on when they are dropped, whatever happened.
    resumes: Vec<Sender<()>>,
}

enum CommitPhase {
    /// Shards publish what came before the line, and hand over what has changed.
    Draining { answers: Receiver<Vec<StoredState>>, missing: usize, states: Vec<StoredState> },
    /// The broker has still to acknowledge forecasts from before the line.
    Publishing { states: Vec<StoredState> },
    /// States are sent, the broker has still to acknowledge them, with a transaction the forecasts
    /// as well, or it has to say which log was read.
    Storing { left: std::vec::IntoIter<StoredState> },
    /// The cluster was asked to commit.
    Committing,
    /// The coordinator of the group was not to be had for the commit, this long ago.
    Waiting(Stopwatch),
}

/// What a commit needs besides itself.
pub(super) struct Tools<'s> {
    pub(super) config: &'s KafkaConfig,
    pub(super) consumer: &'s Arc<GroupConsumer>,
    pub(super) publisher: &'s KafkaPublisher,
    pub(super) watch: &'s TopicWatch,
    /// The call that commits, while there is no answer.
    pub(super) call: &'s RefCell<Option<Call<Answer>>>,
}

/// What a commit covers.
pub struct Covers {
    /// The positions to commit.
    pub positions: Vec<Reading>,
    /// Up to where the states reach, of every partition that is read.
    pub points: Vec<(PartitionId, Point)>,
    /// The look at the topics that has to be over before.
    pub look: Look,
    /// Which states are stored. Without any the positions say up to where the stored ones reach.
    pub takes: Takes,
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
        let Covers { positions: covered, points, look, takes } = covers;
        let (answer, answers) = channel();
        let mut resumes = Vec::new();
        for shard in shards {
            let resume = (delivery == Delivery::ExactlyOnce).then(|| {
                let (resume, resumed) = channel();
                resumes.push(resume);
                resumed
            });
            let line = CommitLine { answer: answer.clone(), resume, takes };
            shard
                .command(Command::Commit(line))
                .map_err(|_| SessionError::Final(super::KafkaError::EngineGone))?;
        }
        let missing = shards.len();
        let phase = CommitPhase::Draining { answers, missing, states: Vec::new() };
        let begun = Stopwatch::start();
        let drain = Duration::ZERO;
        Ok(Self { delivery, covered, points, turn, look, phase, begun, drain, resumes })
    }

    /// Whether there is more to do at once, which no answer is needed for.
    pub(super) fn has_more(&self) -> bool {
        matches!(&self.phase, CommitPhase::Storing { left } if left.len() > 0)
    }

    /// Goes as far as is possible without waiting, but for states: of those it sends a part, so
    /// that records are read in between.
    ///
    /// # Errors
    /// Where the session cannot go on.
    pub fn step(mut self, cluster: &dyn Cluster) -> Result<Progress, SessionError> {
        loop {
            let (phase, moved) = match self.advance(cluster)? {
                Advance::Done => {
                    let took = Took { drain: self.drain, whole: self.begun.elapsed() };
                    return Ok(Progress::Done(self.covered, took));
                }
                Advance::To(phase) => (phase, true),
                Advance::Stays(phase) => (phase, false),
            };
            self.phase = phase;
            if !moved {
                // A state that was refused ends the session at once.
                cluster.is_settled(Batch::States)?;
                return Ok(Progress::UnderWay(self));
            }
        }
    }

    /// Goes one step further, where that is possible.
    fn advance(&mut self, cluster: &dyn Cluster) -> Result<Advance, SessionError> {
        let settled = |batch| cluster.is_settled(batch);
        let is_late = self.begun.elapsed() > COMMIT_PATIENCE;
        // What replaces it is never seen: each arm says which phase follows.
        Ok(match std::mem::replace(&mut self.phase, CommitPhase::Committing) {
            CommitPhase::Draining { answers, mut missing, mut states } => {
                while missing > 0 {
                    match answers.try_recv() {
                        Ok(changed) => {
                            states.extend(changed);
                            missing -= 1;
                            self.drain = self.begun.elapsed();
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => {
                            return Err(SessionError::Final(super::KafkaError::EngineGone));
                        }
                    }
                }
                if missing > 0 {
                    Advance::Stays(CommitPhase::Draining { answers, missing, states })
                } else if self.delivery == Delivery::ExactlyOnce {
                    Advance::To(CommitPhase::Storing { left: states.into_iter() })
                } else {
                    Advance::To(CommitPhase::Publishing { states })
                }
            }
            CommitPhase::Publishing { states } => {
                if settled(Batch::Published(self.turn))? {
                    Advance::To(CommitPhase::Storing { left: states.into_iter() })
                } else {
                    Advance::Stays(CommitPhase::Publishing { states })
                }
            }
            CommitPhase::Storing { mut left } => {
                self.store(cluster, left.by_ref().take(STATES_AT_ONCE));
                let mut is_settled = settled(Batch::States)?;
                if self.delivery == Delivery::ExactlyOnce {
                    let is_published = settled(Batch::Published(self.turn))?;
                    if is_published {
                        // What the shards publish from here on comes behind what is acknowledged.
                        self.resumes.clear();
                    }
                    is_settled &= is_published;
                }
                let is_known = cluster.is_over(self.look);
                if is_settled && is_known && left.len() == 0 {
                    self.ask(cluster)?;
                    Advance::To(CommitPhase::Committing)
                } else if is_late && !is_known {
                    return Err(SessionError::retry(
                        "the cluster does not say which topics it has",
                    ));
                } else {
                    Advance::Stays(CommitPhase::Storing { left })
                }
            }
            CommitPhase::Committing => match cluster.answer()? {
                None => Advance::Stays(CommitPhase::Committing),
                Some(Answer::Committed) => Advance::Done,
                Some(Answer::AskAgain) if is_late => {
                    return Err(SessionError::retry(
                        "the coordinator of the group does not take the commit",
                    ));
                }
                Some(Answer::AskAgain) => Advance::To(CommitPhase::Waiting(Stopwatch::start())),
            },
            CommitPhase::Waiting(since) => {
                if since.elapsed() < cluster.pause() {
                    Advance::Stays(CommitPhase::Waiting(since))
                } else {
                    self.ask(cluster)?;
                    Advance::To(CommitPhase::Committing)
                }
            }
        })
    }

    fn ask(&self, cluster: &dyn Cluster) -> Result<(), SessionError> {
        match self.delivery {
            Delivery::AtLeastOnce => cluster.commit(&self.covered),
            Delivery::ExactlyOnce => cluster.commit_transaction(self.turn, &self.covered),
        }
    }

    fn store(&self, cluster: &dyn Cluster, states: impl Iterator<Item = StoredState>) {
        for state in states {
            let point = self.points.iter().find(|(id, _)| Some(*id) == state.partition);
            // A symbol that is gone gets a tombstone, stored with the states of the same records.
            cluster.store(self.turn, &state, point.map(|(_, point)| point.behind(state.offset)));
        }
    }
}

/// One step of a commit.
enum Advance {
    /// Into another phase.
    To(CommitPhase),
    /// Nothing moves for now.
    Stays(CommitPhase),
    /// The positions are committed.
    Done,
}

impl Cluster for Tools<'_> {
    fn is_settled(&self, batch: Batch) -> Result<bool, SessionError> {
        self.publisher.outstanding().is_settled(batch).map_err(SessionError::Retry)
    }

    fn store(&self, turn: Turn, state: &StoredState, point: Option<Point>) {
        if let Some(place) = self.publisher.state_place(state) {
            self.publisher.state(turn, &state.key(), &place, state.bytes.as_deref(), point);
        }
    }

    fn is_over(&self, look: Look) -> bool {
        self.watch.is_over(look)
    }

    fn commit(&self, covered: &[Reading]) -> Result<(), SessionError> {
        let Self { config, consumer, publisher, .. } = self;
        let hanging = &publisher.metrics().hanging_calls;
        let positions = positions(covered)?;
        let call = transaction::commit_offsets(consumer, hanging, positions, config.cooperative)?;
        *self.call.borrow_mut() = Some(call);
        Ok(())
    }

    fn commit_transaction(&self, turn: Turn, covered: &[Reading]) -> Result<(), SessionError> {
        let limit = self.config.transaction_timeout.min(TRANSACTION_PATIENCE);
        let group = self
            .consumer
            .group_metadata()
            .ok_or_else(|| SessionError::retry("the consumer is in no group"))?;
        let call = transaction::commit(self.publisher, turn, positions(covered)?, group, limit)?;
        *self.call.borrow_mut() = Some(call);
        Ok(())
    }

    fn answer(&self) -> Result<Option<Answer>, SessionError> {
        let mut call = self.call.borrow_mut();
        let answer = call.as_mut().and_then(Call::answer);
        if answer.is_some() {
            *call = None;
        }
        answer.transpose()
    }
}

fn positions(covered: &[Reading]) -> Result<TopicPartitionList, SessionError> {
    let mut positions = TopicPartitionList::with_capacity(covered.len());
    for reading in covered {
        let (name, Point { next, mark }) = (&reading.name, reading.position());
        // The offset of the record to come: the one addition of 1 was made on delivery.
        positions
            .add_partition_offset(&name.topic, name.number, Offset::Offset(next))
            .map_err(SessionError::while_doing("name a position"))?;
        if let Some(mut position) = positions.find_partition(&name.topic, name.number) {
            position.set_metadata(mark.text());
        }
    }
    Ok(positions)
}

#[cfg(test)]
mod tests;
