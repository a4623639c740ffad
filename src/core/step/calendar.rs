//! The days on which there are steps.
//!
//! Owns the count of days: which of them are open, and the day that so many open ones lead to.
//! Promises that a step on a closed day is counted like any other: the calendar tells what to
//! expect, never what may come. Never reads a clock.

use crate::core::domain::{DurationNanos, UnixNanos};

const DAY: DurationNanos = match DurationNanos::from_seconds(86_400) {
    Some(day) => day,
    None => DurationNanos::MAX,
};

/// Days of one week that have steps, and dates that have none. Days are counted from 1970-01-01.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Monday in the lowest bit; at least one day is open.
    weekdays: u8,
    /// Closed days on open days of the week, in order.
    holidays: Box<[i64]>,
    /// Where a day begins.
    offset: DurationNanos,
    /// How long after the beginning of its day a step has its time: a bar has that of its end.
    shift: DurationNanos,
}

impl Calendar {
    /// A calendar of these days of the week, the first of which is Monday, and holidays. `None`
    /// where every day of the week is closed.
    ///
    /// Days begin at `offset` after midnight UTC, and the time of a step is `shift` later than its
    /// day.
    pub fn new(
        weekdays: [bool; 7],
        holidays: impl IntoIterator<Item = i64>,
        offset: DurationNanos,
        shift: DurationNanos,
    ) -> Option<Self> {
        let bit = |(place, open): (usize, bool)| u8::from(open) << place;
        let weekdays = weekdays.into_iter().enumerate().map(bit).sum();
        if weekdays == 0 {
            return None;
        }
        let plain = Self { weekdays, holidays: Box::default(), offset, shift };
        let mut holidays: Vec<_> = holidays.into_iter().filter(|day| plain.is_open(*day)).collect();
        holidays.sort_unstable();
        holidays.dedup();
        Some(Self { holidays: holidays.into(), ..plain })
    }

    /// The day of a step.
    pub fn day_of_step(&self, time: UnixNanos) -> i64 {
        // Times near the ends of the range have a day near them, which is as good.
        let nanos = time.as_nanos().saturating_sub(self.shift.as_nanos());
        nanos.saturating_sub(self.offset.as_nanos()).div_euclid(DAY.as_nanos())
    }

    /// Whether steps are expected on a day.
    pub fn is_open(&self, day: i64) -> bool {
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        self.weekdays >> weekday & 1 == 1 && self.holidays.binary_search(&day).is_err()
    }

    /// Whether steps are expected on the day that this instant lies in.
    pub fn is_open_at(&self, instant: UnixNanos) -> bool {
        let nanos = instant.as_nanos().saturating_sub(self.offset.as_nanos());
        self.is_open(nanos.div_euclid(DAY.as_nanos()))
    }

    /// The time of the step that is expected `steps` after that of `time`; `None` beyond the
    /// representable range.
    pub fn target(&self, time: UnixNanos, steps: u32) -> Option<UnixNanos> {
        let (mut day, mut target) = (self.day_of_step(time), time);
        let mut left = steps;
        while left > 0 {
            day += 1;
            target = target.checked_add(DAY)?;
            left -= u32::from(self.is_open(day));
        }
        Some(target)
    }

    /// The beginning of the first open day at or after an instant at which a day begins.
    pub fn resume(&self, start: UnixNanos) -> Option<UnixNanos> {
        let mut resumed = start;
        let mut day = self.day_of_step(start.checked_add(self.shift)?);
        while !self.is_open(day) {
            day += 1;
            resumed = resumed.checked_add(DAY)?;
        }
        Some(resumed)
    }

    /// The distance between two steps without the closed days between them; `None` where it
    /// overflows.
    pub fn open_span(&self, earlier: UnixNanos, later: UnixNanos) -> Option<DurationNanos> {
        let span = later.since(earlier)?;
        let days = self.day_of_step(earlier) + 1..self.day_of_step(later);
        let closed = u32::try_from(self.closed(days)).ok()?;
        let closed = DAY.times(closed)?;
        Some(span.minus(closed))
    }

    /// In how many days in a row there are always so many open ones.
    pub fn days_of(&self, steps: u32) -> u32 {
        let open_a_week = self.weekdays.count_ones();
        let days_of = |steps: u32| steps.div_ceil(open_a_week).saturating_add(1).saturating_mul(7);
        // Each holiday takes one more open day, and more days may hold more holidays.
        let mut closed = 0;
        loop {
            let days = days_of(steps.saturating_add(closed));
            let more = self.holidays_max(days);
            if more <= closed {
                return days;
            }
            closed = more;
        }
    }

    /// The most holidays that so many days in a row hold.
    fn holidays_max(&self, days: u32) -> u32 {
        let behind = |(place, first): (usize, &i64)| {
            let end = first.saturating_add(i64::from(days));
            self.holidays.partition_point(|holiday| *holiday < end) - place
        };
        let most = self.holidays.iter().enumerate().map(behind).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// How many of these days are closed.
    fn closed(&self, days: std::ops::Range<i64>) -> i64 {
        if days.is_empty() {
            return 0;
        }
        let (weeks, rest) = ((days.end - days.start) / 7, (days.end - days.start) % 7);
        let closed_a_week = 7 - i64::from(self.weekdays.count_ones());
        let by_weekday = |day: &i64| self.weekdays >> (day + 3).rem_euclid(7) & 1 == 0;
        let in_rest = (days.end - rest..days.end).filter(by_weekday).count() as i64;
        let place = |day: i64| self.holidays.partition_point(|holiday| *holiday < day) as i64;
        weeks * closed_a_week + in_rest + place(days.end) - place(days.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MONDAY_TO_FRIDAY: [bool; 7] = [true, true, true, true, true, false, false];

    fn at(text: &str) -> UnixNanos {
        UnixNanos::parse(text).unwrap()
    }

    fn day(text: &str) -> i64 {
        at(text).as_nanos() / DAY.as_nanos()
    }

    /// The exchange in New York, as far as the tests need it.
    fn new_york(shift: DurationNanos) -> Calendar {
        let holidays = ["2013-02-18", "2013-03-29", "2013-03-30"].map(day);
        Calendar::new(MONDAY_TO_FRIDAY, holidays, DurationNanos::ZERO, shift).unwrap()
    }

    #[test]
    fn a_friday_is_followed_by_a_monday_and_holidays_by_what_comes_after() {
        let calendar = new_york(DurationNanos::ZERO);
        let target = |text, steps| calendar.target(at(text), steps).unwrap().to_string();
        assert_eq!(target("2013-03-01", 1), "2013-03-04T00:00:00Z");
        assert_eq!(target("2013-02-28", 1), "2013-03-01T00:00:00Z");
        assert_eq!(target("2013-02-15", 1), "2013-02-19T00:00:00Z", "Washington's birthday");
        assert_eq!(target("2013-03-28", 1), "2013-04-01T00:00:00Z", "Good Friday");
        assert_eq!(target("2013-03-01T21:00:00Z", 5), "2013-03-08T21:00:00Z");
        assert_eq!(target("2013-03-02", 1), "2013-03-04T00:00:00Z", "from a closed day");
        assert_eq!(calendar.target(UnixNanos::from_nanos(i64::MAX), 1), None);
    }

    #[test]
    fn a_bar_has_the_time_of_its_end() {
        let calendar = new_york(DAY);
        // The bar of Friday ends on Saturday, and that of Monday on Tuesday.
        assert_eq!(calendar.target(at("2013-03-02"), 1), Some(at("2013-03-05")));
        assert_eq!(calendar.resume(at("2013-03-02")), Some(at("2013-03-04")));
        assert_eq!(calendar.resume(at("2013-03-05")), Some(at("2013-03-05")));
    }

    #[test]
    fn closed_days_are_no_distance() {
        let calendar = new_york(DurationNanos::ZERO);
        let span = |from, to| calendar.open_span(at(from), at(to)).unwrap();
        assert_eq!(span("2013-03-01", "2013-03-04"), DAY);
        assert_eq!(span("2013-02-15", "2013-02-19"), DAY);
        assert_eq!(span("2013-03-01", "2013-03-02"), DAY, "a step on a closed day");
        assert_eq!(span("2013-03-01", "2013-03-11"), DAY.times(6).unwrap());
    }

    #[test]
    fn a_week_without_days_is_none() {
        let zero = DurationNanos::ZERO;
        assert_eq!(Calendar::new([false; 7], [], zero, zero), None);
    }

    proptest! {
        /// So many days hold as many steps, wherever they lie.
        #[test]
        fn days_are_enough_for_their_steps(
            open in 1_u8..128,
            holidays in proptest::collection::vec(-60_i64..60, 0..40),
            from in -200_i64..200,
            steps in 1_u32..40,
        ) {
            let weekdays = std::array::from_fn(|place| open >> place & 1 == 1);
            let zero = DurationNanos::ZERO;
            let calendar = Calendar::new(weekdays, holidays, zero, zero).unwrap();
            let days = i64::from(calendar.days_of(steps));
            let found = (from..from + days).filter(|day| calendar.is_open(*day)).count();
            prop_assert!(found >= steps as usize, "{found} of {steps} in {days} days");
        }

        /// The way there and the distance agree, whatever the calendar.
        #[test]
        fn the_step_that_is_expected_lies_so_many_steps_away(
            open in 1_u8..128,
            holidays in proptest::collection::vec(-400_i64..400, 0..40),
            from in -300_i64..300,
            steps in 1_u32..40,
        ) {
            let weekdays = std::array::from_fn(|place| open >> place & 1 == 1);
            let zero = DurationNanos::ZERO;
            let calendar = Calendar::new(weekdays, holidays, zero, zero).unwrap();
            let time = UnixNanos::from_nanos(from * DAY.as_nanos());
            let target = calendar.target(time, steps).unwrap();
            prop_assert!(calendar.is_open(calendar.day_of_step(target)));
            prop_assert_eq!(calendar.open_span(time, target), DAY.times(steps));
        }
    }
}
