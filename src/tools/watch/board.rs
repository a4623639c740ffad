//! What is known of the stream: the newest forecast of every symbol, and counts.
//!
//! Owns the state behind the table. Promises bounded memory whatever arrives. Never reads a clock
//! and never draws.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::domain::{Quality, Signal, Symbol, UnixNanos};
use crate::engine::wire::forecast::{FORECAST_SCHEMA, ForecastRecord};
use crate::ops::meter::Meter;

/// Symbols that are remembered, far more than anybody reads; forecasts of others are counted.
const SYMBOLS_MAX: usize = 10_000;

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Connected,
    /// Not any more, and why; it is tried again.
    Lost(String),
}

/// The newest forecast of one symbol.
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
    /// How many forecasts of this symbol have come.
    pub(super) forecasts: u64,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) link: Link,
    rows: BTreeMap<Symbol, Row>,
    forecasts: u64,
    unreadable: u64,
    newest: Option<UnixNanos>,
    meter: Meter,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Connecting,
            rows: BTreeMap::new(),
            forecasts: 0,
            unreadable: 0,
            newest: None,
            meter: Meter::default(),
        }
    }

    /// Takes one message of the stream.
    pub(super) fn take(&mut self, record: &[u8]) {
        let Some((symbol, row)) = read(record) else {
            self.unreadable += 1;
            return;
        };
        self.forecasts += 1;
        self.newest = self.newest.max(Some(row.as_of));
        if let Some(known) = self.rows.get_mut(&*symbol) {
            let forecasts = known.forecasts + 1;
            *known = Row { forecasts, ..row };
        } else if self.rows.len() < SYMBOLS_MAX
            && let Ok(symbol) = Symbol::new(&symbol)
        {
            self.rows.insert(symbol, row);
        }
    }

    /// Notes the time, for the rate.
    pub(super) fn observe(&mut self, elapsed: Duration) {
        self.meter.observe(elapsed, self.forecasts);
    }

    /// The newest forecast of every symbol, by symbol.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (&Symbol, &Row)> {
        self.rows.iter()
    }

    /// How many symbols are remembered.
    pub(super) fn symbols(&self) -> usize {
        self.rows.len()
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

/// One record with a symbol that is safe to show, or `None` where it is none.
fn read(record: &[u8]) -> Option<(Cow<'_, str>, Row)> {
    let record: ForecastRecord<'_> = serde_json::from_slice(record).ok()?;
    if record.schema != FORECAST_SCHEMA || Symbol::check(&record.symbol).is_err() {
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
        forecasts: 1,
    };
    Some((record.symbol, row))
}
