//! How the symbols of a shard are, judged in passing, and the page that others read of them.
//!
//! Owns the rounds: once a second every symbol is judged, a slice between any two batches, so that
//! no batch waits long; after the last slice the page is replaced. Symbols that the configuration
//! names and that have had no tick are on the page of the shard that would get their ticks.
//! Promises that whoever reads never holds the shard up, and that changes fill no log. Never
//! decides what a state means.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::core::domain::{DurationNanos, PartitionId, Quality, Symbol, UnixNanos};
use crate::core::health::{
    Arrivals, ExpectedSymbols, FeedLink, Health, HealthLimits, Subscription,
};
use crate::engine::pipeline::{Pipelines, Role};
use crate::engine::symbols::SymbolFacts;
use crate::ops::clock::Stopwatch;
use crate::shard::history::{HistoryBook, SymbolHistory};
use crate::shard::refusals::{AheadSamples, RefusalWatch};

/// The time from the beginning of one round to that of the next.
const ROUND: Duration = Duration::from_secs(1);

/// Symbols that are judged between two batches: a forecast waits no longer than these take.
const SLICE: usize = 1024;

/// The least time between two log lines about health.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How long configured symbols may take to their first tick before the log says so.
const AWAITED_MAX: Duration = Duration::from_secs(60);

/// How long the feed may take to be there for the first time before its symbols are dead. Until
/// then a restart from a snapshot would show every symbol as dead.
const FIRST_CONTACT_MAX: Duration = Duration::from_secs(60);

/// What the source's connection is like; asked once a round.
pub type FeedView = Box<dyn Fn() -> FeedLink + Send>;

/// The health of a shard's symbols.
pub struct HealthWatch {
    feed: FeedView,
    /// Whether the feed has been there.
    was_connected: bool,
    limits: HealthLimits,
    metrics: HealthMetrics,
    page: watch::Sender<Arc<SymbolPage>>,
    /// Since the process began; the same for all shards and for whoever reads.
    clock: Stopwatch,
    /// When the newest round began; `None` before the first.
    begun: Option<Duration>,
    round: Option<Round>,
    /// Symbols that the shard has forgotten and may hear of again.
    forgotten: Vec<Forgotten>,
    /// What metrics and log say of this shard.
    shown: [i64; Health::ALL.len()],
    logged: [i64; Health::ALL.len()],
    logged_at: Option<Duration>,
    expected: Expected,
    ahead: AheadSamples,
    /// In the first shard alone.
    refusals: Option<RefusalWatch>,
}

/// The configured symbols of one shard.
#[derive(Default)]
struct Expected {
    source: Option<Arc<dyn ExpectedSymbols>>,
    symbols: Vec<Symbol>,
    /// The place of each symbol in the list of the source.
    place_of: HashMap<Symbol, usize>,
}

/// A round under way.
struct Round {
    now: Duration,
    feed: FeedLink,
    /// The model whose symbols are judged, and the next of them.
    model: usize,
    next: usize,
    /// The next of the configured symbols.
    next_expected: usize,
    rows: Vec<SymbolRow>,
    counts: [i64; Health::ALL.len()],
    /// A symbol that became stale or dead.
    sample: Option<Symbol>,
}

/// A symbol that is listed although nothing is known of it any more.
struct Forgotten {
    row: SymbolRow,
    arrivals: Arrivals,
    partition: PartitionId,
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
    /// How its subscription is, of a symbol that is configured and not live, where that says why it
    /// has no ticks.
    pub subscription: Option<Subscription>,
    /// Event time of its newest tick.
    pub newest_tick: Option<UnixNanos>,
    /// Steps since it began, or began cold.
    pub steps: u64,
    /// Rows in its window, of the first live model that knows the symbol; of the first shadow where
    /// no live model does.
    pub window: usize,
    /// Rows of a full window of that model; 0 where none knows the symbol.
    pub window_steps: usize,
    /// How whole the window is.
    pub quality: Quality,
    /// Event time of the newest step that stood behind a gap, since this process began.
    pub last_gap: Option<UnixNanos>,
    /// What came of its history.
    pub history: SymbolHistory,
    /// How many steps of holes history has filled, since this process began.
    pub filled: u64,
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
        let (expected, ahead, refusals) = (Expected::default(), AheadSamples::default(), None);
        let forgotten = Vec::new();
        let watch = Self {
            feed,
            was_connected: false,
            limits,
            metrics,
            page,
            clock,
            begun,
            round,
            forgotten,
            shown,
            logged,
            logged_at,
            expected,
            ahead,
            refusals,
        };
        (watch, pages)
    }

    /// The same with symbols that the configuration of the source names: those at these places of
    /// its list, whose ticks this shard gets.
    #[must_use]
    pub fn expecting(
        self,
        source: Arc<dyn ExpectedSymbols>,
        symbols: impl IntoIterator<Item = (usize, Symbol)>,
    ) -> Self {
        let place_of: HashMap<_, _> =
            symbols.into_iter().map(|(place, symbol)| (symbol, place)).collect();
        let mut symbols: Vec<_> = place_of.keys().cloned().collect();
        symbols.sort_unstable_by_key(|symbol| place_of[symbol]);
        Self { expected: Expected { source: Some(source), symbols, place_of }, ..self }
    }

    /// The same with the samples of times from the future that all shards share.
    #[must_use]
    pub fn with_ahead(self, ahead: AheadSamples) -> Self {
        Self { ahead, ..self }
    }

    /// The same with the look at everything that is refused, over all shards.
    #[must_use]
    pub fn with_refusals(self, refusals: RefusalWatch) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// A record was refused because its time was so far ahead of its reception.
    pub(super) fn note_ahead(&self, ahead: DurationNanos) {
        self.ahead.note(ahead);
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

    /// Judges a slice of the symbols, if a round is due. A symbol that several models know is
    /// judged in the first live one of them, by the ticks that came to any of them.
    pub(super) fn turn(
        &mut self,
        pipelines: &mut Pipelines,
        mut history: Option<&mut HistoryBook>,
    ) {
        if self.round.is_none() && !self.patience().is_zero() {
            return;
        }
        let mut round = self.round.take().unwrap_or_else(|| self.begin());
        let mut left = SLICE;
        while left > 0 && round.model < pipelines.count() {
            let count = pipelines.at(round.model).engine().symbol_count();
            let slice = round.next..count.min(round.next + left);
            round.next = slice.end;
            left -= slice.len();
            self.judge(&mut round, pipelines, slice, history.as_deref_mut());
            if round.next >= count {
                (round.model, round.next) = (round.model + 1, 0);
            }
        }
        let has_judged = round.model >= pipelines.count();
        if has_judged {
            self.list_awaited(&mut round, pipelines, left, history.as_deref());
        }
        if !has_judged || round.next_expected < self.expected.symbols.len() {
            self.round = Some(round);
        } else {
            self.list_forgotten(&mut round, pipelines);
            self.finish(round);
        }
    }

    /// Gives up a round under way: other models are live now, and symbols are judged in those.
    pub(super) fn begin_again(&mut self) {
        self.round = None;
    }

    /// Keeps the symbols of partitions on the list, before the engines forget all of them: they may
    /// come back with the next session, or be lost, and then their last tick is all that is known.
    pub(super) fn remember(&mut self, pipelines: &mut Pipelines) {
        let now = self.now();
        let feed = self.link(now);
        self.forgotten.retain(|symbol| !pipelines.has_symbol(symbol.row.symbol.as_str()));
        for model in 0..pipelines.count() {
            for index in 0..pipelines.at(model).engine().symbol_count() {
                if is_judged_elsewhere(pipelines, model, index) {
                    continue;
                }
                let limits = &self.limits;
                let engine = pipelines.at_mut(model).engine_mut();
                let Some((facts, health, _)) = engine.judge(index, None, feed, now, limits) else {
                    break;
                };
                let Some(partition) = facts.partition else { continue };
                let newest_tick = facts.newest_tick;
                let row = SymbolRow {
                    steps: 0,
                    window: 0,
                    last_gap: newest_tick,
                    ..SymbolRow::new(&facts, health, None)
                };
                self.forgotten.push(Forgotten { row, arrivals: facts.arrivals, partition });
            }
        }
        // A round under way would go on among other symbols.
        self.round = None;
    }

    /// Takes the symbols of other partitions off the list: they are listed elsewhere.
    pub(super) fn keep(&mut self, mut is_kept: impl FnMut(PartitionId) -> bool) {
        self.forgotten.retain(|symbol| is_kept(symbol.partition));
    }

    /// Adds the symbols to the round that no engine knows.
    fn list_forgotten(&mut self, round: &mut Round, pipelines: &Pipelines) {
        self.forgotten.retain(|symbol| !pipelines.has_symbol(symbol.row.symbol.as_str()));
        for Forgotten { row, arrivals, .. } in &mut self.forgotten {
            row.health = arrivals.health(round.feed, round.now, &self.limits);
            round.counts[row.health as usize] += 1;
            round.rows.push(row.clone());
        }
    }

    /// What the source's connection is like.
    fn link(&mut self, now: Duration) -> FeedLink {
        let link = (self.feed)();
        self.was_connected |= link == FeedLink::Connected;
        if self.was_connected || now >= FIRST_CONTACT_MAX { link } else { FeedLink::NotYet }
    }

    fn begin(&mut self) -> Round {
        let now = self.now();
        self.begun = Some(now);
        if let Some(refusals) = &mut self.refusals {
            refusals.look();
        }
        let (feed, rows, counts) = (self.link(now), Vec::new(), [0; Health::ALL.len()]);
        Round { now, feed, model: 0, next: 0, next_expected: 0, rows, counts, sample: None }
    }

    /// Lists the configured symbols without a state, so many of them, behind those with one.
    fn list_awaited(
        &self,
        round: &mut Round,
        pipelines: &Pipelines,
        count: usize,
        history: Option<&HistoryBook>,
    ) {
        let symbols = &self.expected.symbols;
        let end = symbols.len().min(round.next_expected + count);
        for symbol in &symbols[round.next_expected..end] {
            // Ticks of a symbol that no model wants lead nowhere, so none is awaited.
            if !pipelines.has_symbol(symbol.as_str()) && pipelines.wants(symbol.as_str()) {
                let row = match history {
                    // Its ticks come, and wait for its history.
                    Some(book) if book.holds_ticks(symbol.as_str()) => {
                        let arrivals = Arrivals::new(round.now);
                        let health = arrivals.health(round.feed, round.now, &self.limits);
                        SymbolRow { health, ..SymbolRow::awaited(symbol, None) }
                    }
                    _ => SymbolRow::awaited(symbol, self.expected.subscription(symbol)),
                };
                round.counts[row.health as usize] += 1;
                let history = history.map(|book| book.of(symbol.as_str())).unwrap_or_default();
                round.rows.push(SymbolRow { history, ..row });
            }
        }
        round.next_expected = end;
    }

    fn judge(
        &self,
        round: &mut Round,
        pipelines: &mut Pipelines,
        slice: Range<usize>,
        mut history: Option<&mut HistoryBook>,
    ) {
        for index in slice {
            if is_judged_elsewhere(pipelines, round.model, index) {
                continue;
            }
            let heard = heard_by_any(pipelines, round.model, index);
            let window_steps = pipelines.at(round.model).manifest().window_steps;
            let engine = pipelines.at_mut(round.model).engine_mut();
            let judged = engine.judge(index, heard, round.feed, round.now, &self.limits);
            let Some((facts, health, before)) = judged else { break };
            round.counts[health as usize] += 1;
            let subscription = self.expected.subscription(facts.symbol).filter(|subscription| {
                health == Health::Awaited
                    || (health != Health::Live && *subscription != Subscription::Acknowledged)
            });
            let mut row = SymbolRow::new(&facts, health, subscription);
            if let Some(book) = &mut history {
                if row.window == window_steps as usize {
                    book.note_full(&row.symbol, round.now);
                }
                row.history = book.of(row.symbol.as_str());
            }
            round.rows.push(SymbolRow { window_steps: window_steps as usize, ..row });
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
        self.log_awaited(now, &rows);
        self.page.send_replace(Arc::new(SymbolPage { at: now, rows }));
        self.log(now, sample.as_ref());
    }

    /// One line where more configured symbols than the last line said have had no tick.
    fn log_awaited(&mut self, now: Duration, rows: &[SymbolRow]) {
        let awaited = Health::Awaited as usize;
        if now < AWAITED_MAX || (self.logged[awaited], self.shown[awaited]) == (0, 0) {
            return;
        }
        // History may have symbols that are not configured.
        let place_of = &self.expected.place_of;
        let is_configured = |row: &&SymbolRow| place_of.contains_key(&row.symbol);
        let rows = rows.iter().filter(|row| row.health == Health::Awaited).filter(is_configured);
        let (count, sample) = (rows.clone().count() as i64, rows.clone().next());
        let before = std::mem::replace(&mut self.logged[awaited], count);
        if let Some(SymbolRow { symbol, subscription, .. }) = sample.filter(|_| count > before) {
            let reason = subscription.unwrap_or_default().reason();
            warn!(count, sample = %symbol, reason, "configured symbols have had no tick");
        }
    }

    /// One line where more or fewer symbols are stale or dead than the last line said.
    fn log(&mut self, now: Duration, sample: Option<&Symbol>) {
        let bad = |counts: &[i64]| (counts[Health::Stale as usize], counts[Health::Dead as usize]);
        let (before, after) = (bad(&self.logged), bad(&self.shown));
        let awaited = self.logged[Health::Awaited as usize];
        let is_soon = self.logged_at.is_some_and(|logged| now < logged + LOG_EVERY);
        if before == after || is_soon {
            return;
        }
        (self.logged, self.logged_at) = (self.shown, Some(now));
        self.logged[Health::Awaited as usize] = awaited;
        let [live, quiet, stale, dead, ..] = self.shown;
        let sample = sample.map_or("", Symbol::as_str);
        if after > before || after.1 > before.1 {
            warn!(live, quiet, stale, dead, sample, "symbols have fallen silent");
        } else {
            info!(live, quiet, stale, dead, "symbols are heard again");
        }
    }
}

/// Whether another model judges the symbol at a place of this one's dense index: the first live
/// one that knows it, because live models decide for the stream; else the first other one.
fn is_judged_elsewhere(pipelines: &Pipelines, model: usize, index: usize) -> bool {
    if pipelines.count() == 1 {
        return false;
    }
    let Some(symbol) = pipelines.at(model).engine().symbol_at(index) else { return false };
    let order = |model: usize| (pipelines.at(model).post().role != Role::Live, model);
    let goes_before = |other: &usize| order(*other) < order(model);
    let mut others = (0..pipelines.count()).filter(goes_before);
    others.any(|other| pipelines.at(other).engine().has_symbol(symbol.as_str()))
}

/// When ticks of a symbol came to the model that has had one last; `None` where there is one model.
fn heard_by_any(pipelines: &Pipelines, model: usize, index: usize) -> Option<Arrivals> {
    if pipelines.count() == 1 {
        return None;
    }
    let symbol = pipelines.at(model).engine().symbol_at(index)?;
    pipelines.arrivals(symbol.as_str())
}

impl Expected {
    /// How the subscription of a symbol is; `None` where it is not configured.
    fn subscription(&self, symbol: &Symbol) -> Option<Subscription> {
        let place = self.place_of.get(symbol)?;
        self.source.as_ref().map(|source| source.subscription(*place))
    }
}

impl SymbolRow {
    /// A symbol of which no model has had a tick, nor a row of history.
    fn awaited(symbol: &Symbol, subscription: Option<Subscription>) -> Self {
        Self {
            symbol: symbol.clone(),
            health: Health::Awaited,
            subscription,
            newest_tick: None,
            steps: 0,
            window: 0,
            window_steps: 0,
            quality: Quality::Full,
            last_gap: None,
            history: SymbolHistory::default(),
            filled: 0,
        }
    }

    fn new(facts: &SymbolFacts<'_>, health: Health, subscription: Option<Subscription>) -> Self {
        Self {
            symbol: facts.symbol.clone(),
            health,
            subscription,
            newest_tick: facts.newest_tick,
            steps: facts.steps,
            window: facts.window,
            window_steps: 0,
            quality: facts.quality,
            last_gap: facts.last_gap,
            history: SymbolHistory::default(),
            filled: facts.filled,
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

    /// W of the model that a row is of; that of the first one for a symbol that none knows.
    pub fn window_steps_of(&self, row: &SymbolRow) -> usize {
        if row.window_steps == 0 { self.window_steps } else { row.window_steps }
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
