//! How many per second, over about the last second.
//!
//! Owns a short history of a growing count. Promises bounded memory at any rate of observation.
//! Never reads a clock: elapsed time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

/// What "now" means to a person who looks on.
const SPAN: Duration = Duration::from_secs(1);

/// Observations closer together than this replace each other; with [`SPAN`] it bounds the history.
const STEP: Duration = Duration::from_millis(50);

/// A count's rate over about the last second.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Elapsed time and count, oldest first; at least [`STEP`] apart, the oldest kept one at
    /// least [`SPAN`] before the newest where there is one so old.
    history: VecDeque<(Duration, u64)>,
    newest: (Duration, u64),
}

impl Meter {
    /// Notes the count at `elapsed`; both only grow.
    pub fn observe(&mut self, elapsed: Duration, count: u64) {
        self.newest = (elapsed, count);
        let last = self.history.back();
        if last.is_none_or(|(at, _)| elapsed.saturating_sub(*at) >= STEP) {
            self.history.push_back(self.newest);
        }
        while self.history.get(1).is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= SPAN) {
            self.history.pop_front();
        }
    }

    /// The rate; zero before there is a span to speak of.
    pub fn per_second(&self) -> f64 {
        let Some((from, before)) = self.history.front() else { return 0.0 };
        let seconds = self.newest.0.saturating_sub(*from).as_secs_f64();
        if seconds < STEP.as_secs_f64() {
            return 0.0;
        }
        self.newest.1.saturating_sub(*before) as f64 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_last_second() {
        let mut meter = Meter::default();
        assert_eq!(meter.per_second(), 0.0);
        // 100 per second for two seconds, then 1000 per second for one.
        for millis in 0..2000 {
            meter.observe(Duration::from_millis(millis), millis / 10);
        }
        assert!((meter.per_second() - 100.0).abs() < 2.0, "{}", meter.per_second());
        for millis in 2000..=3100 {
            meter.observe(Duration::from_millis(millis), 200 + (millis - 2000));
        }
        assert!((meter.per_second() - 1000.0).abs() < 2.0, "{}", meter.per_second());
        meter.observe(Duration::from_secs(60), 1300);
        meter.observe(Duration::from_secs(62), 1300);
        assert_eq!(meter.per_second(), 0.0);
    }

    #[test]
    fn remembers_little_at_any_rate() {
        let mut meter = Meter::default();
        for micros in (0..10_000_000).step_by(100) {
            meter.observe(Duration::from_micros(micros), micros);
            assert!(meter.history.len() <= 22, "{}", meter.history.len());
        }
    }
}
