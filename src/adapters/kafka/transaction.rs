//! Calls of the client library about a transaction, none of which holds its caller for longer than
//! its limit.
//!
//! Owns the threads that make them. Where a coordinator goes away,
//! `send_offsets_to_transaction` of librdkafka 2.12 sometimes never returns, whatever limit it is
//! given. Its thread is then left behind with the producer, which the next session fences off.
//! Promises that each thread that is left behind is counted while it hangs. Never tries again:
//! a failure ends the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use prometheus::IntGauge;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::producer::Producer as _;

use super::SessionError;
use super::publisher::KafkaPublisher;

/// How much longer than its own limit the client may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// Begins with transactions: fences off earlier users of our transactional id, and aborts what
/// it left open.
///
/// # Errors
/// Where the cluster refuses, or the client does not answer in time.
pub(super) fn begin(publisher: &KafkaPublisher, limit: Duration) -> Result<(), SessionError> {
    let hanging = &publisher.metrics().hanging_calls;
    let publisher = publisher.clone();
    within(limit + CLIENT_PATIENCE, hanging, move || {
        let producer = publisher.producer();
        producer
            .init_transactions(limit)
            .and_then(|()| producer.begin_transaction())
            .map_err(SessionError::while_doing("begin with transactions"))
    })
}

/// Commits what was published since the last time, with offsets, and begins the next transaction.
///
/// # Errors
/// As [`begin`]. The outcome is then open.
pub(super) fn commit(
    publisher: &KafkaPublisher,
    positions: TopicPartitionList,
    group: ConsumerGroupMetadata,
    limit: Duration,
) -> Result<(), SessionError> {
    let hanging = &publisher.metrics().hanging_calls;
    let publisher = publisher.clone();
    within(limit + CLIENT_PATIENCE, hanging, move || {
        let producer = publisher.producer();
        producer
            .send_offsets_to_transaction(&positions, &group, limit)
            .map_err(SessionError::while_doing("add offsets to the transaction"))?;
        producer
            .commit_transaction(limit)
            .map_err(SessionError::while_doing("commit the transaction"))?;
        producer.begin_transaction().map_err(SessionError::while_doing("begin a transaction"))
    })
}

/// Waits for calls of the client no longer than `limit`, and counts those that hang.
fn within(
    limit: Duration,
    hanging: &IntGauge,
    calls: impl FnOnce() -> Result<(), SessionError> + Send + 'static,
) -> Result<(), SessionError> {
    let (answer, answered) = sync_channel(1);
    // Whether the other side has left: the caller, or the thread.
    let left = Arc::new(AtomicBool::new(false));
    let (thread_left, thread_hanging) = (Arc::clone(&left), hanging.clone());
    std::thread::Builder::new()
        .name("transaction".to_owned())
        .spawn(move || {
            // There is no receiver once the limit has passed.
            drop(answer.send(calls()));
            if thread_left.swap(true, Ordering::AcqRel) {
                thread_hanging.dec();
            }
        })
        .map_err(SessionError::while_doing("start a thread for the transaction"))?;
    answered.recv_timeout(limit).unwrap_or_else(|_| {
        hanging.inc();
        if left.swap(true, Ordering::AcqRel) {
            // It ended just now.
            hanging.dec();
        }
        let seconds = limit.as_secs();
        Err(SessionError::retry(format_args!(
            "the Kafka client has not answered for {seconds} s in a transaction"
        )))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::*;
    use crate::ops::clock::{Stopwatch, pause};

    /// Longer than any test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn retry(ended: Result<(), SessionError>) -> String {
        let Err(SessionError::Retry(why)) = ended else { panic!("a new session may succeed") };
        why
    }

    #[test]
    fn a_call_of_the_client_that_never_returns_is_left_behind_and_the_caller_goes_on() {
        let hanging = IntGauge::new("hanging", "calls").unwrap();
        let (begun, has_begun) = channel();
        let (hold, held) = channel::<()>();
        let limit = Duration::from_millis(1500);
        let hung = within(limit, &hanging, move || {
            begun.send(()).unwrap();
            // Without a limit the caller would see that this succeeds.
            let _ = held.recv_timeout(PATIENCE);
            Ok(())
        });
        let why = "the Kafka client has not answered for 1 s in a transaction";
        assert_eq!(retry(hung), why);
        assert_eq!(hanging.get(), 1);
        assert_eq!(has_begun.try_recv(), Ok(()), "the call was made");
        // It hangs still, and the next session's calls do not wait for it.
        assert!(within(PATIENCE, &hanging, || Ok(())).is_ok());
        let refused = within(PATIENCE, &hanging, || Err(SessionError::retry("fenced")));
        assert_eq!(retry(refused), "fenced");
        assert_eq!(has_begun.try_recv(), Err(TryRecvError::Empty), "its thread holds the channel");
        assert_eq!(hanging.get(), 1, "one that returns in time does not count");
        drop(hold);
        // Its answer comes too late for any caller, and its thread ends.
        assert!(has_begun.recv_timeout(PATIENCE).is_err());
        let begun = Stopwatch::start();
        while hanging.get() != 0 {
            assert!(begun.elapsed() < PATIENCE, "its thread has ended");
            pause(Duration::from_millis(1));
        }
    }
}
