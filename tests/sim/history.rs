//! A venue that is asked for history, a recording from before the stream, and the historian of the
//! daemon between them and the shards.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus::Registry;
use tickcast::core::domain::{DurationNanos, Symbol, UnixNanos};
use tickcast::core::history::{HistoryFrom, Origin, RowKind, Seam};
use tickcast::intake::{IntakeCommander, Record, shard_of_symbol};
use tickcast::keep::history::{Historian, HistorianSettings, HistorianTime};
use tickcast::ports::history::{AskClock, Desk, Failed, HistorySource, Request, Row, Rows, Want};
use tickcast::shard::command::Command;
use tickcast::shard::{HistoryBoard, HistoryBook, HistoryLimits, HistoryMetrics, Shard, WhenHeld};
use tokio::sync::watch;

use crate::daemon::Clock;
use crate::dice::Dice;
use crate::faults::{Character, Fault, Faults, History};
use crate::model::{BASE_MS, SYMBOLS, TICKS_MAX, line, models};

/// How long the ticks of a symbol wait for its whole window.
const WARM_WAIT: Duration = Duration::from_secs(6);

/// When a world with history begins: the venue has traded since 0.
pub(crate) const BEGIN_MS: u64 = 15_000;

/// How many ticks of each symbol are in the recording from before the stream.
const FILED: i64 = 12;

/// How long a row is.
const ROW_MS: i64 = 1000;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Rows,
    /// A row is missing, and the venue says so.
    Partial,
    /// The newest row comes first.
    Disorder,
    /// Status 429 or 500, or no connection.
    Away,
    Refused,
    Never,
}

/// Waits for the simulated time to go on; cloning shares it.
#[derive(Clone)]
struct Timers {
    clock: Clock,
    waiting: Arc<Mutex<Vec<Waker>>>,
}

/// The venue's interface for history.
struct Interface {
    timers: Timers,
    never_answers: bool,
    weather: Mutex<(Dice, Faults)>,
}

/// What a daemon has of history.
pub(crate) struct Past {
    traits: History,
    timers: Timers,
    venue: Arc<Interface>,
    historian: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Its end is the end of the historian.
    _running: watch::Sender<bool>,
    desk: Desk,
    limits: HistoryLimits,
    metrics: HistoryMetrics,
    board: HistoryBoard,
    pub(crate) registry: Registry,
}

fn nanos(time_ms: i64) -> UnixNanos {
    UnixNanos::from_nanos((BASE_MS + time_ms) * 1_000_000)
}

fn row_length() -> DurationNanos {
    DurationNanos::from_seconds(ROW_MS / 1000).expect("it is a second")
}

impl Timers {
    fn until(&self, at_ms: u64) -> impl Future<Output = ()> + Send + use<> {
        let Self { clock, waiting } = self.clone();
        poll_fn(move |context| {
            if clock.now_ms() >= at_ms {
                return Poll::Ready(());
            }
            waiting.lock().expect("a run has one thread").push(context.waker().clone());
            Poll::Pending
        })
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("a run has one thread"));
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Interface {
    fn weather(&self) -> MutexGuard<'_, (Dice, Faults)> {
        self.weather.lock().expect("a run has one thread")
    }

    /// What becomes of a question, and after how long.
    fn fate(&self) -> (Fate, u64) {
        let (dice, faults) = &mut *self.weather();
        let bad = [Fate::Partial, Fate::Disorder, Fate::Away, Fate::Refused, Fate::Never];
        let (errs, fate) = (dice.below(2) == 0, dice.pick(&bad));
        let has_fault = faults.has(Fault::History);
        let latency_ms = dice.between(5, if has_fault { 4000 } else { 600 });
        let fate = if self.never_answers || errs && has_fault { fate } else { Fate::Rows };
        (fate, latency_ms)
    }
}

impl HistorySource for Interface {
    fn from(&self) -> HistoryFrom {
        HistoryFrom::Rest
    }

    fn serves(&self, _: RowKind) -> Result<String, String> {
        Ok("bars of a second".to_owned())
    }

    fn at_once(&self) -> usize {
        2
    }

    fn fetch(&self, request: Request) -> BoxFuture<'static, Result<Rows, Failed>> {
        let ((fate, latency_ms), timers) = (self.fate(), self.timers.clone());
        Box::pin(async move {
            timers.until(timers.clock.now_ms() + latency_ms).await;
            let rows = rows_of(&request, timers.clock.now_ms() as i64);
            match fate {
                Fate::Rows => Ok(rows),
                Fate::Partial => Ok(partial(rows)),
                Fate::Disorder => Ok(disordered(rows)),
                Fate::Away => Err(Failed::Away("429: slow down".to_owned())),
                Fate::Refused => Err(Failed::Refused("no such interval".to_owned())),
                Fate::Never => pending().await,
            }
        })
    }
}

/// The rows that are over by now.
fn rows_of(request: &Request, now_ms: i64) -> Rows {
    let name = request.symbol.as_str();
    let symbol = SYMBOLS.iter().position(|known| *known == name).expect("one of ours");
    let end = |tick: i64| nanos(tick * ROW_MS + ROW_MS);
    let is_wanted = |tick: &i64| match request.want {
        Want::Newest { before, .. } => before.is_none_or(|before| end(*tick) <= before),
        Want::Between(span) => {
            assert!(span.to <= nanos(now_ms), "I8: rows of the future are asked for: {span:?}");
            span.contains(nanos(*tick * ROW_MS))
        }
    };
    let over = 0..(now_ms / ROW_MS).min(TICKS_MAX);
    let rows = over.filter(is_wanted).map(|tick| Row {
        bytes: line(symbol, tick).into(),
        time: nanos(tick * ROW_MS),
        trade_id: None,
    });
    let mut rows: Vec<_> = rows.collect();
    if let Want::Newest { rows: count, .. } = request.want {
        rows.drain(..rows.len().saturating_sub(count as usize));
    }
    Rows { rows, is_complete: true }
}

fn partial(mut rows: Rows) -> Rows {
    let middle = rows.rows.len() / 2;
    if middle < rows.rows.len() {
        rows.rows.remove(middle);
    }
    Rows { is_complete: false, ..rows }
}

fn disordered(mut rows: Rows) -> Rows {
    rows.rows.reverse();
    // One row alone is in order.
    Rows { is_complete: rows.rows.len() > 1, ..rows }
}

impl Past {
    pub(crate) fn new(
        character: &Character,
        traits: History,
        clock: &Clock,
        shards: Vec<IntakeCommander<Command>>,
        dice: &mut Dice,
    ) -> Self {
        let timers = Timers { clock: clock.clone(), waiting: Arc::default() };
        let (mut dice, faults) = (Dice::new(dice.roll()), character.faults);
        let settings = HistorianSettings {
            requests_at_once: 2,
            rest_max: Duration::from_secs(4),
            seed: dice.roll(),
        };
        let venue = Arc::new(Interface {
            timers: timers.clone(),
            never_answers: traits.never_answers,
            weather: Mutex::new((dice, faults)),
        });
        let registry = Registry::new();
        let metrics = HistoryMetrics::register(&registry).expect("a registry of its own");
        let (desk, asks) = Desk::new(SYMBOLS.len());
        let (running, stop) = watch::channel(false);
        let sleeps = timers.clone();
        let time = HistorianTime {
            now: clock.elapsed(),
            sleep: Arc::new(move |span| {
                let span_ms = span.as_nanos().div_ceil(1_000_000);
                let at = u128::from(sleeps.clock.now_ms()) + span_ms;
                Box::pin(sleeps.until(u64::try_from(at).unwrap_or(u64::MAX)))
            }),
        };
        let source: Arc<dyn HistorySource> = Arc::<Interface>::clone(&venue);
        let historian = Historian::new(vec![source], asks, shards, settings, time);
        let historian: Option<Pin<Box<dyn Future<Output = ()>>>> =
            if traits.has_rest { Some(Box::pin(historian.run(stop))) } else { None };
        let limits = HistoryLimits {
            ticks_max: traits.ticks_max,
            bytes_max: 1 << 20,
            warm_wait: WARM_WAIT,
            fill_wait: Some(Duration::from_millis(traits.fill_wait_ms)),
            when_full: if traits.drops_oldest { WhenHeld::DropOldest } else { WhenHeld::GoOn },
            asks_at_start: traits.asks_at_start,
            need: models().need,
        };
        let board = metrics.board();
        Self {
            traits,
            timers,
            venue,
            historian,
            _running: running,
            desk,
            limits,
            metrics,
            board,
            registry,
        }
    }

    /// A shard with its book of questions.
    pub(crate) fn of_shard(&self, shard: Shard, index: usize, shards: usize) -> Shard {
        let streamed = self.traits.has_file.then_some(HistoryFrom::File);
        let mut book = HistoryBook::new(streamed, 100, self.metrics.clone());
        if self.traits.has_rest {
            book = book.asking(index, self.desk.clone(), self.limits);
        }
        let own = SYMBOLS.iter().filter(|name| shard_of_symbol(name, shards) == index);
        let own = own.map(|name| Symbol::new(name).expect("it is a name"));
        shard.with_history(book.expecting(own), self.timers.clock.elapsed())
    }

    /// The rows that are streamed at the start.
    pub(crate) fn filed(&self) -> Vec<Record> {
        let seam = Seam { is_joined: false, covers: row_length() };
        let row = |tick, symbol| Record {
            bytes: line(symbol, tick).into(),
            origin: Origin::History(seam),
            ..Record::default()
        };
        let count = if self.traits.has_file { FILED } else { 0 };
        let ticks = 0..count;
        ticks.flat_map(|tick| (0..SYMBOLS.len()).map(move |symbol| row(tick, symbol))).collect()
    }

    /// Lets the historian go on by the time that it is.
    pub(crate) fn advance(&mut self) {
        self.timers.wake();
        if let Some(historian) = &mut self.historian {
            let mut context = Context::from_waker(Waker::noop());
            if historian.as_mut().poll(&mut context).is_ready() {
                self.historian = None;
            }
        }
    }

    /// The venue answers from here on.
    pub(crate) fn calm(&self) {
        self.venue.weather().1 = Faults(0);
    }

    /// Asks nothing any more: the daemon stops.
    pub(crate) fn stop(&mut self) {
        self.historian = None;
    }

    /// How many ticks may wait for answers in so many shards.
    pub(crate) fn waiting_max(&self, shards: usize) -> u64 {
        (self.traits.ticks_max * shards) as u64
    }

    /// How many ticks wait for answers.
    pub(crate) fn waiting(&self) -> u64 {
        self.board.counts().ticks_waiting as u64
    }

    /// How many ticks were dropped while they waited.
    pub(crate) fn dropped(&self) -> u64 {
        count_of(&self.registry, "tickcast_history_ticks_dropped_total")
    }
}

/// How many questions ended in vain, and how many ticks were dropped while they waited.
pub(crate) fn failures(registry: &Registry) -> u64 {
    ["tickcast_history_given_up_total", "tickcast_history_ticks_dropped_total"]
        .map(|name| count_of(registry, name))
        .into_iter()
        .sum()
}

fn count_of(registry: &Registry, name: &str) -> u64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("it is registered");
    family.get_metric().iter().map(|metric| metric.get_counter().get_value() as u64).sum()
}

impl Clock {
    /// The time since the start of the world, as deadlines are kept.
    fn elapsed(&self) -> AskClock {
        let clock = self.clone();
        Arc::new(move || Duration::from_millis(clock.now_ms()))
    }
}
