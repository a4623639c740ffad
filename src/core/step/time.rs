//! Bars of equal length in event time.
//!
//! Owns which bars are open and when each of them closes: with the first tick at or after its end
//! plus the lateness. Promises that the bars that come out depend on which ticks were taken and on
//! their order within an instant, and on nothing else; that at most `lateness / interval + 2` bars
//! are open; that an interval without ticks is carried only where the rule says so and nothing
//! is known to be missing; and that bars which history has filled are those of ticks that were
//! never missing. Never reads a clock: without a newer tick no bar closes.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bar::Bar;
use super::calendar::Calendar;
use crate::core::domain::{DurationNanos, Fields, Reject, Step, UnixNanos};
use crate::core::history::Span;

/// How bars of equal length are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeBars {
    /// The length of a bar.
    pub interval: DurationNanos,
    /// Bars begin at the epoch plus this plus a multiple of `interval`.
    pub offset: DurationNanos,
    /// How long a bar stays open after its end, in event time.
    pub lateness: DurationNanos,
    /// What becomes of an interval in which nothing came.
    pub empty: EmptyRule,
    /// The days on which there are bars, where they have the length of a day. A closed day is no
    /// interval in which nothing came.
    pub calendar: Option<Arc<Calendar>>,
}

/// What becomes of an interval in which nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyRule {
    /// There is no step, and the next one stands behind a gap.
    Skip,
    /// The last close is carried as a flat bar, marked as patched, at most so often in a row;
    /// what is left of the stretch is skipped. Nothing is carried over a known gap.
    Carry {
        /// The most flat bars in a row.
        steps_max: u32,
    },
}

/// The open bars of one symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TimeState {
    /// The newest event time that was taken.
    head: UnixNanos,
    /// Bars that begin at or before this instant may lack ticks.
    unsure_until: UnixNanos,
    /// Ticks may be missing between the head and the next newer tick.
    gap: bool,
    /// The open bars, by their beginning. The head's bar is always among them.
    open: VecDeque<Bar>,
    /// The newest closed bar, where empty intervals are carried.
    closed: Option<Bar>,
    /// How many intervals were carried since.
    carried: u32,
    /// The newest stretch that history covers: bars inside it are whole, whatever else is in doubt.
    /// It is not stored, because a gap follows a restart, and every open bar is in doubt then.
    #[serde(skip)]
    covered: Option<Span>,
}

/// What comes next.
enum Due {
    /// The oldest open bar is complete.
    Bar,
    /// An interval without ticks is over, and is carried.
    Carried,
}

impl TimeBars {
    /// Bars of `interval` aligned to the epoch, closed without waiting, empty ones skipped.
    pub const fn of(interval: DurationNanos) -> Self {
        let zero = DurationNanos::ZERO;
        Self { interval, offset: zero, lateness: zero, empty: EmptyRule::Skip, calendar: None }
    }

    /// Where the bar begins that is expected after one that ended so.
    fn resume(&self, end: UnixNanos) -> UnixNanos {
        let resumed = self.calendar.as_ref().and_then(|calendar| calendar.resume(end));
        resumed.unwrap_or(end)
    }

    /// The bar that holds an instant, as its start and end.
    pub(super) fn bounds(&self, time: UnixNanos) -> Result<(UnixNanos, UnixNanos), Reject> {
        let start = time.interval_start(self.interval, self.offset).ok_or(Reject::InvalidTime)?;
        let end = start.checked_add(self.interval).ok_or(Reject::InvalidTime)?;
        Ok((start, end))
    }
}

impl TimeState {
    /// Takes the first tick of all. What came before it is not known, so the bars that it finds
    /// begun are unsure.
    ///
    /// # Errors
    /// [`Reject::InvalidTime`] where its bar leaves the representable range.
    pub(super) fn begin(
        rule: &TimeBars,
        time: UnixNanos,
        price: f64,
        fields: &Fields,
    ) -> Result<Self, Reject> {
        let (start, _) = rule.bounds(time)?;
        let open = VecDeque::from([Bar::begin(start, time, price, fields)]);
        Ok(Self {
            head: time,
            unsure_until: time,
            gap: false,
            open,
            closed: None,
            carried: 0,
            covered: None,
        })
    }

    /// Takes a tick.
    ///
    /// # Errors
    /// [`Reject::Late`] where its bar is closed, [`Reject::InvalidTime`] where its bar leaves the
    /// representable range.
    pub(super) fn push(
        &mut self,
        rule: &TimeBars,
        time: UnixNanos,
        price: f64,
        fields: &Fields,
    ) -> Result<(), Reject> {
        let (start, end) = rule.bounds(time)?;
        if self.is_over(rule, end) {
            return Err(Reject::Late);
        }
        if time >= self.head {
            self.head = time;
            // A row of history lies before the place at which ticks may be missing.
            if !self.covers(time) && std::mem::take(&mut self.gap) {
                self.unsure_until = self.unsure_until.max(time);
            }
        }
        // Nearly always the last bar, or one behind it.
        let place = self.open.iter().rposition(|bar| bar.start <= start);
        match place.map(|place| (place, &mut self.open[place])) {
            Some((_, bar)) if bar.start == start => bar.add(time, price, fields),
            found => {
                let place = found.map_or(0, |(place, _)| place + 1);
                self.open.insert(place, Bar::begin(start, time, price, fields));
            }
        }
        Ok(())
    }

    /// Notes that ticks may be missing from here on: any bar that is open may lack some, and so
    /// may every bar up to that of the next newer tick.
    pub(super) fn mark_gap(&mut self) {
        self.gap = true;
        self.unsure_until = self.unsure_until.max(self.head);
    }

    /// Whether ticks may be missing between the head and the next newer tick.
    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    /// The stretch that may lack ticks in bars which can still take them, before the bar of a tick
    /// of this time. `newest` is the end of the newest step; `after_gap` says that ticks may be
    /// missing right before this one.
    ///
    /// Only a newer tick says that a bar before it is finished.
    pub(super) fn missing(
        &self,
        rule: &TimeBars,
        newest: Option<UnixNanos>,
        time: UnixNanos,
        after_gap: bool,
    ) -> Option<Span> {
        if time < self.head {
            return None;
        }
        let (start, _) = rule.bounds(time).ok()?;
        let to = if self.gap || after_gap {
            start
        } else {
            let (_, end) = rule.bounds(self.unsure_until).ok()?;
            if self.is_over(rule, end) {
                return None;
            }
            end.min(start)
        };
        let mut from = self.first_open(rule, newest)?;
        if let Some(covered) = self.covered.filter(|_| self.is_covered(rule, from)) {
            (from, _) = rule.bounds(covered.to).ok()?;
        }
        // Closed days are part of it: the calendar says what to expect, not what may have come.
        let span = Span { from, to };
        (!span.is_empty()).then_some(span)
    }

    /// Drops the bars of a stretch, which rows of history are to make out of nothing. Nothing in
    /// it is in doubt from here on.
    pub(super) fn rewind(&mut self, span: Span) {
        self.open.retain(|bar| !span.contains(bar.start));
        self.cover(span);
    }

    /// Notes that history has all ticks before an instant: bars before it are as certain as now,
    /// whatever is marked later.
    pub(super) fn cover_until(&mut self, until: UnixNanos) {
        let from = UnixNanos::from_nanos(self.unsure_until.as_nanos().saturating_add(1));
        self.cover(Span { from: from.min(until), to: until });
    }

    fn cover(&mut self, span: Span) {
        let touches = |covered: &Span| covered.from <= span.to && span.from <= covered.to;
        let covered = self.covered.filter(touches);
        self.covered = Some(covered.map_or(span, |covered| covered.union(span)));
    }

    /// Notes what was said of the tick that history was asked for: ticks may be missing between
    /// the stretch that was filled and this tick.
    pub(super) fn filled(&mut self, after_gap: bool) {
        self.gap |= after_gap;
    }

    /// Carries no interval until another bar is closed.
    pub(super) fn carry_nothing(&mut self) {
        self.closed = None;
    }

    /// Where what history covers ends.
    pub(super) fn covered_until(&self) -> Option<UnixNanos> {
        self.covered.map(|covered| covered.to)
    }

    /// Whether history covers an instant.
    fn covers(&self, time: UnixNanos) -> bool {
        self.covered.is_some_and(|covered| covered.contains(time))
    }

    /// Whether history covers the whole bar that begins here.
    fn is_covered(&self, rule: &TimeBars, start: UnixNanos) -> bool {
        let end = start.checked_add(rule.interval);
        self.covers(start) && self.covered.zip(end).is_some_and(|(covered, end)| end <= covered.to)
    }

    /// Where the first bar begins that can still take ticks.
    fn first_open(&self, rule: &TimeBars, newest: Option<UnixNanos>) -> Option<UnixNanos> {
        let (mut first, _) = rule.bounds(self.head).ok()?;
        // Bars before the first tick of all are none of this symbol's.
        let floor = newest.or_else(|| self.open.front().map(|bar| bar.start)).unwrap_or(first);
        while first > floor && !self.is_over(rule, first) {
            let before = first.as_nanos().checked_sub(rule.interval.as_nanos())?;
            first = UnixNanos::from_nanos(before);
        }
        Some(first)
    }

    /// The newest event time that was taken.
    pub(super) fn head(&self) -> UnixNanos {
        self.head
    }

    /// Whether a step can be popped; `newest` is the end of the newest one.
    pub(super) fn is_due(&self, rule: &TimeBars, newest: Option<UnixNanos>) -> bool {
        self.due(rule, newest).is_some()
    }

    /// The next step; `newest` is the end of the one before.
    pub(super) fn pop(&mut self, rule: &TimeBars, newest: Option<UnixNanos>) -> Option<Step> {
        match self.due(rule, newest)? {
            Due::Carried => {
                let end = rule.resume(newest?).checked_add(rule.interval)?;
                let step = self.closed.as_ref()?.carry(end);
                self.carried += 1;
                Some(step)
            }
            Due::Bar => {
                let bar = self.open.pop_front()?;
                let end = bar.start.checked_add(rule.interval)?;
                let skipped = newest.is_some_and(|newest| rule.resume(newest) < bar.start);
                let is_unsure = bar.start <= self.unsure_until && !self.is_covered(rule, bar.start);
                let step = bar.close(end, skipped || is_unsure);
                self.carried = 0;
                self.closed = matches!(rule.empty, EmptyRule::Carry { .. }).then_some(bar);
                Some(step)
            }
        }
    }

    fn due(&self, rule: &TimeBars, newest: Option<UnixNanos>) -> Option<Due> {
        let bar = self.open.front()?;
        if let (Some(newest), EmptyRule::Carry { steps_max }) = (newest, rule.empty)
            && rule.resume(newest) < bar.start
            && (newest > self.unsure_until || self.is_covered(rule, rule.resume(newest)))
            && self.carried < steps_max
            && self.closed.is_some()
        {
            // The interval behind the newest step has no tick, and may get one until it is over.
            let end = rule.resume(newest).checked_add(rule.interval)?;
            return self.is_over(rule, end).then_some(Due::Carried);
        }
        let end = bar.start.checked_add(rule.interval)?;
        self.is_over(rule, end).then_some(Due::Bar)
    }

    /// Whether a bar with this end takes no more ticks.
    fn is_over(&self, rule: &TimeBars, end: UnixNanos) -> bool {
        // A span that overflows is longer than any lateness.
        self.head >= end && self.head.since(end).is_none_or(|span| span >= rule.lateness)
    }
}
