//! The task that has the questions of shards for history answered.
//!
//! Owns the order in which questions go out, how many are out at once, and the rest of sources
//! that are away. Promises that each question is answered once, by a command in line with the
//! records of its shard, a little before it is of no use any more; that holes come before whole
//! windows; and that a source that is away costs a question nothing while it rests. Never asks
//! twice what a source has refused.

mod order;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use self::order::{Inquiry, Next, Order};
use crate::intake::IntakeCommander;
use crate::ops::logging::is_power_of_ten;
use crate::ops::supervise::{Pulse, Stage};
use crate::ports::history::{Ask, AskClock, Failed, HistorySource, Rows};
use crate::shard::command::Command;

/// The longest that a question is answered before it is of no use any more. The shard hears the
/// reason then, before it goes on without an answer.
const ANSWER_BEFORE_MAX: Duration = Duration::from_millis(100);

/// By what a historian works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorianSettings {
    /// Most questions that sources have at once.
    pub requests_at_once: usize,
    /// The longest rest of a source that is away.
    pub rest_max: Duration,
    /// What differs between runs, for jitter.
    pub seed: u64,
}

/// The time of a historian.
#[derive(Clone)]
pub struct HistorianTime {
    /// The time since the start of the process, as in [`Ask::until`].
    pub now: AskClock,
    /// Waits for this long.
    pub sleep: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// The task.
pub struct Historian {
    sources: Vec<Arc<dyn HistorySource>>,
    asks: mpsc::Receiver<Ask>,
    shards: Vec<IntakeCommander<Command>>,
    settings: HistorianSettings,
    time: HistorianTime,
    pulse: Pulse,
    /// How often each source was away.
    away: Vec<u64>,
}

impl HistorianTime {
    /// The time of this clock, and the timers of the runtime.
    pub fn of(now: AskClock) -> Self {
        Self { now, sleep: Arc::new(|span| Box::pin(tokio::time::sleep(span))) }
    }
}

impl Historian {
    /// A historian that asks these sources, the preferred one first, takes questions from this end
    /// of the desk, and answers these shards, in the order of their numbers.
    pub fn new(
        sources: Vec<Arc<dyn HistorySource>>,
        asks: mpsc::Receiver<Ask>,
        shards: Vec<IntakeCommander<Command>>,
        settings: HistorianSettings,
        time: HistorianTime,
    ) -> Self {
        let away = vec![0; sources.len()];
        Self { sources, asks, shards, settings, time, pulse: Pulse::new(), away }
    }

    /// The task as its supervisor sees it.
    pub fn stage(&self) -> Stage {
        Stage::new("history", self.pulse.clone())
    }

    /// Answers questions until `stop` turns true or every desk is gone. Requests under way are
    /// dropped then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut order = Order::new(self.sources.len(), &self.settings);
        let mut running = FuturesUnordered::new();
        let waiting_max = self.asks.max_capacity();
        loop {
            self.pulse.work();
            let due = loop {
                match order.next((self.time.now)()) {
                    Next::Fetch(source, inquiry) => running.push(self.fetch(source, inquiry)),
                    Next::Answer(ask, answer) => self.answer(&ask, answer),
                    Next::Wait(due) => break due,
                }
            };
            self.pulse.rest();
            let has_room = order.waiting() < waiting_max;
            let due = self.wait_until(due);
            tokio::select! {
                biased;
                // The sender is gone only where the process ends.
                _ = stop.wait_for(|stopped| *stopped) => return,
                Some((source, inquiry, said)) = running.next() => {
                    let now = (self.time.now)();
                    if let Some(Err(Failed::Away(reason))) = &said {
                        self.note_away(source, reason);
                    }
                    if let Some((ask, answer)) = order.heard(source, inquiry, said, now) {
                        self.answer(&ask, answer);
                    }
                }
                ask = self.asks.recv(), if has_room => match ask {
                    Some(ask) => order.take(self.due_before(ask)),
                    None => return,
                },
                () = due => {}
            }
        }
    }

    /// Has a source answer a question, no longer than the answer is of use.
    fn fetch(&self, source: usize, inquiry: Inquiry) -> impl Future<Output = Heard> + use<> {
        let left = inquiry.ask.until.saturating_sub((self.time.now)());
        let late = (self.time.sleep)(left);
        let rows = self.sources[source].fetch(inquiry.ask.request.clone());
        async move {
            let said = tokio::select! {
                biased;
                said = rows => Some(said),
                () = late => None,
            };
            (source, inquiry, said)
        }
    }

    /// The question with a deadline a little before its own.
    fn due_before(&self, ask: Ask) -> Ask {
        let left = ask.until.saturating_sub((self.time.now)());
        Ask { until: ask.until.saturating_sub((left / 10).min(ANSWER_BEFORE_MAX)), ..ask }
    }

    /// Notes that a source was away. Shards hear of it when their questions end, which is minutes
    /// later where whole windows are tried again.
    fn note_away(&mut self, source: usize, reason: &str) {
        self.away[source] += 1;
        let count = self.away[source];
        if is_power_of_ten(count) {
            let from = self.sources[source].from().label();
            warn!(
                from,
                reason,
                count,
                "a source of history is away and rests; holes are marked meanwhile, and whole \
                 windows are asked for again within history.wait_seconds_max"
            );
        }
    }

    fn answer(&self, ask: &Ask, answer: Result<Rows, Failed>) {
        let Ask { shard, number, .. } = *ask;
        if let Some(shard) = self.shards.get(shard) {
            // A shard that has ended waits for nothing.
            let _ = shard.command(Command::History { number, answer });
        }
    }

    /// Waits until an instant, or for ever.
    fn wait_until(&self, due: Option<Duration>) -> impl Future<Output = ()> + use<> {
        let left = due.map(|due| due.saturating_sub((self.time.now)()));
        let sleep = left.map(|left| (self.time.sleep)(left));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => pending().await,
            }
        }
    }
}

/// What a source has said of a question; `None` where it has not until the deadline.
type Heard = (usize, Inquiry, Option<Result<Rows, Failed>>);

#[cfg(test)]
mod tests;
