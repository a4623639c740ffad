//! What is shown of history, over all shards.
//!
//! Owns the names of the metrics, and the counts that readiness and people read. Promises that
//! every label has its series from the start, and that the counts of all shards add up. Never
//! decides anything.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::history::{GivenUp, Standing};
use crate::core::domain::Symbol;
use crate::core::history::HistoryFrom;

/// How many symbols that are not warm are said by name.
const COLD_NAMES_MAX: usize = 100;

/// Bucket bounds in seconds: from one quick answer to ten minutes.
const WARM_BUCKETS: [f64; 12] =
    [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];

/// Those of holes, for which ticks wait a few seconds at most.
const FILL_BUCKETS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The metrics of history; each shard has a clone.
#[derive(Clone, Debug)]
pub struct HistoryMetrics {
    rows: [IntCounter; HistoryFrom::ALL.len()],
    symbols: [IntGauge; Standing::ALL.len()],
    ticks_waiting: IntGauge,
    ticks_dropped: IntCounter,
    given_up: [IntCounter; GivenUp::ALL.len()],
    warm_seconds: Histogram,
    fills_asked: IntCounter,
    fill_seconds: Histogram,
    board: HistoryBoard,
}

/// How the history of all symbols is coming on, over all shards; cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct HistoryBoard(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    counts: HistoryCounts,
    /// No more than the books of all shards know.
    cold: BTreeSet<Symbol>,
}

/// How many symbols stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Expected symbols whose history has not ended yet, one way or the other.
    pub pending: usize,
    /// Symbols whose rows are asked for or are being read.
    pub asked: usize,
    /// Symbols whose window is full.
    pub warm: usize,
    /// Symbols whose window history did not fill.
    pub cold: usize,
    /// Ticks that wait for an answer.
    pub ticks_waiting: usize,
}

/// What one shard has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown(HistoryCounts);

impl HistoryMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let rows =
            counters("tickcast_history_rows_total", "Rows of history, by their source.", "from")?;
        let given_up = counters(
            "tickcast_history_given_up_total",
            "Questions for history that ended without rows, by reason.",
            "reason",
        )?;
        let symbols = IntGaugeVec::new(
            Opts::new(
                "tickcast_history_symbols",
                "Symbols for which history was looked for: asked for, with a full window (warm), \
                 or without one (cold).",
            ),
            &["state"],
        )?;
        registry.register(Box::new(symbols.clone()))?;
        let ticks_waiting = IntGauge::new(
            "tickcast_history_ticks_waiting",
            "Live ticks that wait until history for their symbol comes.",
        )?;
        registry.register(Box::new(ticks_waiting.clone()))?;
        Ok(Self {
            rows: HistoryFrom::ALL.map(|from| rows.with_label_values(&[from.label()])),
            symbols: Standing::ALL.map(|standing| symbols.with_label_values(&[standing.label()])),
            ticks_waiting,
            ticks_dropped: counter(
                "tickcast_history_ticks_dropped_total",
                "Live ticks that were dropped because too many waited for history.",
            )?,
            given_up: GivenUp::ALL.map(|reason| given_up.with_label_values(&[reason.label()])),
            warm_seconds: histogram(
                "tickcast_history_warm_seconds",
                "Time from the first question for the window of a symbol until it was full.",
                &WARM_BUCKETS,
            )?,
            fills_asked: counter(
                "tickcast_backfill_asked_total",
                "Questions for the missing steps of a symbol.",
            )?,
            fill_seconds: histogram(
                "tickcast_backfill_seconds",
                "Time from a question for missing steps until they were filled.",
                &FILL_BUCKETS,
            )?,
            board: HistoryBoard::default(),
        })
    }

    /// How the history of all symbols is coming on.
    pub fn board(&self) -> HistoryBoard {
        self.board.clone()
    }

    /// Counts rows.
    pub(super) fn add_rows(&self, from: HistoryFrom, count: usize) {
        self.rows[from as usize].inc_by(count as u64);
    }

    /// Counts a tick that was dropped.
    pub(super) fn drop_tick(&self) {
        self.ticks_dropped.inc();
    }

    /// Counts a question that was given up; returns how many there were for this reason.
    pub(super) fn give_up(&self, reason: GivenUp) -> u64 {
        let counter = &self.given_up[reason as usize];
        counter.inc();
        counter.get()
    }

    /// Notes how long a window took.
    pub(super) fn warmed(&self, took: Duration) {
        self.warm_seconds.observe(took.as_secs_f64());
    }

    /// Counts a question for missing steps.
    pub(super) fn ask_fill(&self) {
        self.fills_asked.inc();
    }

    /// Notes how long missing steps took; returns how many questions for some were answered.
    pub(super) fn filled(&self, took: Duration) -> u64 {
        self.fill_seconds.observe(took.as_secs_f64());
        self.fill_seconds.get_sample_count()
    }

    /// Shows the counts of one shard, which has shown others before.
    pub(super) fn show(&self, shown: &mut Shown, counts: HistoryCounts) {
        let Shown(before) = std::mem::replace(shown, Shown(counts));
        if before == counts {
            return;
        }
        let more = |now: usize, before: usize| {
            i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
        };
        let [asked, warm, cold] = &self.symbols;
        asked.add(more(counts.asked, before.asked));
        warm.add(more(counts.warm, before.warm));
        cold.add(more(counts.cold, before.cold));
        self.ticks_waiting.add(more(counts.ticks_waiting, before.ticks_waiting));
        let mut board = self.board.lock();
        let all = &mut board.counts;
        for (all, now, before) in [
            (&mut all.pending, counts.pending, before.pending),
            (&mut all.asked, counts.asked, before.asked),
            (&mut all.warm, counts.warm, before.warm),
            (&mut all.cold, counts.cold, before.cold),
            (&mut all.ticks_waiting, counts.ticks_waiting, before.ticks_waiting),
        ] {
            // This shard's part of the sum is what it has shown.
            *all = *all + now - before;
        }
    }

    /// Says whether history did not fill the window of a symbol.
    pub(super) fn name_cold(&self, symbol: &Symbol, is_cold: bool) {
        let cold = &mut self.board.lock().cold;
        if is_cold {
            cold.insert(symbol.clone());
        } else {
            cold.remove(symbol);
        }
    }
}

impl HistoryBoard {
    /// How many symbols stand where.
    pub fn counts(&self) -> HistoryCounts {
        self.lock().counts
    }

    /// Symbols whose window history did not fill: the first hundred in order.
    pub fn cold(&self) -> Vec<Symbol> {
        self.lock().cold.iter().take(COLD_NAMES_MAX).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Board> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistoryCounts {
    /// The count of a standing, to change it.
    pub(super) fn of_mut(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Asked => &mut self.asked,
            Standing::Warm => &mut self.warm,
            Standing::Cold => &mut self.cold,
        }
    }
}
