//! What is known of the stream: the newest forecast of each model and symbol, and counts.
//!
//! Owns the state behind the table. Promises bounded memory whatever arrives. Never reads a clock
//! and never draws.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::warming::Warming;
use crate::core::domain::{Quality, Signal, Symbol, UnixNanos};
use crate::core::verdict::Word;
use crate::engine::wire::forecast::{ExpertWeights, FORECAST_SCHEMA, ForecastRecord};
use crate::engine::wire::score::{SCORE_SCHEMA, ScoreRecord};
use crate::ops::meter::Meter;

/// Rows that are remembered, far more than anybody reads; forecasts of others are counted.
const ROWS_MAX: usize = 10_000;

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Connected,
    /// Not any more, and why; it is tried again.
    Lost(String),
}

/// The newest forecast of a model for one symbol.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) as_of: UnixNanos,
    pub(super) value: f64,
    pub(super) price: Option<f64>,
    pub(super) last_price: Option<f64>,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) signal: Signal,
    pub(super) quality: Quality,
    pub(super) out_of_range: bool,
    /// Whether the inputs have left the distribution of the training.
    pub(super) is_shifted: bool,
    /// Of a blend: the expert that weighs most, and how much.
    pub(super) mostly: Option<(String, f64)>,
    /// How many forecasts of this model and symbol have come.
    pub(super) forecasts: u64,
    /// What its scores have come to, where there are some.
    pub(super) score: Option<Scored>,
}

/// What the scores of a model and a symbol have come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    /// The word and since when it has been the same; `None` from a daemon without verdicts.
    pub(super) verdict: Option<(Word, Option<UnixNanos>)>,
    pub(super) skill: Option<f64>,
    /// The share of the last intervals that held their truth.
    pub(super) held: Option<f64>,
    /// The share of signals that were right, and that of signals that know nothing.
    pub(super) hits: Option<[f64; 2]>,
}

/// The newest forecasts of one model.
#[derive(Clone, Debug)]
struct ModelRows {
    /// How many models came before it.
    rank: usize,
    rows: BTreeMap<Symbol, Row>,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) link: Link,
    /// How far warming is, where symbols wait for their history.
    pub(super) warming: Option<Warming>,
    /// By the name of the model, which is safe to show as a symbol is.
    models: BTreeMap<Symbol, ModelRows>,
    forecasts: u64,
    unreadable: u64,
    newest: Option<UnixNanos>,
    meter: Meter,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Connecting,
            warming: None,
            models: BTreeMap::new(),
            forecasts: 0,
            unreadable: 0,
            newest: None,
            meter: Meter::default(),
        }
    }

    /// Takes one message of the stream.
    pub(super) fn take(&mut self, record: &[u8]) {
        let Some(Read { model, symbol, row }) = read(record) else {
            self.unreadable += 1;
            return;
        };
        self.forecasts += 1;
        self.newest = self.newest.max(Some(row.as_of));
        let known = self.models.get_mut(&*model).and_then(|model| model.rows.get_mut(&*symbol));
        if let Some(known) = known {
            let forecasts = known.forecasts + 1;
            *known = Row { forecasts, score: known.score, ..row };
        } else if self.row_count() < ROWS_MAX
            && let (Ok(model), Ok(symbol)) = (Symbol::new(&model), Symbol::new(&symbol))
        {
            let rank = self.models.len();
            let model =
                self.models.entry(model).or_insert(ModelRows { rank, rows: BTreeMap::new() });
            model.rows.insert(symbol, row);
        }
    }

    /// Takes one score, of a row that there is; of others nothing is shown.
    pub(super) fn take_score(&mut self, record: &[u8]) {
        let Ok(record) = serde_json::from_slice::<ScoreRecord<'_>>(record) else { return };
        let model = self.models.get_mut(&*record.model);
        let Some(row) = model.and_then(|model| model.rows.get_mut(&*record.symbol)) else { return };
        if record.schema == SCORE_SCHEMA {
            let verdict = record.verdict.map(|verdict| (verdict.word, verdict.since));
            let hits = record
                .signals
                .and_then(|signals| Some([signals.hit_rate?, signals.hit_rate_by_chance?]));
            row.score = Some(Scored { verdict, skill: record.skill, held: record.held, hits });
        }
    }

    /// Whether any row is of a blend.
    pub(super) fn has_blends(&self) -> bool {
        self.models.values().flat_map(|model| model.rows.values()).any(|row| row.mostly.is_some())
    }

    /// Whether any row has a score.
    pub(super) fn has_scores(&self) -> bool {
        self.models.values().flat_map(|model| model.rows.values()).any(|row| row.score.is_some())
    }

    /// Whether any row has a signal that was judged.
    pub(super) fn has_hits(&self) -> bool {
        let rows = self.models.values().flat_map(|model| model.rows.values());
        let mut scores = rows.map(|row| row.score);
        scores.any(|score| score.is_some_and(|score| score.hits.is_some()))
    }

    /// Notes the time, for the rate.
    pub(super) fn observe(&mut self, elapsed: Duration) {
        self.meter.observe(elapsed, self.forecasts);
    }

    /// The newest forecasts with their models and symbols: models in the order of their first
    /// forecasts, symbols by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Symbol, &Symbol, &Row)> {
        let mut models: Vec<_> = self.models.iter().collect();
        models.sort_unstable_by_key(|(_, model)| model.rank);
        models.into_iter().flat_map(|(name, model)| {
            model.rows.iter().map(move |(symbol, row)| (name, symbol, row))
        })
    }

    /// How many rows there are.
    pub(super) fn row_count(&self) -> usize {
        self.models.values().map(|model| model.rows.len()).sum()
    }

    /// How many models are remembered.
    pub(super) fn models(&self) -> usize {
        self.models.len()
    }

    /// How many symbols are remembered, whatever models forecast them.
    pub(super) fn symbols(&self) -> usize {
        match self.models.len() {
            0 | 1 => self.row_count(),
            _ => {
                let symbols = self.models.values().flat_map(|model| model.rows.keys());
                symbols.collect::<BTreeSet<_>>().len()
            }
        }
    }

    /// How many forecasts have come.
    pub(super) fn forecasts(&self) -> u64 {
        self.forecasts
    }

    /// How many messages were no forecasts.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Forecasts per second, over about the last second.
    pub(super) fn per_second(&self) -> f64 {
        self.meter.per_second()
    }

    /// The newest event time of all.
    pub(super) fn newest(&self) -> Option<UnixNanos> {
        self.newest
    }
}

/// The expert that weighs most; of equals the first.
fn heaviest(ExpertWeights(weights): ExpertWeights) -> Option<(String, f64)> {
    weights.into_iter().reduce(|most, next| if next.1 > most.1 { next } else { most })
}

/// What a record says.
struct Read<'r> {
    model: Cow<'r, str>,
    symbol: Cow<'r, str>,
    row: Row,
}

/// One record with names that are safe to show, or `None` where it is none.
fn read(record: &[u8]) -> Option<Read<'_>> {
    let record: ForecastRecord<'_> = serde_json::from_slice(record).ok()?;
    let is_safe = |name: &str| Symbol::check(name).is_ok();
    if record.schema != FORECAST_SCHEMA || !is_safe(&record.symbol) || !is_safe(&record.model) {
        return None;
    }
    let row = Row {
        as_of: record.as_of,
        value: record.value,
        price: record.price,
        last_price: record.last_price,
        lower: record.lower,
        upper: record.upper,
        signal: record.signal,
        quality: record.quality,
        out_of_range: record.out_of_range,
        is_shifted: record.shifted == Some(true),
        mostly: record.weights.and_then(heaviest).filter(|(name, _)| is_safe(name)),
        forecasts: 1,
        score: None,
    };
    Some(Read { model: record.model, symbol: record.symbol, row })
}
