//! Calls of the client library that a commit makes, none of which holds its caller up.
//!
//! Owns the threads that make them. A call has a limit: where a coordinator goes away,
//! `send_offsets_to_transaction` of librdkafka 2.12 sometimes never returns, whatever limit it is
//! given. Its thread is then left behind with the producer, which the next session fences off.
//! Promises that each thread that is left behind is counted until it ends. Never tries again: the
//! owner of the commit decides that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use prometheus::IntGauge;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::producer::Producer as _;
use tracing::debug;

use super::SessionError;
use super::client::{self, GroupConsumer};
use super::commit::{Answer, COMMIT_PATIENCE};
use super::publisher::{KafkaPublisher, TURNS, Turn};
use crate::ops::clock::{Stopwatch, pause};

/// How much longer than its own limit the client may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// The wait between two looks at what the client has not settled yet: a few microseconds of work on
/// another thread.
const SETTLE_PAUSE: Duration = Duration::from_micros(100);

/// Calls of the client on a thread of their own.
pub(super) struct Call<T> {
    answered: Receiver<Result<T, SessionError>>,
    /// Whether the other side has left: the caller, or the thread.
    left: Arc<AtomicBool>,
    hanging: IntGauge,
    begun: Stopwatch,
    limit: Duration,
    is_over: bool,
}

impl<T: Send + 'static> Call<T> {
    fn begin(
        limit: Duration,
        hanging: &IntGauge,
        calls: impl FnOnce() -> Result<T, SessionError> + Send + 'static,
    ) -> Result<Self, SessionError> {
        let (answer, answered) = sync_channel(1);
        let left = Arc::new(AtomicBool::new(false));
        let (thread_left, thread_hanging) = (Arc::clone(&left), hanging.clone());
        std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                // There is no receiver once the caller has gone on without the answer.
                drop(answer.send(calls()));
                if thread_left.swap(true, Ordering::AcqRel) {
                    thread_hanging.dec();
                }
            })
            .map_err(SessionError::while_doing("start a thread for a commit"))?;
        let (begun, is_over) = (Stopwatch::start(), false);
        Ok(Self { answered, left, hanging: hanging.clone(), begun, limit, is_over })
    }

    /// The answer, once it is there; there is one when the limit has passed.
    pub(super) fn answer(&mut self) -> Option<Result<T, SessionError>> {
        match self.answered.try_recv() {
            Ok(answer) => {
                self.is_over = true;
                Some(answer)
            }
            Err(TryRecvError::Empty) if self.begun.elapsed() < self.limit => None,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Some(self.late()),
        }
    }

    /// Waits for the answer until the limit has passed.
    ///
    /// # Errors
    /// That of the call, or that it is late.
    pub(super) fn wait(mut self) -> Result<T, SessionError> {
        let left = self.limit.saturating_sub(self.begun.elapsed());
        match self.answered.recv_timeout(left) {
            Ok(answer) => {
                self.is_over = true;
                answer
            }
            Err(_) => self.late(),
        }
    }

    fn late(&self) -> Result<T, SessionError> {
        let seconds = self.limit.as_secs();
        Err(SessionError::retry(format_args!(
            "the Kafka client has not answered for {seconds} s in a commit"
        )))
    }
}

impl<T> Drop for Call<T> {
    /// Leaves a thread behind that has not answered, and counts it.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.hanging.inc();
        if self.left.swap(true, Ordering::AcqRel) {
            // It ended just now.
            self.hanging.dec();
        }
    }
}

/// Begins with transactions: fences off earlier users of our transactional ids, and aborts what
/// they left open.
///
/// # Errors
/// Where the cluster refuses, or the client does not answer in time.
pub(super) fn begin(publisher: &KafkaPublisher, limit: Duration) -> Result<(), SessionError> {
    let hanging = &publisher.metrics().hanging_calls;
    let calls = TURNS.map(|turn| {
        let publisher = publisher.clone();
        Call::begin(limit + CLIENT_PATIENCE, hanging, move || {
            let producer = publisher.producer(turn);
            producer
                .init_transactions(limit)
                .and_then(|()| producer.begin_transaction())
                .map_err(SessionError::while_doing("begin with transactions"))
        })
    });
    // Both are under way before either is waited for.
    for call in calls {
        call?.wait()?;
    }
    Ok(())
}

/// Commits the transaction of a turn with offsets, and begins the producer's next one. Its records
/// have to be acknowledged.
///
/// # Errors
/// Where no thread can be started. Where the call fails or is late, the outcome is open.
pub(super) fn commit(
    publisher: &KafkaPublisher,
    turn: Turn,
    positions: TopicPartitionList,
    group: ConsumerGroupMetadata,
    limit: Duration,
) -> Result<Call<Answer>, SessionError> {
    let hanging = &publisher.metrics().hanging_calls;
    let publisher = publisher.clone();
    Call::begin(limit + CLIENT_PATIENCE, hanging, move || {
        let producer = publisher.producer(turn);
        producer
            .send_offsets_to_transaction(&positions, &group, limit)
            .map_err(SessionError::while_doing("add offsets to the transaction"))?;
        // The wrapper waits for 100 ms where it finds a record that is not settled, because another
        // thread takes the events that it waits for. The last acknowledgments are counted a moment
        // before the client lets go of their records.
        let begun = Stopwatch::start();
        while producer.in_flight_count() > 0 && begun.elapsed() < limit {
            pause(SETTLE_PAUSE);
        }
        producer
            .commit_transaction(limit)
            .map_err(SessionError::while_doing("commit the transaction"))?;
        producer.begin_transaction().map_err(SessionError::while_doing("begin a transaction"))?;
        Ok(Answer::Committed)
    })
}

/// Commits offsets. The client's own way to do that without waiting gives no answer.
///
/// # Errors
/// Where no thread can be started.
pub(super) fn commit_offsets(
    consumer: &Arc<GroupConsumer>,
    hanging: &IntGauge,
    positions: TopicPartitionList,
    is_cooperative: bool,
) -> Result<Call<Answer>, SessionError> {
    let consumer = Arc::clone(consumer);
    Call::begin(COMMIT_PATIENCE, hanging, move || {
        match consumer.commit(&positions, CommitMode::Sync) {
            Ok(()) => Ok(Answer::Committed),
            // It moves, or loads what it knows of groups. Whether we are still in ours is part of
            // the next answer.
            Err(error) if client::passes_commit(&error, is_cooperative) => {
                debug!(%error, "the commit has to wait");
                Ok(Answer::AskAgain)
            }
            Err(error) => Err(SessionError::retry(format_args!("commit offsets: {error}"))),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::*;

    /// Longer than any test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn retry(ended: Result<(), SessionError>) -> String {
        let Err(SessionError::Retry(why)) = ended else { panic!("a new session may succeed") };
        why
    }

    /// Waits until no thread is left behind.
    fn await_none(hanging: &IntGauge) {
        let begun = Stopwatch::start();
        while hanging.get() != 0 {
            assert!(begun.elapsed() < PATIENCE, "its thread has ended");
            pause(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_call_of_the_client_that_never_returns_is_left_behind_and_the_caller_goes_on() {
        let hanging = IntGauge::new("hanging", "calls").unwrap();
        let (begun, has_begun) = channel();
        let (hold, held) = channel::<()>();
        let limit = Duration::from_millis(1500);
        let hung = Call::begin(limit, &hanging, move || {
            begun.send(()).unwrap();
            // Without a limit the caller would see that this succeeds.
            let _ = held.recv_timeout(PATIENCE);
            Ok(())
        });
        let why = "the Kafka client has not answered for 1 s in a commit";
        assert_eq!(retry(hung.unwrap().wait()), why);
        assert_eq!(hanging.get(), 1);
        assert_eq!(has_begun.try_recv(), Ok(()), "the call was made");
        // It hangs still, and the next session's calls do not wait for it.
        let call = |answer| Call::begin(PATIENCE, &hanging, move || answer).unwrap();
        assert!(call(Ok(())).wait().is_ok());
        assert_eq!(retry(call(Err(SessionError::retry("fenced"))).wait()), "fenced");
        assert_eq!(has_begun.try_recv(), Err(TryRecvError::Empty), "its thread holds the channel");
        assert_eq!(hanging.get(), 1, "one that returns in time does not count");
        drop(hold);
        await_none(&hanging);
        // Its answer comes too late for any caller, and its thread ends.
        assert!(has_begun.recv_timeout(PATIENCE).is_err());
    }

    #[test]
    fn a_call_is_asked_for_its_answer_without_waiting_and_may_be_left_behind() {
        let hanging = IntGauge::new("hanging", "calls").unwrap();
        let (hold, held) = channel::<()>();
        let begin = |held: Receiver<()>, limit| {
            Call::begin(limit, &hanging, move || {
                let _ = held.recv_timeout(PATIENCE);
                Ok(7)
            })
            .unwrap()
        };
        let mut call = begin(held, PATIENCE);
        assert!(call.answer().is_none(), "it is under way");
        drop(hold);
        let begun = Stopwatch::start();
        let answer = loop {
            if let Some(answer) = call.answer() {
                break answer;
            }
            assert!(begun.elapsed() < PATIENCE, "it has its answer");
            pause(Duration::from_millis(1));
        };
        assert_eq!(answer.unwrap(), 7);
        drop(call);
        assert_eq!(hanging.get(), 0, "an answered one is not left behind");
        let (hold, held) = channel::<()>();
        let mut late = begin(held, Duration::ZERO);
        assert!(late.answer().is_some_and(|answer| answer.is_err()), "its limit has passed");
        drop(late);
        assert_eq!(hanging.get(), 1);
        drop(hold);
        await_none(&hanging);
    }
}
