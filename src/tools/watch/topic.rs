//! A topic of forecasts.
//!
//! Owns the consumer's thread. Promises every committed record from the place asked for, in the
//! order of its partition, through the same bounded queue as a stream's; after a loss it goes on
//! with the record behind the last one. Never commits anything to a group.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::TopicTarget;
use super::client::{BACKOFF_MAX, ConnectError, Event};
use crate::adapters::kafka::{TailEvent, TopicTail};
use crate::core::decode::symbol_of;
use crate::net::backoff::Backoff;
use crate::ops::clock::{Stopwatch, pause_unless};

/// Delivers until nobody listens or the cluster is not found for `connect_max`. Blocks the calling
/// thread.
pub(super) fn follow(
    target: &TopicTarget,
    connect_max: Duration,
    seed: u64,
    events: &Sender<Event>,
) {
    let mut backoff = Backoff::new(BACKOFF_MAX, seed);
    let tail = match connect(target, connect_max, &mut backoff, events) {
        Ok(Some(tail)) => tail,
        Ok(None) => return,
        Err(error) => {
            // Nobody may listen any more, which ends this in any case.
            let _ = events.blocking_send(Event::Failed(error));
            return;
        }
    };
    if events.blocking_send(Event::Connected).is_err() {
        return;
    }
    let mut lost: Option<Stopwatch> = None;
    while !events.is_closed() {
        let event = match tail.next() {
            Ok(TailEvent::Record(record)) if is_wanted(target, &record) => Event::Record(record),
            // The client connects again by itself and says nothing of it.
            Ok(TailEvent::Record(_) | TailEvent::Quiet) => match &lost {
                None => continue,
                Some(_) if tail.answers() => Event::Connected,
                Some(lost) if lost.elapsed() < connect_max => continue,
                Some(_) => Event::Failed(nobody(connect_max, "the cluster does not answer")),
            },
            Ok(TailEvent::Trouble(_)) if lost.is_some() => continue,
            Ok(TailEvent::Trouble(why)) => Event::Lost { why, ended: false },
            Err(error) => Event::Failed(nobody(connect_max, error.what())),
        };
        match &event {
            Event::Connected => lost = None,
            Event::Lost { .. } => lost = Some(Stopwatch::start()),
            Event::Record(_) | Event::Failed(_) => {}
        }
        let failed = matches!(event, Event::Failed(_));
        if events.blocking_send(event).is_err() || failed {
            return;
        }
    }
}

/// Tries until the topic is open; `None` where nobody listens any more.
fn connect(
    target: &TopicTarget,
    connect_max: Duration,
    backoff: &mut Backoff,
    events: &Sender<Event>,
) -> Result<Option<TopicTail>, ConnectError> {
    let clock = Stopwatch::start();
    loop {
        let wait = backoff.next_wait().min(connect_max.saturating_sub(clock.elapsed()));
        if pause_unless(|| events.is_closed(), wait) {
            return Ok(None);
        }
        match TopicTail::open(&target.cluster, &target.url, target.from) {
            Ok(tail) => return Ok(Some(tail)),
            Err(error) if error.is_setup() => {
                return Err(ConnectError::Setup(error.what().to_owned()));
            }
            Err(error) if clock.elapsed() >= connect_max => {
                return Err(nobody(connect_max, error.what()));
            }
            Err(_) => {}
        }
    }
}

fn nobody(connect_max: Duration, why: &str) -> ConnectError {
    ConnectError::Nobody { seconds: connect_max.as_secs(), last: why.to_owned() }
}

fn is_wanted(target: &TopicTarget, record: &[u8]) -> bool {
    // Forecasts name their symbol as ticks do.
    target.symbols.is_empty()
        || symbol_of(record).is_some_and(|symbol| target.symbols.contains(&*symbol))
}
