//! A bar in the making, whatever decides where it ends.
//!
//! Owns open, high, low, close, volume and the last value of every other field. Promises that all
//! of them follow event time, whatever the order in which ticks came; of ticks of one instant the
//! first to come opens and the last to come closes. Never knows its own end.

use serde::{Deserialize, Serialize};

use crate::core::domain::{Field, Fields, Step, UnixNanos};

/// A bar in the making; it holds at least one tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bar {
    /// Where the interval begins; for bars without intervals, the time of the first tick to come.
    pub(super) start: UnixNanos,
    /// Event times of the first and the last tick, which give `open` and `close`.
    first: UnixNanos,
    last: UnixNanos,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: Option<f64>,
    /// The newest value of every other field, by column.
    extra: Vec<Latest>,
}

/// The newest value of a field and its event time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Latest {
    column: u8,
    time: UnixNanos,
    value: f64,
}

impl Bar {
    /// A bar of one tick.
    pub(super) fn begin(start: UnixNanos, time: UnixNanos, price: f64, fields: &Fields) -> Self {
        let mut bar = Self {
            start,
            first: time,
            last: time,
            open: fields.get(Field::OPEN).unwrap_or(price),
            high: price,
            low: price,
            close: price,
            volume: None,
            extra: Vec::new(),
        };
        bar.add(time, price, fields);
        bar
    }

    /// Adds a tick: a trade with one price, or a smaller bar with its own extremes.
    pub(super) fn add(&mut self, time: UnixNanos, price: f64, fields: &Fields) {
        let open = fields.get(Field::OPEN).unwrap_or(price);
        let (low, high) = (open.min(price), open.max(price));
        self.high = self.high.max(fields.get(Field::HIGH).unwrap_or(high));
        self.low = self.low.min(fields.get(Field::LOW).unwrap_or(low));
        if time < self.first {
            (self.first, self.open) = (time, open);
        }
        if time >= self.last {
            (self.last, self.close) = (time, price);
        }
        if let Some(volume) = fields.get(Field::VOLUME) {
            self.volume = Some(self.volume.unwrap_or(0.0) + volume);
        }
        for (column, value) in fields.extra() {
            let newest = Latest { column, time, value };
            match self.extra.iter_mut().find(|known| known.column == column) {
                Some(known) if time >= known.time => *known = newest,
                Some(_) => {}
                None => self.extra.push(newest),
            }
        }
    }

    /// The units traded so far; zero where no tick told any.
    pub(super) fn volume(&self) -> f64 {
        self.volume.unwrap_or(0.0)
    }

    /// The bar as a step that is complete at `end`.
    pub(super) fn close(&self, end: UnixNanos, after_gap: bool) -> Step {
        let prices = [self.open, self.high, self.low, self.close];
        Step { time: end, fields: self.fields(prices, self.volume), after_gap, patched: false }
    }

    /// The flat bar of an interval without ticks behind this one: its close, nothing traded, and
    /// its other fields as they were.
    pub(super) fn carry(&self, end: UnixNanos) -> Step {
        let fields = self.fields([self.close; 4], self.volume.map(|_| 0.0));
        Step { time: end, fields, after_gap: false, patched: true }
    }

    fn fields(&self, [open, high, low, close]: [f64; 4], volume: Option<f64>) -> Fields {
        let mut fields = Fields::EMPTY;
        fields.set(Field::OPEN, open);
        fields.set(Field::HIGH, high);
        fields.set(Field::LOW, low);
        fields.set(Field::CLOSE, close);
        if let Some(volume) = volume {
            fields.set(Field::VOLUME, volume);
        }
        for latest in &self.extra {
            fields.set_column(latest.column, latest.value);
        }
        fields
    }
}
