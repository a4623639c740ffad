//! How a symbol is: live, quiet, stale, dead, awaited, restored or implausible, from facts that are
//! handed in.
//!
//! Owns the rule, the estimate of how often a symbol has a tick, and in `refusals` the rule by
//! which a stream counts as refused as a whole. Promises that the same facts give the same state,
//! that an estimate has a fixed size and costs a few operations for each tick, and that a feed that
//! is gone is told from a market that is quiet. Never reads a clock, and never touches a forecast:
//! what it says is for people and alerts.

mod refusals;

use std::time::Duration;

pub use self::refusals::{CLOCK_ERROR_MAX, Counts, Reception, Refusals};
use crate::core::domain::Symbol;

/// How a symbol is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Ticks come as they usually do.
    #[default]
    Live,
    /// None came for longer than usual; its feed is there.
    Quiet,
    /// None came for so long that its newest one says little about now; its feed is there.
    Stale,
    /// Its feed is gone: nothing can come.
    Dead,
    /// No tick of it has ever come: the configuration names it, or its history is known.
    Awaited,
    /// Ticks come, and their times cannot be right.
    Implausible,
    /// Its state was restored, and its feed has not been there yet since the process began.
    Restored,
}

/// How the subscription of a configured symbol is, the best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subscription {
    /// The venue has acknowledged it, or nothing has to be acknowledged.
    #[default]
    Acknowledged,
    /// The venue has not answered yet, or has left it without an answer.
    Unacknowledged,
    /// The venue has refused it.
    Refused,
}

/// The symbols that the configuration of a source names.
pub trait ExpectedSymbols: Send + Sync {
    /// The symbols, as their ticks name them, each once. They never change.
    fn symbols(&self) -> Vec<Symbol>;

    /// How the subscription of the symbol at this place of the list is now.
    fn subscription(&self, index: usize) -> Subscription;
}

/// What a feed says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedLink {
    /// It is there: where nothing comes, nothing happens.
    Connected,
    /// It is not.
    Lost,
    /// It has not been there since the process began, which is not long ago.
    NotYet,
}

/// When silence means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthLimits {
    /// No silence shorter than this is more than live.
    pub quiet_min: Duration,
    /// No silence shorter than this is more than quiet.
    pub stale_min: Duration,
    /// A silence of so many usual waits is stale.
    pub stale_waits: u32,
    /// The usual wait of a symbol that has not had two ticks yet.
    pub first_wait: Duration,
}

/// When ticks of one symbol came, and how far apart they usually are. Times are since the process
/// began, on a clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrivals {
    newest_ms: u64,
    /// Whether a tick has come.
    is_heard: bool,
    /// Mean and mean deviation of the waits, which recent ones shape most; none before the first.
    wait_ms: Option<(f32, f32)>,
}

/// The weights of the newest wait, as TCP estimates round trips (RFC 6298).
const MEAN_WEIGHT: f32 = 1.0 / 8.0;
const DEVIATION_WEIGHT: f32 = 1.0 / 4.0;

/// So many deviations above the mean a wait is still usual (the same).
const DEVIATIONS: f32 = 4.0;

impl Health {
    /// Every state: those of silence, the best first, then that of wrong times and that of a start.
    pub const ALL: [Self; 7] = [
        Self::Live,
        Self::Quiet,
        Self::Stale,
        Self::Dead,
        Self::Awaited,
        Self::Implausible,
        Self::Restored,
    ];

    /// The state as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Quiet => "quiet",
            Self::Stale => "stale",
            Self::Dead => "dead",
            Self::Awaited => "awaited",
            Self::Implausible => "implausible",
            Self::Restored => "restored",
        }
    }

    /// The state of a symbol whose times are plausible or not. Where nothing has come for long,
    /// that says more than wrong times.
    #[must_use]
    pub const fn with_times(self, plausible: bool) -> Self {
        match self {
            Self::Live | Self::Quiet if !plausible => Self::Implausible,
            other => other,
        }
    }
}

impl Subscription {
    /// Why a symbol with such a subscription has no ticks, as the API and metrics say it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Acknowledged => "silent",
            Self::Unacknowledged => "unacknowledged",
            Self::Refused => "refused",
        }
    }
}

impl Arrivals {
    /// Those of a symbol that is first heard of now.
    pub fn new(now: Duration) -> Self {
        Self { newest_ms: milliseconds(now), is_heard: true, wait_ms: None }
    }

    /// Those of a symbol that is known from its history alone, since now.
    pub fn awaited(now: Duration) -> Self {
        Self { is_heard: false, ..Self::new(now) }
    }

    /// A tick came. Ticks of one moment count as one.
    pub fn note(&mut self, now: Duration) {
        if !self.is_heard {
            *self = Self::new(now);
            return;
        }
        let now_ms = milliseconds(now);
        if now_ms <= self.newest_ms {
            return;
        }
        // Far beyond the precision of any limit the numbers only have to stay in order.
        let wait = (now_ms - self.newest_ms) as f32;
        self.newest_ms = now_ms;
        self.wait_ms = Some(match self.wait_ms {
            None => (wait, wait / 2.0),
            Some((mean, deviation)) => {
                let error = wait - mean;
                let off = error.abs() - deviation;
                (mean + MEAN_WEIGHT * error, deviation + DEVIATION_WEIGHT * off)
            }
        });
    }

    /// Of the ticks of one symbol as two have heard them: those of the one that has heard one last.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        let order = |of: &Self| (of.is_heard, of.newest_ms);
        if order(&other) > order(&self) { other } else { self }
    }

    /// How long the symbol has been silent.
    pub fn silence(&self, now: Duration) -> Duration {
        Duration::from_millis(milliseconds(now).saturating_sub(self.newest_ms))
    }

    /// The longest wait that is still usual.
    pub fn usual_wait(&self, limits: &HealthLimits) -> Duration {
        let usual = |(mean, deviation): (f32, f32)| {
            Duration::from_millis((mean + DEVIATIONS * deviation) as u64)
        };
        self.wait_ms.map_or(limits.first_wait, usual)
    }

    /// How the symbol is.
    pub fn health(&self, feed: FeedLink, now: Duration, limits: &HealthLimits) -> Health {
        if !self.is_heard {
            return Health::Awaited;
        }
        match feed {
            FeedLink::Lost => return Health::Dead,
            FeedLink::NotYet => return Health::Restored,
            FeedLink::Connected => {}
        }
        let (silence, usual) = (self.silence(now), self.usual_wait(limits));
        if silence <= usual.max(limits.quiet_min) {
            Health::Live
        } else if silence <= usual.saturating_mul(limits.stale_waits).max(limits.stale_min) {
            Health::Quiet
        } else {
            Health::Stale
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HealthLimits = HealthLimits {
        quiet_min: Duration::from_secs(5),
        stale_min: Duration::from_secs(300),
        stale_waits: 10,
        first_wait: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The states of a symbol that ticks every `wait` seconds and then falls silent.
    fn after(wait: u64, silences: [u64; 4]) -> [Health; 4] {
        let mut arrivals = Arrivals::new(at(0));
        (1..=100).for_each(|tick| arrivals.note(at(tick * wait)));
        let health =
            |silence| arrivals.health(FeedLink::Connected, at(100 * wait + silence), &LIMITS);
        silences.map(health)
    }

    #[test]
    fn silence_is_measured_by_what_is_usual() {
        let [live, quiet, stale] = [Health::Live, Health::Quiet, Health::Stale];
        assert_eq!(after(1, [0, 5, 6, 301]), [live, live, quiet, stale]);
        assert_eq!(after(60, [60, 70, 600, 700]), [live, quiet, quiet, stale]);
        let day = 86_400;
        assert_eq!(after(day, [day, 2 * day, 9 * day, 11 * day]), [live, quiet, quiet, stale]);
    }

    #[test]
    fn the_first_tick_has_the_wait_of_a_step_behind_it() {
        let arrivals = Arrivals::new(at(10));
        let health = |seconds| arrivals.health(FeedLink::Connected, at(seconds), &LIMITS);
        assert_eq!([70, 71, 610, 611].map(health), {
            [Health::Live, Health::Quiet, Health::Quiet, Health::Stale]
        });
    }

    #[test]
    fn a_feed_that_is_gone_is_dead_and_comes_back_as_what_it_is() {
        let mut arrivals = Arrivals::new(at(0));
        (1..=10).for_each(|tick| arrivals.note(at(tick)));
        assert_eq!(arrivals.health(FeedLink::Lost, at(10), &LIMITS), Health::Dead);
        assert_eq!(arrivals.health(FeedLink::NotYet, at(10), &LIMITS), Health::Restored);
        assert_eq!(arrivals.health(FeedLink::Connected, at(1000), &LIMITS), Health::Stale);
        arrivals.note(at(1000));
        assert_eq!(arrivals.health(FeedLink::Connected, at(1001), &LIMITS), Health::Live);
    }

    #[test]
    fn a_burst_is_one_arrival() {
        let mut arrivals = Arrivals::new(at(0));
        for tick in 1..=20 {
            (0..50).for_each(|_| arrivals.note(at(tick * 60)));
        }
        let usual = arrivals.usual_wait(&LIMITS);
        assert!((60..70).contains(&usual.as_secs()), "{usual:?}");
    }

    proptest! {
        /// However ticks come, the estimate stays between the shortest and four times the longest
        /// wait above it, and longer silence is never a better state.
        #[test]
        fn estimates_stay_in_bounds_and_states_only_worsen(
            waits in proptest::collection::vec(1u64..1_000_000_000, 1..200),
        ) {
            let (mut now, mut arrivals) = (Duration::ZERO, Arrivals::new(Duration::ZERO));
            for wait in &waits {
                now += Duration::from_millis(*wait);
                arrivals.note(now);
            }
            let usual = arrivals.usual_wait(&LIMITS).as_millis() as f64;
            let (min, max) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
            prop_assert!(usual >= min as f64 * 0.999, "{} and {}", usual, min);
            prop_assert!(usual <= max as f64 * 5.001, "{} and {}", usual, max);
            let states = (0..60).map(|exponent| {
                let silence = Duration::from_millis(1 << (exponent / 2));
                arrivals.health(FeedLink::Connected, now + silence, &LIMITS) as u8
            });
            prop_assert!(states.collect::<Vec<_>>().is_sorted());
        }
    }
}
