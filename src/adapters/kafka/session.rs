//! One life of all clients: from connecting to a stop, or to a failure that ends it.
//!
//! Owns the consumer, the producer, the assignment and the commit under way. Promises that the
//! consumer is made, polled and dropped on one thread; that it is polled even while the shards are
//! full, so that the group does not expel it; and that a partition is given away only after its
//! work is committed. Never recovers by itself: a failure is returned, and a new session begins.
//!
//! This file owns the beginning, the end and the loop between them. What the loop does is in
//! `poll` (records), `assign` (rebalances), `take_over` (stored states), `warm` (history),
//! `commits`, and `look` (topics that change).

mod assign;
mod commits;
mod look;
mod poll;
mod take_over;
mod warm;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::assignment::Assignment;
use super::client::{self, GroupConsumer, Observer, Prepared, Rebalance, opening};
use super::commit::{Answer, Commit};
use super::pace::Pace;
use super::partitions::{Assigned, Kept, PartitionName, PartitionTable, shard_of};
use super::publisher::{KafkaPublisher, Outstanding, Producer, ProducerEvents, Producers, Turn};
use super::restores::Restores;
use super::standby::Standby;
use super::topic_watch::TopicWatch;
use super::topics::{self, InputTopic, Shape};
use super::transaction::{self, Call};
use super::{KafkaError, KafkaSource, SessionError, restore};
use crate::adapters::kafka_config::Delivery;
use crate::core::domain::PartitionId;
use crate::intake::{IntakeClosed, IntakeSender, Record};
use crate::ops::clock::Stopwatch;
use crate::shard::command::Command;

pub use self::poll::hand_over;

/// How long the thread waits between two looks at a commit, which is then the next thing to look
/// after.
const COMMIT_POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// How long all shards together may take for a command, behind whatever is in their queues.
pub(super) const SHARD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what is asked between two polls may take in all, but for restoring.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(180);

/// How often the clients that nobody polls otherwise are looked after.
const SERVE_EVERY: Duration = Duration::from_secs(1);

/// How often the consumer of the group gets a chance to send a heartbeat.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// How a session ended well.
pub(super) enum Ended {
    /// It was asked to; everything read is published and committed.
    Stopped,
}

/// A change of the topics that the session goes along with.
enum Change {
    /// An input has more partitions.
    Grown(String),
    /// The changelog of the input at this place is gone, or is another one.
    ChangelogGone(usize),
}

/// A record that was read and that no shard has.
struct Held {
    record: Record,
    since: Stopwatch,
    /// All partitions are paused meanwhile. Otherwise the consumer is not polled.
    is_paused: bool,
}

pub(super) struct Session<'s> {
    source: &'s KafkaSource,
    stop: &'s watch::Receiver<bool>,
    observer: Arc<Observer>,
    /// Reads states, on a thread of its own while partitions are taken over.
    reader: Arc<Observer>,
    /// A call that commits offsets has it as well, for as long as it takes.
    consumer: Arc<GroupConsumer>,
    publisher: KafkaPublisher,
    table: PartitionTable,
    inputs: Vec<InputTopic>,
    watch: TopicWatch,
    /// What the look at the topics has found, to be acted on between two polls.
    changes: Vec<Change>,
    /// Copies of the states of partitions that others read.
    standby: Option<Standby>,
    assigned: Assigned,
    /// What the group has decided and is still to be done.
    decided: VecDeque<Rebalance>,
    /// The partitions that are being taken over.
    assignment: Option<Assignment>,
    /// Their states on the way to the shards, once they are known.
    restores: Option<Restores>,
    /// Partitions whose states the shards still hold, until the group has said who reads them.
    kept: Kept,
    /// A record that its shard or the open transaction has no room for.
    held: Option<Held>,
    /// How many records a transaction takes; `None` without transactions.
    pace: Option<&'s mut Pace>,
    commit: Option<Commit>,
    /// The call that commits, while there is no answer.
    call: RefCell<Option<Call<Answer>>>,
    /// Whether a commit is due however long ago the last one was.
    is_due: bool,
    /// Whether the next commit stores every state.
    is_whole: bool,
    /// Whether readiness waits for the commit of what was taken over.
    awaits_first: bool,
    /// Since the last commit began.
    idle: Stopwatch,
    /// Since the one before it began: as old as the oldest record of the commit under way.
    opened: Stopwatch,
    /// Since the last commit began that stores states.
    stored: Stopwatch,
    /// Whether the next commit stores the states that have changed, however long ago that was.
    stores_states: bool,
    /// Since the group gave partitions out that are being taken over.
    assigning: Stopwatch,
    /// Whether a partition that is being taken over was warmed, or was to be.
    is_warmed: bool,
    /// Since a record came, or there was no need for one.
    moved: Stopwatch,
    /// What the probe was told last; `None` before the first assignment.
    shown_cut_off: Option<bool>,
    /// Since the clients that are not polled otherwise were looked after.
    served: Stopwatch,
    /// Since the consumer of the group was woken.
    woken: Stopwatch,
    flowed: bool,
}

/// Has every shard forget everything, after a session. Each is behind what is in its queue, however
/// long that takes; `waits` is called while it lasts, and the supervisor watches the shards.
pub(super) fn clear(
    shards: &[IntakeSender<Command>],
    mut waits: impl FnMut(),
) -> Result<(), IntakeClosed> {
    let (answer, answers) = channel();
    for shard in shards {
        shard.command(Command::Clear { answer: answer.clone() })?;
    }
    // A shard that ends without an answer is noticed at once.
    drop(answer);
    for _ in shards {
        loop {
            match answers.recv_timeout(SERVE_EVERY) {
                Ok(()) => break,
                Err(RecvTimeoutError::Timeout) => waits(),
                Err(RecvTimeoutError::Disconnected) => return Err(IntakeClosed),
            }
        }
    }
    Ok(())
}

fn engine_gone<E>(_: E) -> SessionError {
    SessionError::Final(KafkaError::EngineGone)
}

/// Makes the producers.
fn make_publisher(
    source: &KafkaSource,
    table: &PartitionTable,
) -> Result<KafkaPublisher, SessionError> {
    let KafkaSource { config, metrics, .. } = source;
    let outstanding = Arc::new(Outstanding::default());
    let producer = |turn| {
        let Prepared { options, token } = client::producer_options(config, turn)?;
        let events = ProducerEvents::new(Arc::clone(&outstanding), metrics.clone(), token);
        options.create_with_context::<_, Producer>(events)
    };
    let make = |turn| producer(turn).map_err(opening("make the producer"));
    let second = match config.delivery {
        Delivery::AtLeastOnce => None,
        Delivery::ExactlyOnce => Some(make(Turn::Odd)?),
    };
    let producers = Producers { first: make(Turn::Even)?, second };
    let (table, config, metrics) = (table.clone(), config.clone(), metrics.clone());
    Ok(KafkaPublisher::new(producers, outstanding, table, config, metrics))
}

/// Has the reader find whom it reads from while the group is joined.
fn find_leaders(
    reader: Arc<Observer>,
    table: &PartitionTable,
    inputs: &[InputTopic],
) -> Result<(), SessionError> {
    let mut names = Vec::new();
    for (_, PartitionName { topic, number }) in table.iter() {
        let input = inputs.iter().find(|input| *input.name == **topic);
        names.extend(input.map(|input| (input.changelog.clone(), *number)));
        names.push((topic.to_string(), *number));
    }
    std::thread::Builder::new()
        .name("leaders".to_owned())
        .spawn(move || {
            let names: Vec<_> = names.iter().map(|(topic, number)| (&**topic, *number)).collect();
            restore::find_leaders(&reader, &names);
        })
        .map(drop)
        .map_err(SessionError::while_doing("start a thread that looks for leaders"))
}

impl Held {
    fn new(record: Record) -> Self {
        Self { record, since: Stopwatch::start(), is_paused: false }
    }
}

impl<'s> Session<'s> {
    /// Connects everything.
    pub(super) fn open(
        source: &'s KafkaSource,
        stop: &'s watch::Receiver<bool>,
        pace: Option<&'s mut Pace>,
    ) -> Result<Self, SessionError> {
        let config = &source.config;
        let observer = Arc::new(client::observer(config).map_err(opening("make a client"))?);
        let Shape { table, inputs, is_blind } =
            topics::prepare(config, &observer, &source.runtime)?;
        let reader =
            client::restoring_consumer(config).map_err(opening("make the restoring consumer"))?;
        let publisher = make_publisher(source, &table)?;
        if config.delivery == Delivery::ExactlyOnce {
            transaction::begin(&publisher, config.transaction_timeout)?;
        }
        let bound = pace.as_ref().map_or(0, |pace| pace.bound());
        source.metrics.paced(bound);
        for shard in &source.shards {
            let sink = Box::new(publisher.clone());
            shard.command(Command::Connect(sink)).map_err(engine_gone)?;
        }
        let consumer = client::group_consumer(config).map_err(opening("make the consumer"))?;
        let topics: Vec<_> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(opening("subscribe"))?;
        source.ready.not_ready("joining the group");
        let reader = Arc::new(reader);
        find_leaders(Arc::clone(&reader), &table, &inputs)?;
        let watched = inputs.iter().map(|input| input.name.clone());
        let watched = watched.chain(inputs.iter().map(|input| input.changelog.clone())).collect();
        let watch = TopicWatch::new(Arc::clone(&observer), watched, is_blind);
        let standby = match config.standby_replicas {
            0 => None,
            _ => Some(Standby::start(config, &source.metrics)?),
        };
        info!(brokers = config.brokers, group = config.group, ?topics, "connected to Kafka");
        Ok(Self {
            source,
            stop,
            observer,
            reader,
            consumer: Arc::new(consumer),
            publisher,
            table,
            inputs,
            watch,
            changes: Vec::new(),
            standby,
            assigned: Assigned::default(),
            decided: VecDeque::new(),
            assignment: None,
            restores: None,
            kept: Kept::default(),
            held: None,
            pace,
            commit: None,
            call: RefCell::new(None),
            is_due: false,
            is_whole: false,
            awaits_first: false,
            idle: Stopwatch::start(),
            opened: Stopwatch::start(),
            stored: Stopwatch::start(),
            stores_states: false,
            assigning: Stopwatch::start(),
            is_warmed: false,
            moved: Stopwatch::start(),
            shown_cut_off: None,
            served: Stopwatch::start(),
            woken: Stopwatch::start(),
            flowed: false,
        })
    }

    /// Whether a commit was committed: the session has proved itself.
    pub(super) fn has_flowed(&self) -> bool {
        self.flowed
    }

    /// Has the next session begin with smaller transactions, and says where one took too long.
    pub(super) fn note_failure(&mut self) {
        let Some(pace) = &mut self.pace else { return };
        let open = if pace.is_committing() { self.opened } else { self.idle };
        let Some(overrun) = pace.failed(open.elapsed()) else { return };
        warn!(
            records = overrun.records,
            open_seconds = overrun.open.as_secs(),
            transaction_timeout_ms = overrun.timeout.as_millis(),
            next_records_max = overrun.bound,
            "{}",
            overrun.advice()
        );
    }

    /// Ends the clients, on the thread that made them.
    pub(super) fn close(self) {
        // Shards that wait for room in the producer's queue must not wait any longer.
        self.publisher.outstanding().end();
        if self.source.config.delivery == Delivery::AtLeastOnce
            && let Some(call) = self.call.take()
        {
            // It has the consumer as well, which this thread drops.
            drop(call.wait());
        }
        self.consumer.context().close();
        // A revocation that was taken down and not answered would keep the consumer from closing
        // for ever.
        if let Err(error) = client::give_all_back(&self.consumer) {
            debug!(%error, "cannot give the partitions back while closing");
        }
        // A member that stays the same over restarts says no goodbye: it is waited for until its
        // session times out.
        if !self.source.config.static_membership {
            self.consumer.unsubscribe();
        }
    }

    /// Runs until it is asked to stop or something fails.
    pub(super) fn run(&mut self) -> Result<Ended, SessionError> {
        loop {
            if *self.stop.borrow() {
                self.held = None;
                self.give_up_restores()?;
                self.commit_now()?;
                return Ok(Ended::Stopped);
            }
            self.source.pulse.work();
            self.retry_held()?;
            self.poll()?;
            // What follows asks the cluster, and each request has a limit of its own.
            self.source.pulse.wait(CLUSTER_PATIENCE);
            self.rebalance()?;
            self.look()?;
            if self.assignment.is_none() {
                // What is being taken over is part of what a change is about.
                self.act_on_changes()?;
            }
            self.advance_commit()?;
            self.serve_others();
            self.show_connection();
            self.watch_for_stall()?;
        }
    }

    /// Looks after the clients that are asked now and then: their tokens expire as well.
    fn serve_others(&mut self) {
        if self.woken.elapsed() > WAKE_EVERY {
            self.woken = Stopwatch::start();
            client::wake(&self.consumer);
        }
        if self.served.elapsed() > SERVE_EVERY {
            self.served = Stopwatch::start();
            client::serve(&self.observer);
            if self.assignment.is_none() {
                client::serve(&self.reader);
            }
        }
    }

    /// Tells the probe whether any broker is connected.
    fn show_connection(&mut self) {
        if self.assignment.is_some() {
            // What is being taken over is what the probe is told of.
            return;
        }
        let cut_off = self.consumer.context().is_cut_off();
        if self.shown_cut_off.is_some_and(|shown| shown != cut_off) {
            self.shown_cut_off = Some(cut_off);
            if cut_off {
                warn!("no broker is connected; trying on");
                self.source.ready.not_ready("no broker is connected");
            } else {
                info!("a broker is connected again");
                self.source.ready.ready();
            }
        }
    }

    /// Ends a session that has records to read and does not get them.
    fn watch_for_stall(&mut self) -> Result<(), SessionError> {
        let lag = self.consumer.context().lag();
        self.source.metrics.lag.set(lag);
        if lag == 0 || self.assigned.iter().next().is_none() || self.assignment.is_some() {
            self.moved = Stopwatch::start();
        }
        let limit = self.source.config.stall_timeout;
        if self.moved.elapsed() > limit {
            return Err(SessionError::retry(format_args!(
                "no record came for {} s, with {lag} to read",
                limit.as_secs()
            )));
        }
        Ok(())
    }

    fn shard(&self, id: PartitionId) -> &IntakeSender<Command> {
        shard_of(&self.source.shards, id).1
    }
}

#[cfg(test)]
mod tests;
