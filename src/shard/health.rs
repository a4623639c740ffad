//! How the symbols of a shard are, judged in passing, and the page that others read of them.
//!
//! Owns the rounds: once a second every symbol is judged, a slice between any two batches, so that
//! no batch waits long; after the last slice the page is replaced. Promises that whoever reads
//! never holds the shard up, and that changes fill no log. Never decides what a state means.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::core::domain::{Quality, Symbol, UnixNanos};
use crate::core::health::{FeedLink, Health, HealthLimits};
use crate::engine::symbols::{Engine, SymbolFacts};
use crate::ops::clock::Stopwatch;

/// The time from the beginning of one round to that of the next.
const ROUND: Duration = Duration::from_secs(1);

/// Symbols that are judged between two batches: a forecast waits no longer than these take.
const SLICE: usize = 1024;

/// The least time between two log lines about health.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What the source's connection is like; asked once a round.
pub type FeedView = Box<dyn Fn() -> FeedLink + Send>;

/// The health of a shard's symbols.
pub struct HealthWatch {
    feed: FeedView,
    limits: HealthLimits,
    metrics: HealthMetrics,
    page: watch::Sender<Arc<SymbolPage>>,
    /// Since the process began; the same for all shards and for whoever reads.
    clock: Stopwatch,
    /// When the newest round began; `None` before the first.
    begun: Option<Duration>,
    round: Option<Round>,
    /// What metrics and log say of this shard.
    shown: [i64; Health::ALL.len()],
    logged: [i64; Health::ALL.len()],
    logged_at: Option<Duration>,
}

/// A round under way.
struct Round {
    now: Duration,
    feed: FeedLink,
    next: usize,
    rows: Vec<SymbolRow>,
    counts: [i64; Health::ALL.len()],
    /// A symbol that became stale or dead.
    sample: Option<Symbol>,
}

/// The metrics of all shards.
#[derive(Clone, Debug)]
pub struct HealthMetrics {
    symbols: [IntGauge; Health::ALL.len()],
    changes: [IntCounter; Health::ALL.len()],
}

/// What is told of one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct SymbolRow {
    /// Its name.
    pub symbol: Symbol,
    /// How it is.
    pub health: Health,
    /// Event time of its newest tick.
    pub newest_tick: Option<UnixNanos>,
    /// Steps since it began, or began cold.
    pub steps: u64,
    /// Rows in its window.
    pub window: usize,
    /// How whole the window is.
    pub quality: Quality,
    /// Event time of the newest step that stood behind a gap, since this process began.
    pub last_gap: Option<UnixNanos>,
}

/// All symbols of a shard as they were at one moment.
#[derive(Debug, Default)]
pub struct SymbolPage {
    /// When, since the process began.
    at: Duration,
    rows: Vec<SymbolRow>,
}

/// The newest pages of all shards; cloning shares them.
#[derive(Clone, Debug)]
pub struct SymbolBoard {
    pages: Vec<watch::Receiver<Arc<SymbolPage>>>,
    clock: Stopwatch,
    /// W.
    window_steps: usize,
}

impl HealthMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let symbols = IntGaugeVec::new(
            Opts::new("tickcast_symbols_by_health", "Symbols, by how they are."),
            &["health"],
        )?;
        let changes = IntCounterVec::new(
            Opts::new(
                "tickcast_symbol_health_changes_total",
                "Changes of a symbol's health, by what it became.",
            ),
            &["health"],
        )?;
        registry.register(Box::new(symbols.clone()))?;
        registry.register(Box::new(changes.clone()))?;
        Ok(Self {
            symbols: Health::ALL.map(|health| symbols.with_label_values(&[health.label()])),
            changes: Health::ALL.map(|health| changes.with_label_values(&[health.label()])),
        })
    }
}

impl HealthWatch {
    /// A watch by this clock, and where its pages will be.
    pub fn new(
        feed: FeedView,
        limits: HealthLimits,
        metrics: HealthMetrics,
        clock: Stopwatch,
    ) -> (Self, watch::Receiver<Arc<SymbolPage>>) {
        let (page, pages) = watch::channel(Arc::default());
        let none = [0; Health::ALL.len()];
        let (begun, round) = (None, None);
        let (shown, logged, logged_at) = (none, none, None);
        (Self { feed, limits, metrics, page, clock, begun, round, shown, logged, logged_at }, pages)
    }

    /// The time since the process began.
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// How long the shard may wait for records before there is something to do here.
    pub(super) fn patience(&self) -> Duration {
        match (&self.round, self.begun) {
            (None, Some(begun)) => (begun + ROUND).saturating_sub(self.now()),
            _ => Duration::ZERO,
        }
    }

    /// Judges a slice of the symbols, if a round is due.
    pub(super) fn turn(&mut self, engine: &mut Engine) {
        if self.round.is_none() && !self.patience().is_zero() {
            return;
        }
        let mut round = self.round.take().unwrap_or_else(|| self.begin());
        let count = engine.symbol_count();
        let slice = round.next..count.min(round.next + SLICE);
        round.next = slice.end;
        self.judge(&mut round, engine, slice);
        if round.next < count {
            self.round = Some(round);
        } else {
            self.finish(round);
        }
    }

    fn begin(&mut self) -> Round {
        let now = self.now();
        self.begun = Some(now);
        let counts = [0; Health::ALL.len()];
        Round { now, feed: (self.feed)(), next: 0, rows: Vec::new(), counts, sample: None }
    }

    fn judge(&self, round: &mut Round, engine: &mut Engine, slice: Range<usize>) {
        for index in slice {
            let judged = engine.judge(index, round.feed, round.now, &self.limits);
            let Some((facts, health, before)) = judged else { break };
            round.counts[health as usize] += 1;
            round.rows.push(SymbolRow::new(&facts, health));
            if before != health {
                self.metrics.changes[health as usize].inc();
                if matches!(health, Health::Stale | Health::Dead) {
                    round.sample = round.rows.last().map(|row| row.symbol.clone());
                }
            }
        }
    }

    /// Shows what the round has found.
    fn finish(&mut self, round: Round) {
        let Round { now, rows, counts, sample, .. } = round;
        for (gauge, (count, shown)) in
            self.metrics.symbols.iter().zip(counts.iter().zip(self.shown))
        {
            gauge.add(count - shown);
        }
        self.shown = counts;
        self.page.send_replace(Arc::new(SymbolPage { at: now, rows }));
        self.log(now, sample.as_ref());
    }

    /// One line where more or fewer symbols are stale or dead than the last line said.
    fn log(&mut self, now: Duration, sample: Option<&Symbol>) {
        let bad = |counts: &[i64]| (counts[Health::Stale as usize], counts[Health::Dead as usize]);
        let (before, after) = (bad(&self.logged), bad(&self.shown));
        let is_soon = self.logged_at.is_some_and(|logged| now < logged + LOG_EVERY);
        if before == after || is_soon {
            return;
        }
        (self.logged, self.logged_at) = (self.shown, Some(now));
        let [live, quiet, stale, dead, _] = self.shown;
        let sample = sample.map_or("", Symbol::as_str);
        if after > before || after.1 > before.1 {
            warn!(live, quiet, stale, dead, sample, "symbols have fallen silent");
        } else {
            info!(live, quiet, stale, dead, "symbols are heard again");
        }
    }
}

impl SymbolRow {
    fn new(facts: &SymbolFacts<'_>, health: Health) -> Self {
        Self {
            symbol: facts.symbol.clone(),
            health,
            newest_tick: facts.newest_tick,
            steps: facts.steps,
            window: facts.window,
            quality: facts.quality,
            last_gap: facts.last_gap,
        }
    }
}

impl SymbolBoard {
    /// The board of these pages.
    pub fn new(
        pages: Vec<watch::Receiver<Arc<SymbolPage>>>,
        clock: Stopwatch,
        window_steps: usize,
    ) -> Self {
        Self { pages, clock, window_steps }
    }

    /// W.
    pub fn window_steps(&self) -> usize {
        self.window_steps
    }

    /// Hands every symbol to `sink`, shard by shard; returns how old the oldest page is. A page is
    /// taken whole, so its shard is not held up.
    pub fn read(&self, mut sink: impl FnMut(&SymbolRow)) -> Duration {
        let mut oldest = self.clock.elapsed();
        let now = oldest;
        for page in &self.pages {
            let page = Arc::clone(&page.borrow());
            oldest = oldest.min(page.at);
            page.rows.iter().for_each(&mut sink);
        }
        now.saturating_sub(oldest)
    }
}

#[cfg(test)]
mod tests;
