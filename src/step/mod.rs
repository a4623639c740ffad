//! From ticks to steps, per symbol: records as they come, or bars by event time.
//!
//! Owns the order of event time within a symbol. Promises that the times of a symbol's steps rise
//! strictly, and that a bar is closed by data alone, never by a clock. Never fills an interval in
//! which nothing came: it marks the next step as standing behind a gap.

use serde::{Deserialize, Serialize};

use crate::domain::{DurationNanos, Field, Fields, Reject, Step, UnixNanos};

/// How ticks become steps: shared and immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepRule {
    /// Every tick is a step.
    Record,
    /// Bars of this length, aligned to the epoch in event time.
    Time(DurationNanos),
}

/// The step state of one symbol: small and serialisable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Record: time of the newest step. Bars: end of the newest closed bar.
    newest: Option<UnixNanos>,
    /// Whether data known to be missing lies before the next step.
    after_gap: bool,
    /// The bar being built.
    bar: Option<Bar>,
}

/// A bar in the making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bar {
    start: UnixNanos,
    /// Event times of the first and the last tick, which give `open` and `close`.
    first: UnixNanos,
    last: UnixNanos,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: Option<f64>,
    after_gap: bool,
    /// The newest value of every other field, by column.
    extra: Vec<(u8, f64)>,
}

impl StepRule {
    /// The fields that every tick must carry, given those that every step must have: bars make
    /// their extremes out of prices.
    pub fn required(self, of_steps: &[Field]) -> Vec<Field> {
        let made = |field: &Field| match (self, *field) {
            (Self::Time(_), Field::OPEN | Field::HIGH | Field::LOW) => Field::CLOSE,
            (_, field) => field,
        };
        let mut of_ticks: Vec<_> = of_steps.iter().map(made).collect();
        if matches!(self, Self::Time(_)) {
            of_ticks.push(Field::CLOSE);
        }
        of_ticks.sort_unstable();
        of_ticks.dedup();
        of_ticks
    }
}

impl StepState {
    /// Notes that data of this symbol may be missing between the newest tick and the next one:
    /// the tail of the open bar as well as what follows it.
    pub fn mark_gap(&mut self) {
        self.after_gap = true;
        if let Some(bar) = &mut self.bar {
            bar.after_gap = true;
        }
    }

    /// Event time of the newest tick; where no bar is open, of the newest step.
    pub fn newest_tick(&self) -> Option<UnixNanos> {
        self.bar.as_ref().map(|bar| bar.last).or(self.newest)
    }

    /// Takes one tick and returns the step that it completes, if any.
    ///
    /// Under [`StepRule::Time`] a tick inside the open bar may come out of order; `open` and
    /// `close` follow event time. The step that a tick completes is the bar before it.
    ///
    /// # Errors
    /// [`Reject::Duplicate`] or [`Reject::OutOfOrder`] for a tick at or before the newest step,
    /// [`Reject::MissingField`] for a tick without a price where bars are built, and
    /// [`Reject::InvalidTime`] where its bar leaves the representable range.
    pub fn push(
        &mut self,
        rule: StepRule,
        time: UnixNanos,
        fields: &Fields,
    ) -> Result<Option<Step>, Reject> {
        match rule {
            StepRule::Record => self.push_record(time, fields).map(Some),
            StepRule::Time(interval) => self.push_bar(interval, time, fields),
        }
    }

    /// Whether a record of this time may follow the newest one.
    ///
    /// # Errors
    /// [`Reject::Duplicate`] or [`Reject::OutOfOrder`].
    pub fn check_record(&self, time: UnixNanos) -> Result<(), Reject> {
        match self.newest {
            Some(newest) if time == newest => Err(Reject::Duplicate),
            Some(newest) if time < newest => Err(Reject::OutOfOrder),
            _ => Ok(()),
        }
    }

    fn push_record(&mut self, time: UnixNanos, fields: &Fields) -> Result<Step, Reject> {
        self.check_record(time)?;
        self.newest = Some(time);
        let after_gap = std::mem::take(&mut self.after_gap);
        Ok(Step { time, fields: *fields, after_gap })
    }

    fn push_bar(
        &mut self,
        interval: DurationNanos,
        time: UnixNanos,
        fields: &Fields,
    ) -> Result<Option<Step>, Reject> {
        let price = fields.price().ok_or(Reject::MissingField)?;
        let start = time.interval_start(interval).ok_or(Reject::InvalidTime)?;
        start.checked_add(interval).ok_or(Reject::InvalidTime)?;
        // The open bar is the newest one; without it, the end of the newest closed bar counts.
        let open_start = self.bar.as_ref().map(|bar| bar.start).or(self.newest);
        if open_start.is_some_and(|open| start < open) {
            return Err(Reject::OutOfOrder);
        }
        match &mut self.bar {
            Some(bar) if bar.start == start => {
                bar.after_gap |= std::mem::take(&mut self.after_gap);
                bar.add(time, price, fields);
                Ok(None)
            }
            open => {
                // What came before the first tick of all is not known, so the first bar is partial.
                let first = open.is_none();
                let after_gap = std::mem::take(&mut self.after_gap) || first;
                let next = Bar::begin(start, time, price, fields, after_gap);
                let Some(bar) = open.replace(next) else {
                    return Ok(None);
                };
                let end = bar.start.checked_add(interval).ok_or(Reject::InvalidTime)?;
                self.newest = Some(end);
                // Intervals in which nothing came stand between the two bars.
                if let Some(next) = open {
                    next.after_gap |= start > end;
                }
                Ok(Some(bar.close(end)))
            }
        }
    }
}

impl Bar {
    fn begin(
        start: UnixNanos,
        time: UnixNanos,
        price: f64,
        fields: &Fields,
        after_gap: bool,
    ) -> Self {
        let mut bar = Self {
            start,
            first: time,
            last: time,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: None,
            after_gap,
            extra: Vec::new(),
        };
        bar.open = fields.get(Field::OPEN).unwrap_or(price);
        bar.add(time, price, fields);
        bar
    }

    /// Adds a tick: a trade with one price, or a smaller bar with its own extremes.
    fn add(&mut self, time: UnixNanos, price: f64, fields: &Fields) {
        let open = fields.get(Field::OPEN).unwrap_or(price);
        let (low, high) = (open.min(price), open.max(price));
        self.high = self.high.max(fields.get(Field::HIGH).unwrap_or(high));
        self.low = self.low.min(fields.get(Field::LOW).unwrap_or(low));
        if time < self.first {
            (self.first, self.open) = (time, open);
        }
        let newest = time >= self.last;
        if newest {
            (self.last, self.close) = (time, price);
        }
        if let Some(volume) = fields.get(Field::VOLUME) {
            self.volume = Some(self.volume.unwrap_or(0.0) + volume);
        }
        for (column, value) in fields.extra() {
            match self.extra.iter_mut().find(|(known, _)| *known == column) {
                Some((_, last)) if newest => *last = value,
                Some(_) => {}
                None => self.extra.push((column, value)),
            }
        }
    }

    fn close(self, end: UnixNanos) -> Step {
        let mut fields = Fields::EMPTY;
        fields.set(Field::OPEN, self.open);
        fields.set(Field::HIGH, self.high);
        fields.set(Field::LOW, self.low);
        fields.set(Field::CLOSE, self.close);
        if let Some(volume) = self.volume {
            fields.set(Field::VOLUME, volume);
        }
        for (column, value) in self.extra {
            fields.set_extra(column, value);
        }
        Step { time: end, fields, after_gap: self.after_gap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixNanos {
        UnixNanos::from_nanos(seconds * 1_000_000_000)
    }

    fn trade(price: f64, volume: f64) -> Fields {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::PRICE, price).unwrap();
        fields.set_checked(Field::VOLUME, volume).unwrap();
        fields
    }

    fn minute() -> StepRule {
        StepRule::Time(DurationNanos::from_seconds(60).unwrap())
    }

    #[test]
    fn records_rise_strictly_in_time() {
        let mut state = StepState::default();
        let mut push = |time| state.push(StepRule::Record, at(time), &trade(1.0, 1.0));
        assert!(push(10).unwrap().is_some());
        assert_eq!(push(10), Err(Reject::Duplicate));
        assert_eq!(push(9), Err(Reject::OutOfOrder));
        assert!(push(11).unwrap().is_some());
    }

    #[test]
    fn a_gap_marks_exactly_the_next_step() {
        let mut state = StepState::default();
        let mut gaps = Vec::new();
        for time in 0..4 {
            if time == 2 {
                state.mark_gap();
            }
            let step = state.push(StepRule::Record, at(time), &trade(1.0, 1.0)).unwrap();
            gaps.push(step.unwrap().after_gap);
        }
        assert_eq!(gaps, [false, false, true, false]);
    }

    #[test]
    fn bars_have_their_hand_computed_values() {
        let mut state = StepState::default();
        let ticks = [(0, 10.0, 1.0), (5, 12.0, 2.0), (3, 8.0, 4.0), (59, 11.0, 8.0)];
        for (time, price, volume) in ticks {
            assert_eq!(state.push(minute(), at(time), &trade(price, volume)), Ok(None));
        }
        let step = state.push(minute(), at(60), &trade(20.0, 1.0)).unwrap().unwrap();
        assert_eq!(step.time, at(60), "a bar is known at its end");
        let fields = [Field::OPEN, Field::HIGH, Field::LOW, Field::CLOSE, Field::VOLUME];
        let values: Vec<_> = fields.iter().map(|field| step.fields.get(*field)).collect();
        assert_eq!(values, [10.0, 12.0, 8.0, 11.0, 15.0].map(Some));
        assert!(step.after_gap, "the first bar may be partial");
        let step = state.push(minute(), at(120), &trade(20.0, 1.0)).unwrap().unwrap();
        assert!(!step.after_gap, "the second one is whole");
    }

    #[test]
    fn ticks_out_of_order_inside_a_bar_follow_event_time() {
        let mut state = StepState::default();
        for (time, price) in [(30, 2.0), (10, 1.0), (50, 4.0), (40, 3.0)] {
            state.push(minute(), at(time), &trade(price, 1.0)).unwrap();
        }
        let step = state.push(minute(), at(61), &trade(9.0, 1.0)).unwrap().unwrap();
        assert_eq!(step.fields.get(Field::OPEN), Some(1.0));
        assert_eq!(step.fields.get(Field::CLOSE), Some(4.0));
        let late = state.push(minute(), at(59), &trade(5.0, 1.0));
        assert_eq!(late, Err(Reject::OutOfOrder), "its bar is closed");
    }

    #[test]
    fn an_empty_interval_is_a_gap_and_not_a_flat_bar() {
        let mut state = StepState::default();
        state.push(minute(), at(0), &trade(1.0, 1.0)).unwrap();
        let first = state.push(minute(), at(180), &trade(2.0, 1.0)).unwrap().unwrap();
        assert_eq!(first.time, at(60));
        let second = state.push(minute(), at(240), &trade(3.0, 1.0)).unwrap().unwrap();
        assert_eq!((second.time, second.after_gap), (at(240), true));
        let third = state.push(minute(), at(300), &trade(3.0, 1.0)).unwrap().unwrap();
        assert_eq!((third.time, third.after_gap), (at(300), false));
    }

    #[test]
    fn bars_ask_of_ticks_only_what_they_cannot_make() {
        let of_steps = [Field::HIGH, Field::LOW, Field::VOLUME];
        assert_eq!(minute().required(&of_steps), [Field::CLOSE, Field::VOLUME]);
        assert_eq!(StepRule::Record.required(&of_steps), of_steps);
    }

    #[test]
    fn smaller_bars_make_a_larger_one() {
        let mut state = StepState::default();
        let mut bar = Fields::EMPTY;
        for (field, value) in
            [(Field::OPEN, 5.0), (Field::HIGH, 9.0), (Field::LOW, 3.0), (Field::CLOSE, 4.0)]
        {
            bar.set_checked(field, value).unwrap();
        }
        state.push(minute(), at(0), &bar).unwrap();
        let step = state.push(minute(), at(60), &bar).unwrap().unwrap();
        assert_eq!(step.fields.get(Field::OPEN), Some(5.0));
        assert_eq!(step.fields.get(Field::HIGH), Some(9.0));
        assert_eq!(step.fields.get(Field::LOW), Some(3.0));
        assert_eq!(step.fields.get(Field::CLOSE), Some(4.0));
        assert_eq!(step.fields.get(Field::VOLUME), None);
    }
}
