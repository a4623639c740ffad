//! Whether the market is open, by the calendars of the live models.
//!
//! Owns the gauge. Promises to look at the clock at a scrape alone, and that nothing but alerts
//! rests on it. Never reaches a forecast.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, IntGauge};

use crate::core::domain::UnixNanos;
use crate::core::step::Calendar;
use crate::ops::clock::wall_time;

/// The gauge; cloning shares it.
#[derive(Clone)]
pub(super) struct Market {
    open: IntGauge,
    /// `None` for a model that expects steps on every day. A lock, because a reload writes it and a
    /// scrape reads it, both rarely.
    calendars: Arc<Mutex<Vec<Option<Arc<Calendar>>>>>,
}

impl Market {
    pub(super) fn new() -> Result<Self, Error> {
        let help = "1 while the calendar of a live model expects a step today, else 0.";
        let open = IntGauge::new("tickcast_market_open", help)?;
        Ok(Self { open, calendars: Arc::default() })
    }

    /// Follows the calendars of other models.
    pub(super) fn follow(&self, calendars: Vec<Option<Arc<Calendar>>>) {
        *self.calendars.lock().unwrap_or_else(PoisonError::into_inner) = calendars;
    }

    fn look(&self, now: Option<UnixNanos>) {
        let calendars = self.calendars.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that cannot be right must not silence an alert.
        let is_open = |calendar: &Option<Arc<Calendar>>| match (calendar, now) {
            (Some(calendar), Some(now)) => calendar.is_open_at(now),
            _ => true,
        };
        self.open.set(i64::from(calendars.is_empty() || calendars.iter().any(is_open)));
    }
}

impl Collector for Market {
    fn desc(&self) -> Vec<&Desc> {
        self.open.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.look(wall_time());
        self.open.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::DurationNanos;

    #[test]
    fn the_market_follows_the_calendar_and_its_days() {
        let market = Market::new().unwrap();
        let is_open = |text: &str| {
            market.look(Some(UnixNanos::parse(text).unwrap()));
            market.open.get() == 1
        };
        assert!(is_open("2013-12-28T12:00:00Z"), "without a calendar every day is open");
        let week = [true, true, true, true, true, false, false];
        let christmas = UnixNanos::parse("2013-12-25T00:00:00Z").unwrap();
        let christmas = christmas.as_nanos() / (86_400 * 1_000_000_000);
        let hours = |hours: i64| DurationNanos::from_seconds(hours * 3600).unwrap();
        // A day that begins at 22:00 has the weekday of its beginning.
        for (offset, is_saturday_noon_open) in [(0, false), (22, true)] {
            let calendar = Calendar::new(week, [christmas], hours(offset), hours(24)).unwrap();
            market.follow(vec![Some(Arc::new(calendar))]);
            assert!(is_open("2013-12-27T23:00:00Z"), "a Friday");
            assert_eq!(is_open("2013-12-28T12:00:00Z"), is_saturday_noon_open);
            assert!(!is_open("2013-12-28T23:00:00Z"), "a Saturday");
            assert!(!is_open("2013-12-29T21:00:00Z"), "a Sunday");
            assert!(!is_open("2013-12-25T23:00:00Z"), "a holiday");
            assert!(is_open("2013-12-30T23:00:00Z"), "a Monday");
        }
        let monday = [true, false, false, false, false, false, false];
        let monday = Calendar::new(monday, [], hours(0), hours(24)).map(Arc::new);
        market.follow(vec![monday.clone()]);
        assert!(!is_open("2013-12-28T12:00:00Z"), "a Saturday");
        market.follow(vec![monday, None]);
        assert!(is_open("2013-12-28T12:00:00Z"), "one of two models expects a step");
        market.look(None);
        assert_eq!(market.open.get(), 1, "no clock");
    }
}
